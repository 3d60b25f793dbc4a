"""What lies beside the picture: several sounds, covers, fonts, tags; and sources of many kinds."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import pyvips
from av.stream import Disposition

from loopsr.apps.video.job import VideoSettings, run
from loopsr.engine.upscaler import Upscaler
from loopsr.io.video.clip import open_clip
from loopsr.io.video.layout import layout_of, make_frame, read_planes

from .clips import ClipMaker, decoded, moving, packets, steady, tone

FONT = b"a font, or so" * 50


def picture(out: Any, options: dict[str, str] | None = None, codec: str = "libx264") -> Any:
    video = out.add_stream(codec, rate=25, options=options or {})
    video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
    return video


def pictures(video: Any, count: int = 25) -> list[Any]:
    make, layout, coded = moving("yuv420p", 64, 48), layout_of("yuv420p"), []
    for number in range(count):
        frame = make_frame(make(number), layout)
        frame.pts, frame.time_base = number, Fraction(1, 25)
        coded += video.encode(frame)
    return coded + video.encode(None)


@pytest.fixture
def rich(tmp_path: Path) -> Path:
    """Matroska with two sounds, a font, and words on each stream."""
    path = tmp_path / "rich.mkv"
    with av.open(str(path), "w") as out:
        video = picture(out)
        video.metadata["title"] = "Angle"
        sounds = [out.add_stream(codec, rate=48000) for codec in ("aac", "libopus")]
        for sound, language in zip(sounds, ("eng", "deu"), strict=True):
            sound.layout = "stereo"
            sound.metadata.update(language=language, title=f"In {language}")
        sounds[1].disposition = Disposition.comment
        out.add_attachment("font.ttf", "application/x-truetype-font", FONT)
        for packet in (*pictures(video), *tone(sounds[0], 1), *tone(sounds[1], 1)):
            out.mux(packet)
    return path


def all_packets(path: Path, index: int) -> list[tuple[int, bytes]]:
    with av.open(str(path)) as container:
        stream = container.streams[index]
        return [(p.pts, bytes(p)) for p in container.demux(stream) if p.size]


def test_all_streams_of_matroska(tmp_path: Path, rich: Path, linear: Upscaler) -> None:
    target = tmp_path / "out.mkv"
    run(rich, target, upscaler=linear)
    with av.open(str(target)) as out:
        video, first, second, font = out.streams
        assert video.metadata["title"] == "Angle"
        assert [s.metadata["language"] for s in (first, second)] == ["eng", "deu"]
        assert second.metadata["title"] == "In deu"
        assert second.disposition == Disposition.comment
        assert (font.name, font.mimetype, font.data) == (
            "font.ttf",
            "application/x-truetype-font",
            FONT,
        )
    for index in (1, 2):
        assert all_packets(target, index) == all_packets(rich, index)


def test_what_mp4_cannot_hold_is_said(
    tmp_path: Path, rich: Path, linear: Upscaler, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "out.mp4"
    run(rich, target, upscaler=linear)
    assert "attachment stream 3 (font.ttf) cannot be kept in .mp4" in caplog.text
    for index in (1, 2):
        assert [d for _, d in all_packets(target, index)] == [
            d for _, d in all_packets(rich, index)
        ]


@pytest.mark.parametrize("end", ["mp4", "mkv"])
def test_cover(
    tmp_path: Path, linear: Upscaler, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    png = pyvips.Image.black(32, 32, bands=3).pngsave_buffer()
    source = tmp_path / "in.mp4"
    with av.open(str(source), "w") as out:
        video = picture(out)
        cover = out.add_mux_stream("png", width=32, height=32)
        cover.disposition = Disposition.attached_pic
        coded = pictures(video)
        packet = av.Packet(png)
        packet.stream, packet.is_keyframe = cover, True
        packet.pts, packet.dts, packet.time_base = 0, 0, Fraction(1, 25)
        for each in (packet, *coded):
            out.mux(each)
    target = tmp_path / f"out.{end}"
    result = run(source, target, upscaler=linear)
    again = tmp_path / "again.mkv"
    run(target, again, upscaler=linear)
    for path in (target, again):
        with av.open(str(path)) as out:
            kept = next(s for s in out.streams.video if s.disposition & Disposition.attached_pic)
            assert [bytes(p) for p in out.demux(kept) if p.size] == [png]
    assert result.frames == 25
    assert not caplog.records


def test_tags_that_mp4_does_not_know(tmp_path: Path, linear: Upscaler) -> None:
    source = ClipMaker(tags={"TITLE": "A", "com.maker.lens": "28mm"}).save(tmp_path / "in.mkv")
    for end in ("mp4", "mkv"):
        target = tmp_path / f"out.{end}"
        run(source, target, upscaler=linear)
        with av.open(str(target)) as out:
            tags = {key.lower(): text for key, text in out.metadata.items()}
        assert tags["title"] == "A"
        assert tags["com.maker.lens"] == "28mm"


def test_transport_stream_starts_at_zero(tmp_path: Path, linear: Upscaler) -> None:
    source = ClipMaker(times=steady(25), audio="mp3").save(tmp_path / "in.ts", format="mpegts")
    with av.open(str(source)) as container:
        assert container.start_time > 0
    target = tmp_path / "out.mkv"
    run(source, target, upscaler=linear)
    old, new = ([f.time for f in decoded(path)] for path in (source, target))
    assert new[0] < 0.1
    gap = old[0] - packets(source, "audio")[0][0]
    assert new[0] - packets(target, "audio")[0][0] == pytest.approx(gap, abs=0.002)
    assert [t - new[0] for t in new] == pytest.approx([t - old[0] for t in old], abs=0.002)
    assert [d for _, d in packets(target, "audio")] == [d for _, d in packets(source, "audio")]


def test_b_frames_without_times_of_showing(tmp_path: Path, linear: Upscaler) -> None:
    source = tmp_path / "in.avi"
    with av.open(str(source), "w") as out:
        video = picture(out, {"bf": "2"}, "mpeg4")
        for packet in pictures(video):
            out.mux(packet)
    target = tmp_path / "out.mp4"
    assert run(source, target, upscaler=linear).frames == 25
    times = [frame.time for frame in decoded(target)]
    assert [b - a for a, b in pairwise(times)] == pytest.approx([0.04] * 24)


@pytest.mark.parametrize(
    ("end", "codec", "pix_fmt", "working"),
    [
        ("mov", "qtrle", "rgb24", "gbrp"),
        ("mov", "png", "rgba", "gbrap"),
        ("avi", "rawvideo", "bgr24", "gbrp"),
        ("mkv", "rawvideo", "nv12", "yuv420p"),
        ("mov", "v210", "yuv422p10le", "yuv422p10le"),
        ("avi", "mjpeg", "yuvj422p", "yuvj422p"),
    ],
)
def test_other_pixel_formats(
    tmp_path: Path, linear: Upscaler, end: str, codec: str, pix_fmt: str, working: str
) -> None:
    """Losslessly into planes and FFV1: flat colours are the same to the level."""
    rgb = np.zeros((48, 72, 3), np.uint8)
    rgb[:, :24], rgb[:, 24:48], rgb[:, 48:] = (200, 30, 40), (20, 180, 60), (128, 128, 128)
    source = tmp_path / f"in.{end}"
    with av.open(str(source), "w") as out:
        video = out.add_stream(codec, rate=10)
        video.width, video.height, video.pix_fmt = 72, 48, pix_fmt
        frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=pix_fmt)
        frame.pts, frame.time_base = 0, Fraction(1, 10)
        for packet in (*video.encode(frame), *video.encode(None)):
            out.mux(packet)
    clip = open_clip(source)
    assert clip.layout.name == working
    target = tmp_path / "out.mkv"
    run(source, target, upscaler=linear, settings=VideoSettings(codec="ffv1"))
    old = read_planes(decoded(source)[0], clip.layout)
    new = decoded(target)[0]
    packed = {"bgr0": "gbrp", "bgra": "gbrap"}.get(new.format.name, new.format.name)
    for before, after in zip(old, read_planes(new, layout_of(packed)), strict=True):
        height, width = before.shape[:2]
        for third in (1, 3, 5):
            x = third * width // 6
            np.testing.assert_array_equal(after[height, 2 * x], before[height // 2, x])


def test_full_range_into_a_codec_that_has_none(tmp_path: Path, linear: Upscaler) -> None:
    planes = [np.full((48, 64), 255, np.uint8), *[np.full((24, 32), 200, np.uint8)] * 2]
    source = ClipMaker(frame=lambda _: planes, codec="ffv1", colour=(1, 1, 1, 2)).save(
        tmp_path / "in.mkv"
    )
    target = tmp_path / "out.mov"
    run(source, target, upscaler=linear, settings=VideoSettings(codec="prores"))
    frame = decoded(target)[0]
    assert frame.color_range == 1
    luma, u, _ = read_planes(frame, layout_of("yuv422p10le"))
    assert luma[40, 60] == pytest.approx(940, abs=2)
    assert u[40, 30] == pytest.approx(512 + (200 - 128) * 896 / 255, abs=2)


def test_names_that_look_like_protocols(tmp_path: Path, linear: Upscaler) -> None:
    source = ClipMaker().save(tmp_path / "in.mkv").rename(tmp_path / "a:b %03d 'é.mkv")
    target = tmp_path / "http:c %d.mp4"
    run(source, target, upscaler=linear)
    assert target.is_file()
