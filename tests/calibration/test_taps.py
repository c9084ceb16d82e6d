"""Taps show exactly what the tensors hold, and nothing larger than they promise ever leaves the graph."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.calibration import taps as module
from edgedet.calibration.activation_samples import collect
from edgedet.calibration.taps import Look, Taps
from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.preparing import prepare
from tests import attention_graphs


def inner(network: Network, frame: np.ndarray, *names: str) -> list[np.ndarray]:
    """What the named tensors hold, from a graph that gives them out whole."""
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return [np.asarray(value) for value in session.run(list(names), {network.inputs[0]: frame})]


@pytest.fixture
def network(tiny: ModuleType) -> Network:
    return prepare(tiny.tiny_detector())


def test_extremes_are_those_of_every_channel(network: Network, tiny: ModuleType) -> None:
    frames = tiny.frames(3)
    looks = list(Taps(network, ["stem_out", "residual_out"]).look(frames))
    assert len(looks) == 3
    for frame, look in zip(frames, looks, strict=True):
        for name, value in zip(
            ("stem_out", "residual_out"), inner(network, frame, "stem_out", "residual_out"), strict=True
        ):
            np.testing.assert_allclose(look.lows[name], value.min(axis=(0, 2, 3)), rtol=1e-5)
            np.testing.assert_allclose(look.highs[name], value.max(axis=(0, 2, 3)), rtol=1e-5)


def test_values_are_some_of_the_tensors_own_spread_over_all_of_it(
    network: Network, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "VALUES_PER_FRAME", 64)
    (frame,) = tiny.frames(1)
    (look,) = Taps(network, ["stem_out"]).look([frame])
    (value,) = inner(network, frame, "stem_out")
    taken = look.values["stem_out"]
    assert len(taken) == 64
    # Where each of them stands in the tensor: a step of the same length every time.
    flat = value.reshape(-1)
    places = [int(np.abs(flat - one).argmin()) for one in taken]
    steps = np.diff(places) % flat.size
    assert np.median(steps) == flat.size // 64


def test_other_values_are_taken_of_every_frame(
    network: Network, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "VALUES_PER_FRAME", 64)
    (frame,) = tiny.frames(1)
    first, second = Taps(network, ["stem_out"]).look([frame, frame])
    assert not np.array_equal(first.values["stem_out"], second.values["stem_out"])


def test_a_small_tensor_is_taken_whole(network: Network, tiny: ModuleType) -> None:
    (frame,) = tiny.frames(1)
    (look,) = Taps(network, ["stem_out"]).look([frame])
    (value,) = inner(network, frame, "stem_out")
    np.testing.assert_allclose(np.sort(look.values["stem_out"]), np.sort(value.reshape(-1)), rtol=1e-5)


def test_the_graph_itself_is_left_alone(network: Network, tiny: ModuleType) -> None:
    before = network.model.SerializeToString(deterministic=True)
    list(Taps(network, ["stem_out"], dict.fromkeys(network.layers(), 4)).look(tiny.frames(1)))
    assert network.model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("opset", [13, 18])
def test_reductions_are_written_for_the_graphs_operator_set(opset: int) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"], "relu")],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 3, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 3, 4])],
    )
    network = Network(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))
    frame = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    (look,) = Taps(network, ["y"]).look([frame])
    assert look.highs["y"].tolist() == [11.0, 23.0]


def test_shapes_that_only_a_run_knows_are_run_for() -> None:
    # NonZero's count is data: inference cannot know it.
    graph = helper.make_graph(
        [
            helper.make_node("NonZero", ["x"], ["where"], "where"),
            helper.make_node("Cast", ["where"], ["y"], "cast", to=TensorProto.FLOAT),
        ],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, None])],
    )
    network = Network(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    frame = np.ones((2, 3), np.float32)
    (look,) = Taps(network, ["y"], frame=frame).look([frame])
    assert look.highs["y"].tolist() == [0, 1, 2, 1, 1, 2]  # row or column, the larger


def test_windows_of_many_images_come_from_several_of_them() -> None:
    # A box head reads proposals as images.
    weight = np.ones((1, 2, 1, 1), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], "layer")],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [50, 2, 3, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [50, 1, 3, 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    network = Network(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    frame = np.broadcast_to(np.arange(50, dtype=np.float32)[:, None, None, None], (50, 2, 3, 3)).copy()
    (look,) = Taps(network, [], dict.fromkeys(network.layers(), 100)).look([frame])
    rows = look.rows["layer"]
    assert rows.shape == (1, 100, 2)
    assert len(set(rows[0, :, 0])) > 5 and (rows[0, :, 0] == rows[0, :, 1]).all()


def test_channels_of_what_a_product_reads_are_on_the_last_axis() -> None:
    """Tokens in windows, [images, windows, tokens, width], have as many axes as an image."""
    sketch = attention_graphs.Sketch()
    sketch.node("Reshape", "windows", sketch.tokens(), np.array([1, 4, 16, 8]))
    sketch.linear("layer", "windows", 8, 4)
    network = prepare(sketch.model("layer_bias"))
    frame = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    (look,) = Taps(network, ["windows", "patches"]).look([frame])
    windows, image = inner(network, frame, "windows", "patches")
    np.testing.assert_allclose(look.highs["windows"], windows.max(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(look.highs["patches"], image.max(axis=(0, 2, 3)), rtol=1e-5)


def test_nothing_of_a_frame_is_held_while_the_next_one_is_run(
    network: Network, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.run_frames
    left: list[weakref.ref[Any]] = []

    class Watched(Look):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            left.append(weakref.ref(self))

    def watched(*given: Any) -> Iterator[dict[str, np.ndarray]]:
        for found in real(*given):
            assert not [one for one in left if one() is not None]
            left[:] = [weakref.ref(value) for name, value in found.items() if name.endswith("/windows")]
            assert left
            yield found
            del found

    monkeypatch.setattr(module, "run_frames", watched)
    monkeypatch.setattr(module, "Look", Watched)
    layers = network.layers()
    assert list(collect(network, tiny.frames(3), layers, threads=1))


@pytest.mark.parametrize("group", [1, 4])
def test_windows_are_the_same_whether_channels_are_turned_last_or_not(
    group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(8, 8 // group, 3, 2)).astype(np.float32)
    settings = {"group": group, "pads": [1, 0, 1, 1], "strides": [2, 1], "dilations": [1, 2]}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], "layer", **settings)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 8, 9, 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    network = Network(
        onnx.shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        )
    )
    frames = [rng.normal(size=(3, 8, 9, 7)).astype(np.float32) for _ in range(2)]
    taken = []
    for turned in (0, 10**6):
        monkeypatch.setattr(module, "TURNED", turned)
        taps = Taps(network, [], dict.fromkeys(network.layers(), 30))
        assert [window.turned for window in taps._windows] == [turned > 0]
        taken.append([look.rows["layer"] for look in taps.look(frames)])
    for rows, others in zip(*taken, strict=True):
        assert rows.shape == (group, 30, 8 // group * 6)
        np.testing.assert_array_equal(rows, others)


def test_the_graphs_own_outputs_come_where_they_are_asked_for(network: Network, tiny: ModuleType) -> None:
    (frame,) = tiny.frames(1)
    (look,) = Taps(network, ["stem_out"]).look([frame])
    assert look.outputs == {}
    (look,) = Taps(network, ["stem_out"], opening=lambda graph: graph).look([frame])
    (scores,) = inner(network, frame, "scores")
    assert set(look.outputs) == {"boxes", "scores"}
    np.testing.assert_allclose(look.outputs["scores"], scores, rtol=1e-5, atol=1e-6)
