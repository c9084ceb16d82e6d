"""Scores and class numbers that ``--outputs`` states are held against the numbers; the rest is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgedet.errors import ArtifactError
from edgedet.export.families.base import GraphOptions
from edgedet.export.families.stated_outputs import stated_family
from edgedet.export.foreign import open_foreign
from tests.export.foreign_heads import Head, save_head

BOXES = "boxes=output0[:4]:cxcywh@input"


def note(source: Path, outputs: str, classes: int | None = None) -> str:
    """What the report says of a statement."""
    found: str = stated_family(outputs).export(open_foreign(source), GraphOptions(), classes).notes[-1]
    return found


@pytest.mark.parametrize(("place", "word", "wrong"), [("first", "+bg", "+bg_last"), ("last", "+bg_last", "+bg")])
def test_a_background_at_the_other_end(tmp_path: Path, place: Any, word: str, wrong: str) -> None:
    source = save_head(tmp_path / "net.onnx", Head(order="rows", softmax=place))
    assert f"the {place} score is the background's" in note(source, f"{BOXES}, scores=output0[4:]:none{word}")
    with pytest.raises(ArtifactError, match=rf"nearly every box has the {place} one .*; say .*:none\{word}$"):
        note(source, f"{BOXES}, scores=output0[4:]:none{wrong}")


def test_a_background_that_no_box_has_is_taken_as_stated(tmp_path: Path) -> None:
    source = save_head(tmp_path / "net.onnx", Head(order="rows", softmax="first", background=0.0))
    said = note(source, f"{BOXES}, scores=output0[4:]:none+bg_last")
    assert "which score is the background's, if any (+bg and +bg_last fit alike)" in said


def test_objectness_is_not_squashed_twice(tmp_path: Path) -> None:
    source = save_head(tmp_path / "net.onnx", Head(order="rows", objectness=True))
    outputs = f"{BOXES}, objectness=output0[4]{{}}, scores=output0[5:]:none"
    assert "it shows" in note(source, outputs.format(""))
    with pytest.raises(
        ArtifactError, match=r"from 0 to 1 already .* squash it twice; say objectness=output0\[4\]$"
    ):
        note(source, outputs.format(":sigmoid"))


def test_a_softmax_gives_every_box_a_class_unless_one_is_the_background(tmp_path: Path) -> None:
    source = save_head(tmp_path / "net.onnx", Head(order="rows", logits=True))
    with pytest.raises(ArtifactError, match=r"gives every box one of them; say .*softmax\+bg"):
        note(source, f"{BOXES}, scores=output0[4:]:softmax")
    said = note(source, f"{BOXES}, scores=output0[4:]:sigmoid")
    assert "whether a sigmoid or a softmax makes probabilities of the scores" in said


@pytest.mark.parametrize(
    ("first", "word", "said"),
    [
        (0, "", "that classes are counted from 0"),
        (1, ":from1", "does not show it: whether classes are counted from 0 or from 1"),
    ],
)
def test_where_classes_are_counted_from(tmp_path: Path, first: int, word: str, said: str) -> None:
    source = save_head(tmp_path / "net.onnx", Head(order="rows", form="centre", chosen=40, first_label=first))
    outputs = f"{BOXES}, scores=output0[4]:none, labels=output0[5]{word}, nms=done"
    assert said in note(source, outputs, 3)
