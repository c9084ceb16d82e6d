"""One pass over the pictures, every figure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet.cli.eval import report_lines
from edgedet.datasets import Dataset, read_dataset
from edgedet.errors import DatasetError
from edgedet.evaluate.coco import evaluate_coco
from edgedet.evaluate.evaluation import Evaluation, evaluate
from edgedet.evaluate.worst import EXTRA, FOUND, MISSED, save_worst
from tests.edgedet.evaluate.conftest import make_record

pytest.importorskip("pycocotools", reason="needs pycocotools")

MakeDataset = Callable[..., Dataset]
Rote = Callable[..., Any]
CAT = (10, 10, 40, 40)
DOG = (50, 40, 90, 70)
AIR = (60, 5, 80, 20)

PICTURES = ([(0, CAT), (1, DOG)], [(0, CAT)], [])
ANSWERS = ([(0, 0.9, CAT), (1, 0.3, AIR)], [(0, 0.6, AIR), (1, 0.2, AIR)], [(0, 0.4, AIR)])


def judged(make_dataset: MakeDataset, rote: Rote, **options: Any) -> Evaluation:
    return evaluate(rote(*ANSWERS), make_dataset(*PICTURES), **options)


def test_every_figure_by_hand(make_dataset: MakeDataset, rote: Rote) -> None:
    evaluation = judged(make_dataset, rote)
    cat, dog = evaluation.classes
    # Cats: right 0.9, wrong 0.6 and 0.4; 2 objects. Dogs: wrong 0.3 and 0.2; 1 object.
    assert (cat.voc_area, cat.ranked) == (0.5, 0.5)
    assert cat.voc_11_point == pytest.approx(6 / 11)
    assert (dog.voc_area, dog.voc_11_point, dog.ranked) == (0, 0, 0)
    assert evaluation.voc_area == 0.25
    assert evaluation.coco.ap50 == pytest.approx(51 / 101 / 2)
    # F1 over both classes is best at 0.9: 2·1 / (1 + 0 + 3).
    assert evaluation.at.threshold == pytest.approx(0.9, abs=1e-4)
    assert evaluation.at.f1 == pytest.approx(0.5)
    assert (evaluation.at.misses, evaluation.at.false_alarms) == (0.5, 0)
    assert evaluation.chosen_by == "best F1 on this dataset"


def test_the_working_point_is_the_askers(make_dataset: MakeDataset, rote: Rote) -> None:
    evaluation = judged(make_dataset, rote, threshold=0.35)
    assert (evaluation.at.true, evaluation.at.false, evaluation.at.missed_objects) == (1, 2, 2)
    assert (evaluation.at.misses, evaluation.at.false_alarms) == (0, 1)
    assert [(entry.number, entry.missed, entry.false) for entry in evaluation.images] == [
        (1, 1, 1),
        (0, 1, 0),
        (2, 0, 1),
    ]


def test_negatives_that_hold_what_is_looked_for_are_refused(make_dataset: MakeDataset, rote: Rote) -> None:
    rooms = make_dataset(*PICTURES, folder="rooms")
    with pytest.raises(DatasetError, match="hold objects of a class that is looked for, first"):
        evaluate(rote(*ANSWERS), make_dataset(*PICTURES), negatives=rooms)


def test_negatives_set_the_threshold_and_touch_no_average_precision(
    make_dataset: MakeDataset, rote: Rote, tmp_path: Path
) -> None:
    dataset = make_dataset(*PICTURES)
    make_dataset([], [], [], folder="rooms")
    plain = evaluate(rote(*ANSWERS), dataset)
    with_rooms = evaluate(
        rote(*ANSWERS), dataset, negatives=read_dataset(tmp_path / "rooms"), false_alarm_rate=0.25
    )
    # Object-free: the dataset's third picture (0.4) and rooms answering 0.9, 0.6, 0.4. One of four may alarm.
    assert with_rooms.at.images_without_objects == 4
    assert with_rooms.alarm_threshold == with_rooms.at.threshold == pytest.approx(0.6001)
    assert with_rooms.at.false_alarms == 0.25
    assert (with_rooms.coco.map, with_rooms.voc_area) == (plain.coco.map, plain.voc_area)


def test_what_need_not_be_found_makes_no_miss_and_no_object_free_picture(
    make_dataset: MakeDataset, rote: Rote
) -> None:
    dataset = make_dataset([(0, CAT)], [(0, CAT)], [])
    first, second, third = dataset.images
    crowd = make_record(second.path, [(0, CAT)], crowd=[0])
    dataset = replace(dataset, images=(first, crowd, third))
    at = evaluate(rote([(0, 0.9, CAT)], [], []), dataset, threshold=0.5).at
    assert (at.images_with_objects, at.images_without_objects) == (1, 1)
    assert (at.misses, at.false_alarms) == (0, 0)


def test_finding_a_difficult_object_is_no_error(make_dataset: MakeDataset, rote: Rote) -> None:
    dataset = make_dataset([(0, CAT), (0, AIR)])
    (picture,) = dataset.images
    dataset = replace(dataset, images=(make_record(picture.path, [(0, CAT), (0, AIR)], difficult=[1]),))
    cat = evaluate(rote([(0, 0.9, AIR), (0, 0.8, CAT)]), dataset).classes[0]
    assert (cat.voc_area, cat.voc_11_point, cat.ranked) == (1, 1, 1)


def test_json_is_whole_and_plain(make_dataset: MakeDataset, rote: Rote) -> None:
    evaluation = judged(make_dataset, rote)
    data = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert (data["kind"], data["version"]) == ("edgedet-eval", 1)
    assert data["map"] == evaluation.coco.map
    assert data["ap_large"] is None and math.isnan(evaluation.coco.ap_large)
    assert [row["threshold"] for row in data["by_threshold"]][:3] == [0, 0.01, 0.02]
    assert len(data["precision_at_recall"]["precision"]["cat"]) == 101
    assert data["worst"] == []


def test_worst_images_show_what_was_found_missed_and_invented(
    make_dataset: MakeDataset, rote: Rote, tmp_path: Path
) -> None:
    dataset = make_dataset(*PICTURES)
    evaluation = evaluate(rote(*ANSWERS), dataset, threshold=0.25)
    drawn = save_worst(rote(*ANSWERS), dataset, evaluation, tmp_path / "worst", count=1)
    assert list(drawn) == [0]  # two errors, and so has picture 1: the earlier one goes first
    picture = cv2.imread(str(drawn[0]))
    assert picture is not None
    bar = picture.shape[0] - 80
    for box, colour in ((CAT, FOUND), (DOG, MISSED), (AIR, EXTRA)):
        # Half-way down the left side, where no letters are.
        seen = picture[bar + (box[1] + box[3]) // 2, box[0]].astype(int)
        nearest = min((FOUND, MISSED, EXTRA), key=lambda other, seen=seen: abs(seen - other).sum())
        assert nearest == colour, (box, seen)
    entry = evaluation.to_dict(drawn)["worst"][0]
    assert entry == {"drawn": str(drawn[0]), "caption": "0.png: 1 missed, 1 false"}


def cut_off(path: Path) -> None:
    """A JPEG that ends in the middle, in place of the picture; OpenCV's reader alone gives it, half grey."""
    noise = np.random.default_rng(0).integers(0, 255, (80, 100, 3), np.uint8)
    whole = cv2.imencode(".jpg", noise)[1].tobytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_picture_that_cannot_be_decoded_has_no_part_in_any_figure(
    broken: int, make_dataset: MakeDataset, rote: Rote
) -> None:
    whole = make_dataset(*PICTURES)
    kept = [index for index in range(3) if index != broken]
    without = replace(whole, images=tuple(whole.images[index] for index in kept))
    expected = evaluate(rote(*ANSWERS), without).to_dict()
    cut_off(whole.images[broken].path)
    evaluation = evaluate(rote(*ANSWERS), whole)
    # Neither found nor missed: as if the picture, and what is on it, were not there.
    for name in ("map", "ap50", "voc", "ranked", "working_point", "by_threshold", "per_class_at_iou_50", "dataset"):
        assert evaluation.to_dict()[name] == expected[name], name
    assert sorted(entry.number for entry in evaluation.images) == kept
    (problem,) = evaluation.problems
    assert str(whole.images[broken].path) in problem.reason and "is cut off" in problem.reason
    assert evaluation.to_dict()["problems"] == [str(problem)]


