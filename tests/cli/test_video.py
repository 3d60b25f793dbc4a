"""``loopsr upscale`` with videos among its inputs."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest

from loopsr.io.video import codecs, pyav

from ..apps.video.clips import ClipMaker, decoded, packets, steady
from .conftest import Loopsr, Process, leftovers, photo


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A small video with sound."""
    return ClipMaker(audio="aac").save(tmp_path / "clip.mp4")


def test_a_video_becomes_twice_as_large_beside_itself(loopsr: Loopsr, clip: Path) -> None:
    run = loopsr("upscale", clip)
    assert run.returncode == 0, run.stderr
    assert b"clip_x2.mp4  64x48 -> 128x96  loop-x2" in run.stdout
    assert run.stderr == b""
    target = loopsr.folder / "clip_x2.mp4"
    assert len(decoded(target)) == 12
    assert packets(target, "audio") == packets(clip, "audio")
    assert not leftovers(loopsr.folder, "clip.mp4", "clip_x2.mp4")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (("-s", 4), "clip_x4.mp4"),
        (("--width", 100), "clip_w100.mp4"),
        (("-m", "loop-x3"), "clip_x3.mp4"),
        (("-o", "out.mkv", "--codec", "ffv1"), "out.mkv"),
        (("-o", "big/"), "big/clip_x2.mp4"),
        (("--start", "0:00.2", "--duration", "0.2"), "clip_x2.mp4"),
    ],
)
def test_names_and_sizes(
    loopsr: Loopsr, clip: Path, options: tuple[object, ...], name: str
) -> None:
    run = loopsr("upscale", clip, *options)
    assert run.returncode == 0, run.stderr
    assert (loopsr.folder / name).is_file()


def test_what_is_not_written_becomes_matroska(loopsr: Loopsr) -> None:
    source = ClipMaker().save(loopsr.folder / "old.avi")
    assert loopsr("upscale", source).returncode == 0
    assert len(decoded(loopsr.folder / "old_x2.mkv")) == 12


def test_json(loopsr: Loopsr, clip: Path) -> None:
    result = json.loads(loopsr("upscale", "--json", clip).stdout)
    assert result["ok"]
    facts = {key: result[key] for key in ("width", "height", "frames", "resumed", "format")}
    assert facts == {"width": 128, "height": 96, "frames": 12, "resumed": 0, "format": "h264"}


def test_preview(loopsr: Loopsr, clip: Path) -> None:
    run = loopsr("upscale", "--preview", "0.2", clip)
    assert run.returncode == 0, run.stderr
    assert (loopsr.folder / "clip_x2_preview.png").is_file()
    assert not (loopsr.folder / "clip_x2.mp4").exists()
    assert b"end it in .png" in loopsr("upscale", "--preview", "0", clip, "-o", "a.mp4").stderr


def test_dry_run(loopsr: Loopsr, clip: Path) -> None:
    run = loopsr("upscale", "-n", clip)
    assert run.returncode == 0, run.stderr
    assert b"would write" in run.stdout
    assert not leftovers(loopsr.folder, "clip.mp4")


