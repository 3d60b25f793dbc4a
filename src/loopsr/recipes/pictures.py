"""The pictures that the shipped weights were trained on, as their cards name them."""

PICTURES = (
    "CID22 training part (CC BY-SA 4.0), CLIC 2025 (Unsplash License), photographs under the "
    "Unsplash License, CC0, CC BY-SA, FAL or in the public domain; 363 pictures in all"
)
WITH_DRAWINGS = f"{PICTURES}; 63 drawings (python -m loopsr.data.drawings)"
