"""Small pieces of text that several subcommands print alike."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loopsr.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def whole(most: int = 2**31) -> Callable[[str], int]:
    """An option type: a whole number from 1; unlike click's range it adds nothing to the help."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,10}", text, re.A) or not 1 <= int(text) <= most:
            bound = f"from 1 to {most}" if most < 2**31 else "of at least 1"
            raise click.BadParameter(f"got {text!r}, a whole number {bound} was expected")
        return int(text)

    return parse


def moment(text: str) -> float:
    """An option type: a time as seconds, minutes:seconds or hours:minutes:seconds."""
    match = re.fullmatch(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,9}(?:\.\d{1,9})?)", text, re.A)
    if not match:
        raise click.BadParameter(f"got {text!r}, a time such as 90, 1:30 or 0:01:30.5 was expected")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def seconds(text: str) -> float:
    """An option type: a length of time such as ``5s``, ``5``, ``0.5s``, ``2m`` or ``2min``."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*(s|m|min|)", text.strip(), re.A)
    if not match or float(match[1]) == 0:
        raise click.BadParameter(f"got {text!r}, a time such as 5s or 2min was expected")
    return float(match[1]) * (60 if match[2].startswith("m") else 1)


def one_line(message: str) -> str:
    """The message on one line, control characters shown instead of obeyed.

    A file name may hold newlines or terminal escapes; neither may reach the terminal as such.
    """
    line = " ".join(part.strip() for part in message.splitlines())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def set_names(folders: Sequence[Path]) -> list[str]:
    """The names of folders of pictures, all different; that of a folder HR is its parent's."""
    from loopsr.engine.opener import numbered  # slow import: not for --help

    # Not resolve(): a link keeps the name that its owner gave it.
    paths = [Path(os.path.normpath(folder.absolute())) for folder in folders]
    paths = [path.parent if path.name == "HR" else path for path in paths]
    return numbered(path.name or str(path) for path in paths)


def stdout() -> Console:
    """Standard output for tables; text is printed as it is, without markup or codes of emoji.

    File names may hold both: ``[a]`` and ``:x:``.
    """
    from rich.console import Console  # slow import: not for --help

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200  # a pipe has no width: never cut or wrap what a script reads
    return console


def named(source: str, message: str) -> str:
    """The message, led by the file as the user named it ("-" is stdin), and by that only once."""
    if source == "-":
        return f"stdin: {message}"
    if source in message:
        return message
    return f"{source}: {message.removeprefix(Path(source).name + ': ')}"


def parse_bytes(text: str) -> int:
    """``2G``, ``1.5GiB``, ``500M`` or ``800000`` in bytes (powers of 1024).

    Raises ``UsageError`` for anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.I | re.A)
    if not match or float(match[1]) == 0:
        raise UsageError(f"{text!r} is no amount of memory; write it as 500M or 2G")
    return int(float(match[1]) * _BYTES[match[2].upper()])


def format_bytes(count: float) -> str:
    """The size of a file: 1500 as ``1.5 kB``; one digit after the point below ten."""
    return _scaled(count, 1000, ("B", "kB", "MB", "GB", "TB"))


def format_memory(count: float) -> str:
    """An amount of memory, in the powers of 1024 of ``parse_bytes``: ``500 MiB`` for 500M."""
    return _scaled(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def _scaled(count: float, base: int, units: Sequence[str]) -> str:
    power = next((p for p in range(len(units) - 1) if count < base ** (p + 1)), len(units) - 1)
    value = count / base**power
    digits = 1 if value < 10 and power else 0
    return f"{value:.{digits}f} {units[power]}"


def format_seconds(seconds: float) -> str:
    """``0.42 s``, ``12.3 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
