"""Who judges the INT8 of segmenters: labels of pixels, or the float graph where it is sure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from edgedet.calibration.executor import GraphRunner
from edgedet.calibration.judge_validity import require_judgement
from edgedet.calibration.segmenter_judge import MapAgreementJudge, MapReader, MeanIouJudge, map_likeness
from edgedet.datasets.map_dataset import read_map_dataset
from edgedet.errors import AccuracyBudgetError, CalibrationError, DatasetError
from edgedet.export import export_model
from edgedet.export.options import ExportOptions
from edgedet.proof.golden_scene import golden_frame
from tests.colour_segmenter import card, colour_segmenter
from tests.export.segmentation_networks import balanced
from tests.rectangle_detector import frame_with_rectangle

OUTPUTS = ["logits"]


def runner(faint: float = 1.0) -> GraphRunner:
    return GraphRunner(colour_segmenter(card(), faint=faint))


def frames(colours: int = 3) -> list[np.ndarray]:
    return [frame_with_rectangle(64, 64, (8, 8, 48, 40), channel=number)[None] for number in range(colours)]


def test_the_same_classes_are_worth_one_and_others_less() -> None:
    judge = MapAgreementJudge(card(), frames(), OUTPUTS, runner())
    assert judge.unchanged == judge(runner()) == 1.0
    assert judge.digest != MapAgreementJudge(card(), frames(2), OUTPUTS, runner()).digest
    lost = judge(runner(faint=0.2))
    assert lost is not None and lost < 0.3


def test_pixels_of_which_the_float_graph_is_not_sure_count_for_nothing() -> None:
    def along(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Two classes that score alike in the upper rows, and the first ahead below."""
        logits = np.zeros((1, 4, 16, 16), np.float32)
        logits[:, 0, 8:], logits[:, 1, :4] = 5, 5
        return {"logits": logits + outputs["shift"]}

    def reference(frame: np.ndarray) -> dict[str, np.ndarray]:
        return along({"shift": np.zeros((1, 4, 1, 1), np.float32)})

    def moved(frame: np.ndarray) -> dict[str, np.ndarray]:
        shift = np.zeros((1, 4, 1, 1), np.float32)
        shift[:, 2] = 0.01  # the third wins wherever nothing did
        return along({"shift": shift})

    judge = MapAgreementJudge(card(), frames(1), OUTPUTS, reference)
    assert judge(moved) == 1.0
    read = MapReader(card(), OUTPUTS)
    likeness = map_likeness(list(read(reference, frames(1))), list(read(moved, frames(1))))
    assert likeness is not None and 0.5 < likeness < 0.95


def test_one_class_everywhere_is_nothing_to_judge_by() -> None:
    black = [np.zeros((1, 64, 64, 3), np.uint8)] * 2
    judge = MapAgreementJudge(card(), black, OUTPUTS, runner())
    assert judge.unchanged is None and judge(runner()) is None
    with pytest.raises(CalibrationError, match="sure of one class alone in 2 calibration images"):
        require_judgement(judge, judge.unchanged, 0.01)


def labelled(folder: Path) -> Path:
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(3):
        labels = np.zeros((64, 64), np.uint8)
        labels[8:40, 8:48] = 1 + number
        cv2.imwrite(str(folder / "images" / f"{number}.png"), frames()[number][0])
        cv2.imwrite(str(folder / "labels" / f"{number}.png"), labels)
    return folder


def test_labels_judge_by_mean_iou(tmp_path: Path) -> None:
    judge = MeanIouJudge(card(), read_map_dataset(str(labelled(tmp_path))), OUTPUTS)
    good, bad = judge(runner()), judge(runner(faint=0.2))
    assert good is not None and good > 0.9
    assert bad is not None and bad < 0.5
    assert len(judge) == 3 and judge.name == "mean IoU"


class Small(nn.Module):
    """Large enough to have layers that gain from INT8."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.ReLU(),
        )  # fmt: skip
        self.score_fr = nn.Conv2d(32, 4, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.score_fr(self.down(images))
        return scores


@pytest.fixture(scope="module", name="source")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    torch.manual_seed(5)
    torch.save(balanced(Small(), width=160), folder / "small.pt")
    options = ExportOptions(arch="fcn_module", imgsz=(96, 96), frame_size=(320, 240), trust="code")
    for number in range(6):
        cv2.imwrite(str(folder / f"{number}.png"), golden_frame(20 + number, 240, 320))
    return export_model(folder / "small.pt", folder / "small.onnx", options).path


def quantised(source: Path, output: Path, **asked: Any) -> dict[str, Any]:
    options = ExportOptions(
        precision="int8",
        calib=f"{source.parent}/*.png",
        target="tensorrt",
        effort="quick",
        int8_layers="all",
        **asked,
    )
    report = export_model(source, output, options)
    return {"precision": report.card.precision, **report.card.measured["int8"]}


def test_int8_is_held_to_the_float_graphs_classes(source: Path, tmp_path: Path) -> None:
    found = quantised(source, tmp_path / "int8.onnx", max_drop=0.2)
    assert found["judge"] == MapAgreementJudge.name and found["before"] == 1.0
    assert found["after"] > 0.8 and found["layers_int8"] >= 2 and found["precision"] == "int8"
    with pytest.raises(AccuracyBudgetError, match="of mean IoU with the fp32"):
        quantised(source, tmp_path / "strict.onnx", max_drop=1e-6)


def test_int8_needs_pictures_and_labels_of_pixels(source: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"calibrated on pictures, and there are none.*--calib"):
        export_model(source, tmp_path / "int8.onnx", ExportOptions(precision="int8"))
    with pytest.raises(DatasetError, match="holds no labels of pixels"):
        quantised(source, tmp_path / "int8.onnx", eval=str(tmp_path))
