"""PPM, PGM and PBM, in and out, since libvips as packed for Python leaves them out.

Source: the Netpbm pages ppm(5), pgm(5), pbm(5). Samples of maxval 255 are 8 bit, of 65535 16 bit;
any other maxval is scaled up to the next of the two, rounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import ImageReadError

_LONGEST_HEADER = 65536
_TOKEN = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])*(\d+)")
_MAX_TEXT = 256 * 1024 * 1024  # plain (text) files are read whole


@dataclass(frozen=True, kw_only=True)
class NetpbmHeader:
    """What a Netpbm header says; `offset` is where the samples start."""

    kind: int
    width: int
    height: int
    maxval: int
    offset: int

    @property
    def channels(self) -> int:
        return 3 if self.kind in (3, 6) else 1

    @property
    def depth(self) -> int:
        return 16 if self.maxval > 255 else 8

    @property
    def row_bytes(self) -> int:
        if self.kind == 4:
            return (self.width + 7) // 8
        return self.width * self.channels * self.depth // 8


def netpbm_header(head: bytes, *, name: str) -> NetpbmHeader:
    """Read a header from the first bytes of a file."""
    kind = int(head[1:2])
    fields: list[int] = []
    at = 2
    for _ in range(2 if kind in (1, 4) else 3):
        found = _TOKEN.match(head, at, _LONGEST_HEADER)
        if found is None or len(found[1]) > 9:
            raise ImageReadError(f"{name}: the PPM header is broken; export the picture again")
        fields.append(int(found[1]))
        at = found.end()
    maxval = fields[2] if len(fields) == 3 else 1
    if not 1 <= maxval <= 65535:
        raise ImageReadError(
            f"{name}: the PPM header has maxval {maxval}, expected 1 to 65535; export it again"
        )
    return NetpbmHeader(kind=kind, width=fields[0], height=fields[1], maxval=maxval, offset=at + 1)


def netpbm_rows(
    source: Path | bytes, header: NetpbmHeader, *, name: str, band: int
) -> Iterator[NDArray[Any]]:
    """Bands (h, w, 1 or 3) of uint8 or uint16, top to bottom."""
    if header.kind <= 3:
        yield from _plain_rows(source, header, name=name, band=band)
        return
    with _opened(source) as file:
        file.seek(header.offset)
        for top in range(0, header.height, band):
            rows = min(band, header.height - top)
            data = file.read(rows * header.row_bytes)
            if len(data) < rows * header.row_bytes:
                raise _cut(name)
            yield _samples(data, header, rows)


def check_netpbm_length(header: NetpbmHeader, size: int, *, name: str) -> None:
    """Raise ImageReadError when a file of `size` bytes is too short for its header."""
    least = 1 if header.kind <= 3 else header.row_bytes  # a digit a sample, at least
    if header.kind <= 3:
        least = header.width * header.channels
    if size < header.offset - 1 + least * header.height:
        raise _cut(name)


def write_netpbm(file: BinaryIO, rows: Iterator[NDArray[Any]], *, width: int, height: int) -> None:
    """Write bands (h, w, 1 or 3), uint8 or uint16, as binary PGM or PPM."""
    started = False
    for band in rows:
        if not started:
            kind, maxval = (b"P5", b"P6")[band.shape[2] == 3], int(np.iinfo(band.dtype).max)
            file.write(kind + b"\n%d %d\n%d\n" % (width, height, maxval))
            started = True
        file.write(np.ascontiguousarray(band, ">u2" if band.dtype == np.uint16 else "u1").data)


def _cut(name: str) -> ImageReadError:
    return ImageReadError(f"{name}: the file is cut short; copy or download it again")


def _opened(source: Path | bytes) -> BinaryIO:
    import io

    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _samples(data: bytes, header: NetpbmHeader, rows: int) -> NDArray[Any]:
    if header.kind == 4:
        bits = np.unpackbits(np.frombuffer(data, np.uint8).reshape(rows, -1), axis=1)
        flat = 255 - 255 * bits[:, : header.width]  # in PBM a 1 is black
        return flat.reshape(rows, header.width, 1)
    kind = ">u2" if header.depth == 16 else "u1"
    values = np.frombuffer(data, kind).reshape(rows, header.width, header.channels)
    return _full_range(values, header)


def _full_range(values: NDArray[Any], header: NetpbmHeader) -> NDArray[Any]:
    top = 65535 if header.depth == 16 else 255
    target = np.uint16 if header.depth == 16 else np.uint8
    if header.maxval == top:
        return values.astype(target)
    scaled = np.minimum(values, header.maxval).astype(np.uint32) * top
    rounded: NDArray[Any] = ((scaled + header.maxval // 2) // header.maxval).astype(target)
    return rounded


def _plain_rows(
    source: Path | bytes, header: NetpbmHeader, *, name: str, band: int
) -> Iterator[NDArray[Any]]:
    with _opened(source) as file:
        file.seek(header.offset - 1)
        text = file.read(_MAX_TEXT + 1)
    if len(text) > _MAX_TEXT:
        raise ImageReadError(
            f"{name}: a text PPM of more than {_MAX_TEXT} bytes; save it as binary PPM (P5, P6)"
        )
    text = re.sub(rb"#[^\r\n]*", b"", text)
    if header.kind == 1:  # PBM digits need no space between them
        text = b" ".join(text[i : i + 1] for i in range(len(text)) if text[i : i + 1].isdigit())
    if not re.fullmatch(rb"[\d\s]*", text):
        raise ImageReadError(f"{name}: the text PPM holds more than numbers; export it again")
    count = header.width * header.height * header.channels
    words = text.split(None, count)[:count]
    if len(words) < count:
        raise _cut(name)
    if max(map(len, words)) > 6:
        raise ImageReadError(f"{name}: a sample is above maxval {header.maxval}; export it again")
    values = np.array(words, dtype="S6").astype(np.uint32)
    if header.kind == 1:
        full = (255 - 255 * np.minimum(values, 1)).astype(np.uint8)
    else:
        full = _full_range(values, header)
    whole = full.reshape(header.height, header.width, header.channels)
    for top in range(0, header.height, band):
        yield whole[top : top + band]
