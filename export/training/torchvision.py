"""Training's settings into torchvision's modules, and out of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import faster_rcnn, ssd
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.misc import FrozenBatchNorm2d

from edgedet.errors import CheckpointError

from .settings import TrainingSettings

ONLY_FASTER_RCNN = (
    "min_size", "max_size", "anchor_sizes", "anchor_ratios", "rpn_box_weights", "pool_size", "pool_sampling_ratio",
    "pool_levels", "pool_canonical_scale", "pool_canonical_level",
)  # fmt: skip
ONLY_SSD = (
    "input_size", "default_box_ratios", "default_box_scales", "default_box_steps", "default_box_clip",
)  # fmt: skip
CLASS_LAYERS = re.compile(
    r"(head\.classification_head\.module_list\.\d+(\.1)?|roi_heads\.box_predictor\.(cls_score|bbox_pred)"
    r"|roi_heads\.mask_predictor\.mask_fcn_logits)\.(weight|bias)$"
)
"""Tensors with rows for every class; SSDLite's class layers are the second part of what holds them."""
KEYPOINTS = ("keypoint_names", "keypoint_links")
"""Settings of a Keypoint R-CNN alone."""
OF_BOTH = ("image_mean", "image_std", "box_weights", "norm_eps", "colour", "background")
POOLING = ("pool_size", "pool_sampling_ratio", "pool_levels", "pool_canonical_scale", "pool_canonical_level")


def require_settings_of(family: str, settings: TrainingSettings, arch: str) -> None:
    """Settings that ``family`` has no use for are a mistake.

    Raises:
        CheckpointError: there is one.
    """
    own = settings_of_family(family)
    if not arch.lower().startswith("keypointrcnn"):
        own = tuple(name for name in own if name not in KEYPOINTS)
    wrong = next((name for name in settings.stated() if name not in (*own, "arch", "classes")), None)
    if wrong is not None:
        raise CheckpointError(f"{wrong} is no setting of {arch}; its own are {', '.join(own)}")


def settings_of_family(family: str) -> tuple[str, ...]:
    """Names of the settings a detector of ``family`` has, its architecture and classes aside."""
    return (*((*ONLY_FASTER_RCNN, *KEYPOINTS) if family == "faster_rcnn" else ONLY_SSD), *OF_BOTH)


def constructor_arguments(family: str, settings: TrainingSettings, *, levels: int) -> dict[str, Any]:
    """``settings`` as arguments of torchvision's constructors of ``family``, for ``levels`` feature levels."""
    arguments: dict[str, Any] = {}
    for name in ("image_mean", "image_std"):
        value = getattr(settings, name)
        if value is not None:
            arguments[name] = list(value)
    if family == "ssd":
        return arguments | _ssd_arguments(settings, levels)
    for name in ("min_size", "max_size"):
        if getattr(settings, name) is not None:
            arguments[name] = getattr(settings, name)
    if settings.box_weights is not None:
        arguments["bbox_reg_weights"] = settings.box_weights
    sizes, ratios = settings.anchor_sizes, settings.anchor_ratios
    if sizes is not None or ratios is not None:
        if sizes is None:
            raise CheckpointError("anchor_ratios are stated without anchor_sizes; state both")
        by_level = [
            _for_levels(name, value, levels)
            for name, value in (("anchor_sizes", sizes), ("anchor_ratios", ratios or ((0.5, 1.0, 2.0),)))
        ]
        arguments["rpn_anchor_generator"] = AnchorGenerator(*by_level)
    if any(getattr(settings, name) is not None for name in POOLING):
        arguments["box_roi_pool"] = {
            name.removeprefix("pool_"): getattr(settings, name)
            for name in POOLING
            if getattr(settings, name) is not None
        }
    return arguments


def pooling(stated: Any, *, levels: tuple[str, ...], size: int) -> MultiScaleRoIAlign:
    """RoIAlign as ``stated`` (:func:`constructor_arguments`), else over ``levels`` into ``size`` bins a side."""
    if isinstance(stated, MultiScaleRoIAlign):
        return stated
    stated = stated or {}
    return MultiScaleRoIAlign(
        list(stated.get("levels", levels)),
        stated.get("size", size),
        stated.get("sampling_ratio", 2),
        canonical_scale=stated.get("canonical_scale", 224),
        canonical_level=stated.get("canonical_level", 4),
    )


