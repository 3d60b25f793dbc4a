"""Files: real codecs at both ends, and nothing left behind when it goes wrong."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from loopsr import (
    Cancelled,
    ImageReadError,
    ImageWriteError,
    Upscaler,
    UsageError,
    upscale_file,
)
from loopsr.engine import files
from loopsr.io.formats import Encoding

Photo = Callable[[int, int], NDArray[np.float32]]


@pytest.fixture
def upscaler(weights: Path) -> Upscaler:
    return Upscaler(threads=1, tile=16)


@pytest.fixture
def source(tmp_path: Path, photo: Photo) -> Path:
    path = tmp_path / "in.png"
    Image.fromarray(np.round(photo(20, 30) * 255).astype(np.uint8)).save(path)
    return path


def pixels_of(path: Path | io.BytesIO) -> NDArray[Any]:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("scale", [2, 8])
def test_a_file_is_what_the_library_computes(
    upscaler: Upscaler, source: Path, tmp_path: Path, scale: int
) -> None:
    target = tmp_path / "out.png"
    result = upscale_file(source, target, upscaler=upscaler, scale=scale)
    assert np.array_equal(pixels_of(target), upscaler(pixels_of(source), scale=scale))
    facts = json.loads(json.dumps(dataclasses.asdict(result)))
    assert facts.pop("seconds") >= 0
    assert facts == {
        "source": str(source),
        "target": str(target),
        "source_width": 30,
        "source_height": 20,
        "width": 30 * scale,
        "height": 20 * scale,
        "frames": 1,
        "model": {2: "loop-x2", 8: "loop-x4 + loop-x2"}[scale],
        "format": "png",
        "steps": 1.0,
        "bicubic": 0.0,
    }


def test_a_reduced_file_is_what_the_library_computes(
    upscaler: Upscaler, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.png"
    upscale_file(source, target, upscaler=upscaler, width=50)
    expected = upscaler(pixels_of(source), width=50).astype(int)
    assert np.abs(pixels_of(target) - expected).max() <= 1


def test_sixteen_bits_and_alpha(upscaler: Upscaler, tmp_path: Path, photo: Photo) -> None:
    import pyvips

    pixels = np.dstack([photo(20, 30), photo(20, 30)[..., 0]])
    deep = np.round(pixels * 65535).astype(np.uint16)
    source, target = tmp_path / "in.png", tmp_path / "out.tif"
    pyvips.Image.new_from_array(deep).copy(interpretation="rgb16").write_to_file(str(source))
    upscale_file(source, target, upscaler=upscaler, scale=2)
    written = pyvips.Image.new_from_file(str(target))
    assert (written.format, written.bands) == ("ushort", 4)
    assert np.array_equal(written.numpy(), upscaler(deep, scale=2))


def test_grey_stays_grey(upscaler: Upscaler, tmp_path: Path, photo: Photo) -> None:
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(np.round(photo(20, 30)[..., 0] * 255).astype(np.uint8)).save(source)
    upscale_file(source, target, upscaler=upscaler, scale=2)
    with Image.open(target) as image:
        assert image.mode == "L"


def test_bytes_to_a_stream(upscaler: Upscaler, source: Path, tmp_path: Path) -> None:
    stream = io.BytesIO()
    result = upscale_file(source.read_bytes(), stream, upscaler=upscaler, scale=2)
    assert (result.source, result.target, result.format) == ("-", "-", "png")
    assert np.array_equal(pixels_of(stream), upscaler(pixels_of(source), scale=2))
    jpeg = io.BytesIO()
    result = upscale_file(
        source, jpeg, upscaler=upscaler, scale=2, format="jpeg", encoding=Encoding(quality=80)
    )
    assert result.format == "jpeg"
    assert jpeg.getvalue()[:2] == b"\xff\xd8"


@pytest.mark.parametrize("scale", [2, 1.5])
def test_animation_frame_by_frame(
    upscaler: Upscaler, tmp_path: Path, photo: Photo, scale: float
) -> None:
    source, target = tmp_path / "in.webp", tmp_path / "out.webp"
    stills = [
        Image.fromarray(np.round(photo(20, 30 + i)[:, :30] * 255).astype(np.uint8))
        for i in range(3)
    ]
    stills[0].save(
        source,
        save_all=True,
        append_images=stills[1:],
        duration=[50, 60, 70],
        loop=2,
        lossless=True,
    )
    done: list[float] = []
    result = upscale_file(
        source,
        target,
        upscaler=upscaler,
        scale=scale,
        encoding=Encoding(lossless=True),
        progress=done.append,
    )
    assert result.frames == 3
    assert done[-1] == pytest.approx(1)
    with Image.open(target) as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (3, (30 * scale, 20 * scale), 2)
        for number, still in enumerate(stills):
            image.seek(number)
            expected = upscaler(np.asarray(still), scale=scale).astype(int)
            assert np.abs(np.asarray(image.convert("RGB")) - expected).max() <= 1


def left_over(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"in.png"}


def test_cancelling_leaves_nothing(upscaler: Upscaler, source: Path, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        upscale_file(
            source, tmp_path / "out.png", upscaler=upscaler, scale=2, progress=lambda done: False
        )
    assert left_over(tmp_path) == set()


def test_an_interrupt_leaves_nothing(upscaler: Upscaler, source: Path, tmp_path: Path) -> None:
    def interrupt(done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upscale_file(source, tmp_path / "out.png", upscaler=upscaler, scale=2, progress=interrupt)
    assert left_over(tmp_path) == set()


def test_a_truncated_picture_leaves_nothing(
    upscaler: Upscaler, source: Path, tmp_path: Path
) -> None:
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageReadError):
        upscale_file(source, tmp_path / "out.png", upscaler=upscaler, scale=2)
    assert left_over(tmp_path) == set()


@pytest.mark.parametrize(
    ("name", "size", "error"),
    [
        ("out.webp", {"scale": 16}, ImageWriteError),
        ("out.xyz", {"scale": 2}, UsageError),
        ("in.png", {"scale": 2}, ImageWriteError),
        ("out.png", {"scale": 0.5}, UsageError),
        ("out.png", {"width": 30}, UsageError),
        ("no/such/folder/out.png", {"scale": 2}, ImageWriteError),
    ],
)
def test_checked_before_computing(
    upscaler: Upscaler, tmp_path: Path, name: str, size: dict[str, Any], error: type
) -> None:
    source = tmp_path / "in.png"
    Image.new("RGB", (2000, 4)).save(source)
    done: list[float] = []
    with pytest.raises(error):
        upscale_file(
            source, tmp_path / name, upscaler=upscaler, overwrite=True, progress=done.append, **size
        )
    assert done == []
    assert left_over(tmp_path) == set()


def test_a_full_disk_is_seen_before_computing(
    upscaler: Upscaler, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage)
    done: list[float] = []
    with pytest.raises(ImageWriteError, match="are free"):
        upscale_file(source, tmp_path / "out.png", upscaler=upscaler, scale=2, progress=done.append)
    assert done == []


def test_existing_files_are_kept(upscaler: Upscaler, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    target.write_text("mine")
    with pytest.raises(ImageWriteError, match="overwrite"):
        upscale_file(source, target, upscaler=upscaler, scale=2)
    assert target.read_text() == "mine"
    upscale_file(source, target, upscaler=upscaler, scale=2, overwrite=True)
    assert pixels_of(target).shape == (40, 60, 3)


MEASURE = """
import re, sys
import numpy as np
from loopsr.engine import networks, passes, upscaler as module
from loopsr.engine.files import upscale_file
from loopsr.weights import catalogue
from pathlib import Path

