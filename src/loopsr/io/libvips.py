"""The one door to libvips: imported on first use, quiet, without a cache."""

from __future__ import annotations

import functools
import importlib
import logging
import os
from types import ModuleType


@functools.cache
def vips() -> ModuleType:
    """The pyvips module, set up once for this process.

    libvips' operation cache is switched off: it would hand out yesterday's pixels of a file that
    was replaced meanwhile, and it keeps memory. Its warnings and pyvips' chatter stay off the
    terminal: what matters to a user comes as our own error or on the logger `loopsr.io`.
    """
    os.environ.setdefault("VIPS_WARNING", "1")  # read by libvips when it starts
    logging.getLogger("pyvips").setLevel(logging.CRITICAL)
    pyvips = importlib.import_module("pyvips")  # its stubs are not marked as typed
    pyvips.cache_set_max(0)
    return pyvips


def first_line(error: BaseException) -> str:
    """What libvips said, as one short line; empty when it gave no cause."""
    lines = [line.strip() for line in str(error).splitlines()]
    # pyvips puts "unable to call xload" first; the cause is in the lines of libvips after it.
    useful = [line for line in lines if line and not line.startswith("unable to")]
    return (useful or [""])[0][:160]
