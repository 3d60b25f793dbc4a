"""A lock on an open file that ends with its process, however that ends."""

from __future__ import annotations

import errno
import sys

if sys.platform != "win32":
    import fcntl


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file until it is closed; False when another holder has it.

    Raises OSError where the system or the file system has no such locks.
    """
    if sys.platform == "win32":
        raise OSError(errno.ENOTSUP, "no advisory locks on this system")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
