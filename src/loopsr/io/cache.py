"""The one folder in which something is kept that can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$LOOPSR_CACHE``, else ``loopsr`` in ``$XDG_CACHE_HOME`` or ``~/.cache``; it may not exist.

    Raises ``RuntimeError`` when there is no home folder.
    """
    own = os.environ.get("LOOPSR_CACHE")
    if own:
        return Path(own)
    general = os.environ.get("XDG_CACHE_HOME")
    return (Path(general) if general else Path.home() / ".cache") / "loopsr"
