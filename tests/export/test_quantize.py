"""Networks in 8-bit integers: the file computes what the network does, is small, and says so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from loopsr import Upscaler, models
from loopsr.card import ModelCard
from loopsr.errors import TrainingError, UsageError
from loopsr.export import qdq
from loopsr.export.onnx import TOLERANCE, check_parity, export_onnx, parity
from loopsr.export.package import make_card, write_package
from loopsr.export.quantize import main, quantise
from loopsr.layers.fake_quant import FakeQuantised
from loopsr.recipes.loop import SIZES
from loopsr.weights import catalogue

SAMPLE = Path(catalogue.__file__).parents[1] / "apps" / "assets" / "osprey.png"
BOUND = 8.0  # grey levels, root mean square, on hard edges; 4.5 were seen when this was written
SMALL = {"scale": 4, **SIZES["s"]}


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`loop-s-x3` without training."""
    folder = tmp_path_factory.mktemp("int8")
    path = folder / "loop-s-x3.int8.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOPSR_CACHE", str(folder))
        quantise("loop-s-x3", path, pictures=[SAMPLE])
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[FakeQuantised, ModelCard, Path]:
    """A `loop-s-x4` whose every step matters, its card and its file."""
    torch.manual_seed(0)
    network = models.create("loop", **SMALL)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith("bias"):
                weight.add_(0.03 * torch.randn_like(weight))
            elif "narrow" in name or name == "tail.weight":  # they start near zero
                weight.mul_(3)
    integers = FakeQuantised(network)
    integers.calibrate([torch.rand(4, 3, 32, 32)])
    shipped = catalogue.card("loop-s-x4")
    card = make_card(
        integers, name="loop-s-x4", kind="loop", data=shipped.data, training=shipped.training
    )
    paths = write_package(integers, tmp_path_factory.mktemp("small"), card=card)
    assert sorted(paths) == ["golden", "onnx"]
    return integers, card, paths["onnx"]


def test_the_file_computes_what_the_network_does(small: Any) -> None:
    network, card, path = small
    assert parity(network, path, sizes=[(1, 1, 1), (3, 4, 3), (1, 9, 8)]) <= TOLERANCE
    assert catalogue.read_card(path) == card
    assert card.name == "loop-s-x4.int8"  # so that it cannot take the place of the network
    assert card.parameters == models.count_parameters(network.plain())


def grids(graph: Any) -> dict[str, list[str]]:
    """The names of tensors by what they hold: grids of features, and those of layers."""
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    found: dict[str, list[str]] = {}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            kind = "signed" if tensors[node.input[2]] > 0 else "positive"
            found.setdefault(f"step, {kind}", []).append(node.input[1])
            found.setdefault(f"zero, {kind}", []).append(node.input[2])
        elif node.op_type == "DequantizeLinear" and node.input[0] in tensors:
            kind = {np.int8: "weight", np.int32: "bias"}[tensors[node.input[0]].dtype.type]
            found.setdefault(kind, []).append(node.input[0])
            found.setdefault(f"step, {kind}", []).append(node.input[1])
        elif node.op_type == "Mul":  # of a kernel that is stored as int8 and computes in floats
            found.setdefault("step, float", []).append(node.input[1])
    return found


def test_every_run_has_its_grids(small: Any) -> None:
    network, _, path = small
    found = grids(onnx.load(path).graph)
    units = 2 * network.iters  # runs of one
    assert len(found["step, positive"]) == units  # `widen`; what `look` and `narrow` give is signed
    assert len(found["step, signed"]) == 2 * units
    assert len(found["weight"]) == 2 * (network.iters + 1)  # the shared unit has them once
    assert len(found["bias"]) == 2 * units
    assert len(found["step, float"]) == network.iters + 1 + 2  # `look`, head and tail


@pytest.mark.parametrize(
    ("kind", "factor"),
    [
        ("step, positive", 1.02),
        ("step, signed", 1.02),
        ("zero, signed", 0),
        ("step, weight", 1.02),
        ("step, float", 1.02),
        ("bias", 5),
    ],
)
def test_control_one_changed_tensor_is_noticed(
    small: Any, tmp_path: Path, kind: str, factor: float
) -> None:
    network, _, path = small
    model = onnx.load(path)
    name = grids(model.graph)[kind][-1]
    (tensor,) = [t for t in model.graph.initializer if t.name == name]
    numbers = onnx.numpy_helper.to_array(tensor)
    changed = np.array(numbers * factor, numbers.dtype)
    tensor.CopyFrom(onnx.numpy_helper.from_array(changed, name))
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(TrainingError, match="differs from its network by"):
        check_parity(network, tmp_path / "changed.onnx")


def optimised(path: Path, folder: Path) -> Counter[str]:
    """The nodes that ONNX Runtime makes of a file, counted by kind."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return Counter(n.op_type for n in onnx.load(folder / "optimised.onnx").graph.node)


def test_onnx_runtime_computes_all_1x1_with_integers(small: Any, tmp_path: Path) -> None:
    network, _, path = small
    nodes = optimised(path, tmp_path)
    assert nodes["QLinearConv"] == 2 * 2 * network.iters  # widen and narrow
    assert nodes["Conv"] + nodes["FusedConv"] == 2 * network.iters + 2  # look, head and tail
    assert nodes["Relu"] == 0


def test_the_small_size_takes_less_than_40_kb(small: Any) -> None:
    _, _, path = small
    assert path.stat().st_size < 40_000


def test_a_graph_with_other_runs_is_refused(small: Any, tmp_path: Path) -> None:
    network, card, _ = small
    export_onnx(models.create("loop", **{**SMALL, "iters": 2}), tmp_path / "three.onnx", card=card)
    with pytest.raises(TrainingError, match="does not run its layers"):
        qdq.write_grids(onnx.load(tmp_path / "three.onnx").graph, network)


def difference(model: str | Path) -> float:
    image = (np.random.default_rng(0).random((12, 14, 3)) * 255).astype(np.uint8)
    image = image.repeat(4, axis=0).repeat(4, axis=1)
    full, short = (Upscaler(m, threads=1)(image).astype(float) for m in ("loop-s-x3", model))
    return float(np.sqrt(np.square(full - short).mean()))


def test_is_small_and_says_what_it_is(twin: Path) -> None:
    card = catalogue.read_card(twin)
    assert card.name == "loop-s-x3.int8"
    assert card.scores == card.measured == {}
    assert twin.stat().st_size < catalogue.onnx_path("loop-s-x3").stat().st_size / 2.5
    assert [path.name for path in twin.parent.glob("*.onnx")] == [twin.name]


def test_is_near_the_network(twin: Path) -> None:
    assert 0 < difference(twin) < BOUND


def test_bound_catches_another_network(twin: Path) -> None:
    assert difference("lrn-x3") > BOUND


def test_refusals(twin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="exists"):
        quantise("loop-s-x3", twin, pictures=[SAMPLE])
    with pytest.raises(UsageError, match="integers already"):
        quantise("loop-s-x3.int8", tmp_path / "again.onnx", pictures=[SAMPLE])
    with pytest.raises(UsageError, match=r"no \.safetensors file"):
        quantise(twin, tmp_path / "again.onnx", pictures=[SAMPLE])
    with pytest.raises(UsageError, match="no folder to write into"):
        quantise("loop-s-x3", tmp_path / "none" / "a.onnx", pictures=[SAMPLE])
    arguments = ["loop-x2", "--calibration", str(tmp_path / "none"), "-o", str(tmp_path / "a.onnx")]
    assert main(arguments) == 2
    assert "no folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
