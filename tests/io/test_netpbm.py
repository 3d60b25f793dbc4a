"""PPM, PGM and PBM in all six kinds."""

from __future__ import annotations

import numpy as np
import pytest

from loopsr import io as pictures
from loopsr.errors import ImageReadError


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"P1\n# a comment\n3 2\n1 0 1\n010\n", [[0, 255, 0], [255, 0, 255]]),
        (b"P2 2 1 255 7 255", [[7, 255]]),
        (b"P2 2 1 15 0 15\n", [[0, 255]]),
        (b"P3 1 1 255 1 2 3", [[[1, 2, 3]]]),
        (b"P4 9 1\n\x80\x80", [[0, 255, 255, 255, 255, 255, 255, 255, 0]]),
        (b"P5 2 1 255\n\x07\xff", [[7, 255]]),
        (b"P5 2 1 #x\n 100\n\x00\x64", [[0, 255]]),
        (b"P5 1 1 65535\n\x12\x34", [[0x1234]]),
        (b"P5 1 1 1023\n\x03\xff", [[65535]]),
        (b"P6 1 1 255\n\x01\x02\x03", [[[1, 2, 3]]]),
    ],
)
def test_reads(data: bytes, wanted: list[object]) -> None:
    got = pictures.open_picture(data).pixels()
    assert np.array_equal(got, np.array(wanted).reshape(got.shape))


@pytest.mark.parametrize(
    "data",
    [
        b"P5",
        b"P5 2",
        b"P5 2 2 255\n\x01\x02\x03",
        b"P6 1 1 65535\n\x01\x02\x03",
        b"P5 0 2 255\n",
        b"P5 2 2 0\n1234",
        b"P5 2 2 70000\n12345678",
        b"P5 99999999999999999999 2 255\n1234",
        b"P2 2 2 255 1 2 3 x",
        b"P2 2 2 255 1 2 3",
        b"P2 1 1 255 -5",
        b"P2 1 1 255 99999999999999999",
        b"P1 2 2 101",
        b"P4 9 2\n\x01\x02\x03",
    ],
)
def test_refuses(data: bytes) -> None:
    with pytest.raises(ImageReadError):
        pictures.open_picture(data).pixels()