def _ssd_arguments(settings: TrainingSettings, levels: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if settings.input_size is not None:
        height, width = settings.input_size
        arguments["size"] = (width, height)
    stated = [name for name in ONLY_SSD if name.startswith("default_box") and getattr(settings, name) is not None]
    if stated:
        ratios, scales = settings.default_box_ratios, settings.default_box_scales
        if ratios is None or scales is None:
            missing = "default_box_ratios" if ratios is None else "default_box_scales"
            raise CheckpointError(f"{stated[0]} is stated without {missing}; default_box_* are stated together")
        if len(ratios) != levels:
            raise CheckpointError(f"default_box_ratios has {len(ratios)} levels, this detector {levels}")
        steps = settings.default_box_steps or None
        if steps is not None and len(steps) != levels:
            raise CheckpointError(f"default_box_steps has {len(steps)} entries, this detector {levels} levels")
        arguments["anchor_generator"] = DefaultBoxGenerator(
            [list(level) for level in ratios],
            scales=list(scales),
            steps=None if steps is None else list(steps),
            clip=settings.default_box_clip is not False,
        )
    return arguments


def _for_levels(name: str, value: tuple[tuple[float, ...], ...], levels: int) -> tuple[tuple[float, ...], ...]:
    if len(value) == 1:
        return value * levels
    if len(value) != levels:
        raise CheckpointError(
            f"{name} has {len(value)} levels, this detector {levels}; give as many, or one for all"
        )
    return value


def set_constants(module: nn.Module, settings: TrainingSettings) -> None:
    """What torchvision's constructors take no argument for."""
    model: Any = module
    if settings.colour == "BGR":
        # Stated or torchvision's own, they were applied in the order of the channels that training saw.
        model.transform.image_mean = list(reversed(model.transform.image_mean))
        model.transform.image_std = list(reversed(model.transform.image_std))
    if settings.rpn_box_weights is not None:
        model.rpn.box_coder.weights = settings.rpn_box_weights
    if settings.box_weights is not None and isinstance(module, ssd.SSD):
        model.box_coder.weights = settings.box_weights
    if settings.norm_eps is not None:
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d | FrozenBatchNorm2d):
                part.eps = settings.norm_eps


def rearranged(
    state: Mapping[str, Tensor], family: str, num_classes: int, settings: TrainingSettings
) -> Mapping[str, Tensor]:
    """``state`` of a detector of BGR images as one of RGB, and with the background as the first class."""
    changed = dict(state)
    if settings.colour == "BGR":
        first = next(
            (name for name, value in state.items() if value.ndim == 4 and tuple(value.shape[1:2]) == (3,)), None
        )
        if first is None:
            raise CheckpointError("colour is BGR, but no convolution takes three channels; leave colour out")
        changed[first] = state[first].flip(1)
    if settings.background == "last":
        for name, value in state.items():
            if CLASS_LAYERS.match(name) and value.shape[0] % num_classes == 0:
                # A box layer has four rows for each class; an SSD's class layer all classes for each anchor.
                shape = (-1, num_classes, 1) if family == "ssd" else (1, num_classes, value.shape[0] // num_classes)
                changed[name] = value.reshape(*shape, *value.shape[1:]).roll(1, dims=1).reshape(value.shape)
    return changed


def settings_of(module: nn.Module) -> TrainingSettings:
    """The settings in a torchvision Faster R-CNN or SSD, for the ``detector`` section of its checkpoint.

    What a module does not know is left out: class names, and the colour order of its images.
    """
    model: Any = module
    transform = model.transform
    common: dict[str, Any] = {
        "background": "first",
        "image_mean": tuple(float(value) for value in transform.image_mean),
        "image_std": tuple(float(value) for value in transform.image_std),
    }
    eps = {float(part.eps) for part in module.modules() if isinstance(part, nn.BatchNorm2d | FrozenBatchNorm2d)}
    if len(eps) == 1:
        common["norm_eps"] = eps.pop()
    if isinstance(module, ssd.SSD):
        boxes: Any = module.anchor_generator
        width, height = transform.fixed_size
        return TrainingSettings(
            **common,
            input_size=(int(height), int(width)),
            box_weights=_four(module.box_coder.weights),
            default_box_ratios=_levels(boxes.aspect_ratios),
            default_box_scales=tuple(float(scale) for scale in boxes.scales),
            default_box_steps=tuple(float(step) for step in boxes.steps or ()),
            default_box_clip=bool(boxes.clip),
        )
    if not isinstance(module, faster_rcnn.FasterRCNN):
        raise CheckpointError(f"a {type(module).__name__} is neither torchvision's Faster R-CNN nor its SSD")
    anchors, pool = model.rpn.anchor_generator, model.roi_heads.box_roi_pool
    size = tuple(pool.output_size)
    return TrainingSettings(
        **common,
        min_size=int(transform.min_size[-1]),
        max_size=int(transform.max_size),
        anchor_sizes=_levels(anchors.sizes),
        anchor_ratios=_levels(anchors.aspect_ratios),
        box_weights=_four(model.roi_heads.box_coder.weights),
        rpn_box_weights=_four(model.rpn.box_coder.weights),
        pool_size=int(size[0]) if len(set(size)) == 1 else None,
        pool_sampling_ratio=int(pool.sampling_ratio),
        pool_levels=tuple(str(name) for name in pool.featmap_names),
        pool_canonical_scale=int(pool.canonical_scale),
        pool_canonical_level=int(pool.canonical_level),
    )


def _levels(values: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in level) for level in values)


def _four(values: Any) -> Any:
    return tuple(float(value) for value in values)


def has_frozen_norms(module: nn.Module) -> bool:
    """Whether a module's BatchNorm was frozen, so that its epsilon is torchvision's 1e-5 or, in detectors that
    began as its COCO weights, 0."""
    return any(isinstance(part, FrozenBatchNorm2d) for part in module.modules())


def smallest_variance(state: Mapping[str, Tensor]) -> float:
    """The smallest of all BatchNorm variances, infinite where there is none."""
    variances = [value for name, value in state.items() if name.endswith("running_var") and value.numel()]
    return min((float(torch.min(value)) for value in variances), default=float("inf"))
