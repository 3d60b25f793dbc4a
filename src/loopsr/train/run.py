"""A run: its pictures, its network, and all that it carries from step to step."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from loopsr.data.degrade import pipeline
from loopsr.data.pairs import Sampler
from loopsr.data.sources import Pairs, find_pictures, load_pairs, read_rgb
from loopsr.errors import ImageReadError, TrainingError, UsageError
from loopsr.layers.fake_quant import FakeQuantised
from loopsr.models import create
from loopsr.train import average, history
from loopsr.train.checkpoint import load_run, read_state, save_run, warm_start
from loopsr.train.distributed import World
from loopsr.train.health import revive
from loopsr.train.objective import make_objective
from loopsr.train.optim import make_optimisers
from loopsr.train.recipe import FREE_SETTINGS, Recipe
from loopsr.train.resident import ResidentSampler, fits, to_unit
from loopsr.train.teacher import taught
from loopsr.train.validate import to_tensor
from loopsr.weights import catalogue

log = logging.getLogger(__name__)
Pixels = NDArray[np.uint8]
VALIDATION_PICTURES = 10
CALIBRATION_BATCHES = 16


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that a run carries from step to step; what ``save`` writes is what it goes on from."""

    network: nn.Module
    objective: nn.Module  # the network with its loss: (lr, hr, iters) to a scalar
    optimisers: list[torch.optim.Optimizer]
    sampler: Sampler
    numbers: Callable[[], list[Tensor]]  # what the next batch is made of, in main memory
    cut: Callable[..., tuple[Tensor, Tensor]]  # its lr and hr in [0, 1], of that on the device
    ema: average.Weights
    warm: average.Weights  # what the run began from, if that has a share in what ships, else empty
    state: dict[str, Any]  # counters, and what tells this run from another; JSON-able
    checkpoint: Path

    def save(self) -> None:
        """Write the checkpoint. Raises ``TrainingError`` when it cannot be written."""
        self.state["sampler"] = self.sampler.state()
        save_run(
            self.checkpoint,
            network=self.network,
            ema=self.ema,
            warm=self.warm,
            optimisers=self.optimisers,
            state=self.state,
        )


