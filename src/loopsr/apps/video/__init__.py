"""Videos: decode, upscale, encode in segments that survive a stop, and join them with the rest."""
