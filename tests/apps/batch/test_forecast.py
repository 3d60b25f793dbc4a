"""Forecasts: what would be done, by which speed, in how much memory; and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopsr import Upscaler, UsageError
from loopsr.apps.batch.forecast import Forecast, Speed, Total, forecast, recorded_speeds
from loopsr.apps.batch.jobs import Job
from loopsr.apps.batch.record import Content, Entry, Origin, Record, open_record

from .conftest import SETTINGS, Run, contents

Forecasts = Callable[..., tuple[list[Forecast], Total]]


def entry(number: int, *, run: str, at: float, format: str = "png", **changes: Any) -> Entry:
    """A result of 10 x 10 pixels and cost 100."""
    facts = {"key": f"{run}{number}", "settings": "s", "cost": 100, "bytes": 200} | changes
    return Entry(
        key=facts["key"],
        origin=Origin(path="/in", bytes=1, mtime_ns=1, sha256="0"),
        settings=facts["settings"],
        content=Content(bytes=facts["bytes"], sha256="0"),
        result={"width": 10, "height": 10, "frames": 1, "format": format},
        cost=facts["cost"],
        at=at,
        run=run,
    )


@pytest.fixture
def record(tmp_path: Path) -> Any:
    with open_record(tmp_path / "recorded") as record:
        yield record


def test_the_speed_of_the_last_run_counts(record: Record) -> None:
    assert recorded_speeds(record, "s") == {}
    for number in range(5):
        record.add(entry(number, run="old", at=1000 + 50 * number))
    for number in range(4):  # a result every two seconds
        record.add(entry(number, run="new", at=2000 + 2 * number))
    record.add(entry(9, run="new", at=2008, format="jpeg", bytes=50))
    record.add(entry(0, run="short", at=9000))  # too few to tell
    record.add(entry(0, run="other", at=9999, settings="t"))
    speeds = recorded_speeds(record, "s")
    assert speeds == {
        "png": Speed(seconds=8 / 400, bytes=2.0, known_by="recorded", pictures=5),
        "jpeg": Speed(seconds=8 / 400, bytes=0.5, known_by="recorded", pictures=5),
    }
    assert recorded_speeds(record, "t") == {}


def test_memory_is_that_of_what_may_be_in_the_works_at_once() -> None:
    def total(*memories: int, budget: int | None) -> int:
        sums = Total(lanes=2, budget=budget)
        for memory in memories:
            result = {"seconds": 1.0}
            sums.add(Forecast(job=Job("a", "b"), status="write", result=result, memory=memory))
        return sums.memory

    assert total(budget=50) == 0
    assert total(10, 30, 20, budget=None) == 50
    assert total(10, 30, 20, budget=40) == 40
    assert total(10, 90, 20, budget=40) == 90  # a large one goes alone


@pytest.fixture
def look(upscaler: Upscaler, tmp_path: Path) -> Forecasts:
    def look(jobs: list[Job], **options: Any) -> tuple[list[Forecast], Total]:
        expected, total = forecast(
            jobs, SETTINGS, upscaler, folder=tmp_path / "out", memory=1 << 30, **options
        )
        return list(expected), total

    return look


def test_what_is_forecast_is_what_is_done(
    look: Forecasts, do: Run, jobs: list[Job], tmp_path: Path
) -> None:
    Path(jobs[3].source).write_bytes(b"II*\0 cut")
    before = contents(tmp_path)
    expected, total = look(jobs)
    assert contents(tmp_path) == before
    assert [one.status for one in expected] == ["write"] * 3 + ["fail"] + ["write"] * 2
    assert {speed.known_by for speed in total.speeds.values()} == {"measured"}
    assert set(total.speeds) == {"png", "jpeg", "webp", "gif"}
    done = do(jobs)
    for one, outcome in zip(expected, done, strict=True):
        unknown = {"seconds": 0, "steps": None}  # before the work
        assert {**one.result, **unknown} == {**outcome.result, **unknown}
        assert (one.status == "fail") is (outcome.status == "failed")
        assert one.error == outcome.error
    Path(jobs[0].target).unlink()
    expected, total = look(jobs)
    assert [one.status for one in expected] == ["write", "keep", "keep", "fail", "keep", "keep"]
    assert {speed.known_by for speed in total.speeds.values()} == {"recorded"}


def test_clashes_are_told_at_once(look: Forecasts, jobs: list[Job], tmp_path: Path) -> None:
    same = [Job(job.source, jobs[0].target, jobs[0].key) for job in jobs[:2]]
    with pytest.raises(UsageError, match="would both become"):
        look(same)
    expected, _ = look(same, collision="rename")
    assert [one.job.key for one in expected] == ["p0.png", "p0-2.png"]
    assert not (tmp_path / "out").exists()
