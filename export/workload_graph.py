"""The reference network of ``edgedet bench``: fixed work of a detector's kind, timed beside whatever is measured.

Inverted residual blocks (arXiv:1801.04381) on 160 x 160 pixels, as in most small detectors: what slows them on a
machine slows this nearly as much. All weights are constants that the runtime fills in, so the file beside the
benchmark holds none; it is written by ``python -m edgedet.export.workload_graph``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 160
STAGES = ((24, 2), (40, 3), (80, 3))
"""Channels and blocks of every stage; each halves the map."""
EXPANSION = 4
TARGET = Path(__file__).resolve().parents[1] / "edgedet" / "bench" / "reference_workload.onnx"


class _Layers:
    """Nodes and constants, added layer by layer."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def weight(self, shape: tuple[int, ...], inputs: int) -> str:
        """Equal weights that keep what they sum at the same size: no overflow, and no denormal numbers."""
        name = f"shape_{len(self.nodes)}"
        self.constants.append(numpy_helper.from_array(np.array(shape, np.int64), name))
        value = numpy_helper.from_array(np.array([1 / inputs], np.float32))
        return self.add("ConstantOfShape", name, value=value)

    def convolution(
        self, value: str, channels: tuple[int, int], *, side: int, stride: int = 1, groups: int = 1
    ) -> str:
        reads = channels[0] // groups
        weight = self.weight((channels[1], reads, side, side), reads * side * side)
        return self.add("Conv", value, weight, strides=[stride] * 2, pads=[side // 2] * 4, group=groups)


def reference_graph() -> onnx.ModelProto:
    """float32 ``images`` [1, 3, 160, 160] in, the means of 80 channels out."""
    layers = _Layers()
    channels = 16
    value = layers.add("Relu", layers.convolution("images", (3, channels), side=3, stride=2))
    for width, blocks in STAGES:
        for block in range(blocks):
            inside = channels * EXPANSION
            branch = layers.add("Relu", layers.convolution(value, (channels, inside), side=1))
            stride = 2 if block == 0 else 1
            branch = layers.convolution(branch, (inside, inside), side=3, stride=stride, groups=inside)
            branch = layers.convolution(layers.add("Relu", branch), (inside, width), side=1)
            value = branch if block == 0 else layers.add("Add", value, branch)
            channels = width
    value = layers.add("GlobalAveragePool", value)
    graph = helper.make_graph(
        layers.nodes,
        "reference",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, [1, channels, 1, 1])],
        initializer=layers.constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(path: Path = TARGET) -> None:
    """Write the graph, weights left to the runtime."""
    model = reference_graph()
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


if __name__ == "__main__":
    write()
