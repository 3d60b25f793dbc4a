"""Colour: a test card comes out as it went in, whatever its matrix, range, depth and chroma."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from loopsr.apps.video.job import VideoSettings, run
from loopsr.apps.video.preview import preview
from loopsr.engine.upscaler import Upscaler
from loopsr.io.video import colour
from loopsr.io.video.clip import open_clip
from loopsr.io.video.layout import layout_of, plane_shapes, read_planes

from .clips import ClipMaker, Planes, decoded, steady

Array = NDArray[Any]
PATCH = 32  # pixels a side
BOUND = 2  # levels of 8 bits
# Corners, greys, skin, and what lies just inside black and white.
CARD = np.array(
    [
        *[[r, g, b] for r in (0, 1) for g in (0, 1) for b in (0, 1)],
        *[[v, v, v] for v in (0.02, 0.25, 0.5, 0.75, 0.98)],
        *([0.9, 0.6, 0.5], [0.2, 0.35, 0.7], [0.1, 0.5, 0.2]),
    ]
).reshape(4, 4, 3)
# FFmpeg's numbers of the matrix -> weights of red and blue (ITU-R BT.601, 709, 2020).
WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def coded_card(matrix: int, full: bool, depth: int) -> Array:
    """The card's patches (4, 4, 3) as Y, U, V in code values, computed by the standards' text."""
    red, blue = WEIGHTS[matrix]
    r, g, b = CARD[..., 0], CARD[..., 1], CARD[..., 2]
    y = red * r + (1 - red - blue) * g + blue * b
    pb, pr = (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)
    if full:
        top = 2**depth - 1
        codes = np.stack([y * top, pb * top + 2 ** (depth - 1), pr * top + 2 ** (depth - 1)], 2)
    else:
        unit = 2 ** (depth - 8)
        codes = np.stack([219 * y + 16, 224 * pb + 128, 224 * pr + 128], 2) * unit
    return np.round(codes).clip(0, 2**depth - 1)


def card_planes(codes: Array, pix_fmt: str) -> Planes:
    """Planes of flat patches."""
    layout = layout_of(pix_fmt)
    side = 4 * PATCH
    planes = []
    for index, shape in enumerate(plane_shapes(layout, side, side)):
        values = codes if len(shape) == 3 else codes[..., index]
        grown = values.repeat(shape[0] // 4, 0).repeat(shape[1] // 4, 1)
        planes.append(grown.astype(layout.dtype))
    return planes


def middles(plane: Array) -> Array:
    """The middle of each patch, (4, 4[, 3]), and that it is flat there."""
    size = plane.shape[0] // 4
    blocks = plane.reshape(4, size, 4, plane.shape[1] // 4, *plane.shape[2:])
    third, wide = size // 3, blocks.shape[3] // 3
    inner = blocks[:, third:-third, :, wide:-wide].astype(float)
    assert np.ptp(inner, axis=(1, 3)).max() <= (1 if plane.dtype == np.uint8 else 4)
    return inner.mean(axis=(1, 3))


CASES = [
    # source codec, pixel format, target, codec, crf, matrix, full range
    ("ffv1", "yuv420p", "mkv", "ffv1", None, 1, False),
    ("ffv1", "yuv420p10le", "mkv", "ffv1", None, 9, False),
    ("ffv1", "yuv444p", "mkv", "ffv1", None, 6, True),
    ("libx264", "yuv420p", "mp4", "h264", 4, 1, False),
    ("libx264", "yuv420p", "mp4", "h264", 4, 6, True),
    ("libx264", "yuv422p10le", "mp4", "h265", 4, 9, False),
    ("libx264", "yuv420p", "mkv", "av1", 4, 1, False),
    ("libx264", "yuv420p", "mov", "prores", None, 1, False),
]


@pytest.mark.parametrize("upscaler", ["linear", "loop-x2"])
@pytest.mark.parametrize(("source", "pix_fmt", "end", "codec", "crf", "matrix", "full"), CASES)
def test_card_through_decode_upscale_encode(
    tmp_path: Path,
    linear: Upscaler,
    upscaler: str,
    source: str,
    pix_fmt: str,
    end: str,
    codec: str,
    crf: int | None,
    matrix: int,
    full: bool,
) -> None:
    depth = layout_of(pix_fmt).depth
    codes = coded_card(matrix, full, depth)
    clip = ClipMaker(
        pix_fmt=pix_fmt,
        width=4 * PATCH,
        height=4 * PATCH,
        times=(0, 3600),
        frame=lambda _: card_planes(codes, pix_fmt),
        codec=source,
        options={"crf": "1"} if source == "libx264" else {},
        colour=(9 if matrix == 9 else 1, 1, matrix, 2 if full else 1),
    ).save(tmp_path / "card.mkv")
    target = tmp_path / f"large.{end}"
    chosen = linear if upscaler == "linear" else Upscaler(threads=1)
    run(clip, target, upscaler=chosen, settings=VideoSettings(codec=codec, crf=crf))
    frame = decoded(target)[0]
    assert (frame.width, frame.height) == (8 * PATCH, 8 * PATCH)
    assert frame.colorspace == matrix
    assert (frame.color_range == 2) == full or frame.format.name.startswith("yuvj")
    got = layout_of(frame.format.name)
    assert got.depth >= depth
    for index, plane in enumerate(read_planes(frame, got)):
        error = np.abs(middles(plane) / 2 ** (got.depth - 8) - codes[..., index] / 2 ** (depth - 8))
        assert error.max() < (0.01 if codec == "ffv1" else BOUND), f"plane {index}"


def test_planted_fault_a_wrong_matrix_is_seen() -> None:
    """The bound tells the matrices, and the ranges, apart."""
    for wrong in (coded_card(6, False, 8), coded_card(9, False, 8), coded_card(1, True, 8)):
        assert np.abs(coded_card(1, False, 8) - wrong).max() > 2 * BOUND


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("full", [False, True])
def test_preview_shows_the_card_in_rgb(
    tmp_path: Path, linear: Upscaler, matrix: int, full: bool
) -> None:
    codes = coded_card(matrix, full, 8)
    clip = ClipMaker(
        width=4 * PATCH,
        height=4 * PATCH,
        times=(0, 3600, 7200),
        frame=lambda _: card_planes(codes, "yuv420p"),
        codec="ffv1",
        colour=(1, 1, matrix, 2 if full else 1),
    ).save(tmp_path / "card.mkv")
    result = preview(clip, tmp_path / "card.png", at=0.05, upscaler=linear)
    assert (result.width, result.height) == (8 * PATCH, 8 * PATCH)
    image = pyvips.Image.new_from_file(str(tmp_path / "card.png"))
    shown = middles(image.numpy())
    assert np.abs(shown - CARD * 255).max() < BOUND


@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_rgb_source(tmp_path: Path, linear: Upscaler, codec: str) -> None:
    codes = np.round(CARD * 255)
    clip = ClipMaker(
        pix_fmt="bgr0",
        width=4 * PATCH,
        height=4 * PATCH,
        times=(0, 3600),
        frame=lambda _: card_planes(codes, "bgr0"),
        codec="ffv1",
        colour=(1, 1, 0, 2),
    ).save(tmp_path / "card.mkv")
    target = tmp_path / "large.mkv"
    crf = 1 if codec == "h264" else None
    run(clip, target, upscaler=linear, settings=VideoSettings(codec=codec, crf=crf))
    frame = decoded(target)[0]
    planes = read_planes(frame, layout_of("gbrp" if codec == "ffv1" else frame.format.name))
    if codec == "ffv1":
        np.testing.assert_array_equal(middles(planes[0]), codes)
        return
    assert frame.colorspace == 6  # of a small picture
    want = coded_card(6, False, 8)
    for index, plane in enumerate(planes):
        assert np.abs(middles(plane) - want[..., index]).max() < BOUND


RAMP = 6.0  # levels a pixel of luma


def ramp_planes(site: float, sub: int) -> Planes:
    """Chroma that grows evenly to the right, sampled ``site`` pixels after its luma sample."""
    luma = np.full((24, 32), 100, np.uint8)
    x = np.arange(32 // sub) * sub + site
    row = np.round(30 + RAMP * x).astype(np.uint8)
    return [luma, *[np.broadcast_to(row, (24 // sub, 32 // sub)).copy()] * 2]


def ramp_error(target: Path, site: float, sub: int) -> float:
    """The largest distance of the chroma from the same ramp, in levels, off the borders."""
    frame = decoded(target)[0]
    plane = read_planes(frame, layout_of(frame.format.name))[1]
    x = np.arange(plane.shape[1]) * sub + site
    # Pixel centres of the large picture lie at half-pixels of the small one.
    want = 30 + RAMP * ((x + 0.5) / 2 - 0.5)
    return float(np.abs(plane - want)[:, 8:-8].max())


@pytest.mark.parametrize(("name", "site"), [("left", 0.0), ("center", 0.5)])
def test_chroma_stays_at_its_place(
    tmp_path: Path, linear: Upscaler, name: str, site: float
) -> None:
    clip = ClipMaker(
        width=32,
        height=24,
        times=(0, 3600),
        frame=lambda _: ramp_planes(site, 2),
        options={"qp": "0", "chroma_sample_location": name},
    ).save(tmp_path / "ramp.mp4")
    target = tmp_path / "large.mkv"
    run(clip, target, upscaler=linear, settings=VideoSettings(codec="ffv1"))
    assert ramp_error(target, site, 2) <= 1.0
    other = 0.5 - site
    assert ramp_error(target, other, 2) > 1.0  # planted fault: the other place


def test_chroma_of_another_resolution(tmp_path: Path, linear: Upscaler) -> None:
    """4:2:0 into ProRes 4:2:2: made by interpolation, in its place, 8 bits into 10."""
    clip = ClipMaker(
        width=32, height=24, times=(0,), frame=lambda _: ramp_planes(0, 2), options={"qp": "0"}
    ).save(tmp_path / "ramp.mp4")
    target = tmp_path / "large.mov"
    run(clip, target, upscaler=linear, settings=VideoSettings(codec="prores"))
    frame = decoded(target)[0]
    assert frame.format.name == "yuv422p10le"
    plane = read_planes(frame, layout_of("yuv422p10le"))[1] / 4
    assert plane.shape == (48, 32)
    want = 30 + RAMP * ((np.arange(32) * 2 + 0.5) / 2 - 0.5)
    assert np.abs(plane - want)[:, 8:-8].max() < BOUND


def test_what_lies_outside_of_black_and_white_is_kept(tmp_path: Path, linear: Upscaler) -> None:
    """Footroom and headroom of limited range, which a detour over RGB would cut off."""

    def planes(_: int) -> Planes:
        luma = np.repeat(np.array([1, 8, 16, 235, 245, 254], np.uint8), 12)[None].repeat(24, 0)
        return [luma, np.full((12, 36), 20, np.uint8), np.full((12, 36), 240, np.uint8)]

    clip = ClipMaker(width=72, height=24, times=(0,), frame=planes, codec="ffv1").save(
        tmp_path / "pluge.mkv"
    )
    target = tmp_path / "large.mkv"
    run(clip, target, upscaler=linear, settings=VideoSettings(codec="ffv1"))
    luma, u, v = read_planes(decoded(target)[0], layout_of("yuv420p"))
    assert luma[24, 12::24].tolist() == [1, 8, 16, 235, 245, 254]
    assert u[12, 18] == 20
    assert v[12, 18] == 240


def test_a_matrix_that_nobody_knows_is_taken_by_the_size() -> None:
    small = colour.Colour()
    grey = [np.full((2, 2), value, np.float32) for value in (126, 90, 180)]
    sd = colour.rgb_from_yuv(grey, small, 255, 480)
    hd = colour.rgb_from_yuv(grey, small, 255, 1080)
    assert not np.allclose(sd, hd)
    known = colour.Colour(matrix=1)
    np.testing.assert_array_equal(hd, colour.rgb_from_yuv(grey, known, 255, 480))


def test_there_and_back() -> None:
    for matrix in WEIGHTS:
        for wide in (1, 2):
            tags = colour.Colour(matrix=matrix, range=wide)
            rgb = CARD.astype(np.float32)
            planes = colour.yuv_from_rgb(rgb, tags, 1023)
            back = colour.rgb_from_yuv(planes, tags, 1023, 48)
            assert np.abs(back - rgb).max() < 1e-5


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads have names here: Linux")
def test_no_decoder_runs_while_the_log_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder's thread that logs then waits for the GIL, and its closing for that thread."""
    clip = ClipMaker(times=steady(40), audio="aac").save(tmp_path / "in.mp4")
    seen: list[str] = []

    def show(frame: object) -> None:
        assert av.logging.get_level() == av.logging.INFO
        names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
        seen.extend(name for name in names if name.startswith("av:"))
        real(frame)

    real = colour._show
    monkeypatch.setattr(colour, "_show", show)
    assert open_clip(clip).colour.site == "left"
    assert seen == []
    assert av.logging.get_level() is None


def test_the_log_is_off_after_two_who_listened_at_once(tmp_path: Path) -> None:
    clip = ClipMaker(times=steady(3)).save(tmp_path / "in.mp4")
    with ThreadPoolExecutor(4) as pool:
        sites = list(pool.map(lambda _: open_clip(clip).colour.site, range(64)))
    assert set(sites) == {"left"}
    assert av.logging.get_level() is None
