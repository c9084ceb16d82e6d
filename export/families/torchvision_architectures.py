"""The torchvision detectors edgedet exports, built from torchvision's own blocks, with their state loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torchvision
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection import faster_rcnn, keypoint_rcnn, mask_rcnn, ssd, ssdlite
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.ops.misc import FrozenBatchNorm2d

from edgedet.errors import CheckpointError

from ..training.settings import NOTHING_STATED, TrainingSettings
from ..training.torchvision import (
    constructor_arguments,
    pooling,
    rearranged,
    require_settings_of,
    set_constants,
)
from .legacy_tensor_names import present_names
from .skip_init import Unfilled

State = Mapping[str, Tensor]

KEYPOINT_LAYER = "roi_heads.keypoint_predictor.kps_score_lowres.weight"
"""The last layer of the keypoint branch, [512, J, 4, 4]."""


@dataclass(frozen=True)
class Architecture:
    """How one architecture is built."""

    family: Literal["ssd", "faster_rcnn"]
    build: Callable[[int, State | None, dict[str, Any]], nn.Module]
    """(num_classes including background, state or None, constructor overrides) -> module in training layout."""
    levels: int
    """Feature levels that have anchors, or default boxes, of their own."""


def build(
    arch: str,
    num_classes: int,
    state_dict: State | None = None,
    *,
    settings: TrainingSettings = NOTHING_STATED,
    **overrides: Any,
) -> nn.Module:
    """Build ``arch`` with ``num_classes`` (background included) and load ``state_dict`` into it.

    ``settings``: what training knew; what it leaves unsaid is as torchvision has it. The module takes RGB and
    counts the background as class 0 whatever training did: the tensors are rearranged. ``overrides`` go to
    torchvision's constructor (``rpn_post_nms_top_n_test=50``, ``min_size=240``, ...) and come before ``settings``.
    The module is returned in evaluation mode when a state is given, in training mode otherwise.

    Raises:
        CheckpointError: unknown architecture, settings that are none of its, or tensors that do not fit it.
    """
    if arch not in ARCHITECTURES:
        raise CheckpointError(
            f"unknown architecture {arch!r}; edgedet exports {', '.join(sorted(ARCHITECTURES))}, "
            "YOLOX from ONNX and Ultralytics models"
        )
    family = ARCHITECTURES[arch].family
    require_settings_of(family, settings, arch)
    stated = constructor_arguments(family, settings, levels=ARCHITECTURES[arch].levels)
    with nullcontext() if state_dict is None else Unfilled():
        module = ARCHITECTURES[arch].build(num_classes, state_dict, stated | overrides)
    set_constants(module, settings)
    if state_dict is None:
        return module
    load_state(module, rearranged(present_names(state_dict), family, num_classes, settings), arch)
    return module.eval()


def load_state(module: nn.Module, state: State, arch: str) -> None:
    """Load ``state`` strictly (batch counters aside), naming the first tensors that disagree.

    Raises:
        CheckpointError: a tensor is missing, unexpected or of another shape.
    """
    own = module.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    missing = [name for name in own if name not in state and name not in counters]
    unexpected = [name for name in state if name not in own and not name.endswith("num_batches_tracked")]
    wrong = [name for name in own if name in state and own[name].shape != state[name].shape]
    if missing or unexpected or wrong:
        if wrong:
            name = next((name for name in wrong if "cls_logits" in name), wrong[0])
            detail = f"{name} is {tuple(state[name].shape)}, {arch} has {tuple(own[name].shape)}"
            if "cls_logits" in name and state[name].shape[0] != own[name].shape[0]:
                detail += (
                    f": {state[name].shape[0]} anchors a place, {own[name].shape[0]} here; say which with "
                    "--detector 'anchor_sizes=[[...]]' and 'anchor_ratios=[[...]]'"
                )
        elif missing:
            detail = f"{missing[0]} is missing"
        else:
            detail = f"{unexpected[0]} is not part of {arch}"
        raise CheckpointError(
            f"the checkpoint does not fit {arch}: {detail} ({len(missing)} tensors missing, "
            f"{len(unexpected)} unexpected, {len(wrong)} of another shape); check --arch and the class count"
        )
    cast = {name: tensor.to(own[name].dtype) for name, tensor in state.items() if name in own}
    module.load_state_dict(cast, strict=False)


def _with_keypoints(
    build: Callable[..., nn.Module], num_classes: int, state: State | None, overrides: dict[str, Any]
) -> nn.Module:
    """A Keypoint R-CNN with as many keypoints as ``state`` has, torchvision's 17 without one."""
    count = (
        {} if state is None or KEYPOINT_LAYER not in state else {"num_keypoints": state[KEYPOINT_LAYER].shape[1]}
    )
    return build(num_classes, state, count | overrides, kind=keypoint_rcnn.KeypointRCNN)


def _norm_layer(state: State | None) -> Callable[..., nn.Module]:
    """BatchNorm as the checkpoint was trained: torchvision freezes it when it starts from pretrained weights."""
    if state is None or any(name.endswith("num_batches_tracked") for name in state):
        return nn.BatchNorm2d
    return FrozenBatchNorm2d


