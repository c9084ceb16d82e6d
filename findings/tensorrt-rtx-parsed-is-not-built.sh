#!/usr/bin/env bash
# TensorRT-RTX's ONNX parser and builder on graphs that hold a standard NonMaxSuppression, and on a TopK.
# Versions: tensorrt-rtx-cu13 (libs, bindings) 1.7.1.116, onnx 1.23.2, numpy 2.4.6. No GPU, no driver.
# Guess: a standard operator that the parser takes, and IParser.supports_model_v2() calls supported, can be built:
#        NVIDIA's operator reference for the library (1.0) has a page "NMS".
# Real:  NonMaxSuppression, alone in a graph with constant thresholds, is parsed and called supported, and the builder
#        then has "no runners that implement it". TopK of 3,841 is parsed as well and refused by the builder; of 3,840
#        it is built. So a parser's yes says nothing about an engine: build it.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116 \
    onnx==1.23.2 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import numpy as np
import onnx
import tensorrt_rtx_libs  # noqa: F401, I001 (it loads what the bindings are linked to)
import tensorrt_rtx_bindings as trt
from onnx import TensorProto, helper, numpy_helper


class Log(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.errors = []

    def log(self, severity, message):
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self.errors.append(message)


log = Log()
builder = trt.Builder(log)


def tried(name, node, inputs, outputs, constants):
    """Whether the parser took it, whether it says it is supported, and the size of its engine (0: not built)."""
    graph = helper.make_graph(
        [node],
        name,
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in inputs.items()],
        [helper.make_tensor_value_info(key, kind, shape) for key, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    log.errors.clear()
    content = model.SerializeToString()
    empty, network = builder.create_network(0), builder.create_network(0)
    supported = trt.OnnxParser(empty, log).supports_model_v2(content)
    parser = trt.OnnxParser(network, log)
    accepted = parser.parse(content)
    plan = builder.build_serialized_network(network, builder.create_builder_config()) if accepted else None
    size = 0 if plan is None else plan.nbytes
    print(f"{name}: supported {supported}, parsed {accepted}, engine {size} bytes")
    for said in log.errors[:1]:
        print("   ", said[:200])
    return supported, accepted, size, " ".join(log.errors)


def best(k):
    """Of 5,000 numbers."""
    return tried(
        f"TopK of {k}",
        helper.make_node("TopK", ["x", "k"], ["values", "places"], "best", axis=1),
        {"x": (1, 5000)},
        {"values": (TensorProto.FLOAT, (1, k)), "places": (TensorProto.INT64, (1, k))},
        {"k": np.array([k], np.int64)},
    )


supported, accepted, size, said = tried(
    "NonMaxSuppression",
    helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "score"], ["kept"], "nms"),
    {"boxes": (1, 10, 4), "scores": (1, 2, 10)},
    {"kept": (TensorProto.INT64, ("n", 3))},
    {"most": np.array([5], np.int64), "iou": np.array([0.5], np.float32), "score": np.array([0.1], np.float32)},
)
assert supported and accepted and size == 0 and "no runners" in said
supported, accepted, size, said = best(3841)
assert supported and accepted and size == 0
supported, accepted, size, said = best(3840)
assert supported and accepted and size > 0
PYTHON
