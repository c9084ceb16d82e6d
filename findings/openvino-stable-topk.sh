#!/usr/bin/env bash
# OpenVINO's CPU plugin on TopK: ties, and what its attribute for them costs.
# Versions: openvino 2026.4.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Guess: an ONNX TopK read by OpenVINO takes the lower index of two equal values, as ONNX's text has it; and the attribute
#        `stable` of OpenVINO's own operator costs little more than sorting does.
# Real:  the reader leaves `stable` at False, so that most indices among equal values are others than ONNX Runtime's. Set
#        to True on the model that was read, all indices agree, and the run takes as long as the product of both lengths:
#        best 300 of 283,920 values (a one-stage detector's scores) some hundred times as long, a third of a second and more.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
ORT_DISABLE_TELEMETRY=1 venv/bin/python - <<'PYTHON'
import time

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

COUNT, BEST = 283_920, 300
graph = helper.make_graph(
    [helper.make_node("TopK", ["x", "k"], ["values", "indices"], axis=1)],
    "best",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, COUNT])],
    [
        helper.make_tensor_value_info("values", TensorProto.FLOAT, [1, BEST]),
        helper.make_tensor_value_info("indices", TensorProto.INT64, [1, BEST]),
    ],
    [numpy_helper.from_array(np.array([BEST], np.int64), "k")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model, full_check=True)
content = model.SerializeToString()
scores = np.random.default_rng(0).integers(0, 1000, (1, COUNT)).astype(np.float32)

session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
_, expected = session.run(None, {"x": scores})
assert (expected[0] == np.argsort(-scores[0], kind="stable")[:BEST]).all(), "ONNX Runtime takes the lower index"


def run(stable):
    read = openvino.Core().read_model(content)
    (node,) = [node for node in read.get_ops() if node.get_type_name() == "TopK"]
    assert node.get_attributes()["stable"] is False
    node.set_attribute("stable", stable)
    request = openvino.Core().compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        found = request.infer([scores])
        times.append(time.perf_counter() - begin)
    indices = next(value for port, value in found.items() if port.get_any_name() == "indices")
    return float((indices != expected).mean()), min(times)


(others, plain), (left, stable) = run(False), run(True)
print(f"as read: {others:.0%} of the indices are others than ONNX Runtime's, {plain * 1e3:.2f} ms")
print(f"stable: {left:.0%} are, {stable * 1e3:.0f} ms, {stable / plain:.0f} times as long")
assert others > 0.5 and left == 0
assert stable > 30 * plain
PYTHON
