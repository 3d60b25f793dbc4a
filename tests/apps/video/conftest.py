"""What the video tests share: a network that only interpolates, to test the rest alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopsr.card import CARD_KEY, ModelCard
from loopsr.engine.upscaler import Upscaler


def interpolating_network(path: Path) -> Path:
    """Write an ONNX file that doubles a picture by linear interpolation, exact on ramps."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    node = helper.make_node(
        "Resize",
        ["lr", "", "scales"],
        ["sr"],
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    shape = ["b", 3, "h", "w"]
    graph = helper.make_graph(
        [node],
        "linear",
        [helper.make_tensor_value_info("lr", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("sr", TensorProto.FLOAT, ["b", 3, "H", "W"])],
        [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    card = ModelCard(name="linear-x2", network="linear", config={}, scale=2, halo=2, parameters=0)
    entry = model.metadata_props.add()
    entry.key, entry.value = CARD_KEY, card.to_json()
    onnx.save(model, str(path))
    return path


@pytest.fixture(scope="session")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Upscaler:
    """An upscaler of the interpolating network."""
    path = tmp_path_factory.mktemp("network") / "linear-x2.onnx"
    return Upscaler(interpolating_network(path), threads=1)
