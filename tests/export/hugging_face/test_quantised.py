"""Detectors with a transformer decoder in INT8 and fp16: what becomes of their layers, and of their answers."""

from __future__ import annotations

import onnx
import pytest

pytest.importorskip("transformers", minversion="5")

from edgedet.calibration import tensorrt_rules
from edgedet.calibration.attention import attention
from edgedet.calibration.decoder_boundary import decoding, feature_layers
from edgedet.calibration.fp16 import to_half
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.onnx_graph.network import Network
from tests.export.hugging_face_subjects import Subject, likeness, make_subject


@pytest.fixture(scope="module", params=["rf_detr", "rt_detr"])
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return make_subject(request.param, tmp_path_factory.mktemp("hub"), decoder_layers=1)


def test_projections_are_int8_and_no_core_norm_or_place_is(subject: Subject) -> None:
    options = QuantiseOptions(max_drop=1.0, effort="quick", layers="all")
    quantised = quantise(subject.model, subject.card, subject.calibration, options=options)
    assert tensorrt_rules.violations(quantised.model) == []
    before, after = subject.network, Network(quantised.model)
    layers = {layer.name for layer in feature_layers(before)}
    dequantised = {name for node in after.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    readers = {node.name: node.op_type for node in after.graph.node if dequantised.intersection(node.input)}
    # Beside the layers only the residual Adds of convolutions read INT8.
    assert layers <= set(readers) and {readers[name] for name in set(readers) - layers} <= {"Add"}
    assert not set(readers) & (attention(before) | decoding(before))
    projections = (
        "q_proj",
        "k_proj",
        "o_proj",
        "value_proj",
        "output_proj",
        "sampling_offsets",
        "attention_weights",
    )
    assert all(any(name in layer for layer in layers) for name in projections)
    assert not any("ref_point_head/layers.0" in name or "query_pos_head/layers.0" in name for name in layers)
    found = likeness(subject, quantised.model)
    assert found.alike > 0.8 and found.logits > 0.93 and found.boxes > 0.93


def test_in_fp16_the_answers_stay(subject: Subject) -> None:
    half = to_half(subject.model, subject.calibration)
    types = {value.name: value.type.tensor_type.elem_type for value in half.model.graph.value_info}
    cores = attention(subject.network)
    half_kinds = {
        node.op_type
        for node in half.model.graph.node
        if node.name in cores and types.get(node.output[0]) == onnx.TensorProto.FLOAT16
    }
    assert half_kinds >= {"MatMul", "Softmax", "ReduceSum"} and "GridSample" not in half_kinds
    found = likeness(subject, half.model)
    assert found.alike > 0.95 and found.logits > 0.999 and found.boxes > 0.999
