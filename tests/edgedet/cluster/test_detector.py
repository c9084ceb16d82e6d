"""A cluster's detector in an evaluation and over a folder: the figures, the order and the sentences of one machine.

The workers are in this process here; ``test_ray.py`` has those of Ray.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from edgedet import Detector
from edgedet.cluster.session import Cluster
from edgedet.datasets import read_dataset
from edgedet.errors import ArtifactError, ClusterError, DatasetError, UsageError
from edgedet.evaluate.evaluation import evaluate
from edgedet.pictures.frames import Unreadable
from edgedet.pictures.sources import open_source
from tests.edgedet.cluster.conftest import InThisProcess
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph


def damage(folder: Path) -> None:
    """A picture whose size can be read and whose pixels cannot."""
    path = folder / "photos/4.png"
    path.write_bytes(path.read_bytes()[:60])


def test_an_evaluation_has_the_same_figures(folder: Path, cluster: Cluster) -> None:
    dataset = read_dataset("photos/annotation.txt")
    damage(folder)
    with Detector("model.onnx") as alone, InThisProcess(cluster, "model.onnx") as many:
        one, other = evaluate(alone, dataset), evaluate(many, dataset)
    assert json.dumps(one.to_dict()) == json.dumps(other.to_dict())
    assert len(one.problems) == 1
    assert one.problems == other.problems


def test_an_evaluation_that_stops_stops_with_the_same_sentence(folder: Path, cluster: Cluster) -> None:
    dataset = read_dataset("photos/annotation.txt")
    damage(folder)
    said = []
    with Detector("model.onnx") as alone, InThisProcess(cluster, "model.onnx") as many:
        for detector in (alone, many):
            with pytest.raises(DatasetError) as raised:
                evaluate(detector, dataset, unreadable="stop")
            said.append(str(raised.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("pictures", [False, True])
def test_a_folder_gives_the_same_lines_in_the_same_order(folder: Path, cluster: Cluster, pictures: bool) -> None:
    (folder / "photos/3b.png").write_bytes(b"nothing")
    lines: list[list[tuple[str, int, object]]] = []
    lost: list[list[Unreadable]] = []
    with Detector("model.onnx") as alone, InThisProcess(cluster, "model.onnx") as many:
        for stream in (alone.stream, lambda source: many.stream(source, pictures=pictures)):
            lost.append([])
            with open_source("photos", unreadable=lost[-1].append) as source:
                found = [(frame, detections) for frame, detections in stream(source)]
            lines.append([(frame.name, frame.index, detections.to_dict()) for frame, detections in found])
    assert lines[0] == lines[1] and len(lines[0]) == 9
    assert lost[0] == lost[1] and len(lost[0]) == 1
    assert found[0][0].image.shape == ((60, 80, 3) if pictures else (0, 0, 3))


@pytest.mark.parametrize("fault", ["lose", "twice"])
def test_no_figure_is_made_of_answers_that_are_missing_or_there_twice(
    folder: Path, cluster: Cluster, fault: str
) -> None:
    dataset = read_dataset("photos/annotation.txt")
    with InThisProcess(cluster, "model.onnx") as many:
        for number in (0, 5, len(dataset) - 1):
            setattr(many, fault, number)
            with pytest.raises(ClusterError, match=r"came where|answers came from"):
                evaluate(many, dataset)


def test_a_clip_is_refused(folder: Path, cluster: Cluster) -> None:
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 5, (80, 60))
    writer.write(frame_with_rectangle(60, 80, (10, 10, 50, 40)))
    writer.release()
    with (
        InThisProcess(cluster, "model.onnx") as many,
        open_source("clip.avi") as source,
        pytest.raises(UsageError, match=r"--ray takes pictures and folders of them; clip\.avi is none"),
    ):
        many.stream(source)


def test_an_artifact_that_does_not_open_is_refused_here(folder: Path, cluster: Cluster) -> None:
    (folder / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(ArtifactError):
        InThisProcess(cluster, "model.onnx")


@pytest.mark.parametrize(
    ("batch", "pictures", "each"), [(1, 9, 1), (1, 4000, 32), (8, 4000, 32), (48, 4000, 48), (8, 9, 8)]
)
def test_tasks_are_whole_batches(folder: Path, cluster: Cluster, batch: int, pictures: int, each: int) -> None:
    save_rectangle_graph(folder / "model.onnx", batch=batch)
    with InThisProcess(cluster, "model.onnx") as many:
        assert many._each(pictures) == each
