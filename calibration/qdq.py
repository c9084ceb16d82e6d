"""Writing Q/DQ pairs into a graph: for good, or with a switch for every unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper

from edgedet.onnx_graph.network import Array, Layer, Network
from edgedet.onnx_graph.rewriting import insert

from .fitting import FittedLayer
from .grid import Grid


class Writer:
    """Adds Q/DQ pairs to ``network``, one per tensor, each just before its first reader."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.new_nodes: list[NodeProto] = []
        self._pairs: dict[str, str] = {}

    def activation(self, tensor: str, grid: Grid, unit: str) -> str:
        """Name of ``tensor`` after its pair, which is made on first use; ``unit`` asks for it."""
        if tensor not in self._pairs:
            self._pairs[tensor] = self._pair(tensor, grid)
        return self._pairs[tensor]

    def _pair(self, tensor: str, grid: Grid) -> str:
        scale, zero = f"{tensor}_scale", f"{tensor}_zero_point"
        self.network.set_constant(scale, np.array(grid.scale, np.float32))
        self.network.set_constant(zero, np.array(grid.zero_point, np.int8 if grid.kind == "s8" else np.uint8))
        quantised, restored = f"{tensor}_q", f"{tensor}_dq"
        self.new_nodes += [
            helper.make_node("QuantizeLinear", [tensor, scale, zero], [quantised], f"{tensor}/quantize"),
            helper.make_node("DequantizeLinear", [quantised, scale, zero], [restored], f"{tensor}/dequantize"),
        ]
        return restored

    def weights(
        self, layer: Layer, fitted: FittedLayer, unit: str, *, integer_bias_at: float | None = None
    ) -> None:
        """Replace the layer's weights by INT8 ones with their DequantizeLinear; correct its bias.

        ``integer_bias_at``: scale of the layer's input, where the bias is to be int32 at the accumulator's own
        scale (ONNX Runtime's integer convolution takes no other); None leaves it in float, as TensorRT wants.
        """
        node = self.network.nodes[layer.name]
        node.input[1] = self._integers(f"{layer.name}/weight", fitted.weight, fitted.scales, layer.channel_axis)
        if layer.bias is None and layer.op_type == "MatMul":
            return
        bias = fitted.bias_shift + (self.network.constant(layer.bias) if layer.bias is not None else 0)
        del node.input[2:]
        node.input.append(self._bias(layer, bias.astype(np.float32), fitted.scales, integer_bias_at))

    def _bias(self, layer: Layer, bias: Array, scales: Array, input_scale: float | None) -> str:
        name = f"{layer.name}/bias"
        if input_scale is None:
            self.network.set_constant(name, bias)
            return name
        steps = (scales * np.float32(input_scale)).astype(np.float32)
        integers = np.clip(np.rint(bias.astype(np.float64) / steps), -(2**31) + 1, 2**31 - 1).astype(np.int32)
        return self._integers(name, integers, steps, 0)

    def _integers(self, name: str, values: Array, scales: Array, axis: int) -> str:
        """A constant stored as integers with its DequantizeLinear; returns the float tensor's name."""
        self.network.set_constant(f"{name}_q", values)
        self.network.set_constant(f"{name}_scale", scales)
        self.network.set_constant(f"{name}_zero_point", np.zeros(len(scales), values.dtype))
        inputs = [f"{name}_q", f"{name}_scale", f"{name}_zero_point"]
        self.new_nodes.append(
            helper.make_node("DequantizeLinear", inputs, [f"{name}_dq"], f"{name}/dequantize", axis=axis)
        )
        return f"{name}_dq"

    def finish(self) -> Network:
        """Put the new nodes where every reader comes after them, drop constants nobody reads; the network."""
        insert(self.network, self.new_nodes)
        return self.network


SWITCHES = "int8_on"
"""Graph input of a switchboard: bool [units]."""


class SwitchWriter(Writer):
    """Writes every pair behind a switch, so that one session runs any combination of units in INT8.

    The graph gets the input ``SWITCHES``; where a unit's entry is false, its readers take the float tensor and
    its layers the float weights. Measuring hundreds of combinations this way needs no session of their own.
    """

    def __init__(self, network: Network, units: Sequence[str]) -> None:
        super().__init__(network)
        self._index = {name: index for index, name in enumerate(units)}
        self._switched: dict[tuple[str, str], str] = {}
        network.graph.input.append(helper.make_tensor_value_info(SWITCHES, TensorProto.BOOL, [len(units)]))

    def activation(self, tensor: str, grid: Grid, unit: str) -> str:
        restored = super().activation(tensor, grid, unit)
        return self._either(restored, tensor, unit)

    def weights(
        self, layer: Layer, fitted: FittedLayer, unit: str, *, integer_bias_at: float | None = None
    ) -> None:
        node = self.network.nodes[layer.name]
        before = list(node.input[1:])
        super().weights(layer, fitted, unit, integer_bias_at=integer_bias_at)
        for index, after in enumerate(list(node.input[1:])):
            if index < len(before) and before[index]:
                original = before[index]
            else:
                original = f"{layer.name}/no_bias"
                self.network.set_constant(original, np.zeros_like(fitted.bias_shift))
            if after != original:
                node.input[index + 1] = self._either(after, original, unit)

    def _either(self, quantised: str, original: str, unit: str) -> str:
        """Name of ``quantised`` where the unit is on, else ``original``."""
        key = (quantised, unit)
        if key not in self._switched:
            index = self._index[unit]
            position, switch = f"{SWITCHES}_{index}_at", f"{SWITCHES}_{index}"
            if position not in self.network.constants:
                self.network.set_constant(position, np.array(index, np.int64))
                self.new_nodes.append(helper.make_node("Gather", [SWITCHES, position], [switch], switch, axis=0))
            result = f"{quantised}_{index}"
            self.new_nodes.append(
                helper.make_node("Where", [switch, quantised, original], [result], f"{result}/where")
            )
            self._switched[key] = result
        return self._switched[key]
