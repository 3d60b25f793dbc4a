"""Stopped at any moment, the same call goes on, and gives the same file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import av
import pytest

from loopsr.apps.video import job, plan
from loopsr.apps.video.job import VideoSettings, run
from loopsr.apps.video.work import WorkFolder
from loopsr.engine.upscaler import Upscaler
from loopsr.errors import Cancelled, UsageError, VideoReadError, VideoWriteError
from loopsr.io.video import mux
from loopsr.io.video.encoder import Coded
from loopsr.io.video.mux import decode_times
from loopsr.io.video.segments import Segment, read_segment, write_segment

from .clips import ClipMaker, decoded, packets, steady

SMALL = 8  # frames of a segment, so that a short clip has several


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_LEAST", SMALL)
    monkeypatch.setattr(plan, "_MOST", SMALL)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    uneven = [t + (t // 3600 % 3) * 700 for t in steady(40)]
    return ClipMaker(times=uneven, audio="aac").save(tmp_path / "in.mp4")


def stop_after(frames: int):  # type: ignore[no-untyped-def]
    return lambda state: state.frames < frames


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_a_stopped_run_goes_on(tmp_path: Path, source: Path, linear: Upscaler, codec: str) -> None:
    settings = VideoSettings(codec=codec)
    run(source, tmp_path / "whole.mp4", upscaler=linear, settings=settings)
    target = tmp_path / "out.mp4"
    with pytest.raises(Cancelled, match="24 finished frames are kept"):
        run(source, target, upscaler=linear, settings=settings, progress=stop_after(27))
    assert not target.exists()
    assert len(list((tmp_path / ".out.mp4.loopsr").glob("*.segment"))) == 3
    result = run(source, target, upscaler=linear, settings=settings)
    assert (result.frames, result.resumed) == (40, 24)
    assert target.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert not (tmp_path / ".out.mp4.loopsr").exists()


def test_segments_are_joined_without_a_trace(
    tmp_path: Path, source: Path, linear: Upscaler
) -> None:
    """As many frames at their own times as one segment gives."""
    run(source, tmp_path / "many.mp4", upscaler=linear)
    target = tmp_path / "many.mp4"
    assert [frame.pts for frame in decoded(target)] == [frame.pts for frame in decoded(source)]
    assert len(packets(target, "video")) == 40
    with av.open(str(source)) as old, av.open(str(target)) as new:
        assert new.duration == pytest.approx(old.duration, abs=1000)
        keys = [p.is_keyframe for p in new.demux(video=0) if p.size]
    assert [number for number, key in enumerate(keys) if key] == [0, 8, 16, 24, 32]


def test_work_of_other_settings_or_another_source_is_thrown_away(
    tmp_path: Path, source: Path, linear: Upscaler, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "out.mp4"

    def stopped(**settings: object) -> None:
        with pytest.raises(Cancelled):
            run(
                source,
                target,
                upscaler=linear,
                settings=VideoSettings(**settings),  # type: ignore[arg-type]
                progress=stop_after(20),
            )

    stopped()
    stopped(crf=30)
    assert "starts afresh" in caplog.text
    caplog.clear()
    os.utime(source, ns=(1, 1))
    result = run(source, target, upscaler=linear, settings=VideoSettings(crf=30))
    assert "starts afresh" in caplog.text
    assert result.resumed == 0


def test_damaged_segments_are_made_again(tmp_path: Path, source: Path, linear: Upscaler) -> None:
    run(source, tmp_path / "whole.mp4", upscaler=linear)
    target = tmp_path / "out.mp4"
    with pytest.raises(Cancelled):
        run(source, target, upscaler=linear, progress=stop_after(30))
    broken = tmp_path / ".out.mp4.loopsr" / "000001.segment"
    data = bytearray(broken.read_bytes())
    data[len(data) // 2] ^= 1
    broken.write_bytes(data)
    result = run(source, target, upscaler=linear)
    assert result.resumed == 16
    assert target.read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_two_runs_at_once(tmp_path: Path, source: Path, linear: Upscaler) -> None:
    def second(state: object) -> bool:
        with pytest.raises(UsageError, match="another run works on"):
            run(source, tmp_path / "out.mp4", upscaler=linear)
        return False

    with pytest.raises(Cancelled):
        run(source, tmp_path / "out.mp4", upscaler=linear, progress=second)


def test_a_stop_while_joining(
    tmp_path: Path, source: Path, linear: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    target = tmp_path / "out.mp4"
    monkeypatch.setattr(job, "join", full)
    with pytest.raises(VideoWriteError, match=r"No space left on device.*type the same command"):
        run(source, target, upscaler=linear)
    monkeypatch.undo()
    monkeypatch.setattr(plan, "_LEAST", SMALL)
    monkeypatch.setattr(plan, "_MOST", SMALL)
    monkeypatch.setattr(plan.Clip, "frames", lambda *_: pytest.fail("it decoded again"))
    result = run(source, target, upscaler=linear)
    assert (result.frames, result.resumed) == (40, 40)
    assert len(decoded(target)) == 40


KILLED = """
import sys
from loopsr.apps.video import job, plan
from loopsr.engine.upscaler import Upscaler
plan._LEAST = plan._MOST = 8
job.run(sys.argv[1], sys.argv[2], upscaler=Upscaler(sys.argv[3], threads=1))
"""


def test_killed_at_any_moment(tmp_path: Path, linear: Upscaler) -> None:
    source = ClipMaker(times=steady(64), audio="aac").save(tmp_path / "in.mp4")
    target = tmp_path / "out.mp4"
    network = linear._model
    line = [sys.executable, "-W", "error", "-c", KILLED, str(source)]
    subprocess.run([*line, str(tmp_path / "whole.mp4"), str(network)], check=True, timeout=120)
    rng = random.Random(7)
    kills = 0
    for _ in range(3):
        process = subprocess.Popen([*line, str(target), str(network)])
        folder = tmp_path / ".out.mp4.loopsr"
        wanted = len(list(folder.glob("*.segment"))) + 1
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if len(list(folder.glob("*.segment"))) >= wanted:
                time.sleep(rng.random() * 0.05)
                break
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait(60)
    subprocess.run([*line, str(target), str(network)], check=True, timeout=120)
    assert kills >= 2
    assert target.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "out.mp4", "whole.mp4"}


def test_a_result_that_exists_is_left_alone(tmp_path: Path, source: Path, linear: Upscaler) -> None:
    target = tmp_path / "out.mp4"
    target.write_text("mine")
    with pytest.raises(Exception, match="exists"):
        run(source, target, upscaler=linear)
    assert target.read_text() == "mine"
    run(source, target, upscaler=linear, overwrite=True)
    assert len(decoded(target)) == 40
    with pytest.raises(Exception, match="the input itself"):
        run(source, source, upscaler=linear, overwrite=True)


def test_a_folder_that_may_not_be_written_to(
    tmp_path: Path, source: Path, linear: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(VideoWriteError, match="Permission denied"):
        run(source, tmp_path / "out.mp4", upscaler=linear)


def test_segment_files(tmp_path: Path) -> None:
    coded = tuple(Coded(pts=n, duration=1, key=n == 0, data=bytes([n] * n)) for n in range(5))
    segment = Segment(extradata=b"head", packets=coded)
    path = tmp_path / "000000.segment"
    write_segment(path, segment)
    assert read_segment(path) == segment
    whole = path.read_bytes()
    for end in range(len(whole)):  # cut off anywhere, it is none
        path.write_bytes(whole[:end])
        with pytest.raises(VideoReadError):
            read_segment(path)
    for place in range(len(whole)):  # nor with any byte changed
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(VideoReadError):
            read_segment(path)


@pytest.mark.parametrize(
    "shown", [[0], [0, 10, 20], [0, 30, 10, 20], [0, 40, 20, 10, 30, 5000, 5200, 5100], []]
)
def test_decode_times(shown: list[int]) -> None:
    times = decode_times(shown)
    assert all(a < b for a, b in pairwise(times))
    assert all(dts <= pts for dts, pts in zip(times, shown, strict=True))


def test_a_foreign_encoder_is_noticed(
    tmp_path: Path, source: Path, linear: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted fault: a segment whose header is not the one of the file."""
    original = mux.read_segment

    def other(path: Path) -> Segment:
        return Segment(extradata=b"another", packets=original(path).packets)

    monkeypatch.setattr(mux, "read_segment", other)
    with pytest.raises(VideoWriteError, match="another encoder made a segment"):
        run(source, tmp_path / "out.mp4", upscaler=linear)


def test_an_empty_work_folder_goes_away(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "a.mp4", {"x": 1}) as work:
        assert work.path.is_dir()
    assert not list(tmp_path.iterdir())
