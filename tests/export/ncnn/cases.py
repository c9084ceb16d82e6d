"""Small graphs, one operator each in the forms that detectors have it in, which ncnn must give as ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HEIGHT, WIDTH = 6, 8
Array = np.ndarray[Any, Any]


@dataclass
class Graph:
    """A graph in the making: ``images`` float32 [1, 3, 6, 8] in, ``boxes`` out."""

    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """A constant; a shape as a tuple gives numbers at random."""
        array = self.random.normal(0, 1, value) if isinstance(value, tuple) else np.array(value)
        self.constants.append(numpy_helper.from_array(array.astype(dtype), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def ints(self, *values: int) -> str:
        """An int64 vector."""
        return self.constant(list(values), np.int64)

    def op(self, kind: str, *inputs: str, outputs: int = 1, **settings: Any) -> Any:
        """A node; its output's name, or several."""
        names = [f"t{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, f"{kind}{len(self.nodes)}", **settings))
        return names[0] if outputs == 1 else names

    def model(self, last: str, opset: int = 17) -> onnx.ModelProto:
        """The whole, with its shapes."""
        nodes = [*self.nodes, helper.make_node("Identity", [last], ["boxes"], "last")]
        graph = helper.make_graph(
            nodes,
            "case",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
            [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, None)],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


Case = Callable[[Graph], str]
CASES: dict[str, Case] = {}


def conv(graph: Graph, source: str, shape: tuple[int, ...], *, bias: bool = True, **settings: Any) -> str:
    """A convolution with weights at random."""
    words = [source, graph.constant(shape)] + ([graph.constant((shape[0],))] if bias else [])
    made: str = graph.op("Conv", *words, **settings)
    return made


CASES |= {
    "conv": lambda g: conv(g, "images", (5, 3, 3, 3), pads=[1, 1, 1, 1]),
    "conv without bias": lambda g: conv(g, "images", (4, 3, 3, 3), bias=False, strides=[2, 2]),
    "conv of two kinds": lambda g: conv(
        g, "images", (4, 3, 1, 3), pads=[0, 1, 1, 2], strides=[2, 1], dilations=[1, 2]
    ),
    "conv in groups": lambda g: conv(g, conv(g, "images", (8, 3, 1, 1)), (6, 4, 3, 3), group=2, pads=[1] * 4),
    "depthwise": lambda g: conv(g, "images", (3, 1, 3, 3), group=3, pads=[1] * 4, strides=[2, 2]),
    "transposed": lambda g: g.op(
        "ConvTranspose", "images", g.constant((3, 5, 2, 2)), g.constant((5,)), strides=[2, 2]
    ),
    "transposed in groups": lambda g: g.op(
        "ConvTranspose",
        conv(g, "images", (4, 3, 1, 1)),
        g.constant((4, 3, 3, 3)),
        group=2,
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        output_padding=[1, 1],
    ),
    "fused relu": lambda g: g.op("Relu", conv(g, "images", (4, 3, 3, 3))),
    "fused leaky": lambda g: g.op("LeakyRelu", conv(g, "images", (4, 3, 3, 3)), alpha=0.1),
    "fused clip": lambda g: g.op("Clip", conv(g, "images", (4, 3, 3, 3)), g.constant(0.0), g.constant(0.6)),
    "fused hard swish": lambda g: g.op("HardSwish", conv(g, "images", (4, 3, 3, 3))),
    "fused depthwise": lambda g: g.op("Relu", conv(g, "images", (3, 1, 3, 3), group=3)),
}


@(lambda case: CASES.setdefault("not fused where both are read", case))
def both_read(graph: Graph) -> str:
    made = conv(graph, "images", (4, 3, 3, 3))
    joined: str = graph.op("Concat", made, graph.op("Relu", made), axis=1)
    return joined


@(lambda case: CASES.setdefault("squeeze and excite", case))
def squeeze(graph: Graph) -> str:
    wide = conv(graph, "images", (8, 3, 1, 1))
    mean = graph.op("GlobalAveragePool", wide)
    small = graph.op("Relu", conv(graph, mean, (4, 8, 1, 1)))
    gate = graph.op("HardSigmoid", conv(graph, small, (8, 4, 1, 1)), alpha=1 / 6)
    made: str = graph.op("Mul", gate, wide)
    return made


@(lambda case: CASES.setdefault("focus", case))
def focus(graph: Graph) -> str:
    parts = []
    for row, column in ((0, 0), (1, 0), (0, 1), (1, 1)):
        rows = graph.op("Slice", "images", graph.ints(row), graph.ints(2**62), graph.ints(2), graph.ints(2))
        parts.append(graph.op("Slice", rows, graph.ints(column), graph.ints(WIDTH), graph.ints(3), graph.ints(2)))
    return conv(graph, graph.op("Concat", *parts, axis=1), (5, 12, 3, 3), pads=[1] * 4)


@(lambda case: CASES.setdefault("normalisation by an expanded length", case))
def expanded(graph: Graph) -> str:
    length = graph.op("ReduceL2", "images", axes=[1], keepdims=1)
    made: str = graph.op("Div", "images", graph.op("Expand", length, graph.ints(1, 3, HEIGHT, WIDTH)))
    return made


CASES |= {
    "max pool": lambda g: g.op("MaxPool", "images", kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]),
    "max pool beyond the edge": lambda g: g.op(
        "MaxPool", "images", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1
    ),
    "max pool with room to spare": lambda g: g.op("MaxPool", "images", kernel_shape=[3, 3], strides=[2, 2]),
    "max pool of negative numbers": lambda g: g.op(
        "MaxPool", g.op("Sub", "images", g.constant(9.0)), kernel_shape=[3, 3], pads=[1] * 4
    ),
    "mean pool": lambda g: g.op("AveragePool", "images", kernel_shape=[2, 2], strides=[2, 2]),
    "mean pool of what is there": lambda g: g.op("AveragePool", "images", kernel_shape=[3, 3], pads=[1] * 4),
    "mean pool with its border": lambda g: g.op(
        "AveragePool", "images", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1
    ),
    "global mean": lambda g: g.op("GlobalAveragePool", "images"),
    "global maximum": lambda g: g.op("GlobalMaxPool", "images"),
    "space to depth": lambda g: g.op("SpaceToDepth", "images", blocksize=2),
    "pad": lambda g: g.op("Pad", "images", g.ints(0, 0, 1, 2, 0, 0, 3, 0), g.constant(0.5)),
    "pad by the edge": lambda g: g.op("Pad", "images", g.ints(0, 0, 1, 2, 0, 0, 3, 1), mode="edge"),
    "pad by reflection": lambda g: g.op("Pad", "images", g.ints(0, 0, 1, 2, 0, 0, 3, 1), mode="reflect"),
}
for mode, places, rounding, factor in (
    ("nearest", "asymmetric", "floor", 2),
    ("nearest", "half_pixel", "round_prefer_floor", 2),
    ("nearest", "half_pixel", "round_prefer_ceil", 3),
    ("linear", "half_pixel", "floor", 2),
    ("linear", "pytorch_half_pixel", "floor", 1.5),
    ("linear", "align_corners", "floor", 2),
):
    CASES[f"resize {mode} {places} by {factor}"] = (
        lambda g, mode=mode, places=places, rounding=rounding, factor=factor: g.op(
            "Resize",
            "images",
            "",
            g.constant([1, 1, factor, factor]),
            mode=mode,
            coordinate_transformation_mode=places,
            nearest_mode=rounding,
        )
    )
