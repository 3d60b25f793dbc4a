"""A picture stays within its time, on a machine that is not as quick as it was measured to be."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from loopsr.engine.pace import Load, Pace, Speed
from loopsr.engine.runners import Array, Bicubic, Box, Core, crop
from loopsr.engine.timed import Timed
from loopsr.ops.enlarge import enlarge

SPEED = Speed(none=0.001, first=0.01, step=0.01)  # seconds a pixel
SIDE = 4  # of a tile
TILES = 100
PIXELS = TILES * SIDE**2  # bicubic 1.6 s; one step 16 s, four 64 s


class Clock:
    """Time that goes on only when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Picture:
    """A picture of a hundred tiles on a machine where all takes ``slowness`` times as long."""

    def __init__(self, limit: float, slowness: Callable[[int], float], rest: float = 0.0) -> None:
        self.clock = Clock()
        self.pace = Pace(limit, clock=self.clock)
        self.pace.start([Load(speed=SPEED, pixels=PIXELS, most=4)], rest=rest)
        self.slowness, self.rest = slowness, rest
        self.steps: list[int] = []

    def run(self) -> float:
        """Do all tiles; gives the seconds."""
        pixels = np.zeros((1, 3, SIDE, SIDE), np.float32)
        for number in range(TILES):
            factor = self.slowness(number)
            timed = Timed(
                self.pace,
                0,
                runner=lambda steps, factor=factor: self._Runner(self.clock, steps, factor),
                halo=lambda steps: 0,
                scale=2,
                unit=1,
                clock=self.clock,
            )
            before = self.clock.now
            done = timed.run_core(pixels, (0, SIDE, 0, SIDE))
            if self.clock.now == before:  # bicubic is no stand-in, but takes no time on this clock
                self.clock.now += SIDE**2 * SPEED.none * factor
            self.steps.append(int(done.steps))
            self.pace.done(0, SIDE**2)
            self.clock.now += self.rest / TILES * factor
        return self.clock.now

    class _Runner:
        unit = 1

        def __init__(self, clock: Clock, steps: int, factor: float) -> None:
            self.clock, self.steps, self.factor = clock, steps, factor

        def run_core(self, window: Array, core: Box) -> Core:
            self.clock.now += SIDE**2 * SPEED.of(self.steps) * self.factor
            return Core(np.zeros((3, 2 * SIDE, 2 * SIDE), np.float32), self.steps)


MACHINES: dict[str, Callable[[int], float]] = {
    "as measured": lambda tile: 1.0,
    "three times slower": lambda tile: 3.0,
    "twice as fast": lambda tile: 0.5,
    "busy from the middle on": lambda tile: 1.0 if tile < 50 else 4.0,
    "busy at the end": lambda tile: 1.0 if tile < 80 else 3.0,
    "uneven": lambda tile: 0.5 + (tile * 37 % 20) / 10,
}


@pytest.mark.parametrize("limit", [10.0, 20.0, 45.0, 80.0, 200.0])
@pytest.mark.parametrize("name", MACHINES)
def test_never_more_than_a_fifth_too_long(name: str, limit: float) -> None:
    picture = Picture(limit, MACHINES[name])
    assert picture.run() <= 1.2 * limit
    # Never up again, except from none to one.
    assert all(b <= max(a, 1) for a, b in itertools.pairwise(picture.steps))
    assert sum(a != b for a, b in itertools.pairwise(picture.steps)) <= 8  # no patchwork


@pytest.mark.parametrize("rest", [5.0, 15.0])
@pytest.mark.parametrize("name", MACHINES)
def test_with_reading_and_writing(name: str, rest: float) -> None:
    assert Picture(60.0, MACHINES[name], rest=rest).run() <= 1.2 * 60


def test_the_time_is_made_use_of() -> None:
    assert set(picked(Picture(80.0, MACHINES["as measured"]))) == {4}
    assert set(picked(Picture(40.0, MACHINES["as measured"]))) == {2}
    few = Picture(10.0, MACHINES["as measured"])
    assert few.run() > 7
    assert set(few.steps) == {0, 1}
    assert few.pace.bicubic == SIDE**2 * few.steps.count(0)


def picked(picture: Picture) -> list[int]:
    picture.run()
    return picture.steps


def test_a_pace_that_does_not_look_runs_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "steps", lambda *given: 2)
    for name in ("three times slower", "busy from the middle on"):
        assert Picture(45.0, MACHINES[name]).run() > 1.2 * 45


def test_writing_at_the_end_is_kept_free() -> None:
    clock = Clock()
    pace = Pace(100.0, clock=clock)
    pace.start([Load(speed=SPEED, pixels=PIXELS, most=4)], rest=50.0, at_end=True)
    assert pace.steps(0, 16) == 2  # 32 s are left for networks, not 64
    pace.done(0, PIXELS / 2)
    clock.now = 45.0
    assert pace.steps(0, 16) == 0  # 90 - 45 - 50


def test_two_passes_share_the_time() -> None:
    pace = Pace(100.0, clock=Clock())
    loads = [Load(speed=SPEED, pixels=PIXELS, most=4), Load(speed=SPEED, pixels=PIXELS, most=2)]
    pace.start(loads, rest=0.0)
    assert pace.steps(1, 16) == 2
    assert pace.steps(0, 16) == 3  # 48 + 32 s


def test_bicubic_is_that_of_the_whole_picture() -> None:
    pixels = np.random.default_rng(0).random((1, 3, 9, 12), np.float32)
    whole = enlarge(pixels, 3)[0]
    done = Bicubic(scale=3).run_core(pixels, (2, 7, 3, 9))
    assert done.steps == 0
    assert np.abs(done.pixels - whole[:, 6:21, 9:27]).max() < 1e-6


def test_a_window_is_cut_to_what_is_needed() -> None:
    pixels = np.arange(10 * 12, dtype=np.float32).reshape(1, 1, 10, 12)
    cut, core = crop(pixels, (3, 8, 0, 5), 2)
    assert cut.shape == (1, 1, 9, 7)
    assert core == (2, 7, 0, 5)
    assert np.array_equal(cut[0, 0, core[0] : core[1], core[2] : core[3]], pixels[0, 0, 3:8, 0:5])
