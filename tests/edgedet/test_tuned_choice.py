"""A race's outcome holds for these bytes on this machine with these versions, and for nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgedet import Detector, tuned_choice
from edgedet.files import file_sha256
from edgedet.tuned_choice import TunedChoice, conditions, forget, recall, remember
from tests.colour_detector import card as colour_card
from tests.colour_detector import save_colour_file
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph


@pytest.fixture(name="graph")
def _graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save_rectangle_graph(tmp_path / "a.onnx")
    return tmp_path / "a.onnx"


def choice(threads: int | None = 1) -> TunedChoice:
    return TunedChoice("onnxruntime", threads, 0.75, conditions("onnxruntime"))


def test_what_was_kept_is_used_where_nothing_is_asked_for_and_said(graph: Path) -> None:
    assert "tuned" not in Detector(graph).description
    remember(graph, choice())
    others = [Detector(graph, threads=2).description, Detector(graph, runtime="onnxruntime").description]
    assert not any("tuned" in description for description in others)
    with Detector(graph) as tuned:
        assert tuned.description.endswith("1 threads (tuned: 0.75 x the time of the default)")
        assert len(tuned.detect(frame_with_rectangle(64, 64, (10, 20, 30, 50)))) == 1
    assert forget(graph) and not forget(graph)
    assert "tuned" not in Detector(graph).description


def test_an_artifact_of_other_bytes_is_another_artifact(graph: Path) -> None:
    remember(graph, choice())
    content = bytearray(graph.read_bytes())
    other = graph.with_name("b.onnx")
    other.write_bytes(content)
    assert recall(other) is not None, "where it lies does not matter"
    content[-1] ^= 1
    other.write_bytes(content)
    assert recall(other) is None


def test_a_file_beside_the_artifact_is_opened_in_its_place_while_it_stays_the_same(graph: Path) -> None:
    pytest.importorskip("ncnn", reason="needs ncnn (pip install ncnn)")
    beside = graph.with_name("a.ncnn")
    save_colour_file(beside)
    kept = TunedChoice("ncnn", 1, 0.5, conditions("ncnn"), beside.name, file_sha256(beside))
    remember(graph, kept)
    assert recall(graph) == kept
    with Detector(graph) as tuned, Detector(graph, runtime="onnxruntime") as plain:
        assert tuned.description.endswith("(tuned: a.ncnn, 0.50 x the time of the default)")
        assert tuned.card.architecture == "colour" and plain.card.architecture == "rectangle"
    save_colour_file(beside, colour_card(batch=2))
    assert recall(graph) is None
    beside.unlink()
    assert recall(graph) is None
    with Detector(graph) as plain:
        assert plain.description.startswith("onnxruntime")


def test_another_machine_or_version_is_another_matter(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(graph, choice())
    assert recall(graph) == choice()
    monkeypatch.setattr(tuned_choice, "_machine", lambda: {"cpu": "another"})
    assert recall(graph) is None
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(graph.parent / "cache"))
    old = choice()
    remember(graph, replace(old, conditions=old.conditions | {"package": "onnxruntime 1.0"}))
    assert recall(graph) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"runtime": 1}'])
def test_a_damaged_note_is_none(graph: Path, content: str) -> None:
    kept = remember(graph, choice())
    kept.write_text(content)
    assert recall(graph) is None
    assert "tuned" not in Detector(graph).description


def test_nothing_is_read_of_an_artifact_that_nobody_raced(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(path: Path) -> str:
        raise AssertionError(f"{path} was read whole")

    monkeypatch.setattr(tuned_choice, "file_sha256", unwanted)
    assert recall(graph) is None


def test_the_note_is_json_that_a_person_can_read(graph: Path) -> None:
    fields = json.loads(remember(graph, choice()).read_text())
    assert (fields["runtime"], fields["threads"], fields["ratio"]) == ("onnxruntime", 1, 0.75)
    assert fields["conditions"]["package"].startswith("onnxruntime 1.")
