"""Networks from torch to ONNX: static shapes, folded BatchNorm, cleaned."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import onnx
import torch
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


def anchor_rows(tensor: Tensor, columns: int) -> Tensor:
    """What a head gives at every place, as one row for each anchor.

    Args:
        tensor: [N, anchors * columns, H, W].
        columns: values of an anchor.

    Returns:
        [N, H * W * anchors, columns].
    """
    return tensor.permute(0, 2, 3, 1).reshape(tensor.shape[0], -1, columns)


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
