"""Layers that compute what 8-bit integers will, in floating point, so that they can be trained.

Every ``Conv`` and ``ConvReLU`` of a network is replaced; what lies between them (head, tail, sums,
the enlarged input) stays as it is. A value x lies on a grid: x = step * (q - zero), q whole, 0 to
255 for features and -64 to 64 for weights; zero is above 0 where features are negative. Rounding
passes gradients as if it were not there, and those of a step follow from that (Bengio et al., arXiv
1308.3432; Esser et al., LSQ, arXiv 1902.08153). Here the binary logarithm of a feature's step is
learnt, so that one learning rate suits all of them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loopsr.errors import UsageError
from loopsr.layers import Conv, ConvReLU

LEVELS = 255
# Not 127: processors with AVX2 but without VNNI add two products of a feature and a weight in 16
# bits and saturate; 2 * 255 * 64 still fits.
LARGEST_WEIGHT = 64
_LEAST_STEP = -16.0  # as a power of two: features below a hundredth of a level are none
_LARGEST_BIAS = 2.0**30  # in integers: half of what 32 bits hold
_SEEN = 50_000  # values that calibration looks at, a batch and layer
_SHARES = 24  # steps that calibration tries


def int8_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers, -127 to 127, near ``weight`` (OIHW), and their step, one an output channel.

    Applied to what they are, it gives the same again: the last bits of a step are zero, so that 127
    steps are a float without rounding.
    """
    step = weight.flatten(1).abs().amax(1).clamp(min=1e-12) / 127
    step = (step.view(torch.int32) & ~0xFFF).view(torch.float32).view(-1, 1, 1, 1)
    return (weight / step).round().clamp(-127, 127), step


