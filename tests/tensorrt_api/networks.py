"""One convolution in the precision asked for: the smallest graph whose engine has a precision."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedet.artifacts.card import Precision


def convolution(precision: Precision) -> onnx.ModelProto:
    """uint8 [1, 8, 8, 3] in, float32 [1, 4, 8, 8] out."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 3, 3, 3)).astype(np.float16 if precision == "fp16" else np.float32)
    constants = {"w": weights, "s": np.array(2.0, np.float32), "z": np.array(0, np.int8)}
    kind = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.FLOAT
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], "cast", to=kind),
        helper.make_node("Transpose", ["pixels"], ["planes"], "transpose", perm=[0, 3, 1, 2]),
    ]
    features = "planes"
    if precision == "int8":
        nodes += [
            helper.make_node("QuantizeLinear", ["planes", "s", "z"], ["q"], "quantise"),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dq"], "dequantise"),
        ]
        features = "dq"
    nodes += [
        helper.make_node("Conv", [features, "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Cast", ["c"], ["out"], "back", to=TensorProto.FLOAT),
    ]
    used = {name for node in nodes for name in node.input}
    body = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [1, 8, 8, 3])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 4, 8, 8])],
        initializer=[numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model
