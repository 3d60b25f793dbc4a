"""Weights are found, verified and refused as promised."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from loopsr.card import CARD_KEY, ModelCard
from loopsr.errors import UnknownNameError, UsageError, WeightsError
from loopsr.weights import catalogue
from loopsr.weights.onnx_file import read_card_text

SHIPPED = Path(catalogue.__file__).parent


@pytest.fixture
def folder(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of our own, that a test may damage."""
    for path in tiny_weights.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    catalogue.write_index(tmp_path)
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    return tmp_path


def test_names_and_cards(folder: Path) -> None:
    assert catalogue.names() == ("loop-x2", "loop-x3", "loop-x4")
    for name in catalogue.names():
        card = catalogue.card(name)
        assert card.name == name
        assert catalogue.find(name) == (card, folder / f"{name}.onnx")
        assert catalogue.onnx_path(name) == folder / f"{name}.onnx"
        assert catalogue.safetensors_path(name) == folder / f"{name}.safetensors"
        assert catalogue.read_card(catalogue.onnx_path(name)) == card


def test_family(folder: Path) -> None:
    expected = {2: "loop-x2", 3: "loop-x3", 4: "loop-x4"}
    assert catalogue.family("loop-x3") == expected == catalogue.DEFAULT
    path = str(folder / "loop-x3.onnx")
    assert catalogue.family(path) == {3: path}


@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
def test_one_changed_bit_is_found(folder: Path, kind: str) -> None:
    path = folder / f"loop-x2.{kind}"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="pip install --force-reinstall loopsr") as caught:
        catalogue.find("loop-x2", kind=kind)
    assert str(path) in str(caught.value)
    catalogue.find("loop-x3", kind=kind)


def test_missing_file(folder: Path, tmp_path: Path) -> None:
    (folder / "loop-x2.onnx").unlink()
    with pytest.raises(WeightsError, match=r"cannot be read .*pip install --force-reinstall"):
        catalogue.onnx_path("loop-x2")
    for name in ("mine.onnx", "mine.safetensors"):
        with pytest.raises(WeightsError, match=r"cannot be read .*; check the path$"):
            catalogue.read_card(tmp_path / "own" / name)
    (folder / "loop-x2.safetensors").unlink()
    with pytest.raises(WeightsError, match="is missing"):
        catalogue.card("loop-x2")


def test_unknown_name(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean loop-x2"):
        catalogue.find("loop-x22")


def test_nothing_installed(folder: Path) -> None:
    (folder / "index.json").unlink()
    assert catalogue.names() == ()
    with pytest.raises(WeightsError, match="no model is installed"):
        catalogue.card("loop-x2")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"../evil-x2": {}}', '{"loop-x2": 3}', "[" * 100_000, "\xff"]
)
def test_broken_index(folder: Path, text: str) -> None:
    (folder / "index.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(WeightsError, match="index"):
        catalogue.names()


def test_too_large(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MAX_FILE_BYTES", 2000)
    with pytest.raises(WeightsError, match="too much for a model"):
        catalogue.find("loop-x2")


def test_path_of_the_wrong_kind(folder: Path) -> None:
    with pytest.raises(UsageError, match="pass one, or the backend onnxruntime"):
        catalogue.find(folder / "loop-x2.onnx", kind="safetensors")
    with pytest.raises(UsageError, match=r"a \.onnx file is needed; pass one$"):
        catalogue.find(folder / "weights.pth")


def onnx_with(path: Path, change: Any) -> bytes:
    import onnx

    model = onnx.load(path, load_external_data=False)
    change(model)
    return bytes(model.SerializeToString())


def test_external_data_is_refused(folder: Path) -> None:
    import onnx

    def outside(tensor: Any) -> None:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../etc/passwd")

    def initializer(model: Any) -> None:
        outside(model.graph.initializer[0])

    def constant(model: Any) -> None:
        outside(model.graph.node.add(op_type="Constant").attribute.add(name="value").t)

    def nested(model: Any) -> None:
        branch = model.graph.node.add(op_type="If").attribute.add(name="then_branch").g
        outside(branch.initializer.add())

    def sparse(model: Any) -> None:
        outside(model.graph.sparse_initializer.add().values)

    def function(model: Any) -> None:
        node = model.functions.add(name="f").node.add(op_type="Constant")
        outside(node.attribute.add(name="value").tensors.add())

    path = folder / "loop-x2.onnx"
    assert read_card_text(onnx_with(path, lambda model: None), file="x")
    for change in (initializer, constant, nested, sparse, function):
        with pytest.raises(WeightsError, match="another file"):
            read_card_text(onnx_with(path, change), file="x")


def test_onnx_without_a_card(folder: Path) -> None:
    data = onnx_with(folder / "loop-x2.onnx", lambda model: model.ClearField("metadata_props"))
    with pytest.raises(WeightsError, match="holds no model card"):
        read_card_text(data, file="x")


def test_damaged_onnx_never_crashes(folder: Path) -> None:
    """Cut off or with random bytes: a card, or our own error."""
    import random

    data = (folder / "loop-x2.onnx").read_bytes()
    rng = random.Random(0)
    refused = 0
    for trial in range(300):
        broken = bytearray(data)
        for _ in range(rng.randint(1, 20)):
            broken[rng.randrange(min(len(broken), 4000))] = rng.randrange(256)
        if trial % 3 == 0:
            broken = broken[: rng.randrange(len(broken))]
        try:
            ModelCard.from_json(read_card_text(bytes(broken), file="x"))
        except WeightsError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\xff" * 8,
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"\xff\xff",
        struct.pack("<Q", 2**60) + b"[" * 100_000,
        struct.pack("<Q", 60) + json.dumps({"__metadata__": {CARD_KEY: 5}}).encode().ljust(60),
    ],
)
def test_damaged_safetensors(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        catalogue.read_card(path)


def test_index_of_what_ships_is_up_to_date() -> None:
    """After an export the index has to be written again: catalogue.write_index()."""
    built = catalogue.build_index(SHIPPED)
    path = SHIPPED / "index.json"
    listed = json.loads(path.read_text()) if path.exists() else {}
    assert listed == built


def test_a_tag_has_a_family_of_its_own(folder: Path) -> None:
    """``loop-x2.photo`` goes with ``loop-x4.photo``, and ``loop-x2`` does not see either."""
    for scale in (2, 4):
        for kind in ("onnx", "safetensors"):
            source = folder / f"loop-x{scale}.{kind}"
            (folder / f"loop-x{scale}.photo.{kind}").write_bytes(source.read_bytes())
    catalogue.write_index(folder)
    assert "loop-x2.photo" in catalogue.names()
    assert catalogue.family("loop-x2.photo") == {2: "loop-x2.photo", 4: "loop-x4.photo"}
    assert catalogue.family("loop-x2") == {2: "loop-x2", 3: "loop-x3", 4: "loop-x4"}
    for kind in ("onnx", "safetensors"):
        assert catalogue.find("loop-x4.photo", kind=kind)[1].name == f"loop-x4.photo.{kind}"
