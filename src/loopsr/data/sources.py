"""Folders of pictures become memory-mapped pairs: decoded and degraded once for all runs.

The cache is two flat uint8 files, the sharp pictures one after the other and their degraded twins,
and an index of shapes. A picture of the cache is a view, so many runs share one copy in memory.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loopsr.data.degrade import Step, degrade
from loopsr.errors import ImageReadError, UsageError
from loopsr.io.cache import cache_folder
from loopsr.io.formats import SUFFIXES
from loopsr.io.image import open_picture
from loopsr.io.limits import Limits
from loopsr.ops.resize import resize

log = logging.getLogger(__name__)
Pixels = NDArray[np.uint8]
_Made = list[tuple[Pixels, list[Pixels]]]  # a sharp picture and its copies, with their twins
_LIMITS = Limits(max_pixels=100_000_000)  # held as a whole, several times as floats
_ROOM = _LIMITS.max_pixels  # that all threads together hold
_REDUCED = (0.45, 0.9)  # sides of a copy, in those of its picture
_REDUCERS = ("bicubic", "lanczos")
_FORMAT = 2  # raise it when the layout of the cache changes


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Aligned pictures: ``hr[i]`` is (s*h, s*w, 3) uint8, ``lr[i]`` its (h, w, 3) degraded twin.

    A picture with several twins is there once for each, as the same object in ``hr``.
    """

    scale: int
    names: tuple[str, ...]
    hr: tuple[Pixels, ...]
    lr: tuple[Pixels, ...]
    key: str  # hash of the pictures, the scale and the degradation


def find_pictures(folders: Iterable[str | Path]) -> list[Path]:
    """All picture files below the folders (a file counts as itself), sorted.

    Raises ``UsageError`` for a folder that is missing or holds no picture.
    """
    found: dict[Path, None] = {}
    for folder in map(Path, folders):
        if not folder.exists():
            raise UsageError(f"no folder or picture {str(folder)!r}; check the path")
        inside = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*"))
        files = [p for p in inside if p.suffix.lower() in SUFFIXES and p.is_file()]
        if not files:
            raise UsageError(
                f"no picture in {str(folder)!r}; expected files named "
                f"{', '.join(sorted(SUFFIXES))} in it or below it"
            )
        found.update(dict.fromkeys(files))
    if not found:
        raise UsageError("no pictures were given; pass at least one folder")
    return list(found)


def read_rgb(path: Path) -> Pixels:
    """Decode a file to an upright (h, w, 3) uint8 sRGB picture, as ``upscale`` reads it.

    Alpha is dropped, 16 bits are rounded to 8, grey is repeated. Raises ``ImageReadError``.
    """
    picture = open_picture(path, limits=_LIMITS)
    pixels = picture.pixels()[..., : picture.traits.channels]
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _count_pixels(path: Path) -> int:
    """Of a picture, as its first bytes tell; 0 of a file that is none."""
    try:
        picture = open_picture(path, limits=_LIMITS)
    except ImageReadError:
        return 0
    return picture.width * picture.height


def crop_to_multiple(image: Pixels, scale: int) -> Pixels:
    """Cut right and bottom so that both sides are multiples of ``scale``."""
    height, width = (side - side % scale for side in image.shape[:2])
    return image[:height, :width]


