"""Runs: what is written, kept and refused, in order, several at once as one after another."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopsr import Cancelled, Upscaler, UsageError
from loopsr.apps.batch import resume
from loopsr.apps.batch.jobs import Job
from loopsr.apps.batch.record import NAME
from loopsr.apps.batch.run import Outcome, run
from loopsr.apps.batch.settings import Settings, Size

from .conftest import SETTINGS, Run, contents, photo


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def test_several_at_once_give_what_one_after_another_gives(
    do: Run, jobs: list[Job], tmp_path: Path
) -> None:
    serial = do(jobs)
    assert statuses(serial) == ["written"] * 6
    first = contents(tmp_path / "out")
    assert set(first) == {job.key for job in jobs}
    shutil.rmtree(tmp_path / "out")
    parallel = do(jobs, lanes=4)
    assert contents(tmp_path / "out") == first
    assert [outcome.job for outcome in parallel] == jobs
    for a, b in zip(serial, parallel, strict=True):
        assert {**a.result, "seconds": 0} == {**b.result, "seconds": 0}


def test_the_next_is_opened_while_the_network_runs_on_one(
    do: Run, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first job's network waits until the third job has begun: one at a time would hang."""
    from loopsr.engine.backends.onnxruntime import OnnxRuntime

    begun = [threading.Event() for _ in jobs]
    running: list[int] = []
    most = 0
    network = OnnxRuntime.run

    def slow(self: Any, pixels: Any) -> Any:
        nonlocal most
        running.append(1)
        most = max(most, len(running))
        waited = begun[2].wait(60)
        running.pop()
        assert waited
        return network(self, pixels)

    class Watch:
        def begin(self, number: int, source: str) -> None:
            begun[number].set()

        def advance(self, number: int, done: float, note: str) -> None:
            assert 0 <= done <= 1

    monkeypatch.setattr(OnnxRuntime, "run", slow)
    assert statuses(do(jobs, lanes=3, watch=Watch())) == ["written"] * 6
    assert most == 1  # they took turns


def test_one_bad_file_does_not_stop_the_rest(do: Run, jobs: list[Job], tmp_path: Path) -> None:
    Path(jobs[1].source).write_bytes(b"\xff\xd8\xff, no more")
    Path(jobs[3].source).unlink()
    Path(jobs[4].target).parent.mkdir(parents=True)
    Path(jobs[4].target).write_bytes(b"mine")
    outcomes = do(jobs, lanes=3)
    assert statuses(outcomes) == ["written", "failed", "written", "failed", "failed", "written"]
    assert "no such file" in outcomes[3].error
    assert "--overwrite" in outcomes[4].error
    assert Path(jobs[4].target).read_bytes() == b"mine"
    assert json.loads(json.dumps(dataclasses.asdict(outcomes[1])))["exit_code"] == 1


def test_finished_results_are_kept(do: Run, jobs: list[Job], tmp_path: Path) -> None:
    written = do(jobs)
    before = {job.key: Path(job.target).stat().st_ino for job in jobs}
    again = do(jobs, lanes=3)
    assert statuses(again) == ["kept"] * 6
    assert {job.key: Path(job.target).stat().st_ino for job in jobs} == before
    for old, new in zip(written, again, strict=True):
        assert {**old.result, "seconds": 0} == {**new.result, "seconds": 0}
    assert statuses(do(jobs, collision="overwrite")) == ["kept"] * 6
    assert len((tmp_path / "out" / NAME).read_text().splitlines()) == 6


def spoil(job: Job, how: str) -> None:
    target = Path(job.target)
    data = target.read_bytes()
    if how == "cut":
        target.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        target.write_bytes(b"")
    elif how == "zeros":
        target.write_bytes(bytes(len(data)))
    elif how == "gone":
        target.unlink()


@pytest.mark.parametrize("how", ["cut", "empty", "zeros", "gone"])
def test_damaged_results_are_made_again(do: Run, jobs: list[Job], tmp_path: Path, how: str) -> None:
    do(jobs)
    whole = contents(tmp_path / "out")
    spoil(jobs[2], how)
    spoil(jobs[3], how)
    assert statuses(do(jobs)) == ["kept", "kept", "written", "written", "kept", "kept"]
    assert contents(tmp_path / "out") == whole


