"""The smallest segmenter, written by hand: a pixel is of the colour that is bright there, else background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedet.artifacts.card import METADATA_KEY, InputSpec, ModelCard, OutputSpec, Precision, ResizeRule
from edgedet.onnx_graph.builder import OPSET

NAMES = ("background", "blue", "green", "red")
STRIDE = 4
LEVEL = 127.0
"""Brightness from which a colour is one."""


def card(height: int = 64, width: int = 64, *, batch: int = 1, precision: Precision = "fp32") -> ModelCard:
    """Its card: frames are letterboxed, top left."""
    return ModelCard(
        family="fcn",
        architecture="colours",
        names=NAMES,
        input=InputSpec(height, width, batch=batch),
        resize=ResizeRule("letterbox"),
        output=OutputSpec("class_logits", score_threshold=0.0, iou_threshold=0.0, max_detections=1),
        precision=precision,
    )


def colour_segmenter(described: ModelCard, *, faint: float = 1.0) -> onnx.ModelProto:
    """The graph, with its card. ``faint``: what the colours' scores are multiplied by."""
    spec = described.input
    weight = np.zeros((len(NAMES), 3, 1, 1), np.float32)
    weight[1:, :, 0, 0] = np.eye(3) * faint
    bias = np.array([LEVEL, 0, 0, 0], np.float32)
    shape = [spec.batch, len(NAMES), spec.height // STRIDE, spec.width // STRIDE]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("AveragePool", ["planes"], ["means"], kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2),
            helper.make_node("Conv", ["means", "weight", "bias"], ["logits"], name="score"),
        ],
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [spec.batch, spec.height, spec.width, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: described.to_json()})
    return model


def save_segmenter(path: Path, described: ModelCard | None = None, *, faint: float = 1.0) -> ModelCard:
    """Write the graph; returns its card."""
    described = described or card()
    onnx.save(colour_segmenter(described, faint=faint), str(path))
    return described
