"""Faster R-CNNs whose heads are narrow: half a gigabyte of weights would prove nothing more."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor

WIDTH = 64


def narrow(model: Any) -> Any:
    """Give ``model`` ``WIDTH`` numbers between the two layers of its box head, not 1024, and as many behind; and as
    many channels in its keypoint head, not 512.

    The network is the same, node by node. Heads without linear layers, and SSDs, stay as they are.
    """
    head = getattr(getattr(model, "roi_heads", None), "box_head", None)
    if hasattr(head, "fc6"):
        classes = model.roi_heads.box_predictor.cls_score.out_features
        head.fc6, head.fc7 = nn.Linear(head.fc6.in_features, WIDTH), nn.Linear(WIDTH, WIDTH)
        model.roi_heads.box_predictor = FastRCNNPredictor(WIDTH, classes)
    branch = getattr(getattr(model, "roi_heads", None), "keypoint_head", None)
    if branch is not None:
        count = model.roi_heads.keypoint_predictor.out_channels
        model.roi_heads.keypoint_head = KeypointRCNNHeads(model.backbone.out_channels, (WIDTH,) * 8)
        model.roi_heads.keypoint_predictor = KeypointRCNNPredictor(WIDTH, count)
    return model
