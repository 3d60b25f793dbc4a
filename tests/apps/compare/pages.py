"""Reads a page of comparison as a browser would, and checks that it stands alone."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

_VOID = {"meta", "img", "input", "br", "link"}


class _Parser(HTMLParser):
    """Collects what a page would load, its scripts, and whether its tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.title = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "data")]
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts[-1] += data
        if self.open[-1:] == ["title"]:
            self.title += data


def read_page(text: str) -> dict[str, Any]:
    """The data of a page; fails for one that is broken or would load something."""
    parser = _Parser()
    parser.feed(text)
    assert not parser.open
    assert not parser.loads
    data, script = parser.scripts  # no text of a user opened a third
    assert not re.search(r"https?:|\bfetch\b|@import|import\(|innerHTML|eval\(", script)
    assert not re.search(r"https?://|url\(", text.partition("<body>")[0])
    page: dict[str, Any] = json.loads(data)
    assert parser.title == page["title"]
    return page


def decode(uri: str) -> NDArray[np.uint8]:
    """The pixels of a data URI."""
    kind, _, data = uri.partition(";base64,")
    assert kind in ("data:image/webp", "data:image/png")
    image = pyvips.Image.new_from_buffer(base64.b64decode(data), "")
    pixels: NDArray[np.uint8] = image.numpy()
    return pixels
