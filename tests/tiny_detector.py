"""A convolutional detector of five layers with random weights: everything calibration meets, in milliseconds.

stem (3x3, stride 2) - SiLU - widen (1x1) - SiLU - spread (3x3 depthwise) - ReLU - narrow (1x1), added to the stem's
output - SiLU - head (1x1): 4 deltas and 2 class logits on a 16 x 16 grid of anchors.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedet.artifacts.card import InputSpec, ModelCard, OutputSpec, ResizeRule

SIDE = 32
CELLS = SIDE // 2
NAMES = ("light", "dark")


def card(*, batch: int = 1) -> ModelCard:
    """The model card of :func:`tiny_detector`."""
    return ModelCard(
        family="yolox",
        architecture="tiny",
        names=NAMES,
        input=InputSpec(SIDE, SIDE, batch),
        resize=ResizeRule("stretch"),
        output=OutputSpec("candidates", score_threshold=0.05, iou_threshold=0.5, max_detections=50),
    )


def frames(count: int, *, seed: int = 0) -> list[np.ndarray]:
    """Prepared inputs uint8 [1, 32, 32, 3]: smooth blobs of light on a dark ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    found = []
    for _ in range(count):
        image = np.full((SIDE, SIDE, 3), 20.0)
        for _ in range(3):
            cy, cx, size = [*rng.uniform(0, SIDE, 2).tolist(), rng.uniform(2, 8)]
            blob = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / size**2)
            image += blob[..., None] * rng.uniform(40, 200, 3)
        found.append(np.clip(image, 0, 255).astype(np.uint8)[None])
    return found


def tiny_detector(*, hostile: str | None = None, opset: int = 17) -> onnx.ModelProto:
    """The graph. ``hostile`` names a layer whose output channel 5 is made 1000 times larger."""
    rng = np.random.default_rng(1)
    constants: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def op(kind: str, *inputs: str, name: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def convolution(name: str, source: str, shape: tuple[int, ...], **attributes: object) -> str:
        weight = rng.normal(0, 1.6 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
        bias = rng.normal(0, 0.1, shape[0]).astype(np.float32)
        if name == "head":
            bias[4:] -= 3  # few anchors are sure of anything, as in a trained detector
        if name == hostile:
            weight[5] *= 1000
            bias[5] *= 1000
        return op(
            "Conv", source, constant(f"{name}.w", weight), constant(f"{name}.b", bias), name=name, **attributes
        )

    def silu(name: str, source: str) -> str:
        return op("Mul", source, op("Sigmoid", source, name=f"{name}_gate"), name=name)

    pixels = op("Cast", "images", name="float", to=TensorProto.FLOAT)
    pixels = op("Mul", pixels, constant("one_255th", np.array(1 / 255, np.float32)), name="normalise")
    pixels = op("Transpose", pixels, name="planar", perm=[0, 3, 1, 2])
    stem = silu("stem_silu", convolution("stem", pixels, (16, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]))
    wide = silu("widen_silu", convolution("widen", stem, (32, 16, 1, 1)))
    far = op("Relu", convolution("spread", wide, (32, 1, 3, 3), group=32, pads=[1, 1, 1, 1]), name="spread_relu")
    sum_ = op("Add", convolution("narrow", far, (16, 32, 1, 1)), stem, name="residual")
    head = convolution("head", silu("residual_silu", sum_), (6, 16, 1, 1))
    rows = op("Transpose", head, name="rows", perm=[0, 2, 3, 1])
    rows = op("Reshape", rows, constant("row_shape", np.array([1, CELLS**2, 6], np.int64)), name="flat")
    nodes.append(
        helper.make_node(
            "Split", [rows, constant("parts", np.array([4, 2], np.int64))], ["d", "l"], "parts_", axis=-1
        )
    )
    nodes.append(helper.make_node("Sigmoid", ["l"], ["scores"], "scores_"))
    centre = (np.stack(np.meshgrid(np.arange(CELLS), np.arange(CELLS)), -1).reshape(-1, 2) + 0.5) * 2
    anchors = np.concatenate([centre - 3, centre + 3], 1)[None].astype(np.float32)
    nodes.append(helper.make_node("Add", ["d", constant("anchors", anchors)], ["boxes"], "boxes_"))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [1, SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, CELLS**2, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CELLS**2, 2]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model
