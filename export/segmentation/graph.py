"""A trained network for semantic segmentation to a static graph that gives the scores of every class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgedet.artifacts.card import InputSpec, OutputSpec, ResizeRule
from edgedet.errors import CheckpointError
from edgedet.geometry import shortest_side_size
from edgedet.masks.class_map_reader import LOGITS
from edgedet.onnx_graph.builder import GraphBuilder

from ..families.base import Exported
from ..families.network_input import add_network
from ..families.torch_graph import to_onnx

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Preparation:
    """What a network was trained to see.

    Attributes:
        min_size: shortest side of the picture in pixels.
        mean, std: of values in 0..1, in ``colour`` order.
        colour: channel order.
        multiple: what has to divide the canvas's sides.
    """

    min_size: int
    mean: Triple
    std: Triple
    colour: Literal["RGB", "BGR"]
    multiple: int = 1


class Coarse(nn.Module):
    """A network's scores before torchvision's last stretching, [N, C, h, w]; of any other its own."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.framework = is_torchvision(model)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of normalised ``images`` [N, 3, H, W]."""
        if not self.framework:
            return scores_of(self.model(images))
        features = self.model.backbone(images)
        scores: Tensor = self.model.classifier(features.get("out", features))
        return scores


def is_torchvision(model: nn.Module) -> bool:
    """Whether this is one of torchvision's, whose last step is a bilinear stretching to the picture's size."""
    from torchvision.models.segmentation import FCN, LRASPP

    return type(model) in (FCN, LRASPP)


def scores_of(found: Any) -> Tensor:
    """The scores [N, C, h, w] in what a network gives: a tensor, or a dict with ``out``.

    Raises:
        CheckpointError: something else, or fewer than two classes.
    """
    scores = found.get("out") if isinstance(found, dict) else found
    if not isinstance(scores, Tensor) or scores.ndim != 4 or scores.shape[1] < 2:
        what = f"a tensor {list(scores.shape)}" if isinstance(scores, Tensor) else f"a {type(found).__name__}"
        raise CheckpointError(
            f"the network gives {what}, expected the scores of two classes or more, [N, C, h, w], or a dict that "
            "has them as 'out'"
        )
    return scores


def resize_rule(preparation: Preparation, frame_size: tuple[int, int]) -> tuple[ResizeRule, int, int]:
    """How frames come onto the canvas, and its (height, width): that of a frame of ``frame_size`` (width, height)
    as torchvision's preset resizes it. Frames of other shapes are shrunk onto it; beside them is the mean colour,
    which the network sees as it sees the zeros around its convolutions."""
    width, height = frame_size
    wanted = ResizeRule("shortest_side", min_size=preparation.min_size, max_size=1 << 20, rounding="divide")
    sides = shortest_side_size(wanted, height, width)
    step = preparation.multiple
    canvas_height, canvas_width = (-(-side // step) * step for side in sides)
    mean = preparation.mean[::-1] if preparation.colour == "RGB" else preparation.mean
    rule = ResizeRule(
        "shortest_side",
        pad=tuple(255 * value for value in mean),  # type: ignore[arg-type]
        rounding="divide",
        min_size=preparation.min_size,
        max_size=max(canvas_height, canvas_width),
        antialias=True,
    )
    return rule, canvas_height, canvas_width


def export(
    model: nn.Module,
    preparation: Preparation,
    frame_size: tuple[int, int],
    *,
    batch: int = 1,
    dtype: Literal["uint8", "float32"] = "uint8",
) -> Exported:
    """Build the graph of ``model``, which is in evaluation mode, for frames shaped like ``frame_size``.

    Raises:
        CheckpointError: it does not give scores.
        ExportError: PyTorch cannot export it.
    """
    rule, height, width = resize_rule(preparation, frame_size)
    spec = InputSpec(
        height=height,
        width=width,
        batch=batch,
        dtype=dtype,
        trained_colour=preparation.colour,
        scale=1 / 255,
        mean=preparation.mean,
        std=preparation.std,
    )
    coarse = Coarse(model)
    example = torch.zeros(batch, 3, height, width)
    with torch.no_grad():
        shape = tuple(coarse(example).shape)
    network = to_onnx(coarse, example, inputs=["images"], outputs=[LOGITS])
    graph = GraphBuilder("segmentation")
    (logits,) = add_network(graph, network, spec)
    graph.output(logits, LOGITS, "float32", shape)
    output = OutputSpec("class_logits", score_threshold=0.0, iou_threshold=0.0, max_detections=1)
    return Exported(graph.model(), spec, rule, output)
