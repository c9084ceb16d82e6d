"""Writing Q/DQ pairs into a graph."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from edgedet.onnx_graph.network import Array, Layer, Network
from edgedet.onnx_graph.rewriting import insert

from .fitting import FittedLayer
from .quantisation_grid import Grid


class Writer:
    """Adds Q/DQ pairs to ``network``, one per tensor, each just before its first reader."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.new_nodes: list[NodeProto] = []
        self._pairs: dict[str, str] = {}

    def activation(self, tensor: str, grid: Grid) -> str:
        """Name of ``tensor`` after its pair, which is made on first use."""
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

    def weights(self, layer: Layer, fitted: FittedLayer, *, integer_bias_at: float | None = None) -> None:
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
