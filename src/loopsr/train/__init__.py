"""The training road: recipe, loop, optimisers, losses, checkpoints, validation."""
