"""The arithmetic behind the table: work, floor, front, entries, the machine's peaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from loopsr.apps.bench import peaks
from loopsr.apps.bench.entries import Entry, make_entries
from loopsr.apps.bench.memory import peak_memory
from loopsr.apps.bench.report import pareto_front
from loopsr.apps.bench.work import count_work
from loopsr.engine.opener import open_model
from loopsr.errors import BackendError, UnknownNameError, UsageError
from loopsr.weights import catalogue

WAYS: dict[str, Any] = {"backends": ["onnxruntime"], "precisions": ["float32"]}


@pytest.mark.parametrize("name", ["loop-x2", "loop-x4", "lrn-x3"])
def test_work_of_our_networks_is_what_their_cards_say(name: str) -> None:
    work = count_work(open_model(name, threads=1), size=(20, 12))
    assert work is not None
    assert work.macs == catalogue.card(name).macs_per_pixel * 20 * 12  # type: ignore[operator]


def test_fewer_steps_are_less_work() -> None:
    whole = count_work(open_model("loop-x4", threads=1), size=(9, 8))
    card = catalogue.card("loop-x4").stopped_after(1)
    short = count_work(open_model("loop-x4", threads=1, iters=1), size=(9, 8))
    assert whole is not None
    assert short is not None
    assert short.macs == (card.macs_per_pixel or 0) * 72 < whole.macs
    assert short.samples < whole.samples
    assert whole.moved("bfloat16") * 2 == whole.moved("int8") * 4 == whole.moved("float32")


def test_work_of_a_foreign_network_by_hand(make_onnx: Any) -> None:
    nodes = [
        onnx.helper.make_node("Conv", ["image", "w"], ["wide"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("DepthToSpace", ["wide"], ["large"], blocksize=2),
    ]
    path = make_onnx(nodes, w=np.full((12, 3, 3, 3), 0.03, np.float32))
    work = count_work(open_model(path, threads=1), size=(10, 7))
    assert work is not None
    assert work.macs == 70 * 12 * 27
    layers = [70 * 3 + 12 * 27 + 70 * 12, 70 * 12 + 70 * 12]
    assert (work.samples, work.largest) == (sum(layers), max(layers))


def test_work_of_an_interpolation_is_not_counted() -> None:
    assert count_work(open_model("bicubic", scale=2), size=(8, 8)) is None


def test_floor_is_the_longer_of_the_two() -> None:
    speed = {"macs_per_second": 1e9, "bytes_per_second": 1e8}
    assert peaks.floor_seconds(macs=2e9, moved=1e8, **speed) == (2, "compute")
    assert peaks.floor_seconds(macs=2e9, moved=3e8, **speed) == (3, "memory")


def test_the_best_runtime_is_the_peak() -> None:
    times = {("float32", "a"): [2.0, 1.0], ("float32", "b"): [4.0], ("int8", "b"): [0.5]}
    assert peaks.best(times) == {
        "float32": (peaks.WORK / 1.0, "a"),
        "int8": (peaks.WORK / 0.5, "b"),
    }


def test_probes_multiply_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every probe is compared with numpy, so that none is fast by computing something else."""
    monkeypatch.setattr(peaks, "SIDE", 64)
    expected = peaks._matrix(1)
    for seed in range(2, 2 + peaks.CHAIN):
        expected = expected @ peaks._matrix(seed)
    bounds = {"float32": 1e-5, "bfloat16": 0.02, "int8": 0.15}
    found = set()
    for (precision, runtime), run in peaks.probes(1).items():
        result: Any = run()
        if runtime == "torch":
            output = result.float().numpy()
        elif runtime == "onnxruntime":
            output = result[0]
        else:
            output = next(iter(result.values()))
        error = np.abs(output - expected).max() / np.abs(expected).max()
        assert error < bounds[precision], (precision, runtime)
        found.add(precision)
        if precision != "float32":  # it really is the shorter precision
            assert error > 1e-4, (precision, runtime)
    assert {"float32", "int8"} <= found


def test_the_matrix_models_are_valid_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "SIDE", 16)
    for data in (peaks._plain_model(), peaks._quantised_model()):
        onnx.checker.check_model(onnx.load_from_string(data), full_check=True)


