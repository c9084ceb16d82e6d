"""A runtime is a module and an entry of the table: no other product file knows its name."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import pytest

import edgedet.environment
import edgedet.opening
import edgedet.runtimes
from edgedet import Detector
from edgedet.artifacts.card import METADATA_KEY
from edgedet.cli import main
from edgedet.errors import ArtifactError, RuntimeUnavailableError, UsageError
from edgedet.runtimes import RuntimeInfo
from tests.extension import nothing_runtime
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

NOTHING = RuntimeInfo(
    "nothing",
    nothing_runtime.__name__,
    {".onnx": "graph", ".nil": "graph"},
    needs="numpy",
    install="pip install nothing",
    devices=("left", "right"),
)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> tuple[RuntimeInfo, ...]:
    """The table with one more entry, and the module where it says."""
    runtimes = (*edgedet.runtimes.RUNTIMES, NOTHING)
    for module in (edgedet.runtimes, edgedet.opening, edgedet.environment):
        monkeypatch.setattr(module, "RUNTIMES", runtimes)
    monkeypatch.setitem(sys.modules, NOTHING.module, nothing_runtime)
    return runtimes


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    save_rectangle_graph(tmp_path / "rectangle.onnx")
    return tmp_path / "rectangle.onnx"


@pytest.mark.usefixtures("table")
def test_it_runs_where_it_is_asked_for(graph: Path) -> None:
    frame = frame_with_rectangle(64, 64, (10, 10, 30, 30))
    with Detector(graph) as usual, Detector(graph, runtime="nothing:left") as ours:
        assert usual.description.startswith("onnxruntime") and len(usual.detect(frame)) == 1
        assert (ours.description, ours.device, len(ours.detect(frame))) == ("nothing 1.0", "cpu", 0)


@pytest.mark.usefixtures("table")
def test_commands_and_messages_know_it(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", "--help"]) == 0
    assert "nothing[:left|:right]" in "".join(capsys.readouterr().out.split())
    with pytest.raises(UsageError, match=r"expected auto, .*torch, nothing\[:left\|:right\]"):
        Detector(graph, runtime="nobody")
    assert main(["doctor"]) == 0
    assert "+ nothing" in capsys.readouterr().out


def test_it_is_the_choice_where_the_others_are_missing(
    graph: Path, table: tuple[RuntimeInfo, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edgedet.opening, "find_spec", lambda name: object() if name == "numpy" else None)
    with Detector(graph) as detector:
        assert detector.description == "nothing 1.0"
    monkeypatch.setattr(edgedet.opening, "find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailableError, match="pip install onnxruntime"):
        Detector(graph)


@pytest.mark.usefixtures("table")
def test_its_input_is_held_against_the_card(tmp_path: Path) -> None:
    save_rectangle_graph(tmp_path / "small.onnx", height=32)
    model = onnx.load(str(tmp_path / "small.onnx"))
    (entry,) = (each for each in model.metadata_props if each.key == METADATA_KEY)
    entry.value = entry.value.replace('"height": 32', '"height": 48')
    onnx.save(model, str(tmp_path / "wrong.onnx"))
    with pytest.raises(ArtifactError, match=r"takes images uint8 \[1, 32, 64, 3\], its card says .*\[1, 48"):
        Detector(tmp_path / "wrong.onnx", runtime="nothing")
