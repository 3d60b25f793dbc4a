"""The name template: filled, checked, and wrong fields answered with the nearest."""

from __future__ import annotations

import pytest

from loopsr.apps.batch.names import FIELDS, parse_template
from loopsr.apps.batch.settings import Size
from loopsr.errors import UnknownNameError, UsageError


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{stem}_{size}{ext}", "photo.v2_x1.5.jpg"),
        ("{stem}_x{scale}{ext}", "photo.v2_x1.5.jpg"),
        ("{parent}-{number:04}{ext}", "album-0007.jpg"),
        ("{number}{ext}", "7.jpg"),
        ("big {{{stem}}}.png", "big {photo.v2}.png"),
        ("ü{stem}.webp", "üphoto.v2.webp"),
    ],
)
def test_fill(template: str, name: str) -> None:
    parsed = parse_template(template, Size(scale=1.5))
    assert parsed.fill("some/album/photo.v2.jpg", number=7, extension=".jpg") == name


def test_every_field_is_filled() -> None:
    parsed = parse_template("".join(f"{{{name}}}" for name in FIELDS), Size(scale=2))
    assert "{" not in parsed.fill("a/b.png", number=1, extension=".png")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{stme}{ext}", "'stme' is unknown; did you mean stem"),
        ("{Scale}{ext}", "did you mean scale"),
        ("{}{ext}", "known are"),
        ("{0}{ext}", "known are"),
        ("{stem.__class__}{ext}", "did you mean|known are"),
        ("{stem[0]}{ext}", "did you mean|known are"),
        ("{stem", "cannot be read"),
        ("{stem}}", "cannot be read"),
        ("{stem!r}{ext}", "takes one"),
        ("{stem:>9}{ext}", "takes one"),
        ("{number:{stem}}{ext}", "takes one"),
        ("{number:99999999999}{ext}", "takes one"),
        ("{parent}/{stem}{ext}", "holds a folder"),
        ("..\\{stem}{ext}", "holds a folder"),
        ("", "empty or hidden"),
        (".{stem}{ext}", "empty or hidden"),
    ],
)
def test_what_is_refused(template: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_template(template, Size(scale=2))


def test_a_scale_that_was_not_given() -> None:
    with pytest.raises(UsageError, match=r"write \{size\}"):
        parse_template("{stem}_x{scale}{ext}", Size(width=100))
    with pytest.raises(UnknownNameError):
        parse_template("{sclae}", Size(width=100))
