"""The first nodes of every graph: from the pixels a camera gives to the tensor the network was trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgedet.card import InputSpec
from edgedet.export.graph import GraphBuilder


def add_image_input(graph: GraphBuilder, spec: InputSpec) -> str:
    """Declare the input ``spec`` describes and normalise it; returns float32 [N, 3, H, W] in ``spec.colour`` order.

    ``(pixel * scale - mean) / std`` becomes one multiplication and one addition. The change of colour order is
    left to the first convolution (:func:`edgedet.export.torch_graph.swap_colours`).
    """
    image = graph.input(spec.name, spec.dtype, (spec.batch, spec.height, spec.width, 3))
    if spec.dtype == "uint8":
        image = graph.op("Cast", image, name="input/float", to=1)
    image = graph.op("Transpose", image, name="input/nchw", perm=[0, 3, 1, 2])
    mean, std = np.array(spec.mean, np.float64), np.array(spec.std, np.float64)
    factor, offset = spec.scale / std, -mean / std
    if spec.colour != spec.trained_colour:
        factor, offset = factor[::-1], offset[::-1]
    if not np.allclose(factor, 1):
        image = graph.op("Mul", image, graph.constant(_per_channel(factor)), name="input/scale")
    if not np.allclose(offset, 0):
        image = graph.op("Add", image, graph.constant(_per_channel(offset)), name="input/shift")
    return image


def _per_channel(array: NDArray[np.float64]) -> NDArray[np.float64]:
    return array[:1].reshape(()) if np.ptp(array) == 0 else array.reshape(3, 1, 1)
