"""The tiny detector of ``edgedet selftest``: two convolutions whose weights come from a formula.

The file beside the command is written by ``python -m edgedet.export.selftest_graph``; a device that runs the
self-test needs no onnx.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedet.artifacts.card import InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.detector import Detector
from edgedet.proof.golden import record

from .embedded_card import embed, graph_bytes

SIZE, CELL = 64, 8
NAMES = ("dark", "bright", "edge")
TARGET = Path(__file__).resolve().parents[1] / "edgedet" / "selftest.onnx"


def selftest_graph() -> tuple[onnx.ModelProto, ModelCard]:
    """The graph without its golden input: uint8 [1, 64, 64, 3] in; 64 boxes and their scores for 3 classes out."""
    cells = SIZE // CELL
    first = np.sin(np.arange(8 * 3 * 9, dtype=np.float64) * 1.7).reshape(8, 3, 3, 3) / 40
    second = np.cos(np.arange(7 * 8 * CELL**2, dtype=np.float64) * 0.9).reshape(7, 8, CELL, CELL) / 6
    y, x = np.mgrid[0:cells, 0:cells] * CELL + CELL / 2
    centres = np.stack([x, y, x, y], axis=-1).reshape(1, cells**2, 4)
    constants: dict[str, np.ndarray] = {
        "first": first.astype(np.float32),
        "second": second.astype(np.float32),
        "centres": centres.astype(np.float32),
        "sides": np.array([-12, -12, 12, 12], np.float32),
        "flat": np.array([1, 7, cells**2], np.int64),
        "parts": np.array([4, 3], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], "pixels", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], "planes", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "first"], ["features"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["active"], "relu"),
        helper.make_node("Conv", ["active", "second"], ["heads"], "second", strides=[CELL, CELL]),
        helper.make_node("Reshape", ["heads", "flat"], ["columns"], "columns"),
        helper.make_node("Transpose", ["columns"], ["rows"], "rows", perm=[0, 2, 1]),
        helper.make_node("Sigmoid", ["rows"], ["shares"], "shares"),
        helper.make_node("Split", ["shares", "parts"], ["sizes", "scores"], "split", axis=2),
        helper.make_node("Mul", ["sizes", "sides"], ["reach"], "reach"),
        helper.make_node("Add", ["reach", "centres"], ["boxes"], "boxes"),
    ]
    body = helper.make_graph(
        nodes,
        "selftest",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [1, SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, cells**2, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, cells**2, 3]),
        ],
        initializer=[numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    card = ModelCard(
        family="ssd",
        architecture="selftest",
        names=NAMES,
        input=InputSpec(SIZE, SIZE),
        resize=ResizeRule("letterbox"),
        output=OutputSpec("candidates", score_threshold=0.6, iou_threshold=0.5, max_detections=50),
        provenance={"tools": {"edgedet": "formula"}},
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), card


def write(path: Path = TARGET) -> ModelCard:
    """Write the graph with its golden input."""
    model, card = selftest_graph()
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(graph_bytes(embed(model, card)))
    with Detector(path, runtime="onnxruntime:cpu") as detector:
        golden = record(detector)
    # Random kernels: a grey level changes much, other arithmetic nothing (with weights rounded as TF32 rounds them
    # every detection stays). So as many are asked for as of a steady scene.
    card = replace(card, golden=golden | {"steadiness": 1.0})
    path.write_bytes(graph_bytes(embed(model, card)))
    return card


if __name__ == "__main__":
    write()
