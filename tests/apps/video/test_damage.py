"""Damaged sources: what cannot be decoded is skipped with a warning, the rest is done."""

from __future__ import annotations

import random
from pathlib import Path

import av
import pytest

from loopsr.apps.video.job import VideoSettings, run
from loopsr.engine.upscaler import Upscaler
from loopsr.errors import LoopsrError, VideoReadError

from .clips import ClipMaker, decoded, moving, packets, steady


def video_packets(path: Path) -> list[tuple[int, int]]:
    """Place in the file and length of the pictures' packets."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size) for p in container.demux(video=0) if p.size]


def flip(path: Path, place: int, length: int, seed: int = 1) -> None:
    rng = random.Random(seed)
    data = bytearray(path.read_bytes())
    for index in range(place, place + length):
        data[index] ^= rng.randrange(1, 256)
    path.write_bytes(data)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "prores_ks"])
def test_a_broken_packet_is_skipped(
    tmp_path: Path, linear: Upscaler, caplog: pytest.LogCaptureFixture, codec: str
) -> None:
    prores = codec == "prores_ks"
    pix_fmt, end = ("yuv422p10le", "mov") if prores else ("yuv420p", "mp4")
    options = {"x265-params": "log-level=none:keyint=5"} if codec == "libx265" else {"g": "5"}
    source = ClipMaker(
        codec=codec,
        pix_fmt=pix_fmt,
        times=steady(20),
        audio="aac",
        options={} if prores else options,
    ).save(tmp_path / f"in.{end}")
    whole = len(decoded(source))
    sound = packets(source, "audio")
    place, size = video_packets(source)[12]
    flip(source, place, min(size, 24))
    target = tmp_path / "out.mkv"
    result = run(source, target, upscaler=linear, settings=VideoSettings(codec="ffv1"))
    assert "a broken packet at" in caplog.text
    assert "skipped" in caplog.text
    assert whole - 4 <= result.frames < whole
    assert [data for _, data in packets(target, "audio")] == [data for _, data in sound]
    # The frames that are left are at their own times.
    kept = [round(frame.time, 2) for frame in decoded(target)]
    first = kept[0]
    assert {round(t - first, 2) for t in kept} <= {round(n / 25, 2) for n in range(20)}


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_that_ends_early(tmp_path: Path, linear: Upscaler, share: float) -> None:
    source = ClipMaker(times=steady(40), audio="libopus").save(tmp_path / "in.mkv")
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * share)])
    result = run(source, tmp_path / "out.mkv", upscaler=linear)
    assert 5 < result.frames < 40
    assert len(decoded(tmp_path / "out.mkv")) == result.frames


def test_mp4_without_its_index(tmp_path: Path, linear: Upscaler) -> None:
    source = ClipMaker(times=steady(40)).save(tmp_path / "in.mp4")
    source.write_bytes(source.read_bytes()[:-600])
    with pytest.raises(VideoReadError, match="get it again"):
        run(source, tmp_path / "out.mp4", upscaler=linear)


def test_noise_all_over(tmp_path: Path, linear: Upscaler) -> None:
    """Whatever is flipped: frames, or one of our own errors, and never half a file."""
    clean = ClipMaker(times=steady(12), audio="aac").save(tmp_path / "clean.mkv")
    data = clean.read_bytes()
    done = 0
    for seed in range(20):
        rng = random.Random(seed)
        noisy = bytearray(data)
        for _ in range(rng.choice((1, 5, 40))):
            noisy[rng.randrange(len(noisy))] = rng.randrange(256)
        source = tmp_path / "noisy.mkv"
        source.write_bytes(noisy)
        target = tmp_path / f"out{seed}.mkv"
        try:
            run(source, target, upscaler=linear, settings=VideoSettings(codec="ffv1"))
            done += 1
            assert decoded(target)
        except LoopsrError:
            assert not target.exists()
    assert done > 5


def test_the_size_changes_on_the_way(tmp_path: Path, linear: Upscaler) -> None:
    """Two streams after each other, as a broadcast has them."""
    parts = []
    for size, first in ((64, 0), (96, 20)):
        part = ClipMaker(
            width=size,
            times=[t + first * 3600 for t in steady(20)],
            frame=moving("yuv420p", size, 48),
        ).save(tmp_path / f"{size}.ts", format="mpegts")
        parts.append(part.read_bytes())
    source = tmp_path / "both.ts"
    source.write_bytes(b"".join(parts))
    with pytest.raises(VideoReadError, match=r"changes from 64x48 to 96x48 at 0\.8"):
        run(source, tmp_path / "out.mkv", upscaler=linear)