def _key(
    files: Sequence[Path], scale: int, steps: Sequence[Step], variants: int, copies: int
) -> str:
    # By content, so that a run goes on after its pictures were copied to another place.
    contents = [(path.name, _digest(path)) for path in files]
    what = [_FORMAT, contents, scale, list(steps), *([variants] if variants > 1 else [])]
    if copies:
        what += [{"copies": copies}]
    text = json.dumps(what, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digest(path: Path) -> str | None:
    """Of what a file holds; None of one that cannot be read, which is skipped later on."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _draws(name: str, *which: int) -> np.random.Generator:
    """Seeded by a file's name: the same draws for a picture whatever lies beside it."""
    return np.random.default_rng([zlib.crc32(os.fsencode(name)), *which])


def _read(path: Path, scale: int) -> Pixels:
    """A picture of at least one input pixel. Raises ``ImageReadError``."""
    picture = read_rgb(path)
    if min(picture.shape[:2]) < scale:
        raise ImageReadError(f"{path} is smaller than {scale} pixels")
    return picture


def _with_copies(picture: Pixels, name: str, scale: int, copies: int) -> Iterator[Pixels]:
    """A picture and ``copies`` of it, each reduced by a factor and a kernel drawn for it.

    Cut to multiples of ``scale``; a copy of which nothing is left then is left out.
    """
    yield crop_to_multiple(picture, scale)
    for copy in range(copies):
        rng = _draws(name, copy, 1)  # the 1 tells these draws from those of the degradations
        factor, kernel = rng.uniform(*_REDUCED), str(rng.choice(_REDUCERS))
        reduced = crop_to_multiple(resize(picture, scale=factor, kernel=kernel), scale)
        if 0 not in reduced.shape:
            yield reduced


def _twins(hr: Pixels, name: str, scale: int, steps: Sequence[Step], variants: int) -> list[Pixels]:
    draws = (_draws(name, variant) for variant in range(variants))
    return [degrade(hr, scale=scale, steps=steps, rng=rng) for rng in draws]


class _Room:
    """Pixels that threads hold at a time: together ``_ROOM``, or one picture of any size."""

    def __init__(self) -> None:
        """Nothing is taken yet."""
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        """Wait until there is room, and hold it for the time of a ``with`` block."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + pixels <= _ROOM)
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()


def _side_by_side(
    make: Callable[[Path], _Made], files: Iterable[Path], threads: int
) -> Iterator[tuple[Path, Future[_Made]]]:
    """What becomes of each file, in their order; ``threads`` of them are worked on at a time."""
    room = _Room()

    def work(path: Path) -> _Made:
        with room.take(_count_pixels(path)):
            return make(path)

    with ThreadPoolExecutor(threads, thread_name_prefix="loopsr-pairs") as pool:
        begun: deque[tuple[Path, Future[_Made]]] = deque()
        try:
            for path in files:
                begun.append((path, pool.submit(work, path)))
                if len(begun) > threads:
                    yield begun.popleft()
            while begun:
                yield begun.popleft()
        finally:
            for _, future in begun:
                future.cancel()


def _build(
    files: Sequence[Path], target: Path, make: Callable[[Path], _Made], scale: int, threads: int
) -> None:
    """Write what ``make`` makes of the files to ``target``; unreadable ones are skipped."""
    shapes: list[tuple[int, int]] = []
    names: list[str] = []
    skipped = 0
    log.info("decoding %d pictures for x%d into a cache; this is done once", len(files), scale)
    with (target / "hr.bin").open("wb") as hr_file, (target / "lr.bin").open("wb") as lr_file:
        for path, made in _side_by_side(make, files, threads):
            try:
                pairs = made.result()
            except ImageReadError as error:
                log.warning("skipped: %s", error)
                skipped += 1
                continue
            for hr, twins in pairs:
                hr_file.write(np.ascontiguousarray(hr).data)
                for lr in twins:
                    lr_file.write(np.ascontiguousarray(lr).data)
                shapes.append((hr.shape[0] // scale, hr.shape[1] // scale))
                names.append(path.name)
    if not names:
        raise ImageReadError(f"none of {len(files)} pictures can be decoded; pass other folders")
    if skipped:
        log.warning("%d of %d pictures were skipped", skipped, len(files))
    index = {"names": names, "shapes": shapes}
    (target / "index.json").write_text(json.dumps(index), encoding="utf-8")


def load_pairs(
    files: Sequence[Path],
    *,
    scale: int,
    steps: Sequence[Step],
    variants: int = 1,
    copies: int = 0,
    threads: int = 1,
    cache: Path | None = None,
) -> Pairs:
    """Open the cached pairs of these files, decoding them first when they are new.

    A random degradation is drawn ``variants`` times for each picture. Beside each stand ``copies``
    of it, reduced to 0.45 to 0.9 of its sides, which show other detail. As many ``threads`` decode
    them, to the same pairs. ``cache`` is where they are kept, ``pairs`` in the cache folder when
    not given. Raises ``ImageReadError`` when not one picture can be decoded.
    """
    key = _key(files, scale, steps, variants, copies)
    folder = (cache or cache_folder() / "pairs") / key
    if not (folder / "index.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=folder.parent))

        def make(path: Path) -> _Made:
            sharp = _with_copies(_read(path, scale), path.name, scale, copies)
            return [(hr, _twins(hr, path.name, scale, steps, variants)) for hr in sharp]

        try:
            _build(files, work, make, scale, threads)
            try:
                work.rename(folder)
            except OSError:
                if not (folder / "index.json").is_file():  # else another run was faster
                    raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    shapes = [(int(h), int(w)) for h, w in index["shapes"]]
    sharp = views(folder / "hr.bin", [(h * scale, w * scale) for h, w in shapes])
    return Pairs(
        scale=scale,
        names=tuple(name for name in index["names"] for _ in range(variants)),
        hr=tuple(view for view in sharp for _ in range(variants)),
        lr=views(folder / "lr.bin", [shape for shape in shapes for _ in range(variants)]),
        key=key,
    )


def views(path: Path, shapes: Iterable[tuple[int, int]]) -> tuple[Pixels, ...]:
    """Pictures of these (h, w) that lie one after the other in a file of uint8, three a pixel."""
    # A plain array over the map: slicing np.memmap objects costs microseconds each time.
    flat = np.asarray(np.memmap(path, np.uint8, mode="r"))
    views, start = [], 0
    for height, width in shapes:
        end = start + height * width * 3
        views.append(flat[start:end].reshape(height, width, 3))
        start = end
    return tuple(views)
