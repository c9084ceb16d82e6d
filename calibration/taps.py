"""Looking at a graph's inner tensors while it runs, from inside the graph.

A detector's inner tensors have millions of values per frame. Calibration wants their extremes, a few thousand of
their values, and some windows that a layer slides over. Nodes that reduce and pick are added to the graph, so that
nothing larger ever leaves it: what is held does not grow with the tensors, and one run per frame gives everything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgedet.onnx_graph.cleaning import remove_dead
from edgedet.onnx_graph.network import Array, Layer, Network, attributes
from edgedet.onnx_graph.rewriting import place_behind

from .executor import GraphRunner, run_frames

VALUES_PER_FRAME = 8192
"""Values taken of a tensor per frame, evenly spaced, beginning somewhere else in every frame."""
TURNED = 20
"""Values that are transposed in the time of picking one; positions are then picked with all their channels."""
OFFSET = "taps/offset"
"""Input of the graph with taps: where the evenly spaced values of a frame begin, int64."""


@dataclass(frozen=True)
class Look:
    """What one frame left in the tapped tensors.

    Attributes:
        lows, highs: per channel (:func:`channel_axis`), by tensor: float32 [C].
        values: some of the values, by tensor: float32 [n].
        rows: what a layer's weights are multiplied with, at some positions, by layer: float32 [groups, n, K].
        outputs: the graph's own, by name, where they were asked for.
    """

    lows: dict[str, Array]
    highs: dict[str, Array]
    values: dict[str, Array]
    rows: dict[str, Array]
    outputs: dict[str, Array]


@dataclass(frozen=True)
class _Axis:
    """How a window slides along one axis of an image: ``steps`` places, ``taps`` [kernel] from a ``begin`` on."""

    size: int
    steps: int
    stride: int
    begin: int
    taps: Array


@dataclass(frozen=True)
class _Windows:
    """Places of the windows of one layer: ``images`` of axis 0, and ``places`` positions in each of them.

    ``axes``: height and width of a convolution's. ``turned``: whether channels come last.
    """

    layer: Layer
    shape: tuple[int, ...]
    images: int
    places: int
    axes: tuple[_Axis, ...] = ()
    turned: bool = False


class Taps:
    """A copy of a graph with taps.

    Args:
        network: the graph; it is not changed.
        tensors: float tensors whose extremes and values are wanted.
        layers: layers of which windows are wanted (no transposed convolutions), and at how many positions per
            frame, about.
        values: whether values are wanted, too.
        frame: one input of the graph, run where shape inference does not know every shape.
        opening: makes of the graph the one whose own outputs are wanted, too; None where they are not.
        threads: of a run; None takes every core.
        seed: of the positions.
    """

    def __init__(
        self,
        network: Network,
        tensors: Sequence[str],
        layers: Mapping[Layer, int] | None = None,
        *,
        values: bool = True,
        frame: Array | None = None,
        opening: Callable[[onnx.ModelProto], onnx.ModelProto] | None = None,
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        self._input = network.inputs[0]
        self._opening = opening
        self._tensors = list(dict.fromkeys(tensors))
        self._values = values
        self._seed = seed
        layers = layers or {}
        wanted = [*self._tensors, *(layer.input for layer in layers)]
        shapes = _complete(network, wanted, frame, threads)
        self._network = network
        self._nodes: dict[str, list[NodeProto]] = {}
        self._source = ""
        self._constants: dict[str, Array] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[str] = []
        for name in self._tensors:
            self._tap_tensor(name, shapes[name])
        self._windows = [self._tap_layer(layer, shapes[layer.input], rows) for layer, rows in layers.items()]
        self._threads = threads

    def look(self, frames: Iterable[Array]) -> Iterator[Look]:
        """What every frame leaves, in order."""
        positions: deque[list[Array]] = deque()

        def inputs() -> Iterator[dict[str, Array]]:
            for number, frame in enumerate(frames):
                rng = np.random.default_rng((self._seed, number))
                feed: dict[str, Array] = {self._input: frame}
                if self._values and self._tensors:
                    feed[OFFSET] = np.array(rng.integers(0, 2**31), np.int64)
                positions.append([_choose(window, rng, feed) for window in self._windows])
                yield feed

        runs = run_frames(self._model(), inputs(), self._threads)
        # Nothing of a frame is held while the next one is run: enumerate would.
        for found in runs:
            masks = positions.popleft()
            look = Look(
                {name: found[f"{name}/low"] for name in self._tensors},
                {name: found[f"{name}/high"] for name in self._tensors},
                {name: found[f"{name}/values"][0] for name in self._tensors} if self._values else {},
                {
                    window.layer.name: _rows(window, found[f"{window.layer.name}/windows"], mask)
                    for window, mask in zip(self._windows, masks, strict=True)
                },
                {name: found[name] for name in self._network.outputs} if self._opening is not None else {},
            )
            del found
            yield look
            del look

    def _add(self, kind: str, inputs: Sequence[str], output: str, **settings: Any) -> str:
        node = helper.make_node(kind, list(inputs), [output], output, **settings)
        self._nodes.setdefault(self._source, []).append(node)
        return output

    def _constant(self, name: str, value: Array) -> str:
        self._constants[name] = value
        return name

    def _tap_tensor(self, tensor: str, shape: tuple[int, ...]) -> None:
        self._source = tensor
        channel = channel_axis(self._network, tensor, len(shape))
        axes = [axis for axis in range(len(shape)) if axis != channel]
        for end, kind in (("low", "ReduceMin"), ("high", "ReduceMax")):
            output = f"{tensor}/{end}"
            if not axes:
                self._add("Identity", [tensor], output)
            else:
                node, constants = reduction(kind, tensor, output, axes, opset=self._network.opset)
                self._nodes.setdefault(self._source, []).append(node)
                self._constants |= constants
            self._outputs.append(output)
        if not self._values:
            return
        size = int(np.prod(shape, dtype=np.int64))
        # Not to one axis: onnx.shape_inference takes vectors for shapes, and makes a dimension of each value.
        flat = self._add("Reshape", [tensor, self._constant("taps/flat", np.array([1, -1]))], f"{tensor}/flat")
        if size <= VALUES_PER_FRAME:
            self._add("Identity", [flat], f"{tensor}/values")
        else:
            places = self._constant(
                f"{tensor}/places", np.arange(VALUES_PER_FRAME, dtype=np.int64)[None] * size // VALUES_PER_FRAME
            )
            # Places from the end are negative: so they need not be brought inside one by one.
            whole = self._constant(f"{tensor}/size", np.array(size, np.int64))
            begin = self._add("Mod", [OFFSET, whole], f"{tensor}/begin")
            back = self._add("Sub", [begin, whole], f"{tensor}/back")
            shifted = self._add("Add", [places, back], f"{tensor}/shifted")
            # Gather copies value by value as if each were a row, which takes six times as long.
            self._add("GatherElements", [flat, shifted], f"{tensor}/values", axis=1)
        self._outputs.append(f"{tensor}/values")

    def _tap_layer(self, layer: Layer, shape: tuple[int, ...], rows: int) -> _Windows:
        self._source = layer.input
        node = self._network.nodes[layer.name]
        name, places = f"{layer.name}/windows", f"{layer.name}/positions"
        if layer.op_type != "Conv":
            wide = self._constant(f"{name}/shape", np.array([-1, shape[-1]]))
            matrix = self._add("Reshape", [layer.input, wide], f"{name}/matrix")
            self._add("Gather", [matrix, places], name, axis=0)
            windows = _Windows(layer, shape, 1, rows)
        else:
            kernel = tuple(self._network.constants[layer.weight].dims[2:])
            images = min(shape[0], max(round(rows**0.5), 1)) if shape[0] > 1 else 1
            count = max(rows // images, 1)
            turned = shape[2] * shape[3] <= TURNED * count * int(np.prod(kernel))
            windows = _Windows(layer, shape, images, count, _axes(node, kernel, shape[2:]), turned)
            source = layer.input
            if shape[0] > 1:
                chosen = f"{layer.name}/images"
                self._inputs.append(helper.make_tensor_value_info(chosen, TensorProto.INT64, [images]))
                source = self._add("Gather", [source, chosen], f"{name}/chosen", axis=0)
            wide = self._constant(f"{name}/shape", np.array([images, shape[1], shape[2] * shape[3]]))
            flat = self._add("Reshape", [source, wide], f"{name}/flat")
            if windows.turned:
                flat = self._add("Transpose", [flat], f"{name}/turned", perm=[0, 2, 1])
            self._add("Gather", [flat, places], name, axis=1 if windows.turned else 2)
        self._inputs.append(helper.make_tensor_value_info(places, TensorProto.INT64, [None]))
        self._outputs.append(name)
        return windows

    def _model(self) -> onnx.ModelProto:
        """The part of the graph that the taps need, with them."""
        model = onnx.ModelProto()
        model.CopyFrom(self._network.model)
        graph = model.graph
        # Each tap stands where its tensor is made, so that the tensor is dropped before the next one is.
        place_behind(graph, self._nodes)
        graph.initializer.extend(
            numpy_helper.from_array(np.asarray(v), name) for name, v in self._constants.items()
        )
        graph.input.extend(self._inputs)
        if self._values and self._tensors:
            graph.input.append(helper.make_tensor_value_info(OFFSET, TensorProto.INT64, []))
        if self._opening is None:
            del graph.output[:]
        graph.output.extend(helper.make_empty_tensor_value_info(name) for name in self._outputs)
        remove_dead(graph)
        return model if self._opening is None else self._opening(model)


def reduction(
    kind: str, tensor: str, output: str, axes: Sequence[int], *, opset: int
) -> tuple[NodeProto, dict[str, Array]]:
    """A node that reduces ``axes`` away, as the operator set writes it, and the constants it reads."""
    if opset >= 18:
        name = f"{output}/axes"
        return helper.make_node(kind, [tensor, name], [output], output, keepdims=0), {
            name: np.array(axes, np.int64)
        }
    return helper.make_node(kind, [tensor], [output], output, keepdims=0, axes=axes), {}


def channel_axis(network: Network, tensor: str, rank: int) -> int:
    """The axis of a tensor's channels: 1 of 4-D images, the last of others and of what products read."""
    products = any(reader.op_type in ("MatMul", "Gemm") for reader in network.consumers.get(tensor, []))
    return 1 if rank == 4 and not products else rank - 1


