"""One training step: a batch, its gradient, the update, the averaged weights.

On one GPU the whole of it is captured once as a CUDA graph and then only replayed: a network of
this size is a few hundred kernels of some microseconds each, and starting them one by one would
take several times as long as they run. The batch is cut on the device and the rates are tensors
there, so that a replay needs nothing from the host but the numbers of the next crops.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from loopsr.errors import first_line
from loopsr.train import average
from loopsr.train.device import autocast
from loopsr.train.recipe import Recipe
from loopsr.train.run import Run

log = logging.getLogger(__name__)
_EAGER = 3  # steps before a capture: libraries choose their kernels, optimisers make their state
_CHECKED = 50  # captured steps between two looks at the loss, each of which waits for the GPU


class Step:
    """A step, run as it is. ``every`` so many steps somebody should ``read`` the loss."""

    every = 1

    def __init__(self, recipe: Recipe, run: Run, place: torch.device) -> None:
        """Train ``run`` on ``place`` by ``recipe``."""
        self._recipe, self._run, self._place = recipe, run, place
        self._share = torch.zeros((), device=place)
        self._seen = torch.zeros(2, device=place)

    def __call__(
        self, numbers: list[Tensor], iters: int | None, *, check: Callable[[], None]
    ) -> None:
        """Learn from the batch of ``numbers``; ``check`` is called before the weights change."""
        self._aim()
        self._gradient([part.to(self._place) for part in numbers], iters)
        check()
        self._update()

    def read(self) -> tuple[float, float]:
        """Sums of the loss and of the gradient's norm since the last reading."""
        loss, norm = self._seen.tolist()
        self._seen.zero_()
        return loss, norm

    def _aim(self) -> None:
        """Set what changes from step to step where a captured one finds it."""
        self._share.fill_(average.share(self._run.state["step"] + 1, self._recipe.ema))

    def _gradient(self, numbers: list[Tensor], iters: int | None) -> None:
        network = self._run.network
        lr, hr = self._run.cut(*numbers)
        with autocast(self._recipe.precision, self._place):
            loss = self._run.objective(lr, hr, iters)
        network.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), self._recipe.optim.clip)
        self._seen += torch.stack((loss.detach(), norm))

    def _update(self) -> None:
        for optimiser in self._run.optimisers:
            optimiser.step()
        average.update(self._run.ema, self._run.network, self._share)


class CapturedStep(Step):
    """A step on one GPU; each number of ``iters`` is a graph of its own.

    A loss that is not finite is noticed up to ``every`` steps late.
    """

    every = _CHECKED

    def __init__(self, recipe: Recipe, run: Run, place: torch.device) -> None:
        """Train ``run`` on ``place`` by ``recipe``."""
        super().__init__(recipe, run, place)
        self._stream = torch.cuda.Stream(place)  # type: ignore[no-untyped-call]
        self._numbers: list[Tensor] = []  # where the graphs find their batch
        self._done: dict[int | None, int] = {}
        self._graphs: dict[int | None, torch.cuda.CUDAGraph] = {}

    def __call__(
        self, numbers: list[Tensor], iters: int | None, *, check: Callable[[], None]
    ) -> None:
        """Learn from the batch of ``numbers``; the weights change unchecked."""
        self._aim()
        if not self._numbers:
            self._numbers = [part.to(self._place) for part in numbers]
        for there, part in zip(self._numbers, numbers, strict=True):
            there.copy_(part, non_blocking=True)
        done = self._done[iters] = self._done.get(iters, 0) + 1
        if done == _EAGER + 1:
            self._capture(iters)
        if graph := self._graphs.get(iters):
            graph.replay()
            return
        # Not on the stream that all share: a capture forbids traces of it in the gradients.
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._whole(iters)
        torch.cuda.current_stream().wait_stream(self._stream)

    def _capture(self, iters: int | None) -> None:
        graph = torch.cuda.CUDAGraph()
        self._run.network.zero_grad()  # the gradients of a graph lie in its own memory
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self._whole(iters)
        except RuntimeError as error:
            reason = first_line(error)
            log.info("the step cannot be captured (%s); it runs as it is, slower", reason)
            return
        self._graphs[iters] = graph
        log.info("captured the step as a CUDA graph")

    def _whole(self, iters: int | None) -> None:
        self._gradient(self._numbers, iters)
        self._update()


def make_step(recipe: Recipe, run: Run, place: torch.device, *, captured: bool) -> Step:
    """A captured step if asked, else one that is run as it is."""
    return (CapturedStep if captured else Step)(recipe, run, place)