@pytest.mark.parametrize("threads", [1, 3])
def test_copying_copies_all(threads: int) -> None:
    target: Any = peaks.copying(8000, threads)()
    assert target.nbytes == 8000
    assert (target == 1).all()


def test_front() -> None:
    points = [(3.0, 30.0), (1.0, 28.0), (2.0, 28.0), (2.5, 31.0), (9.0, 31.0)]
    assert pareto_front(points) == [1, 3]
    assert pareto_front([(1, 5.0), (1, 6.0), (1, 6.0)]) == [1]
    assert pareto_front([]) == []


def test_front_is_its_definition() -> None:
    points = [tuple(p) for p in np.random.default_rng(0).integers(0, 9, (40, 2)).tolist()]
    front = pareto_front(points)
    beaten = [any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points) for p in points]
    assert {points[i] for i in front} == {
        p for p, bad in zip(points, beaten, strict=True) if not bad
    }


def test_entries_of_the_whole_project() -> None:
    names = [entry.label for entry in make_entries([], scale=3, **WAYS)]
    assert names[:2] == ["bicubic", "lanczos"]
    assert set(names[2:]) == {n for n in catalogue.names() if "-x3" in n and "int8" not in n}


def test_entries_of_names_files_and_steps(make_onnx: Any) -> None:
    path = str(make_onnx())
    assert [e.label for e in make_entries(["loop"], scale=2, **WAYS)] == ["loop-x2"]
    assert make_entries(["bicubic"], scale=None, **WAYS)[0].scale == 4
    assert make_entries(["loop-x3", "bicubic"], scale=None, **WAYS)[0].scale == 3
    added = make_entries([path], scale=None, **WAYS)  # its scale is 2
    assert {e.label for e in added} >= {"bicubic", "loop-x2", "other"}
    assert [e.label for e in make_entries(["loop", path], scale=2, **WAYS)] == ["loop-x2", "other"]
    steps = make_entries(["bicubic", "loop", "lrn"], scale=4, iters=[2, 1], **WAYS)
    assert [e.label for e in steps] == [
        "bicubic",
        *("loop-x4@1", "loop-x4@2"),
        *("lrn-x4@1", "lrn-x4@2"),
    ]
    with pytest.raises(UsageError, match="no network here has 99 steps, the most is"):
        make_entries(["loop"], scale=4, iters=[99], **WAYS)


def test_entries_of_backends_and_precisions() -> None:
    ways = {"backends": ["openvino", "ncnn"], "precisions": ["float32", "bfloat16"]}
    found = [(e.backend, e.precision) for e in make_entries(["loop"], scale=2, **ways)]
    assert found == [("openvino", "float32"), ("openvino", "bfloat16"), ("ncnn", "float32")]
    everything = make_entries(["loop"], scale=2, backends=["all"], precisions=["all"])
    assert len(everything) >= 6
    with pytest.raises(UsageError, match="nothing runs on ncnn in bfloat16"):
        make_entries(["loop"], scale=2, backends=["ncnn"], precisions=["bfloat16"])
    with pytest.raises(UnknownNameError, match="did you mean openvino"):
        make_entries([], scale=2, backends=["openvin"], precisions=["float32"])
    with pytest.raises(UnknownNameError, match="did you mean bfloat16"):
        make_entries([], scale=2, backends=["all"], precisions=["float16"])
    with pytest.raises(UnknownNameError, match="did you mean loop-x4"):
        make_entries(["loop-x5"], scale=None, **WAYS)


def test_memory_of_a_process_of_its_own() -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("reads /proc")
    entry = Entry(model="loop-x2", scale=2, backend="onnxruntime", precision="float32")
    small = peak_memory(entry, size=(16, 16), threads=1)
    large = peak_memory(entry, size=(400, 300), threads=1)
    assert small is not None
    assert large is not None
    assert 20e6 < small < large - 20e6
    wrong = Entry(model="loop-x2", scale=2, backend="onnxruntime", precision="float32", iters=77)
    with pytest.raises(BackendError, match=r"loop-x2@77 failed in a process of its own.*runs 1 to"):
        peak_memory(wrong, size=(16, 16), threads=1)
