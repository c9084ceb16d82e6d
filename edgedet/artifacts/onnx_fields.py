"""Field numbers of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), where they are read without
the onnx package."""

from __future__ import annotations

MODEL_PRODUCER, MODEL_GRAPH, MODEL_OPSET, MODEL_METADATA = 2, 7, 8, 14
METADATA_KEY, METADATA_VALUE = 1, 2
OPSET_DOMAIN, OPSET_VERSION = 1, 2
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE_INFO = 1, 5, 11, 12, 13
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OP_TYPE = 1, 2, 3, 4
TENSOR_DATA_TYPE, TENSOR_NAME = 2, 8
VALUE_NAME, VALUE_TYPE = 1, 2
TYPE_TENSOR = 1
TENSOR_TYPE_ELEMENT, TENSOR_TYPE_SHAPE = 1, 2
SHAPE_DIMENSION, DIMENSION_VALUE = 1, 1

ELEMENT_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
}
"""TensorProto.DataType to NumPy's names, those that detectors take or give."""
