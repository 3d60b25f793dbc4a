"""Time, memory, quality and the machine's limit of any upscalers, side by side."""
