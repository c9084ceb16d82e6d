"""Mean IoU on labelled pictures, as torchvision's references count it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet import ClassMap, Segmenter
from edgedet.cli import main
from edgedet.datasets.map_dataset import MapDataset, read_map_dataset
from edgedet.errors import DatasetError
from edgedet.evaluate.maps import evaluate_maps
from tests.colour_segmenter import NAMES, save_segmenter
from tests.rectangle_detector import frame_with_rectangle


class Fixed:
    """Says the same of every frame."""

    names = ("background", "road", "car")

    def __init__(self, labels: np.ndarray) -> None:
        self._labels = labels

    def segment(self, frame: np.ndarray) -> ClassMap:
        return ClassMap(self._labels, self.names)


def dataset(folder: Path, labels: np.ndarray, names: str = "") -> MapDataset:
    for name in ("images", "labels"):
        (folder / name).mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "images" / "a.png"), np.zeros((*labels.shape, 3), np.uint8))
    cv2.imwrite(str(folder / "labels" / "a.png"), labels)
    if names:
        (folder / "classes.txt").write_text(names)
    return read_map_dataset(str(folder))


def test_figures_are_those_of_torchvisions_references(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, (40, 50)).astype(np.uint8)
    truth[random.random(truth.shape) < 0.1] = 255
    said = np.where(random.random(truth.shape) < 0.7, truth % 255, random.integers(0, 3, truth.shape))
    said = said.astype(np.uint8)
    found = evaluate_maps(Fixed(said), dataset(tmp_path, truth))
    # references/segmentation/utils.py: ConfusionMatrix.
    k = (truth >= 0) & (truth < 3)
    counts = np.bincount(3 * truth[k].astype(int) + said[k], minlength=9).reshape(3, 3)
    ious = np.diag(counts) / (counts.sum(1) + counts.sum(0) - np.diag(counts))
    np.testing.assert_array_equal(found.confusion, counts)
    np.testing.assert_allclose(found.ious, ious)
    assert found.mean_iou == pytest.approx(ious.mean())
    assert found.pixel_accuracy == pytest.approx(np.diag(counts).sum() / counts.sum())
    assert found.ignored == pytest.approx((truth == 255).mean())


def test_classes_go_by_their_names(tmp_path: Path) -> None:
    truth = np.array([[0, 1], [2, 1]], np.uint8)  # car, road, tree
    found = evaluate_maps(
        Fixed(np.array([[2, 1], [0, 0]], np.uint8)), dataset(tmp_path, truth, "Car\nroad\ntree\n")
    )
    assert found.left_out == ("tree",) and found.ignored == 0.25
    assert found.ious[1] == 0.5 and found.ious[2] == 1.0
    with pytest.raises(DatasetError, match="not one is in both"):
        evaluate_maps(Fixed(truth), dataset(tmp_path, truth, "a\nb\nc\n"))


@pytest.mark.parametrize(
    ("labels", "said"),
    [(np.full((2, 3), 3, np.uint8), "has the class number 3"), (np.zeros((2, 3), np.uint8), "expected labels of")],
)
def test_labels_of_something_else_are_refused(labels: np.ndarray, said: str, tmp_path: Path) -> None:
    shape = (2, 2) if said.startswith("expected") else (2, 3)
    with pytest.raises(DatasetError, match=said):
        evaluate_maps(Fixed(np.zeros(shape, np.uint8)), dataset(tmp_path, labels))


def test_a_dataset_without_a_counted_pixel_has_no_figure(tmp_path: Path) -> None:
    found = evaluate_maps(Fixed(np.zeros((2, 2), np.uint8)), dataset(tmp_path, np.full((2, 2), 255, np.uint8)))
    assert np.isnan(found.mean_iou) and found.to_dict()["mean_iou"] is None


@pytest.fixture(name="labelled")
def _labelled(tmp_path: Path) -> Path:
    """Coloured rectangles, with labels in the toy's own numbers."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for number in range(3):
        box = (8, 8, 56, 40 + 4 * number)
        labels = np.zeros((64, 64), np.uint8)
        labels[box[1] : box[3], box[0] : box[2]] = 1 + number
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), frame_with_rectangle(64, 64, box, channel=number))
        cv2.imwrite(str(tmp_path / "labels" / f"{number}.png"), labels)
    return tmp_path


def test_the_command_prints_and_writes_it(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = labelled / "colours.onnx"
    save_segmenter(graph)
    assert main(["eval", str(graph), str(labelled)]) == 0
    said = capsys.readouterr().out
    assert "mean IoU 0.9" in said and all(name in said for name in NAMES)
    assert main(["eval", str(graph), str(labelled), "--limit", "1", "--json", "-"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["pictures"] == 1 and found["per_class"][2] == {"name": "green", "pixels": 0, "iou": None}
    with Segmenter(graph) as segmenter:
        whole = evaluate_maps(segmenter, read_map_dataset(str(labelled)))
    assert found["mean_iou"] > 0.9 and whole.mean_iou > 0.9 and whole.pictures == 3
    assert main(["eval", str(graph), str(labelled), "--json", str(labelled / "figures.json")]) == 0
    assert "mean IoU" in capsys.readouterr().out
    assert main(["report", str(labelled / "figures.json"), "-o", str(labelled / "report.html")]) == 2
    assert "has the mean IoU of a segmenter" in capsys.readouterr().err
    assert main(["eval", str(graph), str(labelled), "--conf", "0.5"]) == 2
    assert "--conf is for detectors" in capsys.readouterr().err
    assert main(["eval", str(graph), str(labelled / "images")]) == 2
    assert "holds no labels of pixels" in capsys.readouterr().err
