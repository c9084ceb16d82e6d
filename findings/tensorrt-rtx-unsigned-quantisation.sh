#!/usr/bin/env bash
# TensorRT-RTX's ONNX parser on QuantizeLinear to uint8 with a zero point of 0, as for what a ReLU leaves.
# Versions: tensorrt-rtx-cu13 (libs, bindings) 1.7.1.116, onnx 1.23.2, onnxruntime 1.30.0, numpy 2.4.6. No GPU, no driver.
# Guess: a uint8 zero point is either refused, as one of 128 is ("Non-zero zero point is not supported"), or quantises
#        to 0 ... 255, as ONNX says and ONNX Runtime does.
# Real:  it is parsed, without an error, into a layer that gives INT8, and the engine is built. The scale stays: what
#        was to become 128 ... 255 is beyond the type's 127, so that half of the range is cut off. An output that the
#        file declares uint8 is INT8 in the network. A warning in the log is all there is.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116 \
    onnx==1.23.2 onnxruntime==1.30.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import tensorrt_rtx_libs  # noqa: F401, I001 (it loads what the bindings are linked to)
import tensorrt_rtx_bindings as trt
from onnx import TensorProto, helper, numpy_helper

logger = trt.Logger(trt.Logger.WARNING)
builder = trt.Builder(logger)


def quantised(zero_point):
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["positive"], "relu"),
            helper.make_node("QuantizeLinear", ["positive", "scale", "zero"], ["y"], "quantise"),
        ],
        "quantised",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [3])],
        [
            numpy_helper.from_array(np.array(0.1, np.float32), "scale"),
            numpy_helper.from_array(np.array(zero_point, np.uint8), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def parsed(content):
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    accepted = parser.parse(content)
    return accepted, network, [parser.get_error(index).desc() for index in range(parser.num_errors)]


values = np.array([1, 12.7, 20], np.float32)
session = onnxruntime.InferenceSession(quantised(0), providers=["CPUExecutionProvider"])
(expected,) = session.run(None, {"x": values})
print("ONNX Runtime:", values, "->", expected, expected.dtype)
assert expected.dtype == np.uint8 and expected.tolist() == [10, 127, 200]

accepted, network, errors = parsed(quantised(128))
print("zero point 128: parsed", accepted, errors)
assert not accepted

accepted, network, errors = parsed(quantised(0))
output = network.get_output(0)
print("zero point 0: parsed", accepted, errors, "output", output.name, output.dtype)
assert accepted and not errors and output.dtype == trt.DataType.INT8
plan = builder.build_serialized_network(network, builder.create_builder_config())
print("engine:", plan.nbytes, "bytes")
assert plan.nbytes > 0
PYTHON
