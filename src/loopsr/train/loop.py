"""The training loop: resumable to the last bit, with one JSON line a validation.

With one thread, a run that is killed at any moment and started again ends in the same weights as
one that was left alone (unless it is limited by seconds).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from loopsr.errors import TrainingError
from loopsr.models import Network
from loopsr.train import average, history
from loopsr.train.checkpoint import save_tensors
from loopsr.train.device import autocast, find_device, stopwatch
from loopsr.train.distributed import World, join
from loopsr.train.health import watch_channels
from loopsr.train.optim import set_progress
from loopsr.train.recipe import Recipe
from loopsr.train.run import Pixels, Run, begin, pictures, progress
from loopsr.train.validate import validate

CHECKPOINT = "checkpoint.safetensors"
_MOST_SILENT = 0.1  # share of the channels
_SILENT = (
    "%d of %d channels are zero on all validation pictures and learn nothing more; "
    "start anew with a lower --set optim.learning_rate"
)
log = logging.getLogger(__name__)
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished run: the network holds the averaged weights."""

    network: nn.Module
    recipe: Recipe
    steps: int
    seconds: float  # of training, without validation
    psnr_y: float  # mean of the validation pictures


def train(
    recipe: Recipe,
    *,
    hr: Iterable[str | Path],
    out: str | Path,
    valid: Iterable[str | Path] = (),
    threads: int | None = None,
    device: str = "auto",
    resident: bool | None = None,
    compiled: bool | None = None,
    report: Report | None = None,
) -> Trained:
    """Train, or go on where the run in ``out`` was stopped; under ``torchrun`` with all processes.

    ``hr`` are folders of sharp pictures, ``valid`` those that choose between runs (without any, a
    few pictures are held out). ``resident`` keeps all pictures on the device, ``compiled`` compiles
    the step: both without say on a GPU only. ``report`` gets what is appended to ``log.jsonl``.
    Raises ``TrainingError`` for a loss that is not finite or a run of another recipe in ``out``.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    place = find_device(device)
    gpu = place.type == "cuda"
    out = _make_folder(Path(out))
    with join(place) as world:
        with world.first_alone():
            pairs, held_out = pictures(recipe, hr, valid)
        run = begin(
            recipe,
            pairs,
            out / CHECKPOINT,
            world=world,
            resident=gpu if resident is None else resident,
            compiled=gpu if compiled is None else compiled,
        )
        score = _loop(recipe, run, held_out, world, report)
        run.network.load_state_dict(run.ema)
        run.network.eval()
        if math.isnan(score):
            score = validate(run.network, held_out, scale=recipe.scale)
    seconds = run.state["data_seconds"] + run.state["net_seconds"]
    return Trained(
        network=run.network, recipe=recipe, steps=run.state["step"], seconds=seconds, psnr_y=score
    )


def _loop(
    recipe: Recipe,
    run: Run,
    held_out: list[tuple[Pixels, Pixels]],
    world: World,
    report: Report | None,
) -> float:
    """All steps that are left; the last validation's score, NaN when no step was left."""
    network, state, out = run.network, run.state, run.checkpoint.parent
    if world.first:
        history.forget_after(out / history.LOG, state["step"])
    clock = stopwatch(world.place)
    score = math.nan
    mark = dict(state)  # where the counters stood at the last log line
    while (done := progress(recipe, state)) < 1:
        start = clock()
        rate = set_progress(
            run.optimisers, done, warmup=recipe.optim.warmup, decay=recipe.optim.decay
        )
        lr, hr = run.draw()
        ready = clock()
        with autocast(recipe.precision, world.place):
            loss = run.objective(lr, hr, _iters(recipe, network, state["step"], done))
        network.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.optim.clip)
        value, size = torch.stack((loss.detach(), norm)).tolist()  # waits for the device
        if not math.isfinite(value) or not math.isfinite(size):
            _stop_diverged(network, out, state["step"] + 1, value, world)
        for optimiser in run.optimisers:
            optimiser.step()
        state["step"] += 1
        average.update(run.ema, network, step=state["step"], most=recipe.ema)
        counts = world.mean(value, ready - start, clock() - ready)
        for key, count in zip(("loss_sum", "data_seconds", "net_seconds"), counts, strict=True):
            state[key] += count

        last = progress(recipe, state) >= 1
        if last or state["step"] % recipe.validate_every == 0:
            with average.weights_of(network, run.ema), watch_channels(network) as watched:
                score = validate(network, held_out, scale=recipe.scale)
            if world.first:
                silent, channels = watched()
                if silent > _MOST_SILENT * channels:
                    log.warning(_SILENT, silent, channels)
                line = history.log_line(state, mark, rate=rate, score=score, silent=silent)
                history.append(out / history.LOG, line)
                if report:
                    report(line)
            mark = dict(state)
        if world.first and (last or state["step"] % recipe.save_every == 0):
            run.save()
    return score


def _iters(recipe: Recipe, network: nn.Module, step: int, done: float) -> int | None:
    """How many steps of the network batch ``step`` runs, None for all."""
    if done < recipe.grow:
        return 1
    if recipe.beyond and step % recipe.beyond == 0:
        return cast(Network, network).iters + 1
    return None


def _make_folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"the folder {out} cannot be made ({error.strerror or error}); pass another --out"
        ) from error
    return out


def _stop_diverged(network: nn.Module, out: Path, step: int, loss: float, world: World) -> None:
    if world.first:
        save_tensors(out / "diverged.safetensors", network.state_dict(), {"step": str(step)})
    raise TrainingError(
        f"the loss or its gradient is not finite at step {step} (loss {loss}); the weights are in "
        f"{out / 'diverged.safetensors'}; start anew with a lower --set optim.learning_rate"
    )
