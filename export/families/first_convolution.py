"""What is done to a picture's numbers, written into the convolution that reads them: costs nothing when run."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import numpy_helper

from edgedet.errors import ExportError


def swap_colours(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let a network that was trained on RGB take BGR (or the reverse), by turning its first convolution around.

    Costs nothing when run. ``model`` has one image input [N, 3, H, W] that only a dense convolution reads.

    Raises:
        ExportError: something else reads the image.
    """
    tensor = _first_weights(model)
    weight = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(weight[:, ::-1]), tensor.name))
    return model


def scale_first_convolution(model: onnx.ModelProto, factor: ArrayLike) -> onnx.ModelProto:
    """Let a network take its image divided by ``factor``, a number or one per channel [3]: a multiplication less
    to run. As :func:`swap_colours`.

    Exact up to rounding, padding included, since nothing is added.
    """
    tensor = _first_weights(model)
    weight = numpy_helper.to_array(tensor)
    by_channel = np.asarray(factor, np.float64).reshape(-1, 1, 1)
    tensor.CopyFrom(numpy_helper.from_array((weight * by_channel).astype(weight.dtype), tensor.name))
    return model


def _first_weights(model: onnx.ModelProto) -> onnx.TensorProto:
    """The weights [O, 3, h, w] of the convolution that alone reads the image."""
    (image,) = model.graph.input
    readers = [node for node in model.graph.node if image.name in node.input]
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    if len(readers) != 1 or readers[0].op_type != "Conv" or readers[0].input[1] not in weights:
        raise ExportError("the network does not begin with one convolution with constant weights")
    tensor = weights[readers[0].input[1]]
    if tensor.dims[1] != 3:
        raise ExportError(f"the first convolution takes {tensor.dims[1]} channels, expected 3 colours")
    return tensor
