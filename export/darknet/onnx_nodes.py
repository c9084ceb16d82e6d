"""Darknet's layers as ONNX nodes, batch normalisation folded into the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgedet.onnx_graph.builder import GraphBuilder

from .fork import Fork
from .layer_records import (
    HEADS,
    IMAGE,
    Activation,
    AveragePool,
    Connected,
    Convolution,
    Crop,
    Layer,
    Local,
    MaxPool,
    Product,
    Reorg,
    Route,
    Shortcut,
    Upsample,
)
from .weights import Arrays


class NetworkWriter:
    """Adds layers to ``graph``. ``image``: float32 pixels [N, 3, H, W] in B, G, R order, from 0 to 255."""

    def __init__(self, graph: GraphBuilder, image: str, *, batch: int, fork: Fork, direct: bool) -> None:
        self.graph = graph
        self.batch = batch
        self.fork = fork
        self._direct = direct
        if not direct:
            image = graph.op("Gather", image, graph.ints(2, 1, 0), name="input/rgb", axis=1)
            image = graph.op("Mul", image, graph.constant(1 / 255), name="input/scale")
        self._outputs: dict[int, str] = {IMAGE: image}

    def add(self, layer: Layer, arrays: Arrays) -> str:
        """Nodes of ``layer``; returns its output [N, C, H, W], or of a head what it reads."""
        index = layer.section.index
        inputs = [self._outputs[number] for number in layer.reads]
        if isinstance(layer.kind, HEADS):
            self._outputs[index] = inputs[0]
        else:
            self._outputs[index] = WRITERS[type(layer.kind)](self, layer, arrays, inputs)
        return self._outputs[index]

    def folded(self, layer: Layer, arrays: Arrays) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights and biases with batch normalisation in them; those of the first convolution also take pixels."""
        weights, biases = arrays["weights"].astype(np.float64), arrays["biases"].astype(np.float64)
        if "variance" in arrays:
            factor = arrays["scales"] / self.fork.deviation(arrays["variance"].astype(np.float64))
            weights *= factor.reshape(-1, *[1] * (weights.ndim - 1))
            biases -= arrays["mean"] * factor
        if layer.reads == (IMAGE,) and self._direct:
            weights = weights[:, ::-1] / 255
        return np.ascontiguousarray(weights, np.float32), biases.astype(np.float32)

    def activate(self, tensor: str, activation: str, name: str) -> str:
        """An activation; ``name`` is the layer's path."""
        return ACTIVATE[activation](self.graph, tensor, f"{name}/{activation}")


def begins_with_convolution(layers: Sequence[Layer]) -> bool:
    """Whether one convolution alone reads the picture, and can take it as it is."""
    readers = [layer for layer in layers if IMAGE in layer.reads]
    return len(readers) == 1 and isinstance(readers[0].kind, Convolution) and readers[0].kind.groups == 1


def _name(layer: Layer) -> str:
    return f"layer{layer.section.index}"


def _convolution(writer: NetworkWriter, layer: Layer, arrays: Arrays, inputs: list[str]) -> str:
    kind = layer.kind
    assert isinstance(kind, Convolution)
    graph, name = writer.graph, _name(layer)
    weights, biases = writer.folded(layer, arrays)
    border = kind.padding * kind.dilation
    found = graph.op(
        "Conv",
        inputs[0],
        graph.constant(weights),
        graph.constant(biases),
        name=f"{name}/conv",
        kernel_shape=[kind.size] * 2,
        strides=list(kind.stride),
        pads=[border] * 4,
        dilations=[kind.dilation] * 2,
        group=kind.groups,
    )
    return writer.activate(found, kind.activation, name)


