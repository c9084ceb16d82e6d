"""The result type."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest

from edgedet.detections import Detections
from edgedet.errors import MissingDependencyError

NAMES = ("cup", "book", "phone")


def some() -> Detections:
    return Detections(
        np.array([[10, 20, 50, 60], [0, 0, 30, 30], [5, 5, 8, 9]], np.float32),
        np.array([0.9, 0.5, 0.25], np.float32),
        np.array([2, 0, 2], np.int32),
        NAMES,
        (100, 200),
    )


def test_one_detection_by_number() -> None:
    first = some()[0]
    assert (first.box.tolist(), round(first.score, 3), first.label, first.name) == (
        [10, 20, 50, 60],
        0.9,
        2,
        "phone",
    )
    assert some()[-1].label == 2
    with pytest.raises(IndexError):
        some()[3]


@pytest.mark.parametrize(
    ("index", "scores"),
    [
        (slice(1, None), [0.5, 0.25]),
        (np.array([True, False, True]), [0.9, 0.25]),
        ([2, 0], [0.25, 0.9]),
        (np.array([], int), []),
        ([], []),
        (slice(None, None, -1), [0.25, 0.5, 0.9]),
    ],
)
def test_slices_masks_and_numbers_give_detections(index: Any, scores: list[float]) -> None:
    chosen = some()[index]
    assert isinstance(chosen, Detections)
    np.testing.assert_allclose(chosen.scores, scores)
    assert chosen.boxes.shape == (len(scores), 4)
    assert chosen.names == NAMES and chosen.frame_size == (100, 200)


def test_a_mask_of_another_length_is_an_error() -> None:
    with pytest.raises(IndexError):
        some()[np.array([True])]


def test_iteration_gives_every_one() -> None:
    assert [one.name for one in some()] == ["phone", "cup", "phone"]


def test_lists_become_arrays_of_the_right_kind() -> None:
    made = Detections([[0, 0, 1, 1]], [1], [0], ("x",), (2, 2))  # type: ignore[arg-type]
    assert (made.boxes.dtype, made.scores.dtype, made.labels.dtype) == (np.float32, np.float32, np.int32)


def test_empty() -> None:
    nothing = Detections.empty(NAMES, (3, 4))
    assert len(nothing) == 0 and nothing.boxes.shape == (0, 4) and list(nothing) == []
    assert nothing.to_coco(1) == [] and "nothing" in repr(nothing)
    assert json.loads(nothing.to_json())["detections"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": np.zeros((2, 4))}, r"boxes \(2, 4\), scores \(3,\)"),
        ({"boxes": np.zeros((3, 5))}, "boxes"),
        ({"scores": np.array([0.1, 0.2])}, "scores"),
        ({"scores": np.array([0.1, 0.2, 1.5])}, r"expected \[0, 1\]"),
        ({"scores": np.array([0.1, 0.2, np.nan])}, r"expected \[0, 1\]"),
        ({"labels": np.array([0, 1, 3])}, "there are 3 names"),
        ({"labels": np.array([0, 1, -1])}, "labels lie in"),
        ({"boxes": np.full((3, 4), np.nan)}, "NaN"),
    ],
)
def test_contradictions_are_refused(change: dict[str, Any], message: str) -> None:
    values = {field: getattr(some(), field) for field in ("boxes", "scores", "labels", "names", "frame_size")}
    with pytest.raises(ValueError, match=message):
        Detections(**(values | change))


def test_coco_rows_have_width_and_height() -> None:
    row = some().to_coco(7)[0]
    assert row["image_id"] == 7 and row["category_id"] == 2 and row["bbox"] == [10, 20, 40, 40]
    assert some().to_coco(7, category_ids=[11, 12, 13])[0]["category_id"] == 13
    json.dumps(some().to_coco(7))


def test_json_is_one_line_of_plain_values() -> None:
    text = some().to_json()
    assert "\n" not in text
    value = json.loads(text)
    assert value["frame_size"] == [100, 200]
    assert value["detections"][1] == {"box": [0, 0, 30, 30], "score": 0.5, "label": 0, "name": "cup"}


def test_supervision_is_asked_for_by_name_when_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingDependencyError, match="pip install supervision"):
        some().to_supervision()


def test_supervision_gets_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    supervision = pytest.importorskip("supervision")
    theirs = some().to_supervision()
    assert isinstance(theirs, supervision.Detections)
    np.testing.assert_array_equal(theirs.xyxy, some().boxes)
    assert theirs.data["class_name"].tolist() == ["phone", "cup", "phone"]


class TestPlot:
    frame = np.full((100, 200, 3), 90, np.uint8)

    def test_the_frame_itself_is_left_alone(self) -> None:
        before = self.frame.copy()
        picture = some().plot(self.frame)
        np.testing.assert_array_equal(self.frame, before)
        assert picture.shape == (100, 200, 3) and picture.dtype == np.uint8

    def test_every_box_is_drawn_in_the_colour_of_its_class(self) -> None:
        from edgedet.pictures.drawing import class_colour

        picture = some().plot(self.frame)
        assert tuple(picture[45, 10]) == class_colour(2)
        assert tuple(picture[28, 30]) == class_colour(0)

    def test_classes_have_colours_of_their_own(self) -> None:
        from edgedet.pictures.drawing import class_colour

        colours = np.array([class_colour(label) for label in range(12)], float)
        distances = np.abs(colours[:, None] - colours[None]).max(-1) + np.eye(12) * 255
        assert distances.min() > 25

    def test_grey_and_tiny_frames_can_be_drawn_on(self) -> None:
        assert some().plot(self.frame[:, :, 0]).shape == (100, 200, 3)
        one = Detections([[0, 0, 1, 1]], [0.5], [0], ("a very long class name",), (1, 1))  # type: ignore[arg-type]
        assert one.plot(np.zeros((1, 1, 3), np.uint8)).shape == (1, 1, 3)

    def test_nothing_found_gives_the_plain_frame(self) -> None:
        np.testing.assert_array_equal(Detections.empty().plot(self.frame), self.frame)


def test_further_arrays_follow_selections_and_are_written() -> None:
    found = Detections([[0, 0, 4, 4], [2, 2, 8, 8]], [0.9, 0.4], [1, 0], ("a", "b"), (10, 10), {"track_id": [7, 8]})
    assert found[[1]].data["track_id"].tolist() == [8]
    assert found[found.scores > 0.5].to_dict()["detections"][0]["track_id"] == 7
    assert [row["track_id"] for row in found.to_coco(1)] == [7, 8]
    assert json.loads(found.to_json())["detections"][1]["track_id"] == 8
    assert Detections.empty(("a",)).data == {}


@pytest.mark.parametrize(
    ("data", "said"), [({"track_id": [1]}, "expected 2 rows"), ({"score": [1, 2]}, "cannot be called 'score'")]
)
def test_further_arrays_that_do_not_fit_are_refused(data: dict[str, list[int]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Detections([[0, 0, 4, 4], [2, 2, 8, 8]], [0.9, 0.4], [1, 0], ("a", "b"), (10, 10), data)  # type: ignore[arg-type]
