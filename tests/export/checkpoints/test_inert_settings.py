"""A detector that was saved whole says its own settings, with its code and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator

from edgedet.errors import CheckpointError
from edgedet.export.checkpoints.trained import load_trained
from edgedet.export.families.torchvision_architectures import build
from edgedet.export.training.settings import TrainingSettings
from tests.export.checkpoints.telling_detectors import (
    RCNN,
    SSDLITE,
    equal,
    found,
    other_anchors,
    other_box_weights,
    other_mean,
    other_pooling,
    other_size,
    telling,
)


def test_a_module_saved_whole_says_it_all_but_colour_and_names(tmp_path: Path) -> None:
    model = telling(RCNN)
    state = dict(model.state_dict())
    for plant in (other_anchors, other_mean, other_box_weights, other_pooling):
        plant(model, state)
    torch.save(model, tmp_path / "m.pt")
    trained = load_trained(tmp_path / "m.pt", trust="code")
    assert equal(found(trained.module), found(model))
    assert [assumption.what for assumption in trained.assumed] == ["colour", "class names"]
    with pytest.raises(CheckpointError, match="holds a whole module, which has its own settings"):
        load_trained(tmp_path / "m.pt", trust="code", given=TrainingSettings(image_mean=(0.5, 0.5, 0.5)))


@pytest.mark.parametrize("arch", [SSDLITE, RCNN])
def test_a_module_saved_whole_says_as_much_without_its_code(tmp_path: Path, arch: str) -> None:
    model = telling(arch)
    state = dict(model.state_dict())
    for plant in (other_anchors, other_mean, other_box_weights, other_size):
        plant(model, state)
    torch.save(model, tmp_path / "m.pt")
    trained = load_trained(tmp_path / "m.pt", arch=arch)
    assert equal(found(trained.module), found(model))
    assert [assumption.what for assumption in trained.assumed] == ["colour", "class names"]


def test_parts_of_another_class_say_nothing_without_their_code(tmp_path: Path) -> None:
    model: Any = telling(SSDLITE)
    model.anchor_generator.__class__ = OwnBoxes
    torch.save(model, tmp_path / "m.pt")
    said = [assumption.what for assumption in load_trained(tmp_path / "m.pt").assumed]
    assert said == ["default boxes", "colour", "class names"]


class OwnBoxes(DefaultBoxGenerator):
    """Somebody's own arithmetic under torchvision's name for its numbers."""


class OwnTransform(nn.Module):
    """Something else in the place of torchvision's own."""


def test_a_module_with_parts_of_its_own_is_refused(tmp_path: Path) -> None:
    model: Any = build(SSDLITE, 4)
    model.anchor_generator = OwnTransform()
    content = {"arch": SSDLITE, "model": model}
    with pytest.raises(CheckpointError, match="its DefaultBoxGenerator is a OwnTransform, whose arithmetic"):
        load_trained(tmp_path / "m.pt", content=content)
