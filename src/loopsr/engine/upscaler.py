"""Pictures in memory: numpy, PIL or pyvips in, the same out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from loopsr.card import ModelCard
from loopsr.engine.backends import check_iters
from loopsr.engine.deadline import Rest, check_deadline, fit, tell_of_bicubic, timed_runner
from loopsr.engine.machine import cores, free_memory
from loopsr.engine.networks import Networks
from loopsr.engine.pace import Pace
from loopsr.engine.passes import InTurn, Meter, Progress, Turn, run_passes, to_float, to_integer
from loopsr.engine.plan import Plan, Stage, choose_scales, default_memory, final_size, make_plan
from loopsr.engine.quality import (
    BALANCED,
    check_quality,
    smaller_models,
    stopped,
    usual_models,
)
from loopsr.engine.reduction import reduce_pixels
from loopsr.engine.reuse import FrameMemory
from loopsr.engine.runners import Runner
from loopsr.engine.speed import HANDLING
from loopsr.engine.stills import Still, read_still
from loopsr.engine.tiling import Array, Watch
from loopsr.errors import UsageError
from loopsr.weights import catalogue

Image = TypeVar("Image")
_DEFAULT_SCALE = 4.0
_BAND = 64  # rows that are turned into floats at a time


class Upscaler:
    """Upscales pictures with one choice of model and machine; reusable, and safe to share by
    threads.

    ``model`` is a name of ``loopsr models``, with or without its scale, or the path of an ONNX file
    (None: chosen by the scale), ``backend`` "auto" or a name of ``loopsr.engine.backends``,
    ``precision`` what the network computes in ("auto", "float32", "bfloat16", or "int8" for models
    that have such a file), ``threads`` the CPU threads of one run (None: the cores that this
    process has), ``max_memory`` bytes for the work (None: a quarter of what is free), ``tile`` the
    side of a tile in input pixels (None: chosen from the memory; it never changes the result),
    ``quality`` "fast", "balanced" (as None) or "best", see ``loopsr.engine.quality``, or ``iters``
    to stop a recurrent network after so many steps everywhere. ``deadline`` is the seconds that a
    picture may take: fewer steps and a smaller network are taken for it, and bicubic for what is
    left in the end. ``self_ensemble`` takes the mean over eight turns of the picture: a little
    better, eight times as slow (``loopsr.engine.ensemble``). Raises ``UsageError`` and
    ``WeightsError``. Networks are loaded on first use.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        backend: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        max_memory: int | None = None,
        tile: int | None = None,
        quality: str | None = None,
        iters: int | None = None,
        deadline: float | None = None,
        self_ensemble: bool = False,
    ) -> None:
        numbers = {"threads": threads, "max_memory": max_memory, "tile": tile, "iters": iters}
        for name, value in numbers.items():
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}, at least 1 was expected; or leave it out")
        self._model = None if model is None else str(model)
        if isinstance(model, Path):  # a bare file name is a path too
            self._model = str(model.absolute())
        self._networks = Networks(
            backend=backend,
            precision=precision,
            threads=threads or cores(),
            self_ensemble=self_ensemble,
        )
        self._max_memory = max_memory
        self._tile = tile
        self._iters = iters
        self._quality = check_quality(quality, iters, self_ensemble=self_ensemble)
        self.deadline = check_deadline(deadline, iters, self_ensemble=self_ensemble)
        self._first: int | None = None  # the scale of a network that has to be among those used
        if self._model is not None:
            # So that a wrong name is told before any picture is read.
            self._first = catalogue.own_scale(self._model)
            for name in [self._model] if self._first else catalogue.family(self._model).values():
                check_iters(self._networks.card(name), iters)

    def plan(
        self,
        size: tuple[int, int],
        *,
        scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        long_edge: int | None = None,
    ) -> Plan:
        """What would be done to a picture of ``size`` (width, height).

        Give one of ``scale`` (above 1, up to 16), ``width`` and/or ``height`` (a box that the
        picture is fitted into), ``long_edge``, in pixels; with none of them the model's own scale
        is taken, or 4. The aspect is always kept. Raises ``UsageError``.
        """
        if scale is None and width is None and height is None and long_edge is None:
            scale = self._first or _DEFAULT_SCALE
        target = final_size(
            *size, scale=scale, to_width=width, to_height=height, long_edge=long_edge
        )
        # Rounding the size may not ask for a larger network.
        factor = scale or max(target[0] / size[0], target[1] / size[1])
        return make_plan(
            self._chain(factor),
            width=size[0],
            height=size[1],
            size=target,
            max_memory=self.memory,
            tile=self._tile,
            adaptive=self._quality == BALANCED,
            runs=self._networks.runs,
        )

    def pace(self) -> Pace | None:
        """The clock of a picture that begins now; None without a deadline."""
        return None if self.deadline is None else Pace(self.deadline)

    def in_time(self, plan: Plan, pace: Pace | None, rest: Rest) -> Plan:
        """The plan of a picture with what fits into its time; see ``loopsr.engine.deadline``.

        Raises ``UsageError`` when nothing does.
        """
        if pace is None:
            return plan
        smaller = smaller_models([s.card.scale for s in plan.stages]) if not self._model else []
        return fit(
            plan,
            [plan.models, *smaller],
            pace,
            self._networks,
            rest=rest,
            max_memory=self.memory,
            tile=self._tile,
            quality=self._quality,
        )

    @property
    def memory(self) -> int:
        """Bytes that the work on one picture may take."""
        return self._max_memory or default_memory(free_memory())

    def identity(self) -> dict[str, Any]:
        """What decides the pixels, JSON-able: the hash of every network that may run, by name.

        Two upscalers with the same identity give the same result, whatever their memory, tiles and
        threads. A network whose file is damaged has no hash; running it raises.
        """
        if self._model is None:
            names = list(usual_models(self._quality).values())
        else:
            names = list(catalogue.family(self._model).values())
        steps = {"iters": self._iters, "quality": self._quality, "deadline": self.deadline}
        return {**self._networks.identity(names), **steps}

    def stream(
        self,
        plan: Plan,
        bands: Iterator[Array],
        *,
        channels: int,
        alpha: bool,
        meter: Meter,
        memory: FrameMemory | None = None,
        turn: Turn = nullcontext,
        fine: bool = False,
        watch: Watch | None = None,
        pace: Pace | None = None,
    ) -> Iterator[Array]:
        """Run a plan's networks over bands of rows; see ``loopsr.engine.passes.run_passes``.

        Yields rows of ``plan.network_size``: the reduction is the writer's. ``turn()`` is held
        while a network runs. ``fine`` says that more than 8 bits are wanted, so that no shorter
        precision is taken unasked. ``watch`` is told the steps of the first pass. ``pace`` is the
        one that the plan was made for by ``in_time``.
        """
        self._networks.count(plan.cost)

        def runner(number: int, stage: Stage) -> Runner:
            if pace is not None:
                return timed_runner(stage, number, pace, self._networks, fine=fine)
            return self._networks.runner(stage.card, rule=stage.rule, fine=fine)

        return run_passes(
            [(stage, InTurn(runner(i, stage), turn)) for i, stage in enumerate(plan.stages)],
            bands,
            channels=channels,
            alpha=alpha,
            meter=meter,
            memory=memory,
            watch=watch,
            done=pace.done if pace else None,
        )

    def __call__(
        self,
        image: Image,
        *,
        scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        long_edge: int | None = None,
        progress: Progress | None = None,
    ) -> Image:
        """Upscale a picture and return the type, and the depth, that was given.

        ``image`` is a numpy array (h, w) or (h, w, 1 to 4) of uint8, uint16 or floats in [0, 1], a
        PIL image or a pyvips image; two and four channels end in alpha. A PIL palette or CMYK image
        comes back as RGB or RGBA, a bilevel one as grey. For the size see ``plan``. ``progress`` is
        told the fraction done, 0 to 1, and may return False to stop, which raises ``Cancelled``.
        """
        pace = self.pace()
        still = read_still(image)
        rows, columns = still.pixels.shape[:2]
        plan = self.plan(
            (columns, rows), scale=scale, width=width, height=height, long_edge=long_edge
        )
        copies = 2 if still.alpha else 1
        rest = Rest(seconds=HANDLING * copies * plan.width * plan.height, copies=copies)
        plan = self.in_time(plan, pace, rest)
        meter = Meter(plan.cost * copies, progress)
        result: Image = still.restore(self._upscale(still, plan, meter, pace))
        tell_of_bicubic(pace, plan, copies)
        return result

    def _upscale(self, still: Still, plan: Plan, meter: Meter, pace: Pace | None) -> NDArray[Any]:
        bands = to_float(
            still.pixels[top : top + _BAND] for top in range(0, len(still.pixels), _BAND)
        )
        dtype = still.pixels.dtype
        output = self.stream(
            plan,
            bands,
            channels=still.channels,
            alpha=still.alpha,
            meter=meter,
            fine=dtype != np.uint8,
            pace=pace,
        )
        # What is still to be reduced is kept finer than 8 bits.
        kept = np.dtype(np.uint16) if plan.reduced else dtype
        width, height = plan.network_size
        pixels = np.empty((height, width, still.pixels.shape[2]), kept)
        top = 0
        for band in output:
            pixels[top : top + len(band)] = to_integer(band, kept) if kept.kind == "u" else band
            top += len(band)
        if plan.reduced:
            return reduce_pixels(pixels, (plan.width, plan.height), dtype=dtype)
        return pixels

    def _chain(self, factor: float) -> list[ModelCard]:
        if self._model is None:
            models = usual_models(self._quality)
            if not models:
                catalogue.card(catalogue.DEFAULT[2])  # raises: nothing is installed
        else:
            models = catalogue.family(self._model)
        scales = choose_scales(factor, models, first=self._first)
        cards = [self._networks.card(models[scale]) for scale in scales]
        for card in cards:
            check_iters(card, self._iters)
        return [stopped(card, self._quality, self._iters) for card in cards]


def upscale(
    image: Image,
    scale: float | None = None,
    *,
    model: str | Path | None = None,
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    max_memory: int | None = None,
    tile: int | None = None,
    quality: str | None = None,
    iters: int | None = None,
    deadline: float | None = None,
    self_ensemble: bool = False,
    width: int | None = None,
    height: int | None = None,
    long_edge: int | None = None,
    progress: Progress | None = None,
) -> Image:
    """Upscale one picture, by 4 unless told otherwise, and return the type that was given.

    The arguments are those of ``Upscaler`` and of calling it; for many pictures make one
    ``Upscaler``.
    """
    upscaler = Upscaler(
        model,
        backend=backend,
        precision=precision,
        threads=threads,
        max_memory=max_memory,
        tile=tile,
        quality=quality,
        iters=iters,
        deadline=deadline,
        self_ensemble=self_ensemble,
    )
    return upscaler(
        image, scale=scale, width=width, height=height, long_edge=long_edge, progress=progress
    )
