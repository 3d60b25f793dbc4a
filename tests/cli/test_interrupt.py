"""Ctrl-C and a polite kill: exit code 130, one line, nothing left behind, also in native code."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from loopsr.cli.interrupt import run_interruptible

from .conftest import Process, leftovers, photo


def start(process: Process, *arguments: str) -> subprocess.Popen[bytes]:
    """The command, running, with -v so that its start can be seen on a terminal-less stderr."""
    return subprocess.Popen(
        process.line(*arguments),
        cwd=process.folder,
        env=process.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(condition: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle(process: Process, number: signal.Signals) -> None:
    photo(2500, 2500).write_to_file(str(process.folder / "big.png"))
    running = start(process, "upscale", "big.png", "-o", "big_x4.png")
    # Its temporary file shows that it is in the middle of writing.
    wait_for(lambda: leftovers(process.folder, "big.png"))
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert out == b""
    assert err == b"loopsr: error: interrupted; nothing half-written was left\n"
    assert not leftovers(process.folder, "big.png")


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_the_check_for_leftovers_can_fail(process: Process) -> None:
    photo(2500, 2500).write_to_file(str(process.folder / "big.png"))
    running = start(process, "upscale", "big.png", "-o", "big_x4.png")
    wait_for(lambda: leftovers(process.folder, "big.png"))
    running.kill()  # no program can tidy up after this one
    running.communicate(timeout=60)
    assert leftovers(process.folder, "big.png")


def test_work_runs_and_its_errors_come_back() -> None:
    assert run_interruptible(lambda stop: 5) == 5

    def fail(stop: threading.Event) -> None:
        raise ValueError("from the work")

    with pytest.raises(ValueError, match="from the work"):
        run_interruptible(fail)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_an_interrupt_waits_until_the_work_has_tidied_up() -> None:
    tidy: list[str] = []

    def work(stop: threading.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(10)
        time.sleep(0.2)
        tidy.append("done")

    with pytest.raises(KeyboardInterrupt):
        run_interruptible(work)
    assert tidy == ["done"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_works_outside_the_main_thread(tmp_path: Path) -> None:
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(run_interruptible(lambda stop: 1)))
    thread.start()
    thread.join()
    assert results == [1]
