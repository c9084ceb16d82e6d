"""Every output format of the card becomes detections in frame pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from edgedet.artifacts.card import InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.detections import Detections
from edgedet.errors import ArtifactError, UsageError
from edgedet.geometry import plan_resize
from edgedet.nms import best_of_each_class
from edgedet.outputs.plausible_values import anchor_places
from edgedet.postprocess import Found, Postprocessor, settle_thresholds

RULE = ResizeRule("letterbox", place="center", rounding="round")
HALVED = plan_resize(RULE, 100, 200, 100, 100)  # scale 0.5, 25 rows of border above
NAMES = ("cup", "book", "phone")


def card(format: Any = "candidates", **output: Any) -> ModelCard:
    values = {"score_threshold": 0.3, "iou_threshold": 0.5, "max_detections": 10} | output
    return ModelCard("ssd", "test", NAMES, InputSpec(100, 100), RULE, OutputSpec(format, **values))


def run(of: ModelCard, arrays: dict[str, Any], **asked: Any) -> Detections:
    outputs = {name: np.asarray(value, np.float32)[None] for name, value in arrays.items()}
    return Postprocessor(of, settle_thresholds(of, **asked), tuple(outputs))(outputs, HALVED)


class TestDetections:
    arrays: ClassVar = {
        "boxes": [[10, 35, 20, 45], [0, 25, 100, 75], [0, 0, 0, 0]],
        "scores": [0.9, 0.4, 0],
        "labels": [2, 0, 0],
        "count": 2,
    }

    def test_rows_up_to_count_come_back_to_the_frame(self) -> None:
        found = run(card("detections"), self.arrays)
        assert found.boxes.tolist() == [[20, 20, 40, 40], [0, 0, 200, 100]]
        assert found.labels.tolist() == [2, 0] and found.labels.dtype == np.int32
        assert found.frame_size == (100, 200)

    def test_none_is_an_empty_result(self) -> None:
        found = run(card("detections"), self.arrays | {"count": 0})
        assert len(found) == 0 and found.boxes.shape == (0, 4)

    def test_a_higher_threshold_and_a_lower_limit_are_applied(self) -> None:
        assert run(card("detections"), self.arrays, conf=0.5).scores.tolist() == [np.float32(0.9)]
        assert len(run(card("detections"), self.arrays, max_detections=1)) == 1

    def test_boxes_wholly_in_the_border_are_left_out(self) -> None:
        found = run(card("detections"), self.arrays | {"boxes": [[10, 0, 20, 20], [0, 25, 100, 75], [0] * 4]})
        assert found.boxes.tolist() == [[0, 0, 200, 100]]


class TestData:
    """Further arrays follow their detections."""

    def test_through_limits_and_borders(self) -> None:
        arrays = TestDetections.arrays | {
            "boxes": [[10, 0, 20, 20], [0, 25, 100, 75], [10, 35, 20, 45]],
            "scores": [0.9, 0.4, 0.35],
            "labels": [2, 0, 1],
            "count": 3,
            "track_id": [7, 8, 9],
        }
        assert run(card("detections", data=("track_id",)), arrays).data["track_id"].tolist() == [8, 9]
        assert run(card("detections", data=("track_id",)), arrays, max_detections=2).data["track_id"].tolist() == [
            8
        ]

    def test_through_suppression(self) -> None:
        scores = [[0.8, 0.1, 0.5], [0.9, 0.2, 0.1], [0.1, 0.7, 0.2]]
        arrays = {"boxes": TestCandidates.boxes, "scores": scores, "keypoints": [[[1, 1]], [[2, 2]], [[3, 3]]]}
        found = run(card(data=("keypoints",), label_mode="best"), arrays)
        assert found.scores.tolist() == np.float32([0.9, 0.7]).tolist()
        assert found.data["keypoints"].tolist() == [[[2, 2]], [[3, 3]]]

    def test_they_outlive_the_runtimes_buffers(self) -> None:
        of = card("detections", data=("track_id",))
        outputs = {
            name: np.asarray(value, np.float32)[None]
            for name, value in (TestDetections.arrays | {"track_id": [7, 8, 0]}).items()
        }
        found = Postprocessor(of, settle_thresholds(of), tuple(outputs))(outputs, HALVED)
        outputs["track_id"][:] = -1
        assert found.data["track_id"].tolist() == [7, 8]

    def test_a_missing_output_and_a_format_without_rows_are_refused(self) -> None:
        with pytest.raises(ArtifactError, match="promises outputs boxes, scores, labels, count, track_id"):
            run(card("detections", data=("track_id",)), TestDetections.arrays)
        with pytest.raises(ArtifactError, match=r"track_id.*yolo_xywh"):
            run(card("yolo_xywh", data=("track_id",)), {"output0": np.zeros((7, 4)), "track_id": [1]})


class TestCandidates:
    boxes: ClassVar = [[10, 30, 30, 50], [11, 30, 31, 50], [60, 30, 90, 60]]

    def test_every_class_above_the_threshold_counts(self) -> None:
        scores = [[0.9, 0.1, 0.5], [0.8, 0.2, 0.1], [0.1, 0.7, 0.2]]
        found = run(card(), {"boxes": self.boxes, "scores": scores})
        assert found.labels.tolist() == [0, 1, 2]
        assert found.boxes[0].tolist() == [20, 10, 60, 50]

    def test_label_mode_best_gives_a_box_one_class(self) -> None:
        scores = [[0.9, 0.1, 0.5], [0.8, 0.2, 0.1], [0.1, 0.7, 0.2]]
        found = run(card(label_mode="best"), {"boxes": self.boxes, "scores": scores})
        assert found.labels.tolist() == [0, 1]

    def test_the_best_of_each_class_are_the_first_of_equals(self) -> None:
        """As a sorted list has them; scores of few values tie at the limit."""
        random = np.random.default_rng(0)
        for _ in range(200):
            count, limit = int(random.integers(1, 300)), int(random.integers(1, 40))
            scores = (random.integers(0, random.integers(2, 300), count) / 37).astype(np.float32)
            labels = random.integers(0, 4, count)
            expected = [
                row
                for label in range(4)
                for row in sorted(np.flatnonzero(labels == label), key=lambda row: (-scores[row], row))[:limit]
            ]
            np.testing.assert_array_equal(best_of_each_class(scores, labels, limit), sorted(expected))

    def test_candidates_per_class_are_the_best_ones(self) -> None:
        boxes = [[0, 30, 10, 40], [20, 30, 30, 40], [40, 30, 50, 40], [60, 30, 70, 40]]
        scores = [[0.4, 0, 0], [0.9, 0, 0], [0.5, 0, 0], [0.31, 0.6, 0]]
        found = run(card(candidates_per_class=2), {"boxes": boxes, "scores": scores})
        np.testing.assert_allclose(found.scores, [0.9, 0.6, 0.5])

    def test_per_class_boxes_carry_their_label_in_their_place(self) -> None:
        boxes = [[0, 30, 10, 40], [20, 30, 30, 40], [40, 30, 50, 40], [60, 30, 70, 40]]
        found = run(card(box_layout="per_class"), {"boxes": boxes, "scores": [[0.1], [0.6], [0.5], [0.9]]})
        assert found.labels.tolist() == [0, 1, 2]

    def test_small_boxes_are_dropped_before_nms(self) -> None:
        boxes: ClassVar = [[10, 30, 12, 50], [10, 30, 30, 50]]
        found = run(card(min_box_side=5), {"boxes": boxes, "scores": [[0.9, 0, 0], [0.5, 0, 0]]})
        np.testing.assert_allclose(found.scores, [0.5])

    def test_thresholds_may_be_lowered_since_nothing_was_thrown_away(self) -> None:
        arrays = {"boxes": self.boxes, "scores": [[0.2, 0, 0], [0.1, 0, 0], [0, 0.05, 0]]}
        assert len(run(card(), arrays, conf=0.04, iou=0.99)) == 3


class TestUltralytics:
    def test_centres_and_sizes_become_corners(self) -> None:
        rows = np.array([[20, 40, 20, 20, 0.1, 0.9, 0.2], [70, 45, 10, 30, 0.2, 0.1, 0.25]], np.float32)
        found = run(card("yolo_xywh", label_mode="best"), {"output0": rows.T})
        assert found.boxes.tolist() == [[20, 10, 60, 50]]
        assert found.labels.tolist() == [1]

    def test_end_to_end_heads_need_no_nms(self) -> None:
        rows = [[10, 30, 30, 50, 0.4, 2], [10, 30, 30, 50, 0.9, 2], [0, 0, 0, 0, 0, 0]]
        found = run(card("yolo_end2end"), {"output0": rows})
        np.testing.assert_allclose(found.scores, [0.9, 0.4])

    def test_broken_rows_are_left_out(self) -> None:
        rows = [[np.nan, 30, 30, 50, 0.9, 1], [10, 30, 30, 50, np.inf, 1], [10, 30, 30, 50, 0.5, 1]]
        assert len(run(card("yolo_end2end"), {"output0": rows})) == 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"conf": 0.1}, r"conf 0.1 is below 0.3.*--conf 0.1"),
        ({"iou": 0.6}, r"IoU threshold 0.5 is inside.*--iou 0.6"),
        ({"max_detections": 11}, r"above 10.*--max-detections 11"),
        ({"conf": 1.5}, "conf is 1.5, expected a number from 0 to 1"),
        ({"max_detections": 0}, "expected 1 or more"),
    ],
)
def test_what_nms_inside_the_graph_already_threw_away_cannot_be_asked_for(
    asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        settle_thresholds(card("detections"), **asked)


def test_the_artifact_s_own_values_may_be_repeated() -> None:
    settled = settle_thresholds(card("detections"), conf=0.3, iou=0.5, max_detections=10)
    assert (settled.score, settled.iou, settled.max_detections) == (0.3, 0.5, 10)


def test_iou_means_nothing_to_heads_without_nms() -> None:
    with pytest.raises(UsageError, match="works without NMS"):
        settle_thresholds(card("yolo_end2end"), iou=0.9)
    inside = replace(card("yolo_end2end"), provenance={"nms": "graph"})
    with pytest.raises(UsageError, match="is below"):
        settle_thresholds(inside, conf=0.1)


def test_outputs_that_the_card_does_not_promise_are_named() -> None:
    with pytest.raises(
        ArtifactError, match="promises outputs boxes, scores, labels, count, the artifact has output0"
    ):
        Postprocessor(card("detections"), settle_thresholds(card("detections")), ("output0",))


def test_ultralytics_nms_is_followed_to_its_rounding() -> None:
    """Boxes moved apart by 7680 pixels per class lose digits, and some fall on the other side of the threshold."""
    torch = pytest.importorskip("torch")
    from torchvision.ops import nms

    generator = np.random.default_rng(0)
    # Pairs of 10 x 10 boxes a third of their width apart: IoU 0.5, or a rounding error beside it.
    first = generator.random((150, 2)) + np.arange(150)[:, None] * [20, 0] + 40
    centres = np.concatenate([first, first + np.array([10 / 3, 0])])
    rows = np.concatenate([centres, np.full((300, 2), 10), np.zeros((300, 80))], axis=1)
    rows[:, 4 + 79] = generator.permutation(300) / 1000 + 0.5
    rows = rows.astype(np.float32)
    names = tuple(str(index) for index in range(80))
    of = replace(card("yolo_xywh", label_mode="best", max_detections=300), family="yolo", names=names)
    geometry = plan_resize(ResizeRule("none"), 4000, 4000, 4000, 4000)
    found = Postprocessor(of, settle_thresholds(of), ("output0",))({"output0": rows.T[None]}, geometry)
    half = rows[:, 2:4] / 2
    boxes = torch.from_numpy(np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1))
    scores = torch.from_numpy(rows[:, -1])
    theirs, unmoved = nms(boxes + 79 * 7680, scores, 0.5), nms(boxes, scores, 0.5)
    assert found.scores.tolist() == scores[theirs].tolist()
    assert theirs.tolist() != unmoved.tolist()


def foreign_card(format: str, names: int = 3) -> ModelCard:
    made = replace(card(format, label_mode="best", max_detections=300), names=tuple(f"n{i}" for i in range(names)))
    return replace(made, input=replace(made.input, height=100, width=200))


def decoded(of: ModelCard, *values: np.ndarray) -> list[Found]:
    """Of several frames, one after the other."""
    processor = Postprocessor(of, settle_thresholds(of), ("output0",))
    return [processor.decode([value.astype(np.float32)]) for value in values]


def test_objectness_times_class_score_decides() -> None:
    rows = np.array(
        [
            [50, 50, 20, 10, 0.9, 0.1, 0.9, 0.2],
            [150, 50, 20, 10, 0.9, 0.2, 0.1, 0.2],  # 0.18 is below the threshold
            [150, 20, 20, 10, 0.2, 0.9, 0.9, 0.9],
        ]
    )
    (found,) = decoded(foreign_card("yolo_objectness"), rows)
    np.testing.assert_allclose(found.boxes, [[40, 45, 60, 55]])
    np.testing.assert_allclose(found.scores, [0.81], rtol=1e-6)
    assert found.labels.tolist() == [1]


def test_rtdetrs_boxes_are_shares_of_the_canvas() -> None:
    rows = np.array([[0.5, 0.5, 0.2, 0.4, 0.9, 2], [0.1, 0.1, 0.1, 0.1, 0.1, 0]])
    (found,) = decoded(foreign_card("rtdetr_rows"), rows)
    np.testing.assert_allclose(found.boxes, [[80, 30, 120, 70]], rtol=1e-6)
    assert found.labels.tolist() == [2]


GRID = np.stack(np.meshgrid(np.arange(4, 200, 8), np.arange(4, 100, 8)), -1).reshape(-1, 2)


def anchors() -> np.ndarray:
    """[A, 4 + 3], boxes 12 pixels around the places of a grid."""
    drawn = np.random.default_rng(0).uniform(0, 0.9, (len(GRID), 3))
    return np.concatenate([GRID, np.full_like(GRID, 12), drawn], axis=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows - [0, 0, 0, 0, 3, 3, 3], "scores range from -3"),
        (lambda rows: rows - [0, 0, 0, 0, -9, -9, -9], "scores range from 9"),
        (lambda rows: rows * np.nan, "not one box has finite numbers"),
        (lambda rows: rows / [200, 100, 200, 100, 1, 1, 1], "shares of the canvas"),
        (lambda rows: rows + np.pad(rows[:, :2], ((0, 0), (2, 3))), "boxes are corners"),
    ],
)
def test_a_foreign_output_that_contradicts_its_description_is_refused(change: Any, message: str) -> None:
    of = foreign_card("yolo_xywh")
    assert len(decoded(of, anchors().T)[0].boxes)
    with pytest.raises(ArtifactError, match=message):
        decoded(of, change(anchors()).T)
    rows = change(anchors())
    with pytest.raises(ArtifactError, match=message):
        decoded(foreign_card("yolo_objectness"), np.insert(rows, 4, rows[:, 4], axis=1))


def test_a_description_is_held_against_one_frame_only() -> None:
    first, second = decoded(foreign_card("yolo_xywh"), anchors().T, anchors().T / 200)
    assert len(first.boxes) and second.boxes.max(initial=0) < 2


GOOD = [20.0, 20, 60, 50, 0.9, 1]


@pytest.mark.parametrize(
    ("format", "rows", "message"),
    [
        ("yolo_end2end", [[20, 20, 60, 50, 4.5, 1]], "scores range from 4.5 to 4.5"),
        ("yolo_end2end", [[20, 20, 60, 50, 0, 0.9]], "the last of the six numbers is 0.9, expected a class number"),
        ("yolo_end2end", [[0.1, 0.2, 0.3, 0.5, 0.9, 1]], "boxes reach 0.5, expected pixels"),
        ("yolo_end2end", [[90, 60, 20, 10, 0.9, 1]], "most boxes have x2 < x1"),
        ("rtdetr_rows", [GOOD], "boxes reach 60, expected shares"),
    ],
)
def test_chosen_boxes_that_contradict_their_description(format: str, rows: list[list[float]], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        decoded(foreign_card(format), np.array(rows))


def test_a_frame_with_nothing_on_it_proves_nothing() -> None:
    """NMS inside pads with zeros: the next frame is looked at as well."""
    of = foreign_card("yolo_end2end")
    assert [len(found.boxes) for found in decoded(of, np.zeros((300, 6)), np.array([GOOD]))] == [0, 1]
    with pytest.raises(ArtifactError, match="scores range"):
        decoded(of, np.zeros((300, 6)), np.array([[20, 20, 60, 50, 4.5, 1]]))


def test_advice_for_what_another_tool_suppresses_is_that_tools() -> None:
    of = replace(foreign_card("yolo_end2end"), provenance={"nms": "graph"})
    for asked, message in (
        ({"conf": 0.01}, "Ultralytics with conf=0.01"),
        ({"iou": 0.1}, "Ultralytics with iou=0.1"),
        ({"max_detections": 999}, "Ultralytics with max_det=999"),
    ):
        with pytest.raises(UsageError, match=message):
            settle_thresholds(of, **asked)  # type: ignore[arg-type]


def test_top_left_corners_with_sizes_are_told_by_the_anchors_places() -> None:
    """Whole, a third and a sixth of the canvas: boxes of all sizes around their anchors."""
    of = foreign_card("yolo_xywh")
    places = anchor_places(of.input.height, of.input.width, 25 * 12 + 12 * 6 + 6 * 3)
    assert places is not None
    sizes = np.random.default_rng(0).uniform(8, 90, places.shape)
    scores = np.random.default_rng(1).uniform(0, 0.9, (len(places), 3))
    assert len(decoded(of, np.concatenate([places, sizes, scores], axis=1).T)[0].boxes)
    with pytest.raises(ArtifactError, match="boxes are top left corners with widths and heights"):
        decoded(of, np.concatenate([places - sizes / 2, sizes, scores], axis=1).T)


def of_exporter(format: str, **said: str) -> ModelCard:
    return replace(foreign_card(format), provenance={"exporter": "ultralytics 8.4", **said})


def test_what_the_numbers_leave_open_the_metadata_states() -> None:
    """The numbers of its anchors are another, and boxes so small are centres as well as top left corners."""
    rows = anchors()
    rows[:, 2:4] = 2
    assert len(decoded(foreign_card("yolo_xywh"), rows.T)[0].boxes)
    for format, values in (("yolo_xywh", rows.T), ("yolo_objectness", np.insert(rows, 4, rows[:, 4], axis=1))):
        assert len(decoded(of_exporter(format), values)[0].boxes)


def test_scores_that_sum_to_1_hold_the_background() -> None:
    rows = anchors()
    rows[:, 4:] /= rows[:, 4:].sum(axis=1, keepdims=True)
    with pytest.raises(ArtifactError, match="the 3 scores of every box sum to 1"):
        decoded(foreign_card("yolo_xywh"), rows.T)


def test_a_head_without_nms_does_not_pad() -> None:
    rows = np.array([GOOD, [0.0] * 6])
    assert len(decoded(of_exporter("yolo_end2end", nms="graph"), rows)[0].boxes) == 1
    with pytest.raises(ArtifactError, match="padded with zeros"):
        decoded(of_exporter("yolo_end2end", nms="none"), rows)


def test_corners_from_rtdetr_are_refused() -> None:
    places = np.random.default_rng(0).uniform(0, 0.8, (40, 2))
    sizes = np.random.default_rng(1).uniform(0.05, 0.2, (40, 2))
    rest = np.tile([0.9, 1], (40, 1))
    assert len(decoded(foreign_card("rtdetr_rows"), np.concatenate([places, sizes, rest], axis=1))[0].boxes)
    with pytest.raises(ArtifactError, match=r"boxes are corners .* expected centres and sizes"):
        decoded(foreign_card("rtdetr_rows"), np.concatenate([places, places + sizes, rest], axis=1))


def test_a_few_rows_in_order_do_not_end_the_looking() -> None:
    turned = np.array([[90.0, 60, 20, 10, 0.9, 1]])
    with pytest.raises(ArtifactError, match="most boxes have x2 < x1"):
        decoded(foreign_card("yolo_end2end"), np.array([GOOD]), turned)
    many = np.tile(GOOD, (20, 1))
    assert len(decoded(foreign_card("yolo_end2end"), many, turned)) == 2
