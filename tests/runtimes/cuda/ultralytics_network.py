"""A network with the input and the raw output of Ultralytics' detectors."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.rectangle_detector import ultralytics_metadata

CELLS = 32
FOREIGN_NAMES = tuple(f"class {index}" for index in range(7))


def foreign_detector() -> onnx.ModelProto:
    """A random network with Ultralytics' input and raw output: float32 [1, 3, 64, 64] to [1, 4 + 7, 1024]."""
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.8, (11, 3, 4, 4)).astype(np.float32)
    weights[4:] -= weights[4:].mean(axis=(1, 2, 3), keepdims=True)  # brightness alone prefers no class
    constants = {
        "w": weights,
        "b": np.float32([0] * 4 + [-0.5] * 7),
        "flat": np.array([1, 11, CELLS * CELLS], np.int64),
        # Centres anywhere on the canvas, sides up to 24 pixels, scores as they are.
        "scale": np.float32([64, 64, 24, 24] + [1] * 7).reshape(1, 11, 1),
    }
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["c"], ["s"]),
        helper.make_node("Reshape", ["s", "flat"], ["r"]),
        helper.make_node("Mul", ["r", "scale"], ["output0"]),
    ]
    body = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 11, CELLS * CELLS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, ultralytics_metadata(names=str(dict(enumerate(FOREIGN_NAMES)))))
    onnx.checker.check_model(model, full_check=True)
    return model
