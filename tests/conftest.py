"""What all tests share: small networks in files, ours and those of others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Make = Callable[..., Path]

# Two cores are often all there is; more threads than cores make tests slow and flaky.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts what it puts into the background with Ctrl-C ignored, and what the tests start
# would inherit that; some of them press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements of backends go to a folder of the test, not to the user's."""
    monkeypatch.setenv("LOOPSR_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[None]:
    """The scripts of ``benchmarks/`` can be imported, as each of them imports its neighbours."""
    folder = str(Path(__file__).parents[1] / "benchmarks")
    sys.path.insert(0, folder)  # as Python does for a script
    yield
    sys.path.remove(folder)


@pytest.fixture
def small_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's peak from small matrices, where only that it is there matters."""
    from loopsr.apps.bench import peaks

    monkeypatch.setattr(peaks, "SIDE", 64)
    monkeypatch.setattr(peaks, "LARGE", 1 << 20)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `loopsr/weights` is: small untrained networks under the default names."""
    import torch

    from loopsr import models
    from loopsr.export.package import make_card, write_package
    from loopsr.weights import catalogue

    folder = tmp_path_factory.mktemp("weights")
    for scale in (2, 3, 4):
        torch.manual_seed(scale)
        network = models.create("lrn", scale=scale, iters=1)
        card = make_card(network, name=f"loop-x{scale}", kind="lrn")
        write_package(network, folder, card=card)
    catalogue.write_index(folder)
    return folder


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """``node("Add", "a b", "c")``; a dash is an input that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(kind, names, outputs.split(), **attributes)


@pytest.fixture
def make_onnx(tmp_path: Path) -> Make:
    """Writes a model from its nodes; by default it repeats every pixel, 2x2."""

    def make(
        nodes: Sequence[onnx.NodeProto] = (),
        *,
        name: str = "other.onnx",
        inputs: Sequence[tuple[str, Sequence[int | str]]] = (("image", ("b", 3, "h", "w")),),
        outputs: Sequence[str] = ("large",),
        kind: int = TensorProto.FLOAT,
        **tensors: Any,
    ) -> Path:
        nodes = nodes or [node("Resize", "image - scales", "large", mode="nearest")]
        tensors = {"scales": np.array([1, 1, 2, 2], np.float32), **tensors}
        used = {entry for item in nodes for entry in item.input}
        graph = helper.make_graph(
            list(nodes),
            "other",
            [helper.make_tensor_value_info(port, kind, shape) for port, shape in inputs],
            [helper.make_tensor_value_info(port, kind, None) for port in outputs],
            [numpy_helper.from_array(v, k) for k, v in tensors.items() if k in used],
        )
        opset = helper.make_opsetid("", 18)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
        path = tmp_path / name
        path.write_bytes(model.SerializeToString())
        return path

    return make


# An S3 server of the tests' own; ends with its standard input, so also when the tests are killed.
_S3_SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def s3_server() -> Iterator[dict[str, str]]:
    """An empty S3 server; gives the environment by which programs find it."""
    for package in ("moto", "flask", "s3fs"):
        pytest.importorskip(package, reason="needs the packages of the extra dev")
    process = subprocess.Popen(
        [sys.executable, "-c", _S3_SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        port = process.stdout.readline().strip()
        assert port.isdigit(), "the S3 server did not start"
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        process.stdin.close()


@pytest.fixture
def bucket(
    s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> str:
    """The address of an empty bucket of the test's own."""
    import fsspec

    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    name = f"test-{abs(hash(request.node.nodeid))}"
    fsspec.filesystem("s3", use_listings_cache=False).mkdir(name)
    return f"s3://{name}"
