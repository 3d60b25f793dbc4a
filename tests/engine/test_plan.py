"""Sizes, chains and tiles are decided before any work."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from loopsr.card import ModelCard
from loopsr.engine.plan import choose_scales, default_memory, final_size, make_plan, stage_memory
from loopsr.errors import UsageError

MB = 1024**2
CARD = ModelCard(name="lrn-x2", network="lrn", config={}, scale=2, halo=15, parameters=57175)


@pytest.mark.parametrize(
    ("wish", "size"),
    [
        ({"scale": 2}, (200, 100)),
        ({"scale": 1.5}, (150, 75)),
        ({"scale": 1.01}, (101, 51)),
        ({"scale": 16}, (1600, 800)),
        ({"to_width": 333}, (333, 167)),
        ({"to_height": 200}, (400, 200)),
        ({"to_width": 300, "to_height": 300}, (300, 150)),
        ({"to_width": 900, "to_height": 120}, (240, 120)),
        ({"long_edge": 101}, (101, 51)),
    ],
)
def test_final_size(wish: dict[str, Any], size: tuple[int, int]) -> None:
    assert final_size(100, 50, **wish) == size


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"scale": 1},
        {"scale": 0.5},
        {"scale": -2},
        {"scale": 16.1},
        {"scale": float("nan")},
        {"scale": float("inf")},
        {"scale": 2, "to_width": 300},
        {"long_edge": 300, "to_width": 300},
        {"to_width": 100},
        {"to_width": 99},
        {"to_width": 300, "to_height": 50},
        {"long_edge": 0},
        {"long_edge": 1601},
    ],
)
def test_wishes_that_cannot_be(wish: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="pass"):
        final_size(100, 50, **wish)


@pytest.mark.parametrize(
    ("factor", "chain"),
    [
        (1.01, (2,)),
        (2, (2,)),
        (2.01, (3,)),
        (3000 / 1000, (3,)),
        (4, (4,)),
        (5, (3, 2)),
        (6, (3, 2)),
        (7, (4, 2)),
        (8, (4, 2)),
        (9, (3, 3)),
        (12, (4, 3)),
        (16, (4, 4)),
    ],
)
def test_chain(factor: float, chain: tuple[int, ...]) -> None:
    assert choose_scales(factor, [2, 3, 4]) == chain


def test_chain_starts_with_the_chosen_model() -> None:
    assert choose_scales(2, [2, 3, 4], first=4) == (4,)
    assert choose_scales(8, [2, 3, 4], first=2) == (2, 4)
    assert choose_scales(9, [4], first=4) == (4, 4)
    assert choose_scales(16, [2], first=2) == (2, 2, 2, 2)
    with pytest.raises(UsageError, match="do not reach"):
        choose_scales(2, [1], first=1)


def plan(width: int, height: int, budget: int, *, card: ModelCard = CARD, tile: int | None = None):
    size = (2 * width, 2 * height)
    return make_plan([card], width=width, height=height, size=size, max_memory=budget, tile=tile)


@pytest.mark.parametrize("budget", [8 * MB, 30 * MB, 100 * MB, 400 * MB, 2000 * MB])
@pytest.mark.parametrize("size", [(1, 1), (640, 480), (4000, 3000)])
def test_tile_fits_the_budget(size: tuple[int, int], budget: int) -> None:
    if size[0] == 4000 and budget == 8 * MB:
        with pytest.raises(UsageError):
            plan(*size, budget)
        return
    made = plan(*size, budget)
    assert made.memory <= budget
    assert made.stages[0].memory == stage_memory(CARD, *size, made.stages[0].tile)


def test_more_memory_means_larger_tiles() -> None:
    areas = []
    for budget in (60, 150, 500):
        rows, columns = plan(4000, 3000, budget * MB).stages[0].tile
        areas.append(rows * columns)
    assert areas == sorted(areas)
    assert areas[0] < areas[-1]


def test_too_little_memory_says_how_much_would_do() -> None:
    with pytest.raises(UsageError, match=r"pass --max-memory (\d+)M or more") as caught:
        plan(10_000, 10_000, MB)
    need = int(str(caught.value).rsplit(" ", 3)[1].rstrip("M"))
    assert plan(10_000, 10_000, need * MB).memory <= need * MB
    with pytest.raises(UsageError):
        plan(10_000, 10_000, (need - 1) * MB)


def test_hundred_megapixels_stay_under_the_default_budget() -> None:
    assert plan(10_000, 10_000, default_memory(64 * 1024 * MB)).memory <= 1024 * MB
    assert default_memory(1000 * MB) == 250 * MB


def test_the_users_tile_is_taken() -> None:
    assert plan(640, 480, MB, tile=64).stages[0].tile == (64, 64)


def test_a_global_network_needs_the_whole_picture_in_memory() -> None:
    card = dataclasses.replace(CARD, halo=None)
    assert stage_memory(card, 640, 480, (8, 8)) == stage_memory(card, 640, 480, (512, 512))


def test_passes_follow_one_another() -> None:
    cards = [dataclasses.replace(CARD, scale=4), CARD]
    made = make_plan(cards, width=10, height=20, size=(70, 140), max_memory=100 * MB)
    assert [(stage.width, stage.height) for stage in made.stages] == [(10, 20), (40, 80)]
    assert made.network_size == (80, 160)
    assert made.reduced
    assert made.cost == 57175 * (200 + 3200)