def _ssdlite(num_classes: int, state: State | None, overrides: dict[str, Any]) -> nn.Module:
    # torchvision halves the tail when it builds without pretrained weights, and only then.
    tail = "backbone.features.1.0.3.0.weight"
    reduced = state is None or tail not in state or state[tail].shape[0] == 80
    norm_layer = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    backbone = torchvision.models.mobilenet_v3_large(
        weights=None, norm_layer=norm_layer, reduced_tail=reduced, width_mult=1.0
    )
    if state is None:
        ssdlite._normal_init(backbone)
    extractor = ssdlite._mobilenet_extractor(backbone, 6, norm_layer)
    size = overrides.pop("size", (320, 320))
    anchors = overrides.pop("anchor_generator", None) or DefaultBoxGenerator(
        [[2, 3] for _ in range(6)], min_ratio=0.2, max_ratio=0.95
    )
    channels = detection._utils.retrieve_out_channels(extractor, size)
    head = ssdlite.SSDLiteHead(channels, anchors.num_anchors_per_location(), num_classes, norm_layer)
    settings: dict[str, Any] = {
        "score_thresh": 0.001,
        "nms_thresh": 0.55,
        "detections_per_img": 300,
        "topk_candidates": 300,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    return ssd.SSD(extractor, anchors, size, num_classes, head=head, **(settings | overrides))


def _ssd300(num_classes: int, state: State | None, overrides: dict[str, Any]) -> nn.Module:
    size = overrides.pop("size", (300, 300))
    anchors = overrides.pop("anchor_generator", None) or DefaultBoxGenerator(
        [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
        scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
        steps=[8, 16, 32, 64, 100, 300],
    )
    settings: dict[str, Any] = {
        "image_mean": [0.48235, 0.45882, 0.40784],
        # Pixels of 0..255, as Caffe's VGG16 takes them.
        "image_std": [1.0 / 255.0, 1.0 / 255.0, 1.0 / 255.0],
    }
    extractor = ssd._vgg_extractor(torchvision.models.vgg16(weights=None), False, 5)
    return ssd.SSD(extractor, anchors, size, num_classes, **(settings | overrides))


def _mobilenet_fpn(
    defaults: dict[str, Any],
    num_classes: int,
    state: State | None,
    overrides: dict[str, Any],
    *,
    kind: type[faster_rcnn.FasterRCNN] = faster_rcnn.FasterRCNN,
) -> nn.Module:
    norm_layer = _norm_layer(state)
    backbone = torchvision.models.mobilenet_v3_large(weights=None, norm_layer=norm_layer)
    body = detection.backbone_utils._mobilenet_extractor(backbone, True, 6)
    sizes = ((32, 64, 128, 256, 512),) * 3
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 3)
    settings = defaults | {"rpn_anchor_generator": anchors, "rpn_score_thresh": 0.05}
    return kind(body, num_classes, **(settings | _pooled(overrides, FPN_LEVELS)))


def _resnet50_fpn(
    num_classes: int,
    state: State | None,
    overrides: dict[str, Any],
    *,
    kind: type[faster_rcnn.FasterRCNN] = faster_rcnn.FasterRCNN,
) -> nn.Module:
    backbone = torchvision.models.resnet50(weights=None, norm_layer=_norm_layer(state))
    body = detection.backbone_utils._resnet_fpn_extractor(backbone, 5)
    return kind(body, num_classes, **_pooled(overrides, FPN_LEVELS))


def _pooled(overrides: dict[str, Any], levels: tuple[str, ...], size: int = 7) -> dict[str, Any]:
    """``overrides`` with RoIAlign as they state it, else over ``levels``, ``size`` bins a side."""
    return overrides | {"box_roi_pool": pooling(overrides.get("box_roi_pool"), levels=levels, size=size)}


FPN_LEVELS = ("0", "1", "2", "3")
"""What torchvision pools from, where a network has them all."""

SINGLE_SCALE_ANCHORS = (((128, 256, 512),), ((0.5, 1.0, 2.0),))
"""Nine anchors a location on stride 16, as in the Faster R-CNN paper (arXiv:1506.01497)."""


class _VGG16Conv5(nn.Module):
    """VGG16 up to conv5_3 (stride 16, 512 channels), before the last pooling."""

    out_channels = 512

    def __init__(self) -> None:
        super().__init__()
        self.features = torchvision.models.vgg16(weights=None).features[:-1]

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        return features


class _ResNet50C4(nn.Module):
    """ResNet-50 up to conv4 (stride 16, 1024 channels)."""

    out_channels = 1024

    def __init__(self, resnet: torchvision.models.ResNet) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu, self.maxpool = resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool
        self.layer1, self.layer2, self.layer3 = resnet.layer1, resnet.layer2, resnet.layer3

    def forward(self, images: Tensor) -> Tensor:
        stem = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features: Tensor = self.layer3(self.layer2(self.layer1(stem)))
        return features


class _Conv5Head(nn.Module):
    """ResNet's last stage as box head, then global average pooling (arXiv:1512.03385, "C4")."""

    def __init__(self, layer4: nn.Module) -> None:
        super().__init__()
        self.layer4 = layer4

    def forward(self, pooled: Tensor) -> Tensor:
        return self.layer4(pooled).mean(dim=(2, 3))


def _single_scale(
    backbone: nn.Module, num_classes: int, overrides: dict[str, Any], **settings: Any
) -> faster_rcnn.FasterRCNN:
    overrides = _pooled(overrides, ("0",), settings.pop("pool_size", 7))
    defaults: dict[str, Any] = {
        "min_size": 600,
        "max_size": 1000,
        "rpn_anchor_generator": AnchorGenerator(*SINGLE_SCALE_ANCHORS),
        "rpn_post_nms_top_n_test": 300,
    }
    return faster_rcnn.FasterRCNN(backbone, **(defaults | settings | overrides | {"num_classes": num_classes}))


def _vgg16(num_classes: int, state: State | None, overrides: dict[str, Any]) -> nn.Module:
    return _single_scale(_VGG16Conv5(), num_classes, overrides)


def _resnet50_c4(num_classes: int, state: State | None, overrides: dict[str, Any]) -> nn.Module:
    resnet = torchvision.models.resnet50(weights=None, norm_layer=_norm_layer(state))
    model = _single_scale(
        _ResNet50C4(resnet), num_classes, overrides, pool_size=14, box_head=_Conv5Head(resnet.layer4)
    )
    model.roi_heads.box_predictor = faster_rcnn.FastRCNNPredictor(2048, num_classes)
    return model


def _features(
    make: Callable[[], nn.Sequential],
    out_channels: int,
    num_classes: int,
    state: State | None,
    overrides: dict[str, Any],
) -> nn.Module:
    """A classifier's ``features`` as they are, the way of torchvision's tutorial on object detection."""
    backbone: Any = make()
    backbone.out_channels = out_channels
    sizes, ratios = TUTORIAL_ANCHORS
    settings: dict[str, Any] = {"rpn_anchor_generator": AnchorGenerator(sizes, ratios)}
    return faster_rcnn.FasterRCNN(
        backbone, **(settings | _pooled(overrides, ("0",)) | {"num_classes": num_classes})
    )


def _vgg16_features(end: int | None) -> nn.Sequential:
    features: nn.Sequential = torchvision.models.vgg16(weights=None).features[:end]
    return features


def _mobilenet_v2_features() -> nn.Sequential:
    features: nn.Sequential = torchvision.models.mobilenet_v2(weights=None).features
    return features


TUTORIAL_ANCHORS = (((32, 64, 128, 256, 512),), ((0.5, 1.0, 2.0),))
"""Fifteen anchors a location."""

ARCHITECTURES: dict[str, Architecture] = {
    "ssdlite320_mobilenet_v3_large": Architecture("ssd", _ssdlite, 6),
    "ssd300_vgg16": Architecture("ssd", _ssd300, 6),
    "fasterrcnn_mobilenet_v3_large_320_fpn": Architecture(
        "faster_rcnn",
        partial(
            _mobilenet_fpn,
            {"min_size": 320, "max_size": 640, "rpn_pre_nms_top_n_test": 150, "rpn_post_nms_top_n_test": 150},
        ),
        3,
    ),
    "fasterrcnn_mobilenet_v3_large_fpn": Architecture("faster_rcnn", partial(_mobilenet_fpn, {}), 3),
    "fasterrcnn_resnet50_fpn": Architecture("faster_rcnn", _resnet50_fpn, 5),
    "maskrcnn_resnet50_fpn": Architecture("faster_rcnn", partial(_resnet50_fpn, kind=mask_rcnn.MaskRCNN), 5),
    # Of torchvision's blocks, as its Faster R-CNN with this backbone; it has no function of that name.
    "maskrcnn_mobilenet_v3_large_fpn": Architecture(
        "faster_rcnn", partial(_mobilenet_fpn, {}, kind=mask_rcnn.MaskRCNN), 3
    ),
    "keypointrcnn_resnet50_fpn": Architecture("faster_rcnn", partial(_with_keypoints, _resnet50_fpn), 5),
    "keypointrcnn_mobilenet_v3_large_fpn": Architecture(
        "faster_rcnn", partial(_with_keypoints, partial(_mobilenet_fpn, {})), 3
    ),
    "fasterrcnn_vgg16": Architecture("faster_rcnn", _vgg16, 1),
    "fasterrcnn_resnet50_c4": Architecture("faster_rcnn", _resnet50_c4, 1),
    "fasterrcnn_mobilenet_v2_features": Architecture(
        "faster_rcnn", partial(_features, _mobilenet_v2_features, 1280), 1
    ),
    # The last pooling (stride 32, or 16 without it) has no tensors: only --arch can say.
    "fasterrcnn_vgg16_features": Architecture(
        "faster_rcnn", partial(_features, partial(_vgg16_features, None), 512), 1
    ),
    "fasterrcnn_vgg16_features_conv5": Architecture(
        "faster_rcnn", partial(_features, partial(_vgg16_features, -1), 512), 1
    ),
}
