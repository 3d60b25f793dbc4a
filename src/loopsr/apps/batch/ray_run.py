"""All jobs of a run on the machines of a Ray cluster, by Ray Data.

The results are those of ``run``. Lots of jobs go to workers, each with its networks opened once.
What a lost worker had is done again by others; a picture over which several were lost fails.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import queue
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from loopsr.apps.batch.jobs import STREAM, Job, check_clashes
from loopsr.apps.batch.ray_worker import Duty, Keeper, Worker, from_json
from loopsr.apps.batch.record import absolute, open_record
from loopsr.apps.batch.run import Outcome, local_folders, renamed
from loopsr.errors import BackendError, Cancelled, LoopsrError, MissingExtraError, UsageError

logger = logging.getLogger("loopsr.ray")

_LOT = 16  # jobs that a worker is given at a time
_FEWEST_LOTS = 4  # a worker, so that the last ones end at about the same time
_MOST_THREADS = 4  # of a worker: more workers use more cores better than more threads do
_WAIT = 0.2  # seconds between two looks whether the run was stopped
_STORE = 100_000_000  # bytes of Ray's object store where we start it: only names pass through it
_END = object()


def run_on_ray(
    jobs: Sequence[Job],
    duty: Duty,
    *,
    threads: int | None,
    lanes: int | None,
    plain: bool,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Do all jobs and yield what came of each, as they are done; a failure is an outcome.

    The cluster is that of the environment's ``RAY_ADDRESS``; without one Ray runs on this machine
    alone. ``threads`` are the CPUs of a worker, ``plain`` says that some names are paths that need
    not be the same on other machines. Raises as ``run`` does, and ``MissingExtraError``,
    ``BackendError`` when the cluster fails.
    """
    from loopsr.io import remote
    from loopsr.io.parts import remove_stale

    _check(jobs, duty)
    if duty.collision != "rename":
        check_clashes(jobs)
    near = not remote.is_address(duty.folder)
    if near:
        with open_record(Path(duty.folder)) as record:  # also sees to it that nobody else writes
            if duty.collision == "rename":
                jobs = renamed(jobs, record, duty.fingerprint)
        for parent in local_folders(jobs):
            remove_stale(parent)
    elif duty.collision == "rename":
        renamed(jobs, None, "")
    with _cluster() as ray:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        if plain and len({node["NodeManagerAddress"] for node in nodes}) > 1:
            raise UsageError(
                "the cluster has several machines, and a plain path may be another file on each; "
                "pass s3://..., or file:///... for what all of them share"
            )
        threads, workers = _workers([node["Resources"].get("CPU", 0) for node in nodes], threads)
        duty = replace(duty, threads=threads, lanes=lanes or min(threads + 1, 8))
        keeper = _keeper(ray, duty.folder if near else None)
        found = _outcomes(jobs, duty, keeper, workers=min(workers, len(jobs)))
        for number, text in _polled(found, stopped):
            yield from_json(text, jobs[number])


def new_name() -> str:
    """A name for a run."""
    return secrets.token_hex(4)


def _check(jobs: Sequence[Job], duty: Duty) -> None:
    from loopsr.io import remote

    if any(STREAM in (job.source, job.target) for job in jobs):
        raise UsageError("--engine ray cannot pass streams on; name files and pass -o FOLDER/")
    unsure = remote.is_address(duty.folder) and not remote.keeps_notes(duty.folder)
    if unsure and duty.collision not in ("overwrite", "skip"):
        raise UsageError(
            f"{duty.folder} keeps no notes by which a result could be told after a worker was "
            "lost; pass --overwrite or --skip, or write to s3:// or gs://"
        )


