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
from loopsr.errors import TrainingError, UsageError
from loopsr.models import create
from loopsr.train.checkpoint import load_run, read_state, save_run, save_tensors, warm_start
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
    place = _device(device)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / CHECKPOINT
    pairs, held_out = _pictures(recipe, hr, valid)
    state = _fresh_state(recipe, pairs)
    if checkpoint.is_file():
        _check_same_run(read_state(checkpoint), state, out)

    torch.manual_seed(recipe.seed)
    network = create(recipe.network, scale=recipe.scale, **recipe.network_config)
    if recipe.warm_start and not checkpoint.is_file():
        left_out = warm_start(network, recipe.warm_start)
        log.info("warm start from %s, fresh: %s", recipe.warm_start, ", ".join(left_out) or "none")
    network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimisers = make_optimisers(network, recipe.optim)
    sampler = Sampler(
        pairs, batch=recipe.batch, patch=recipe.patch, seed=recipe.seed, choices=recipe.choices
    )
    ema = {key: value.detach().clone() for key, value in network.state_dict().items()}
    if checkpoint.is_file():
        state = load_run(checkpoint, network=network, ema=ema, optimisers=optimisers)
        sampler.restore(state["sampler"])
        state["recipe"] = recipe.to_json()
        log.info("going on after step %d", state["step"])
    _forget_after(out / "log.jsonl", state["step"])

    def save() -> None:
        state["sampler"] = sampler.state()
        save_run(checkpoint, network=network, ema=ema, optimisers=optimisers, state=state)

    score = math.nan
    mark = dict(state)  # where the counters stood at the last log line
    while (progress := _progress(recipe, state)) < 1:
        start = time.perf_counter()
        rate = set_progress(
            optimisers, progress, warmup=recipe.optim.warmup, decay=recipe.optim.decay
        )
        lr, target = (to_tensor(batch).to(place) for batch in sampler.draw())
        ready = time.perf_counter()
        with _autocast(recipe.precision, place):
            iters = 1 if progress < recipe.grow else None
            loss = total_loss(network, lr, target, recipe.loss, iters=iters)
        network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.optim.clip)
        value = float(loss.detach())
        if not math.isfinite(value) or not math.isfinite(float(norm)):
            _stop_diverged(network, out, state["step"] + 1, value)
        for optimiser in optimisers:
            optimiser.step()
        state["step"] += 1
        _average(ema, network, state["step"], recipe.ema)
        state["loss_sum"] += value
        state["data_seconds"] += ready - start
        state["net_seconds"] += time.perf_counter() - ready

        last = _progress(recipe, state) >= 1
        if last or state["step"] % recipe.validate_every == 0:
            with _weights_of(network, ema):
                score = validate(network, held_out, scale=recipe.scale)
            line = _log_line(state, mark, rate, score)
            with (out / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if report:
                report(line)
            mark = dict(state)
        if last or state["step"] % recipe.save_every == 0:
            save()

    network.load_state_dict(ema)
    network.eval()
    if math.isnan(score):
        score = validate(network, held_out, scale=recipe.scale)
    seconds = state["data_seconds"] + state["net_seconds"]
    return Trained(
        network=network, recipe=recipe, steps=state["step"], seconds=seconds, psnr_y=score
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


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r} is unknown; use auto, cpu or cuda") from error


def _autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 when asked for or, with ``auto``, where the machine computes it natively."""
    if precision not in ("auto", "bfloat16", "float32"):
        raise UsageError(f"precision is {precision!r}; use auto, bfloat16 or float32")
    if precision == "float32" or (precision == "auto" and not _has_bfloat16(device)):
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    with contextlib.suppress(AttributeError):  # private names: absent in some versions of torch
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False