def _complete(
    network: Network, tensors: Sequence[str], frame: Array | None, threads: int | None
) -> dict[str, tuple[int, ...]]:
    """Shapes of ``tensors``; where inference does not know one, the frame is run to see."""
    shapes = network.shapes()
    unknown = [name for name in dict.fromkeys(tensors) if not all(shapes.get(name, (0,)))]
    if unknown and frame is not None:
        model = onnx.ModelProto()
        model.CopyFrom(network.model)
        present = {output.name for output in model.graph.output}
        model.graph.output.extend(
            helper.make_empty_tensor_value_info(name) for name in unknown if name not in present
        )
        found = GraphRunner(model, fusion="separate", threads=threads)(frame)
        shapes |= {name: found[name].shape for name in unknown}
    return shapes


def _choose(window: _Windows, rng: np.random.Generator, feed: dict[str, Array]) -> Array:
    """Draw the positions of one frame into ``feed``; which of them are not in the padding: bool [n, taps]."""
    layer, shape = window.layer, window.shape
    key = f"{layer.name}/positions"
    if layer.op_type != "Conv":
        rows = int(np.prod(shape[:-1], dtype=np.int64))
        feed[key] = rng.integers(0, rows, window.places)
        return np.ones((window.places, 1), bool)
    if shape[0] > 1:
        feed[f"{layer.name}/images"] = rng.integers(0, shape[0], window.images)
    at = []
    inside = []
    for axis in window.axes:
        begin = rng.integers(0, axis.steps, window.places) * axis.stride + axis.begin
        where = begin[:, None] + axis.taps
        inside.append((where >= 0) & (where < axis.size))
        np.maximum(where, 0, out=where)
        np.minimum(where, axis.size - 1, out=where)
        at.append(where)
    feed[key] = (at[0][:, :, None] * shape[3] + at[1][:, None, :]).reshape(-1)
    mask: Array = (inside[0][:, :, None] & inside[1][:, None, :]).reshape(window.places, -1)
    return mask