def _workers(cpus: Sequence[float], threads: int | None) -> tuple[int, int]:
    """Threads of a worker, and how many workers the nodes have room for."""
    useful = [int(count) for count in cpus if count >= 1]
    if not useful:
        raise BackendError("no node of the cluster has a CPU to give; start one with --num-cpus")
    threads = threads or min(_MOST_THREADS, *useful)
    workers = sum(count // threads for count in useful)
    if not workers:
        raise UsageError(
            f"--threads is {threads}, no node has more than {max(useful)} CPUs; "
            f"pass --threads {max(useful)} or fewer"
        )
    return threads, workers


@contextmanager
def _cluster() -> Iterator[Any]:
    """Ray, connected to the cluster of ``RAY_ADDRESS``, or to one that begins and ends here."""
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise UsageError(
            f"RAY_ADDRESS is {address}, a client's address; run on a machine of the cluster, with "
            "RAY_ADDRESS=auto, or with: ray job submit"
        )
    own: dict[str, Any] = {}
    if not address:
        # Read when Ray is imported: it keeps to 127.0.0.1 then, and reports to nobody.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        own = _own()
        logger.warning("RAY_ADDRESS is not set: Ray runs on this machine alone")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        ray: Any = importlib.import_module("ray")
        importlib.import_module("ray.data")
    except ImportError:
        raise MissingExtraError("--engine ray", "ray") from None
    # Ray prints on stdout, where only results may be: at its start, of lost workers, at its end.
    with redirect_stdout(sys.stderr):
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **own)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise BackendError(
                f"no Ray cluster answers at {address or 'this machine'} ({_last_line(error)}); "
                "check RAY_ADDRESS, and the cluster with: ray status"
            ) from None
        try:
            yield ray
        finally:
            ray.shutdown()


def _own() -> dict[str, Any]:
    from loopsr.engine.machine import cores

    return {
        "address": "local",
        "num_cpus": cores(),
        "num_gpus": 0,
        "include_dashboard": False,
        "object_store_memory": _STORE,
        "_node_ip_address": "127.0.0.1",
    }


def _keeper(ray: Any, folder: str | None) -> Any:
    """The actor that keeps the record, on this machine."""
    strategies = importlib.import_module("ray.util.scheduling_strategies")
    here = strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    actor = ray.remote(Keeper).options(num_cpus=0, scheduling_strategy=here)
    return actor.remote(folder)


def _outcomes(
    jobs: Sequence[Job], duty: Duty, keeper: Any, *, workers: int
) -> Iterator[tuple[int, str]]:
    """Number and outcome, as JSON, of every job, as they are done."""
    data: Any = importlib.import_module("ray.data")
    _quiet(data)
    lot = max(1, min(_LOT, len(jobs) // (workers * _FEWEST_LOTS)))
    rows = [{"number": n, "job": json.dumps(asdict(_absolute(job)))} for n, job in enumerate(jobs)]
    # Ray Data restarts lost workers and gives their lots to them or others without end; how often
    # a job is really begun again is the keeper's to say.
    outcomes = data.from_items(rows, override_num_blocks=-(-len(rows) // lot)).map_batches(
        Worker,
        fn_constructor_args=(duty, keeper),
        batch_size=None,
        compute=data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=duty.threads,
    )
    for row in outcomes.iter_rows():
        yield int(row["number"]), str(row["outcome"])


def _absolute(job: Job) -> Job:
    """A job whose paths hold in a worker's folder too."""
    return replace(job, source=absolute(job.source), target=absolute(job.target))


def _quiet(data: Any) -> None:
    """Ray Data's own progress and plans stay off the terminal."""
    data.DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.CRITICAL)


def _polled(items: Iterator[Any], stopped: Callable[[], bool]) -> Iterator[Any]:
    """The items, taken in another thread; raises ``Cancelled`` soon after ``stopped`` says so."""
    passed: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def take() -> None:
        try:
            for item in items:
                passed.put(item)
            passed.put(_END)
        except Exception as error:  # of any class of Ray's, or of a store's
            passed.put(error)

    threading.Thread(target=take, name="loopsr-ray", daemon=True).start()
    while True:
        try:
            item = passed.get(timeout=_WAIT)
        except queue.Empty:
            if stopped():
                raise Cancelled("stopped; what was finished stays") from None
            continue
        if item is _END:
            return
        if isinstance(item, LoopsrError):
            raise item
        if isinstance(item, Exception):
            raise BackendError(
                f"Ray gave up ({_last_line(item)}); check the cluster with: ray status"
            ) from item
        yield item


def _last_line(error: BaseException) -> str:
    """The last line of what Ray says: the cause comes after its traces."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
