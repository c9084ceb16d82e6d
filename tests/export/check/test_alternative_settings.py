"""What else a setting may be: only what nothing stated, and only what fits the tensors."""

from __future__ import annotations

from typing import Any

import pytest
from torchvision.models.detection.anchor_utils import AnchorGenerator

from edgedet.export.check.alternative_settings import alternatives
from edgedet.export.families.torchvision_architectures import ARCHITECTURES, build
from edgedet.export.training.settings import TrainingSettings
from edgedet.export.training.torchvision import constructor_arguments, settings_of

EVERYTHING = frozenset(vars(TrainingSettings())) - {"arch", "classes"}
ARCHES = ("ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet50_fpn")


@pytest.fixture(scope="module", params=ARCHES)
def detector(request: pytest.FixtureRequest) -> tuple[str, Any, TrainingSettings]:
    model: Any = build(request.param, 4)
    return request.param, model, TrainingSettings(colour="RGB").over(settings_of(model))


def test_only_what_nothing_stated_is_touched(detector: tuple[str, Any, TrainingSettings]) -> None:
    arch, _, current = detector
    family = ARCHITECTURES[arch].family
    for unsaid in ({"colour"}, {"image_mean", "image_std"}, {"box_weights"}, {"norm_eps"}, {"image_std"}):
        tried = alternatives(family, current, unsaid)
        assert tried and all(set(entry.settings.stated()) <= unsaid for entry in tried)
    assert not alternatives(family, current, ())


def test_every_value_is_another_and_none_comes_twice(detector: tuple[str, Any, TrainingSettings]) -> None:
    arch, _, current = detector
    tried = alternatives(ARCHITECTURES[arch].family, current, EVERYTHING)
    assert all(entry.settings.over(current) != current for entry in tried)
    assert len({entry.settings for entry in tried}) == len(tried)
    assert len({entry.what for entry in tried}) >= 7


def test_the_tensors_still_fit(detector: tuple[str, Any, TrainingSettings]) -> None:
    arch, model, current = detector
    family, levels = ARCHITECTURES[arch].family, ARCHITECTURES[arch].levels
    boxes = model.anchor_generator if family == "ssd" else model.rpn.anchor_generator
    for entry in alternatives(family, current, EVERYTHING):
        arguments = constructor_arguments(family, entry.settings, levels=levels)
        made = arguments.get("anchor_generator") or arguments.get("rpn_anchor_generator")
        if made is not None:
            assert made.num_anchors_per_location() == boxes.num_anchors_per_location(), entry
            if isinstance(made, AnchorGenerator):
                assert len(made.sizes) == levels


def test_what_was_wrong_once_is_among_the_alternatives_of_the_wrong_value() -> None:
    """Whatever was assumed, the values in real use are tried."""
    settings = TrainingSettings(
        colour="BGR",
        background="last",
        image_mean=(0.1, 0.2, 0.3),
        image_std=(1.0, 1.0, 1.0),
        box_weights=(1.0, 1.0, 1.0, 1.0),
        input_size=(300, 300),
        default_box_ratios=((2.0, 3.0),) * 6,
        default_box_scales=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
        default_box_steps=(),
        default_box_clip=True,
        norm_eps=1e-5,
    )
    stated = [entry.settings for entry in alternatives("ssd", settings, EVERYTHING)]
    assert TrainingSettings(colour="RGB") in stated and TrainingSettings(background="first") in stated
    assert TrainingSettings(box_weights=(10.0, 10.0, 5.0, 5.0)) in stated
    assert {entry.norm_eps for entry in stated} - {None} == {0.0, 1e-3}
    assert {entry.input_size for entry in stated} >= {None, (224, 224), (320, 320), (512, 512), (640, 640)}
    scales = {entry.default_box_scales for entry in stated}
    assert (0.2, 0.34, 0.48, 0.62, 0.76, 0.9, 1.0) in scales, "arXiv:1512.02325, section 2.2"
    assert (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0) in scales, "torchvision's SSDLite"
    assert (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4) in scales and (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35) in scales


def test_a_mean_is_in_the_order_of_the_channels() -> None:
    settings = TrainingSettings(colour="BGR", image_mean=(0.0, 0.0, 0.0), image_std=(1.0, 1.0, 1.0))
    rules = {"image_mean", "image_std"}
    wanted = TrainingSettings(
        **vars(settings)
        | {"background": "first", "box_weights": (1.0,) * 4, "input_size": (320, 320)}
        | {"default_box_ratios": ((2.0,),), "default_box_scales": (0.2, 1.0)}
    )
    means = [entry.settings.image_mean for entry in alternatives("ssd", wanted, rules)]
    assert (0.406, 0.456, 0.485) in means and (0.485, 0.456, 0.406) not in means
