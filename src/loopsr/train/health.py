"""Whether a network has died in part: channels that no picture excites learn nothing any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from loopsr.layers import Conv


@contextmanager
def watch_channels(network: nn.Module) -> Iterator[Callable[[], tuple[int, int]]]:
    """Watch what runs of ``network`` excite; the function that it gives tells of it.

    That is how many channels after a ReLU were zero everywhere in all pictures since, and of how
    many. Counts the layers with a ReLU, each as often as it runs. A ReLU whose input is below zero
    for every picture has no gradient: large steps of the optimiser can leave a layer with a channel
    or two.
    """
    excited: dict[int, Tensor] = {}
    call = 0

    def begin(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal call
        call = 0

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal call
        fired = (output.amax((0, 2, 3)) > 0).cpu()
        excited[call] = excited.get(call, torch.tensor(False)) | fired
        call += 1

    def silent() -> tuple[int, int]:
        alive = sum(int(channels.sum()) for channels in excited.values())
        total = sum(channels.numel() for channels in excited.values())
        return total - alive, total

    layers = list(_layers(network).values())
    hooks = [network.register_forward_pre_hook(begin)]
    hooks += [layer.register_forward_hook(note) for layer in layers]
    try:
        yield silent
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def revive(network: nn.Module, fresh: nn.Module, inputs: Iterable[Tensor]) -> int:
    """Begin the channels anew that none of ``inputs`` excites; tells how many.

    They take the weights of ``fresh``, a new network of the same kind. Before training only: what
    reads them gets noise until it has learned.
    """
    layers = _layers(network)
    fired: dict[str, Tensor] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            fired[name] = (output.amax((0, 2, 3)) > 0) | fired.get(name, torch.tensor(False))

        return hook

    hooks = [layer.register_forward_hook(note(name)) for name, layer in layers.items()]
    for batch in inputs:
        network(batch)
    for hook in hooks:
        hook.remove()
    begun = 0
    for name, alive in fired.items():
        layer, new = layers[name], fresh.get_submodule(name)
        for mine, other in zip(layer.parameters(), new.parameters(), strict=True):
            mine[~alive] = other[~alive]
        begun += int((~alive).sum())
    return begun


def _layers(network: nn.Module) -> dict[str, Conv]:
    """The layers with a ReLU, by their name in the network."""
    return {n: m for n, m in network.named_modules() if isinstance(m, Conv) and m.relu}
