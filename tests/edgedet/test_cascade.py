"""Two detectors as one: the second sees the crops of the first, and its boxes lie in the frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet import Cascade, Detections, Detector
from edgedet.bench import read_result
from edgedet.cli import main
from edgedet.errors import ArtifactError, FrameError, UsageError
from tests.masked_detector import save_masked_graph
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

BOX = (24, 18, 60, 54)
FRAME = frame_with_rectangle(72, 96, BOX)
"""A green rectangle."""


@pytest.fixture(scope="module", name="graph")
def _graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cascade") / "model.onnx"
    save_rectangle_graph(path, conf=0.1)
    cv2.imwrite(str(path.with_name("frame.png")), FRAME)
    return path


class Fixed(Detector):
    """A detector that finds what it is told, and remembers what it saw."""

    def __init__(self, path: Path, *found: Detections) -> None:
        super().__init__(path)
        self.found = list(found)
        self.seen: list[Any] = []

    def _detect(self, frames: Any, proposals: Any = None) -> list[Detections]:
        self.seen += list(frames)
        if not self.found:
            return super()._detect(frames, proposals)
        return [self.found[0]] * len(frames)


def persons(*boxes: list[float], label: int = 1) -> Detections:
    scores = np.linspace(0.9, 0.5, len(boxes))
    return Detections(
        np.array(boxes), scores, np.full(len(boxes), label), ("blue", "green", "red"), FRAME.shape[:2]
    )


def test_masks_of_a_crop_lie_in_the_frame(graph: Path, tmp_path: Path) -> None:
    save_masked_graph(tmp_path / "masked.onnx")
    with Cascade(graph, tmp_path / "masked.onnx", margin=0.25) as cascade:
        found = cascade.detect(FRAME)
        assert found.masks is not None and found.masks.frame_size == (72, 96)
        rows, columns = np.nonzero(found.masks.full(0))
        x1, y1, x2, y2 = found.boxes[0]
        np.testing.assert_allclose([columns.min(), columns.max() + 1, rows.max() + 1], [x1, x2, y2], atol=2)
        assert rows.min() > y1 + 5, "the upper quarter is none of the object's"
        nothing = cascade.detect(np.zeros_like(FRAME))
        assert nothing.masks is not None and len(nothing) == len(nothing.masks) == 0


def test_what_is_found_in_a_crop_lies_in_the_frame(graph: Path) -> None:
    with Cascade(graph, graph, classes=["green"], margin=0.25) as cascade:
        outer, found = cascade.detect_both(FRAME)
        assert found.names == cascade.names == ("blue", "green", "red") and found.frame_size == (72, 96)
        (box,), (within,) = found.boxes, found.data["within"]
        np.testing.assert_allclose(box, BOX, atol=1.5)
        np.testing.assert_array_equal(within, outer.boxes[0])
        assert cascade.detect(FRAME).boxes.tolist() == found.boxes.tolist()
        both = cascade.first.last_timing.run + cascade.second.last_timing.run
        assert cascade.last_timing.run == pytest.approx(both)
        assert "then" in cascade.description


def test_the_second_sees_the_crops_and_nothing_else(graph: Path) -> None:
    first = Fixed(graph, persons([10, 10, 30, 40], [50, 5, 90, 70]))
    second = Fixed(graph)
    with Cascade(first, second, margin=0.0) as cascade:
        cascade.detect(FRAME)
    shapes = [crop.shape for crop in second.seen]
    assert shapes == [(30, 20, 3), (65, 40, 3)]
    np.testing.assert_array_equal(second.seen[0], FRAME[10:40, 10:30])


def test_only_the_classes_asked_for_and_the_best_of_them_are_looked_into(graph: Path) -> None:
    first = Fixed(graph, persons([10, 10, 30, 40], [50, 5, 90, 70], [1, 1, 9, 9]))
    second = Fixed(graph)
    with Cascade(first, second, classes=["red"]) as cascade:
        outer, found = cascade.detect_both(FRAME)
        assert len(outer) == 3 and len(found) == 0 and not second.seen
        assert found.data["within"].shape == (0, 4), "rows of a frame with objects and of one without are alike"
        assert cascade.last_timing.run == first.last_timing.run
    first, second = Fixed(graph, first.found[0]), Fixed(graph)
    with Cascade(first, second, most=2) as cascade:
        cascade.detect(FRAME)
    assert len(second.seen) == 2


def test_grey_and_float_frames_are_cut_as_the_first_saw_them(graph: Path) -> None:
    first = Fixed(graph, persons([10, 10, 30, 40]))
    second = Fixed(graph)
    with Cascade(first, second, margin=0.0) as cascade:
        cascade.detect(FRAME[..., 1])
        cascade.detect(FRAME.astype(np.float32))
        with pytest.raises(FrameError):
            cascade.detect(np.zeros(3))
    assert [crop.shape for crop in second.seen] == [(30, 20, 3)] * 2
    assert second.seen[1].dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["person"]}, "'person' is none of the classes of .*: blue, green, red"),
        ({"classes": []}, "no classes to look into"),
        ({"classes": "green"}, "expected a list of names"),
        ({"classes": 5}, "classes is 5, expected a list of names"),
        ({"margin": -0.1}, "margin is -0.1, expected"),
        ({"margin": float("nan")}, "margin is nan"),
        ({"margin": "wide"}, "margin is 'wide'"),
        ({"most": 0}, "most is 0, expected 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(graph: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Cascade(graph, graph, **options)


def test_detectors_that_were_given_stay_open_when_it_is_refused(graph: Path) -> None:
    with Detector(graph) as first:
        with pytest.raises(ArtifactError):
            Cascade(first, "gone.onnx")
        with pytest.raises(UsageError):
            Cascade(first, graph, classes=["person"])
        assert len(first.detect(FRAME))
    with pytest.raises(UsageError, match="closed"):
        Cascade(first, graph).detect(FRAME)


def test_names_that_come_once_are_kept(graph: Path) -> None:
    with Cascade(graph, graph, classes=(name for name in ("green",)), margin=np.float32(0.25)) as cascade:
        assert len(cascade.detect(FRAME)) == 1


def test_margins_are_the_same_on_the_command_line(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["detect", str(graph), str(graph.with_name("frame.png")), "--then", str(graph), "--then-margin"]
    assert main([*words, "10"]) == 0
    assert len(json.loads(capsys.readouterr().out)["detections"]) == 1
    assert main([*words, "10.1"]) == 2
    assert "'10.1' is not a share of a box's sides, 0 to 10" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"margin is 10.1, expected a share of a box's sides, 0 to 10"):
        Cascade(graph, graph, margin=10.1)


def test_crops_are_cut_as_they_are_needed(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Cascade(graph, graph, margin=10) as cascade:
        once = cascade.first.detect(FRAME)
        monkeypatch.setattr(cascade.first, "detect", lambda frame: once[[0] * 5])
        held: list[int] = []
        batched = cascade.second.detect_batch
        monkeypatch.setattr(cascade.second, "detect_batch", lambda crops: held.append(len(crops)) or batched(crops))
        assert len(cascade.detect(FRAME)) == 1 and held == [1] * 5


def test_it_streams_and_batches_as_a_detector_does(graph: Path) -> None:
    with Cascade(graph, graph, margin=0.25) as cascade:
        expected = cascade.detect(FRAME).boxes.tolist()
        with cascade.stream(str(graph.with_name("frame.png"))) as stream:
            ((_, found),) = list(stream)
        assert found.boxes.tolist() == expected
        lost: list[Any] = []
        assert [len(found) for _, found in cascade.stream([FRAME, np.zeros(3)], unreadable=lost.append)] == [1]
        assert len(lost) == 1
        assert [each.boxes.tolist() for each in cascade.detect_batch([FRAME, FRAME])] == [expected] * 2
        cascade.warmup(1)


def test_on_the_command_line(graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = str(graph.with_name("frame.png"))
    words = ["detect", str(graph), frame, "--then", str(graph), "--then-class", "green", "--then-margin", "0.25"]
    assert main([*words, "--save", str(tmp_path / "out"), "--blur", "green"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["detections"]
    np.testing.assert_allclose(row["box"], BOX, atol=1.5)
    np.testing.assert_allclose(row["within"], BOX, atol=1.5)
    (picture,) = (tmp_path / "out").iterdir()
    assert not np.array_equal(cv2.imread(str(picture)), FRAME)
    assert main(["detect", str(graph), frame, "--then", str(graph), "--then-class", "person"]) == 2
    assert "'person' is none of the classes" in capsys.readouterr().err
    assert main(["detect", str(graph), frame, "--then-most", "1"]) == 2
    assert "--then-most is about crops" in capsys.readouterr().err
    quick = ["--seconds", "0.1", "--warmup", "2", "--min-frames", "5", "--streams", "1", "--batches", "1"]
    out = tmp_path / "bench.json"
    words = ["bench", str(graph), "--then", str(graph), "--then-margin", "0.25", "--frames", frame]
    assert main([*words, *quick, "--cold-starts", "1", "--json", str(out)]) == 0
    (entry,) = json.loads(out.read_text())["artifacts"]
    assert entry["name"] == "model.onnx then model.onnx" and "; then onnxruntime" in entry["runtime"]
    assert "total" in entry["cold"] and entry["detections"]["min"] == 1
    assert entry["then"] == str(graph) and read_result(out).artifacts[0].then == str(graph)
