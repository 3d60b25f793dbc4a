"""Adaptive steps: every cell is the fixed result of its steps, and no border is seen."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from loopsr import models
from loopsr.card import ModelCard, StepRule
from loopsr.engine import adaptive, blend
from loopsr.engine.adaptive import Adaptive, adaptive_halo
from loopsr.engine.backends import open_backend, open_stepwise
from loopsr.engine.detail import detail, wanted_steps
from loopsr.engine.runners import Steps
from loopsr.engine.tiling import upscale_rows
from loopsr.export.package import make_card, write_package
from loopsr.ops.enlarge import sharpened
from loopsr.ops.resize import resize

Floats = NDArray[np.float32]
Photo = Callable[[int, int], Floats]
BOUND = 2e-5
LEVEL = 1 / 255
USUAL = 16  # levels by which the pictures of two stops differ in a photograph, at the most
NETWORKS = {
    "loop-x4": ("loop", {"scale": 4, "width": 8, "own": 0, "depth": 2, "iters": 4}),
    "lrn-x2": ("lrn", {"scale": 2, "iters": 4}),
    "lrn-x3": ("lrn", {"scale": 3, "iters": 4}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small untrained networks whose steps differ by many levels."""
    folder = tmp_path_factory.mktemp("networks")
    for name, (kind, config) in NETWORKS.items():
        torch.manual_seed(3)
        network = models.create(kind, **config)
        with torch.no_grad():
            for key, parameter in network.named_parameters():
                parameter.add_(0.04 * torch.randn_like(parameter))
                if key == "gain":
                    parameter.fill_(0.5)
                # Else its pictures reach 14 times white, and float32 errs by as much more.
                if kind == "lrn" and key.startswith("last"):
                    parameter.mul_(0.1)
        write_package(network, folder, card=make_card(network, name=name, kind=kind))
    return folder


def picture(photo: Photo, height: int, width: int) -> Floats:
    """Smooth at the left, full of detail at the right, and nowhere flat."""
    rows = np.linspace(0.2, 0.8, height, dtype=np.float32)[:, None, None]
    share = np.linspace(0, 1, width, dtype=np.float32)[None, :, None] ** 2
    grain = np.random.default_rng(0).normal(0, 1e-4, (height, width, 3)).astype(np.float32)
    return (rows * (1 - share) + photo(height, width) * share + grain).clip(0.01, 0.99)


SHARPEN = (-0.29, 0.05, 0.1, -0.02, 0.0)


def rule_for(pixels: Floats, stops: tuple[int, ...], cell: int = 8) -> StepRule:
    """A rule by which about as many cells stop at each of ``stops``; bicubic is sharpened."""
    box = (0, pixels.shape[0], 0, pixels.shape[1])
    found = detail(pixels.transpose(2, 0, 1), box, cell)
    shares = np.linspace(0, 1, len(stops) + 1)[1:-1]
    thresholds = tuple(np.quantile(found, shares))
    return StepRule(cell=cell, stops=stops, thresholds=thresholds, sharpen=SHARPEN)


def by_steps(card: ModelCard, folder: Path, pixels: Floats) -> list[Floats]:
    """The whole picture after 0, 1, 2... steps, (s h, s w, 3), not cut to [0, 1]."""
    assert card.iters is not None
    opened = [
        open_backend("onnxruntime", card, folder / f"{card.name}.onnx", threads=1, iters=n)
        for n in range(1, card.iters + 1)
    ]
    lr = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
    sharp = sharpened(lr[0], SHARPEN).transpose(1, 2, 0)
    bicubic = resize(sharp.astype(np.float64), scale=card.scale).astype(np.float32)
    return [bicubic, *(network.run(lr)[0].transpose(1, 2, 0) for network in opened)]


