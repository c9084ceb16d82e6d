#!/usr/bin/env bash
# onnx.shape_inference with data_prop=True on a graph that gathers from a flattened picture.
# Versions: onnx 1.23.2, numpy 2.4.6.
# Guess: data propagation follows small integer tensors, which may be shapes; a float tensor of 16 million values,
#        flattened to one axis and gathered from, costs what any other operator costs.
# Real:  every vector is taken for a shape, whatever its type and length: a dimension object is made for each of its
#        values, which takes seconds and gigabytes. The same Gather from a tensor of shape [1, 16 million] is free.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet onnx==1.23.2 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import resource
import time

import numpy as np
from onnx import TensorProto, helper, numpy_helper, shape_inference

VALUES = 16_000_000


def inference(shape):
    """Seconds, and how much the memory's peak grew, in MB."""
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["picture"], ["bright"]),
            helper.make_node("Reshape", ["bright", "shape"], ["flat"]),
            helper.make_node("Gather", ["flat", "places"], ["some"], axis=len(shape) - 1),
        ],
        "gather",
        [
            helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, VALUES]),
            helper.make_tensor_value_info("places", TensorProto.INT64, [16]),
        ],
        [helper.make_tensor_value_info("some", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(shape), "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.monotonic()
    shape_inference.infer_shapes(model, data_prop=True)
    seconds = time.monotonic() - begun
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"gathered from {shape}: {seconds:.2f} s, {megabytes:.0f} MB")
    return seconds, megabytes


matrix = inference([1, -1])
vector = inference([-1])
assert matrix[0] < 0.5 and matrix[1] < 50
assert vector[0] > 5 * matrix[0] and vector[1] > 500
PYTHON
