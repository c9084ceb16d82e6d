"""A Faster R-CNN on a classifier's features, as torchvision's tutorial builds it, is known by its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from edgedet.errors import CheckpointError
from edgedet.export.checkpoints.checkpoint import load_checkpoint
from edgedet.export.families.torchvision_architectures import build
from tests.export.checkpoints.saved_file import saved


def tutorial(features: nn.Sequential, channels: int) -> FasterRCNN:
    """As in torchvision's tutorial on fine-tuning object detectors."""
    backbone: Any = features
    backbone.out_channels = channels
    return FasterRCNN(
        backbone,
        num_classes=3,
        rpn_anchor_generator=AnchorGenerator(((32, 64, 128, 256, 512),), ((0.5, 1.0, 2.0),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 7, 2),
    ).eval()


TUTORIALS = {
    "fasterrcnn_mobilenet_v2_features": lambda: tutorial(
        torchvision.models.mobilenet_v2(weights=None).features, 1280
    ),
    "fasterrcnn_vgg16_features": lambda: tutorial(torchvision.models.vgg16(weights=None).features, 512),
    "fasterrcnn_vgg16_features_conv5": lambda: tutorial(torchvision.models.vgg16(weights=None).features[:-1], 512),
}


@pytest.mark.parametrize("arch", TUTORIALS)
def test_a_classifiers_features_as_backbone(tmp_path: Path, arch: str) -> None:
    torch.manual_seed(2)
    trained = TUTORIALS[arch]()
    path = saved(tmp_path / "a.pt", trained.state_dict())
    if "vgg16" in arch:
        with pytest.raises(CheckpointError, match=r"last pooling .*add --arch fasterrcnn_vgg16_features .*_conv5"):
            load_checkpoint(path)
    checkpoint = load_checkpoint(path, arch=arch if "vgg16" in arch else None)
    assert (checkpoint.arch, checkpoint.num_classes) == (arch, 3)
    built = build(arch, 3, checkpoint.state_dict)
    sizes = [(network.transform.min_size, network.transform.max_size) for network in (trained, built)]
    assert sizes == [((800,), 1333)] * 2
    for network in (trained, built):
        network.transform.min_size = (96,)
    image = [torch.rand(3, 96, 128)]
    with torch.inference_mode():
        expected, found = trained(image)[0], built(image)[0]
    assert len(expected["boxes"]) and all(torch.equal(expected[name], found[name]) for name in expected)


def test_anchors_of_a_classifiers_features_can_be_others(tmp_path: Path) -> None:
    torch.manual_seed(2)
    anchors = AnchorGenerator(((64, 128, 256),), ((0.5, 1.0, 2.0),))
    backbone: Any = torchvision.models.mobilenet_v2(weights=None).features
    backbone.out_channels = 1280
    trained = FasterRCNN(backbone, 3, rpn_anchor_generator=anchors, box_roi_pool=MultiScaleRoIAlign(["0"], 7, 2))
    state = load_checkpoint(saved(tmp_path / "a.pt", trained.state_dict())).state_dict
    with pytest.raises(CheckpointError, match="does not fit"):
        build("fasterrcnn_mobilenet_v2_features", 3, state)
    assert build("fasterrcnn_mobilenet_v2_features", 3, state, rpn_anchor_generator=anchors)
