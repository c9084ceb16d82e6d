"""An input that nvinfer can fill: the same detections, to the last bit, from planes of whole grey levels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgedet.artifacts.card import InputSpec, ModelCard
from edgedet.errors import ArtifactError
from edgedet.export.embedded_card import embed, opened
from edgedet.export.pipelines.nvinfer_input import with_planar_input
from edgedet.preprocess import Preprocessor


def run(model: onnx.ModelProto, **inputs: NDArray[np.generic]) -> list[NDArray[np.float32]]:
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def planar(model: onnx.ModelProto, card: ModelCard) -> tuple[onnx.ModelProto, ModelCard]:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy, with_planar_input(copy, card)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_bytes_become_planes_without_a_transposition_left(tiny: ModuleType) -> None:
    model, card = tiny.tiny_detector(), tiny.card()
    changed, spec = planar(model, card)
    (given,) = changed.graph.input
    assert [size.dim_value for size in given.type.tensor_type.shape.dim] == [1, 3, 32, 32]
    assert given.type.tensor_type.elem_type == TensorProto.FLOAT
    assert (spec.input.layout, spec.input.dtype, spec.input.normalise, spec.input.scale) == (
        "NCHW", "float32", "host", 1.0,
    )  # fmt: skip
    for frame in tiny.frames(3):
        expected = run(model, images=frame)
        found = run(changed, images=frame.transpose(0, 3, 1, 2).astype(np.float32))
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("half", [False, True])
def test_transpositions_at_the_start_go_and_casts_to_half_stay(dtype: str, half: bool) -> None:
    pixels = "images"
    nodes = []
    if dtype == "uint8" or half:
        kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        nodes.append(helper.make_node("Cast", [pixels], ["cast"], to=kind))
        pixels = "cast"
    nodes += [
        helper.make_node("Transpose", [pixels], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["boxes"], to=TensorProto.FLOAT),
    ]
    kind = TensorProto.UINT8 if dtype == "uint8" else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "start",
        [helper.make_tensor_value_info("images", kind, [1, 4, 6, 3])],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 3, 4, 6])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    card = _card(InputSpec(4, 6, dtype="uint8" if dtype == "uint8" else "float32"))
    changed, _ = planar(model, card)
    assert operators(changed) == (["Cast", "Cast"] if half else ["Cast"])
    frame = np.random.default_rng(0).integers(0, 256, (1, 4, 6, 3)).astype(dtype)
    (expected,) = run(model, images=frame)
    (found,) = run(changed, images=frame.transpose(0, 3, 1, 2).astype(np.float32))
    np.testing.assert_array_equal(found, expected)


def _card(spec: InputSpec) -> ModelCard:
    from tests import tiny_detector

    return replace(tiny_detector.card(), input=spec)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("mean", [(0.0, 0.0, 0.0), (0.485, 0.456, 0.406)])
def test_what_the_host_computed_moves_into_the_graph_bit_for_bit(layout: str, mean: tuple[float, ...]) -> None:
    spec = InputSpec(
        4, 6, dtype="float32", layout="NCHW" if layout == "NCHW" else "NHWC", colour="RGB", normalise="host",
        scale=1 / 255, mean=mean, std=(0.229, 0.224, 0.225),
    )  # fmt: skip
    shape = [1, 3, 4, 6] if layout == "NCHW" else [1, 4, 6, 3]
    graph = helper.make_graph(
        [helper.make_node("Add", ["images", "zero"], ["boxes"])],
        "start",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.zeros(1, np.float32), "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    card = _card(spec)
    changed, new = planar(model, card)
    assert (new.input.colour, new.input.normalise, new.input.scale) == ("RGB", "host", 1.0)
    frame = np.random.default_rng(0).integers(0, 256, (9, 11, 3)).astype(np.uint8)
    results = []
    for each, of in ((model, card), (changed, new)):
        host = Preprocessor(of.input, of.resize)
        host.prepare(frame)
        results.append(run(each, images=host.tensor)[0])
    np.testing.assert_array_equal(results[1], results[0])


@pytest.mark.parametrize("batch", [1, 2])
def test_count_gets_a_second_dimension_and_detector_reads_it(tmp_path: Path, batch: int) -> None:
    from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

    card = save_rectangle_graph(tmp_path / "model.onnx", batch=batch)
    model = onnx.load(tmp_path / "model.onnx")
    changed, new = planar(model, card)
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in changed.graph.output
    }
    assert shapes["count"] == [batch, 1] and shapes["labels"] == [batch, 1]
    frame = frame_with_rectangle(90, 120, (20, 30, 70, 60), channel=2)
    with opened(embed(model, card)) as first, opened(embed(changed, new)) as second:
        expected, found = first.detect(frame), second.detect(frame)
    assert len(expected) == 1
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    assert found.labels.tolist() == expected.labels.tolist() == [2]


def test_arithmetic_on_bytes_is_refused(tiny: ModuleType) -> None:
    model = tiny.tiny_detector()
    model.graph.node.insert(0, helper.make_node("Div", ["images", "two"], ["halved"], name="halve"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(2, np.uint8), "two"))
    next(node for node in model.graph.node if node.op_type == "Cast").input[0] = "halved"
    with pytest.raises(ArtifactError, match=r"computes with bytes \(Div halve\).*--input-dtype float32"):
        with_planar_input(model, tiny.card())


def test_a_card_of_another_input_is_refused(tiny: ModuleType) -> None:
    card = replace(tiny.card(), input=InputSpec(64, 64))
    with pytest.raises(ArtifactError, match=r"no input images of uint8 \[1, 64, 64, 3\]"):
        with_planar_input(tiny.tiny_detector(), card)
