"""What ships of a network: the twin computes the same, files are small and carry the card."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from loopsr.card import CARD_KEY, ModelCard
from loopsr.errors import TrainingError
from loopsr.export import onnx as twin
from loopsr.export import package
from loopsr.export.golden import golden_input, read_golden
from loopsr.models import NETWORKS, create
from loopsr.weights import catalogue

Floats = NDArray[np.float32]


@pytest.fixture(scope="module", params=NETWORKS)
def shipped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A network of each kind with weights that are nowhere zero, its card and its files."""
    torch.manual_seed(0)
    network = create(request.param, scale=3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    card = package.make_card(network, name=f"{request.param}-x3", kind=request.param, data="noise")
    folder = tmp_path_factory.mktemp("files")
    return network, card, package.write_package(network, folder, card=card)


def test_the_twin_computes_the_same_at_any_size(shipped) -> None:
    network, _, paths = shipped
    sizes = [(1, 1, 1), (1, 1, 40), (3, 8, 5), (1, 41, 29)]
    assert twin.parity(network, paths["onnx"], sizes=sizes) <= twin.TOLERANCE


def test_steps_that_repeat_another_have_their_weights_once(tmp_path: Path) -> None:
    size = {"scale": 2, "width": 8, "own": 2, "depth": 1}
    files = []
    for steps in ({"iters": 2}, {"iters": 4, "distinct": 2}):
        network = create("loop", **size, **steps)
        card = package.make_card(network, name=f"loop-{steps['iters']}", kind="loop")
        paths = package.write_package(network, tmp_path, card=card)  # checks parity at every step
        tensors = {t.name: t.dims for t in onnx.load(paths["onnx"]).graph.initializer}
        files.append(sum(int(np.prod(shape)) for shape in tensors.values() if len(shape) == 4))
        assert card.halo == 1 + card.iters * 3 * 2
        assert card.halo_per_step == 3 * 2
    assert files[0] == files[1]


def test_control_one_changed_weight_is_noticed(shipped, tmp_path: Path) -> None:
    network, _, paths = shipped
    model = onnx.load(paths["onnx"])
    largest = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    values = np.frombuffer(largest.raw_data, np.float32).copy()
    values[values.size // 2] += 0.01
    largest.raw_data = values.tobytes()
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(TrainingError, match="differs from its network by"):
        twin.check_parity(network, tmp_path / "changed.onnx")


def test_control_another_scale_is_noticed(shipped, tmp_path: Path) -> None:
    network, _, paths = shipped
    with pytest.raises(TrainingError, match="gives the shape"):
        twin.parity(create("lrn", scale=2, iters=network.iters), paths["onnx"])


def test_weights_are_stored_once_and_nothing_else_is(shipped) -> None:
    _, card, paths = shipped
    assert paths["onnx"].stat().st_size < 4 * card.parameters + 30_000
    model = onnx.load(paths["onnx"])
    assert all(not node.metadata_props and not node.doc_string for node in model.graph.node)
    assert str(Path(__file__).parents[2]).encode() not in paths["onnx"].read_bytes()
    assert [value.name for value in model.graph.input] == ["lr"]
    assert [value.name for value in model.graph.output] == ["sr"]
    assert model.opset_import[0].version == twin.OPSET


def test_both_files_carry_the_card(shipped) -> None:
    _, card, paths = shipped
    props = {p.key: p.value for p in onnx.load(paths["onnx"]).metadata_props}
    assert ModelCard.from_json(props[CARD_KEY]) == card
    with safe_open(paths["safetensors"], framework="np") as file:
        assert ModelCard.from_json(file.metadata()[CARD_KEY]) == card
    assert card.data == "noise"


def test_safetensors_build_the_network_again(shipped) -> None:
    from safetensors.torch import load_file

    _, card, paths = shipped

    again = create(card.network, **card.config)
    again.load_state_dict(load_file(paths["safetensors"]))
    lr, expected = read_golden(paths["golden"])
    assert np.array_equal(lr, golden_input())
    with torch.no_grad():
        assert np.abs(again(torch.from_numpy(lr)).numpy() - expected).max() <= 1e-6
    assert np.abs(twin.run_onnx(paths["onnx"], lr) - expected).max() <= twin.TOLERANCE


def reuse(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing takes seconds; copy the file that was traced already."""
    copy = lambda network, target, *, card: shutil.copy(path, target)  # noqa: E731
    monkeypatch.setattr(package, "export_onnx", copy)


def test_install_enters_the_index(shipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, card, written = shipped
    reuse(written["onnx"], monkeypatch)
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    paths = package.install(network, card=card)
    index = json.loads((tmp_path / "index.json").read_text())
    for kind in ("onnx", "safetensors"):
        digest = hashlib.sha256(paths[kind].read_bytes()).hexdigest()
        assert index[card.name][kind] == digest
    assert catalogue.onnx_path(card.name) == paths["onnx"]
    assert catalogue.card(card.name) == card


def test_a_twin_that_differs_is_not_installed(
    shipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, card, written = shipped
    reuse(written["onnx"], monkeypatch)
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    monkeypatch.setattr(twin, "TOLERANCE", -1.0)
    with pytest.raises(TrainingError, match="do not ship it"):
        package.install(network, card=card)
    assert not (tmp_path / "index.json").exists()


@pytest.mark.parametrize("name", catalogue.names())
def test_weights_that_ship_reproduce_their_golden_tensors(name: str) -> None:
    lr, expected = read_golden(catalogue.FOLDER / "golden" / f"{name}.safetensors")
    assert golden_gap(catalogue.onnx_path(name), lr, expected) <= 1e-4


def golden_gap(path: Path, lr: Floats, expected: Floats) -> float:
    """The largest difference of a value in the picture in the middle: of one its own, of several
    more than half agree (see ``golden_windows``)."""
    gaps = np.abs(twin.run_onnx(path, lr) - expected).max(axis=(1, 2, 3))
    return float(np.median(gaps))


@pytest.mark.parametrize("name", [n for n in catalogue.names() if catalogue.is_int8(n)])
def test_control_golden_tensors_of_another_network_are_noticed(name: str, tmp_path: Path) -> None:
    lr, expected = read_golden(catalogue.FOLDER / "golden" / f"{name}.safetensors")
    assert len(lr) == 8
    relative = name.removesuffix(catalogue.INT8_TAG)
    assert golden_gap(catalogue.onnx_path(relative), lr, expected) > 1e-3
    model = onnx.load(catalogue.onnx_path(name))
    (bias, *_) = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT32]
    values = onnx.numpy_helper.to_array(bias)
    bias.CopyFrom(onnx.numpy_helper.from_array(values + np.int32(400), bias.name))
    onnx.save(model, tmp_path / "changed.onnx")
    assert golden_gap(tmp_path / "changed.onnx", lr, expected) > 1e-4
