"""What tensors do not hold: read, or named as assumed; never taken for granted without a word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models.detection import faster_rcnn
from torchvision.models.detection.anchor_utils import AnchorGenerator

from edgedet.errors import AssumptionError, CheckpointError
from edgedet.export.checkpoints.trained import load_trained
from edgedet.export.families.torchvision_architectures import build
from edgedet.export.training.assumptions import require_stated
from edgedet.export.training.settings import TrainingSettings
from edgedet.export.training.torchvision import settings_of
from tests.export.checkpoints.telling_detectors import (
    NAMES,
    RCNN,
    SSDLITE,
    State,
    background_last,
    bgr,
    equal,
    found,
    other_anchors,
    other_box_weights,
    other_mean,
    other_pooling,
    other_size,
    telling,
    usual,
)

Plant = Callable[[Any, State], dict[str, Any]]
PLANTED: list[tuple[str, Plant, str]] = [
    *((arch, plant, word) for arch in (SSDLITE, RCNN) for plant, word in (
        (other_size, "input size"), (other_mean, "mean/std"), (other_box_weights, "box weights"), (bgr, "colour"),
        (background_last, "background"),
    )),
    (SSDLITE, other_anchors, "default boxes"),
    (RCNN, other_anchors, "anchors"),
    (RCNN, other_pooling, "RoIAlign"),
]  # fmt: skip


@pytest.mark.parametrize(("arch", "plant", "word"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_detector_trained_otherwise_is_right_when_stated_and_named_when_not(
    tmp_path: Path, arch: str, plant: Plant, word: str
) -> None:
    model = telling(arch)
    state = dict(model.state_dict())
    stated = plant(model, state)
    truth = found(model)
    assert len(truth["scores"]) > 1
    if plant not in (background_last, bgr):  # there the truth stays, and the tensors change
        assert not equal(usual(arch), truth), "the plant must matter"
    torch.save({"arch": arch, "classes": list(NAMES), "state_dict": state}, tmp_path / "silent.pt")
    silent = load_trained(tmp_path / "silent.pt")
    assert not equal(found(silent.module), truth)
    assert word in [assumption.what for assumption in silent.assumed]
    with pytest.raises(AssumptionError, match=rf"takes nothing for granted; it would be assumed: .*{word}: "):
        require_stated(tmp_path / "silent.pt", silent.assumed)

    torch.save(
        {"arch": arch, "classes": list(NAMES), "state_dict": state, "detector": stated}, tmp_path / "said.pt"
    )
    said = load_trained(tmp_path / "said.pt")
    assert equal(found(said.module), truth)
    left = [assumption for assumption in said.assumed if assumption.what == word]
    assert [assumption.value for assumption in left] == (
        ["pool_size, pool_canonical_level as torchvision has it"] if plant is other_pooling else []
    )


def test_settings_given_are_as_good_as_settings_stored(tmp_path: Path) -> None:
    model = telling(RCNN)
    state = dict(model.state_dict())
    other_anchors(model, state)
    torch.save({"arch": RCNN, "classes": list(NAMES), "state_dict": state}, tmp_path / "m.pt")
    given = TrainingSettings(anchor_sizes=((24, 48, 96, 192, 384),), anchor_ratios=((0.5, 1, 2),))
    assert equal(found(load_trained(tmp_path / "m.pt", given=given).module), found(model))
    (tmp_path / "m.toml").write_text(
        "[detector]\nanchor_sizes = [[24, 48, 96, 192, 384]]\nanchor_ratios = [[0.5, 1, 2]]"
    )
    trained = load_trained(tmp_path / "m.pt")
    assert equal(found(trained.module), found(model))
    assert "settings of the detector from m.toml" in trained.notes


def test_what_is_given_overrules_the_checkpoint_and_says_so(tmp_path: Path) -> None:
    model = build(SSDLITE, 4)
    section = replace(settings_of(model), colour="RGB").stated()
    torch.save({"arch": SSDLITE, "state_dict": model.state_dict(), "detector": section}, tmp_path / "m.pt")
    trained = load_trained(tmp_path / "m.pt", given=TrainingSettings(input_size=(256, 256)), classes=NAMES)
    assert trained.module.transform.fixed_size == (256, 256)  # type: ignore[union-attr]
    assert "overruled: input_size" in trained.notes[0]
    assert trained.assumed == ()


@pytest.mark.parametrize("arch", [SSDLITE, RCNN])
def test_the_section_our_training_writes_leaves_nothing_unsaid(tmp_path: Path, arch: str) -> None:
    from examples.train import write_checkpoint

    model = telling(arch)
    state = dict(model.state_dict())
    other_anchors(model, state)
    other_mean(model, state)
    write_checkpoint(tmp_path / "m.pt", arch, NAMES, model, half=False)
    trained = load_trained(tmp_path / "m.pt")
    assert trained.assumed == ()
    assert equal(found(trained.module), found(model))


def test_arguments_kept_beside_the_tensors_are_read_and_said(tmp_path: Path) -> None:
    """A name of the other family means something else there."""
    kept = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.5], "min_size": 17, "lr": 0.1}
    content = {"arch": SSDLITE, "classes": list(NAMES), "hyper_parameters": kept}
    torch.save(content | {"state_dict": build(SSDLITE, 4).state_dict()}, tmp_path / "m.pt")
    trained = load_trained(tmp_path / "m.pt")
    assert settings_of(trained.module).image_mean == (0.1, 0.2, 0.3)
    assert "read from the checkpoint's hyper_parameters: image_mean, image_std" in trained.notes
    assert "mean/std" not in [assumption.what for assumption in trained.assumed]


@pytest.mark.parametrize("arch", [SSDLITE, RCNN])
def test_the_documents_example_leaves_nothing_unsaid(tmp_path: Path, arch: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / "checkpoints.md").read_text("utf-8")
    (block,) = (block for block in page.split("```toml\n")[1:] if f"# {arch}\n" in block)
    model = build(arch, 3).eval()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "m.pt")
    (tmp_path / "m.toml").write_text(block.partition("```")[0])
    trained = load_trained(tmp_path / "m.pt", arch=arch)
    assert trained.assumed == ()
    assert settings_of(trained.module) == settings_of(model)


def test_settings_of_another_family_are_refused(tmp_path: Path) -> None:
    torch.save({"arch": SSDLITE, "state_dict": build(SSDLITE, 4).state_dict()}, tmp_path / "m.pt")
    with pytest.raises(
        CheckpointError, match=r"anchor_sizes is no setting of ssdlite320.*; its own are input_size"
    ):
        load_trained(tmp_path / "m.pt", given=TrainingSettings(anchor_sizes=((32.0,),)))


def test_another_number_of_anchors_asks_for_them(tmp_path: Path) -> None:
    sizes = ((32, 64),) * 3
    model = build(RCNN, 4, rpn_anchor_generator=AnchorGenerator(sizes, ((1.0,),) * 3))
    torch.save({"arch": RCNN, "classes": list(NAMES), "state_dict": model.state_dict()}, tmp_path / "m.pt")
    with pytest.raises(
        CheckpointError, match=r"2 anchors a place, 15 here; say which with --detector 'anchor_sizes"
    ):
        load_trained(tmp_path / "m.pt")
    given = TrainingSettings(anchor_sizes=((32, 64),), anchor_ratios=((1.0,),))
    assert load_trained(tmp_path / "m.pt", given=given).module is not None
    wrong = TrainingSettings(anchor_sizes=((32, 64), (32, 64)), anchor_ratios=((1.0,),))
    with pytest.raises(CheckpointError, match="anchor_sizes has 2 levels, this detector 3"):
        load_trained(tmp_path / "m.pt", given=wrong)


def frozen_resnet(eps: float) -> Any:
    """torchvision's own ResNet50-FPN with frozen BatchNorm whose variances are as small as trained ones can be."""
    import torchvision
    from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
    from torchvision.ops.misc import FrozenBatchNorm2d

    torch.manual_seed(0)
    backbone = torchvision.models.resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    for part in backbone.modules():
        if isinstance(part, FrozenBatchNorm2d):
            part.running_var.mul_(1e-3)
            part.weight.mul_(1e-3**0.5)
            part.eps = eps
    return faster_rcnn.FasterRCNN(_resnet_fpn_extractor(backbone, 5), 3, min_size=128, max_size=256).eval()


