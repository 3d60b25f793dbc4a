"""Push rows into a libvips encoder that runs beside, so that the caller can be interrupted.

libvips pulls and we push: the encoder runs in a thread of its own and reads a PNG byte stream from
a short queue, while the rows are made in the caller's thread. An error or Ctrl-C there ends the
stream, and with it the encoder; an error of the encoder ends the pushing.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from loopsr.errors import ImageWriteError
from loopsr.io.formats import Format, Options
from loopsr.io.libvips import first_line, vips
from loopsr.io.netpbm import write_netpbm

QUEUED = 4  # pieces, when nobody says how many
_TICK = 0.2  # seconds between two looks at the other side
_PATIENCE = 10.0  # seconds that an interrupted encoder gets to end


class Feed:
    """A byte stream between two threads; the reading side is what libvips asks for.

    At most ``queued`` pieces wait: the writing side runs ahead by so many.
    """

    def __init__(self, queued: int = QUEUED) -> None:
        self._pieces: queue.Queue[bytes | None] = queue.Queue(queued)
        self._rest = memoryview(b"")
        self._ended = False
        self.stopped = threading.Event()

    def push(self, piece: bytes | None) -> bool:
        """Put a piece (None: the end); False when the reader is gone."""
        while not self.stopped.is_set():
            try:
                self._pieces.put(piece, timeout=_TICK)
                return True
            except queue.Full:
                continue
        return False

    def read(self, size: int) -> bytes | None:
        """At most `size` bytes; None at the end and once stopped."""
        while not self._rest and not self._ended:
            if self.stopped.is_set():
                return None
            try:
                piece = self._pieces.get(timeout=_TICK)
            except queue.Empty:
                continue
            if piece is None:
                self._ended = True
            else:
                self._rest = memoryview(piece)
        part = bytes(self._rest[:size])
        self._rest = self._rest[size:]
        return part or None


def encode(
    path: Path,
    pieces: Iterator[bytes],
    entry: Format,
    options: Options,
    *,
    prepare: Callable[[Any], Any],
    queued: int = QUEUED,
) -> None:
    """Encode a PNG byte stream into the file `path`; `prepare` maps its image to the stored one.

    `queued` pieces may wait for the encoder, so that it works while the next ones are made.

    Raises ImageWriteError, or whatever making the pieces raised; then the file is worth nothing.
    """
    feed = Feed(queued)
    faults: list[str] = []
    worker = threading.Thread(
        target=_work,
        args=(feed, faults, path, entry, options, prepare),
        name="loopsr-encode",
        daemon=True,
    )
    worker.start()
    try:
        for piece in pieces:
            if not feed.push(piece):
                break
        feed.push(None)
        while worker.is_alive():
            worker.join(_TICK)
    except BaseException:
        feed.stopped.set()
        worker.join(_PATIENCE)
        raise
    if faults:
        raise ImageWriteError(_in_words(path, entry, faults[0]))


def _work(
    feed: Feed,
    faults: list[str],
    path: Path,
    entry: Format,
    options: Options,
    prepare: Callable[[Any], Any],
) -> None:
    pyvips = vips()
    try:
        source = pyvips.SourceCustom()
        source.on_read(feed.read)
        image = pyvips.Image.pngload_source(
            source, access="sequential", fail_on="error", unlimited=True
        )
        image = prepare(image)
        if entry.saver is None:
            _save_netpbm(path, image)
        else:
            getattr(image, entry.saver)(str(path), **options)
    except pyvips.Error as error:
        faults.append(first_line(error) + " " + " ".join(str(error).split())[:400])
    except Exception as error:  # a thread must hand its fault over, whatever it is
        faults.append(str(error) or type(error).__name__)
    finally:
        feed.stopped.set()


def _save_netpbm(path: Path, image: Any) -> None:
    region = vips().Region.new(image)
    dtype = np.uint8 if image.format == "uchar" else np.uint16

    def bands() -> Iterator[Any]:
        for top in range(0, image.height, 64):
            rows = min(64, image.height - top)
            data = region.fetch(0, top, image.width, rows)
            yield np.frombuffer(data, dtype).reshape(rows, image.width, image.bands)

    with path.open("wb") as file:
        write_netpbm(file, bands(), width=image.width, height=image.height)


def _in_words(path: Path, entry: Format, said: str) -> str:
    lower = said.lower()
    if "no space left" in lower or "quota" in lower:
        return f"the disk of {path.parent} is full; free some space or write elsewhere"
    if "file too large" in lower:
        return f"the file grew larger than {path.parent} allows; write elsewhere"
    return f"the {entry.name} encoder failed ({said[:160]}); try another format, such as .png"
