"""What earlier versions wrote opens, and gives what it gave: the promise of SUPPORT.md."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from edgedet import Detector
from edgedet.artifacts.card import CARD_VERSION, FORMER_FAMILIES, InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.artifacts.engine_file import read_engine_header
from edgedet.opening import read_card
from edgedet.pictures.sources import read_image
from edgedet.selftest import check_artifact

CARDS = Path(__file__).with_name("cards")
VERSIONS = {
    "0.1.0-54824bd",
    "0.1.0-a00283d",
    "0.1.0-54694d8",
    "0.1.0-f78aeae",
    "0.1.0-3fc2df6",
    "0.1.0-8e42c94",
    "0.1.0-169572b",
    "0.1.0-f532f52",
    "0.1.0-28b07be",
    "0.1.0-bf75a9f",
}
"""Those that must be there; later ones are added to the folder."""

UNKEPT = {
    "NCHW",
    "RGB",
    "align_corners",
    "batch",
    "data",
    "enlarge",
    "host",
    "name",
    "none",
    "rtdetr_rows",
    "yolo_end2end",
    "yolo_objectness",
    "yolo_xywh",
}
"""Fields and words that no kept card has yet. What is added to the card and not kept is seen."""

PLAN = b"ptrt" + bytes(92)


def kept(*suffixes: str) -> list[Any]:
    found = sorted(path for path in CARDS.glob("*/*") if path.suffix in suffixes and path.name != "found.json")
    return [pytest.param(path, id=str(path.relative_to(CARDS))) for path in found]


def stated(card: dict[str, Any]) -> dict[str, Any]:
    """What an earlier version wrote, as this one names it."""
    return card | {"family": FORMER_FAMILIES.get(card["family"], card["family"])}


def holds(whole: Any, part: Any) -> bool:
    """Whether everything in ``part`` is in ``whole`` with the same value."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and holds(whole[key], part[key]) for key in part)
    return bool(whole == part)


def test_no_version_is_forgotten() -> None:
    assert {path.name for path in CARDS.iterdir() if path.is_dir()} >= VERSIONS
    assert len(kept(".onnx")) >= 9 and len(kept(".json")) >= 9 and len(kept(".trt", ".plan")) >= 3
    versions = {json.loads(each.values[0].read_text())["version"] for each in kept(".json")}
    assert versions == set(range(1, CARD_VERSION + 1)), "keep cards of every version of the format"


def test_every_field_of_a_card_is_on_one_that_is_kept() -> None:
    """A new field, or a new word for one, wants a folder of its own before the card changes again."""
    cards = [ModelCard.from_json(each.values[0].read_text("utf-8")) for each in kept(".json")]
    missing: set[str] = set()
    for part, kind in (("input", InputSpec), ("resize", ResizeRule), ("output", OutputSpec)):
        words = get_type_hints(kind)
        for field in dataclasses.fields(kind):
            values = {str(getattr(getattr(card, part), field.name)) for card in cards}
            if get_origin(words[field.name]) is Literal:
                missing |= set(get_args(words[field.name])) - values
            else:
                missing |= {field.name} if len(values) == 1 else set()
    assert missing == UNKEPT


@pytest.mark.parametrize("path", kept(".json"))
def test_a_card_says_what_it_said(path: Path) -> None:
    text = path.read_text("utf-8")
    card = json.loads(json.dumps(dataclasses.asdict(ModelCard.from_json(text))))
    assert holds(card, stated(json.loads(text)))


@pytest.mark.parametrize("path", kept(".onnx"))
def test_a_graph_finds_what_it_found(path: Path) -> None:
    wanted = json.loads(path.with_name("found.json").read_text("utf-8"))[path.name]
    with Detector(path) as detector:
        found = json.loads(detector.detect(read_image(CARDS / "frame.png")).to_json())["detections"]
    assert wanted and [(each["label"], each["name"]) for each in found] == [
        (each["label"], each["name"]) for each in wanted
    ]
    # Rounded to 0.01 pixels when they were written; kernels of ONNX Runtime differ between versions.
    np.testing.assert_allclose([each["box"] for each in found], [each["box"] for each in wanted], rtol=0, atol=0.05)
    np.testing.assert_allclose([each["score"] for each in found], [each["score"] for each in wanted], atol=1e-3)


@pytest.mark.parametrize("path", kept(".onnx"))
def test_a_golden_input_still_gives_what_it_gave(path: Path) -> None:
    if read_card(path).golden is None:
        assert path.parent.name == "0.1.0-54824bd", "only the first had none"
        return
    outcome = check_artifact(path)
    assert outcome.outcome == "pass", outcome.detail


@pytest.mark.parametrize("path", kept(".trt", ".plan"))
def test_an_engine_s_container_is_read(path: Path) -> None:
    header = read_engine_header(path)
    assert path.read_bytes()[header.plan_offset :] == PLAN
    # The seal is the container's, not the card's.
    said = {key: value for key, value in header.header.items() if key != "sealed"}
    assert holds(json.loads(read_card(path).to_json()), said)
    graph = read_card(path.with_name("yolo.onnx"))
    assert dataclasses.replace(read_card(path), engine=None) == graph
