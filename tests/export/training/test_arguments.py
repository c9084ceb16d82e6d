"""Arguments of training scripts: what is understood is taken, what is not is named, nothing is passed over."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch

from edgedet.export.checkpoints.trained import load_trained
from edgedet.export.families.torchvision_architectures import build
from edgedet.export.training.arguments import arguments_of_checkpoint
from edgedet.export.training.assumptions import assumption_note
from edgedet.export.training.settings import TrainingSettings
from edgedet.export.training.torchvision import settings_of_family

SSD, RCNN = settings_of_family("ssd"), settings_of_family("faster_rcnn")
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"input_size": 300}, TrainingSettings(input_size=(300, 300))),
        ({"input_size": [3, 256, 288]}, TrainingSettings(input_size=(256, 288))),
        ({"mean": MEAN, "std": STD}, TrainingSettings(image_mean=tuple(MEAN), image_std=tuple(STD))),
        ({"pixel_mean": MEAN, "pixel_std": STD}, TrainingSettings(image_mean=tuple(MEAN), image_std=tuple(STD))),
        ({"bgr": True}, TrainingSettings(colour="BGR")),
        ({"bgr": False}, TrainingSettings(colour="RGB")),
        ({"to_rgb": True, "bgr": False}, TrainingSettings(colour="RGB")),
        ({"channel_order": "bgr"}, TrainingSettings(colour="BGR")),
        ({"data": {"colour": "BGR"}}, TrainingSettings(colour="BGR")),
    ],
)
def test_words_that_mean_one_thing_are_taken_for_it(said: dict[str, Any], expected: TrainingSettings) -> None:
    for content in (
        {"args": argparse.Namespace(**said)},
        {"hyper_parameters": said},
        {"preprocessing": said},
        said,
    ):
        found = arguments_of_checkpoint(content, SSD)
        assert list(found.settings.values()) == [expected]
        assert not found.unread


@pytest.mark.parametrize(
    ("said", "names", "setting", "words"),
    [
        ({"img_size": 512}, SSD, "input_size", "args.img_size = 512"),
        ({"imgsz": (480, 640)}, RCNN, "min_size", "args.imgsz = (480, 640)"),
        ({"input_size": "large"}, SSD, "input_size", "args.input_size = 'large'"),
        ({"image_mean": MEAN}, SSD, "image_mean", "without image_std"),
        ({"mean": [123.675, 116.28, 103.53], "std": [58, 57, 57]}, SSD, "image_mean", "args.mean = [123.675"),
        ({"bgr": True, "to_rgb": True}, SSD, "colour", "args.bgr = 'BGR', args.to_rgb = 'RGB'"),
        ({"rgb": False}, SSD, "colour", "args.rgb = False"),
        ({"channel_order": "YUV"}, SSD, "colour", "args.channel_order = 'YUV'"),
        ({"data": {"aug": {"imgsz": 96}}}, SSD, "input_size", "args.data.aug.imgsz = 96"),
        ({"anchor_scales": [8, 16]}, RCNN, "anchor_sizes", "args.anchor_scales = [8, 16]"),
        ({"variances": [0.1, 0.2]}, SSD, "box_weights", "args.variances"),
    ],
)
def test_words_that_may_mean_several_are_named(
    said: dict[str, Any], names: tuple[str, ...], setting: str, words: str
) -> None:
    found = arguments_of_checkpoint({"args": said}, names)
    assert all(getattr(settings, setting) is None for settings in found.settings.values())
    assert words in found.unread[setting]


def test_two_places_that_contradict_say_nothing() -> None:
    found = arguments_of_checkpoint({"args": {"min_size": 480}, "config": {"min_size": 800}}, RCNN)
    assert found.settings == {}
    assert found.unread["min_size"] == "config.min_size = 800, args.min_size = 480"
    alike = arguments_of_checkpoint({"args": {"min_size": 480}, "config": {"min_size": [640, 480]}}, RCNN)
    assert list(alike.settings.values()) == [TrainingSettings(min_size=480)]


@pytest.mark.parametrize("content", [None, [], {"args": 7}, {"optimizer": {"param_groups": [], "mean": MEAN}}])
def test_where_nothing_is_said_nothing_is_found(content: Any) -> None:
    found = arguments_of_checkpoint(content, SSD)
    assert (found.settings, found.unread) == ({}, {})


ARCH = "ssdlite320_mobilenet_v3_large"
STATE = build(ARCH, 4).state_dict()


def test_nothing_says_is_not_said_where_something_does(tmp_path: Path) -> None:
    args = {"img_size": 512, "mean": MEAN, "std": STD, "bgr": True}
    torch.save({"arch": ARCH, "state_dict": STATE, "args": args}, tmp_path / "m.pt")
    trained = load_trained(tmp_path / "m.pt")
    said = {assumption.what: assumption.text() for assumption in trained.assumed}
    assert said["input size"] == "input size: 320x320, while the file has args.img_size = 512"
    assert not {"colour", "mean/std"} & set(said)
    assert "read from the checkpoint's args: colour (its bgr), image_mean (its mean), image_std (its std)" in (
        trained.notes
    )
    note = assumption_note(trained.assumed)
    nothing, _, something = note.partition("what the file says is not understood: ")
    assert "input size" not in nothing and something.startswith("input size: 320x320, while the file has")


def test_a_size_that_agrees_is_understood(tmp_path: Path) -> None:
    torch.save({"arch": ARCH, "state_dict": STATE, "args": {"imgsz": 320}}, tmp_path / "m.pt")
    trained = load_trained(tmp_path / "m.pt")
    assert "input size" not in [assumption.what for assumption in trained.assumed]
    assert "input_size as the checkpoint says: args.imgsz = 320" in trained.notes


def test_a_number_for_both_sides_is_a_size(tmp_path: Path) -> None:
    torch.save({"arch": ARCH, "state_dict": STATE, "hyper_parameters": {"input_size": 300}}, tmp_path / "m.ckpt")
    assert load_trained(tmp_path / "m.ckpt").module.transform.fixed_size == (300, 300)  # type: ignore[union-attr]
