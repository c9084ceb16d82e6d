"""The layers of a Darknet network as records: what each does, reads and gives, and its numbers in the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from .cfg import Section

Shape = tuple[int, int, int]
"""(channels, rows, columns)."""

ACTIVATIONS = (
    "linear", "leaky", "relu", "logistic", "mish", "swish", "ramp", "elu", "selu", "relie", "loggy", "tanh",
    "hardtan", "lhtan", "plse", "relu6",
)  # fmt: skip
"""Those that edgedet writes; the graph room has a function for each."""

IMAGE = -1
"""What the first layer reads."""


@dataclass(frozen=True)
class Convolution:
    """``stride`` and (size, padding) are of (rows, columns) where they are pairs."""

    filters: int
    size: int
    stride: tuple[int, int]
    padding: int
    groups: int
    dilation: int
    batch_normalize: bool
    activation: str


@dataclass(frozen=True)
class Local:
    """A convolution with weights of its own at every place."""

    filters: int
    size: int
    stride: int
    padding: int
    activation: str


@dataclass(frozen=True)
class Connected:
    """Every output reads every input."""

    outputs: int
    batch_normalize: bool
    activation: str


@dataclass(frozen=True)
class MaxPool:
    """``before``, ``after``: rows and columns of padding, which the maximum never is."""

    size: int
    stride: tuple[int, int]
    before: int
    after: tuple[int, int]


@dataclass(frozen=True)
class AveragePool:
    """The mean of every channel."""


@dataclass(frozen=True)
class Crop:
    """The middle of the picture, from -1 to 1 where ``adjust``."""

    top: int
    left: int
    adjust: bool


@dataclass(frozen=True)
class Route:
    """Channels of layers one after the other; of each the part ``group`` of ``groups``."""

    groups: int
    group: int


@dataclass(frozen=True)
class Shortcut:
    """The first layer plus the others, as far as they have channels."""

    activation: str


@dataclass(frozen=True)
class Upsample:
    """Every pixel ``stride`` by ``stride`` times, times ``scale``."""

    stride: int
    scale: float


@dataclass(frozen=True)
class Reorg:
    """Rows and columns to channels. ``order``: Darknet's, which reads the tensor as one of other sizes, or
    AlexeyAB's ``reorg3d``, which is space to depth."""

    stride: int
    order: Literal["darknet", "space_to_depth"]


@dataclass(frozen=True)
class Product:
    """[scale_channels] and [sam]: the second layer times the first, which has a number a channel, or a place."""

    activation: str


@dataclass(frozen=True)
class Activation:
    """An activation by itself; dropout, which does nothing, is one that is linear."""

    activation: str


@dataclass(frozen=True)
class Yolo:
    """v3, v4: logistic classes, anchors in pixels of the network. ``mask``: which of all anchors."""

    classes: int
    anchors: tuple[tuple[float, float], ...]
    mask: tuple[int, ...]
    all_anchors: int
    scale_xy: float
    squared_sizes: bool
    nms_kind: str


@dataclass(frozen=True)
class Region:
    """v2: anchors in cells."""

    classes: int
    anchors: tuple[tuple[float, float], ...]
    softmax: bool


@dataclass(frozen=True)
class Detection:
    """v1: class probabilities of cells, and boxes in them, as one row of numbers."""

    classes: int
    boxes: int
    side: int
    softmax: bool
    square: bool


Kind = (
    Convolution | Local | Connected | MaxPool | AveragePool | Crop | Route | Shortcut | Upsample | Reorg | Product
    | Activation | Yolo | Region | Detection
)  # fmt: skip
HEADS = (Yolo, Region, Detection)


@dataclass(frozen=True)
class Layer:
    """``reads``: indices of layers, :data:`IMAGE` for the picture; ``takes``: their shapes; ``gives``: its own.

    ``parameters``: (name, shape) of what it takes of the weights, in the order of the file.
    """

    section: Section
    kind: Kind
    reads: tuple[int, ...]
    takes: tuple[Shape, ...]
    gives: Shape
    parameters: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def numbers(self) -> int:
        """How many numbers of the weights are its own."""
        return sum(math.prod(shape) for _, shape in self.parameters)
