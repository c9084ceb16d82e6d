"""The parser for nvinfer, compiled and run: Detector's boxes from the same outputs, and refusals of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgedet.artifacts.card import InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.export.pipelines.deepstream import write_folder
from edgedet.geometry import plan_resize
from edgedet.postprocess import Postprocessor, settle_thresholds
from tests.export.pipelines.parser_runner import Objects, build_parser, run_parser

WIDTH, HEIGHT, ROWS, CLASSES = 200, 120, 400, 3
CANDIDATES = OutputSpec("candidates", score_threshold=0.3, iou_threshold=0.45, max_detections=60)

Parse = Callable[..., Objects | str]


def card_of(output: OutputSpec, *, family: Any = "ssd", **facts: Any) -> ModelCard:
    names = tuple(f"class {index}" for index in range(CLASSES))
    spec = InputSpec(HEIGHT, WIDTH, dtype="float32", layout="NCHW")
    return ModelCard(family, "made up", names, spec, ResizeRule("stretch"), output, **facts)


def shapes_of(card: ModelCard) -> dict[str, tuple[int, ...]]:
    if card.output.format == "detections":
        return {"boxes": (1, ROWS, 4), "scores": (1, ROWS), "labels": (1, ROWS), "count": (1, 1)}
    return {"boxes": (1, ROWS, 4), "scores": (1, ROWS, 1 if card.output.box_layout == "per_class" else CLASSES)}


def graph_of(card: ModelCard) -> onnx.ModelProto:
    """A graph with nothing but outputs of the right shapes."""
    kinds = {"labels": TensorProto.INT32, "count": TensorProto.INT32}
    outputs = [
        helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape)
        for name, shape in shapes_of(card).items()
    ]
    return helper.make_model(helper.make_graph([], "empty", [], outputs))


def outputs_of(card: ModelCard, seed: int) -> dict[str, np.ndarray]:
    """Numbers as a network gives them at its worst: crowded, tied, upside down, endless, beyond the canvas."""
    random = np.random.default_rng(seed)
    shapes = shapes_of(card)
    corners = random.uniform((-20, -20), (WIDTH, HEIGHT), (ROWS, 2))
    boxes = np.concatenate([corners, corners + random.uniform(-2, 60, (ROWS, 2))], axis=1)
    boxes[: ROWS // 2] = np.round(boxes[: ROWS // 2] / 8) * 8  # equal boxes, and overlaps at the threshold
    boxes[random.integers(0, ROWS, 4), random.integers(0, 4, 4)] = (np.nan, np.inf, -np.inf, 1e30)
    scores = random.uniform(0, 1, shapes["scores"][1:])
    scores = np.where(random.random(scores.shape) < 0.5, np.round(scores * 16) / 16, scores)
    scores.flat[random.integers(0, scores.size, 3)] = (np.nan, np.float32(0.3), 1.0)
    found = {"boxes": boxes.astype(np.float32)[None], "scores": scores.astype(np.float32)[None]}
    if card.output.format == "detections":
        count = ROWS // 3
        ranked = np.sort(np.nan_to_num(scores, nan=0.5))[::-1] * 0.6 + 0.35
        ranked[count:] = 0
        labels = np.where(ranked > 0, random.integers(0, CLASSES, ROWS), 0)
        boxes = np.where(ranked[:, None] > 0, np.nan_to_num(boxes, nan=3, posinf=9, neginf=-9), 0)
        found = {
            "boxes": boxes.astype(np.float32)[None],
            "scores": ranked.astype(np.float32)[None],
            "labels": labels.astype(np.int32)[None],
            "count": np.array([[count]], np.int32),
        }
    return found


@pytest.fixture
def parse(driver: Path, tmp_path: Path) -> Parse:
    """Writes a folder for a card, builds its parser, and runs it on outputs."""
    built: dict[str, Path] = {}

    def run(card: ModelCard, outputs: dict[str, np.ndarray], *, frame: Any = None, **named: Any) -> Objects | str:
        key = card.to_json() + repr(frame)
        if key not in built:
            folder = tmp_path / f"folder{len(built)}"
            folder.mkdir()
            write_folder(folder, graph_of(card), card, source="made up", frame=frame)
            built[key] = build_parser(folder)
        return run_parser(driver, built[key], card, outputs, tmp_path, **named)

    return run


def detected(card: ModelCard, outputs: dict[str, np.ndarray], **thresholds: Any) -> Objects:
    """What Detector would find in a frame of the canvas's size."""
    post = Postprocessor(card, settle_thresholds(card, **thresholds), tuple(outputs))
    found = post(outputs, plan_resize(ResizeRule("stretch"), HEIGHT, WIDTH, HEIGHT, WIDTH))
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    return Objects(np.concatenate([found.boxes[:, :2], sides], axis=1), found.scores, found.labels)


def assert_same(found: Objects | str, expected: Objects) -> None:
    assert isinstance(found, Objects), found
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.boxes, expected.boxes)


