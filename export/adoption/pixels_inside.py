"""Pre-processing inside a foreign graph: taken out, so that it can go into the first layer as ours does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from edgedet.onnx_graph.cleaning import remove_dead
from edgedet.onnx_graph.network import Network, attributes

from .graph_inputs import NAME, ImageInput

Array = NDArray[Any]

LARGEST_OF_PIXELS = 0.1
"""A factor below takes pixels of 0 to 255 to what networks are trained on; one above takes shares of 1."""
LARGEST_MEAN = 2.0
"""A mean above is one of pixels of 0 to 255, whatever they are multiplied by: Caffe's networks divide nothing."""
ARITHMETIC = {"Mul": np.multiply, "Div": np.divide, "Add": np.add, "Sub": np.subtract}


@dataclass(frozen=True)
class InnerPixels:
    """What a graph did with its image before the network: ``image * factor + shift``, by channel [3] in the
    network's order. ``swapped``: it turned the channels round. ``counted``: it did arithmetic at all, or takes
    bytes as they are; else what pixels are multiplied by is the caller's affair. ``uint8``: its image is, so that
    no factor has to tell what it took."""

    factor: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    swapped: bool = False
    counted: bool = True
    uint8: bool = False

    @property
    def of_bytes(self) -> bool:
        """Whether it took pixels of 0 to 255."""
        if self.uint8 or max(abs(value) for value in self.factor) < LARGEST_OF_PIXELS:
            return True
        pairs = zip(self.factor, self.shift, strict=True)
        return any(abs(shift) > LARGEST_MEAN * abs(factor) for factor, shift in pairs)

    @property
    def _plain_bytes(self) -> bool:
        return self.uint8 and set(self.factor) == {1.0} and not any(self.shift)

    def settings(self) -> dict[str, Any]:
        """``scale``, ``mean`` and ``std`` of an :class:`~edgedet.artifacts.card.InputSpec`, for pixels of 0 to
        255: where the graph took 0 to 1, they are divided by 255 first."""
        if self._plain_bytes:
            return {"scale": 1.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
        factor = np.array(self.factor) if self.of_bytes else np.array(self.factor) / 255
        std = 1 / (255 * factor)
        mean = -np.array(self.shift) * std
        return {"scale": 1 / 255, "mean": tuple(map(float, mean)), "std": tuple(map(float, std))}

    def applied(self, pixels: Array) -> Array:
        """What the network gets of ``pixels`` float32 [N, 3, H, W] of 0 to 255."""
        factor = np.array(self.factor, np.float32).reshape(-1, 1, 1) / (1 if self.of_bytes else 255)
        shift = np.array(self.shift, np.float32).reshape(-1, 1, 1)
        return np.asarray(pixels * factor + shift, np.float32)

    def words(self) -> str:
        """For the report."""
        if not self.counted:
            return "the order of its colours, which it turns round, went into the first layers"
        if self._plain_bytes:
            return f"it takes pixels of 0 to 255 as they are{', colours turned round' if self.swapped else ''}"
        said = self.settings()
        plain = said["mean"] == (0.0, 0.0, 0.0) and np.allclose(said["std"], 1)
        numbers = (
            ""
            if plain
            else ", mean {}, standard deviation {}".format(
                *(" ".join(f"{value:.4g}" for value in said[key]) for key in ("mean", "std"))
            )
        )
        turned = ", colours turned round" if self.swapped else ""
        return f"what it does with its pixels (0 to 1{numbers}{turned}) went into the first layers"


def take_out_pixels(model: onnx.ModelProto, image: ImageInput) -> InnerPixels | None:
    """Let ``model`` begin with its network: float32 [N, 3, H, W] as the first layer takes it, in place.

    What stands before and is no arithmetic by channel, no change of type, order or layout, stays. Returns the
    arithmetic, or None where there is none.
    """
    network = Network(model)
    factor, shift = np.ones(3), np.zeros(3)
    tensor, channels, swapped, counted = NAME, 3 if image.rows_last else 1, False, False
    while True:
        node = network.only_reader(tensor)
        if node is None:
            break
        if node.op_type == "Cast" and attributes(node)["to"] == TensorProto.FLOAT:
            pass
        elif node.op_type == "Transpose" and channels == 3 and attributes(node).get("perm") == [0, 3, 1, 2]:
            channels = 1
        elif _turns_channels(network, node, tensor, channels):
            factor, shift, swapped = factor[::-1], shift[::-1], not swapped
        elif node.op_type in ARITHMETIC and (value := _operand(network, node, tensor, channels)) is not None:
            operation = ARITHMETIC[node.op_type]
            if node.op_type in ("Mul", "Div"):
                factor = operation(factor, value)
            shift = operation(shift, value)
            counted = True
        else:
            break
        tensor = node.output[0]
    if channels == 3:
        return None
    if tensor != NAME:
        _begin_at(model, tensor, image)
    counted = counted or image.of_bytes
    if not counted:
        return InnerPixels(swapped=True, counted=False) if swapped else None
    return InnerPixels(
        tuple(map(float, factor)),  # type: ignore[arg-type]
        tuple(map(float, shift)),  # type: ignore[arg-type]
        swapped,
        uint8=image.of_bytes,
    )


def _operand(network: Network, node: onnx.NodeProto, tensor: str, channels: int) -> Array | None:
    """The constant of one number, or one by channel [3], that a node works on the image with."""
    if node.input[0] != tensor and node.op_type in ("Sub", "Div"):
        return None
    other = node.input[1] if node.input[0] == tensor else node.input[0]
    if other not in network.constants:
        return None
    value = network.constant(other).astype(np.float64)
    if value.size == 1:
        return np.full(3, value.item())
    shape = (1,) * (4 - value.ndim) + value.shape
    wanted = (1, 3, 1, 1) if channels == 1 else (1, 1, 1, 3)
    return value.reshape(3) if shape == wanted else None


def _turns_channels(network: Network, node: onnx.NodeProto, tensor: str, channels: int) -> bool:
    def values(index: int) -> list[int] | None:
        name = node.input[index] if len(node.input) > index else ""
        return network.constant(name).reshape(-1).tolist() if name in network.constants else None

    if node.op_type == "Gather" and node.input[0] == tensor:
        return attributes(node).get("axis", 0) % 4 == channels and values(1) in ([2, 1, 0], [-1, -2, -3])
    if node.op_type == "Slice" and node.input[0] == tensor and len(node.input) == 5:
        axes, steps, starts, ends = values(3), values(4), values(1), values(2)
        if axes is None or steps != [-1] or starts is None or ends is None or axes[0] % 4 != channels:
            return False
        return starts[0] in (-1, 2) or starts[0] > 2 if ends[0] < -3 else False
    return False


def _begin_at(model: onnx.ModelProto, tensor: str, image: ImageInput) -> None:
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == tensor:
                node.input[index] = NAME
    value = onnx.helper.make_tensor_value_info(NAME, TensorProto.FLOAT, (image.batch, 3, image.height, image.width))
    del model.graph.input[:]
    model.graph.input.append(value)
    del model.graph.value_info[:]
    remove_dead(model.graph)
