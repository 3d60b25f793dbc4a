"""The weights that ship with the package, and the list of them."""
