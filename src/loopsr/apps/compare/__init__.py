"""One page that lays several upscalers side by side: ``run`` makes it, ``page`` writes it."""
