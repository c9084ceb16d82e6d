"""Keypoints travel with their detections, from a graph's output to pictures and other tools' rows."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from edgedet import Cascade, Detector
from edgedet.artifacts.card import KeypointSpec, ModelCard
from edgedet.artifacts.keypoint_skeleton import COCO_PERSON, Skeleton
from edgedet.cli import main
from edgedet.crops import crop_windows, join_crops
from edgedet.detections import Detections
from edgedet.errors import ArtifactError
from edgedet.evaluate.class_match import relabel
from edgedet.pictures.drawing import class_colour
from tests.keypoint_detector import CORNERS, save_keypoint_graph, set_card
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

FRAME = (60, 80)
BOXES = np.array([[10, 10, 30, 40], [40, 5, 79, 55], [0, 30, 20, 59]], np.float32)
POINTS = np.array(
    [
        [[12, 14, 0.9], [28.126, 36, 0.4]],
        [[45, 10, 0.7], [70, 50, 0.8]],
        [[-3.5, 31, 0.2], [18, 70.25, 0.5]],
    ],
    np.float32,
)


def found(**changes: Any) -> Detections:
    values: dict[str, Any] = {"data": {"id": [4, 5, 6]}, "keypoints": POINTS, "skeleton": CORNERS}
    return Detections(BOXES, [0.9, 0.8, 0.7], [1, 0, 1], ("cup", "book"), FRAME, **(values | changes))


@pytest.mark.parametrize("index", [slice(1, 3), np.array([True, False, True]), [2, 0], [], slice(0)])
def test_they_follow_every_selection(index: Any) -> None:
    chosen = found()[index]
    wanted = POINTS[np.asarray(index, int) if isinstance(index, list) else index]
    assert chosen.keypoints is not None and chosen.skeleton == CORNERS
    np.testing.assert_array_equal(chosen.keypoints, wanted)
    assert chosen.keypoints.shape == (len(chosen), 2, 3)


def test_they_follow_other_names_of_classes() -> None:
    spoken = relabel(found(), ("book", "pen"))
    assert spoken.labels.tolist() == [0, 0] and spoken.skeleton == CORNERS
    np.testing.assert_array_equal(spoken.keypoints, POINTS[[0, 2]])


def test_rows_of_json_are_rounded_and_those_of_coco_are_flat() -> None:
    rows = json.loads(found().to_json())["detections"]
    assert rows[0]["keypoints"] == [[12, 14, 0.9], [28.13, 36, 0.4]]
    rows = found().to_coco(7)
    np.testing.assert_array_equal(np.float32([row["keypoints"] for row in rows]), POINTS.reshape(3, 6))
    assert [row["num_keypoints"] for row in rows] == [1, 2, 1], "a score of 0.5 is seen"
    assert [row["num_keypoints"] for row in found(skeleton=None).to_coco(7)] == [2, 2, 2]
    json.dumps(rows)
    plain = found(keypoints=None, skeleton=None)
    assert not {"keypoints", "num_keypoints"} & {*plain.to_coco(7)[0], *plain.to_dict()["detections"][0]}
    assert found()[:0].to_coco(7) == []


def test_supervision_gets_them_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    np.testing.assert_array_equal(found().to_supervision().data["keypoints"], POINTS)
    assert "keypoints" not in found(keypoints=None).to_supervision().data


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"keypoints": POINTS[:2]}, r"keypoints are \[2, 2, 3\], expected \[3, 2, 3\]"),
        ({"keypoints": POINTS[..., :2]}, r"\[3, 2, 2\], expected \[3, 2, 3\]"),
        ({"skeleton": COCO_PERSON}, r"\[3, 2, 3\], expected \[3, 17, 3\]"),
        ({"skeleton": None, "keypoints": POINTS[0]}, r"\[2, 3\], expected \[3, J, 3\]"),
        ({"keypoints": np.full_like(POINTS, np.nan)}, "NaN"),
        ({"data": {"keypoints": [1, 2, 3]}}, "data cannot be called 'keypoints' beside keypoints"),
        ({"data": {"num_keypoints": [1, 2, 3]}}, "data cannot be called 'num_keypoints'"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        found(**changes)


def test_further_arrays_may_still_be_called_keypoints_where_there_are_none() -> None:
    plain = Detections(BOXES, np.ones(3), np.zeros(3), ("cup",), FRAME, {"keypoints": POINTS})
    assert plain.to_coco(1)[0]["keypoints"] == POINTS[0].tolist()


def test_a_skeleton_joins_what_it_has() -> None:
    assert len(COCO_PERSON.names) == 17 and len(COCO_PERSON.links) == 19
    assert (COCO_PERSON.names[15], COCO_PERSON.names[13]) == ("left_ankle", "left_knee")
    with pytest.raises(ValueError, match="joins the keypoints 0 and 2, expected numbers from 0 to 1"):
        Skeleton(("a", "b"), ((0, 2),))
    with pytest.raises(ValueError, match="no keypoints"):
        Skeleton(())


def test_seen_keypoints_are_drawn_and_joined() -> None:
    frame = np.zeros((*FRAME, 3), np.uint8)
    picture = found()[[1]].plot(frame)
    assert picture[10, 45].tolist() == list(class_colour(0)) and picture[50, 70].tolist() == list(class_colour(1))
    assert picture[30, 57:59].any(), "a line between the two"
    assert not found()[[1]].plot(frame)[30, 10:35].any()
    unseen = found()[[0]].plot(frame)
    assert unseen[14, 12].any() and not unseen[36, 28].any() and not unseen[25, 15:25].any()
    assert not found(skeleton=None)[[1]].plot(frame)[30, 57:59].any(), "nobody says what is joined"


def test_points_far_outside_are_not_drawn_anywhere() -> None:
    far = POINTS.copy()
    far[..., :2], far[..., 2] = 3e9, 1.0
    frame = np.zeros((*FRAME, 3), np.uint8)
    plain = found(keypoints=None, skeleton=None).plot(frame)
    np.testing.assert_array_equal(found(keypoints=far).plot(frame), plain)


def test_points_of_crops_lie_in_the_frame() -> None:
    within = Detections([[20, 10, 60, 50], [0, 0, 20, 40]], [0.9, 0.8], [0, 0], ("person",), FRAME)
    inner = [
        Detections([[1, 1, 5, 5]], [0.5], [0], ("hand",), (40, 40), keypoints=POINTS[:1], skeleton=CORNERS),
        Detections([[2, 2, 9, 9]], [0.7], [0], ("hand",), (40, 20), keypoints=POINTS[1:2], skeleton=CORNERS),
    ]
    windows = crop_windows(within.boxes, *FRAME, 0.0)
    joined = join_crops(inner, windows, within, iou=0.5, max_detections=5)
    shift = np.array([20, 10, 0], np.float32)
    np.testing.assert_array_equal(joined.keypoints, np.stack([POINTS[1], POINTS[0] + shift]))
    assert joined.skeleton == CORNERS


@pytest.fixture(scope="module", name="graph")
def _graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keypoints") / "corners.onnx"
    save_keypoint_graph(path)
    cv2.imwrite(str(path.with_name("frame.png")), frame_with_rectangle(200, 300, (60, 40, 180, 160)))
    return path


def test_a_graphs_points_come_back_to_the_frame(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Detector(graph) as detector:
        seen = detector.detect(frame_with_rectangle(200, 300, (60, 40, 180, 160)))
        nothing = detector.detect(np.zeros((50, 50, 3), np.uint8))
    (box,) = seen.boxes
    assert seen.keypoints is not None and seen.skeleton == CORNERS
    np.testing.assert_allclose(seen.keypoints[0, :, :2].reshape(-1), box, atol=1e-3)
    np.testing.assert_allclose(seen.keypoints[0, :, 2], [0.75, 0.25])
    assert nothing.keypoints is not None and nothing.keypoints.shape == (0, 2, 3)
    assert main(["detect", str(graph), str(graph.with_name("frame.png"))]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    (row,) = json.loads(line)["detections"]
    np.testing.assert_allclose(row["keypoints"], seen.keypoints[0], atol=0.01)
    assert main(["inspect", str(graph)]) == 0
    assert "keypoints   2 for every detection: first, last" in capsys.readouterr().out


def test_points_of_a_second_detector_lie_in_the_frame(graph: Path, tmp_path: Path) -> None:
    save_rectangle_graph(tmp_path / "first.onnx")
    with Cascade(tmp_path / "first.onnx", graph, margin=0.25) as cascade:
        seen = cascade.detect(frame_with_rectangle(72, 96, (24, 18, 60, 54)))
        assert seen.keypoints is not None
        np.testing.assert_allclose(seen.keypoints[0, :, :2].reshape(-1), seen.boxes[0], atol=0.1)
        nothing = cascade.detect(np.zeros((72, 96, 3), np.uint8))
        assert nothing.keypoints is not None and nothing.keypoints.shape == (0, 2, 3)


def test_a_card_says_what_the_keypoints_are(graph: Path, tmp_path: Path) -> None:
    with Detector(graph) as detector:
        card = detector.card
    assert card.output.keypoints == KeypointSpec("points", CORNERS)
    assert ModelCard.from_json(card.to_json()) == card
    assert '"keypoints"' not in replace(card, output=replace(card.output, keypoints=None)).to_json()
    for old, new, said in (
        ("[[0, 1]]", "[[0, 2]]", "joins the keypoints 0 and 2"),
        ('["first", "last"]', "[]", "no keypoints"),
        ('"points"', '"dots"', "card.output.keypoints.form is 'dots'"),
        ('"format": "detections"', '"format": "yolo_xywh"', "of the formats detections and candidates only"),
        ('"data": []', '"data": ["keypoints"]', "no data called keypoints"),
    ):
        assert old in card.to_json(), old
        with pytest.raises(ArtifactError, match=said):
            ModelCard.from_json(card.to_json().replace(old, new))
    # A network that gives other points than its card says.
    model = onnx.load(str(graph))
    set_card(model, replace(card, output=replace(card.output, keypoints=KeypointSpec("points", COCO_PERSON))))
    onnx.save(model, str(tmp_path / "other.onnx"))
    with Detector(tmp_path / "other.onnx") as detector, pytest.raises(ArtifactError, match="the card names 17"):
        detector.detect(frame_with_rectangle(64, 64, (10, 10, 40, 40)))
