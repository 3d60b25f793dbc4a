"""Runs on a real Ray, started on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import contents, photo

_MARK = "LOOPSR_TEST_CLUSTER"  # in the environment of every process of a cluster
_OPTIONS = ("--scale", "2", "--threads", "1", "--json")


def marked(mark: str) -> list[int]:
    """The processes of a cluster."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if f"{_MARK}={mark}".encode() in environment:
            found.append(int(process.name))
    return found


def addresses(pids: list[int]) -> set[str]:
    """Where the processes listen, in the hexadecimal of the kernel's tables."""
    sockets = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                sockets.add(str(descriptor.readlink()))
            except OSError:
                continue
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                listening.add(fields[1].partition(":")[0])
    return listening


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}


@dataclass
class Ray:
    """Runs the command, with Ray or without."""

    environment: dict[str, str]

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start a run; its results come on stdout as they are done."""
        return subprocess.Popen(
            [sys.executable, "-m", "loopsr", "upscale", *map(str, arguments)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: object) -> tuple[int, list[dict[str, object]], str]:
        """Exit code, results and messages of a whole run."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return process.returncode, [json.loads(line) for line in out.splitlines()], err


@pytest.fixture
def alone(s3_server: dict[str, str]) -> Iterator[Ray]:
    """No cluster; whatever is started is ended."""
    pytest.importorskip("ray", reason="needs the packages of the extra dev")
    mark = uuid.uuid4().hex
    environment = {
        **os.environ,
        **s3_server,
        _MARK: mark,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # to Ray: keep to 127.0.0.1
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    environment.pop("RAY_ADDRESS", None)
    try:
        yield Ray(environment)
    finally:
        for pid in marked(mark):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two dozen pictures in a tree, enough for several lots a worker."""
    folder = tmp_path / "in"
    for number in range(24):
        suffix = ("png", "jpg", "webp")[number % 3]
        photo(folder / f"s{number % 4}" / f"p{number}.{suffix}", 150 + number, 160, number)
    return folder


def test_without_a_cluster_ray_runs_on_this_machine(
    alone: Ray, pictures: Path, tmp_path: Path
) -> None:
    """Plain paths, and a record that the other engine reads."""
    del alone.environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"]  # ours to see to
    del alone.environment["RAY_USAGE_STATS_ENABLED"]
    shutil.rmtree(pictures / "s0")
    line = ("-r", pictures, "-o", tmp_path / "out", *_OPTIONS)
    process = alone.start(*line, "--engine", "ray")
    assert process.stdout is not None
    first = process.stdout.readline()
    assert addresses(marked(alone.environment[_MARK])) <= LOOPBACK
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "RAY_ADDRESS is not set" in err
    results = [json.loads(text) for text in (first + out).splitlines()]
    assert {result["status"] for result in results} == {"written"}
    assert {Path(result["target"]).parent.parent for result in results} == {tmp_path / "out"}
    code, results, _ = alone.run(*line)
    assert code == 0
    assert [result["status"] for result in results] == ["kept"] * 18
    by_ray = contents(tmp_path / "out")
    assert alone.run("-r", pictures, "-o", tmp_path / "local", *_OPTIONS)[0] == 0
    assert contents(tmp_path / "local") == by_ray
