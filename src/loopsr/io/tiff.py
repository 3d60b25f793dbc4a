"""EXIF and IPTC in TIFF files: libvips carries EXIF for all formats but this, and cuts IPTC off.

Source: TIFF 6.0, the BigTIFF design, EXIF 2.32. A directory is read into values that know nothing
of places and byte order, so it can be laid down again in any file. Maker notes are copied as they
are; offsets inside them, which only their makers know, are lost.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_EXIF_IFD, _GPS_IFD, _IPTC = 34665, 34853, 33723
# ImageDescription, Make, Model, Software, DateTime, Artist, HostComputer, Copyright
_SPOKEN = (270, 271, 272, 305, 306, 315, 316, 33432)
_UNIT = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8}
_PARTS = {5: 2, 10: 2}  # a rational is two numbers
_MOST_ENTRIES = 1000
_LARGEST_VALUE = 1 << 20

Directory = dict[int, "Value | Directory"]


@dataclass(frozen=True)
class Value:
    """A field: its TIFF type, and its numbers as little-endian bytes."""

    kind: int
    data: bytes

    @property
    def count(self) -> int:
        return len(self.data) // (_UNIT[self.kind] * _PARTS.get(self.kind, 1))

    def number(self) -> int:
        return int.from_bytes(self.data[: _UNIT[self.kind]], "little")


@dataclass(frozen=True)
class _Layout:
    order: str  # "<" or ">"
    big: bool

    @property
    def offset(self) -> str:
        return self.order + ("Q" if self.big else "I")

    @property
    def word(self) -> int:
        return 8 if self.big else 4

    @property
    def count(self) -> str:
        return self.order + ("Q" if self.big else "H")

    @property
    def entry(self) -> str:
        return self.order + ("HHQ" if self.big else "HHI")


@dataclass(frozen=True, kw_only=True)
class TiffFacts:
    """What libvips does not tell of a TIFF: EXIF as a block of its own, IPTC, two plain numbers."""

    exif: bytes | None = None
    iptc: bytes | None = None
    photometric: int | None = None
    compression: int | None = None


def tiff_facts(source: Path | bytes) -> TiffFacts:
    """Read the first directory; empty where the file is broken: libvips has more to say then."""
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        try:
            layout, first = _header(file)
            found = _read_directory(file, layout, first)
        except (struct.error, ValueError, OverflowError, OSError):
            return TiffFacts()
    kept = {tag: found[tag] for tag in (*_SPOKEN, _EXIF_IFD, _GPS_IFD) if tag in found}
    exif = b"II*\0\x08\0\0\0" + _lay(kept, 8, _Layout("<", big=False)) if kept else None
    iptc = found.get(_IPTC)
    records = iptc.data if isinstance(iptc, Value) else None
    if records and layout.order == ">" and isinstance(iptc, Value):
        records = _swapped(records, _UNIT[iptc.kind], ">")  # bytes that only claim to be numbers
    return TiffFacts(
        exif=exif,
        iptc=records,
        photometric=_plain(found.get(262)),
        compression=_plain(found.get(259)),
    )


def _plain(value: Value | Directory | None) -> int | None:
    return value.number() if isinstance(value, Value) and value.kind in (3, 4) else None


def add_to_tiff(path: Path, *, exif: bytes | None, iptc: bytes | None) -> None:
    """Give a finished TIFF an EXIF block and IPTC: a longer first directory is put at its end.

    Fields that the file has already stay; a block that cannot be read changes nothing.
    """
    wanted: Directory = {_IPTC: Value(7, iptc)} if iptc else {}
    try:
        with io.BytesIO(exif or b"") as block:
            layout, first = _header(block)
            found = _read_directory(block, layout, first)
        wanted |= {tag: found[tag] for tag in (*_SPOKEN, _EXIF_IFD, _GPS_IFD) if tag in found}
    except (struct.error, ValueError, OverflowError):
        pass
    with path.open("rb+") as file:
        layout, first = _header(file)
        entries, rest = _raw_entries(file, layout, first)
        have = {struct.unpack_from(layout.order + "H", entry)[0] for entry in entries}
        added = {tag: value for tag, value in wanted.items() if tag not in have}
        if not added:
            return
        file.seek(0, 2)
        file.write(b"\0" * (file.tell() % 2))
        place = file.tell()
        file.write(_lay(added, place, layout, entries=entries, following=rest))
        file.seek(8 if layout.big else 4)
        file.write(struct.pack(layout.offset, place))


def _header(file: BinaryIO) -> tuple[_Layout, int]:
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}[head[:2]] if head[:2] in (b"II", b"MM") else ""
    if not order:
        raise ValueError("no TIFF header")
    layout = _Layout(order, big=struct.unpack_from(order + "H", head, 2)[0] == 43)
    return layout, int(struct.unpack_from(layout.offset, head, 8 if layout.big else 4)[0])


def _raw_entries(file: BinaryIO, layout: _Layout, at: int) -> tuple[list[bytes], bytes]:
    """The entries of a directory as they are, and its pointer to the next."""
    file.seek(at)
    (count,) = struct.unpack(layout.count, file.read(struct.calcsize(layout.count)))
    if count > _MOST_ENTRIES:
        raise ValueError("too many entries")
    size = struct.calcsize(layout.entry) + layout.word
    entries = [file.read(size) for _ in range(count)]
    if any(len(entry) < size for entry in entries):
        raise ValueError("cut short")
    return entries, file.read(layout.word)


def _read_directory(file: BinaryIO, layout: _Layout, at: int, *, top: bool = True) -> Directory:
    found: Directory = {}
    for entry in _raw_entries(file, layout, at)[0]:
        tag, kind, count = struct.unpack_from(layout.entry, entry)
        field = entry[struct.calcsize(layout.entry) :]
        if top and tag in (_EXIF_IFD, _GPS_IFD):
            place = struct.unpack(layout.offset, field)[0]
            if kind != 18 and layout.big:
                place = struct.unpack_from(layout.order + "I", field)[0]
            found[tag] = _read_directory(file, layout, place, top=False)
            continue
        unit = _UNIT.get(kind, 0)
        size = unit * _PARTS.get(kind, 1) * count
        if not 0 < size <= _LARGEST_VALUE or tag == 40965:  # 40965: another directory, of no use
            continue
        if size > layout.word:
            file.seek(struct.unpack(layout.offset, field)[0])
            field = file.read(size)
        found[tag] = Value(kind, _swapped(field[:size], unit, layout.order))
    return found


def _swapped(data: bytes, unit: int, order: str) -> bytes:
    if order == "<" or unit == 1:
        return data
    return b"".join(data[at : at + unit][::-1] for at in range(0, len(data), unit))


def _lay(
    directory: Directory,
    place: int,
    layout: _Layout,
    *,
    entries: list[bytes] | None = None,
    following: bytes = b"",
) -> bytes:
    """The bytes of a directory that starts at `place`, its values and inner directories behind."""
    raw = {struct.unpack_from(layout.order + "H", entry)[0]: entry for entry in entries or []}
    number = len(raw) + len(directory)
    size = struct.calcsize(layout.entry) + layout.word
    end = place + struct.calcsize(layout.count) + number * size + layout.word
    tail = b""
    for tag, value in directory.items():
        if isinstance(value, Value):
            kind, count = value.kind, value.count
            field = _swapped(value.data, _UNIT[kind], layout.order)
        else:
            kind, count = 4, 1
            inner = _lay(value, end + len(tail), layout)
            field = struct.pack(layout.order + "I", end + len(tail))
            tail += inner
        if len(field) > layout.word:
            tail += field + b"\0" * (len(field) % 2)
            start = end + len(tail) - len(field) - len(field) % 2
            field = struct.pack(layout.offset, start)
        raw[tag] = struct.pack(layout.entry, tag, kind, count) + field.ljust(layout.word, b"\0")
    body = b"".join(raw[tag] for tag in sorted(raw))
    return struct.pack(layout.count, number) + body + (following or b"\0" * layout.word) + tail
