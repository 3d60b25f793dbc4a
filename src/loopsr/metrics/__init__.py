"""Measures of quality. Numpy float64; the convention is in the name of each."""