def begin(
    recipe: Recipe,
    pairs: Pairs,
    checkpoint: Path,
    *,
    world: World,
    resident: bool,
    compiled: bool | None,
) -> Run:
    """A fresh run, or the one in ``checkpoint``. Raises ``TrainingError`` if that is another.

    ``resident`` keeps the pictures on the device; ``compiled``: see ``make_objective``.
    """
    state = _fresh_state(recipe, pairs)
    resumed = checkpoint.is_file()
    if resumed:
        _check_same_run(read_state(checkpoint), state, checkpoint.parent)
    torch.manual_seed(recipe.seed)
    network = create(recipe.network, scale=recipe.scale, **recipe.network_config)
    if recipe.warm_start and not resumed:
        _warm_start(network, recipe, pairs)
    if recipe.quantize:
        network = FakeQuantised(network)
    network.to(world.place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimisers = make_optimisers(network, recipe.optim)
    sampler = Sampler(
        pairs,
        batch=recipe.batch,
        patch=recipe.patch,
        seed=recipe.seed,
        choices=recipe.choices,
        colours=recipe.colours,
        negatives=recipe.negatives,
        part=(world.rank, world.size),
    )
    if isinstance(network, FakeQuantised) and not resumed:
        network.calibrate(_calibration(recipe, pairs, world.place))
    ema = average.start(network)
    warm = average.start(network) if recipe.warm_share else {}
    if resumed:
        state = load_run(checkpoint, network=network, ema=ema, warm=warm, optimisers=optimisers)
        sampler.restore(state["sampler"])
        if "mark" not in state:  # of an earlier version
            history.set_mark(state)
        log.info("going on after step %d", state["step"])
    numbers, cut = _drawer(sampler, world.place, resident=resident)
    return Run(
        network=network,
        objective=make_objective(network, recipe, world=world, compiled=compiled),
        optimisers=optimisers,
        sampler=sampler,
        numbers=numbers,
        cut=cut,
        ema=ema,
        warm=warm,
        state=state,
        checkpoint=checkpoint,
    )


def check_sources(recipe: Recipe) -> None:
    """Look for what a fresh run begins from, before its pictures are decoded.

    Raises ``UsageError`` or ``WeightsError`` for a warm start or a teacher that is not there.
    """
    if recipe.teacher:
        catalogue.find(recipe.teacher)
    start = recipe.warm_start
    if start is None:
        return
    if not catalogue.is_path(start):
        catalogue.safetensors_path(start)
    elif not Path(start).is_file():
        folder, name = Path(start).parent, Path(start).name.removesuffix(".safetensors")
        ships = f"warm_start={name}" if name in catalogue.names() else "warm_start=FILE"
        raise UsageError(
            f"no weights {start} to begin from; train them first (loopsr train {folder.name}), or "
            f"pass --set {ships}"
        )


def _warm_start(network: nn.Module, recipe: Recipe, pairs: Pairs) -> None:
    assert recipe.warm_start
    fresh = copy.deepcopy(network)
    left_out = warm_start(network, recipe.warm_start)
    if left_out and recipe.warm_share:
        raise TrainingError(
            f"{recipe.warm_start} has no {left_out[0]} of this network, so it can have no share in "
            "what ships; type --set warm_share=0"
        )
    log.info("warm start from %s, fresh: %s", recipe.warm_start, ", ".join(left_out) or "none")
    if recipe.revive:
        begun = revive(network, fresh, _calibration(recipe, pairs, torch.device("cpu")))
        log.info("%d channels that nothing excited begin anew", begun)


def _calibration(recipe: Recipe, pairs: Pairs, place: torch.device) -> Iterable[Tensor]:
    """Inputs that show what features a network has: the same in every process."""
    sampler = Sampler(pairs, batch=recipe.batch, patch=recipe.patch, seed=recipe.seed + 1)
    for _ in range(CALIBRATION_BATCHES):
        yield to_tensor(sampler.draw()[0]).to(place)


def _drawer(
    sampler: Sampler, place: torch.device, *, resident: bool
) -> tuple[Callable[[], list[Tensor]], Callable[..., tuple[Tensor, Tensor]]]:
    """``numbers`` and ``cut`` of a ``Run``: places in resident pictures, else the very crops."""
    if resident and fits(sampler, place):
        pictures = ResidentSampler(sampler, place)
        return lambda: [pictures.numbers()], pictures.cut
    crops = lambda: [torch.from_numpy(pixels) for pixels in sampler.draw()]  # noqa: E731
    return crops, lambda lr, hr: (to_unit(lr), to_unit(hr))


def pictures(
    recipe: Recipe, hr: Iterable[str | Path], valid: Iterable[str | Path], *, out: Path
) -> tuple[Pairs, list[tuple[Pixels, Pixels]]]:
    """Training pairs, and a few (lr, hr) pairs evenly chosen from ``valid``, else held out.

    What lies in the run folder ``out`` below one of ``hr``, such as a plot of its log, is no
    picture to train on.
    """
    folders, valid, run = list(hr), list(valid), out.resolve()
    files = find_pictures(folders)
    if any(Path(folder).resolve() in run.parents for folder in folders):
        files = [path for path in files if run not in path.resolve().parents]
    if valid:
        judges = _judges(find_pictures(valid), VALIDATION_PICTURES, recipe.scale)
    else:
        most = min(VALIDATION_PICTURES, max(1, len(files) // 20))
        judges = _judges(files, most, recipe.scale)
        if len(files) > 1:
            files = [path for path in files if path not in judges]
    steps, threads = pipeline(recipe.degradation), torch.get_num_threads()
    pairs = load_pairs(
        files,
        scale=recipe.scale,
        steps=steps,
        variants=recipe.variants,
        copies=recipe.copies,
        threads=threads,
    )
    if recipe.teacher:
        pairs = taught(pairs, teacher=recipe.teacher, share=recipe.teacher_share, threads=threads)
    held_out = load_pairs(judges, scale=recipe.scale, steps=steps)
    return pairs, list(zip(held_out.lr, held_out.hr, strict=True))


def _judges(files: Sequence[Path], most: int, scale: int) -> list[Path]:
    """Up to ``most`` pictures, evenly chosen among those that can be read and measured.

    Raises ``UsageError`` when there is none.
    """
    parts = max(1, min(most, len(files)))
    edges = [i * len(files) // parts for i in range(parts + 1)]
    chosen = [
        next((path for path in files[start:end] if _can_judge(path, scale)), None)
        for start, end in itertools.pairwise(edges)
    ]
    if judges := [path for path in chosen if path]:
        return judges
    raise UsageError(
        f"none of {len(files)} pictures can be validated on: each is broken, or has no more than "
        f"{2 * scale} pixels on a side; pass other pictures, or --valid FOLDER"
    )


def _can_judge(path: Path, scale: int) -> bool:
    try:
        height, width = read_rgb(path).shape[:2]
    except ImageReadError:
        return False
    return bool(min(height // scale, width // scale) > 2)  # of input pixels a border of 1 is cut


def progress(recipe: Recipe, state: dict[str, Any]) -> float:
    """Share of the run that is done, 0 to 1."""
    if recipe.seconds is not None:
        return float((state["data_seconds"] + state["net_seconds"]) / recipe.seconds)
    return float(state["step"] / recipe.steps)


def _fresh_state(recipe: Recipe, pairs: Pairs) -> dict[str, Any]:
    state: dict[str, Any] = {
        "step": 0,
        "data_seconds": 0.0,
        "net_seconds": 0.0,
        "loss_sum": 0.0,
        "recipe": recipe.to_json(),
        "pictures": pairs.key,
        "sampler": None,
    }
    history.set_mark(state)
    return state


def _check_same_run(saved: dict[str, Any], asked: dict[str, Any], out: Path) -> None:
    # Parsed, so that a setting that a later version adds counts as its default.
    before, now = (Recipe.from_json(state["recipe"]) for state in (saved, asked))
    free = {key: getattr(now, key) for key in FREE_SETTINGS}
    same_recipe = dataclasses.replace(before, **free) == now
    differs = "recipe" if not same_recipe else "pictures"
    if not same_recipe or saved["pictures"] != asked["pictures"]:
        raise TrainingError(
            f"{out} holds a run with other {differs}; repeat its command to go on, "
            "or pass another --out folder to begin anew"
        )
