"""FP16 in the graph: same interface, same answers, and nothing that overflows."""

from __future__ import annotations

from collections import Counter, defaultdict
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.calibration import tensorrt_rules
from edgedet.calibration.fp16 import to_half
from edgedet.calibration.observe import Observation, observe
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.onnx_graph.network import Network
from tests import attention_graphs


def run(model: onnx.ModelProto, frame: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"images": frame})


def test_inputs_outputs_and_decoding_keep_their_types_and_the_network_is_half(tiny: ModuleType) -> None:
    model, frames = tiny.tiny_detector(), tiny.frames(4)
    half = to_half(model, frames)
    assert [value.type.tensor_type.elem_type for value in half.model.graph.output] == [TensorProto.FLOAT] * 2
    assert half.model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    inferred = onnx.shape_inference.infer_shapes(half.model, strict_mode=True)
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    by_name = {node.name: node for node in half.model.graph.node}
    assert types[by_name["widen"].output[0]] == TensorProto.FLOAT16
    assert types[by_name["flat"].output[0]] == TensorProto.FLOAT
    assert half.report["kept_fp32"] == {}
    # One cast into fp16 where pixels come in, one out of it where decoding begins.
    assert half.report["casts"] == 2
    for expected, got in zip(run(model, frames[0]), run(half.model, frames[0]), strict=True):
        np.testing.assert_allclose(got, expected, atol=0.02)


def test_a_layer_that_would_overflow_stays_in_fp32_and_is_named(tiny: ModuleType) -> None:
    model, frames = tiny.tiny_detector(hostile="narrow"), tiny.frames(4)
    # Every constant fits fp16; only the values that meet them on the frames do not.
    weight = next(c for c in model.graph.initializer if c.name == "spread.w")
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 200, "spread.w"))
    half = to_half(model, frames)
    assert "narrow" in half.report["kept_fp32"]
    assert "65504" in half.report["kept_fp32"]["narrow"]
    assert "widen" not in half.report["kept_fp32"]
    assert all(np.isfinite(output).all() for output in run(half.model, frames[0]))


def test_without_frames_constants_alone_decide(tiny: ModuleType) -> None:
    half = to_half(tiny.tiny_detector())
    assert half.report["frames"] == 0 and half.report["nodes_fp16"] > 10
    assert "was not looked at" in half.report["absent"]["kept_fp32"]


def test_a_quantised_graph_keeps_its_pairs_and_gets_a_half_remainder(tiny: ModuleType) -> None:
    model, frames = tiny.tiny_detector(), tiny.frames(8)
    options = QuantiseOptions(max_drop=1.0)
    quantised = quantise(model, tiny.card(), frames, options=options).model
    half = to_half(quantised, frames)
    assert tensorrt_rules.violations(half.model) == []
    kinds = Counter(node.op_type for node in half.model.graph.node)
    assert kinds["QuantizeLinear"] == Counter(node.op_type for node in quantised.graph.node)["QuantizeLinear"]
    scale = next(c for c in half.model.graph.initializer if c.name == "stem_silu_out_scale_fp16")
    assert scale.data_type == TensorProto.FLOAT16
    for expected, got in zip(run(quantised, frames[0]), run(half.model, frames[0]), strict=True):
        np.testing.assert_allclose(got, expected, atol=0.1)


def test_a_scale_too_small_for_fp16_keeps_its_whole_layer_in_fp32(tiny: ModuleType) -> None:
    quantised = quantise(
        tiny.tiny_detector(), tiny.card(), tiny.frames(8), options=QuantiseOptions(max_drop=1.0)
    ).model
    scales = next(c for c in quantised.graph.initializer if c.name == "head/weight_scale")
    scales.CopyFrom(
        onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scales) * np.float32(1e-6), scales.name)
    )
    half = to_half(quantised)
    assert {"head", "head/weight/dequantize", "residual_silu_out/dequantize"} <= set(half.report["kept_fp32"])
    assert tensorrt_rules.violations(half.model) == []


def test_a_product_with_quantised_weights_is_a_layer_and_what_is_before_it_no_decoding() -> None:
    random = np.random.default_rng(0)
    weight = random.integers(-127, 128, (8, 4)).astype(np.int8)
    constants = {
        "kernel": random.normal(size=(8, 3, 1, 1)).astype(np.float32), "shape": np.array([1, -1, 8], np.int64),
        "scale": np.float32(0.05), "zero": np.int8(0), "weight": weight,
        "steps": np.full(4, 0.01, np.float32), "zeros": np.zeros(4, np.int8),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["features"], "conv"),
        helper.make_node("Reshape", ["features", "shape"], ["rows"], "rows"),
        helper.make_node("QuantizeLinear", ["rows", "scale", "zero"], ["rows_q"], "q"),
        helper.make_node("DequantizeLinear", ["rows_q", "scale", "zero"], ["rows_dq"], "dq"),
        helper.make_node("DequantizeLinear", ["weight", "steps", "zeros"], ["weight_dq"], "weights", axis=1),
        helper.make_node("MatMul", ["rows_dq", "weight_dq"], ["answers"], "layer"),
        helper.make_node("Sigmoid", ["answers"], ["scores"], "scores"),
    ]
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 16, 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    half = to_half(model).model
    made_by = {name: node for node in half.graph.node for name in node.output}
    (layer,) = (node for node in half.graph.node if node.op_type == "MatMul")
    # A Cast between the pair and the product would keep runtimes from fusing the three.
    assert [made_by[name].op_type for name in layer.input] == ["DequantizeLinear"] * 2
    assert (
        made_by[next(node for node in half.graph.node if node.name == "conv").output[0]].input[1] == "kernel_fp16"
    )


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every node's first output, by the node's name."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.output)}
    return {node.name: types[node.output[0]] for node in inferred.node if node.output[0] in types}


