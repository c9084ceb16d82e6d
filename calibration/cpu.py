"""The CPU dialect: u8 activations around exactly those nodes that gain from it, in the shape ONNX Runtime fuses.

ONNX Runtime turns ``DequantizeLinear -> node -> QuantizeLinear`` into an integer kernel when *every* activation
input and output of the node is quantised (docs: "Quantize ONNX models", QDQ format); a convolution without a Q
behind it runs in float, slower than before. So, unlike for TensorRT, outputs are quantised too, after the
activation function where ONNX Runtime folds it into the convolution (Relu, Clip).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from onnx import ModelProto, NodeProto, TensorProto, helper

from edgedet.onnx_graph.network import Array, Layer, Network

from .attention import float_core
from .decoder_boundary import decoding
from .dialect import Build, Trial, Unit
from .executor import Fusion
from .fitting import Fit
from .observe import Progress
from .qdq import Writer
from .quantisation_grid import Grid, GridKind, grid_for
from .speed import fastest, fastest_roughly
from .speed_race import wall_times

FOLDED = ("Relu", "Clip")
"""Activations ONNX Runtime folds into an integer convolution, since clamping to 0..255 does their work."""
INTEGER_OPERATORS = (
    "Add", "Mul", "Sigmoid", "LeakyRelu", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool",
    "Resize", "Reshape", "Transpose", "Split", "Slice", "Squeeze", "Unsqueeze", "Flatten",
)  # fmt: skip
"""Operators beside weighted layers that ONNX Runtime has integer kernels for, or moves bytes with."""
RANGE_KEEPING = ("MaxPool", "Reshape", "Transpose", "Split", "Slice", "Squeeze", "Unsqueeze", "Flatten", "Resize")
"""Operators whose output is fused only when it has the same scale and zero point as their input."""


class Cpu:
    """u8 activations from the first layer to the last; one unit per layer with what follows it."""

    name = "cpu"
    kind: GridKind = "u8"
    weight_bits = 7
    """x86 without VNNI adds pairs of u8 x s8 products in 16 bits that saturate (VPMADDUBSW), which 7 bits never do
    (2 x 255 x 64 < 2^15): one graph gives the same boxes on every CPU, wherever it was made."""
    fusion: Fusion = "fused"
    min_share = 0.0
    settled = False
    rest_in_half = False

    def adapt(self, network: Network) -> Network:
        """HardSwish in two parts, the product of which has an integer kernel."""
        return expand_hard_swish(network)

    def units(self, network: Network, layers: Sequence[Layer]) -> tuple[list[Unit], dict[str, str]]:
        """Layers with the integer operators behind them; those before the first layer (pixels) stay out.

        So do decoding, and the cores of attention with norms, GELU and what they read.
        """
        by_name = {layer.name: layer for layer in layers}
        types = network.element_types()
        float_only = decoding(network) | float_core(network, by_name)
        total = max(sum(layer.multiply_adds for layer in layers), 1)
        owner: dict[str, str] = {}
        members: dict[str, list[str]] = {}
        for node in network.graph.node:
            if node.name in by_name:
                home: str | None = node.name
            else:
                sources = [network.producer.get(node.input[i]) for i in data_inputs(node, network)]
                homes = [owner[source.name] for source in sources if source is not None and source.name in owner]
                home = homes[0] if homes else None
            if home is None:
                continue
            owner[node.name] = home
            if node.name in by_name or (
                node.op_type in INTEGER_OPERATORS
                and node.name not in float_only
                and not _scales_by_constant(node, network)
                and all(types.get(name) == TensorProto.FLOAT for name in _activations(network, node))
            ):
                members.setdefault(home, []).append(node.name)
        units = [
            Unit(name, (by_name[name],), tuple(nodes), by_name[name].multiply_adds / total)
            for name, nodes in members.items()
        ]
        return units, {}

    def paying(
        self,
        network: Network,
        units: Sequence[Unit],
        frame: Array,
        *,
        cache: Path | None,
        threads: int | None,
        progress: Progress,
    ) -> list[Unit]:
        """Those that a race on this machine finds quicker in INT8."""
        return fastest_roughly(self, network, units, frame, cache=cache, threads=threads, progress=progress)

    def balance(
        self,
        network: Network,
        layers: Sequence[Layer],
        frames: Sequence[Array],
        *,
        threads: int | None,
        progress: Progress,
    ) -> dict[str, float]:
        """None: a zero point does most of its work, and each product costs time."""
        return {}

    def tensors(self, network: Network, units: Collection[Unit]) -> list[str]:
        """Inputs and outputs of every node."""
        names = (
            tensor for unit in units for node in unit.nodes for tensor in _activations(network, network.nodes[node])
        )
        return list(dict.fromkeys(names))

    def place(self, network: Network, fit: Fit, units: Collection[Unit], writer: Writer) -> Network:
        """Pairs before and behind every node."""
        result = writer.network
        unit_of = {node: unit.name for unit in units for node in unit.nodes}
        layers = {layer.name: layer for unit in units for layer in unit.layers}
        grids = _shared_grids(network, unit_of, fit.grids)
        for node in network.graph.node:
            if node.name not in unit_of:
                continue
            changed = result.nodes[node.name]
            for index in data_inputs(node, network):
                tensor = node.input[index]
                changed.input[index] = writer.activation(tensor, grids[tensor])
            if node.name in layers:
                layer = layers[node.name]
                writer.weights(layer, fit.layers[layer.name], integer_bias_at=grids[layer.input].scale)
            tensor = quantised_output(network, node)
            readers = network.consumers.get(tensor, [])
            if node.op_type in ("Gemm", "MatMul") and not any(reader.name in unit_of for reader in readers):
                continue  # these two have integer kernels with float outputs
            if tensor in network.outputs:
                continue
            for reader in readers:
                if reader.name in unit_of and _activations(network, reader):
                    continue  # it quantises its own inputs
                for index, name in enumerate(reader.input):
                    if name == tensor:
                        result.nodes[reader.name].input[index] = writer.activation(tensor, grids[tensor])
        return writer.finish()

    def still_paying(self, units: Sequence[Unit], build: Build, frame: Array, *, progress: Progress) -> list[Unit]:
        """What the guard left may be pieces, each with a pair at either end; those too small to pay go."""
        return fastest(units, build, frame, progress=progress)

    def try_out(self, before: ModelProto, finished: ModelProto, frame: Array, *, threads: int | None) -> Trial:
        """Race it against the float graph, as a user waits for them."""
        times = wall_times({"fp32": before, "int8": finished}, frame, threads=threads)
        return Trial(times["int8"] <= times["fp32"], times)


def _activations(network: Network, node: NodeProto) -> list[str]:
    return [node.input[i] for i in data_inputs(node, network)] + [quantised_output(network, node)]


def _scales_by_constant(node: NodeProto, network: Network) -> bool:
    """Whether a Mul or Add has a constant side, which is no gain in integers."""
    return node.op_type in ("Mul", "Add") and any(name in network.constants for name in node.input)


def expand_hard_swish(network: Network) -> Network:
    """Write HardSwish as ``x * HardSigmoid(x)``, which is how ONNX Runtime runs it; the product can be integer."""
    nodes = list(network.graph.node)
    del network.graph.node[:]
    for node in nodes:
        if node.op_type != "HardSwish":
            network.graph.node.append(node)
            continue
        gate = f"{node.output[0]}_gate"
        name = f"{node.name}/gate"
        network.graph.node.append(
            helper.make_node("HardSigmoid", [node.input[0]], [gate], name, alpha=1 / 6, beta=0.5)
        )
        network.graph.node.append(helper.make_node("Mul", [node.input[0], gate], [node.output[0]], node.name))
    network.refresh()
    return network


def data_inputs(node: NodeProto, network: Network) -> list[int]:
    """Positions of the inputs that are activations (not constants, sizes or indices)."""
    slots = range(len(node.input)) if node.op_type in ("Add", "Mul", "Concat") else range(1)
    return [i for i in slots if node.input[i] and node.input[i] not in network.constants]


def quantised_output(network: Network, node: NodeProto) -> str:
    """The tensor behind ``node`` that is quantised: after a folded activation if there is one, else its output."""
    readers = network.consumers.get(node.output[0], [])
    if node.op_type in ("Conv", "Gemm", "MatMul", "Add") and len(readers) == 1 and readers[0].op_type in FOLDED:
        return readers[0].output[0]
    return node.output[0]


SHAREABLE = 2.0
"""Times coarser a tensor's grid may become so that a Concat can copy it instead of rescaling every value."""