for kind in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
    CASES |= {
        f"{kind} with a number": lambda g, kind=kind: g.op(kind, "images", g.constant(1.7)),
        f"{kind} of a number": lambda g, kind=kind: g.op(kind, g.constant([[1.7]]), "images"),
        f"{kind} with a column": lambda g, kind=kind: g.op(kind, "images", g.constant((3, 1, 1))),
        f"{kind} with a row": lambda g, kind=kind: g.op(kind, "images", g.constant((WIDTH,))),
        f"{kind} with rows": lambda g, kind=kind: g.op(kind, g.constant((1, 1, HEIGHT, 1)), "images"),
        f"{kind} of two": lambda g, kind=kind: g.op(
            kind, conv(g, "images", (1, 3, 1, 1)), g.op("Sigmoid", "images")
        ),
    }
# Where ncnn spreads fewer axes by itself, a row of as many numbers as there are channels is a column to it.
CASES["a row as long as there are channels"] = lambda g: g.op(
    "Add", g.op("Reshape", "images", g.ints(1, 3, 16, 3)), g.constant((3,))
)
CASES["Pow with a number"] = lambda g: g.op("Pow", g.op("Sigmoid", "images"), g.constant(1.5))
CASES["Pow of a number"] = lambda g: g.op("Pow", g.constant(1.5), "images")
CASES["a larger constant"] = lambda g: g.op(
    "Mul", g.op("ReduceMean", "images", axes=[2, 3], keepdims=1), g.constant([[[[1, 1], [1, 1]]]])
)
for kind in ("Abs", "Neg", "Floor", "Ceil", "Exp", "Tanh", "Sigmoid", "Softplus", "Erf", "HardSwish", "Relu"):
    CASES[kind] = lambda g, kind=kind: g.op(kind, "images")
