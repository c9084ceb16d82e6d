"""Numbers on a card that cannot be are refused when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgedet.artifacts.card import ModelCard
from edgedet.errors import ArtifactError
from edgedet.opening import read_card
from edgedet.selftest import SELFTEST_GRAPH
from tests.rectangle_detector import save_foreign_graph, ultralytics_metadata

CARD = json.loads(read_card(SELFTEST_GRAPH).to_json())


def changed(place: str, value: str) -> str:
    """The card's JSON with another value, as it is written."""
    *parents, key = place.split(".")
    card = json.loads(json.dumps(CARD))
    node: Any = card
    for parent in parents:
        node = node[parent]
    node[key] = "HERE"
    return json.dumps(card).replace('"HERE"', value)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("input.height", "0", "card.input.height is 0, expected 1 to 16384 pixels"),
        ("input.width", "1000000000", "expected 1 to 16384 pixels"),
        ("input.batch", "0", "card.input.batch is 0, expected 1 or more"),
        ("input.batch", "1000000", "an input of 2147483648 bytes at most"),
        ("input.scale", "0.0", "expected a number above 0"),
        ("input.std", "[1, 0, 1]", "expected numbers above 0"),
        ("resize.pad", "[0, 0, 256]", "expected numbers from 0 to 255"),
        ("resize.min_size", "-1", "expected 1 to 16384 pixels"),
        ("output.score_threshold", "1.5", "expected a number from 0 to 1"),
        ("output.iou_threshold", "-0.1", "expected a number from 0 to 1"),
        ("output.max_detections", "0", "expected 1 or more"),
        ("output.candidates_per_class", "-5", "expected 1 or more"),
        ("output.min_box_side", "-1", "expected 0 or more"),
        ("output.score_threshold", "NaN", "is nan, expected a finite number"),
        ("output.min_box_side", "1e999", "is inf, expected a finite number"),
        ("output.min_box_side", "9" * 400, "expected a finite number"),
    ],
)
def test_what_cannot_be_is_named(place: str, value: str, words: str) -> None:
    with pytest.raises(ArtifactError, match=words):
        ModelCard.from_json(changed(place, value))


def test_the_shortest_side_needs_its_sizes() -> None:
    text = changed("resize.rule", '"shortest_side"')
    with pytest.raises(ArtifactError, match=r"card\.resize\.min_size is None"):
        ModelCard.from_json(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"version": 1, "family": ' + "[" * 100_000])
def test_brackets_without_end_are_no_card(text: str) -> None:
    with pytest.raises(ArtifactError, match="not valid JSON"):
        ModelCard.from_json(text)


def test_what_another_tool_states_is_held_to_the_same(tmp_path: Path) -> None:
    save_foreign_graph(tmp_path / "y.onnx", ultralytics_metadata(imgsz="[64, 99999999]"))
    with pytest.raises(ArtifactError, match=r"input\.width is 99999999"):
        read_card(tmp_path / "y.onnx")