def test_object_free_pictures_that_cannot_be_decoded_are_named_too(make_dataset: MakeDataset, rote: Rote) -> None:
    negatives = make_dataset([], [], folder="rooms")
    cut_off(negatives.images[0].path)
    evaluation = evaluate(rote(*ANSWERS), make_dataset(*PICTURES), negatives=negatives)
    assert evaluation.at.images_without_objects == 2
    assert len(evaluation.problems) == 1


def test_the_worst_pictures_are_drawn_under_their_own_numbers(
    make_dataset: MakeDataset, rote: Rote, tmp_path: Path
) -> None:
    dataset = make_dataset(*PICTURES)
    cut_off(dataset.images[0].path)
    evaluation = evaluate(rote(*ANSWERS), dataset, threshold=0.1)
    drawn = save_worst(rote(*ANSWERS), dataset, evaluation, tmp_path / "drawn", count=5)
    assert [(number, path.name) for number, path in drawn.items()] == [(1, "01_1.jpg"), (2, "02_2.jpg")]


def test_where_no_picture_can_be_decoded_there_is_nothing_to_judge(make_dataset: MakeDataset, rote: Rote) -> None:
    dataset = make_dataset(*PICTURES)
    cut_off(dataset.images[0].path)
    cut_off(dataset.images[1].path)
    with pytest.raises(DatasetError, match="without a single box"):
        evaluate(rote(*ANSWERS), dataset)
    cut_off(dataset.images[2].path)
    with pytest.raises(DatasetError, match=r"none of the 3 pictures of made can be read: .*0\.png is cut off"):
        evaluate(rote(*ANSWERS), dataset)


