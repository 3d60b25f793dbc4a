"""The training loop: resumable to the last bit, with one JSON line a validation.

With one thread, a run that is killed at any moment and started again ends in the same weights as
one that was left alone (unless it is limited by seconds).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loopsr.data.degrade import pipeline
from loopsr.data.pairs import Sampler
from loopsr.data.sources import Pairs, find_pictures, load_pairs
from loopsr.errors import TrainingError
from loopsr.models import create
from loopsr.train.checkpoint import load_run, read_state, save_run, save_tensors, warm_start
from loopsr.train.device import autocast, find_device, stopwatch
from loopsr.train.losses import total_loss
from loopsr.train.optim import make_optimisers, set_progress
from loopsr.train.recipe import FREE_SETTINGS, Recipe
from loopsr.train.validate import to_tensor, validate

log = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.safetensors"
VALIDATION_PICTURES = 10


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
    report: Callable[[dict[str, Any]], None] | None = None,
) -> Trained:
    """Train, or go on where the run in ``out`` was stopped.

    ``hr`` are folders of sharp pictures, ``valid`` those that choose between runs (without any, a
    few pictures are held out). ``report`` gets what is appended to ``log.jsonl``. Raises
    ``TrainingError`` for a loss that is not finite or a run of another recipe in ``out``.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    place = find_device(device)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    pairs, held_out = _pictures(recipe, hr, valid)
    run = _begin(recipe, pairs, out / CHECKPOINT, place)
    network, state = run.network, run.state
    log_file = out / "log.jsonl"
    _forget_after(log_file, state["step"])

    clock = stopwatch(place)
    score = math.nan
    mark = dict(state)  # where the counters stood at the last log line
    while (progress := _progress(recipe, state)) < 1:
        start = clock()
        rate = set_progress(
            run.optimisers, progress, warmup=recipe.optim.warmup, decay=recipe.optim.decay
        )
        lr, target = (to_tensor(batch).to(place) for batch in run.sampler.draw())
        ready = clock()
        with autocast(recipe.precision, place):
            iters = 1 if progress < recipe.grow else None
            loss = total_loss(network, lr, target, recipe.loss, iters=iters)
        network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.optim.clip)
        value = float(loss.detach())
        if not math.isfinite(value) or not math.isfinite(float(norm)):
            _stop_diverged(network, out, state["step"] + 1, value)
        for optimiser in run.optimisers:
            optimiser.step()
        state["step"] += 1
        _average(run.ema, network, state["step"], recipe.ema)
        state["loss_sum"] += value
        state["data_seconds"] += ready - start
        state["net_seconds"] += clock() - ready

        last = _progress(recipe, state) >= 1
        if last or state["step"] % recipe.validate_every == 0:
            with _weights_of(network, run.ema):
                score = validate(network, held_out, scale=recipe.scale)
            line = _log_line(state, mark, rate, score)
            with log_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if report:
                report(line)
            mark = dict(state)
        if last or state["step"] % recipe.save_every == 0:
            run.save()

    network.load_state_dict(run.ema)
    network.eval()
    if math.isnan(score):
        score = validate(network, held_out, scale=recipe.scale)
    seconds = state["data_seconds"] + state["net_seconds"]
    return Trained(
        network=network, recipe=recipe, steps=state["step"], seconds=seconds, psnr_y=score
    )


@dataclass(frozen=True, kw_only=True)
class _Run:
    """All that a run carries from step to step; what ``save`` writes is what it goes on from."""

    network: nn.Module
    optimisers: list[torch.optim.Optimizer]
    sampler: Sampler
    ema: dict[str, Tensor]
    state: dict[str, Any]  # counters, and what tells this run from another; JSON-able
    checkpoint: Path

    def save(self) -> None:
        self.state["sampler"] = self.sampler.state()
        save_run(
            self.checkpoint,
            network=self.network,
            ema=self.ema,
            optimisers=self.optimisers,
            state=self.state,
        )


