"""The networks for semantic segmentation that are known by their tensors, built with their state loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torchvision
from torch import Tensor, nn
from torchvision.models import segmentation

from edgedet.errors import CheckpointError

from ..families.skip_init import Unfilled
from ..families.torchvision_architectures import load_state
from .fully_convolutional import Stride, VggFcn, resnet_fcn, vgg_widths

State = Mapping[str, Tensor]
AUXILIARY = "aux_classifier."
"""A second head, for training alone."""


@dataclass(frozen=True)
class SegmentationArchitecture:
    """One architecture.

    Attributes:
        family: on the card.
        build: from the number of classes, background included, and its tensors to the module.
        classes: a tensor with a row for every class.
        signs: tensors by which it is told from the others.
        framework: whether it is torchvision's, and so are its presets.
        multiple: what has to divide the sides of its canvas.
    """

    family: Literal["fcn", "lraspp"]
    build: Callable[[int, State], nn.Module]
    classes: str
    signs: tuple[str, ...]
    framework: bool = True
    multiple: int = 1


def _torchvision(name: str) -> Callable[[int, State], nn.Module]:
    def build(classes: int, state: State) -> nn.Module:
        module: nn.Module = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=classes)
        return module

    return build


def _lectures(name: str) -> Callable[[int, State], nn.Module]:
    return lambda classes, state: resnet_fcn(classes, getattr(torchvision.models, name))


def _vgg(stride: Stride) -> Callable[[int, State], nn.Module]:
    return lambda classes, state: VggFcn(classes, stride, vgg_widths(state))


LECTURES = ("final_conv.weight", "transpose_conv.weight")
ARCHITECTURES: dict[str, SegmentationArchitecture] = {
    "fcn_resnet101": SegmentationArchitecture(
        "fcn",
        _torchvision("fcn_resnet101"),
        "classifier.4.weight",
        ("classifier.0.weight", "classifier.4.weight", "backbone.layer3.22.conv1.weight"),
    ),
    "fcn_resnet50": SegmentationArchitecture(
        "fcn",
        _torchvision("fcn_resnet50"),
        "classifier.4.weight",
        ("classifier.0.weight", "classifier.4.weight", "backbone.layer4.2.conv3.weight"),
    ),
    "lraspp_mobilenet_v3_large": SegmentationArchitecture(
        "lraspp",
        _torchvision("lraspp_mobilenet_v3_large"),
        "classifier.low_classifier.weight",
        ("classifier.low_classifier.weight", "backbone.16.0.weight"),
    ),
    "fcn8s_vgg16": SegmentationArchitecture(
        "fcn",
        _vgg(8),
        "score_fr.weight",
        ("conv1_1.weight", "score_fr.weight", "upscore8.weight", "score_pool3.weight"),
        framework=False,
    ),
    "fcn16s_vgg16": SegmentationArchitecture(
        "fcn",
        _vgg(16),
        "score_fr.weight",
        ("conv1_1.weight", "score_fr.weight", "upscore16.weight"),
        framework=False,
    ),
    "fcn32s_vgg16": SegmentationArchitecture(
        "fcn",
        _vgg(32),
        "score_fr.weight",
        ("conv1_1.weight", "score_fr.weight", "upscore.weight"),
        framework=False,
    ),
    "fcn_resnet50_transposed": SegmentationArchitecture(
        "fcn", _lectures("resnet50"), LECTURES[0], (*LECTURES, "7.2.conv3.weight"), framework=False, multiple=32
    ),
    "fcn_resnet34_transposed": SegmentationArchitecture(
        "fcn", _lectures("resnet34"), LECTURES[0], (*LECTURES, "7.2.conv2.weight"), framework=False, multiple=32
    ),
    "fcn_resnet18_transposed": SegmentationArchitecture(
        "fcn", _lectures("resnet18"), LECTURES[0], (*LECTURES, "7.1.conv2.weight"), framework=False, multiple=32
    ),
}
"""Architectures in the order of looking at tensors: what has more layers comes before its smaller sister."""
MODULE = "fcn_module"
"""What ``--arch`` calls a network of the user's own that was saved whole."""


def guess_architecture(state: State) -> str | None:
    """The one whose tensors these are; None where it is none of them.

    >>> import torch
    >>> names = ["classifier.low_classifier.weight", "backbone.16.0.weight"]
    >>> guess_architecture(dict.fromkeys(names, torch.ones(1)))
    'lraspp_mobilenet_v3_large'
    """
    names = set(state)
    return next((name for name, arch in ARCHITECTURES.items() if names.issuperset(arch.signs)), None)


def class_count(arch: str, state: State) -> int:
    """Number of classes, background included.

    Raises:
        CheckpointError: the tensors are not the architecture's.
    """
    name = ARCHITECTURES[arch].classes
    if name not in state:
        raise CheckpointError(f"the tensors are not those of {arch}: {name} is missing; check --arch")
    return int(state[name].shape[0])


def build(arch: str, state: State) -> nn.Module:
    """The module with ``state`` loaded, in evaluation mode; a second head of training is left out.

    Raises:
        CheckpointError: tensors that do not fit.
    """
    state = {name: value for name, value in state.items() if not name.startswith(AUXILIARY)}
    with Unfilled():
        module = ARCHITECTURES[arch].build(class_count(arch, state), state)
    if getattr(module, "aux_classifier", None) is not None:
        module.aux_classifier = None  # type: ignore[assignment,unused-ignore]
    load_state(module, state, arch)
    return module.eval()