def _local(writer: NetworkWriter, layer: Layer, arrays: Arrays, inputs: list[str]) -> str:
    """Pixels around every place beside each other, then a matrix product for every place."""
    kind = layer.kind
    assert isinstance(kind, Local)
    graph, name = writer.graph, _name(layer)
    channels = layer.takes[0][0]
    filters, rows, columns = layer.gives
    places, reach = rows * columns, channels * kind.size**2
    border = [0, 0, kind.padding, kind.padding] * 2
    padded = graph.op("Pad", inputs[0], graph.ints(*border), name=f"{name}/pad") if kind.padding else inputs[0]
    parts = []
    for row in range(kind.size):
        for column in range(kind.size):
            stop = (row + (rows - 1) * kind.stride + 1, column + (columns - 1) * kind.stride + 1)
            part = graph.op(
                "Slice",
                padded,
                graph.ints(row, column),
                graph.ints(*stop),
                graph.ints(2, 3),
                graph.ints(kind.stride, kind.stride),
                name=f"{name}/window",
            )
            parts.append(
                graph.op("Reshape", part, graph.ints(writer.batch, channels, 1, places), name=f"{name}/part")
            )
    windows = graph.op("Concat", *parts, name=f"{name}/windows", axis=2)
    windows = graph.op("Reshape", windows, graph.ints(writer.batch, reach, places), name=f"{name}/flat")
    windows = graph.op("Transpose", windows, name=f"{name}/by_place", perm=[2, 1, 0])
    found = graph.op("MatMul", graph.constant(arrays["weights"]), windows, name=f"{name}/product")
    found = graph.op("Transpose", found, name=f"{name}/by_picture", perm=[2, 1, 0])
    found = graph.op("Reshape", found, graph.ints(writer.batch, filters, rows, columns), name=f"{name}/map")
    found = graph.op("Add", found, graph.constant(arrays["biases"]), name=f"{name}/bias")
    return writer.activate(found, kind.activation, name)


def _connected(writer: NetworkWriter, layer: Layer, arrays: Arrays, inputs: list[str]) -> str:
    kind = layer.kind
    assert isinstance(kind, Connected)
    graph, name = writer.graph, _name(layer)
    weights, biases = writer.folded(layer, arrays)
    flat = graph.op("Reshape", inputs[0], graph.ints(writer.batch, weights.shape[1]), name=f"{name}/flat")
    found = graph.op(
        "Gemm", flat, graph.constant(weights), graph.constant(biases), name=f"{name}/product", transB=1
    )
    found = graph.op("Reshape", found, graph.ints(writer.batch, kind.outputs, 1, 1), name=f"{name}/map")
    return writer.activate(found, kind.activation, name)


def _maxpool(writer: NetworkWriter, layer: Layer, arrays: Arrays, inputs: list[str]) -> str:
    kind = layer.kind
    assert isinstance(kind, MaxPool)
    return writer.graph.op(
        "MaxPool",
        inputs[0],
        name=f"{_name(layer)}/maxpool",
        kernel_shape=[kind.size] * 2,
        strides=list(kind.stride),
        pads=[kind.before, kind.before, *kind.after],
    )


def _avgpool(writer: NetworkWriter, layer: Layer, arrays: Arrays, inputs: list[str]) -> str:
    return writer.graph.op("GlobalAveragePool", inputs[0], name=f"{_name(layer)}/mean")


def _crop(writer: NetworkWriter, layer: Layer, arrays: Arrays, inputs: list[str]) -> str:
    kind = layer.kind
    assert isinstance(kind, Crop)
    graph, name = writer.graph, _name(layer)
    _, rows, columns = layer.gives
    found = inputs[0]
    if layer.gives != layer.takes[0]:
        found = graph.op(
            "Slice",
            found,
            graph.ints(kind.top, kind.left),
            graph.ints(kind.top + rows, kind.left + columns),
            graph.ints(2, 3),
            name=f"{name}/crop",
        )
    if kind.adjust:
        found = graph.op("Mul", found, graph.constant(2.0), name=f"{name}/twice")
        found = graph.op("Sub", found, graph.constant(1.0), name=f"{name}/centred")
    return found


