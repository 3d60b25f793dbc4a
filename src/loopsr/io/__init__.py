"""Pictures in and out: a path becomes rows of pixels and what must survive, and back."""

from loopsr.io.formats import FORMATS, Encoding, Format, check_target, format_of
from loopsr.io.image import Picture, open_picture, open_pixels
from loopsr.io.limits import Limits
from loopsr.io.traits import Metadata, Traits
from loopsr.io.writer import write_picture

__all__ = [
    "FORMATS",
    "Encoding",
    "Format",
    "Limits",
    "Metadata",
    "Picture",
    "Traits",
    "check_target",
    "format_of",
    "open_picture",
    "open_pixels",
    "write_picture",
]
