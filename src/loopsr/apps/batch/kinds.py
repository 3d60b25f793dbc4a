"""What an input is, told by its name: a picture or a video."""

from __future__ import annotations

from pathlib import Path


def is_video(path: str) -> bool:
    """Whether a name is that of a video."""
    from loopsr.io.video.codecs import SUFFIXES  # slow import: not for --help

    return Path(path).suffix.lower() in SUFFIXES


def is_known(path: str) -> bool:
    """Whether a file's name is that of a picture, or of a video where videos can be read."""
    from loopsr.io.formats import SUFFIXES  # slow import: not for --help
    from loopsr.io.video.pyav import installed

    if Path(path).suffix.lower() in SUFFIXES:
        return True
    return is_video(path) and installed()