def _route(writer: NetworkWriter, layer: Layer, arrays: Arrays, inputs: list[str]) -> str:
    kind = layer.kind
    assert isinstance(kind, Route)
    name = _name(layer)
    if kind.groups > 1:
        inputs = [
            _channels(writer.graph, tensor, kind.group * (count // kind.groups), count // kind.groups, name)
            for tensor, (count, _, _) in zip(inputs, layer.takes, strict=True)
        ]
    return inputs[0] if len(inputs) == 1 else writer.graph.op("Concat", *inputs, name=f"{name}/route", axis=1)


def _channels(graph: GraphBuilder, tensor: str, first: int, count: int, name: str) -> str:
    return graph.op(
        "Slice", tensor, graph.ints(first), graph.ints(first + count), graph.ints(1), name=f"{name}/channels"
    )


def _shortcut(writer: NetworkWriter, layer: Layer, arrays: Arrays, inputs: list[str]) -> str:
    """A layer with more channels gives its first ones; one with fewer is added to the first ones."""
    kind = layer.kind
    assert isinstance(kind, Shortcut)
    graph, name = writer.graph, _name(layer)
    channels = layer.gives[0]
    found = inputs[0]
    for tensor, (count, _, _) in zip(inputs[1:], layer.takes[1:], strict=True):
        added = tensor
        if count > channels:
            added = _channels(graph, tensor, 0, channels, name)
        elif count < channels:
            added = graph.op(
                "Pad", tensor, graph.ints(0, 0, 0, 0, 0, channels - count, 0, 0), name=f"{name}/widened"
            )
        found = graph.op("Add", found, added, name=f"{name}/add")
    return writer.activate(found, kind.activation, name)


def _upsample(writer: NetworkWriter, layer: Layer, arrays: Arrays, inputs: list[str]) -> str:
    kind = layer.kind
    assert isinstance(kind, Upsample)
    graph, name = writer.graph, _name(layer)
    found = inputs[0]
    if kind.stride > 1:
        found = graph.op(
            "Resize",
            found,
            "",
            graph.constant([1, 1, kind.stride, kind.stride]),
            name=f"{name}/upsample",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
    return found if kind.scale == 1 else graph.op("Mul", found, graph.constant(kind.scale), name=f"{name}/scale")


def _reorg(writer: NetworkWriter, layer: Layer, arrays: Arrays, inputs: list[str]) -> str:
    kind = layer.kind
    assert isinstance(kind, Reorg)
    graph, name, step = writer.graph, _name(layer), kind.stride
    channels, rows, columns = layer.takes[0]
    if kind.order == "darknet":
        # The numbers as they lie in memory, read as a picture of fewer channels and more pixels.
        channels, rows, columns = channels // step**2, rows * step, columns * step
    split = graph.ints(writer.batch, channels, rows // step, step, columns // step, step)
    found = graph.op("Reshape", inputs[0], split, name=f"{name}/split")
    found = graph.op("Transpose", found, name=f"{name}/to_channels", perm=[0, 3, 5, 1, 2, 4])
    return graph.op("Reshape", found, graph.ints(writer.batch, *layer.gives), name=f"{name}/reorg")


def _product(writer: NetworkWriter, layer: Layer, arrays: Arrays, inputs: list[str]) -> str:
    kind = layer.kind
    assert isinstance(kind, Product)
    found = writer.graph.op("Mul", inputs[1], inputs[0], name=f"{_name(layer)}/product")
    return writer.activate(found, kind.activation, _name(layer))


def _activation(writer: NetworkWriter, layer: Layer, arrays: Arrays, inputs: list[str]) -> str:
    assert isinstance(layer.kind, Activation)
    return writer.activate(inputs[0], layer.kind.activation, _name(layer))


Writer = Callable[[NetworkWriter, Layer, Arrays, list[str]], str]
WRITERS: dict[type, Writer] = {
    Convolution: _convolution,
    Local: _local,
    Connected: _connected,
    MaxPool: _maxpool,
    AveragePool: _avgpool,
    Crop: _crop,
    Route: _route,
    Shortcut: _shortcut,
    Upsample: _upsample,
    Reorg: _reorg,
    Product: _product,
    Activation: _activation,
}


def _mish(graph: GraphBuilder, tensor: str, name: str) -> str:
    # Not opset 18's Mish, which TensorRT's parser of JetPack 6 does not have at opset 17.
    found = graph.op("Softplus", tensor, name=f"{name}_softplus")
    found = graph.op("Tanh", found, name=f"{name}_tanh")
    return graph.op("Mul", tensor, found, name=name)


def _swish(graph: GraphBuilder, tensor: str, name: str) -> str:
    return graph.op("Mul", tensor, graph.op("Sigmoid", tensor, name=f"{name}_sigmoid"), name=name)


def _ramp(graph: GraphBuilder, tensor: str, name: str) -> str:
    tenth = graph.op("Mul", tensor, graph.constant(0.1), name=f"{name}_tenth")
    return graph.op("Add", graph.op("Relu", tensor, name=f"{name}_relu"), tenth, name=name)


def _loggy(graph: GraphBuilder, tensor: str, name: str) -> str:
    half = graph.op("Mul", tensor, graph.constant(0.5), name=f"{name}_half")
    return graph.op("Tanh", half, name=name)


def _lhtan(graph: GraphBuilder, tensor: str, name: str) -> str:
    """From 0 to 1 as it is; a thousandth of what is beyond."""
    inside = graph.op("Clip", tensor, graph.constant(0.0), graph.constant(1.0), name=f"{name}_inside")
    return _beyond(graph, tensor, inside, 0.001, name)


def _plse(graph: GraphBuilder, tensor: str, name: str) -> str:
    """From -4 to 4 a line from 0 to 1; a hundredth of what is beyond."""
    inside = graph.op("Clip", tensor, graph.constant(-4.0), graph.constant(4.0), name=f"{name}_inside")
    line = graph.op("Mul", inside, graph.constant(0.125), name=f"{name}_line")
    line = graph.op("Add", line, graph.constant(0.5), name=f"{name}_middle")
    outside = graph.op("Sub", tensor, inside, name=f"{name}_outside")
    outside = graph.op("Mul", outside, graph.constant(0.01), name=f"{name}_share")
    return graph.op("Add", line, outside, name=name)


def _beyond(graph: GraphBuilder, tensor: str, inside: str, share: float, name: str) -> str:
    outside = graph.op("Sub", tensor, inside, name=f"{name}_outside")
    outside = graph.op("Mul", outside, graph.constant(share), name=f"{name}_share")
    return graph.op("Add", inside, outside, name=name)


def _clip(graph: GraphBuilder, tensor: str, name: str, low: float, high: float) -> str:
    return graph.op("Clip", tensor, graph.constant(low), graph.constant(high), name=name)


ACTIVATE: dict[str, Callable[[GraphBuilder, str, str], str]] = {
    "linear": lambda graph, tensor, name: tensor,
    "leaky": lambda graph, tensor, name: graph.op("LeakyRelu", tensor, name=name, alpha=0.1),
    "relie": lambda graph, tensor, name: graph.op("LeakyRelu", tensor, name=name, alpha=0.01),
    "relu": lambda graph, tensor, name: graph.op("Relu", tensor, name=name),
    "logistic": lambda graph, tensor, name: graph.op("Sigmoid", tensor, name=name),
    "tanh": lambda graph, tensor, name: graph.op("Tanh", tensor, name=name),
    "elu": lambda graph, tensor, name: graph.op("Elu", tensor, name=name, alpha=1.0),
    "selu": lambda graph, tensor, name: graph.op("Selu", tensor, name=name, alpha=1.6732, gamma=1.0507),
    "relu6": lambda graph, tensor, name: _clip(graph, tensor, name, 0.0, 6.0),
    "hardtan": lambda graph, tensor, name: _clip(graph, tensor, name, -1.0, 1.0),
    "mish": _mish,
    "swish": _swish,
    "ramp": _ramp,
    "loggy": _loggy,
    "lhtan": _lhtan,
    "plse": _plse,
}
"""By the name in a .cfg: (graph, tensor, name of the node)."""