for kind in ("Sqrt", "Log", "Reciprocal"):
    CASES[kind] = lambda g, kind=kind: g.op(kind, g.op("Sigmoid", "images"))
CASES |= {
    "swish": lambda g: g.op("Mul", "images", g.op("Sigmoid", "images")),
    "gate of another": lambda g: g.op("Mul", "images", g.op("Sigmoid", g.op("Neg", "images"))),
    "mish": lambda g: g.op("Mul", g.op("Tanh", g.op("Softplus", "images")), "images"),
    "hard sigmoid": lambda g: g.op("HardSigmoid", "images", alpha=0.3, beta=0.4),
    "clip from below": lambda g: g.op("Clip", "images", g.constant(0.1)),
    "clip from above": lambda g: g.op("Clip", "images", "", g.constant(0.1)),
    "leaky": lambda g: g.op("LeakyRelu", "images", alpha=0.25),
    "elu": lambda g: g.op("Elu", "images", alpha=0.7),
    "prelu": lambda g: g.op("PRelu", "images", g.constant((3, 1, 1))),
    "prelu of one slope": lambda g: g.op("PRelu", "images", g.constant([0.2])),
    **{f"softmax {axis}": lambda g, axis=axis: g.op("Softmax", "images", axis=axis) for axis in (1, 2, 3, -1)},
    "softmax of rows": lambda g: g.op("Softmax", g.op("Reshape", "images", g.ints(1, 3, -1)), axis=2),
    "cast": lambda g: g.op("Cast", "images", to=TensorProto.FLOAT),
}
for kind in ("ReduceMean", "ReduceMax", "ReduceMin"):
    for axes in ([1], [2], [-1], [2, 3], [1, 2, 3]):
        for kept in (0, 1):
            if kept or len(axes) < 3:
                CASES[f"{kind} {axes} {kept}"] = lambda g, kind=kind, axes=axes, kept=kept: g.op(
                    kind, "images", axes=axes, keepdims=kept
                )
CASES["ReduceSum"] = lambda g: g.op("ReduceSum", "images", g.ints(1), keepdims=0)


@(lambda case: CASES.setdefault("attention", case))
def attention(graph: Graph) -> str:
    heads = [graph.op("Reshape", conv(graph, "images", (8, 3, 1, 1)), graph.ints(1, 2, 4, -1)) for _ in range(3)]
    weights = graph.op("MatMul", graph.op("Transpose", heads[0], perm=[0, 1, 3, 2]), heads[1])
    weights = graph.op("Softmax", weights, axis=-1)
    made: str = graph.op("MatMul", heads[2], graph.op("Transpose", weights, perm=[0, 1, 3, 2]))
    return made


CASES["product with a constant"] = lambda g: g.op(
    "MatMul", g.op("Reshape", "images", g.ints(1, 3 * HEIGHT, WIDTH)), g.constant((WIDTH, 5))
)
for order in permutations(range(1, 4)):
    CASES[f"transpose {order}"] = lambda g, order=order: g.op("Transpose", "images", perm=[0, *order])
for order in permutations(range(1, 5)):
    CASES[f"transpose {order}"] = lambda g, order=order: g.op(
        "Transpose", g.op("Reshape", "images", g.ints(1, 3, 2, 3, WIDTH)), perm=[0, *order]
    )