def _axes(node: NodeProto, kernel: Sequence[int], size: Sequence[int]) -> tuple[_Axis, ...]:
    stride, dilation, pads = convolution_geometry(node, kernel, size)
    axes = []
    for axis in range(2):
        extent = dilation[axis] * (kernel[axis] - 1) + 1
        steps = (size[axis] + pads[axis] + pads[axis + 2] - extent) // stride[axis] + 1
        taps = np.arange(kernel[axis]) * dilation[axis]
        axes.append(_Axis(size[axis], max(steps, 1), stride[axis], -pads[axis], taps))
    return tuple(axes)


def _rows(window: _Windows, taken: Array, mask: Array) -> Array:
    """Windows as a layer's weights meet them: float32 [groups, n, K]."""
    layer = window.layer
    if layer.op_type != "Conv":
        return taken[None]
    channels, taps = window.shape[1], mask.shape[1]
    # [images, places, C, taps], with zeros where the window looks into the padding
    if window.turned:
        by_place = taken.reshape(window.images, window.places, taps, channels).transpose(0, 1, 3, 2)
    else:
        by_place = taken.reshape(window.images, channels, window.places, taps).transpose(0, 2, 1, 3)
    if not mask.all():
        by_place = np.where(mask[:, None], by_place, np.float32(0))
    groups = by_place.reshape(window.images * window.places, layer.group, -1)
    return np.ascontiguousarray(groups.transpose(1, 0, 2))


def convolution_geometry(
    node: NodeProto, kernel: Sequence[int], size: Sequence[int]
) -> tuple[list[int], list[int], list[int]]:
    """Strides, dilations and pads (top, left, bottom, right) of a 2-D Conv node, ``auto_pad`` resolved."""
    settings = attributes(node)
    stride = list(settings.get("strides", [1, 1]))
    dilation = list(settings.get("dilations", [1, 1]))
    pads = list(settings.get("pads", [0, 0, 0, 0]))
    auto = settings.get("auto_pad", b"NOTSET").decode()
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        for i in range(2):
            wanted = max(
                (-(-size[i] // stride[i]) - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 - size[i], 0
            )
            smaller = wanted // 2
            pads[i], pads[i + 2] = (
                (smaller, wanted - smaller) if auto == "SAME_UPPER" else (wanted - smaller, smaller)
            )
    return stride, dilation, pads
