"""Whole videos through real codecs: what was in the source is in the result."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import pyvips

from loopsr.apps.video.job import VideoSettings, run
from loopsr.apps.video.preview import preview
from loopsr.engine.frames import FrameUpscaler
from loopsr.engine.upscaler import Upscaler
from loopsr.errors import MissingExtraError, UsageError, VideoReadError, VideoWriteError
from loopsr.io.video import pyav

from .clips import BASE, ClipMaker, Planes, decoded, moving, packets, steady

# Steps of all lengths, as a phone or a screen recorder makes them.
UNEVEN = (0, 3600, 9000, 10800, 20000, 23000, 23600, 30000, 33000, 34000, 60000, 63000)
FILM = ClipMaker(
    times=UNEVEN,
    audio="aac",
    rotation=90,
    language="fra",
    tags={"title": "A film", "artist": "somebody"},
    chapters=((0, 0.25, "one"), (0.25, 0.7, "two")),
)


def times(path: Path) -> list[float]:
    return [round(frame.time, 6) for frame in decoded(path)]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FILM.save(tmp_path_factory.mktemp("film") / "film.mp4")


@pytest.mark.parametrize(
    ("codec", "end", "pix_fmt"),
    [
        ("h264", "mp4", "yuv420p"),
        ("h265", "mp4", "yuv420p"),
        ("av1", "mp4", "yuv420p"),
        ("prores", "mov", "yuv422p10le"),
        ("ffv1", "mkv", "yuv420p"),
    ],
)
def test_every_codec_keeps_the_rest(
    tmp_path: Path, film: Path, linear: Upscaler, codec: str, end: str, pix_fmt: str
) -> None:
    target = tmp_path / f"large.{end}"
    result = run(film, target, upscaler=linear, settings=VideoSettings(codec=codec))
    assert (result.frames, result.width, result.height) == (12, 128, 96)
    assert result.format == codec
    with av.open(str(target)) as out:
        assert out.metadata["title"] == "A film"
        assert out.streams.audio[0].language == "fra"
        chapters = [(float(c["start"] * c["time_base"]), c["metadata"]) for c in out.chapters()]
        assert chapters == [(0, {"title": "one"}), (0.25, {"title": "two"})]
    frames = decoded(target)
    first = frames[0]
    assert (first.width, first.height, first.rotation) == (128, 96, 90)
    assert first.format.name == pix_fmt
    tags = first.color_primaries, first.color_trc, first.colorspace, first.color_range
    assert tags == (1, 1, 1, 1)
    if end == "mkv":  # it counts whole milliseconds, and from the first sound
        steps = [round(b - a, 3) for a, b in pairwise(times(target))]
        wanted = [(b - a) / 90000 for a, b in pairwise(UNEVEN)]
        assert steps == pytest.approx(wanted, abs=0.002)
    else:
        assert [frame.pts * frame.time_base for frame in frames] == [t * BASE for t in UNEVEN]
    assert [data for _, data in packets(target, "audio")] == [
        data for _, data in packets(film, "audio")
    ]
    assert {path.name for path in tmp_path.iterdir()} == {target.name}


def test_sound_stays_in_time(tmp_path: Path, film: Path, linear: Upscaler) -> None:
    target = tmp_path / "large.mp4"
    run(film, target, upscaler=linear)
    assert packets(target, "audio") == packets(film, "audio")


@pytest.mark.parametrize("codec", ["flac", "libopus", "libmp3lame", "pcm_s16le"])
def test_any_sound_is_copied_bit_by_bit(tmp_path: Path, linear: Upscaler, codec: str) -> None:
    source = ClipMaker(audio=codec).save(tmp_path / "in.mkv")
    target = tmp_path / "out.mkv"
    run(source, target, upscaler=linear)
    assert packets(target, "audio") == packets(source, "audio")


WORDS = ((0.1, 0.3, "Hello <i>you</i>"), (0.3, 0.4, "Grüße\nzwei Zeilen"))


def test_subtitles(tmp_path: Path, linear: Upscaler) -> None:
    source = ClipMaker(subtitles=WORDS).save(tmp_path / "in.mkv")
    run(source, tmp_path / "same.mkv", upscaler=linear)
    assert packets(tmp_path / "same.mkv", "subtitle") == packets(source, "subtitle")
    run(source, tmp_path / "other.mp4", upscaler=linear)
    shown = [(t, data[2:].decode()) for t, data in packets(tmp_path / "other.mp4", "subtitle")]
    assert [(t, text) for t, text in shown if text] == [
        (0.1, "Hello you"),
        (0.3, "Grüße\nzwei Zeilen"),
    ]
    run(tmp_path / "other.mp4", tmp_path / "back.mkv", upscaler=linear)
    back = [data.decode() for _, data in packets(tmp_path / "back.mkv", "subtitle") if data]
    assert back == ["Hello you", "Grüße\nzwei Zeilen"]


@pytest.mark.parametrize(
    ("codec", "end"), [("h264", "mp4"), ("h265", "mkv"), ("av1", "webm"), ("ffv1", "mkv")]
)
def test_ten_bits_stay_ten(tmp_path: Path, linear: Upscaler, codec: str, end: str) -> None:
    source = ClipMaker(pix_fmt="yuv420p10le", codec="ffv1").save(tmp_path / "in.mkv")
    target = tmp_path / f"out.{end}"
    run(source, target, upscaler=linear, settings=VideoSettings(codec=codec))
    assert decoded(target)[0].format.name == "yuv420p10le"


def test_ten_bits_are_h265_by_default(tmp_path: Path, linear: Upscaler) -> None:
    source = ClipMaker(pix_fmt="yuv420p10le", codec="ffv1").save(tmp_path / "in.mkv")
    assert run(source, tmp_path / "out.mp4", upscaler=linear).format == "h265"


HDR = (
    "hdr10=1:log-level=none:max-cll=1000,400:master-display="
    "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
)


def side_data(path: Path) -> dict[str, bytes]:
    return {
        data.type.name: bytes(data)
        for data in decoded(path)[0].side_data
        if data.type.name in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")
    }


def test_hdr(tmp_path: Path, linear: Upscaler, caplog: pytest.LogCaptureFixture) -> None:
    source = ClipMaker(
        pix_fmt="yuv420p10le",
        codec="libx265",
        options={"x265-params": HDR},
        colour=(9, 16, 9, 1),
    ).save(tmp_path / "in.mp4")
    before = side_data(source)
    assert len(before) == 2
    for codec, end in (("h265", "mp4"), ("h264", "mkv"), ("av1", "mp4")):
        target = tmp_path / f"{codec}.{end}"
        run(source, target, upscaler=linear, settings=VideoSettings(codec=codec))
        frame = decoded(target)[0]
        assert (frame.color_primaries, frame.color_trc, frame.colorspace) == (9, 16, 9)
        after = side_data(target)
        assert after["CONTENT_LIGHT_LEVEL"] == before["CONTENT_LIGHT_LEVEL"]
        for old, new in zip(*map(display, (before, after)), strict=True):
            assert new == pytest.approx(old, rel=1e-3, abs=1e-3)
    assert not caplog.records
    run(source, tmp_path / "out.mkv", upscaler=linear, settings=VideoSettings(codec="ffv1"))
    assert "HDR metadata cannot be kept in ffv1" in caplog.text


def display(blocks: dict[str, bytes]) -> list[float]:
    numbers = np.frombuffer(blocks["MASTERING_DISPLAY_METADATA"], "=i4")[:20].reshape(-1, 2)
    return list(numbers[:, 0] / numbers[:, 1])


def test_a_part(tmp_path: Path, linear: Upscaler) -> None:
    source = ClipMaker(
        times=steady(50),
        audio="aac",
        options={"g": "12"},
        chapters=((0, 0.5, "a"), (0.5, 1.2, "b"), (1.5, 2, "c")),
    ).save(tmp_path / "in.mp4")
    target = tmp_path / "out.mp4"
    result = run(source, target, upscaler=linear, settings=VideoSettings(start=0.6, duration=0.8))
    assert result.frames == 20
    assert times(target) == [round(n / 25, 6) for n in range(20)]
    sound = [(t + 0.6, data) for t, data in packets(target, "audio")]
    whole = packets(source, "audio")
    kept = [data for t, data in whole if t + 1024 / 48000 > 0.6 and t < 1.4]
    assert [data for _, data in sound] == kept
    with av.open(str(target)) as out:
        assert [c["metadata"]["title"] for c in out.chapters()] == ["b"]
    lone = decoded(source)[15]
    np.testing.assert_allclose(
        decoded(target)[0].to_ndarray()[:96][::2, ::2].mean(), lone.to_ndarray()[:48].mean(), atol=3
    )


def test_repeated_frames_are_computed_once(
    tmp_path: Path, linear: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = moving("yuv420p", 64, 48)
    source = ClipMaker(codec="ffv1", times=steady(9), frame=lambda number: make(number // 3)).save(
        tmp_path / "in.mkv"
    )
    result = run(
        source, tmp_path / "out.mkv", upscaler=linear, settings=VideoSettings(codec="ffv1")
    )
    assert (result.frames, result.repeated) == (9, 6)
    # The same as if each had been computed.
    monkeypatch.setattr("loopsr.engine.frames._same", lambda old, new: False)
    again = run(source, tmp_path / "all.mkv", upscaler=linear, settings=VideoSettings(codec="ffv1"))
    assert again.repeated == 0
    assert packets(tmp_path / "all.mkv", "video") == packets(tmp_path / "out.mkv", "video")


def test_still_regions_are_reused_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small thing moves over a still picture: most tiles are those of the frame before."""
    rng = np.random.default_rng(3)
    still = [rng.integers(40, 200, shape, np.uint8) for shape in ((96, 96), (48, 48), (48, 48))]

    def frame(number: int) -> Planes:
        planes = [plane.copy() for plane in still]
        planes[0][4:8, 4 + 3 * number : 8 + 3 * number] = 255
        return planes

    source = ClipMaker(width=96, height=96, codec="ffv1", times=steady(4), frame=frame).save(
        tmp_path / "in.mkv"
    )
    upscaler = Upscaler("loop-xs-x2", quality="best", threads=1, tile=16)
    reused: list[FrameUpscaler] = []
    original = FrameUpscaler.__init__

    def watched(self: FrameUpscaler, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        reused.append(self)

    monkeypatch.setattr(FrameUpscaler, "__init__", watched)
    run(source, tmp_path / "out.mkv", upscaler=upscaler, settings=VideoSettings(codec="ffv1"))
    hits, misses = reused[-1].tiles()
    assert hits > 100
    assert hits > misses
    monkeypatch.setattr("loopsr.engine.reuse.TileMemory.find", lambda *_: None)
    run(source, tmp_path / "all.mkv", upscaler=upscaler, settings=VideoSettings(codec="ffv1"))
    assert packets(tmp_path / "all.mkv", "video") == packets(tmp_path / "out.mkv", "video")


@pytest.mark.parametrize("size", [(65, 49), (33, 32)])
@pytest.mark.parametrize(("scale", "codec"), [(2, "h264"), (1.5, "h264"), (2, "ffv1")])
def test_odd_sizes(
    tmp_path: Path, linear: Upscaler, size: tuple[int, int], scale: float, codec: str
) -> None:
    source = ClipMaker(width=size[0], height=size[1], codec="ffv1").save(tmp_path / "in.mkv")
    target = tmp_path / "out.mkv"
    run(source, target, upscaler=linear, settings=VideoSettings(codec=codec), scale=scale)
    frame = decoded(target)[0]
    for side, want in zip((frame.width, frame.height), size, strict=True):
        assert side % 2 == 0
        assert abs(side - want * scale) < 2


def test_alpha_goes_where_it_can(
    tmp_path: Path, linear: Upscaler, caplog: pytest.LogCaptureFixture
) -> None:
    source = ClipMaker(pix_fmt="yuva444p10le", codec="ffv1").save(tmp_path / "in.mkv")
    for codec, end in (("ffv1", "mkv"), ("prores", "mov")):
        target = tmp_path / f"out.{end}"
        run(source, target, upscaler=linear, settings=VideoSettings(codec=codec))
        assert decoded(target)[0].format.name.startswith("yuva444p1")
    assert not caplog.records
    run(source, tmp_path / "out.mp4", upscaler=linear)
    assert "transparency is dropped" in caplog.text


def test_progress_and_its_words(tmp_path: Path, film: Path, linear: Upscaler) -> None:
    seen = []
    run(film, tmp_path / "out.mp4", upscaler=linear, progress=lambda state: seen.append(state))
    assert [state.done for state in seen] == sorted(state.done for state in seen)
    assert seen[-1].frames == 12
    assert seen[-1].speed > 0
    assert seen[len(seen) // 2].left > 0


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_preview_stands_upright(tmp_path: Path, linear: Upscaler, rotation: int) -> None:
    """The bright corner is where a player shows it: FFmpeg's angle is counter-clockwise."""

    def corner(_: int) -> Planes:
        luma = np.full((48, 64), 30, np.uint8)
        luma[:16, :16] = 220  # top left, as stored
        return [luma, *[np.full((24, 32), 128, np.uint8)] * 2]

    source = ClipMaker(frame=corner, rotation=rotation).save(tmp_path / "in.mp4")
    preview(source, tmp_path / "out.png", at=0, upscaler=linear)
    image = pyvips.Image.new_from_file(str(tmp_path / "out.png")).numpy().astype(float)
    rows, columns = image.shape[:2]
    assert (columns, rows) == ((96, 128) if rotation in (90, 270) else (128, 96))
    bright = [bool(image[y, x, 0] > 128) for y in (5, -5) for x in (5, -5)]
    turned = np.rot90(np.array([[1, 0], [0, 0]]), rotation // 90)
    assert bright == [bool(v) for v in turned.ravel()]


def test_preview_takes_the_frame_on_show(tmp_path: Path, linear: Upscaler) -> None:
    source = ClipMaker(
        times=UNEVEN,
        codec="ffv1",
        frame=lambda n: [
            np.full((48, 64), 20 * n, np.uint8),
            *[np.full((24, 32), 128, np.uint8)] * 2,
        ],
    ).save(tmp_path / "in.mkv")
    for at, number in ((0, 0), (0.3, 6), (0.6, 9), (99, 11)):
        result = preview(source, tmp_path / "p.png", at=at, upscaler=linear, overwrite=True)
        assert result.at == pytest.approx(UNEVEN[number] / 90000, abs=0.001)


def test_what_does_not_fit_is_told_before_any_work(
    tmp_path: Path, film: Path, linear: Upscaler
) -> None:
    def words(target: str, error: type[Exception], **settings: Any) -> str:
        with pytest.raises(error) as caught:
            run(
                film,
                tmp_path / target,
                upscaler=linear,
                settings=VideoSettings(**settings),
                progress=lambda _: pytest.fail("it began to compute"),
            )
        assert not list(tmp_path.iterdir())
        return str(caught.value)

    assert "name the result .mov or .mkv" in words("a.mp4", UsageError, codec="prores")
    assert "pass --codec av1" in words("a.webm", UsageError, codec="h264")
    assert "end it in one of .mp4" in words("a.avi", UsageError)
    assert "did you mean h265 or h264?" in words("a.mp4", UsageError, codec="h246")
    assert "takes 0 (best) to 51" in words("a.mp4", UsageError, crf=60)
    assert "has no --crf" in words("a.mkv", UsageError, codec="ffv1", crf=3)
    assert "name the result .mkv" in words("a.webm", VideoWriteError)  # AAC sound
    assert "pass --start 0 or more" in words("a.mp4", UsageError, start=-1)
    with pytest.raises(VideoReadError, match="no frame at 99 s"):
        run(film, tmp_path / "a.mp4", upscaler=linear, settings=VideoSettings(start=99))


def test_sources_that_are_none(tmp_path: Path, linear: Upscaler) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoReadError, match=r"text\.mp4: no video that can be read"):
        run(tmp_path / "text.mp4", tmp_path / "out.mp4", upscaler=linear)
    with pytest.raises(VideoReadError, match="no such file"):
        run(tmp_path / "gone.mp4", tmp_path / "out.mp4", upscaler=linear)
    with av.open(str(tmp_path / "sound.mka"), "w", format="matroska") as out:
        stream = out.add_stream("flac", rate=48000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), "s16", "mono")
        frame.rate = 48000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(VideoReadError, match="no picture in it"):
        run(tmp_path / "sound.mka", tmp_path / "out.mp4", upscaler=linear)


def test_no_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    pyav.pyav.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'loopsr\[video\]'"):
        pyav.pyav()
    monkeypatch.undo()
    assert pyav.pyav() is av


def test_nothing_is_printed(
    tmp_path: Path, film: Path, linear: Upscaler, capfd: pytest.CaptureFixture[str]
) -> None:
    for codec in ("h264", "h265", "av1", "ffv1"):
        run(film, tmp_path / f"{codec}.mkv", upscaler=linear, settings=VideoSettings(codec=codec))
    assert capfd.readouterr() == ("", "")
