"""Sizes, times and lines as people write and read them."""

from __future__ import annotations

import pytest

from loopsr.cli.text import format_bytes, format_memory, format_seconds, one_line, parse_bytes
from loopsr.errors import UsageError


@pytest.mark.parametrize(
    ("text", "count"),
    [("2G", 2 << 30), ("1.5g", 3 << 29), ("500M", 500 << 20), ("500 MiB", 500 << 20), ("7", 7)],
)
def test_parse_bytes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "0", "-1", "2X", "1e9", "two", "2GG", "0.0G", "٢"])
def test_parse_bytes_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="500M or 2G"):
        parse_bytes(text)


def test_format_bytes() -> None:
    texts = [format_bytes(n) for n in (0, 999, 1000, 20480, 5e6, 3e12, 4e15)]
    assert texts == ["0 B", "999 B", "1.0 kB", "20 kB", "5.0 MB", "3.0 TB", "4000 TB"]


@pytest.mark.parametrize("text", ["7 B", "1.5 KiB", "500 MiB", "2.0 GiB", "30 TiB"])
def test_memory_is_shown_as_it_is_typed(text: str) -> None:
    assert format_memory(parse_bytes(text)) == text


def test_format_seconds() -> None:
    texts = [format_seconds(s) for s in (0.123, 9.99, 12.34, 200, 3600, 7500)]
    assert texts == ["0.12 s", "9.99 s", "12.3 s", "3 min 20 s", "1 h 00 min", "2 h 05 min"]


def test_one_line_shows_control_characters_instead_of_obeying_them() -> None:
    assert one_line("a\nb\tc \x1b[31m é") == r"a b\tc \x1b[31m é"
    assert "\x1b" not in one_line("\x1b]0;title\x07")
