"""Runs on a real Ray cluster of this machine: two workers, one of them lost, and an S3 server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from loopsr.io import remote

from .conftest import contents, photo

_MARK = "LOOPSR_TEST_CLUSTER"  # in the environment of every process of a cluster
_OPTIONS = ("--scale", "2", "--threads", "1", "--json")
_STARTS = 3  # tries: a busy machine may take longer over a part of a cluster than Ray waits for it
# A head without CPUs and two nodes with one each. A line on stdin loses the second, with its
# worker, as soon as it has one; the end of stdin ends all.
_CLUSTER = """
import sys, time
from pathlib import Path
from ray.cluster_utils import Cluster

options = {"node_ip_address": "127.0.0.1", "object_store_memory": 80_000_000}
cluster = Cluster(initialize_head=True, head_node_args={
    **options, "num_cpus": 0, "include_dashboard": False, "temp_dir": sys.argv[1],
    "_system_config": {"health_check_period_ms": 1000},
})
nodes = [cluster.add_node(num_cpus=1, wait=False, **options) for _ in range(2)]
cluster.wait_for_nodes(timeout=120)
print(cluster.address, flush=True)

def has_worker(pid):
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            title = (process / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent == pid and b"MapWorker" in title:
            return True
    return False

while sys.stdin.readline():
    raylet = nodes[1].all_processes["raylet"][0].process.pid
    while not has_worker(raylet):
        time.sleep(0.02)
    nodes[1].kill_raylet()
    print("lost", flush=True)
cluster.shutdown()
"""


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
class Running:
    """A run of the command, of which the first result has come."""

    process: subprocess.Popen[str]
    first: str

    def finish(self) -> tuple[int, list[dict[str, object]], str]:
        """Exit code, results and messages, when it ends."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        # Not communicate(), which does not see what readline() took from the pipe beyond its line.
        with self.process, ThreadPoolExecutor(1) as pool:
            said = pool.submit(self.process.stderr.read)
            lines = [self.first, *self.process.stdout]
            err = said.result(timeout=300)
        return self.process.returncode, [json.loads(line) for line in lines], err


@dataclass
class Ray:
    """A cluster, or the wish for one; runs the command over it."""

    environment: dict[str, str]
    process: subprocess.Popen[str] | None = None

    def start(self, *arguments: object) -> Running:
        """Start a run and wait for its first result."""
        process = subprocess.Popen(
            [sys.executable, "-m", "loopsr", "upscale", *map(str, arguments)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        return Running(process, process.stdout.readline())

    def run(self, *arguments: object) -> tuple[int, list[dict[str, object]], str]:
        """Exit code, results and messages of a whole run."""
        return self.start(*arguments).finish()

    def lose(self) -> None:
        """Lose the second node."""
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "lost\n"


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
def ray(alone: Ray) -> Iterator[Ray]:
    """A cluster of two workers."""
    with ExitStack() as stack:
        for _ in range(_STARTS):
            # Ray's sockets need a short path.
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="lr-", dir="/tmp", ignore_cleanup_errors=True)
            )
            # Where the head notes its address; nobody makes this folder for it.
            (Path(folder) / "ray").mkdir()
            said = Path(folder) / "stderr"
            with said.open("w") as stderr:
                process = subprocess.Popen(
                    [sys.executable, "-c", _CLUSTER, folder],
                    env={**alone.environment, "RAY_TMPDIR": folder},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                )
            stack.enter_context(process)  # closes stdin, which ends the cluster
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            if address:
                break
        else:
            pytest.fail(f"the cluster did not start: {said.read_text()[-2000:]}")
        alone.process = process
        alone.environment["RAY_ADDRESS"] = address
        yield alone


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two dozen pictures in a tree, enough for several lots a worker."""
    folder = tmp_path / "in"
    for number in range(24):
        suffix = ("png", "jpg", "webp")[number % 3]
        photo(folder / f"s{number % 4}" / f"p{number}.{suffix}", 150 + number, 160, number)
    return folder


def test_a_lost_worker_changes_nothing(
    ray: Ray, bucket: str, pictures: Path, tmp_path: Path
) -> None:
    """Store to store; a broken picture too, a node lost in the middle; then the same once more."""
    code, results, _ = ray.run("-r", pictures, "-o", tmp_path / "out", *_OPTIONS)
    assert (code, len(results)) == (0, 24)
    local = contents(tmp_path / "out")
    for path in pictures.rglob("*.*"):
        remote.send(path, f"{bucket}/in/{path.relative_to(pictures).as_posix()}")
    half = next(pictures.rglob("*.png")).read_bytes()[:3000]
    (tmp_path / "half.png").write_bytes(half)
    remote.send(tmp_path / "half.png", f"{bucket}/in/half.png")

    line = ("-r", f"{bucket}/in", "-o", f"{bucket}/out", "--engine", "ray", *_OPTIONS)
    running = ray.start(*line)
    assert running.first  # so the cluster is at work
    assert addresses(marked(ray.environment[_MARK])) <= LOOPBACK
    ray.lose()
    code, results, err = running.finish()
    assert code == 1, err
    assert len(results) == 25
    assert {result["status"] for result in results if result["ok"]} == {"written"}
    failed = [result for result in results if not result["ok"]]
    assert [result["source"] for result in failed] == [f"{bucket}/in/half.png"]
    assert "1 of 25 failed" in err
    store = {
        name.removeprefix(f"{bucket}/out/"): fetched(name, tmp_path)
        for name in remote.list_files(f"{bucket}/out")
    }
    assert store == local

    code, results, err = ray.run(*line)
    assert code == 1, err
    assert sorted({str(result["status"]) for result in results}) == ["failed", "kept"]


def fetched(address: str, folder: Path) -> bytes:
    remote.fetch(address, folder / "fetched")
    return (folder / "fetched").read_bytes()


def test_without_a_cluster_ray_runs_on_this_machine(
    alone: Ray, pictures: Path, tmp_path: Path
) -> None:
    """Plain paths, and a record that the other engine reads."""
    del alone.environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"]  # ours to see to
    del alone.environment["RAY_USAGE_STATS_ENABLED"]
    shutil.rmtree(pictures / "s0")
    line = ("-r", pictures, "-o", tmp_path / "out", *_OPTIONS)
    running = alone.start(*line, "--engine", "ray")
    assert addresses(marked(alone.environment[_MARK])) <= LOOPBACK
    code, results, err = running.finish()
    assert code == 0, err
    assert "RAY_ADDRESS is not set" in err
    assert {result["status"] for result in results} == {"written"}
    targets = {Path(str(result["target"])) for result in results}
    assert {target.parent.parent for target in targets} == {tmp_path / "out"}
    code, results, _ = alone.run(*line)
    assert code == 0
    assert [result["status"] for result in results] == ["kept"] * 18
    by_ray = contents(tmp_path / "out")
    assert alone.run("-r", pictures, "-o", tmp_path / "local", *_OPTIONS)[0] == 0
    assert contents(tmp_path / "local") == by_ray


# Two jobs, of which the second was begun as often as the second argument says, for one worker.
_BEGUN_BEFORE = """
import json, sys
from dataclasses import asdict
from pathlib import Path
import ray
from loopsr.apps.batch.jobs import Job
from loopsr.apps.batch.ray_worker import Duty, Keeper, Worker
from loopsr.apps.batch.settings import Settings, Size, fingerprint
from loopsr.engine.upscaler import Upscaler

folder, times = Path(sys.argv[1]), int(sys.argv[2])
(folder / "out").mkdir()
ray.init(
    address="local", num_cpus=1, include_dashboard=False, log_to_driver=False,
    object_store_memory=80_000_000, _node_ip_address="127.0.0.1",
)
keeper = ray.remote(Keeper).options(num_cpus=0).remote(str(folder / "out"))
for _ in range(times):
    ray.get(keeper.begin.remote(1))
settings = Settings(size=Size(scale=2))
duty = Duty(
    settings=settings, fingerprint=fingerprint(settings, Upscaler().identity()),
    collision="error", folder=str(folder / "out"), run="r", upscaler={}, threads=1, lanes=1,
    memory=None,
)
jobs = [
    Job(str(folder / "in" / f"{n}.png"), str(folder / "out" / f"{n}.png"), key=f"{n}.png")
    for n in range(2)
]
lot = {"number": [0, 1], "job": [json.dumps(asdict(job)) for job in jobs]}
for text in Worker(duty, keeper)(lot)["outcome"]:
    print(text)
"""


@pytest.mark.parametrize(("times", "second"), [(3, "written"), (4, "failed")])
def test_a_picture_that_costs_four_workers_is_given_up(
    alone: Ray, tmp_path: Path, times: int, second: str
) -> None:
    for number in range(2):
        photo(tmp_path / "in" / f"{number}.png", 20, 16, number)
    done = subprocess.run(
        [sys.executable, "-c", _BEGUN_BEFORE, str(tmp_path), str(times)],
        env=alone.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [outcome["status"] for outcome in outcomes] == ["written", second]
    if second == "failed":
        assert "4 workers were lost over it" in outcomes[1]["error"]
        assert not (tmp_path / "out" / "1.png").exists()
