"""Detectors whose findings tell how they were trained, and how they may have been trained otherwise."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator

from edgedet.export.families.torchvision_architectures import build

SSDLITE, RCNN = "ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"
NAMES = ("a", "b", "c")
State = dict[str, Tensor]


def telling(arch: str) -> Any:
    """A detector of random weights whose scores and boxes depend on the picture; a new one, and always the same."""
    return copy.deepcopy(_made(arch))


@functools.cache
def _made(arch: str) -> Any:
    torch.manual_seed(3)
    model: Any = build(arch, len(NAMES) + 1)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        # Statistics of real activations, or nothing of the picture would reach the heads.
        features = model.backbone.train()(torch.randn(4, 3, 160, 160))
        if hasattr(model, "head"):
            model.head.train()(list(features.values()))
        for name, tensor in model.named_parameters():
            if "cls_score" in name or ("classification_head" in name and name.endswith("1.weight")):
                tensor.normal_(0, 0.3)
            if "bbox_pred" in name or ("regression_head" in name and name.endswith("1.weight")):
                tensor.normal_(0, 0.3)
    return model


def found(model: Any) -> Mapping[str, Tensor]:
    """What it finds in a fixed RGB picture."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 12, 16, generator=generator)
    picture = nn.functional.interpolate(coarse, (180, 240), mode="bilinear")[0]
    with torch.inference_mode():
        (result,) = model.eval()([picture])
    return result  # type: ignore[no-any-return]


@functools.cache
def usual(arch: str) -> Mapping[str, Tensor]:
    """What :func:`telling` finds in that picture as it is."""
    return found(telling(arch))


def other_anchors(model: Any, state: State) -> dict[str, Any]:
    if hasattr(model, "rpn"):
        sizes = ((24, 48, 96, 192, 384),) * 3
        model.rpn.anchor_generator = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 3)
        return {"anchor_sizes": [list(sizes[0])], "anchor_ratios": [[0.5, 1, 2]]}
    scales = [0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9]
    model.anchor_generator = DefaultBoxGenerator([[2, 3] for _ in range(6)], scales=scales, clip=False)
    stated = {"default_box_ratios": [[2, 3]] * 6, "default_box_scales": scales}
    return stated | {"default_box_steps": [], "default_box_clip": False}


def other_size(model: Any, state: State) -> dict[str, Any]:
    if hasattr(model, "rpn"):
        model.transform.min_size, model.transform.max_size = (224,), 400
        return {"min_size": 224, "max_size": 400}
    model.transform.fixed_size = (288, 256)
    return {"input_size": [256, 288]}


def other_mean(model: Any, state: State) -> dict[str, Any]:
    model.transform.image_mean, model.transform.image_std = [0.1, 0.2, 0.3], [0.25, 0.5, 1.0]
    return {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.25, 0.5, 1]}


def other_box_weights(model: Any, state: State) -> dict[str, Any]:
    if hasattr(model, "rpn"):
        model.roi_heads.box_coder.weights, model.rpn.box_coder.weights = (5.0, 5.0, 2.5, 2.5), (4.0, 4.0, 4.0, 4.0)
        return {"box_weights": [5, 5, 2.5, 2.5], "rpn_box_weights": [4, 4, 4, 4]}
    model.box_coder.weights = (5.0, 5.0, 2.5, 2.5)
    return {"box_weights": [5, 5, 2.5, 2.5]}


def bgr(model: Any, state: State) -> dict[str, Any]:
    """Training saw BGR; the truth here is the same network for RGB."""
    first = next(name for name, value in state.items() if value.ndim == 4)
    state[first] = state[first].flip(1)
    model.transform.image_mean.reverse()
    model.transform.image_std.reverse()
    return {"colour": "BGR"}


def background_last(model: Any, state: State) -> dict[str, Any]:
    """The rows of the class layer as Keras' lineage has them."""
    for name, value in state.items():
        if "cls_score" in name:
            state[name] = value.roll(-1, 0)
        elif "bbox_pred" in name and "roi_heads" in name:
            state[name] = value.roll(-4, 0)
        elif "classification_head" in name and ".1." in name and name.count(".") == 5:
            state[name] = value.reshape(-1, 4, *value.shape[1:]).roll(-1, 1).reshape(value.shape)
    return {"background": "last"}


def other_pooling(model: Any, state: State) -> dict[str, Any]:
    pool = model.roi_heads.box_roi_pool
    pool.scales = pool.map_levels = None  # remembered from the picture before
    pool.sampling_ratio, pool.canonical_scale, pool.featmap_names = 1, 112, ["pool"]
    return {"pool_sampling_ratio": 1, "pool_canonical_scale": 112, "pool_levels": ["pool"]}


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return len(first["scores"]) == len(second["scores"]) and all(
        torch.allclose(first[key].float(), second[key].float(), rtol=1e-3, atol=1e-3)
        for key in ("boxes", "scores", "labels")
    )
