"""Make before_after.png from the demo's photograph: python3 docs/images/before_after.py

The bird's head, reduced four times, enlarged by bicubic (left) and by the default network (right).
Each output pixel is shown as two by two, so that a browser's own smoothing hides nothing.
"""

from importlib import resources
from pathlib import Path

import numpy as np
import pyvips

import loopsr
from loopsr.ops.resize import resize

TOP, LEFT, SIDE = 50, 568, 200  # of the enlarged picture
GAP = 8

sample = resources.files("loopsr.apps") / "assets" / "osprey.png"
small = pyvips.Image.new_from_buffer(sample.read_bytes(), "").numpy()
panes = [
    large[TOP : TOP + SIDE, LEFT : LEFT + SIDE].repeat(2, axis=0).repeat(2, axis=1)
    for large in (resize(small, scale=4), loopsr.upscale(small, scale=4))
]
gap = np.full((2 * SIDE, GAP, 3), 255, np.uint8)
picture = np.concatenate([panes[0], gap, panes[1]], axis=1)
target = Path(__file__).with_name("before_after.png")
pyvips.Image.new_from_array(picture).pngsave(str(target))
print(target)
