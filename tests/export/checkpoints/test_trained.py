"""What tensors do not hold: read, or named as assumed; never taken for granted without a word."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import faster_rcnn
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator

from edgedet.errors import AssumptionError, CheckpointError
from edgedet.export.checkpoints.trained import load_trained
from edgedet.export.families.architectures import build
from edgedet.export.training.assumptions import require_stated
from edgedet.export.training.settings import TrainingSettings
from edgedet.export.training.torchvision import settings_of

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


def other_eps(model: Any, state: State) -> dict[str, Any]:
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 0.3
    return {"norm_eps": 0.3}


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


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return len(first["scores"]) == len(second["scores"]) and all(
        torch.allclose(first[key].float(), second[key].float(), rtol=1e-3, atol=1e-3)
        for key in ("boxes", "scores", "labels")
    )


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
