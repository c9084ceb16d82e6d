"""Detectors with a transformer decoder in INT8 and fp16: what becomes of their layers, and of their answers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx
import pytest

pytest.importorskip("transformers", minversion="5")

from edgedet.artifacts.card import ModelCard
from edgedet.calibration import rules
from edgedet.calibration.attention import attention
from edgedet.calibration.executor import open_session
from edgedet.calibration.fp16 import to_half
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.calibration.regions import decoding, feature_layers
from edgedet.export.families.base import GraphOptions
from edgedet.export.hugging_face.graph import export, load
from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.preparing import prepare
from edgedet.preprocess import Preprocessor
from edgedet.proof.golden_scene import golden_frame
from tests.export.hugging_face_models import image_size, save

RAW = ("network/logits", "network/boxes")


@dataclass(frozen=True)
class Subject:
    """A graph, its card, prepared frames to calibrate on and to try it with, and where its queries are chosen."""

    kind: str
    model: onnx.ModelProto
    card: ModelCard
    calibration: list[np.ndarray]
    trial: list[np.ndarray]
    chosen: str

    @property
    def network(self) -> Network:
        return prepare(self.model)


@pytest.fixture(scope="module", params=["rf_detr", "rt_detr"])
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    kind = request.param
    loaded = load(save(kind, tmp_path_factory.mktemp("hub") / kind, decoder_layers=1))
    exported, _ = export(loaded, GraphOptions())
    card = replace(loaded.card(), input=exported.input, resize=exported.resize, output=exported.output)
    preprocess = Preprocessor(card.input, card.resize)
    frames = []
    for seed in range(12):
        preprocess.prepare(golden_frame(seed, image_size(kind), image_size(kind)), 0)
        frames.append(preprocess.tensor.copy())
    chosen = next(node.output[1] for node in prepare(exported.model).graph.node if node.op_type == "TopK")
    return Subject(kind, exported.model, card, frames[:8], frames[8:], chosen)


def answers(
    subject: Subject, model: onnx.ModelProto, chosen: list[np.ndarray] | None = None
) -> list[list[np.ndarray]]:
    """Logits, boxes and chosen places on the trial frames; ``chosen``: places to take in place of the model's own.

    Weights are random, so that many places score nearly alike: which of them are taken says nothing of the rest.
    """
    tried = onnx.ModelProto()
    tried.CopyFrom(model)
    names = [*RAW, subject.chosen]
    tried.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    if chosen is not None:
        shape = chosen[0].shape
        tried.graph.input.append(onnx.helper.make_tensor_value_info("given", onnx.TensorProto.INT64, shape))
        for node in tried.graph.node:
            for index, name in enumerate(node.input):
                node.input[index] = "given" if name == subject.chosen else name
    session = open_session(tried, fusion="separate", threads=2)
    image = session.get_inputs()[0].name
    feeds = [{image: frame} for frame in subject.trial]
    if chosen is not None:
        feeds = [feed | {"given": place} for feed, place in zip(feeds, chosen, strict=True)]
    return [session.run(names, feed) for feed in feeds]


def likeness(subject: Subject, model: onnx.ModelProto) -> tuple[float, float, float]:
    """Share of queries chosen alike; cosines of logits and boxes, about each column's mean, of the same queries."""
    expected, free = answers(subject, subject.model), answers(subject, model)
    alike = [len(np.intersect1d(a[2], b[2])) / a[2].size for a, b in zip(expected, free, strict=True)]
    given = answers(subject, model, [one[2] for one in expected])
    cosines = []
    for place in range(2):
        want, got = (np.concatenate([one[place][0] for one in many]) for many in (expected, given))
        middle = want.mean(axis=0)
        want, got = want - middle, got - middle
        cosines.append(float((want * got).sum() / np.sqrt((want**2).sum() * (got**2).sum())))
    return float(np.mean(alike)), cosines[0], cosines[1]


def test_projections_are_int8_and_no_core_norm_or_place_is(subject: Subject) -> None:
    options = QuantiseOptions(max_drop=1.0, effort="quick", layers="all")
    quantised = quantise(subject.model, subject.card, subject.calibration, options=options)
    assert rules.violations(quantised.model) == []
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
    alike, logits, boxes = likeness(subject, quantised.model)
    assert alike > 0.8 and logits > 0.93 and boxes > 0.93


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
    alike, logits, boxes = likeness(subject, half.model)
    assert alike > 0.95 and logits > 0.999 and boxes > 0.999
