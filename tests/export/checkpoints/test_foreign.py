"""Checkpoints of models that are not exported here are named for what they are, with what to do instead."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from edgedet.errors import CheckpointError
from edgedet.export.checkpoints.checkpoint import load_checkpoint
from tests.export.checkpoints.saved_file import saved


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["backbone.backbone.stem.conv.conv.weight", "head.cls_preds.0.weight"],
            "is a YOLOX model.*--family yolox",
        ),
        (["model.0.conv.weight", "model.24.m.0.weight"], "is a YOLO model of Ultralytics or of the YOLOv5"),
        (["backbone.layer1.0.conv1.weight", "bbox_head.fcos_cls.weight"], "is an MMDetection model"),
        (["backbone.bottom_up.stem.conv1.weight", "roi_heads.box_predictor.cls_score.weight"], "is a Detectron2"),
        (["transformer.encoder.layers.0.a", "class_embed.weight"], "is a DETR-like model"),
        (["conv1.weight", "layer1.0.conv1.weight", "fc.weight"], "is an image classifier"),
        (["features.0.weight", "classifier.6.weight"], "is an image classifier"),
        (["backbone.conv1.weight", "classifier.4.weight"], "is a segmentation model"),
        (["some.thing", "other"], r"holds the tensors of no detector .*some\.thing"),
    ],
)
def test_models_of_other_kinds_are_named(tmp_path: Path, names: list[str], words: str) -> None:
    content = {"model": {name: torch.ones(2, 2) for name in names}}
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(saved(tmp_path / "a.pt", content))


def test_a_module_of_a_repository_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """YOLOv5 and YOLOv7 save whole modules, of classes in a package called ``models``."""
    package, inside = ModuleType("models"), ModuleType("models.yolo")

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Sequential(nn.Conv2d(3, 4, 1))

    Model.__module__, Model.__qualname__ = "models.yolo", "Model"
    inside.Model = Model  # type: ignore[attr-defined]
    with monkeypatch.context() as there:
        there.setitem(sys.modules, "models", package)
        there.setitem(sys.modules, "models.yolo", inside)
        path = saved(tmp_path / "a.pt", {"epoch": 1, "model": Model(), "ema": None})
    with pytest.raises(CheckpointError, match=r"a checkpoint of the YOLOv5 or YOLOv7 repository.*export\.py"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"package 'models'.*YOLOv5.*export\.py"):
        load_checkpoint(path, trust="code")
