"""The template of a result's file name, as in ``{stem}_{size}{ext}``."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

from loopsr.apps.batch.kinds import is_video
from loopsr.apps.batch.settings import Size
from loopsr.errors import UnknownNameError, UsageError

DEFAULT = "{stem}_{size}{ext}"
PREVIEW = "{stem}_{size}_preview{ext}"
FIELDS: dict[str, str] = {
    "stem": "the input's name without its ending",
    "ext": "the ending of the format that is written, with its point",
    "scale": "the factor, such as 4 or 1.5",
    "size": "the size as it was asked for, such as x4, w1920 or long3840",
    "parent": "the name of the folder that the input lies in",
    "number": "the place in the run, from 1; {number:04} has four digits",
}


@dataclass(frozen=True)
class Template:
    """A checked template; ``fill`` gives the name of one result.

    ``video_size`` is the size that videos are enlarged to, where it is another one.
    """

    text: str
    size: Size
    video_size: Size | None = None

    def fill(self, source: str, *, number: int, extension: str) -> str:
        """The name for an input; ``extension`` is that of its format, with the point."""
        path = Path(source)
        size = (self.video_size if is_video(source) else None) or self.size
        return self.text.format(
            stem=path.stem,
            ext=extension,
            scale=f"{size.scale:g}" if size.scale is not None else "",
            size=size.label(),
            parent=path.absolute().parent.name,
            number=number,
        )


def parse_template(text: str, size: Size, video_size: Size | None = None) -> Template:
    """Check a template. Raises ``UsageError``; for an unknown field it names the nearest."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise UsageError(
            f"the name {text!r} cannot be read ({error}); write it like {DEFAULT!r}"
        ) from None
    for literal, name, spec, conversion in parts:
        if "/" in literal or "\\" in literal or "\0" in literal:
            raise UsageError(
                f"the name {text!r} holds a folder; folders are mirrored, pass the top one to -o"
            )
        if name is None:
            continue
        if name not in FIELDS:
            raise UnknownNameError("field of --name", name, FIELDS)
        digits = (spec or "").isascii() and (spec or "0").isdigit() and int(spec or 0) < 20
        if conversion or (spec and (name != "number" or not digits)):
            raise UsageError(
                f"the name {text!r} gives {{{name}}} a format; only {{number:04}} takes one"
            )
        if name == "scale" and size.scale is None:
            raise UsageError(
                f"the name {text!r} has {{scale}}, but no --scale is given; write {{size}}"
            )
    if not text.strip() or text.startswith("."):
        raise UsageError(f"the name {text!r} is empty or hidden; write it like {DEFAULT!r}")
    return Template(text, size, video_size)
