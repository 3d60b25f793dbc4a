"""The one exception tree. Every message says what was got, what was expected and what to do next.

LoopsrError                  anything this package raises on purpose; exit code 1
|-- UsageError               arguments that cannot work together; exit code 2
|   `-- UnknownNameError     a model, recipe, backend... that is in no list; names the nearest
|-- ImageError               a picture that cannot be read, held or written
|   |-- ImageReadError       missing, empty, truncated, not a picture, over the limits
|   `-- ImageWriteError      format limit, full disk, read-only folder
|-- VideoError               a video that cannot be read, held or written
|   |-- VideoReadError       missing, no video, damaged, without a picture
|   `-- VideoWriteError      container or codec that does not fit, full disk, read-only folder
|-- WeightsError             a weight file that is corrupt, of another hash or too large
|-- BackendError             a runtime that fails to load or to run a network
|-- MissingExtraError        an optional package that is not installed
|-- TrainingError            a diverged or inconsistent training run
`-- Cancelled                a progress callback asked to stop; exit code 130
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LoopsrError(Exception):
    """Base of all errors that this package raises on purpose."""

    exit_code = 1


class UsageError(LoopsrError):
    """Arguments that are out of range or contradict each other."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is in no list; the message names the nearest ones."""

    def __init__(self, kind: str, got: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(got, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names)}"
        super().__init__(f"{kind} {got!r} is unknown; {hint}")


class ImageError(LoopsrError):
    """A picture that cannot be read, held or written."""


class ImageReadError(ImageError):
    """A picture that cannot be read: missing, empty, truncated, no picture, over the limits."""


class ImageWriteError(ImageError):
    """A picture that cannot be written: format limit, full disk, read-only folder."""


class VideoError(LoopsrError):
    """A video that cannot be read, held or written."""


class VideoReadError(VideoError):
    """A video that cannot be read: missing, no video, damaged, without a picture."""


class VideoWriteError(VideoError):
    """A video that cannot be written: container, codec, full disk, read-only folder."""


class WeightsError(LoopsrError):
    """A weight file that is corrupt, of another hash than expected, or too large."""


class BackendError(LoopsrError):
    """A runtime that cannot load or run a network."""


class MissingExtraError(LoopsrError):
    """An optional package that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs more packages; type: pip install 'loopsr[{extra}]'")


class TrainingError(LoopsrError):
    """A training run that diverged or does not fit its checkpoint."""


class Cancelled(LoopsrError):  # noqa: N818 - the callback's wish, not a fault
    """A progress callback asked to stop; nothing was written."""

    exit_code = 130


def first_line(error: BaseException) -> str:
    """The first 200 characters of what an exception of others says, for one line of our own."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
