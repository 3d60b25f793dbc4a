"""Every backend computes the same, and fails in our own words."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from loopsr.engine.backends import BACKENDS, FILES, Backend, open_backend
from loopsr.errors import BackendError, UnknownNameError, UsageError, WeightsError
from loopsr.weights import catalogue

BOUND = 1e-4
SHAPES = [(1, 3, 1, 1), (1, 3, 1, 7), (1, 3, 17, 23), (2, 3, 9, 5)]


def opened(backend: str, name: str) -> Backend:
    card, path = catalogue.find(name, kind=FILES[backend])
    return open_backend(backend, card, path, threads=1)


@pytest.mark.parametrize("name", ["loop-x2", "loop-x3", "loop-x4"])
def test_backends_agree(weights: Path, name: str) -> None:
    backends = {backend: opened(backend, name) for backend in BACKENDS}
    rng = np.random.default_rng(0)
    scale = catalogue.card(name).scale
    for shape in SHAPES:
        pixels = rng.random(shape, np.float32)
        first, *others = [backend.run(pixels) for backend in backends.values()]
        assert first.shape == (shape[0], 3, shape[2] * scale, shape[3] * scale)
        assert first.dtype == np.float32
        for other in others:
            assert np.abs(other - first).max() <= BOUND


def test_other_weights_break_the_bound(weights: Path, tmp_path: Path) -> None:
    import safetensors.torch

    card, path = catalogue.find("loop-x2", kind="safetensors")
    tensors = safetensors.torch.load_file(path)
    tensors["block.weight"] += 0.01
    safetensors.torch.save_file(tensors, tmp_path / "other.safetensors")
    other = open_backend("torch", card, tmp_path / "other.safetensors", threads=1)
    pixels = np.random.default_rng(0).random((1, 3, 17, 23), np.float32)
    assert np.abs(other.run(pixels) - opened("onnxruntime", "loop-x2").run(pixels)).max() > BOUND


def test_every_backend_file_is_listed() -> None:
    folder = Path(importlib.import_module("loopsr.engine.backends").__file__ or "").parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert files == set(BACKENDS) == set(FILES)


def test_unknown_backend_names_the_nearest(weights: Path) -> None:
    card, path = catalogue.find("loop-x2")
    with pytest.raises(UnknownNameError, match="did you mean onnxruntime"):
        open_backend("onnx-runtime", card, path)


def test_early_exit(weights: Path) -> None:
    card, path = catalogue.find("loop-x2")
    with pytest.raises(UsageError, match="runs 1 to 1"):
        open_backend("onnxruntime", card, path, iters=2)
    with pytest.raises(UsageError, match="at least 1"):
        open_backend("onnxruntime", card, path, threads=0)


def test_a_file_that_is_no_network(weights: Path, tmp_path: Path) -> None:
    card, _ = catalogue.find("loop-x2")
    for backend, kind in FILES.items():
        path = tmp_path / f"broken.{kind}"
        path.write_bytes(b"\x08\x07 this is text")
        with pytest.raises(WeightsError, match=f"broken.{kind}"):
            open_backend(backend, card, path)


def test_a_card_of_another_scale(weights: Path) -> None:
    card, _ = catalogue.find("loop-x3")
    _, path = catalogue.find("loop-x2")
    backend = open_backend("onnxruntime", card, path, threads=1)
    with pytest.raises(BackendError, match="its card promises"):
        backend.run(np.zeros((1, 3, 4, 4), np.float32))
