"""Mask R-CNN from its file: recognised by its tensors, exported, and run by torchvision for comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgedet import Detector
from edgedet.errors import UsageError
from edgedet.export.checkpoints.trained import load_trained, require_exportable
from edgedet.export.families.architecture_from_tensors import guess_architecture
from edgedet.export.families.legacy_tensor_names import present_names
from edgedet.export.families.torchvision_architectures import build
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.opening import read_card
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import Tolerance, match_detections
from tests.export.mask_networks import mask_network

ARCH = "maskrcnn_mobilenet_v3_large_fpn"
FRAME = golden_frame(4, 240, 320)
SETTINGS = {"min_size": 160, "max_size": 224}
FEW = {"box_detections_per_img": 12}


@pytest.fixture(scope="module", name="checkpoint")
def _checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a seed, with the tensors named as torchvision named them before 0.13."""
    model = mask_network(ARCH, 4, wide=True, **SETTINGS, **FEW)
    former = {
        name.replace("rpn.head.conv.0.0.", "rpn.head.conv."): tensor
        for name, tensor in model.state_dict().items()
        if ".mask_head." not in name
    }
    for number in range(4):
        for part in ("weight", "bias"):
            tensor = model.state_dict()[f"roi_heads.mask_head.{number}.0.{part}"]
            former[f"roi_heads.mask_head.mask_fcn{number + 1}.{part}"] = tensor
    path = tmp_path_factory.mktemp("masks") / "cells.pt"
    torch.save({"model": former, "classes": ["a", "b", "c"], "detector": SETTINGS}, path)
    return path


def test_it_is_recognised_by_its_tensors() -> None:
    for arch in (ARCH, "maskrcnn_resnet50_fpn"):
        with torch.device("meta"):
            assert guess_architecture(build(arch, 4).state_dict()) == arch
    assert list(present_names({"roi_heads.mask_head.mask_fcn3.bias": torch.zeros(1)})) == [
        "roi_heads.mask_head.2.0.bias"
    ]


def test_a_module_saved_whole_is_exportable(tmp_path: Path) -> None:
    model = mask_network(ARCH, 4, wide=True, **SETTINGS, **FEW)
    assert require_exportable(model, tmp_path / "whole.pt") == "faster_rcnn"
    torch.save(model, tmp_path / "whole.pt")
    trained = load_trained(tmp_path / "whole.pt", classes=("a", "b", "c"))
    assert trained.checkpoint.arch == ARCH and type(trained.module).__name__ == "MaskRCNN"


def test_its_graph_and_torchvision_itself_agree(checkpoint: Path, tmp_path: Path) -> None:
    options = ExportOptions(max_detections=12, frame_size=(320, 240), proposals=60)
    report = export_model(checkpoint, tmp_path / "cells.onnx", options)
    card = read_card(tmp_path / "cells.onnx")
    assert (card.architecture, card.family, card.output.masks) == (ARCH, "faster_rcnn", "in_boxes")
    assert card.measured["parity"]["found"] > 0.9, report.notes
    with Detector(tmp_path / "cells.onnx") as graph, Detector(checkpoint) as framework:
        assert framework.card.output.masks == "in_boxes"
        ours, theirs = graph.detect(FRAME), framework.detect(FRAME)
    assert ours.masks is not None and theirs.masks is not None
    matched = match_detections(ours, theirs, Tolerance(min_score=0.2))
    assert len(matched.pairs) >= 5
    differences = [np.abs(ours.masks.bitmaps[i] - theirs.masks.bitmaps[j]).max() for i, j in matched.pairs.tolist()]
    assert max(differences) < 0.01
    with pytest.raises(UsageError, match=r"conf 0\.01 is below"):
        Detector(tmp_path / "cells.onnx", conf=0.01)


def test_the_runtime_option_still_ends_in_detections(checkpoint: Path, tmp_path: Path) -> None:
    options: Any = ExportOptions(max_detections=12, frame_size=(320, 240), proposals=60, nms="runtime")
    export_model(checkpoint, tmp_path / "cells.onnx", options)
    card = read_card(tmp_path / "cells.onnx")
    assert card.output.format == "detections" and card.provenance["nms"] == "steps"
    with pytest.raises(UsageError, match="inside this artifact"):
        Detector(tmp_path / "cells.onnx", iou=0.3)


def test_proposals_from_outside_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds a Mask R-CNN, whose masks nothing would be held against"):
        export_model(checkpoint, tmp_path / "cells.onnx", ExportOptions(outside_proposals=8))
    assert not (tmp_path / "cells.onnx").exists()