def test_frozen_norms_of_the_coco_lineage_have_no_epsilon_unless_stated(tmp_path: Path) -> None:
    """torchvision runs COCO_V1 with eps 0 (``overwrite_eps``, pytorch/vision#2940); a state_dict does not say."""
    truth = frozen_resnet(0.0)
    section = {"classes": ["a", "b"], "min_size": 128, "max_size": 256}
    torch.save({"state_dict": truth.state_dict(), "detector": section}, tmp_path / "m.pt")
    trained = load_trained(tmp_path / "m.pt")
    picture = [torch.rand(3, 128, 160, generator=torch.Generator().manual_seed(2))]
    with torch.inference_mode():
        first, second = truth(picture)[0], trained.module(picture)[0]
    assert torch.allclose(first["scores"], second["scores"], atol=1e-4)
    assert "BatchNorm's eps: 0" in [assumption.text() for assumption in trained.assumed]
    kept = load_trained(tmp_path / "m.pt", given=TrainingSettings(norm_eps=1e-5))
    assert settings_of(kept.module).norm_eps == 1e-5
    assert "BatchNorm's eps" not in [assumption.what for assumption in kept.assumed]


def test_a_variance_of_zero_speaks_against_an_epsilon_of_zero(tmp_path: Path) -> None:
    state = frozen_resnet(1e-5).state_dict()
    state["backbone.body.bn1.running_var"][3] = 0
    torch.save({"state_dict": state, "classes": ["a", "b"]}, tmp_path / "m.pt")
    assert settings_of(load_trained(tmp_path / "m.pt").module).norm_eps == 1e-5