def _shared_grids(network: Network, nodes: Mapping[str, str], grids: Mapping[str, Grid]) -> dict[str, Grid]:
    """Grids made equal where that saves work: through range-keeping operators and into Concats.

    The former have no integer kernel otherwise, and take their input's. Concat's kernel copies inputs that are on
    its output's grid, and looks up every value of the others, on one core.
    """
    result = dict(grids)
    groups = {tensor: {tensor} for tensor in grids}
    inside = [node for node in network.graph.node if node.name in nodes]
    for node in inside:
        if node.op_type in RANGE_KEEPING:
            for output in node.output:
                if output in groups:  # not an index, nor one that only float operators read
                    _join(groups, node.input[0], output)
                    result |= dict.fromkeys(groups[output], result[node.input[0]])
    for node in inside:
        if node.op_type != "Concat":
            continue
        for index in data_inputs(node, network):
            tensor, output = node.input[index], node.output[0]
            both = groups[tensor] | groups[output]
            low, high = zip(*(result[name].range for name in (tensor, output)), strict=True)
            grid = grid_for("u8", min(low), max(high))
            if all(grid.scale <= SHAREABLE * grids[name].scale for name in both):
                _join(groups, tensor, output)
                result |= dict.fromkeys(both, grid)
    return result


def _join(groups: dict[str, set[str]], first: str, second: str) -> None:
    both = groups[first] | groups[second]
    groups.update(dict.fromkeys(both, both))