def run_adaptive(
    card: ModelCard, folder: Path, rule: StepRule, pixels: Floats, tile: int
) -> tuple[Floats, NDArray[np.int8]]:
    """The picture, and the steps of its cells as they were told."""
    height, width = pixels.shape[:2]
    cells = np.zeros((-(-height // rule.cell), -(-width // rule.cell)), np.int8)

    def watch(box: tuple[int, int, int, int], steps: Steps) -> None:
        top, left = box[0] // rule.cell, box[2] // rule.cell
        shape = np.shape(steps) or (1, 1)
        cells[top : top + shape[0], left : left + shape[1]] = steps

    network = open_stepwise(
        "onnxruntime", card, folder / f"{card.name}.onnx", stops=rule.stops, threads=1
    )
    rows = upscale_rows(
        Adaptive(network, card, rule),
        replace(card, halo=adaptive_halo(card, rule)),
        iter([pixels]),
        width=width,
        height=height,
        tile=tile,
        watch=watch,
    )
    return np.concatenate(list(rows)), cells


def smooth(
    pictures: list[Floats],
    cells: NDArray[np.int8],
    stops: tuple[int, ...],
    cell: int,
    scale: int,
) -> Floats:
    """What smooth passages give: what each stop changes, by the distance of each output pixel to
    the cells that go on to it, from one input pixel (all of it) to the ramp's end (nothing)."""
    result = pictures[stops[0]].copy()
    height, width = result.shape[:2]
    y = (np.arange(height) + 0.5) / scale
    x = (np.arange(width) + 0.5) / scale
    for place, (before, stop) in enumerate(itertools.pairwise(stops)):
        near = np.full((height, width), np.inf)
        for row, column in np.argwhere(cells >= stop):
            # From the nearest centre of an input pixel of the cell.
            rows = np.maximum(0, np.abs(y - cell * (row + 0.5)) - cell / 2 + 0.5)
            columns = np.maximum(0, np.abs(x - cell * (column + 0.5)) - cell / 2 + 0.5)
            near = np.minimum(near, np.maximum(rows[:, None], columns[None]))
        length = blend.LATER_RAMP if place else blend.RAMP
        weights = (1 - (near - 1) / length).clip(0, 1)[..., None].astype(np.float32)
        result += weights * (pictures[stop] - pictures[before])
    return result.clip(0, 1)


@pytest.mark.parametrize("stops", [(1, 4), (1, 2, 4), (2, 3, 4), (0, 1, 4), (0, 2)])
@pytest.mark.parametrize("name", NETWORKS)
def test_cells_are_the_fixed_result_of_their_steps(
    name: str, stops: tuple[int, ...], folder: Path, photo: Photo
) -> None:
    card = from_folder(folder, name)
    pixels = picture(photo, 45, 150)
    rule = rule_for(pixels, stops)
    output, cells = run_adaptive(card, folder, rule, pixels, 1000)
    assert set(np.unique(cells)) == set(stops)
    pictures = [picture.clip(0, 1) for picture in by_steps(card, folder, pixels)]
    side = rule.cell * card.scale
    apart = 0.0
    for row, column in np.argwhere(cells == stops[-1]):
        place = np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]
        assert np.abs(output[place] - pictures[stops[-1]][place]).max() <= BOUND
        apart = max(apart, np.abs(pictures[stops[0]][place] - pictures[stops[-1]][place]).max())
    assert apart > 10 * LEVEL  # or nothing was compared
    # Cells with fewer steps: away from others, in the middle of those that have only their like.
    reach, alone = -(-blend.REACH // rule.cell), 0
    for row, column in np.argwhere(cells == stops[0]):
        rows = slice(max(0, row - reach), row + reach + 1)
        around = cells[rows, max(0, column - reach) : column + reach + 1]
        if (around == stops[0]).all():
            alone += 1
            place = np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]
            assert np.abs(output[place] - pictures[stops[0]][place]).max() <= BOUND
    assert alone  # or nothing was compared


def seam(
    output: Floats,
    card: ModelCard,
    folder: Path,
    pixels: Floats,
    cells: NDArray[np.int8],
    rule: StepRule,
) -> float:
    """How far the output is from a smooth passage, the largest difference in grey levels, if the
    pictures of its stops differ by ``USUAL`` levels at the most.

    These untrained ones differ by 100.
    """
    pictures = by_steps(card, folder, pixels)
    taken = [pictures[stop] for stop in rule.stops]
    spread = max(float(np.abs(a - b).max()) for a in taken for b in taken)
    expected = smooth(pictures, cells, rule.stops, rule.cell, card.scale)
    return USUAL * float(np.abs(output - expected).max()) / (spread or USUAL * LEVEL)


@pytest.mark.parametrize("stops", [(1, 2, 4), (0, 1, 3)])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_border_is_seen(name: str, stops: tuple[int, ...], folder: Path, photo: Photo) -> None:
    card, pixels = from_folder(folder, name), picture(photo, 61, 75)
    rule = rule_for(pixels, stops)
    output, cells = run_adaptive(card, folder, rule, pixels, 32)
    assert len(np.unique(cells)) == 3
    assert seam(output, card, folder, pixels, cells, rule) <= 1


def test_planted_faults_are_seen(
    folder: Path, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, pixels = from_folder(folder, "loop-x4"), picture(photo, 45, 150)
    rule, cut = rule_for(pixels, (1, 2, 4)), adaptive._cut

    def worst(changed: ModelCard = card) -> float:
        output, cells = run_adaptive(changed, folder, rule, pixels, 1000)
        return seam(output, card, folder, pixels, cells, rule)

    # Too little of the state around what goes on, in rectangles that leave no room.
    with monkeypatch.context() as patch:
        patch.setattr(adaptive, "_BLOCK", 1)
        whole, _ = run_adaptive(card, folder, rule, pixels, 1000)
        little = replace(card, halo_per_step=0, halo=0)
        lacking, _ = run_adaptive(little, folder, rule, pixels, 1000)
    assert np.abs(lacking - whole).max() > 10 * BOUND
    with monkeypatch.context() as patch:  # no passage
        patch.setattr(blend, "ramp", lambda inside, cell, _: np.kron(inside, np.ones((cell, cell))))
        assert worst() > 2
    with monkeypatch.context() as patch:  # nothing goes on
        patch.setattr(Adaptive, "_go_on", lambda *_: None)
        assert worst() > 2
    with monkeypatch.context() as patch:  # a state that was not kept
        patch.setattr(adaptive, "_cut", lambda patches, box: cut(patches, box) * (box[2] == 0))
        assert worst() > 2
    assert worst() <= 1


def test_bicubic_is_sharpened_by_the_rule(folder: Path, photo: Photo) -> None:
    card, pixels = from_folder(folder, "loop-x4"), picture(photo, 40, 40)
    rule = StepRule(cell=8, stops=(0, 4), thresholds=(1e6,), sharpen=SHARPEN)
    expected = by_steps(card, folder, pixels)[0].clip(0, 1)
    output, _ = run_adaptive(card, folder, rule, pixels, 24)
    assert np.abs(output - expected).max() <= BOUND
    # Planted: without the weights it is another picture.
    plain, _ = run_adaptive(card, folder, replace(rule, sharpen=()), pixels, 24)
    assert np.abs(plain - expected).max() > 10 * BOUND


@pytest.mark.parametrize("stops", [(1, 2, 4), (0, 3)])
@pytest.mark.parametrize("tile", [8, 20, 33, (16, 1000), (1000, 8)])
def test_tiles_change_nothing(
    tile: int | tuple[int, int], stops: tuple[int, ...], folder: Path, photo: Photo
) -> None:
    card, pixels = from_folder(folder, "loop-x4"), picture(photo, 61, 75)
    rule = rule_for(pixels, stops)
    whole, cells = run_adaptive(card, folder, rule, pixels, 1000)
    output, again = run_adaptive(card, folder, rule, pixels, tile)  # type: ignore[arg-type]
    assert np.array_equal(cells, again)
    assert np.abs(output - whole).max() <= BOUND


@pytest.mark.parametrize("size", [(1, 30), (30, 1), (7, 9), (8, 8), (17, 16)])
def test_small_pictures(size: tuple[int, int], folder: Path, photo: Photo) -> None:
    card, pixels = from_folder(folder, "loop-x4"), picture(photo, *size)
    rule = StepRule(cell=8, stops=(1, 2, 4), thresholds=(0.05, 0.2))
    output, cells = run_adaptive(card, folder, rule, pixels, 1000)
    assert seam(output, card, folder, pixels, cells, rule) <= 1


@pytest.mark.parametrize(("threshold", "stop"), [(0.0, 4), (1e6, 1)])
def test_all_or_none(threshold: float, stop: int, folder: Path, photo: Photo) -> None:
    card, pixels = from_folder(folder, "loop-x4"), picture(photo, 40, 40)
    rule = StepRule(cell=16, stops=(1, 4), thresholds=(threshold,))
    output, _ = run_adaptive(card, folder, rule, pixels, 24)
    assert np.abs(output - by_steps(card, folder, pixels)[stop].clip(0, 1)).max() <= BOUND


def test_smooth_is_no_detail_and_cells_are_their_own(photo: Photo) -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, 32, dtype=np.float32), (3, 24, 32))
    inner = detail(ramp, (0, 24, 0, 32), 8)[:, 1:-1]
    assert inner.max() < 1e-3
    pixels = photo(24, 32).transpose(2, 0, 1)
    whole = detail(pixels, (0, 24, 0, 32), 8)
    assert whole.shape == (3, 4)
    part = detail(pixels[:, 7:17, 7:25], (1, 9, 1, 17), 8)
    assert np.array_equal(part, whole[1:2, 1:3])
    assert not np.array_equal(detail(pixels[:, 8:16, 8:24], (0, 8, 0, 16), 8), whole[1:2, 1:3])


def test_a_rule_decides_by_its_thresholds() -> None:
    rule = StepRule(cell=8, stops=(1, 3, 4), thresholds=(0.1, 0.5))
    pixels = np.full((3, 8, 24), 0.5, np.float32)
    pixels[:, 4, 12] = 0.7
    pixels[:, 4, 20] = 1.0
    levels = detail(pixels, (0, 8, 0, 24), 8)
    assert 0 == levels[0, 0] < 0.1 < levels[0, 1] < 0.5 < levels[0, 2]
    assert wanted_steps(pixels, (0, 8, 0, 24), rule).tolist() == [[1, 3, 4]]
    assert rule.up_to(3) == StepRule(cell=8, stops=(1, 3), thresholds=(0.1,))
    assert rule.up_to(1) is None


def from_folder(folder: Path, name: str) -> ModelCard:
    from loopsr.weights import catalogue

    return catalogue.read_card(folder / f"{name}.onnx")
