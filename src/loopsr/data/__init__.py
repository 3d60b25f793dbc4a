"""Training pictures: folders, degradations and aligned pairs of crops. Numpy only."""