def test_trust_in_the_name_alone_would_be_caught(
    do: Run, jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(jobs)
    whole = contents(tmp_path / "out")
    spoil(jobs[2], "cut")
    monkeypatch.setattr(resume, "is_intact", lambda entry, target: True)
    assert statuses(do(jobs)) == ["kept"] * 6
    assert contents(tmp_path / "out") != whole


def test_what_someone_retouched_is_theirs(do: Run, jobs: list[Job], tmp_path: Path) -> None:
    do(jobs)
    photo(Path(jobs[0].target), 5, 5)
    data = Path(jobs[0].target).read_bytes()
    outcome = do(jobs)[0]
    assert outcome.status == "failed"
    assert "changed after it was made" in outcome.error
    assert Path(jobs[0].target).read_bytes() == data
    assert do(jobs, collision="overwrite")[0].status == "written"


def test_other_settings_and_changed_sources_are_not_kept(
    do: Run, jobs: list[Job], tmp_path: Path
) -> None:
    do(jobs[:1])
    outcome = do(jobs[:1], Settings(size=Size(scale=3.0)))[0]
    assert "made with other settings" in outcome.error
    photo(Path(jobs[0].source), seed=99)
    outcome = do(jobs[:1])[0]
    assert "before its source was changed" in outcome.error
    assert statuses(do(jobs[:1], collision="skip")) == ["skipped"]
    assert statuses(do(jobs[:1], collision="overwrite")) == ["written"]
    assert statuses(do(jobs[:1])) == ["kept"]


def test_other_weights_are_not_kept(
    do: Run, jobs: list[Job], tiny_weights: Path, tmp_path: Path
) -> None:
    do(jobs[:1])
    copy = tmp_path / "loop-x2.onnx"
    shutil.copy(tiny_weights / "loop-x2.onnx", copy)
    same = list(run(jobs[:1], SETTINGS, Upscaler(copy), folder=tmp_path / "out"))
    assert "other settings" in same[0].error  # x4 and x3 are not there, so not quite the same
    copy.write_bytes(copy.read_bytes() + b"\x08\x09")  # another field of a Protocol Buffer
    other = Upscaler(copy).identity()
    assert other["networks"]["loop-x2"] != Upscaler().identity()["networks"]["loop-x2"]


def test_collisions(do: Run, jobs: list[Job], tmp_path: Path) -> None:
    mine = Path(jobs[0].target)
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    assert statuses(do(jobs[:2])) == ["failed", "written"]
    assert statuses(do(jobs[:2], collision="skip")) == ["skipped", "kept"]
    for _ in range(2):  # the second time it finds its own
        outcomes = do(jobs[:2], collision="rename")
        assert [outcome.job.key for outcome in outcomes] == ["p0-2.png", "a/p1.jpg"]
        assert mine.read_bytes() == b"mine"
    assert statuses(outcomes) == ["kept", "kept"]
    assert statuses(do(jobs[:2], collision="overwrite")) == ["written", "kept"]
    assert mine.read_bytes() != b"mine"


def test_results_of_one_name(do: Run, jobs: list[Job], tmp_path: Path) -> None:
    same = [dataclasses.replace(job, target=jobs[0].target, key=jobs[0].key) for job in jobs[:3]]
    with pytest.raises(UsageError, match="would both become"):
        do(same)
    assert not (tmp_path / "out" / jobs[0].key).exists()
    for expected in ("written", "kept"):
        outcomes = do(same, collision="rename", lanes=3)
        assert statuses(outcomes) == [expected] * 3
        assert [outcome.job.key for outcome in outcomes] == ["p0.png", "p0-2.png", "p0-3.png"]


def test_without_a_folder_there_is_no_record(do: Run, jobs: list[Job], tmp_path: Path) -> None:
    plain = [dataclasses.replace(job, key="") for job in jobs[:2]]
    assert statuses(do(plain, folder=None)) == ["written"] * 2
    assert statuses(do(plain, folder=None)) == ["failed"] * 2
    assert statuses(do(plain, folder=None, collision="skip")) == ["skipped"] * 2
    assert not list(tmp_path.rglob(NAME))


def test_a_stop_ends_the_run_and_leaves_whole_results(
    do: Run, jobs: list[Job], tmp_path: Path
) -> None:
    stop = threading.Event()

    class Watch:
        def begin(self, number: int, source: str) -> None:
            if number == 3:
                stop.set()

        def advance(self, number: int, done: float, note: str) -> None:
            """Nothing."""

    with pytest.raises(Cancelled):
        do(jobs, lanes=2, watch=Watch(), stopped=stop.is_set)
    assert not list(tmp_path.rglob(".*.part"))
    done = contents(tmp_path / "out")
    assert len(done) < 6
    outcomes = do(jobs)
    assert [o.job.key for o in outcomes if o.status == "kept"] == sorted(done, key=key_order(jobs))


def key_order(jobs: list[Job]) -> Any:
    keys = [job.key for job in jobs]
    return keys.index


def test_a_reader_that_goes_away_ends_the_run(
    upscaler: Upscaler, jobs: list[Job], tmp_path: Path
) -> None:
    outcomes: Iterator[Outcome] = run(jobs, SETTINGS, upscaler, folder=tmp_path / "out", lanes=2)
    assert next(outcomes).status == "written"
    outcomes.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if "lane" in thread.name]
    assert statuses(list(run(jobs, SETTINGS, upscaler, folder=tmp_path / "out")))[0] == "kept"


def test_only_what_fits_is_in_the_works(
    do: Run, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for one, the pictures go one by one; with room for all, side by side."""
    from loopsr.engine import files

    at_once: list[int] = []
    working = 0
    guard = threading.Lock()
    both = threading.Event()
    write = files.write_file

    def watched(*arguments: Any, **options: Any) -> Any:
        nonlocal working
        with guard:
            working += 1
            at_once.append(working)
            if working > 1:
                both.set()
        both.wait(0.3)
        try:
            return write(*arguments, **options)
        finally:
            with guard:
                working -= 1

    monkeypatch.setattr(files, "write_file", watched)
    do(jobs, lanes=4, memory=1)
    assert max(at_once) == 1
    do(jobs, lanes=4, collision="overwrite", settings=Settings(size=Size(scale=3.0)))
    assert max(at_once) > 1


def test_jobs_and_settings_travel(jobs: list[Job]) -> None:
    """What is needed to do a job elsewhere can be sent there."""
    assert pickle.loads(pickle.dumps((jobs, SETTINGS))) == (jobs, SETTINGS)
    assert Job(**json.loads(json.dumps(dataclasses.asdict(jobs[0])))) == jobs[0]
