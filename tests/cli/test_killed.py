"""Killed at any moment, or out of disk, the same command goes on and ends as if undisturbed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import pyvips

from .conftest import LAUNCH, Process, photo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="SIGKILL, tmpfs, /proc")

RECORD = ".loopsr.jsonl"
LINE = ("upscale", "-r", "in", "-o", "out", "--threads", "1")
COUNT = 10

# Kills the process at the third result, at the point that is named.
DIE = """
import os, signal, sys
from loopsr.io import writer
from loopsr.apps.batch import record
point, calls = sys.argv.pop(1), []
def dying(function, before):
    def at_the_third(*arguments, **options):
        calls.append(1)
        if before and len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **options)
        if not before and len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return at_the_third
def torn(self, entry):
    calls.append(1)
    if len(calls) == 3:
        os.write(self._descriptor, entry.line().encode()[:100])
        os.kill(os.getpid(), signal.SIGKILL)
    return add(self, entry)
add = record.Record.add
if point == "before the record":
    record.Record.add = dying(add, True)
elif point == "in the record":
    record.Record.add = torn
elif point == "before the name":
    writer._put = dying(writer._put, True)
elif point == "after the name":
    writer._put = dying(writer._put, False)
"""
POINTS = ("before the record", "in the record", "before the name", "after the name")


@pytest.fixture(scope="module")
def model(
    tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, bytes]]:
    """A folder with `in`, and what a run over it writes that nothing befalls."""
    folder = tmp_path_factory.mktemp("model")
    noise = np.random.default_rng(0)
    for number in range(COUNT):
        path = folder / "in" / ("ab"[number % 2]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = noise.integers(0, 256, (30, 40 + number, 3), np.uint8)
        pyvips.Image.new_from_array(pixels, interpretation="srgb").write_to_file(str(path))
    run = Process(tiny_weights, folder)(*LINE)
    assert run.returncode == 0, run.stderr
    found = results(folder / "out")
    assert len(found) == COUNT
    return folder, found


@pytest.fixture
def expected(model: tuple[Path, dict[str, bytes]], process: Process) -> dict[str, bytes]:
    """What is to be written of `in`, which lies in the folder of the process."""
    shutil.copytree(model[0] / "in", process.folder / "in")
    return model[1]


def results(folder: Path) -> dict[str, bytes]:
    """All files below a folder but the record, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != RECORD
    }


def inodes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.rglob("[0-9]*.png")}


def killed_at(process: Process, point: str) -> None:
    line = process.line(*LINE, "--jobs", "1")
    line[line.index(LAUNCH)] = DIE + LAUNCH
    line.insert(line.index(DIE + LAUNCH) + 1, point)
    run = subprocess.run(
        line, cwd=process.folder, env=process.environment(), capture_output=True, timeout=120
    )
    assert run.returncode == -signal.SIGKILL, run.stderr


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_step(process: Process, expected: dict[str, bytes], point: str) -> None:
    killed_at(process, point)
    out = process.folder / "out"
    before = inodes(out)
    assert len(before) == (3 if point == "after the name" else 2)
    run = process(*LINE)
    assert run.returncode == 0, run.stderr
    assert results(out) == expected  # and no part among them
    kept = run.stderr.decode()
    assert f"{len(before)} of {COUNT} kept" in kept
    after = inodes(out)
    assert {name: after[name] for name in before} == before  # not one was made twice


def test_the_check_can_fail(process: Process, expected: dict[str, bytes]) -> None:
    """Without the record, what is there is refused: the same command does not go on."""
    killed_at(process, "after the name")
    (process.folder / "out" / RECORD).unlink()
    run = process(*LINE)
    assert run.returncode == 1
    assert b"3 of 10 failed" in run.stderr
    killed_at_part = [name for name in results(process.folder / "out") if name not in expected]
    assert killed_at_part == []


def started(process: Process, output: int) -> subprocess.Popen[bytes]:
    """The run in the works; ``output`` is where both of its streams go."""
    return subprocess.Popen(
        process.line(*LINE),
        cwd=process.folder,
        env=process.environment(),
        stdout=output,
        stderr=output,
    )


