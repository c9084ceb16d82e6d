"""Networks from torch to ONNX: static shapes, folded BatchNorm, cleaned."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
import onnx
import torch
from numpy.typing import ArrayLike
from onnx import numpy_helper
from torch import Tensor, nn
from torchvision.ops.misc import FrozenBatchNorm2d

from edgedet.errors import ExportError
from edgedet.onnx_graph.builder import OPSET
from edgedet.onnx_graph.cleaning import simplify


def to_onnx(
    module: nn.Module, example: Tensor, *, inputs: Sequence[str], outputs: Sequence[str], opset: int = OPSET
) -> onnx.ModelProto:
    """Trace ``module`` on one ``example`` input; every shape in the result is that of the trace.

    PyTorch's tracing exporter is used: it folds BatchNorm into convolutions itself, and what we trace is
    straight-line arithmetic.

    Raises:
        ExportError: PyTorch could not export the module.
    """
    buffer = io.BytesIO()
    # Callers' networks are frozen by now; folding needs ordinary BatchNorm in evaluation mode.
    module = thaw_batch_norm(module).eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (example,),
                buffer,  # type: ignore[arg-type]  # the tracing exporter takes files, its annotation does not
                input_names=list(inputs),
                output_names=list(outputs),
                opset_version=opset,
                dynamo=False,
            )
    except Exception as error:
        raise ExportError(f"PyTorch {torch.__version__} could not export the network: {error}") from error
    return simplify(onnx.load_from_string(buffer.getvalue()))


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


def anchor_rows(tensor: Tensor, columns: int) -> Tensor:
    """What a head gives at every place, as one row for each anchor.

    Args:
        tensor: [N, anchors * columns, H, W].
        columns: values of an anchor.

    Returns:
        [N, H * W * anchors, columns].
    """
    return tensor.permute(0, 2, 3, 1).reshape(tensor.shape[0], -1, columns)


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


def thaw_batch_norm(module: nn.Module) -> nn.Module:
    """Replace frozen BatchNorm by the ordinary one with the same numbers, so that export can fold it."""
    for name, child in module.named_children():
        if isinstance(child, FrozenBatchNorm2d):
            norm = nn.BatchNorm2d(child.weight.shape[0], eps=child.eps)
            norm.load_state_dict(child.state_dict(), strict=False)
            setattr(module, name, norm.eval())
        else:
            thaw_batch_norm(child)
    return module
