"""A form of boxes that ``--outputs`` states is held against the numbers; what they do not show is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgedet.errors import ArtifactError
from edgedet.export.families.base import GraphOptions
from edgedet.export.families.stated_outputs import stated_family
from edgedet.export.foreign import open_foreign
from tests.export.foreign_heads import Head, save_head
from tests.export.foreign_ssds import Ssd, save_ssd

WORDS = {"corners": "xyxy", "centre": "cxcywh", "top_left": "xywh"}


def note(source: Path, outputs: str, classes: int | None = 3) -> str:
    """What the report says of a statement."""
    found: str = stated_family(outputs).export(open_foreign(source), GraphOptions(), classes).notes[-1]
    return found


def of_head(words: str, unit: str = "input") -> str:
    return f"boxes=output0[:4]:{words}@{unit}, scores=output0[4:]:none, nms=best"


def of_chosen(words: str) -> str:
    return f"boxes=output0[:4]:{words}@input, scores=output0[4]:none, labels=output0[5], nms=done"


def of_ssd(words: str) -> str:
    return f"boxes=boxes:{words}@unit, scores=scores:none+bg"


@pytest.mark.parametrize("unit", ["pixels", "shares"])
@pytest.mark.parametrize("form", ["centre", "corners", "top_left"])
def test_every_slip_is_noticed_or_said(tmp_path: Path, form: Any, unit: Any) -> None:
    """Of all anchors of a small head; centres and corners of its small boxes lie in the same cells."""
    source = save_head(tmp_path / "net.onnx", Head(form=form, unit=unit))
    of_unit = "input" if unit == "pixels" else "unit"
    said = note(source, of_head(WORDS[form], of_unit))
    assert "it shows that x comes before y" in said
    assert ("the last two numbers are the far corner" in said) == (form == "corners")
    for words in {"xyxy", "yxyx", "cxcywh", "xywh"} - {WORDS[form]}:
        if (form, words) == ("centre", "xywh"):
            assert "(cxcywh and xywh fit alike)" in note(source, of_head(words, of_unit))
            continue
        with pytest.raises(ArtifactError, match=r"as a trial run shows; say |read as --outputs says, only"):
            note(source, of_head(words, of_unit))


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("yxyx", "but x comes before y in its boxes, as a trial run shows; say xyxy"),
        ("cxcywh", "but the last two numbers are the far corner in its boxes, as a trial run shows; say xyxy"),
    ],
)
def test_anchors_at_places_that_nobody_knows(tmp_path: Path, stated: str, message: str) -> None:
    head = Head(order="rows", form="corners", left_out=5)
    with pytest.raises(ArtifactError, match=message):
        note(save_head(tmp_path / "net.onnx", head), of_head(stated))


@pytest.mark.parametrize(
    ("form", "stated", "message"),
    [
        ("xyxy", "yxyx", "x comes before y in its boxes, as a trial run shows; say xyxy"),
        ("yxyx", "xyxy", "y comes before x in its boxes, as a trial run shows; say yxyx"),
        ("yxyx", "cxcywh", "y comes before x in its boxes, as a trial run shows; say yxyx"),
        ("cxcywh", "xywh", "the first two numbers are the centre in its boxes, as a trial run shows; say cxcywh"),
    ],
)
def test_an_ssd_whose_default_boxes_say_where_it_looks(
    tmp_path: Path, form: Any, stated: str, message: str
) -> None:
    source = save_ssd(tmp_path / "ssd.onnx", Ssd(form))
    with pytest.raises(ArtifactError, match=message):
        note(source, of_ssd(stated), None)
    assert "it shows that" in note(source, of_ssd(form), None)


def test_offsets_leave_open_which_axis_comes_first(tmp_path: Path) -> None:
    source = save_ssd(tmp_path / "ssd.onnx", Ssd("offsets"))
    for words in ("offsets", "offsets_yx"):
        outputs = f"boxes=boxes:{words}, priors=ssd_mobilenet, scores=scores:softmax+bg"
        assert "x comes before y" in note(source, outputs, None)
        assert "offsets and offsets_yx fit alike" in note(source, outputs, None)


def test_boxes_that_a_network_chose(tmp_path: Path) -> None:
    """Other rows come out of every picture, and still those beside a changed strip change."""
    source = save_head(tmp_path / "net.onnx", Head(order="rows", form="corners", chosen=40))
    said = note(source, of_chosen("xyxy"))
    assert "that x comes before y, that the last two numbers are the far corner" in said
    with pytest.raises(ArtifactError, match="but x comes before y in its boxes, as a trial run shows; say xyxy"):
        note(source, of_chosen("yxyx"))
    with pytest.raises(ArtifactError, match=r"but the numbers are two corners .* say xyxy"):
        note(source, of_chosen("cxcywh"))


def test_a_choice_of_sizes_does_not_show_what_they_begin_at(tmp_path: Path) -> None:
    source = save_head(tmp_path / "net.onnx", Head(order="rows", form="centre", chosen=40))
    for words in ("cxcywh", "xywh"):
        assert "whether they are centres or top left corners (cxcywh and xywh fit alike)" in note(
            source, of_chosen(words)
        )


def test_few_boxes_show_nothing(tmp_path: Path) -> None:
    source = save_head(tmp_path / "net.onnx", Head(order="rows", form="corners", chosen=6))
    said = note(source, of_chosen("xyxy"))
    assert "taken as stated, since it does not show it: whether x or y comes first" in said
