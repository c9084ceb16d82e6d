"""The second input of DETRs as their repositories export them, folded: the size of the picture boxes are given in.

RT-DETR, D-FINE and DEIM multiply their boxes by ``orig_target_sizes`` [N, 2] (width, height) inside the graph. Ones
in its place leave boxes as shares of the canvas, which is what the host takes to the frame itself.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDED = "edgedet/unit_sizes"
"""Name of the constant that takes the input's place."""
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)


def fold_sizes(model: onnx.ModelProto) -> bool:
    """Make the sizes that ``model`` takes beside its picture ones, in place; whether it takes any.

    They are told by rank and type, with whatever name: a picture [N, 3, H, W] and numbers [N, 2] go in, whole
    numbers [N, K], boxes [N, K, 4] and floats [N, K] come out.
    """
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if sorted(_rank(value) for value in inputs) != [2, 4] or not _gives_a_choice(graph):
        return False
    (sizes,) = [value for value in inputs if _rank(value) == 2]
    if sizes.type.tensor_type.shape.dim[1].dim_value not in (0, 2):
        return False
    dtype = helper.tensor_dtype_to_np_dtype(sizes.type.tensor_type.elem_type)
    graph.initializer.append(numpy_helper.from_array(np.ones((1, 2), dtype), FOLDED))
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == sizes.name:
                node.input[index] = FOLDED
    graph.input.remove(sizes)
    return True


def _rank(value: onnx.ValueInfoProto) -> int:
    return len(value.type.tensor_type.shape.dim)


def _gives_a_choice(graph: onnx.GraphProto) -> bool:
    kinds = sorted((_rank(value), value.type.tensor_type.elem_type in FLOATS) for value in graph.output)
    return kinds == [(2, False), (2, True), (3, True)]