class FakeQuantConv(Conv):
    """A ``Conv``, with a ReLU or without, whose weights and features are on grids.

    A layer that a network runs several times has the same weights every time, but other steps of
    its features: ``out_step`` has one a run (``out_zero`` too; after a ReLU there is none, as it is
    0), ``in_step`` and ``in_zero`` one for each run whose input does not come straight from another
    layer of this kind (``sources``).
    """

    in_step: nn.Parameter | None
    in_zero: Tensor | None
    out_zero: Tensor | None

    def __init__(self, layer: Conv, *, fresh: Sequence[bool]) -> None:
        """Take over the weights of ``layer``; ``fresh`` says which runs need a grid of the input.

        The ``sources`` of the others are to be given: the layer, and its run, whose output it is.
        """
        super().__init__(
            layer.in_channels,
            layer.out_channels,
            cast(tuple[int, int], layer.kernel_size),
            padding=cast(tuple[int, int], layer.padding),
            groups=layer.groups,
        )
        self.relu = layer.relu
        self.weight, self.bias = layer.weight, layer.bias
        self.out_step = nn.Parameter(torch.zeros(len(fresh)))
        self.register_buffer("out_zero", None if self.relu else torch.zeros(len(fresh)))
        numbers = iter(range(sum(fresh)))
        self.slots = [next(numbers) if is_fresh else None for is_fresh in fresh]
        self.sources: list[tuple[FakeQuantConv, int] | None] = [None] * len(fresh)
        self.in_step = nn.Parameter(torch.zeros(sum(fresh))) if any(fresh) else None
        self.register_buffer("in_zero", torch.zeros(sum(fresh)) if any(fresh) else None)
        self.run = 0  # which run comes next
        # While calibrating: values of the features, which are not rounded then.
        self.seen: dict[tuple[str, int], list[Tensor]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The features b(out)hw; with a ReLU nowhere negative."""
        run = min(self.run, len(self.slots) - 1)  # runs beyond the trained ones repeat the last
        self.run += 1
        slot = self.slots[run]
        if self.seen is not None:
            y = super().forward(x)
            self._look(x, y, run, slot)
            return y
        if slot is not None:
            x = on_grid(x, *self.in_grid(run))
        weight, bias = self.rounded_weight(), self.rounded_bias(run)
        y = F.conv2d(x, weight, bias, padding=self.padding, groups=self.groups)
        return on_grid(y, *self.out_grid(run))  # with a ReLU its least value is 0

    def out_grid(self, run: int) -> tuple[Tensor, Tensor]:
        """Step and zero of the output of a run."""
        step = step_of(self.out_step[run])
        return step, torch.zeros_like(step) if self.out_zero is None else self.out_zero[run]

    def in_grid(self, run: int) -> tuple[Tensor, Tensor]:
        """Step and zero of the input of a run."""
        source, slot = self.sources[run], self.slots[run]
        if source is not None:
            layer, number = source
            return layer.out_grid(number)
        assert slot is not None
        assert self.in_step is not None
        assert self.in_zero is not None
        return step_of(self.in_step[slot]), self.in_zero[slot]

    def plain(self) -> Conv:
        """The layer without grids, with copies of the weights."""
        kind = ConvReLU if self.relu else Conv
        size = cast(tuple[int, int], self.kernel_size)
        padding = cast(tuple[int, int], self.padding)
        layer = kind(self.in_channels, self.out_channels, size, padding=padding, groups=self.groups)
        layer.load_state_dict({"weight": self.weight, "bias": self.bias})
        return layer

    def weight_step(self) -> Tensor:
        """The steps of the weights, one an output channel; wide enough for the bias in 32 bits."""
        step = self.weight.detach().flatten(1).abs().amax(1) / LARGEST_WEIGHT
        if self.bias is not None:
            least = self.bias.detach().abs() / (_LARGEST_BIAS * 2.0**_LEAST_STEP)
            step = torch.maximum(step, least)
        return step.clamp(min=1e-12)

    def rounded_weight(self) -> Tensor:
        """The weights on their grid."""
        step = self.weight_step().view(-1, 1, 1, 1)
        return _round(self.weight / step).clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT) * step

    def rounded_bias(self, run: int) -> Tensor | None:
        """The bias on the grid on which the integers are summed."""
        if self.bias is None:
            return None
        step = self.weight_step() * self.in_grid(run)[0].detach()
        return _round(self.bias / step) * step

    def _look(self, x: Tensor, y: Tensor, run: int, slot: int | None) -> None:
        assert self.seen is not None
        self.seen.setdefault(("out", run), []).append(_some(y))
        if slot is not None:
            self.seen.setdefault(("in", slot), []).append(_some(x))

    @torch.no_grad()
    def settle(self) -> None:
        """Choose grids for what was seen, by the least square error."""
        assert self.seen is not None
        for (side, index), parts in self.seen.items():
            step, zero = best_grid(torch.cat(parts))
            if side == "out":
                self.out_step[index] = step
                if self.out_zero is not None:
                    self.out_zero[index] = zero
            else:
                assert self.in_step is not None
                assert self.in_zero is not None
                self.in_step[index], self.in_zero[index] = step, zero


class FakeQuantised(nn.Module):
    """A network whose layers for integers are on grids; otherwise it is used like the network."""

    def __init__(self, network: nn.Module) -> None:
        """Replace the layers in ``network`` itself. Raises ``UsageError`` when it has none.

        The grids are of no use before ``calibrate`` or ``load_state_dict``.
        """
        super().__init__()
        self.network: Any = network
        runs = _sources(network)
        for name, sources in runs.items():
            layer = cast(Conv, network.get_submodule(name))
            fresh = [source is None for source in sources]
            _set(network, name, FakeQuantConv(layer, fresh=fresh))
        layers = self.layers()
        for name, sources in runs.items():
            layers[name].sources = [source and (layers[source[0]], source[1]) for source in sources]
        if not layers:
            raise UsageError(
                f"{type(network).__name__} has no layers for 8-bit integers (Conv, ConvReLU); "
                "pass another network"
            )

    def __getattr__(self, name: str) -> Any:
        """Facts of the network: scale, halo, multiple_of, iters."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)

    @torch.no_grad()
    def shorten(self) -> None:
        """Round the weights of the plain layers too, as small files store them (``int8_weight``).

        What they compute stays floating point.
        """
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d) and not isinstance(module, FakeQuantConv):
                whole, step = int8_weight(module.weight)
                module.weight.copy_(whole * step)

    def layers(self) -> dict[str, FakeQuantConv]:
        """The layers on grids, by their name in the network."""
        modules = self.network.named_modules()
        return {name: m for name, m in modules if isinstance(m, FakeQuantConv)}

    def forward(self, x: Tensor, iters: int | None = None) -> Tensor:
        """As the network's."""
        self._restart()
        return cast(Tensor, self.network(x, iters))

    def unroll(self, x: Tensor, iters: int | None = None) -> Iterator[Tensor]:
        """As the network's."""
        self._restart()
        return cast(Iterator[Tensor], self.network.unroll(x, iters))

    def plain(self) -> nn.Module:
        """A copy of the network with the same weights and no grids."""
        network = cast(nn.Module, copy.deepcopy(self.network))
        for name, layer in self.layers().items():
            _set(network, name, layer.plain())
        return network

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Choose all grids for the features that occur on ``batches``, b3hw in [0, 1]."""
        for layer in self.layers().values():
            layer.seen = {}
        for batch in batches:
            self(batch)
        for layer in self.layers().values():
            layer.settle()
            layer.seen = None

    def _restart(self) -> None:
        for layer in self.layers().values():
            layer.run = 0


def on_grid(x: Tensor, step: Tensor, zero: Tensor | float = 0.0) -> Tensor:
    """The nearest values of the grid of 8-bit integers."""
    return (_round((x / step + zero).clamp(0, LEVELS)) - zero) * step


def step_of(power: Tensor) -> Tensor:
    """A step from its binary logarithm."""
    return power.clamp(min=_LEAST_STEP).exp2()


@torch.no_grad()
def best_grid(values: Tensor) -> tuple[float, float]:
    """The binary logarithm of the step, and the zero, that round ``values`` with least error."""
    low, high = min(values.min().item(), 0.0), max(values.max().item(), 0.0)
    full = max((high - low) / LEVELS, 2.0**_LEAST_STEP)
    best: tuple[float, float, float] | None = None
    for number in range(_SHARES):
        step = torch.tensor(max(full * 0.9**number, 2.0**_LEAST_STEP))
        zero = float(min(round(-low / step.item()), LEVELS))
        error = (on_grid(values, step, zero) - values).square().mean().item()
        if best is None or error < best[0]:
            best = error, step.log2().item(), zero
    assert best is not None
    return best[1:]


def _round(x: Tensor) -> Tensor:
    return x + (x.round() - x).detach()


def _some(x: Tensor) -> Tensor:
    """Values from all over a tensor, always the same places."""
    flat = x.detach().flatten()
    places = torch.arange(min(_SEEN, flat.numel()), device=flat.device)
    return flat[places * 7919 % flat.numel()].float()


def _set(network: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, layer)


@torch.no_grad()
def _sources(network: nn.Module) -> dict[str, list[tuple[str, int] | None]]:
    """For each ``Conv`` and each of its runs: whose output, of which run, it reads as it is."""
    names = {module: name for name, module in network.named_modules()}
    sources: dict[str, list[tuple[str, int] | None]] = {}
    made: list[tuple[Tensor, tuple[str, int]]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        name = names[module]
        runs = sources.setdefault(name, [])
        runs.append(next((origin for tensor, origin in made if tensor is inputs[0]), None))
        made.append((output, (name, len(runs) - 1)))

    layers = [module for module in network.modules() if isinstance(module, Conv)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        weight = next(network.parameters())
        network(torch.zeros(1, 3, 8, 8, device=weight.device, dtype=weight.dtype))
    finally:
        for hook in hooks:
            hook.remove()
    return sources