def test_a_folder_of_both_goes_on(loopsr: Loopsr, clip: Path) -> None:
    tree = loopsr.folder / "in"
    (tree / "deep").mkdir(parents=True)
    clip.rename(tree / "deep" / "clip.mp4")
    photo().write_to_file(str(tree / "photo.png"))
    (tree / "notes.txt").write_text("text")
    run = loopsr("upscale", "-r", "in", "-o", "out")
    assert run.returncode == 0, run.stderr
    assert b"1 file is no picture or video by the name" in run.stderr
    made = {str(p.relative_to(loopsr.folder / "out")) for p in loopsr.folder.glob("out/**/*.*")}
    assert made == {".loopsr.jsonl", "photo_x4.png", "deep/clip_x2.mp4"}
    again = loopsr("upscale", "-r", "in", "-o", "out")
    assert again.returncode == 0
    assert b"2 of 2 kept" in again.stderr
    # A result that someone cut is theirs, one that is damaged is made again.
    target = loopsr.folder / "out" / "deep" / "clip_x2.mp4"
    whole = target.read_bytes()
    target.write_bytes(tree.joinpath("deep/clip.mp4").read_bytes())
    assert b"was changed after it was made" in loopsr("upscale", "-r", "in", "-o", "out").stderr
    target.write_bytes(whole[:100])
    assert loopsr("upscale", "-r", "in", "-o", "out").returncode == 0
    assert target.read_bytes() == whole


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("clip.mp4", "--codec", "h246"), "codec 'h246' is unknown; did you mean"),
        (("clip.mp4", "--codec", "prores"), "name the result .mov or .mkv"),
        (("clip.mp4", "-o", "a.xyz"), "does not say the container of a video"),
        (("clip.mp4", "--start", "soon"), "a time such as 90, 1:30 or 0:01:30.5"),
        (("clip.mp4", "--duration", "0"), "pass --duration above 0"),
        (("photo.png", "--crf", "3"), "are for videos, and no input is named as one"),
        (("photo.png", "clip.mp4", "--preview", "1"), "photo.png is none"),
        (("clip.mp4", "--preview", "1", "-n"), "--dry-run has nothing to tell of a --preview"),
    ],
)
def test_wrong_usage(
    loopsr: Loopsr, clip: Path, picture: Path, arguments: tuple[str, ...], words: str
) -> None:
    run = loopsr("upscale", *arguments)
    assert run.returncode == 2
    assert words in run.stderr.decode()
    assert run.stderr.count(b"\n") == 1
    assert not leftovers(loopsr.folder, "clip.mp4", "photo.png")


def test_without_pyav(loopsr: Loopsr, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyav.pyav.cache_clear()
    monkeypatch.setitem(sys.modules, "av", None)
    run = loopsr("upscale", clip)
    assert run.returncode == 1
    assert b"pip install 'loopsr[video]'" in run.stderr
    # A folder's videos are then no inputs.
    photo().write_to_file(str(loopsr.folder / "photo.png"))
    run = loopsr("upscale", "-r", loopsr.folder, "-o", "out")
    assert run.returncode == 0
    assert b"1 file is no picture or video" in run.stderr
    pyav.pyav.cache_clear()


def test_the_help_names_all_codecs(loopsr: Loopsr) -> None:
    text = b" ".join(loopsr("upscale", "--help").stdout.split()).decode()
    assert all(name in text for name in codecs.CODECS)


def test_ctrl_c_keeps_what_is_finished(process: Process) -> None:
    """On a terminal: progress in frames, a note of what is kept, and the same line goes on."""
    source = ClipMaker(width=32, height=24, times=steady(300), codec="libx264")
    source.save(process.folder / "clip.mp4")
    line = process.line("upscale", "clip.mp4", "-m", "loop-x2")
    folder = process.folder / ".clip_x2.mp4.loopsr"
    main, side = pty.openpty()
    running = subprocess.Popen(
        line, cwd=process.folder, env=process.environment(), stdout=side, stderr=side
    )
    os.close(side)
    seen, deadline, stopped = b"", time.monotonic() + 100, False
    while time.monotonic() < deadline:
        if select.select([main], [], [], 0.02)[0]:
            try:
                seen += os.read(main, 1 << 16)
            except OSError:  # the terminal is gone: the process has ended
                break
        if not stopped and folder.is_dir() and any(folder.glob("*.segment")):
            running.send_signal(signal.SIGINT)
            stopped = True
    os.close(main)
    assert running.wait(60) == 130
    words = seen.decode()
    assert "frames/s" in words
    assert " left" in words
    assert "finished frames are kept" in words
    done = process("upscale", "clip.mp4", "-m", "loop-x2", "--json")
    result = json.loads(done.stdout)
    assert result["frames"] == 300
    assert result["resumed"] >= 120
    with av.open(str(process.folder / "clip_x2.mp4")) as out:
        assert out.streams.video[0].frames == 300
    assert not folder.exists()