class Repeat:
    name = "repeat"
    def run(self, pixels):
        return pixels.repeat(2, axis=2).repeat(2, axis=3)

networks.open_backend = lambda *a, **k: Repeat()
catalogue.FOLDER = Path(sys.argv[1])
source, target, fault = sys.argv[2:]
if fault == "hoard":
    rows = passes.upscale_rows
    passes.upscale_rows = lambda *a, **k: iter(list(rows(*a, **k)))
made = module.Upscaler("loop-x2", max_memory=400 << 20)
upscale_file(source, target, upscaler=made, scale=2)
# Not ru_maxrss: a process inherits that from the one that started it.
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts resident memory as Linux does")
@pytest.mark.parametrize(("fault", "held"), [("", False), ("hoard", True)])
def test_memory_is_bounded(weights: Path, tmp_path: Path, fault: str, held: bool) -> None:
    """12 megapixels at x2 make 576 MB of float samples; of these a few bands are held."""
    import subprocess

    import pyvips

    source, target = tmp_path / "in.tif", tmp_path / "out.ppm"
    noise = pyvips.Image.gaussnoise(3000, 4000, sigma=40, mean=128).cast("uchar")
    noise.bandjoin([noise, noise]).copy(interpretation="srgb").tiffsave(str(source))
    arguments = [sys.executable, "-c", MEASURE, str(weights), str(source), str(target), fault]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    assert (int(done.stdout) > 400) is held
    assert target.stat().st_size > 3 * 6000 * 8000
