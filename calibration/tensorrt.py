"""The TensorRT dialect: where Q/DQ pairs go so that TensorRT fuses every INT8 layer, and nothing else changes.

Rules (NVIDIA TensorRT developer guide, "Explicit quantization: Q/DQ placement recommendations"): symmetric int8,
zero point 0; one scale per activation tensor; weights per output channel (axis 0; ConvTranspose and MatMul 1);
biases stay float; the other operand of an Add that an INT8 convolution feeds is quantised, the convolution's own
output is not; graph outputs are never quantised. :mod:`edgedet.calibration.rules` states and checks each rule.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from onnx import helper

from edgedet.calibration.fitting import Fit, FittedLayer
from edgedet.calibration.grid import Grid
from edgedet.calibration.insertion import insert
from edgedet.calibration.network import Layer, Network


def place(network: Network, fit: Fit, layers: Collection[Layer], residuals: Collection[str] = ()) -> Network:
    """A copy of ``network`` with ``layers`` in INT8; ``residuals`` names Adds whose other side is quantised."""
    result = network.copy()
    writer = Writer(result)
    for layer in layers:
        node = result.nodes[layer.name]
        node.input[0] = writer.activation(layer.input, fit.grids[layer.input])
        writer.weights(layer, fit.layers[layer.name])
    chosen = {layer.output for layer in layers}
    for name in residuals:
        node = result.nodes[name]
        for index, tensor in enumerate(node.input):
            if tensor not in chosen:
                node.input[index] = writer.activation(tensor, fit.grids[tensor])
    writer.finish()
    return result


def residual_adds(network: Network, layers: Collection[Layer]) -> dict[str, str]:
    """Adds that one INT8 convolution feeds directly, by name, with the tensor on the other side."""
    outputs = {layer.output for layer in layers if layer.op_type == "Conv"}
    found = {}
    for node in network.graph.node:
        if node.op_type != "Add" or any(name in network.constants for name in node.input):
            continue
        fused = [n for n in node.input if n in outputs and len(network.consumers[n]) == 1]
        others = [n for n in node.input if n not in outputs]
        if len(fused) == 1 and len(others) == 1:
            found[node.name] = others[0]
    return found


class Writer:
    """Adds Q/DQ pairs to a graph, one per tensor, each just before its first reader."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.added: dict[str, str] = {}
        self.new_nodes: list = []  # type: ignore[type-arg]

    def activation(self, tensor: str, grid: Grid) -> str:
        """Name of ``tensor`` after its pair, which is made on first use."""
        if tensor not in self.added:
            self.added[tensor] = self._pair(tensor, grid)
        return self.added[tensor]

    def _pair(self, tensor: str, grid: Grid) -> str:
        kind = np.int8 if grid.kind == "s8" else np.uint8
        scale, zero = f"{tensor}_scale", f"{tensor}_zero_point"
        self.network.set_constant(scale, np.array(grid.scale, np.float32))
        self.network.set_constant(zero, np.array(grid.zero_point, kind))
        quantised, restored = f"{tensor}_q", f"{tensor}_dq"
        self.new_nodes += [
            helper.make_node("QuantizeLinear", [tensor, scale, zero], [quantised], f"{tensor}/quantize"),
            helper.make_node("DequantizeLinear", [quantised, scale, zero], [restored], f"{tensor}/dequantize"),
        ]
        return restored

    def weights(self, layer: Layer, fitted: FittedLayer) -> None:
        """Replace the layer's weights by INT8 ones with their DequantizeLinear; correct its bias."""
        node = self.network.nodes[layer.name]
        weight = f"{layer.name}/weight"
        self.network.set_constant(f"{weight}_q", fitted.weight)
        self.network.set_constant(f"{weight}_scale", fitted.scales)
        self.network.set_constant(f"{weight}_zero_point", np.zeros(len(fitted.scales), np.int8))
        self.new_nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [f"{weight}_q", f"{weight}_scale", f"{weight}_zero_point"],
                [f"{weight}_dq"],
                f"{weight}/dequantize",
                axis=layer.channel_axis,
            )
        )
        node.input[1] = f"{weight}_dq"
        self._shift_bias(layer, fitted)

    def _shift_bias(self, layer: Layer, fitted: FittedLayer) -> None:
        node = self.network.nodes[layer.name]
        if layer.bias is not None:
            bias = self.network.constant(layer.bias) + fitted.bias_shift
        elif layer.op_type == "MatMul":
            return
        else:
            bias = fitted.bias_shift
        name = f"{layer.name}/bias"
        self.network.set_constant(name, bias.astype(np.float32))
        del node.input[2:]
        node.input.append(name)

    def finish(self) -> None:
        """Put the new nodes where every reader comes after them, and drop constants nobody reads any more."""
        insert(self.network, self.new_nodes)
