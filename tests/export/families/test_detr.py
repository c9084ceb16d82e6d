"""Ranking the answers of a network that needs no NMS: against the same done with NumPy."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from edgedet.artifacts.card import InputSpec, ResizeRule
from edgedet.errors import UsageError
from edgedet.export.families import detr
from edgedet.export.families.base import GraphOptions
from edgedet.export.finished_graph import checked
from edgedet.onnx_graph.builder import GraphBuilder

QUERIES, COLUMNS, HEIGHT, WIDTH = 6, 4, 8, 12
SPEC = InputSpec(
    height=HEIGHT, width=WIDTH, batch=2, scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5), colour="BGR"
)
Activation = Literal["sigmoid", "softmax", "none"]


def network(*, twice: bool = False, probabilities: bool = False) -> onnx.ModelProto:
    """Class answers [N, Q, C] and boxes [N, Q, 4] as one convolution of the whole image; ``twice``: something else
    reads the image too."""
    random = np.random.default_rng(4)
    outputs = QUERIES * (COLUMNS + 4)
    weight = random.normal(size=(outputs, 3, HEIGHT, WIDTH)) * 0.15
    graph = GraphBuilder("network")
    image = graph.input("images", "float32", (2, 3, HEIGHT, WIDTH))
    raw = graph.op("Conv", image, graph.constant(weight), graph.constant(random.normal(size=outputs)), name="conv")
    if twice:
        mean = graph.op("ReduceMean", image, name="mean", axes=[1, 2, 3], keepdims=1)
        raw = graph.op("Add", raw, mean, name="add")
    rows = graph.op("Reshape", raw, graph.ints(2, QUERIES, COLUMNS + 4), name="rows")
    logits, boxes = graph.ops("Split", rows, graph.ints(COLUMNS, 4), name="split", outputs=2, axis=-1)
    if probabilities:
        logits = graph.op("Sigmoid", logits, name="probabilities")
    graph.output(logits, "logits", "float32", (2, QUERIES, COLUMNS))
    graph.output(graph.op("Sigmoid", boxes, name="shares"), "boxes", "float32", (2, QUERIES, 4))
    return graph.model()


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip((output.name for output in session.get_outputs()), session.run(None, inputs), strict=True))


def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)


def expected(
    model: onnx.ModelProto, activation: Activation, classes: tuple[int, ...], conf: float, limit: int
) -> list[Any]:
    """Per image (score, label, box), best first, by the rules of transformers' post_process_object_detection."""
    rgb = images()[..., ::-1].astype(np.float64)
    pixels = (rgb / 255 - np.array(SPEC.mean)) / np.array(SPEC.std)
    raw = run(model, images=pixels.transpose(0, 3, 1, 2).astype(np.float32))
    found = []
    for logits, shares in zip(raw["logits"].astype(np.float64), raw["boxes"], strict=True):
        if activation == "softmax":
            scores = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
            pairs = [(query, int(scores[query, list(classes)].argmax())) for query in range(QUERIES)]
        else:
            scores = 1 / (1 + np.exp(-logits)) if activation == "sigmoid" else logits
            pairs = [(query, label) for query in range(QUERIES) for label in range(len(classes))]
        ranked = sorted(((scores[query, classes[label]], label, query) for query, label in pairs), reverse=True)[
            :limit
        ]
        found.append(
            [
                (
                    score,
                    label,
                    [(x - w / 2) * WIDTH, (y - h / 2) * HEIGHT, (x + w / 2) * WIDTH, (y + h / 2) * HEIGHT],
                )
                for score, label, query in ranked
                if score > conf
                for x, y, w, h in [shares[query].tolist()]
            ]
        )
    return found


@pytest.mark.parametrize("twice", [False, True], ids=["one reader", "two readers"])
@pytest.mark.parametrize("classes", [None, (0, 1, 2), (1, 3)], ids=["all", "last is nothing", "two of four"])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "none"])
def test_the_best_answers_come_out(activation: Activation, classes: tuple[int, ...] | None, twice: bool) -> None:
    source = network(twice=twice, probabilities=activation == "none")
    head = detr.Head(QUERIES, COLUMNS, classes, activation)
    wanted = expected(source, activation, classes or tuple(range(COLUMNS)), 0.3, QUERIES)
    exported = detr.export(source, head, SPEC, ResizeRule("stretch"), GraphOptions(batch=2, conf=0.3))
    found = run(checked(exported.model, nms="runtime"), images=images())
    assert found["boxes"].shape == (2, QUERIES, 4) and found["labels"].dtype == np.int32
    assert found["count"].tolist() == [len(rows) for rows in wanted] and len(wanted[0]) > 0
    for image, rows in enumerate(wanted):
        count = len(rows)
        np.testing.assert_allclose(found["scores"][image, :count], [row[0] for row in rows], atol=1e-4)
        assert found["labels"][image, :count].tolist() == [row[1] for row in rows]
        np.testing.assert_allclose(found["boxes"][image, :count], [row[2] for row in rows], atol=1e-3)
        assert not found["boxes"][image, count:].any() and not found["labels"][image, count:].any()
    assert exported.output.max_detections == QUERIES and exported.output.score_threshold == 0.3


