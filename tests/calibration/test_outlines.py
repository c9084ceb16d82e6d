"""Judges of INT8 see outlines that change while their boxes stay."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet import Detector
from edgedet.calibration.judge import AgreementJudge, MapJudge
from edgedet.calibration.moved_boxes import cost_of_outlines
from edgedet.datasets import read_dataset
from edgedet.detections import Detections
from edgedet.masks.box_masks import BoxMasks
from edgedet.onnx_graph.network import Array
from tests.masked_detector import save_masked_graph
from tests.rectangle_detector import frame_with_rectangle

BOXES = np.array([[10, 10, 60, 70], [30, 20, 90, 80]], np.float32)
OUTPUTS = ("boxes", "scores", "labels", "count", "masks")


def found(absent: int) -> Detections:
    cells = np.ones((2, 28, 28), np.float32)
    cells[:, :absent] = 0
    return Detections(BOXES, [0.9, 0.8], [0, 1], ("a", "b"), (100, 120), masks=BoxMasks(cells, BOXES, (100, 120)))


def test_cost_grows_with_what_outlines_lose() -> None:
    costs = [cost_of_outlines([found(0)], [found(absent)], least=0.3) for absent in (0, 1, 6, 12)]
    assert costs[:2] == [0, 0] and 0.01 < costs[2] < costs[3]
    plain = Detections(BOXES, [0.9, 0.8], [0, 1], ("a", "b"), (100, 120))
    assert cost_of_outlines([plain], [plain], least=0.3) == 0


class Run:
    """The toy's outputs; ``absent`` rows of cells are taken from its masks."""

    def __init__(self, detector: Detector, absent: int) -> None:
        self._detector, self._absent = detector, absent

    def __call__(self, tensor: Array) -> dict[str, Array]:
        outputs = {name: value.copy() for name, value in self._detector._runtime.run({"images": tensor}).items()}
        outputs["masks"][:, :, : self._absent] = 0
        return outputs


def test_both_judges_see_it(tmp_path: Path) -> None:
    card = save_masked_graph(tmp_path / "model.onnx")
    frame = frame_with_rectangle(64, 64, (10, 10, 50, 50))
    cv2.imwrite(str(tmp_path / "1.png"), frame)
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 40, 40], "area": 1200, "iscrowd": 0}
    data = {
        "images": [{"id": 1, "file_name": "1.png", "width": 64, "height": 64}],
        "annotations": [annotation | {"segmentation": [[10, 20, 50, 20, 50, 50, 10, 50]]}],
        "categories": [{"id": number, "name": name} for number, name in enumerate(("green", "blue", "red"), 1)],
    }
    (tmp_path / "labels.json").write_text(json.dumps(data))
    with Detector(tmp_path / "model.onnx") as detector:
        whole, cut = Run(detector, 0), Run(detector, 16)
        judge = AgreementJudge(card, [frame[None]], OUTPUTS, whole)
        assert judge(whole) == 1.0 and (judge(cut) or 0) < 0.95
        by_labels = MapJudge(
            card, read_dataset(tmp_path / "labels.json", classes=card.names, outlines=True), OUTPUTS
        )
        assert by_labels.name == "mAP of masks"
        first, second = by_labels(whole), by_labels(cut)
        assert first is not None and second is not None and first > second + 0.1
        boxes = MapJudge(card, read_dataset(tmp_path / "labels.json", classes=card.names), OUTPUTS)
        assert boxes.name == "mAP of boxes; the labels have no outlines"
        assert boxes(whole) == pytest.approx(boxes(cut))
        assert boxes.digest != by_labels.digest
