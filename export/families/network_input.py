"""A network put behind a camera's pixels: what it was trained on goes into its first convolution."""

from __future__ import annotations

from typing import Any, Literal

import onnx

from edgedet.artifacts.card import InputSpec
from edgedet.errors import ExportError
from edgedet.onnx_graph.builder import GraphBuilder

from ..foreign import ForeignGraph
from .base import GraphOptions
from .first_convolution import scale_first_convolution, swap_colours
from .image_input import add_image_input, pixel_factor

Triple = tuple[float, float, float]
"""A number for each colour, in the order of training."""


def picture_spec(
    foreign: ForeignGraph,
    options: GraphOptions,
    mean: Triple = (0.0, 0.0, 0.0),
    std: Triple = (1.0, 1.0, 1.0),
    *,
    scale: float = 1 / 255,
    trained_colour: Literal["RGB", "BGR"] = "RGB",
    dtype: Literal["uint8", "float32"] = "uint8",
) -> InputSpec:
    """The input of a graph of ours: what its family does to pixels, unless the file did that itself."""
    arithmetic: dict[str, Any] = {"scale": scale, "mean": mean, "std": std}
    return InputSpec(
        height=foreign.height,
        width=foreign.width,
        batch=foreign.batch,
        dtype=options.input_dtype or dtype,
        trained_colour=trained_colour,
        **(foreign.pixel_settings or arithmetic),
    )


def add_network(graph: GraphBuilder, network: onnx.ModelProto, spec: InputSpec) -> tuple[str, ...]:
    """Declare the input ``spec`` and put ``network`` behind it; returns its outputs.

    ``network``: one normalised image [N, 3, H, W] in ``spec.trained_colour`` order in; left as it is. Networks that
    begin otherwise than by one convolution (space to depth by slices, a normalisation of their own) get factor and
    colour order as nodes.
    """
    copied = onnx.ModelProto()
    copied.CopyFrom(network)
    network = copied
    try:
        if spec.colour != spec.trained_colour:
            swap_colours(network)
        scale_first_convolution(network, pixel_factor(spec))
        image = add_image_input(graph, spec)
    except ExportError:
        image = add_image_input(graph, spec)
        factor = pixel_factor(spec)
        if not (factor == 1).all():
            # One number where one will do: it is folded, and quantised, as such.
            constant = factor[:1].reshape(()) if (factor == factor[0]).all() else factor.reshape(3, 1, 1)
            image = graph.op("Mul", image, graph.constant(constant), name="input/scale")
        if spec.colour != spec.trained_colour:
            image = graph.op("Gather", image, graph.ints(2, 1, 0), name="input/colours", axis=1)
    return graph.inline(network, {network.graph.input[0].name: image}, prefix="network")