@pytest.mark.parametrize("wait", [0, 1, 4, 7])
def test_killed_at_any_moment(process: Process, expected: dict[str, bytes], wait: int) -> None:
    out = process.folder / "out"
    running = started(process, subprocess.DEVNULL)
    end = time.monotonic() + 60
    while running.poll() is None and time.monotonic() < end:
        if (out / RECORD).exists() and len(inodes(out)) >= wait:
            break
    running.kill()
    running.wait()
    run = process(*LINE)
    assert run.returncode == 0, run.stderr
    assert results(out) == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(process: Process, expected: dict[str, bytes], number: signal.Signals) -> None:
    out = process.folder / "out"
    running = started(process, subprocess.PIPE)
    end = time.monotonic() + 60
    while not inodes(out) and time.monotonic() < end:
        time.sleep(0.002)
    running.send_signal(number)
    _, told = running.communicate(timeout=60)
    assert (running.returncode, told) in (
        (130, b"loopsr: error: interrupted; nothing half-written was left\n"),
        (0, b""),  # it was faster than the signal
    )
    assert set(results(out)) <= set(expected)  # no part among them
    assert process(*LINE).returncode == 0
    assert results(out) == expected


@pytest.fixture
def small_disk(process: Process, expected: dict[str, bytes]) -> Iterator[Path]:
    """A file system for half of the results, mounted at `out`; it can be made larger."""
    out = process.folder / "out"
    out.mkdir()
    mount = shutil.which("mount")
    made = mount is not None and os.geteuid() == 0
    if made:
        size = sum(map(len, expected.values())) // 2
        line = [str(mount), "-t", "tmpfs", "-o", f"size={size}", "none", str(out)]
        made = subprocess.run(line, capture_output=True).returncode == 0
    if not made:
        pytest.skip("file systems may not be mounted here")
    yield out
    subprocess.run(["umount", "-l", str(out)], check=True)


def test_a_full_disk(process: Process, expected: dict[str, bytes], small_disk: Path) -> None:
    run = process(*LINE)
    assert run.returncode == 1, run.stderr
    assert b"Traceback" not in run.stderr
    text = run.stderr.decode()
    assert "is full" in text or "are free" in text
    partly = results(small_disk)
    assert 0 < len(partly) < COUNT
    assert all(expected[name] == data for name, data in partly.items())  # whole or not at all
    enlarge = ["mount", "-o", "remount,size=64m", str(small_disk)]
    subprocess.run(enlarge, check=True)
    run = process(*LINE)
    assert run.returncode == 0, run.stderr
    assert f"{len(partly)} of {COUNT} kept" in run.stderr.decode()
    assert results(small_disk) == expected


def test_files_that_may_not_grow(process: Process, expected: dict[str, bytes]) -> None:
    """As on a full disk, without one: the record ends in the middle of a line."""
    import resource

    line = (out := process.folder / "out") / RECORD
    limit = 4000
    run = subprocess.run(
        process.line(*LINE),
        cwd=process.folder,
        env=process.environment(),
        capture_output=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert run.returncode == 1, run.stderr
    assert b"Traceback" not in run.stderr
    assert line.stat().st_size <= limit
    kept = len(results(out))
    run = process(*LINE)
    assert run.returncode == 0, run.stderr
    assert results(out) == expected
    assert (f"{kept} of {COUNT} kept" in run.stderr.decode()) is (kept > 0)


def test_two_runs_into_one_folder(process: Process, expected: dict[str, bytes]) -> None:
    photo(1200, 900).write_to_file(str(process.folder / "in/last.png"))
    first = subprocess.Popen(
        process.line(*LINE),
        cwd=process.folder,
        env=process.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    record = process.folder / "out" / RECORD
    end = time.monotonic() + 60
    while not (record.exists() and record.stat().st_size) and time.monotonic() < end:
        time.sleep(0.01)
    second = process(*LINE)
    assert second.returncode == 2
    assert b"another run writes into out right now" in second.stderr
    _, told = first.communicate(timeout=120)
    assert first.returncode == 0, told
