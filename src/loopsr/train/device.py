"""Where a network is trained, and in which precision."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import torch

from loopsr.errors import UsageError
from loopsr.train.distributed import local_rank


def find_device(name: str) -> torch.device:
    """``auto`` (a GPU if there is one), ``cpu`` or ``cuda``. Raises ``UsageError``.

    Each process of ``torchrun`` takes a GPU of its own.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place: torch.device | None = torch.device(name)
    except RuntimeError:
        place = None
    if place is None or place.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is unknown; use auto, cpu or cuda")
    if place.type == "cpu":
        return place
    if not torch.cuda.is_available():
        raise UsageError("torch finds no CUDA device here; pass --device cpu")
    if place.index is None:
        place = torch.device("cuda", local_rank())
    if place.index >= torch.cuda.device_count():
        raise UsageError(
            f"there is no {place}: torch finds {torch.cuda.device_count()} CUDA devices; "
            "start at most as many processes (torchrun --nproc-per-node)"
        )
    torch.cuda.set_device(place)
    torch.backends.cudnn.benchmark = True  # all batches have one shape
    return place


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 when asked for or, with ``auto``, where the machine computes it natively."""
    if precision not in ("auto", "bfloat16", "float32"):
        raise UsageError(f"precision is {precision!r}; use auto, bfloat16 or float32")
    if precision == "float32" or (precision == "auto" and not _has_bfloat16(device)):
        return contextlib.nullcontext()
    # No cache of cast weights: in a captured step it would outlive the memory that it points to.
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=device.type != "cuda")


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    with contextlib.suppress(AttributeError):  # private names: absent in some versions of torch
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def stopwatch(device: torch.device) -> Callable[[], float]:
    """A clock for training steps, in seconds: on a CPU what this process computed, a thread.

    Other work on the machine then neither shortens a run that is limited by seconds nor makes two
    networks that were trained "equally long" incomparable.
    """
    if device.type != "cpu":
        return time.perf_counter
    return lambda: time.process_time() / torch.get_num_threads()