def test_the_networks_own_file_stays_as_it_was() -> None:
    source = network()
    before = source.SerializeToString()
    detr.export(source, detr.Head(QUERIES, COLUMNS), SPEC, ResizeRule("stretch"), GraphOptions(batch=2))
    assert source.SerializeToString() == before


def test_colours_and_factor_cost_nothing_where_one_convolution_reads_the_image() -> None:
    options = GraphOptions(batch=2)
    kinds = [
        {node.op_type for node in detr.export(
            network(twice=twice), detr.Head(QUERIES, COLUMNS), SPEC, ResizeRule("stretch"), options
        ).model.graph.node}
        for twice in (False, True)
    ]  # fmt: skip
    assert "Gather" not in kinds[0] and "Gather" in kinds[1]


def test_fewer_detections_than_queries_may_be_asked_for() -> None:
    head = detr.Head(QUERIES, COLUMNS)
    few = detr.export(
        network(), head, SPEC, ResizeRule("stretch"), GraphOptions(batch=2, conf=0.01, max_detections=2)
    )
    found = run(checked(few.model, nms="graph"), images=images())
    every = detr.export(network(), head, SPEC, ResizeRule("stretch"), GraphOptions(batch=2, conf=0.01))
    assert found["count"].tolist() == [2, 2]
    np.testing.assert_allclose(found["scores"], run(every.model, images=images())["scores"][:, :2], atol=1e-6)
    with pytest.raises(UsageError, match="7, but the network has 6 queries"):
        detr.export(network(), head, SPEC, ResizeRule("stretch"), GraphOptions(batch=2, max_detections=7))
    with pytest.raises(UsageError, match=r"works without NMS, --iou 0\.5"):
        detr.export(network(), head, SPEC, ResizeRule("stretch"), GraphOptions(batch=2, iou=0.5))


def test_half_precision_leaves_the_ranking_and_sampled_places_alone() -> None:
    from edgedet.calibration.fp16 import to_half

    graph = GraphBuilder("network")
    image = graph.input("images", "float32", (2, 3, HEIGHT, WIDTH))
    random = np.random.default_rng(2)
    features = graph.op("Conv", image, graph.constant(random.normal(size=(4, 3, 1, 1))), name="features")
    places = graph.op("Conv", features, graph.constant(random.normal(size=(2, 4, 1, 1))), name="places")
    moved = graph.op("Mul", places, graph.constant(0.5), name="offset")
    rows = graph.op("Transpose", moved, name="grid", perm=[0, 2, 3, 1])
    sampled = graph.op("GridSample", features, rows, name="sample")
    weight = random.normal(size=(QUERIES * 8, 4, HEIGHT, WIDTH)) * 0.1
    raw = graph.op("Conv", sampled, graph.constant(weight), name="answers")
    table = graph.op("Reshape", raw, graph.ints(2, QUERIES, 8), name="rows")
    logits, boxes = graph.ops("Split", table, graph.ints(4, 4), name="split", outputs=2, axis=-1)
    graph.output(logits, "logits", "float32", (2, QUERIES, 4))
    graph.output(graph.op("Sigmoid", boxes, name="shares"), "boxes", "float32", (2, QUERIES, 4))
    exported = detr.export(graph.model(), detr.Head(QUERIES, 4), SPEC, ResizeRule("stretch"), GraphOptions(batch=2))
    half = to_half(checked(exported.model, nms="graph")).model
    half_constants = {t.name for t in half.graph.initializer if numpy_helper.to_array(t).dtype == np.float16}
    # Joining graphs numbers names that are tensors' too.
    by_name = {node.name.removesuffix("_1"): node for node in half.graph.node}
    reads_half = {name for name, node in by_name.items() if half_constants.intersection(node.input)}
    assert {"network/features", "network/places", "network/answers"} <= reads_half
    assert "network/offset" in by_name and "network/offset" not in reads_half
    run(half, images=images())
