"""The race: other boxes are left out, and what is not quicker beyond doubt does not win."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from edgedet import Detector, tune
from edgedet.artifacts.card import METADATA_KEY, ModelCard
from edgedet.cli import main
from edgedet.detections import Detections
from edgedet.errors import ArtifactError
from edgedet.opening import read_card
from edgedet.tune import race
from tests.colour_detector import save_colour_file
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

HEAT = tune.Rules(warmup_frames=2, warmup_seconds=0.01, frames=3, seconds=0.02, max_seconds=0.1)
FRAMES = [frame_with_rectangle(64, 64, (10, 20, 30, 50)), frame_with_rectangle(64, 64, (5, 5, 40, 40))]


@pytest.fixture(name="graph")
def _graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save_rectangle_graph(tmp_path / "a.onnx")
    return tmp_path / "a.onnx"


class Pretended:
    """A detector whose time and boxes are the test's choice, by runtime and threads."""

    cost: dict[tuple[str, int | None], float]
    shift: dict[tuple[str, int | None], float]
    nothing = False
    golden: dict[str, Any] | None = None

    def __init__(self, path: Path, *, runtime: str, threads: int | None) -> None:
        self.key = runtime, threads
        if self.cost[self.key] < 0:
            raise ArtifactError("does not open")
        self.card = SimpleNamespace(precision="fp32", golden=self.golden, input=SimpleNamespace(proposals=None))
        self.last_timing = SimpleNamespace(pre=0.0, run=1.0, post=0.0)

    def __enter__(self) -> Pretended:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def detect(self, frame: Any) -> Detections:
        end = time.perf_counter() + self.cost[self.key]
        while time.perf_counter() < end:
            pass
        boxes = np.array([[2, 2, 20, 20]], np.float32) + self.shift.get(self.key, 0.0)
        found = Detections(boxes, np.array([0.9], np.float32), np.zeros(1, np.int32), ("a",), (64, 64))
        return found[:0] if self.nothing else found


def raced(
    graph: Path, monkeypatch: pytest.MonkeyPatch, cost: dict[Any, float], shift: dict[Any, float] | None = None
) -> tune.Race:
    monkeypatch.setattr(Pretended, "cost", cost, raising=False)
    monkeypatch.setattr(Pretended, "shift", shift or {}, raising=False)
    monkeypatch.setattr(tune, "Detector", Pretended)
    monkeypatch.setattr(tune, "_field", lambda path, threads: [tune.Entrant(*key) for key in cost])
    monkeypatch.setattr(tune, "HEAT", HEAT)
    return race(graph, FRAMES, seconds=0.5)


