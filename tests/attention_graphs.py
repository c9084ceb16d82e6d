"""Small graphs with one structure of a transformer each, over an image ``images`` [1, 3, 8, 8]."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


class Sketch:
    """A graph that grows node by node; every node is named as its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self._random = np.random.default_rng(0)

    def node(self, kind: str, name: str, *inputs: str | np.ndarray | float, **settings: Any) -> str:
        """Add a node; numbers and arrays among its inputs become constants."""
        names = []
        for place, value in enumerate(inputs):
            if isinstance(value, str):
                names.append(value)
                continue
            array = np.asarray(value, np.float32) if isinstance(value, float) else np.asarray(value)
            self.constants[f"{name}.{place}"] = array
            names.append(f"{name}.{place}")
        self.nodes.append(helper.make_node(kind, names, [name], name, **settings))
        return name

    def linear(self, name: str, source: str, width_in: int, width_out: int) -> str:
        """A product with a constant matrix (node ``name``) and its bias (``name_bias``)."""
        self.node("MatMul", name, source, self.random(width_in, width_out))
        return self.node("Add", f"{name}_bias", self.random(width_out), name)

    def conv(self, name: str, source: str, channels_in: int, channels_out: int) -> str:
        """A 1x1 convolution."""
        return self.node("Conv", name, source, self.random(channels_out, channels_in, 1, 1))

    def random(self, *shape: int) -> np.ndarray:
        """Weights."""
        return (self._random.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)

    def tokens(self, width: int = 8) -> str:
        """The image's places as a sequence: [1, 64, width]."""
        self.conv("patches", "images", 3, width)
        self.node("Reshape", "flat", "patches", np.array([1, width, 64]))
        return self.node("Transpose", "tokens", "flat", perm=[0, 2, 1])

    def model(self, *outputs: str) -> onnx.ModelProto:
        """The whole graph; shapes are inferred."""
        graph = helper.make_graph(
            self.nodes,
            "sketch",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def encoder() -> onnx.ModelProto:
    """Self-attention with a mask, a residual, LayerNorm, GELU between two layers, and scores."""
    sketch = Sketch()
    tokens = sketch.tokens()
    q = sketch.linear("q", tokens, 8, 8)
    k = sketch.linear("k", tokens, 8, 8)
    v = sketch.linear("v", tokens, 8, 8)
    sketch.node("Transpose", "k_columns", k, perm=[0, 2, 1])
    sketch.node("MatMul", "products", q, "k_columns")
    sketch.node("Mul", "scaled", "products", 0.35)
    sketch.node("Add", "masked", "scaled", np.zeros((64, 64), np.float32))
    sketch.node("Softmax", "map", "masked", axis=-1)
    sketch.node("MatMul", "mixed", "map", v)
    o = sketch.linear("o", "mixed", 8, 8)
    sketch.node("Add", "residual", tokens, o)
    sketch.node("LayerNormalization", "norm", "residual", np.ones(8, np.float32), np.zeros(8, np.float32))
    wide = sketch.linear("wide", "norm", 8, 16)
    sketch.node("Div", "gelu_in", wide, 1.4142135)
    sketch.node("Erf", "gelu_erf", "gelu_in")
    sketch.node("Add", "gelu_plus", "gelu_erf", 1.0)
    sketch.node("Mul", "gelu_times", wide, "gelu_plus")
    sketch.node("Mul", "gelu", "gelu_times", 0.5)
    narrow = sketch.linear("narrow", "gelu", 16, 8)
    sketch.node("Add", "second_residual", "norm", narrow)
    classes = sketch.linear("classes", "second_residual", 8, 4)
    sketch.node("Softmax", "scores", classes, axis=-1)
    return sketch.model("scores")


def decoder() -> onnx.ModelProto:
    """Two learned queries: their places, an embedding of those, sampled features, and boxes near the places."""
    sketch = Sketch()
    sketch.conv("features", "images", 3, 8)
    sketch.node("GlobalAveragePool", "pooled", "features")
    sketch.node("Reshape", "summary", "pooled", np.array([1, 1, 8]))
    sketch.node("Add", "queries", "summary", sketch.random(1, 2, 8))
    reference = sketch.linear("reference", "queries", 8, 2)
    sketch.node("Sigmoid", "place", reference)
    position = sketch.linear("position", "place", 2, 8)
    sketch.node("Relu", "position_relu", position)
    embedding = sketch.linear("embedding", "position_relu", 8, 8)
    sketch.node("Mul", "angle", "place", 6.2831853)
    sketch.node("Sin", "sine", "angle")
    sketch.node("Cos", "cosine", "angle")
    sketch.node("Concat", "waves", "sine", "cosine", axis=-1)
    waves = sketch.linear("wave_embedding", "waves", 4, 8)
    sketch.node("Add", "embedded", "queries", embedding)
    sketch.node("Add", "asking", "embedded", waves)
    offsets = sketch.linear("offsets", "asking", 8, 6)
    sketch.node("Reshape", "offset_points", offsets, np.array([1, 2, 3, 2]))
    sketch.node("Unsqueeze", "place_points", "place", np.array([2]))
    sketch.node("Add", "points", "offset_points", "place_points")
    sketch.conv("values", "features", 8, 8)
    sketch.node("GridSample", "sampled", "values", "points")
    weights = sketch.linear("weights", "asking", 8, 3)
    sketch.node("Softmax", "point_weights", weights, axis=-1)
    sketch.node("Unsqueeze", "point_weights_wide", "point_weights", np.array([1]))
    sketch.node("Mul", "weighed", "sampled", "point_weights_wide")
    sketch.node("ReduceSum", "summed", "weighed", np.array([-1]), keepdims=0)
    sketch.node("Transpose", "found", "summed", perm=[0, 2, 1])
    found = sketch.linear("output", "found", 8, 8)
    delta = sketch.linear("delta", found, 8, 2)
    sketch.node("Add", "moved", delta, reference)
    sketch.node("Sigmoid", "centres", "moved")
    return sketch.model("centres")


def spelled_norm(epsilon: float = 1e-6) -> onnx.ModelProto:
    """LayerNorm in single operators between two layers."""
    sketch = Sketch()
    first = sketch.linear("first", sketch.tokens(), 8, 8)
    sketch.node("ReduceMean", "mean", first, axes=[-1])
    sketch.node("Sub", "centred", first, "mean")
    sketch.node("Pow", "squares", "centred", 2.0)
    sketch.node("ReduceMean", "variance", "squares", axes=[-1])
    sketch.node("Add", "steadied", "variance", epsilon)
    sketch.node("Sqrt", "deviation", "steadied")
    sketch.node("Div", "quotient", "centred", "deviation")
    sketch.node("Mul", "stretched", "quotient", np.full(8, 1.5, np.float32))
    sketch.linear("second", "stretched", 8, 4)
    return sketch.model("second_bias")


def box_bins() -> onnx.ModelProto:
    """The edge of a box as D-FINE reads it: a Softmax over bins times their constant distances."""
    sketch = Sketch()
    edges = sketch.linear("edges", sketch.tokens(), 8, 16)
    sketch.node("Reshape", "bins", edges, np.array([1, 256, 4]))
    sketch.node("Softmax", "shares", "bins", axis=-1)
    sketch.node("MatMul", "distances", "shares", np.arange(4, dtype=np.float32).reshape(4, 1))
    sketch.node("Reshape", "boxes", "distances", np.array([1, 64, 4]))
    return sketch.model("boxes")


def learned_values() -> onnx.ModelProto:
    """Attention of queries that the image only aims: what they take is constant, as in RF-DETR's first layer."""
    sketch = Sketch()
    tokens = sketch.tokens()
    q, k = sketch.linear("q", tokens, 8, 8), sketch.linear("k", tokens, 8, 8)
    sketch.node("Transpose", "k_columns", k, perm=[0, 2, 1])
    sketch.node("MatMul", "products", q, "k_columns")
    sketch.node("Softmax", "map", "products", axis=-1)
    sketch.node("MatMul", "mixed", "map", sketch.random(1, 64, 8))
    o = sketch.linear("o", "mixed", 8, 8)
    sketch.linear("head", sketch.node("Relu", "relu", o), 8, 4)
    return sketch.model("head_bias")


def area_attention() -> onnx.ModelProto:
    """YOLO12's block (one convolution for query, key and value, a depthwise one beside the core), then DFL."""
    sketch = Sketch()
    sketch.conv("stem", "images", 3, 8)
    sketch.conv("qkv", "stem", 8, 24)
    sketch.node("Reshape", "heads", "qkv", np.array([1, 2, 12, 64]))
    sketch.nodes.append(
        helper.make_node("Split", ["heads", "thirds"], ["q", "k", "v"], "split", axis=2)
    )  # fmt: skip
    sketch.constants["thirds"] = np.array([4, 4, 4])
    sketch.node("Transpose", "q_rows", "q", perm=[0, 1, 3, 2])
    sketch.node("MatMul", "products", "q_rows", "k")
    sketch.node("Mul", "scaled", "products", 0.5)
    sketch.node("Softmax", "map", "scaled", axis=-1)
    sketch.node("Transpose", "map_columns", "map", perm=[0, 1, 3, 2])
    sketch.node("MatMul", "mixed", "v", "map_columns")
    sketch.node("Reshape", "mixed_image", "mixed", np.array([1, 8, 8, 8]))
    sketch.node("Reshape", "v_image", "v", np.array([1, 8, 8, 8]))
    sketch.node("Conv", "peep", "v_image", sketch.random(8, 1, 3, 3), group=8, pads=[1, 1, 1, 1])
    sketch.node("Add", "seen", "mixed_image", "peep")
    sketch.conv("proj", "seen", 8, 8)
    sketch.node("Add", "residual", "stem", "proj")
    sketch.conv("edges", "residual", 8, 16)
    sketch.node("Reshape", "bins", "edges", np.array([1, 4, 4, 64]))
    sketch.node("Transpose", "bins_first", "bins", perm=[0, 2, 1, 3])
    sketch.node("Softmax", "shares", "bins_first", axis=1)
    sketch.node("Conv", "distances", "shares", np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1))
    return sketch.model("distances")
