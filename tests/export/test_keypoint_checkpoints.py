"""Keypoint R-CNN from its file: recognised by its tensors, exported, and run by torchvision for comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgedet import Detector
from edgedet.artifacts.keypoint_skeleton import COCO_PERSON
from edgedet.errors import CheckpointError, UsageError
from edgedet.export.checkpoints.trained import load_trained, require_exportable
from edgedet.export.families.architecture_from_tensors import guess_architecture
from edgedet.export.families.torchvision_architectures import build
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.export.training.keypoints import skeleton_of
from edgedet.export.training.settings import TrainingSettings, parse_settings
from edgedet.opening import read_card
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import Tolerance, match_detections
from tests.export.keypoint_networks import keypoint_network

ARCH = "keypointrcnn_mobilenet_v3_large_fpn"
FRAME = golden_frame(4, 240, 320)
SETTINGS = {"min_size": 160, "max_size": 224}
FEW = {"box_detections_per_img": 8}
"""Each passes eight convolutions of 512 channels."""


@pytest.fixture(scope="module", name="checkpoint")
def _checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a seed; nothing says of what the keypoints are."""
    model = keypoint_network(ARCH, 2, wide=True, **SETTINGS, **FEW)
    path = tmp_path_factory.mktemp("keypoints") / "persons.pt"
    torch.save({"model": model.state_dict(), "detector": SETTINGS}, path)
    return path


def test_it_is_recognised_by_its_tensors() -> None:
    for arch in (ARCH, "keypointrcnn_resnet50_fpn"):
        with torch.device("meta"):
            state = build(arch, 2, num_keypoints=5).state_dict()
            assert guess_architecture(state) == arch
            both = {**state, "roi_heads.mask_predictor.mask_fcn_logits.weight": torch.zeros(1)}
            assert guess_architecture(both) is None


def test_a_checkpoint_without_names_has_coco_persons(checkpoint: Path) -> None:
    trained = load_trained(checkpoint)
    assert trained.checkpoint.arch == ARCH and trained.checkpoint.names == ("person",)
    assert trained.skeleton is not None and trained.skeleton.names == COCO_PERSON.names
    said = [assumption.text() for assumption in trained.assumed]
    assert "keypoints: COCO's, from nose to right_ankle" in said
    assert "class names: torchvision's COCO list" in said
    names = [f"p{number}" for number in range(17)]
    told = load_trained(checkpoint, given=parse_settings(f"keypoint_names={names}"), classes=("cow",))
    assert told.skeleton is not None and told.skeleton.names == tuple(names) and told.skeleton.links == ()
    assert not any(text.startswith(("keypoints", "class names")) for text in (each.text() for each in told.assumed))


def test_keypoints_that_nobody_names_are_numbered_and_said() -> None:
    skeleton, assumed = skeleton_of(2, TrainingSettings(keypoint_links=((0, 1),)))
    assert skeleton.names == ("keypoint 1", "keypoint 2") and skeleton.links == ((0, 1),)
    assert [each.text() for each in assumed] == ["keypoints: numbered from 1 to 2, and nothing joined"]
    with pytest.raises(CheckpointError, match="keypoint_names has 1 names, the detector 2 keypoints"):
        skeleton_of(2, TrainingSettings(keypoint_names=("a",)))
    with pytest.raises(CheckpointError, match="keypoint_links: a skeleton joins the keypoints 0 and 2"):
        skeleton_of(2, TrainingSettings(keypoint_links=((0, 2),)))


def test_settings_of_keypoints_are_refused_elsewhere() -> None:
    with pytest.raises(CheckpointError, match="keypoint_names is no setting of maskrcnn_resnet50_fpn"):
        build("maskrcnn_resnet50_fpn", 2, settings=TrainingSettings(keypoint_names=("a",)))


def test_a_module_saved_whole_is_exportable(tmp_path: Path) -> None:
    model = keypoint_network(ARCH, 2, wide=True, **SETTINGS, **FEW)
    assert require_exportable(model, tmp_path / "whole.pt") == "faster_rcnn"
    torch.save(model, tmp_path / "whole.pt")
    trained = load_trained(tmp_path / "whole.pt")
    assert trained.checkpoint.arch == ARCH and type(trained.module).__name__ == "KeypointRCNN"


def test_its_graph_and_torchvision_itself_agree(checkpoint: Path, tmp_path: Path) -> None:
    options = ExportOptions(max_detections=3, frame_size=(320, 240), proposals=300)
    report = export_model(checkpoint, tmp_path / "persons.onnx", options)
    card = read_card(tmp_path / "persons.onnx")
    assert (card.architecture, card.family, card.names) == (ARCH, "faster_rcnn", ("person",))
    assert card.output.keypoints is not None and card.output.keypoints.form == "heatmaps"
    assert card.measured["parity"]["found"] > 0.9, report.notes
    assert card.golden is not None and np.shape(card.golden["keypoints"])[1:] == (17, 3)
    with Detector(tmp_path / "persons.onnx") as graph, Detector(checkpoint) as framework:
        assert framework.card.output.keypoints is not None and framework.card.output.keypoints.form == "points"
        ours, theirs = graph.detect(FRAME), framework.detect(FRAME)
    matched = match_detections(ours, theirs, Tolerance(min_score=0.2))
    # With its own thousand proposals torchvision keeps others, too; the export has compared with the same ones.
    assert len(matched.pairs) >= 1
    assert ours.keypoints is not None and theirs.keypoints is not None and theirs.skeleton == ours.skeleton
    differences = np.abs(ours.keypoints[matched.pairs[:, 0]] - theirs.keypoints[matched.pairs[:, 1]])
    assert np.mean(differences[..., :2] <= 0.5) > 0.98 and differences[..., 2].max() < 0.01


def test_proposals_from_outside_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds a Keypoint R-CNN, whose keypoints nothing would be held against"):
        export_model(checkpoint, tmp_path / "persons.onnx", ExportOptions(outside_proposals=8))
    assert not (tmp_path / "persons.onnx").exists()
