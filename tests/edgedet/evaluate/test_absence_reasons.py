"""Figures of what is not there: None with a reason in JSON, words on a terminal; never 0, never 1."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet.cli.eval import report_lines
from edgedet.datasets import Dataset
from edgedet.evaluate.curve_picture import save_curves
from edgedet.evaluate.evaluation import Evaluation, evaluate
from edgedet.evaluate.working_point import Ranking, best_f1_threshold, false_alarm_threshold, threshold_table
from edgedet.missing_figures import explained
from tests.edgedet.evaluate.conftest import make_record

pytest.importorskip("pycocotools", reason="needs pycocotools")

MakeDataset = Callable[..., Dataset]
Rote = Callable[..., Any]
CAT = (10, 10, 40, 40)
DOG = (50, 40, 90, 70)


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    return data


def require_reasons(value: Any, where: str = "") -> None:
    """Every null beside an ``absent`` is named in it, and nothing else is."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            require_reasons(item, f"{where}[{index}]")
    elif isinstance(value, dict):
        if "absent" in value:
            missing = {key for key, item in value.items() if item is None or item == [None, None]}
            assert missing == set(value["absent"]) - set(NESTED), where
            assert all(value["absent"].values()), where
        for key, item in value.items():
            require_reasons(item, f"{where}.{key}")


NESTED = ("cat", "dog")
"""Curves, whose reasons stand beside all of them."""


def test_a_class_without_objects_has_no_figure_and_a_reason(make_dataset: MakeDataset, rote: Rote) -> None:
    evaluation = evaluate(rote([(0, 0.9, CAT), (1, 0.8, DOG)]), make_dataset([(0, CAT)]))
    data = as_json(evaluation)
    cat, dog = data["per_class"]
    assert cat["ap"] == pytest.approx(1) and cat["absent"] == {
        "ap_medium": "no medium object of this class",
        "ap_large": "no large object of this class",
    }
    assert (dog["objects"], dog["ap"], dog["ap50"], dog["ar100"]) == (0, None, None, None)
    assert dog["absent"]["ap"] == "no object of this class"
    at_half = data["per_class_at_iou_50"][1]
    assert (at_half["voc_area"], at_half["ranked"]) == (None, None) and set(at_half["absent"]) >= {"ranked"}
    # No curve of -1 either.
    curves = data["precision_at_recall"]
    assert curves["precision"]["dog"] is None and curves["absent"] == {"dog": "no object of this class"}
    assert min(curves["precision"]["cat"]) >= 0
    require_reasons(data)
    text = "\n".join(report_lines(evaluation, 0.0))
    assert "-: not measured, the dataset has no such object" in text and "nan" not in text


def test_sizes_that_do_not_occur_have_no_figure(make_dataset: MakeDataset, rote: Rote) -> None:
    data = as_json(evaluate(rote([]), make_dataset([(0, CAT)])))
    assert (data["map"], data["ap_small"], data["ar_small"]) == (0, 0, 0), "an object there is, and not found"
    assert (data["ap_medium"], data["ar_large"]) == (None, None)
    assert data["absent"]["ap_medium"] == "no medium object of the judged classes"
    require_reasons(data)


