"""A graph becomes ncnn's layers, operator by operator; what ncnn does not have is refused by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx

from edgedet.artifacts.card import InputSpec
from edgedet.errors import ExportError
from edgedet.onnx_graph.network import Network

from . import arithmetic, axes, windows
from .conversion_state import INSTEAD, Blob, Conversion
from .param_bin import Layer, written
from .patterns import living, with_patterns

Converter = Callable[[Conversion, onnx.NodeProto], None]

COLOURS = 3

OPERATORS: Mapping[str, Converter] = {
    **dict.fromkeys(arithmetic.BINARY, arithmetic.binary),
    **dict.fromkeys(arithmetic.UNARY, arithmetic.unary),
    **dict.fromkeys(arithmetic.FUSED, arithmetic.activation),
    **dict.fromkeys(arithmetic.REDUCTIONS, arithmetic.reduction),
    **{kind: arithmetic.named(kind) for kind in ("Sigmoid", "Softplus", "Swish", "Mish", "Erf")},
    "HardSigmoid": arithmetic.hard_sigmoid,
    "Elu": arithmetic.elu,
    "PRelu": arithmetic.prelu,
    "Softmax": arithmetic.softmax,
    "MatMul": arithmetic.matmul,
    "Conv": windows.convolution,
    "ConvTranspose": windows.transposed_convolution,
    "MaxPool": windows.pooling,
    "AveragePool": windows.pooling,
    "GlobalAveragePool": windows.global_pooling,
    "GlobalMaxPool": windows.global_pooling,
    "Resize": windows.resize,
    "SpaceToDepth": windows.space_to_depth,
    "Pad": windows.pad,
    "Transpose": axes.transpose,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), axes.reshape),
    **dict.fromkeys(("Identity", "Cast", "Dropout"), axes.same),
    "Concat": axes.concat,
    "Split": axes.split,
    "Slice": axes.cut,
}
"""Every operator that can be written for ncnn."""


@dataclass(frozen=True)
class Written:
    """ncnn's two files, and what they give.

    Attributes:
        param: the text of the layers.
        weights: the bytes of the ``.bin``.
        outputs: the network's, by name, with their sizes without the images.
        layers: how many there are.
    """

    param: str
    weights: bytes
    outputs: dict[str, tuple[int, ...]]
    layers: int


def write_graph(model: onnx.ModelProto, spec: InputSpec) -> Written:
    """Write a graph of one image as ncnn's files.

    The input blob is colour planes, float32 [3, H, W], of whatever the graph takes; blobs of the outputs are called
    as the graph calls them.

    Args:
        model: simplified and static, NMS outside; weights may be put in another order in it.
        spec: its input.

    Raises:
        ExportError: something in it ncnn does not have, or has otherwise.
    """
    network = Network(model)
    nodes = living(with_patterns(network), network.outputs)
    unknown = {node.op_type: node for node in nodes if node.op_type not in OPERATORS}
    if unknown:
        names = ", ".join(sorted(unknown))
        first = next(iter(unknown.values()))
        raise ExportError(
            f"ncnn has no layers that do {names} as ONNX has it ({first.name or first.output[0]}); {INSTEAD}"
        )
    to = Conversion(network)
    _hold_input(to, spec)
    for node in nodes:
        OPERATORS[node.op_type](to, node)
    outputs = {name: to.read(name) for name in network.outputs}
    given = Counter(blob.name for blob in outputs.values())
    for name, blob in outputs.items():
        # ncnn lets go of a blob once a layer has read it.
        shared = given[blob.name] > 1 or any(blob.name in layer.inputs for layer in to.layers)
        (own,) = to.add("Noop", [blob], blob.shape) if shared or blob.name == spec.name else (blob,)
        _rename(to, own, name)
    layers = _living(to.layers, list(outputs))
    param, weights = written(layers)
    return Written(param, weights, {name: blob.shape for name, blob in outputs.items()}, len(layers))


def _hold_input(to: Conversion, spec: InputSpec) -> None:
    sizes: dict[int, int | float | tuple[int, ...] | tuple[float, ...]] = {
        0: spec.width,
        1: spec.height,
        2: COLOURS,
    }
    (planes,) = to.add("Input", [], (COLOURS, spec.height, spec.width), settings=sizes)
    _rename(to, planes, spec.name)
    planes = Blob(spec.name, planes.shape)
    to.hold(spec.name, planes if spec.layout == "NCHW" else axes.moved(to, planes, (1, 2, 0)))


def _rename(to: Conversion, blob: Blob, name: str) -> None:
    """Call a blob ``name``, wherever it is written or read."""
    for layer in to.layers:
        layer.inputs = [name if other == blob.name else other for other in layer.inputs]
        layer.outputs = [name if other == blob.name else other for other in layer.outputs]


def _living(layers: list[Layer], outputs: list[str]) -> list[Layer]:
    """Those whose blobs are read, and the input."""
    needed = set(outputs)
    kept = []
    for layer in reversed(layers):
        if layer.kind == "Input" or needed & set(layer.outputs):
            kept.append(layer)
            needed |= set(layer.inputs)
    return kept[::-1]
