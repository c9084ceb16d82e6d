"""What inference says of a graph is asked once, and again when the graph has changed."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgedet.onnx_graph import network as module
from edgedet.onnx_graph.network import Network


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[onnx.ModelProto]:
    """Graphs that inference was asked about."""
    graphs: list[onnx.ModelProto] = []
    real = module.inferred

    def watched(model: onnx.ModelProto) -> onnx.GraphProto:
        graphs.append(model)
        return real(model)

    monkeypatch.setattr(module, "inferred", watched)
    return graphs


def test_inference_is_asked_once(tiny: ModuleType, asked: list[onnx.ModelProto]) -> None:
    network = Network(tiny.tiny_detector())
    assert network.shapes()["stem_out"][:2] == (1, 16)
    assert network.element_types()["stem_out"] == TensorProto.FLOAT
    assert network.layers() and len(asked) == 1


def test_shapes_given_away_may_be_changed(tiny: ModuleType) -> None:
    network = Network(tiny.tiny_detector())
    network.shapes()["stem_out"] = (7,)
    assert network.shapes()["stem_out"][:2] == (1, 16)


def test_a_graph_that_was_edited_is_inferred_anew(tiny: ModuleType, asked: list[onnx.ModelProto]) -> None:
    network = Network(tiny.tiny_detector())
    network.shapes()
    network.nodes["stem_silu_gate"].output[0] = "gate"
    network.nodes["stem_silu"].input[1] = "gate"
    network.refresh()
    assert "gate" in network.shapes() and len(asked) == 2


def test_a_constant_of_another_shape_makes_others(tiny: ModuleType, asked: list[onnx.ModelProto]) -> None:
    network = Network(tiny.tiny_detector())
    assert network.shapes()["one_255th"] == ()
    network.set_constant("one_255th", np.full((1, 1, 1, 3), 1 / 255, np.float32))
    assert network.shapes()["one_255th"] == (1, 1, 1, 3) and len(asked) == 2