def test_without_a_single_object_of_the_judged_classes_nothing_is_judged(
    make_dataset: MakeDataset, rote: Rote, tmp_path: Path
) -> None:
    """The detector knows cats only, and the dataset's boxes are all of dogs."""
    evaluation = evaluate(rote([(0, 0.9, CAT)], names=("cat",)), make_dataset([(1, DOG)]), false_alarm_rate=0.1)
    data = as_json(evaluation)
    assert [data[name] for name in ("map", "ap50", "ar100")] == [None] * 3
    assert (data["voc"]["map_area"], data["ranked"]["map"]) == (None, None)
    assert data["absent"]["map"] == "no object of the judged classes"
    point = data["working_point"]
    assert (point["recall"], point["misses"], point["misses_range"]) == (None, None, [None, None])
    require_reasons(data)
    text = "\n".join(report_lines(evaluation, 0.0))
    assert "misses        not measured: no image with objects that count" in text and "nan" not in text
    save_curves(evaluation, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 0


@pytest.mark.parametrize("kind", ["crowd", "difficult"])
def test_objects_that_need_not_be_found_are_nothing_to_judge_by(
    make_dataset: MakeDataset, rote: Rote, kind: str
) -> None:
    dataset = make_dataset([(0, CAT)])
    record = make_record(dataset.images[0].path, [(0, CAT)], **{kind: [0]})  # type: ignore[arg-type]
    evaluation = evaluate(rote([(0, 0.9, CAT)]), replace(dataset, images=(record,)))
    assert math.isnan(evaluation.voc_area) and math.isnan(evaluation.at.recall) and math.isnan(evaluation.at.misses)
    require_reasons(as_json(evaluation))


def test_without_detections_there_is_no_precision_and_no_best_threshold(
    make_dataset: MakeDataset, rote: Rote
) -> None:
    evaluation = evaluate(rote([], []), make_dataset([(0, CAT)], []), lowest_score=0.25)
    data = as_json(evaluation)
    point = data["working_point"]
    assert (point["precision"], point["recall"], point["f1"], point["misses"]) == (None, 0, 0, 1)
    assert point["absent"] == {"precision": "no box counts here"}
    assert "no threshold is best" in point["chosen_by"] and point["threshold"] == 0.25
    text = "\n".join(report_lines(evaluation, 0.25))
    assert "precision not measured (no box counts here)" in text and "best F1" not in text
    require_reasons(data)


def test_where_nothing_is_right_no_threshold_is_best() -> None:
    none, tops = np.zeros(0, np.float32), np.array([0.9, 0.2], np.float32)
    assert math.isnan(best_f1_threshold(Ranking(none, none.astype(np.uint8), 3, none, none)))
    wrong = Ranking(tops, np.zeros(2, np.uint8), 3, tops, none)
    assert math.isnan(best_f1_threshold(wrong))
    assert math.isnan(best_f1_threshold(replace(wrong, states=np.full(2, 2, np.uint8))))


def test_without_object_free_pictures_there_is_no_false_alarm_figure(make_dataset: MakeDataset, rote: Rote) -> None:
    evaluation = evaluate(rote([(0, 0.9, CAT)]), make_dataset([(0, CAT)]), false_alarm_rate=0.01)
    data = as_json(evaluation)
    point = data["working_point"]
    assert (point["false_alarms"], point["false_alarms_range"], point["images_without_objects"]) == (
        None,
        [None, None],
        0,
    )
    assert data["false_alarm_threshold"] is None
    assert data["absent"]["false_alarm_threshold"] == "there are no object-free images"
    assert point["chosen_by"] == "best F1 on this dataset"
    require_reasons(data)
    assert "no threshold for 1.00% false alarms: there are no object-free images" in "\n".join(
        report_lines(evaluation, 0.0)
    )


def test_nothing_is_said_of_scores_the_detector_does_not_report(make_dataset: MakeDataset, rote: Rote) -> None:
    """No box on an object-free picture at 0.25 says nothing of what a threshold of 0 would let in."""
    silent = np.full(5, -1, np.float32)
    assert false_alarm_threshold(silent, 0.1, lowest=0.25) == 0.25
    assert false_alarm_threshold(silent, 1.0, lowest=0.25) == 0.25
    evaluation = evaluate(
        rote([(0, 0.9, CAT)], []), make_dataset([(0, CAT)], []), false_alarm_rate=0.0, lowest_score=0.25
    )
    assert evaluation.alarm_threshold == evaluation.at.threshold == 0.25
    assert evaluation.by_threshold[0].threshold == 0.25
    ranking = Ranking(silent, np.zeros(5, np.uint8), 1, silent, silent)
    assert [point.threshold for point in threshold_table(ranking, lowest=0.98)] == [0.98, 0.99]


def test_asked_for_and_out_of_reach_is_another_reason(make_dataset: MakeDataset, rote: Rote) -> None:
    evaluation = evaluate(
        rote([(0, 0.9, CAT)], [(0, 1.0, CAT)]), make_dataset([(0, CAT)], []), false_alarm_rate=0.0
    )
    assert as_json(evaluation)["absent"]["false_alarm_threshold"] == "none is high enough"


def test_a_figure_that_is_there_needs_no_reason() -> None:
    assert explained({"a": 0.0, "b": 1, "c": (0.1, math.nan), "d": ()}, {}, otherwise="so")["absent"] == {}
    assert explained({"a": None, "b": (math.nan, math.nan)}, {"a": "why"}, otherwise="so")["absent"] == {
        "a": "why",
        "b": "so",
    }
