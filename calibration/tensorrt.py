"""The TensorRT dialect: where Q/DQ pairs go so that TensorRT fuses every INT8 layer, and nothing else changes.

Rules (NVIDIA TensorRT developer guide, "Explicit quantization: Q/DQ placement recommendations"): symmetric int8,
zero point 0; one scale per activation tensor; weights per output channel (axis 0; ConvTranspose and MatMul 1);
biases stay float; the other operand of an Add that an INT8 convolution feeds is quantised, the convolution's own
output is not; graph outputs are never quantised. :mod:`edgedet.calibration.tensorrt_rules` checks each rule.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from onnx import ModelProto

from edgedet.onnx_graph.network import Array, Layer, Network

from . import tensorrt_rules
from .decoder_boundary import prediction_layers
from .dialect import Build, LayerChoice, Trial, Unit
from .executor import Fusion
from .fitting import Fit
from .observe import Progress
from .qdq import Writer
from .quantisation_grid import GridKind
from .smooth_quant import balance

TOO_SMALL = 5e-4
"""Share of the network's multiply-adds below which a layer (squeeze-excite, most often) gains nothing."""
SMALL_PREDICTION = 0.01
"""Share of them below which a layer that predicts boxes or scores gains less than it costs.

In eight one-class detectors such a head is 0.25 % of the network, and half of what INT8 moves boxes by.
"""


class TensorRT:
    """Symmetric s8 around convolutions and matrix products; one unit per layer, gaining by multiply-adds."""

    name = "tensorrt"
    kind: GridKind = "s8"
    weight_bits = 8
    fusion: Fusion = "separate"
    min_share = 0.5
    rest_in_half = True

    def __init__(self, layers: LayerChoice = "dense") -> None:
        self._layers = layers
        self.settled = layers != "all"

    def adapt(self, network: Network) -> Network:
        """Nothing to rewrite."""
        return network

    def units(self, network: Network, layers: Sequence[Layer]) -> tuple[list[Unit], dict[str, str]]:
        """Every dense layer of some weight (depthwise ones run no faster in INT8 than in FP16), or every layer."""
        last = {layer.name for layer in prediction_layers(network)}
        total = max(sum(layer.multiply_adds for layer in layers), 1)
        units = []
        left = {}
        for layer in layers:
            share = layer.multiply_adds / total
            if self._layers == "all":
                units.append(Unit(layer.name, (layer,), (layer.name,), share))
            elif layer.depthwise:
                left[layer.name] = "depthwise: bound by memory, INT8 saves no time over FP16"
            elif share < TOO_SMALL:
                left[layer.name] = f"{share:.3%} of the multiply-adds: nothing to gain"
            elif share < SMALL_PREDICTION and layer.name in last:
                left[layer.name] = f"predicts boxes or scores, and is {share:.2%} of the multiply-adds alone"
            else:
                units.append(Unit(layer.name, (layer,), (layer.name,), share))
        return units, left

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
        """All of them: the target is another machine, and :meth:`units` has left out what gains nothing."""
        return list(units)

    def balance(
        self,
        network: Network,
        layers: Sequence[Layer],
        frames: Sequence[Array],
        *,
        threads: int | None,
        progress: Progress,
    ) -> dict[str, float]:
        """Balance channels if every layer is to be INT8: depthwise ones lose most to a scale for all channels."""
        if self._layers != "all":
            return {}
        progress("balancing channels", 0, 0)
        return balance(network, layers, frames, threads=threads)

    def tensors(self, network: Network, units: Collection[Unit]) -> list[str]:
        """Inputs of the layers, and the other side of Adds behind them."""
        layers = [layer for unit in units for layer in unit.layers]
        wanted = [layer.input for layer in layers]
        # Alone, too: of two convolutions in front of one Add the guard may give either back.
        for chosen in (layers, *([layer] for layer in layers)):
            wanted += [tensor for tensor, _ in residual_adds(network, chosen).values()]
        return list(dict.fromkeys(wanted))

    def place(self, network: Network, fit: Fit, units: Collection[Unit], writer: Writer) -> Network:
        """Pairs before every INT8 layer and on residual branches."""
        layers = [layer for unit in units for layer in unit.layers]
        for layer in layers:
            node = writer.network.nodes[layer.name]
            node.input[0] = writer.activation(layer.input, fit.grids[layer.input])
            writer.weights(layer, fit.layers[layer.name])
        for name, (tensor, _) in residual_adds(network, layers).items():
            node = writer.network.nodes[name]
            for index, operand in enumerate(node.input):
                if operand == tensor:
                    node.input[index] = writer.activation(tensor, fit.grids[tensor])
        return writer.finish()

    def still_paying(self, units: Sequence[Unit], build: Build, frame: Array, *, progress: Progress) -> list[Unit]:
        """All of them: the target is another machine."""
        return list(units)

    def try_out(self, before: ModelProto, finished: ModelProto, frame: Array, *, threads: int | None) -> Trial:
        """Check every rule of TensorRT's; how fast it is only the target can tell."""
        tensorrt_rules.check(finished)
        return Trial()


def residual_adds(network: Network, layers: Collection[Layer]) -> dict[str, tuple[str, str]]:
    """Adds that one INT8 convolution feeds directly, by name: the tensor on the other side, and the convolution.

    TensorRT runs convolution and Add as one INT8 kernel if the other side is INT8 too.
    """
    outputs = {layer.output: layer.name for layer in layers if layer.op_type == "Conv"}
    found = {}
    for node in network.graph.node:
        if node.op_type != "Add" or any(name in network.constants for name in node.input):
            continue
        fused = [name for name in node.input if name in outputs and len(network.consumers[name]) == 1]
        if fused:
            # Of two convolutions only one is fused with the Add; the other's output becomes the residual.
            others = [name for name in node.input if name != fused[0]]
            if others and others[0] not in network.outputs:
                found[node.name] = (others[0], outputs[fused[0]])
    return found