def test_strictly_a_picture_that_breaks_on_the_way_stops(make_dataset: MakeDataset, rote: Rote) -> None:
    dataset = make_dataset(*PICTURES)
    dataset.images[1].path.write_bytes(b"gone bad")
    with pytest.raises(DatasetError, match=r"cannot decode the image .*1\.png"):
        evaluate(rote(*ANSWERS), dataset, unreadable="stop")
    with pytest.raises(DatasetError, match=r"cannot decode the image .*1\.png.*take it out of made"):
        evaluate_coco(rote(*ANSWERS), dataset)


def test_classes_found_under_other_names_are_hinted_at_and_right_ones_are_not(
    make_dataset: MakeDataset, rote: Rote
) -> None:
    pictures = [[(0, CAT), (1, DOG)]] * 6
    swapped = [[(1, 0.9, CAT), (0, 0.8, DOG)]] * 6
    right = [[(0, 0.9, CAT), (1, 0.8, DOG)]] * 6
    dataset = make_dataset(*pictures)
    evaluation = evaluate(rote(*swapped), dataset)
    assert evaluation.hints == (
        "6 of 6 cat that are found are called dog",
        "6 of 6 dog that are found are called cat",
    )
    assert json.loads(json.dumps(evaluation.to_dict()))["hints"] == list(evaluation.hints)
    (line,) = [
        line for line in report_lines(evaluation, 0.0) if line.startswith("names that have changed places? ")
    ]
    assert line.endswith("6 of 6 cat that are found are called dog; 6 of 6 dog that are found are called cat")
    good = evaluate(rote(*right), dataset)
    assert good.hints == () and not any("changed places" in line for line in report_lines(good, 0.0))