def halves(model: onnx.ModelProto) -> set[str]:
    """Names of the nodes that give fp16."""
    return {name for name, kind in types_of(model).items() if kind == TensorProto.FLOAT16}


def pictures(count: int = 3) -> list[np.ndarray]:
    return list(np.random.default_rng(0).normal(size=(count, 1, 3, 8, 8)).astype(np.float32))


def test_attention_is_half_from_product_to_product_and_scores_are_not() -> None:
    model = attention_graphs.encoder()
    half = to_half(model, pictures())
    found = halves(half.model)
    assert {"q", "products", "scaled", "masked", "map", "mixed", "norm", "gelu_erf", "gelu"} <= found
    assert "scores" not in found and half.report["kept_fp32"] == {}
    # One cast where pixels come in, one where decoding begins: none within a core.
    assert half.report["casts"] == 2
    (expected,), (got,) = (run(one, pictures()[0]) for one in (model, half.model))
    np.testing.assert_allclose(got, expected, atol=0.005)


def test_points_and_boxes_stay_in_fp32_and_what_they_sample_is_weighed_in_half() -> None:
    model = attention_graphs.decoder()
    half = to_half(model, pictures())
    found = halves(half.model)
    assert {"values", "point_weights", "weighed", "summed", "output", "embedding"} <= found
    fp32 = {"reference_bias", "place", "position", "sine", "cosine", "wave_embedding", "points", "sampled", "moved"}
    assert not found & fp32
    (expected,), (got,) = (run(one, pictures()[0]) for one in (model, half.model))
    np.testing.assert_allclose(got, expected, atol=0.005)


def test_bins_of_a_box_edge_stay_in_fp32() -> None:
    assert not halves(to_half(attention_graphs.area_attention(), pictures()).model) & {"shares", "distances"}
    assert not halves(to_half(attention_graphs.box_bins(), pictures()).model) & {"shares", "distances", "boxes"}


def test_a_norm_in_single_operators_stays_in_fp32_from_square_to_quotient() -> None:
    model = attention_graphs.spelled_norm(epsilon=1e-8)
    first = next(c for c in model.graph.initializer if c.name == "first.1")
    first.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(first) * np.float32(1e-3), "first.1"))
    bias = next(c for c in model.graph.initializer if c.name == "first_bias.0")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * np.float32(1e-3), "first_bias.0"))
    half = to_half(model, pictures())
    kept = {"mean", "centred", "squares", "variance", "steadied", "deviation", "quotient"}
    assert set(half.report["kept_fp32"]) == kept and "first" in halves(half.model)
    (expected,), (got,) = (run(one, pictures()[0]) for one in (model, half.model))
    np.testing.assert_allclose(got, expected, atol=0.01)


def test_a_norm_that_keeps_its_moments_in_fp16_stays_in_fp32() -> None:
    model = attention_graphs.encoder()
    norm = next(node for node in model.graph.node if node.op_type == "LayerNormalization")
    norm.attribute.append(helper.make_attribute("stash_type", TensorProto.FLOAT16))
    half = to_half(model)
    assert "norm" not in halves(half.model) and "stash_type" in half.report["kept_fp32"]["norm"]


def test_attention_maps_that_would_overflow_stay_in_fp32_with_what_they_are_made_of() -> None:
    model = attention_graphs.encoder()
    for name in ("q.1", "k.1"):
        weight = next(c for c in model.graph.initializer if c.name == name)
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 200, name))
    half = to_half(model, pictures())
    assert {"products", "scaled", "masked", "map"} <= set(half.report["kept_fp32"])
    assert "mixed" in halves(half.model)


@pytest.mark.parametrize(("blank", "half_mask"), [(0.0, True), (-3e38, False)])
def test_a_mask_is_half_where_fp16_holds_what_it_fills_in(blank: float, half_mask: bool) -> None:
    sketch = attention_graphs.Sketch()
    sketch.conv("first", "images", 3, 8)
    sketch.node("Where", "blanked", np.arange(64).reshape(1, 1, 8, 8) == 5, blank, "first")
    sketch.node("Relu", "kept", "blanked")
    sketch.conv("second", "kept", 8, 4)
    half = to_half(sketch.model("second"))
    assert ("blanked" in halves(half.model)) is half_mask
    assert ("blanked" in half.report["kept_fp32"]) is not half_mask


def test_what_arithmetic_bounds_is_not_looked_at(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    quantised = quantise(tiny.tiny_detector(), tiny.card(), tiny.frames(8), options=QuantiseOptions(max_drop=1.0))
    looked: list[str] = []

    def watched(network: Network, frames: object, tensors: list[str], **options: object) -> dict[str, Observation]:
        looked.extend(tensors)
        return observe(network, frames, tensors, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("edgedet.calibration.fp16.observe", watched)
    expected = to_half(quantised.model, tiny.frames(8)).report
    assert not looked and expected["kept_fp32"] == {} and expected["absent"] == {}
    # Where nothing is bounded everything is looked at, and comes to the same.
    monkeypatch.setattr("edgedet.calibration.fp16.magnitudes", lambda network, known: defaultdict(lambda: np.inf))
    assert to_half(quantised.model, tiny.frames(8)).report == expected
    assert len(looked) > 20