CARDS = {
    "every class of a box": card_of(CANDIDATES),
    "the best class of a box": card_of(replace(CANDIDATES, label_mode="best")),
    "Ultralytics' classes": card_of(replace(CANDIDATES, label_mode="best"), family="yolo"),
    "Ultralytics' boxes of several classes": card_of(CANDIDATES, family="yolo"),
    "a box for each class": card_of(replace(CANDIDATES, box_layout="per_class"), family="faster_rcnn"),
    "the best of each class": card_of(replace(CANDIDATES, candidates_per_class=40, max_detections=500)),
    "no small boxes": card_of(replace(CANDIDATES, min_box_side=12.5, candidates_per_class=50)),
    "few detections": card_of(replace(CANDIDATES, max_detections=7)),
    "everything": card_of(replace(CANDIDATES, score_threshold=0.0, iou_threshold=1.0, max_detections=2000)),
    "a choice made in the graph": card_of(replace(CANDIDATES, format="detections", max_detections=400)),
    "few of a choice": card_of(replace(CANDIDATES, format="detections", max_detections=11)),
}


@pytest.mark.parametrize("what", CARDS)
def test_the_boxes_of_detector_to_the_last_bit(parse: Parse, what: str) -> None:
    card, compared = CARDS[what], 0
    for seed in range(6):
        outputs = outputs_of(card, seed)
        with np.errstate(invalid="ignore"):
            expected = detected(card, outputs)
        assert_same(parse(card, outputs), expected)
        compared += len(expected.scores)
    assert compared >= 30


@pytest.mark.parametrize("what", ["every class of a box", "a choice made in the graph"])
def test_a_raised_threshold(parse: Parse, what: str) -> None:
    card = CARDS[what]
    outputs = outputs_of(card, 7)
    found = parse(card, outputs, thresholds=[0.7] * CLASSES)
    assert_same(found, detected(card, outputs, conf=0.7))
    of_one_class = parse(card, outputs, thresholds=[1.0, 0.3, 1.0])
    assert isinstance(of_one_class, Objects) and set(of_one_class.labels) == {1}


def test_candidates_below_the_cards_threshold_may_be_asked_for(parse: Parse) -> None:
    card = CARDS["every class of a box"]
    outputs = outputs_of(card, 8)
    assert_same(parse(card, outputs, thresholds=[0.1] * CLASSES), detected(card, outputs, conf=0.1))


def test_headers_that_know_rotation(driver: Path, tmp_path: Path) -> None:
    card = CARDS["few detections"]
    write_folder(tmp_path, graph_of(card), card, source="made up")
    build_parser(tmp_path, flags="-O2 -DSTAND_IN_ROTATION")


def test_boxes_are_cut_off_at_the_edges_of_a_known_frame(parse: Parse) -> None:
    card = replace(card_of(replace(CANDIDATES, iou_threshold=1.0)), resize=ResizeRule("letterbox", place="center"))
    frame_width, frame_height = 300, 100  # 200 x 66 pixels of the canvas, from row 27 on
    outputs = outputs_of(card, 3)
    whole, found = parse(card, outputs), parse(card, outputs, frame=(frame_width, frame_height))
    assert isinstance(found, Objects) and isinstance(whole, Objects)
    top = np.clip(whole.boxes[:, 1], 27, 93)
    bottom = np.clip(whole.boxes[:, 1] + whole.boxes[:, 3], 27, 93)
    inside = bottom > top
    assert 10 < inside.sum() < len(inside)
    np.testing.assert_array_equal(found.boxes[:, 1], top[inside])
    np.testing.assert_allclose(found.boxes[:, 3], (bottom - top)[inside], atol=1e-4)
    np.testing.assert_array_equal(found.scores, whole.scores[inside])


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "another canvas": ({"size": (WIDTH, HEIGHT + 8)}, "another size"),
    "fewer classes": ({"thresholds": [0.3, 0.3]}, "num-detected-classes"),
    "more classes": ({"thresholds": [0.3] * 4}, "num-detected-classes"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_settings_of_another_graph_are_refused(parse: Parse, what: str) -> None:
    named, message = REFUSALS[what]
    card = CARDS["every class of a box"]
    said = parse(card, outputs_of(card, 0), **named)
    assert isinstance(said, str) and said.startswith("edgedet: ") and message in said


def test_outputs_of_another_graph_are_refused(parse: Parse) -> None:
    card = CARDS["every class of a box"]
    outputs = outputs_of(card, 0)
    for changed in (
        {"boxes": outputs["boxes"]},
        {"boxes": outputs["boxes"][:, :-1], "scores": outputs["scores"]},
        {"boxes": outputs["boxes"], "scores": outputs["scores"][..., :2]},
        {"boxes": outputs["boxes"], "scores": np.zeros((1, ROWS, CLASSES), np.int32)},
        {"boxes": outputs["boxes"][..., None], "scores": outputs["scores"]},
    ):
        said = parse(card, changed)
        assert isinstance(said, str) and "of the right type and shape" in said
    chosen = CARDS["a choice made in the graph"]
    outputs = outputs_of(chosen, 0)
    outputs["labels"][0, 2] = CLASSES
    said = parse(chosen, outputs)
    assert isinstance(said, str) and "unknown class" in said
