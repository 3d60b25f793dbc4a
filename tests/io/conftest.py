"""Pictures for the tests, made by other codecs than the ones under test (Pillow)."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from loopsr import io as pictures


def scene(width: int = 60, height: int = 40, channels: int = 3, dtype: Any = np.uint8) -> Any:
    """Smooth, asymmetric in every direction, with a little seeded noise; (height, width, c)."""
    y, x = np.mgrid[0:height, 0:width]
    ramps = (x / width, y / height, (x + 2 * y) / (width + 2 * height), 1 - x / width)
    noise = np.random.default_rng(7).uniform(-0.02, 0.02, (height, width, channels))
    top = np.iinfo(dtype).max
    planes = np.stack(ramps[:channels], axis=-1) * 0.8 + 0.1 + noise
    return np.rint(np.clip(planes, 0, 1) * top).astype(dtype)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def wrote(
    pixels: NDArray[Any], kind: str, traits: pictures.Traits | None = None, **options: Any
) -> bytes:
    """The bytes of a file that loopsr.io writes."""
    picture = pictures.open_pixels(pixels)
    data = pictures.write_picture(
        None,
        [picture.rows()],
        width=picture.width,
        height=picture.height,
        traits=traits or picture.traits,
        format=kind,
        **options,
    )
    assert data is not None
    return data


def passed(picture: pictures.Picture, kind: str, **options: Any) -> bytes:
    """A picture as it was opened, written again."""
    data = pictures.write_picture(
        None,
        [picture.rows(frame) for frame in range(picture.frames)],
        width=picture.width,
        height=picture.height,
        traits=picture.traits,
        format=kind,
        **options,
    )
    assert data is not None
    return data


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The functions above, for tests that cannot import a neighbour."""
    return SimpleNamespace(scene=scene, encoded=encoded, wrote=wrote, passed=passed)