def _begin(recipe: Recipe, pairs: Pairs, checkpoint: Path, place: torch.device) -> _Run:
    """A fresh run, or the one in ``checkpoint``. Raises ``TrainingError`` if that is another."""
    state = _fresh_state(recipe, pairs)
    resumed = checkpoint.is_file()
    if resumed:
        _check_same_run(read_state(checkpoint), state, checkpoint.parent)
    torch.manual_seed(recipe.seed)
    network = create(recipe.network, scale=recipe.scale, **recipe.network_config)
    if recipe.warm_start and not resumed:
        left_out = warm_start(network, recipe.warm_start)
        log.info("warm start from %s, fresh: %s", recipe.warm_start, ", ".join(left_out) or "none")
    network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimisers = make_optimisers(network, recipe.optim)
    sampler = Sampler(
        pairs, batch=recipe.batch, patch=recipe.patch, seed=recipe.seed, choices=recipe.choices
    )
    ema = {key: value.detach().clone() for key, value in network.state_dict().items()}
    if resumed:
        state = load_run(checkpoint, network=network, ema=ema, optimisers=optimisers)
        sampler.restore(state["sampler"])
        log.info("going on after step %d", state["step"])
    return _Run(
        network=network,
        optimisers=optimisers,
        sampler=sampler,
        ema=ema,
        state=state,
        checkpoint=checkpoint,
    )


def _pictures(
    recipe: Recipe, hr: Iterable[str | Path], valid: Iterable[str | Path]
) -> tuple[Pairs, list[tuple[Any, Any]]]:
    """Training pairs, and a few (lr, hr) pairs evenly chosen from ``valid``."""
    files, valid = find_pictures(hr), list(valid)
    if valid:
        judges = _spread(find_pictures(valid), VALIDATION_PICTURES)
    else:
        judges = _spread(files, min(VALIDATION_PICTURES, max(1, len(files) // 20)))
        if len(files) > 1:
            files = [path for path in files if path not in judges]
    steps = pipeline(recipe.degradation)
    pairs = load_pairs(files, scale=recipe.scale, steps=steps)
    held_out = load_pairs(judges, scale=recipe.scale, steps=steps)
    return pairs, list(zip(held_out.lr, held_out.hr, strict=True))


def _spread(files: Sequence[Path], count: int) -> list[Path]:
    return [files[i * len(files) // count] for i in range(min(count, len(files)))]


def _fresh_state(recipe: Recipe, pairs: Pairs) -> dict[str, Any]:
    return {
        "step": 0,
        "data_seconds": 0.0,
        "net_seconds": 0.0,
        "loss_sum": 0.0,
        "recipe": recipe.to_json(),
        "pictures": pairs.key,
        "sampler": None,
    }


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


def _progress(recipe: Recipe, state: dict[str, Any]) -> float:
    """Share of the run that is done, 0 to 1."""
    if recipe.seconds is not None:
        return float((state["data_seconds"] + state["net_seconds"]) / recipe.seconds)
    return float(state["step"] / recipe.steps)


def _average(ema: dict[str, Tensor], network: nn.Module, step: int, most: float) -> None:
    """Exponential moving average; short at first, so that the fresh weights are soon forgotten."""
    decay = min(most, (1 + step) / (10 + step))
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                ema[key].lerp_(value, 1 - decay)
            else:
                ema[key].copy_(value)


@contextlib.contextmanager
def _weights_of(network: nn.Module, ema: dict[str, Tensor]) -> Any:
    """The network with the averaged weights, for the time of a ``with`` block."""
    own = {key: value.clone() for key, value in network.state_dict().items()}
    network.load_state_dict(ema)
    network.eval()
    try:
        yield
    finally:
        network.load_state_dict(own)
        network.train()


def _log_line(
    state: dict[str, Any], mark: dict[str, Any], rate: float, score: float
) -> dict[str, Any]:
    steps = state["step"] - mark["step"]
    data, net = (state[key] - mark[key] for key in ("data_seconds", "net_seconds"))
    return {
        "step": state["step"],
        "loss": (state["loss_sum"] - mark["loss_sum"]) / steps,
        "learning_rate": rate,
        "psnr_y": round(score, 4),
        "data_ms": round(1e3 * data / steps, 2),
        "net_ms": round(1e3 * net / steps, 2),
        "seconds": round(state["data_seconds"] + state["net_seconds"], 1),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _forget_after(path: Path, step: int) -> None:
    """Drop log lines of steps that a kill undid; they will be written again."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = []
        for line in lines:
            with contextlib.suppress(ValueError, KeyError):  # a kill may have cut the last line
                if json.loads(line)["step"] <= step:
                    kept.append(line)
        path.write_text("".join(kept), encoding="utf-8")


def _stop_diverged(network: nn.Module, out: Path, step: int, loss: float) -> None:
    save_tensors(out / "diverged.safetensors", network.state_dict(), {"step": str(step)})
    raise TrainingError(
        f"the loss or its gradient is not finite at step {step} (loss {loss}); the weights are in "
        f"{out / 'diverged.safetensors'}; start anew with a lower --set optim.learning_rate"
    )
