"""Applications of the upscaler: one file each, with one function ``run``."""
