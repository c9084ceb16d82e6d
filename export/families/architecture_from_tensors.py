"""What a torchvision detector's tensors or module tell: the architecture, and the number of classes."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models.detection import ssd

from edgedet.errors import CheckpointError

from .torchvision_architectures import ARCHITECTURES, KEYPOINT_LAYER, State


def class_count(arch: str, state: State) -> int:
    """Number of classes, background included, read off the tensors of the prediction head.

    Raises:
        CheckpointError: the head's tensors are not there.
    """
    if ARCHITECTURES[arch].family == "faster_rcnn":
        name = "roi_heads.box_predictor.cls_score.bias"
        if name in state:
            return int(state[name].shape[0])
    else:
        # Anchors per location: the box head has 4 outputs for each, the class head num_classes. SSDLite's heads
        # end in a 1x1 convolution behind a depthwise one.
        last = "0.1.bias" if arch.startswith("ssdlite") else "0.bias"
        classes = f"head.classification_head.module_list.{last}"
        boxes = f"head.regression_head.module_list.{last}"
        if classes in state and boxes in state:
            return int(state[classes].shape[0]) * 4 // int(state[boxes].shape[0])
    raise CheckpointError(
        f"the tensors are not those of {arch}: its class prediction layer is missing; check --arch"
    )


def module_class_count(module: nn.Module) -> int:
    """Number of classes, background included, of a torchvision detector.

    Raises:
        CheckpointError: its prediction layer is not torchvision's.
    """
    model: Any = module
    try:
        if isinstance(module, ssd.SSD):
            return int(model.head.classification_head.num_columns)
        return int(model.roi_heads.box_predictor.cls_score.out_features)
    except AttributeError as error:
        raise CheckpointError(
            f"the prediction layer of this {type(module).__name__} is not torchvision's own ({error}); save its "
            "state_dict where it is of a known architecture"
        ) from error


def guess_architecture(state: State) -> str | None:
    """The one architecture whose tensor names these are, or None when several or none fit."""
    names = set(state)

    def has(*wanted: str) -> bool:
        return all(name in names for name in wanted)

    if has("head.classification_head.module_list.0.1.bias"):
        return "ssdlite320_mobilenet_v3_large"
    if has("head.classification_head.module_list.0.bias", "backbone.scale_weight"):
        return "ssd300_vgg16"
    if has("roi_heads.box_head.layer4.0.conv1.weight"):
        return "fasterrcnn_resnet50_c4"
    if has("backbone.features.28.weight", "roi_heads.box_predictor.cls_score.bias"):
        return "fasterrcnn_vgg16"
    if has("backbone.18.0.weight", "rpn.head.cls_logits.weight"):
        return "fasterrcnn_mobilenet_v2_features"
    masks, keypoints = has("roi_heads.mask_predictor.mask_fcn_logits.weight"), has(KEYPOINT_LAYER)
    if masks and keypoints:
        return None
    kind = "maskrcnn" if masks else "keypointrcnn" if keypoints else "fasterrcnn"
    if has("backbone.body.layer4.0.conv1.weight", "backbone.fpn.inner_blocks.0.0.weight"):
        return None if "rpn.head.conv.1.0.weight" in names else f"{kind}_resnet50_fpn"
    # Of Faster R-CNNs with this backbone there are two, which differ by settings alone.
    if kind != "fasterrcnn" and has("backbone.body.16.0.weight", "backbone.fpn.inner_blocks.0.0.weight"):
        return f"{kind}_mobilenet_v3_large_fpn"
    return None
