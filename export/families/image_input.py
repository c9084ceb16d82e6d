"""The first nodes of every graph: from the pixels a camera gives to the tensor the network was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import InputSpec
from edgedet.onnx_graph.builder import GraphBuilder


def add_image_input(graph: GraphBuilder, spec: InputSpec) -> str:
    """Declare the input ``spec`` describes and centre it; returns float32 [N, 3, H, W] in ``spec.colour`` order.

    Of ``(pixel * scale - mean) / std`` this is the subtraction, in pixel values. The factor, :func:`pixel_factor`,
    and the change of colour order are left to the first convolution, where they cost nothing
    (:mod:`edgedet.export.families.torch_graph`).
    """
    image = graph.input(spec.name, spec.dtype, (spec.batch, spec.height, spec.width, 3))
    if spec.dtype == "uint8":
        image = graph.op("Cast", image, name="input/float", to=1)
    image = graph.op("Transpose", image, name="input/nchw", perm=[0, 3, 1, 2])
    mean = _in_frame_order(spec, spec.mean) / spec.scale
    if not np.allclose(mean, 0):
        middle = mean[:1].reshape(()) if np.ptp(mean) == 0 else mean.reshape(3, 1, 1)
        image = graph.op("Sub", image, graph.constant(middle), name="input/centre")
    return image


def pixel_factor(spec: InputSpec) -> NDArray[np.float64]:
    """What a centred pixel's channels, in ``spec.colour`` order, are multiplied by before the network: [3]."""
    return spec.scale / _in_frame_order(spec, spec.std)


def _in_frame_order(spec: InputSpec, values: Sequence[float]) -> NDArray[np.float64]:
    array = np.array(values, np.float64)
    return array if spec.colour == spec.trained_colour else array[::-1]
