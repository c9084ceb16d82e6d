"""What is watched while a graph is judged is how large its tensors become, and changes nothing of what it gives."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgedet.calibration import watched_magnitudes
from edgedet.calibration.executor import GraphRunner, in_lanes
from edgedet.calibration.fp16 import to_half
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.calibration.watched_magnitudes import Magnitudes, WatchedRunner


def inner(model: onnx.ModelProto, name: str, frame: np.ndarray) -> np.ndarray:
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    whole.graph.output.append(helper.make_empty_tensor_value_info(name))
    return GraphRunner(whole, threads=1)(frame)[name]


def test_the_largest_values_of_all_frames_are_kept_and_the_outputs_are_the_graphs(tiny: ModuleType) -> None:
    model, frames = tiny.tiny_detector(), tiny.frames(4)
    before = model.SerializeToString()
    runner = WatchedRunner(model, ["stem_out", "spread_relu_out"], fusion="separate", threads=2)
    plain = GraphRunner(model, threads=1)
    for frame, found in zip(frames, in_lanes(runner, frames), strict=True):
        assert set(found) == {"boxes", "scores"}
        np.testing.assert_allclose(found["scores"], plain(frame)["scores"], rtol=1e-5, atol=1e-6)
    assert model.SerializeToString() == before
    assert runner.magnitudes.frames == 4
    for name in ("stem_out", "spread_relu_out"):
        expected = max(float(np.abs(inner(model, name, frame)).max()) for frame in frames)
        assert runner.magnitudes.largest[name] == pytest.approx(expected, rel=1e-5)


def test_a_large_negative_value_is_large() -> None:
    node = helper.make_node("Neg", ["x"], ["y"], "negative")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    graph = helper.make_graph([node], "one", [value], [given])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    runner = WatchedRunner(model, ["y"], fusion="separate", threads=1)
    runner(np.array([7, -2], np.float32))
    assert runner.magnitudes == Magnitudes(1, {"y": 7.0})
    runner(np.array([np.inf, 1], np.float32))
    assert runner.magnitudes == Magnitudes(2, {"y": 0.0}), "as an observation has what is no number"


def test_nothing_run_and_nothing_watched_is_nothing_met(tiny: ModuleType) -> None:
    runner = WatchedRunner(tiny.tiny_detector(), [], fusion="separate", threads=1)
    assert runner.magnitudes == Magnitudes(0, {})
    runner(tiny.frames(1)[0])
    assert runner.magnitudes == Magnitudes(1, {})


def unbounded(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch, **options: object):  # type: ignore[no-untyped-def]
    """A quantisation of a graph of which arithmetic bounds nothing but what a pair clips."""
    monkeypatch.setattr("edgedet.calibration.fp16.magnitudes", lambda network, known: _Clipped())
    given = QuantiseOptions(max_drop=1.0, threads=1, **options)  # type: ignore[arg-type]
    return quantise(tiny.tiny_detector(), tiny.card(), tiny.frames(8), options=given)


class _Clipped(dict[str, float]):
    def __missing__(self, name: str) -> float:
        return 1.0 if name.endswith("_dq") else float("inf")


def test_what_was_met_while_a_graph_was_judged_spares_a_pass(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = unbounded(tiny, monkeypatch)
    assert done.magnitudes is not None and done.magnitudes.frames == 8 and len(done.magnitudes.largest) > 10
    expected = to_half(done.model, tiny.frames(6))
    monkeypatch.setattr(
        "edgedet.calibration.fp16.observe", lambda *given, **options: pytest.fail("frames were run")
    )
    half = to_half(done.model, tiny.frames(6), magnitudes=done.magnitudes)
    assert half.model.SerializeToString(deterministic=True) == expected.model.SerializeToString(deterministic=True)
    assert half.report == expected.report | {"frames": 8}


def test_fewer_frames_than_are_given_are_not_believed(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    done = unbounded(tiny, monkeypatch)
    assert done.magnitudes is not None
    huge = dict.fromkeys(done.magnitudes.largest, 60000.0)
    assert (
        to_half(done.model, tiny.frames(6), magnitudes=Magnitudes(5, huge)).report
        == to_half(done.model, tiny.frames(6)).report
    )
    kept = to_half(done.model, tiny.frames(6), magnitudes=Magnitudes(6, huge)).report["kept_fp32"]
    assert any("values reached 6e+04" in reason for reason in kept.values())


def test_a_tensor_that_nobody_met_is_looked_at(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    done = unbounded(tiny, monkeypatch)
    assert done.magnitudes is not None
    fewer = dict(list(done.magnitudes.largest.items())[::2])
    half = to_half(done.model, tiny.frames(6), magnitudes=Magnitudes(8, fewer)).report
    assert half == to_half(done.model, tiny.frames(6)).report and half["frames"] == 6


def test_nothing_is_watched_where_no_rest_will_be_half(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unbounded(tiny, monkeypatch, target="cpu").magnitudes is None


def test_what_a_graph_met_is_believed_of_that_graph_alone(tiny: ModuleType) -> None:
    """Where the guard gives layers back, another graph is shipped than the one with everything in INT8."""
    model = tiny.tiny_detector(hostile="narrow")
    frames = tiny.frames(16)
    done = quantise(
        model, tiny.card(), frames, judge=_GivesBack(), options=QuantiseOptions(max_drop=0.2, threads=1)
    )
    assert done.report["layers_int8"] > 0 and done.report["kept_float"].keys() > {"spread"}
    assert done.magnitudes is None


class _GivesBack:
    """A judge to whom everything in INT8 is worthless, and anything less is perfect."""

    name, digest, nothing = "worth", "worth", "there is nothing"

    def __init__(self) -> None:
        self._asked = 0

    def __call__(self, run: object) -> float:
        self._asked += 1
        return 0.0 if self._asked == 2 else 1.0


def test_a_tensor_without_values_hides_nothing() -> None:
    assert watched_magnitudes._magnitude(np.inf, -np.inf) == 0.0
    assert watched_magnitudes._magnitude(-3.0, 2.0) == 3.0 and watched_magnitudes._magnitude(0.0, np.inf) == np.inf
