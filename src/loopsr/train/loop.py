"""The training loop: resumable to the last bit, with one JSON line a validation.

With one thread, a run that is killed at any moment and started again ends in the same weights as
one that was left alone (unless it is limited by seconds).
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from loopsr.errors import TrainingError
from loopsr.io.lock import try_lock
from loopsr.models import Network
from loopsr.train import average, history
from loopsr.train.checkpoint import save_tensors
from loopsr.train.device import find_device, stopwatch
from loopsr.train.distributed import World, join
from loopsr.train.health import watch_channels
from loopsr.train.optim import set_progress
from loopsr.train.recipe import Recipe
from loopsr.train.run import Pixels, Run, begin, check_sources, pictures, progress
from loopsr.train.step import make_step
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
    """A finished run: the network holds the weights that ship."""

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
    few pictures are held out). ``resident`` keeps all pictures on the device: without say on a GPU
    only. ``compiled`` compiles the step, and captures it on one GPU; without say that is done on a
    GPU, and on a CPU the units of ``loop`` are compiled where there is a C++ compiler.
    ``report`` gets what is appended to ``log.jsonl``. Raises ``TrainingError`` for a loss that is
    not finite or a run of another recipe in ``out``.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    place = find_device(device)
    gpu = place.type == "cuda"
    with join(place) as world, _folder(Path(out), world) as out:
        if not (out / CHECKPOINT).is_file():
            check_sources(recipe)
        with world.first_alone():
            pairs, held_out = pictures(recipe, hr, valid, out=out)
        run = begin(
            recipe,
            pairs,
            out / CHECKPOINT,
            world=world,
            resident=gpu if resident is None else resident,
            compiled=compiled,
        )
        captured = gpu and world.size == 1 and compiled is not False
        score = _loop(recipe, run, held_out, world, report, captured=captured)
        run.network.load_state_dict(average.shipped(run.ema, run.warm, recipe.warm_share))
        run.network.eval()
        if math.isnan(score) or recipe.warm_share:
            score = validate(run.network, held_out, scale=recipe.scale)
        if recipe.warm_share:
            log.info("psnr_y %.3f with the share of the warm start", score)
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
    *,
    captured: bool,
) -> float:
    """All steps that are left; the last validation's score, NaN when no step was left."""
    network, state, out = run.network, run.state, run.checkpoint.parent
    if world.first:
        history.forget_after(out / history.LOG, state["step"])
    clock = stopwatch(world.place)
    step = make_step(recipe, run, world.place, captured=captured)

    def check() -> None:
        loss, norm = step.read()  # waits for the device
        if not math.isfinite(loss) or not math.isfinite(norm):
            _stop_diverged(network, out, state["step"] + 1, loss, world)
        state["loss_sum"] += world.mean(loss)[0]

    score = math.nan
    while (done := progress(recipe, state)) < 1:
        start = clock()
        rate = set_progress(
            run.optimisers, done, warmup=recipe.optim.warmup, decay=recipe.optim.decay
        )
        numbers = run.numbers()
        ready = clock()
        step(numbers, _iters(recipe, network, state["step"]), check=check)
        state["step"] += 1
        validates = state["step"] % recipe.validate_every == 0
        saves = state["step"] % recipe.save_every == 0
        if step.every > 1 and (validates or saves or state["step"] % step.every == 0):
            check()
        counts = world.mean(ready - start, clock() - ready)
        for key, count in zip(("data_seconds", "net_seconds"), counts, strict=True):
            state[key] += count

        last = progress(recipe, state) >= 1
        if last and step.every > 1:
            check()
        if last or validates:
            with average.weights_of(network, run.ema), watch_channels(network) as watched:
                score = validate(network, held_out, scale=recipe.scale)
            if world.first:
                silent, channels = watched()
                if silent > _MOST_SILENT * channels:
                    log.warning(_SILENT, silent, channels)
                line = history.log_line(state, rate=rate, score=score, silent=silent)
                history.append(out / history.LOG, line)
                if report:
                    report(line)
            history.set_mark(state)
        if world.first and (last or saves):
            run.save()
    return score


def _iters(recipe: Recipe, network: nn.Module, step: int) -> int | None:
    """How many steps of the network batch ``step`` runs, None for all."""
    if recipe.beyond and step % recipe.beyond == 0:
        return cast(Network, network).iters + 1
    return None


@contextlib.contextmanager
def _folder(out: Path, world: World) -> Iterator[Path]:
    """The run folder, kept from other runs; removed again when nothing came into it.

    Raises ``TrainingError`` when it cannot be made or another run is at work in it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"the folder {out} cannot be made ({error.strerror or error}); pass another --out"
        ) from error
    with contextlib.ExitStack() as stack:
        if world.first:
            stack.callback(_remove_if_empty, out)
            if not _take(out, stack):
                raise TrainingError(f"another run is at work in {out}; pass another --out folder")
        yield out


def _take(folder: Path, stack: contextlib.ExitStack) -> bool:
    """Lock a folder until ``stack`` is left; True also where the system has no such locks."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        return try_lock(descriptor)
    except OSError:
        return True


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _stop_diverged(network: nn.Module, out: Path, step: int, loss: float, world: World) -> None:
    if world.first:
        save_tensors(out / "diverged.safetensors", network.state_dict(), {"step": str(step)})
    raise TrainingError(
        f"the loss or its gradient is not finite at step {step} (loss {loss}); the weights are in "
        f"{out / 'diverged.safetensors'}; start anew with a lower --set optim.learning_rate"
    )
