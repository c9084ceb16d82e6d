"""What a finished graph's card says is what the graph is."""

from __future__ import annotations

import weakref
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import onnx
import pytest

from edgedet.calibration.cpu import Cpu
from edgedet.export import finished_graph
from edgedet.export.built_graph import BuiltGraph
from edgedet.export.embedded_card import embed
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model


def test_a_graph_that_int8_left_as_it_was_is_called_by_the_precision_it_has(
    tmp_path: Path, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*given: Any, **named: Any) -> list[Any]:
        return []

    monkeypatch.setattr(Cpu, "paying", none)  # INT8 gains no time on this machine
    (tmp_path / "tiny.onnx").write_bytes(embed(tiny.tiny_detector(), tiny.card()).SerializeToString())
    (tmp_path / "photos").mkdir()
    for number, frame in enumerate(tiny.frames(20)):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), frame[0])
    options = ExportOptions(precision="int8", calib=str(tmp_path / "photos"), max_drop=1)
    report = export_model(tmp_path / "tiny.onnx", tmp_path / "out.onnx", options)
    assert report.card.precision == "fp32" and report.card.measured["int8"]["layers_int8"] == 0
    assert not [node for node in onnx.load(report.path).graph.node if node.op_type == "QuantizeLinear"]
    assert any("left in fp32" in note for note in report.notes)


@pytest.mark.parametrize("calib", [None, "photos"])
def test_the_frameworks_network_is_gone_before_precision_is_reduced(
    calib: str | None, tmp_path: Path, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its weights, and those of the graph as it came from it."""

    class Framework:
        pass

    class Reached(Exception):
        pass

    network: Any = Framework()
    network.itself = network  # as modules do, through their hooks
    built = [BuiltGraph(tiny.tiny_detector(), tiny.card(), "none of its own", module=network)]
    there = [weakref.ref(network), weakref.ref(built[0])]
    del network

    def reduce(*given: Any, statistics: Any, **named: Any) -> None:
        assert [one() for one in there] == [None, None]
        raise Reached(statistics)

    monkeypatch.setattr(finished_graph, "build_graph", lambda *given, **named: built.pop())
    monkeypatch.setattr(finished_graph, "statistics_of", lambda module, model: {"of": type(module).__name__})
    monkeypatch.setattr(finished_graph, "_reduce_precision", reduce)
    (tmp_path / "tiny.onnx").write_bytes(b"")
    with pytest.raises(Reached) as reached:
        finished_graph.finish_graph(
            tmp_path / "tiny.onnx",
            tmp_path / "out.onnx",
            ExportOptions(precision="int8", calib=calib, frame_size=(64, 64)),
            progress=lambda what, done, of: None,
        )
    assert reached.value.args == ({"of": "Framework"} if calib is None else {},)
