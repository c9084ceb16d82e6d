"""What training knew: read from a checkpoint, a TOML file or the command line, every value checked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from edgedet.errors import CheckpointError, UsageError
from edgedet.export.training.arguments import arguments_of_checkpoint
from edgedet.export.training.settings import (
    NOTHING_STATED,
    TrainingSettings,
    beside,
    parse_settings,
    read_settings,
    read_toml,
    section_of_checkpoint,
)

TOML = """\
note = "of run 12"
[detector]
arch = "fasterrcnn_resnet50_fpn"
anchor_sizes = [[16], [32], [64], [128], [256]]
image_mean = [0, 0.5, 1]
background = "last"
"""


def test_a_toml_file_states_settings(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_bytes(b"\xef\xbb\xbf" + TOML.replace("\n", "\r\n").encode())
    settings = read_toml(path)
    assert settings.anchor_sizes == ((16.0,), (32.0,), (64.0,), (128.0,), (256.0,))
    assert (settings.image_mean, settings.background) == ((0.0, 0.5, 1.0), "last")
    assert settings.image_std is None
    assert beside(tmp_path / "model.pt") == path


def test_a_toml_file_of_something_else_beside_a_checkpoint_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text("[tool.poetry]\nname = 'x'\n")
    assert beside(tmp_path / "model.pt") is None
    assert beside(tmp_path / "other.pt") is None


def test_settings_survive_being_written_down() -> None:
    settings = TrainingSettings(
        arch="ssd300_vgg16",
        classes=("a", "b"),
        input_size=(300, 416),
        default_box_ratios=((2.0,), (2.0, 3.0)),
        default_box_scales=(0.1, 0.2, 0.4),
        default_box_clip=False,
        norm_eps=0.0,
    )
    assert read_settings(settings.stated(), where="x") == settings
    assert NOTHING_STATED.stated() == {}


def test_what_is_given_comes_before_what_the_file_says() -> None:
    first, second = TrainingSettings(colour="BGR"), TrainingSettings(colour="RGB", min_size=320)
    assert first.over(second) == TrainingSettings(colour="BGR", min_size=320)
    assert first.contradictions(second) == ["colour"]
    assert second.contradictions(TrainingSettings(min_size=320)) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"anchors": [1]}, r"'anchors' is no setting of a detector; did you mean anchor_sizes or"),
        ({"image_mean": [123.675, 116.28, 103.53]}, r"expected values for pixels in 0..1; divide by 255"),
        ({"image_std": [58.4, 57.1, 57.4]}, r"expected values for pixels in 0..1"),
        ({"image_std": [0, 1, 1]}, r"expected numbers above 0"),
        ({"image_mean": [0.5, 0.5]}, r"expected a list of 3 numbers"),
        ({"image_mean": "0.5"}, r"expected a list of 3 numbers"),
        ({"image_mean": [float("nan"), 0.5, 0.5]}, r"expected finite numbers"),
        (
            {"anchor_sizes": [32, 64]},
            r"anchor_sizes is 32, expected a list of lists, one for each level or one for",
        ),
        ({"anchor_sizes": []}, r"anchor_sizes is empty"),
        ({"anchor_sizes": [[1], [2]], "anchor_ratios": [[1], [1], [1]]}, r"2 levels and anchor_ratios 3"),
        ({"background": "middle"}, r"expected 'first' or 'last'"),
        ({"min_size": 320.5}, r"expected a whole number"),
        ({"min_size": True}, r"expected a whole number"),
        ({"norm_eps": 2.0}, r"expected 0 or a small number"),
        ({"classes": ["a", "a"]}, r"names 'a' twice"),
        ({"default_box_ratios": [[2]], "default_box_scales": [0.1]}, r"expected one more than levels"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        read_settings(values, where="x")


@pytest.mark.parametrize("text", ["nowhere.toml", "min_size"])
def test_an_argument_that_is_neither_a_setting_nor_a_file(text: str) -> None:
    with pytest.raises(UsageError, match="cannot read the detector's settings"):
        parse_settings(text)


def test_damaged_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text("[detector\n")
    with pytest.raises(UsageError, match=r"m\.toml is not TOML"):
        read_toml(tmp_path / "m.toml")


@pytest.mark.parametrize("key", ["hyper_parameters", "config", "args"])
def test_arguments_of_training_scripts_are_read_where_they_have_a_settings_name(key: str) -> None:
    pair = {"image_mean": [0.5, 0.5, 0.5], "image_std": [1, 1, 1]}
    values = {"min_size": 512, "lr": 0.1, "box_weights": "fine", "max_size": 600} | pair
    kept = argparse.Namespace(**values) if key == "args" else values
    found = arguments_of_checkpoint({key: kept}, ("min_size", "image_mean", "image_std", "box_weights"))
    expected = TrainingSettings(min_size=512, image_mean=(0.5, 0.5, 0.5), image_std=(1.0, 1.0, 1.0))
    assert found.settings == {key: expected}
    assert arguments_of_checkpoint({key: {"min_size": -1}}, ("min_size",)).settings == {}
    caffe = {"image_mean": [103.53, 116.28, 123.675], "image_std": [1, 1, 1]}
    assert arguments_of_checkpoint({key: caffe}, ("image_mean", "image_std")).settings == {}


def test_the_detector_section_is_checked() -> None:
    section = {"detector": {"min_size": 320}, "hyper_parameters": {"max_size": 640}}
    assert section_of_checkpoint(section, where="x") == TrainingSettings(min_size=320)
    assert section_of_checkpoint({"detector": '{"min_size": 320}'}, where="x") == TrainingSettings(min_size=320)
    with pytest.raises(CheckpointError, match="section 'detector': min_size is 'x', expected a whole number"):
        section_of_checkpoint({"detector": {"min_size": "x"}}, where="a.pt")
    with pytest.raises(CheckpointError, match="section is a list, expected a dict"):
        section_of_checkpoint({"detector": [1]}, where="a.pt")