CASES |= {
    "two transposes": lambda g: g.op(
        "Transpose", g.op("Transpose", "images", perm=[0, 2, 3, 1]), perm=[0, 2, 1, 3]
    ),
    "transposes that undo each other": lambda g: g.op(
        "Transpose", g.op("Transpose", "images", perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2]
    ),
    "transpose of ones": lambda g: g.op(
        "Transpose", g.op("ReduceMean", "images", axes=[2], keepdims=1), perm=[0, 2, 1, 3]
    ),
    "reshape": lambda g: g.op("Reshape", "images", g.ints(1, HEIGHT, 3, WIDTH)),
    "flatten": lambda g: g.op("Flatten", "images"),
    "squeeze": lambda g: g.op("Squeeze", g.op("ReduceMean", "images", axes=[2], keepdims=1), g.ints(2)),
    "unsqueeze": lambda g: g.op("Unsqueeze", "images", g.ints(2)),
    **{
        f"concat {axis}": lambda g, axis=axis: g.op("Concat", "images", g.op("Neg", "images"), axis=axis)
        for axis in (1, 2, -1)
    },
    "concat with a constant": lambda g: g.op("Concat", "images", g.constant((1, 2, HEIGHT, WIDTH)), axis=1),
    "split": lambda g: g.op("Neg", g.op("Split", "images", g.ints(1, 4, 3), outputs=3, axis=3)[1]),
    "split alike": lambda g: g.op("Neg", g.op("Split", "images", outputs=3, axis=1)[2]),
    "slice": lambda g: g.op("Slice", "images", g.ints(1, -3), g.ints(5, 2**62), g.ints(2, 3)),
    "slice from the end": lambda g: g.op("Slice", "images", g.ints(-2), g.ints(-1), g.ints(1), g.ints(1)),
    "slice of all": lambda g: g.op("Slice", "images", g.ints(0), g.ints(99), g.ints(2)),
}

REFUSED: dict[str, tuple[Case, str]] = {
    "TopK": (lambda g: g.op("TopK", "images", g.ints(2), outputs=2)[0], "no layers that do TopK"),
    "Gather": (lambda g: g.op("Gather", "images", g.ints(2, 0), axis=1), "no layers that do Gather"),
    "steps": (
        lambda g: g.op("Slice", "images", g.ints(0), g.ints(99), g.ints(2), g.ints(2)),
        r"Slice with steps \[2\]",
    ),
    "images moved": (lambda g: g.op("Transpose", "images", perm=[1, 0, 2, 3]), "(holds one image|of images)"),
    "images joined": (lambda g: g.op("Concat", "images", "images", axis=0), "holds one image"),
    "integers": (
        lambda g: g.op("Cast", g.op("Cast", "images", to=TensorProto.INT32), to=TensorProto.FLOAT),
        "Cast to another type than float",
    ),
    "cubic": (
        lambda g: g.op("Resize", "images", "", g.constant([1, 1, 2, 2]), mode="cubic"),
        "Resize cubic by half_pixel",
    ),
    "a nearest pixel of its own": (
        lambda g: g.op("Resize", "images", "", g.constant([1, 1, 1.5, 1.5])),
        "Resize to the nearest pixel by half_pixel, round_prefer_floor",
    ),
    "means beyond the edge": (
        lambda g: g.op("AveragePool", "images", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        r"windows beyond the edge \(ceil_mode\)",
    ),
    "weights made": (
        lambda g: g.op("Conv", "images", g.op("Relu", "images")),
        "weights that the graph computes",
    ),
    "auto_pad": (lambda g: conv(g, "images", (4, 3, 3, 3), auto_pad="SAME_UPPER"), "Conv with auto_pad"),
    "channels padded": (lambda g: g.op("Pad", "images", g.ints(0, 1, 0, 0, 0, 0, 0, 0)), "Pad constant of"),
    "six axes": (
        lambda g: g.op("Reshape", "images", g.ints(1, 3, 2, 3, 2, 4)),
        r"is \[1, 3, 2, 3, 2, 4\], and ncnn holds one image of at most 4 axes",
    ),
}