def test_the_quickest_that_finds_the_same_boxes_wins(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default, quick, wrong, absent = ("onnxruntime", None), ("onnxruntime", 1), ("openvino", 1), ("openvino", 2)
    result = raced(graph, monkeypatch, {default: 4e-3, quick: 2e-3, wrong: 1e-3, absent: -1}, shift={wrong: 9.0})
    assert (result.winner.runtime, result.winner.threads) == quick
    assert 0.1 < result.choice.ratio < 0.8
    by_key = {(one.runtime, one.threads): one for one in result.entrants}
    assert by_key[wrong].dropped == "0.0% of its detections are the default's, expected 95%"
    assert by_key[absent].dropped == "does not open" and by_key[absent].milliseconds is None


def test_a_runtime_of_which_nothing_was_compared_does_not_win(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No box on any frame, and no golden input: other threads of the default's runtime are all that may win."""
    monkeypatch.setattr(Pretended, "nothing", True)
    default, threads, other = ("onnxruntime", None), ("onnxruntime", 1), ("openvino", None)
    result = raced(graph, monkeypatch, {default: 4e-3, threads: 2e-3, other: 1e-3})
    by_key = {(one.runtime, one.threads): one for one in result.entrants}
    assert by_key[threads].dropped == ""
    assert "give --frames with objects on them" in by_key[other].dropped
    assert result.winner.runtime == "onnxruntime"


@pytest.mark.parametrize("telling", [True, False])
def test_a_golden_input_with_detections_is_something_to_compare(
    graph: Path, monkeypatch: pytest.MonkeyPatch, telling: bool
) -> None:
    monkeypatch.setattr(Pretended, "nothing", True)
    monkeypatch.setattr(Pretended, "golden", {})
    monkeypatch.setattr(tune, "replay", lambda detector: SimpleNamespace(passed=True, telling=telling))
    result = raced(graph, monkeypatch, {("onnxruntime", None): 4e-3, ("openvino", None): 1e-3})
    assert (result.entrants[1].dropped == "") == telling


def test_what_is_as_quick_does_not_win(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = raced(graph, monkeypatch, {("onnxruntime", None): 2e-3, ("onnxruntime", 1): 2e-3})
    assert result.winner is result.entrants[0]
    assert (result.choice.threads, result.choice.ratio) == (None, 1.0)


def test_a_default_that_does_not_open_is_an_error(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArtifactError, match="does not open"):
        raced(graph, monkeypatch, {("onnxruntime", None): -1, ("onnxruntime", 1): 1e-3})


def test_where_nothing_can_be_kept_nobody_races(
    graph: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(graph))
    monkeypatch.setattr(tune, "race", lambda *_, **more: pytest.fail("raced"))
    assert main(["tune", str(graph)]) != 0
    assert "point XDG_CACHE_HOME to a folder" in capsys.readouterr().err
    with Detector(graph) as detector:
        assert "tuned" not in detector.description


def provided(card: ModelCard, digest: str = "a" * 64, **changes: Any) -> ModelCard:
    return replace(card, provenance={"source_sha256": digest}, **changes)


def with_card(path: Path, card: ModelCard) -> None:
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save(model, path)


def test_a_file_for_ncnn_beside_a_graph_takes_part(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "find_spec", lambda name: object() if name in ("onnxruntime", "ncnn") else None)
    alone = tune._field(graph, [3])
    assert [(one.runtime, one.threads) for one in alone] == [("onnxruntime", None), ("onnxruntime", 3)]
    save_colour_file(graph.with_name("other.ncnn"))
    assert tune._field(graph, [3]) == alone
    save_colour_file(graph.with_name("a.ncnn"))
    beside = [tune.Entrant("ncnn", None, artifact="a.ncnn"), tune.Entrant("ncnn", 3, artifact="a.ncnn")]
    assert tune._field(graph, [3]) == [*alone, *beside]
    assert beside[0].place(graph) == graph.with_name("a.ncnn") and alone[0].place(graph) == graph
    own = tune._field(graph.with_name("a.ncnn"), [3])
    assert own == [tune.Entrant("ncnn", None), tune.Entrant("ncnn", 3)]
    monkeypatch.setattr(tune, "find_spec", lambda name: object() if name == "onnxruntime" else None)
    assert tune._field(graph, [3]) == alone


def test_only_the_same_detector_may_stand_in_for_another(graph: Path) -> None:
    card, beside = provided(read_card(graph)), graph.with_name("a.ncnn")
    with_card(graph, card)
    candidates = replace(card.output, format="candidates")
    save_colour_file(beside, replace(card, output=candidates))
    tune.require_same_detector(graph, beside)
    for other, what in (
        (provided(card, "b" * 64), "source"),
        (replace(card, provenance={}), "source"),
        (replace(card, names=("a", "b", "c")), "classes"),
        (replace(card, input=replace(card.input, batch=2)), "input"),
        (replace(card, output=replace(card.output, score_threshold=0.1)), "thresholds"),
        (replace(card, precision="int8"), "precision"),
    ):
        save_colour_file(beside, other)
        with pytest.raises(ArtifactError, match=rf"a.ncnn is another detector than a.onnx, .* \({what}\)"):
            tune.require_same_detector(graph, beside)


def test_another_detector_beside_it_is_left_out_with_the_reason(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ncnn", reason="needs ncnn (pip install ncnn)")
    save_colour_file(graph.with_name("a.ncnn"))
    monkeypatch.setattr(tune, "HEAT", HEAT)
    result = race(graph, FRAMES, threads=[1], seconds=0.05)
    reasons = {one.dropped for one in result.entrants if one.runtime == "ncnn"}
    assert len(reasons) == 1 and "is another detector than a.onnx" in reasons.pop()


def test_from_the_command_line(
    graph: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "HEAT", HEAT)
    assert main(["tune", str(graph), "--seconds", "0.05", "--threads", "1", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    fields = told["choice"]
    assert Path(told["kept"]).is_file() and told["entrants"][0]["threads"] is None
    with Detector(graph) as detector:
        assert f"{fields['runtime']} " in detector.description and "tuned" in detector.description
    assert main(["tune", str(graph), "--forget"]) == 0
    assert "back to the default" in capsys.readouterr().out
    assert main(["tune", str(graph), "--forget", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"artifact": str(graph), "forgotten": False}]
    assert main(["tune", str(graph.with_name("none.onnx"))]) == 2
    graph.with_name("model.pt").write_bytes(b"PK\x03\x04")
    assert main(["tune", str(graph.with_name("model.pt"))]) == 2
    assert "export it and race the graph" in capsys.readouterr().err
