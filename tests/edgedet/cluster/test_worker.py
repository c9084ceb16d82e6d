"""A worker gives one machine's detections and one machine's sentences, and refuses to be another machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet import Detector, __version__
from edgedet.cluster.shipped import ship
from edgedet.cluster.worker import Order, answers, open_order
from edgedet.detections import Detections
from edgedet.errors import ClusterError, SourceError
from edgedet.pictures.image_file import read_image
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Seven pictures of different sizes; the third is none."""
    made = []
    for number in range(7):
        path = tmp_path / f"{number}.png"
        frame = frame_with_rectangle(60 + number, 80, (10 + number, 10, 50, 40), channel=number % 3)
        cv2.imwrite(str(path), frame)
        made.append(str(path))
    Path(made[2]).write_bytes(b"nothing")
    return made


def order(path: Path) -> Order:
    options = {"runtime": "onnxruntime:cpu", "threads": 1}
    with Detector(path, **options) as detector:  # type: ignore[arg-type]
        return Order(ship(path), options, __version__, detector.description, detector.device)


@pytest.mark.parametrize("batch", [1, 2, 4, 16])
def test_answers_are_those_of_one_machine(tmp_path: Path, paths: list[str], batch: int) -> None:
    save_rectangle_graph(tmp_path / "model.onnx", batch=batch)
    with open_order(order(tmp_path / "model.onnx")) as worker, Detector(tmp_path / "model.onnx") as alone:
        found = answers(worker, paths)
        assert len(found) == len(paths)
        for path, answer in zip(paths, found, strict=True):
            try:
                frame = read_image(Path(path))
            except SourceError as error:
                assert answer == ("SourceError", str(error))
                continue
            assert isinstance(answer, Detections)
            expected = alone.detect(frame)
            assert len(expected) == 1
            np.testing.assert_array_equal(answer.boxes, expected.boxes)
            np.testing.assert_array_equal(answer.scores, expected.scores)
            np.testing.assert_array_equal(answer.labels, expected.labels)
            assert answer.frame_size == expected.frame_size
        assert answers(worker, []) == []


def test_pictures_that_are_none_at_the_end_keep_no_other_back(tmp_path: Path, paths: list[str]) -> None:
    save_rectangle_graph(tmp_path / "model.onnx", batch=4)
    with open_order(order(tmp_path / "model.onnx")) as worker:
        found = answers(worker, [paths[0], paths[1], paths[2], paths[2]])
    assert [isinstance(answer, Detections) for answer in found] == [True, True, False, False]


def test_another_version_is_refused(tmp_path: Path) -> None:
    save_rectangle_graph(tmp_path / "model.onnx")
    given = order(tmp_path / "model.onnx")
    with pytest.raises(ClusterError, match=rf"a worker has edgedet {__version__} and this machine 9\.9; install"):
        open_order(replace(given, version="9.9"))
    with pytest.raises(
        ClusterError, match=r"a worker runs the artifact with onnxruntime .* and this machine with x"
    ):
        open_order(replace(given, description="x"))
