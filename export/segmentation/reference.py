"""PyTorch's own inference with a network for semantic segmentation: what its graph is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torchvision.transforms.functional as transforms
import torchvision.transforms.v2.functional as transforms_v2
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edgedet.artifacts.card import ModelCard
from edgedet.geometry import ResizeGeometry, plan_resize
from edgedet.masks.class_map import ClassMap
from edgedet.masks.class_map_reader import to_frame
from edgedet.masks.upsampled_argmax import label_type

from .graph import Preparation, scores_of


class SegmentationReference:
    """The network's own answer to a frame, on the canvas that ``card`` describes.

    torchvision's own functions resize (antialiased, uint8), normalise and stretch; beside a frame of another shape
    than the canvas lies the mean colour, as the card has it.

    Args:
        module: the network, in evaluation mode.
        card: of its graph.
        preparation: what it was trained to see.

    Attributes:
        module: the network.
    """

    def __init__(self, module: nn.Module, card: ModelCard, preparation: Preparation) -> None:
        self.module = module
        self._card = card
        self._preparation = preparation

    def __call__(self, frame: NDArray[np.uint8]) -> ClassMap:
        """The class of each pixel of a BGR frame."""
        canvas = (self._card.input.height, self._card.input.width)
        place = plan_resize(self._card.resize, frame.shape[0], frame.shape[1], *canvas)
        image = torch.from_numpy(np.rint(self._card.resize.pad).astype(np.uint8))[:, None, None].repeat(1, *canvas)
        rows, columns = _part(place)
        image[:, rows, columns] = resized(frame, (place.height, place.width))
        with torch.inference_mode():
            scores = full_scores(self.module, normalised(image, self._preparation)[None])[0]
        return map_of(scores, place, self._card.names)


def resized(frame: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """A frame at another ``size`` (height, width), as torchvision resizes uint8 tensors: [3, h, w], BGR.

    That is the arithmetic of Pillow, with which networks are trained. The older function, which the preset calls,
    gives Pillow's bytes of Pillow's images, and takes tensors through float32: some differ by one grey level.
    """
    image = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)
    found: Tensor = transforms_v2.resize(image, list(size), antialias=True)
    return found


def normalised(image: Tensor, preparation: Preparation) -> Tensor:
    """Pixels uint8 [3, H, W] BGR as the ``SemanticSegmentation`` preset gives them to the network: float32."""
    image = image if preparation.colour == "BGR" else image.flip(0)
    image = transforms.convert_image_dtype(image, torch.float)
    found: Tensor = transforms.normalize(image, list(preparation.mean), list(preparation.std))
    return found


def full_scores(module: nn.Module, images: Tensor) -> Tensor:
    """The network's scores at the size of ``images``; a coarser map is stretched as torchvision's are."""
    scores = scores_of(module(images))
    if scores.shape[-2:] != images.shape[-2:]:
        scores = functional.interpolate(scores, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return scores


def map_of(scores: Tensor, place: ResizeGeometry, names: tuple[str, ...]) -> ClassMap:
    """The map of the frame that lies at ``place`` in a canvas of ``scores`` [C, H, W]."""
    rows, columns = _part(place)
    labels: Any = scores[:, rows, columns].argmax(0).numpy().astype(label_type(len(names)))
    return ClassMap(to_frame(labels, (place.frame_height, place.frame_width)), names)


def _part(place: ResizeGeometry) -> tuple[slice, slice]:
    """Rows and columns of the canvas in which the frame lies."""
    return slice(place.top, place.top + place.height), slice(place.left, place.left + place.width)
