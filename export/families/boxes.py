"""Box arithmetic as ONNX nodes: decoding of regression outputs, clipping, and validity."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgedet.onnx_graph.builder import GraphBuilder

LARGEST_LOG_SCALE = math.log(1000.0 / 16)
"""How far a box may grow in one regression step, as Detectron and torchvision clamp it."""


def split_last(graph: GraphBuilder, tensor: str, parts: int, *, name: str) -> tuple[str, ...]:
    """[..., parts * n] into ``parts`` tensors [..., n]."""
    return graph.ops("Split", tensor, name=name, outputs=parts, axis=-1)


def center_form(anchors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Corners [..., 4] to (centres [..., 2], sizes [..., 2]), rounded as torchvision's decoder does."""
    sizes = anchors[..., 2:] - anchors[..., :2]
    return anchors[..., :2] + np.float32(0.5) * sizes, sizes


def decode_boxes(
    graph: GraphBuilder,
    deltas: str,
    centres: str,
    sizes: str,
    *,
    weights: tuple[float, float, float, float],
    largest: float = LARGEST_LOG_SCALE,
    name: str,
) -> str:
    """Regression outputs to corner boxes (R-CNN parameterisation, arXiv:1311.2524, appendix C).

    ``deltas`` [..., 4] holds dx, dy, dw, dh; ``centres`` and ``sizes`` [..., 2] are those of the reference boxes.
    Returns [..., 4] corners in the reference boxes' pixels. ``weights`` divide the deltas; dw, dh are clamped to
    ``largest``.
    """
    shift, log_scale = split_last(graph, deltas, 2, name=f"{name}/deltas")
    shift = _divided(graph, shift, weights[:2], name=f"{name}/shift")
    log_scale = _divided(graph, log_scale, weights[2:], name=f"{name}/log_scale")
    log_scale = graph.op("Min", log_scale, graph.constant(largest), name=f"{name}/clamp")
    moved = graph.op("Mul", shift, sizes, name=f"{name}/move")
    centre = graph.op("Add", moved, centres, name=f"{name}/centre")
    scale = graph.op("Exp", log_scale, name=f"{name}/scale")
    size = graph.op("Mul", scale, sizes, name=f"{name}/size")
    half = graph.op("Mul", size, graph.constant(0.5), name=f"{name}/half")
    low = graph.op("Sub", centre, half, name=f"{name}/low")
    high = graph.op("Add", centre, half, name=f"{name}/high")
    return graph.op("Concat", low, high, name=f"{name}/corners", axis=-1)


def _divided(graph: GraphBuilder, values: str, by: tuple[float, ...], *, name: str) -> str:
    """``values`` [..., 2] over ``by``, where that is not 1; one number where both are the same."""
    if all(each == 1 for each in by):
        return values
    divisor = by[0] if by[0] == by[1] else np.array(by, np.float32)
    return graph.op("Div", values, graph.constant(divisor), name=name)


def clip_boxes(graph: GraphBuilder, boxes: str, *, height: int, width: int, name: str) -> str:
    """Corners [..., 4] into [0, width] x [0, height]."""
    limit = graph.constant(np.array([width, height, width, height], np.float32))
    inside = graph.op("Relu", boxes, name=f"{name}/positive")
    return graph.op("Min", inside, limit, name=f"{name}/inside")


def shortest_box_side(graph: GraphBuilder, boxes: str, *, name: str) -> str:
    """[..., 4] corners to [..., 1], the smaller of width and height."""
    low, high = split_last(graph, boxes, 2, name=f"{name}/corners")
    sides = graph.op("Sub", high, low, name=f"{name}/sides")
    return graph.op("ReduceMin", sides, name=f"{name}/shortest", axes=[-1], keepdims=1)


def box_columns(graph: GraphBuilder, boxes: str, *, name: str) -> tuple[str, ...]:
    """[..., 4] corners to four tensors [..., 1]."""
    return split_last(graph, boxes, 4, name=name)