@pytest.mark.parametrize(
    ("names", "place"), [(["bg", *NAMES], "first"), ([*NAMES, "Background"], "last")], ids=["first", "last"]
)
def test_a_class_list_with_the_background_tells_its_place(tmp_path: Path, names: list[str], place: str) -> None:
    model, truth = telling(SSDLITE), usual(SSDLITE)
    state = dict(model.state_dict())
    if place == "last":
        background_last(model, state)
    torch.save({"arch": SSDLITE, "classes": names, "state_dict": state}, tmp_path / "m.pt")
    trained = load_trained(tmp_path / "m.pt")
    assert trained.checkpoint.names == NAMES
    assert "background" not in [assumption.what for assumption in trained.assumed]
    assert equal(found(trained.module), truth)


def test_class_lists_that_contradict_are_refused(tmp_path: Path) -> None:
    state = build(SSDLITE, 4).state_dict()
    torch.save({"arch": SSDLITE, "classes": ["a", "background", "b", "c"], "state_dict": state}, tmp_path / "m.pt")
    with pytest.raises(
        CheckpointError, match="has the background as number 1 of 4; expected it once, first or last"
    ):
        load_trained(tmp_path / "m.pt")
    torch.save({"arch": SSDLITE, "classes": ["bg", *NAMES], "state_dict": state}, tmp_path / "n.pt")
    with pytest.raises(CheckpointError, match="has the background first, but background is stated to be last"):
        load_trained(tmp_path / "n.pt", given=TrainingSettings(background="last"))
    with pytest.raises(
        CheckpointError, match="another order than they were given: number 0 is 'a' in the file and 'c'"
    ):
        load_trained(tmp_path / "n.pt", classes=("c", "b", "a"))
    with pytest.raises(CheckpointError, match="order than they were given"):
        load_trained(tmp_path / "n.pt", classes=("C", "a", "B"))
    assert load_trained(tmp_path / "n.pt", classes=("x", "y", "z")).checkpoint.names == ("x", "y", "z")


def test_invented_class_names_are_an_assumption(tmp_path: Path) -> None:
    torch.save({"arch": SSDLITE, "state_dict": build(SSDLITE, 4).state_dict()}, tmp_path / "m.pt")
    said = [assumption.text() for assumption in load_trained(tmp_path / "m.pt").assumed]
    assert "class names: class_1, class_2, class_3" in said
    torch.save({"arch": SSDLITE, "state_dict": build(SSDLITE, 91).state_dict()}, tmp_path / "n.pt")
    said = [assumption.text() for assumption in load_trained(tmp_path / "n.pt").assumed]
    assert "class names: torchvision's COCO list, ..." in said


def test_torchvisions_published_weights_are_known_by_their_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(build(SSDLITE, 91).state_dict(), tmp_path / "m.pth")
    assert load_trained(tmp_path / "m.pth").assumed
    import hashlib

    digest = hashlib.sha256((tmp_path / "m.pth").read_bytes()).hexdigest()

    class Published:
        url = f"https://download.pytorch.org/models/ssdlite320_mobilenet_v3_large_coco-{digest[:8]}.pth"

        def __str__(self) -> str:
            return "COCO_V1"

    monkeypatch.setattr("torchvision.models.get_model_weights", lambda arch: [Published()])
    trained = load_trained(tmp_path / "m.pth")
    assert trained.assumed == ()
    assert "torchvision's own weights COCO_V1" in trained.notes[0]
