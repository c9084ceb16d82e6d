"""Detector and dataset understand each other by class names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgedet.datasets import Dataset
from edgedet.detections import Detections
from edgedet.errors import UsageError
from edgedet.evaluate.class_match import match_classes, relabel, shared_classes
from edgedet.evaluate.coco import evaluate_coco
from edgedet.evaluate.evaluation import evaluate

MakeDataset = Callable[..., Dataset]
Rote = Callable[..., Any]


def test_labels_follow_the_datasets_names() -> None:
    boxes = np.array([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8, 0.7]), np.array([2, 0, 1]), ("Cell_phone", "ufo", "cat"), (9, 9))
    spoken = relabel(found, ("cat", "cell phone"))
    assert spoken.names == ("cat", "cell phone")
    assert spoken.labels.tolist() == [0, 1]
    assert spoken.boxes.tolist() == [[0, 0, 1, 1], [0, 0, 2, 2]]


def test_no_class_in_common_names_both_sides() -> None:
    with pytest.raises(UsageError, match="the detector finds a, b, c, d, e and 1 more, the dataset has x"):
        shared_classes(("x",), tuple("abcdef"))


CAT, DOG = (10, 10, 40, 40), (50, 40, 90, 70)


@pytest.mark.parametrize(
    ("dataset_names", "detector_names"),
    [
        (("cat", "dog"), ("dog", "cat")),
        (("cat", "Cat"), ("Cat", "cat")),
        (("cell phone", "cell_phone"), ("cell_phone", "cell phone")),
        (("Cell Phone", "cell_phone"), ("cell_phone", "Cell Phone")),
        (("cell phone", "Dog"), ("DOG", "Cell_phone")),
        (("cat", "Cat"), ("CAT", "cat")),
        (("caf\u00e9", "dog"), ("dog", "cafe\u0301")),
    ],
)
def test_a_perfect_detector_has_a_perfect_map(
    make_dataset: MakeDataset, rote: Rote, dataset_names: tuple[str, str], detector_names: tuple[str, str]
) -> None:
    pytest.importorskip("pycocotools", reason="needs pycocotools")
    # The detector numbers the two classes the other way round.
    dataset = make_dataset([(0, CAT), (1, DOG)], [(1, DOG)], names=dataset_names)
    perfect = rote([(1, 0.9, CAT), (0, 0.8, DOG)], [(0, 0.9, DOG)], names=detector_names)
    evaluation = evaluate(perfect, dataset)
    assert (evaluation.coco.map, evaluation.voc_area) == (1, 1)
    assert evaluation.coco.left_out == ()
    assert evaluate_coco(perfect, dataset).map == 1
    named = [name for name in dataset_names if name not in detector_names]
    assert all(f"{name!r} is the detector's " in evaluation.dataset for name in named)


@pytest.mark.parametrize(
    ("dataset_names", "detector_names", "labels", "notes"),
    [
        # The dataset tells apart what the detector does not.
        (("cat", "Cat"), ("cat",), (0,), ("taken for 'Cat', although it knows 'cat': that name has its equal",)),
        # The detector tells apart what the dataset does not.
        (("cat",), ("Cat", "cat"), (-1, 0), ("the detector's 'Cat' not judged: 'cat' has its equal",)),
        (("cell phone", "x"), ("Cell phone", "cell_phone", "x"), (-1, -1, 1), ("several could be meant",)),
        (("Cell Phone", "cell_phone", "x"), ("cell phone", "x"), (-1, 2), ("several could be meant",)),
        (("ufo", "x"), ("boat", "x"), (-1, 1), ()),
    ],
)
def test_what_is_not_one_to_one_is_not_folded_and_said(
    dataset_names: tuple[str, ...], detector_names: tuple[str, ...], labels: tuple[int, ...], notes: tuple[str, ...]
) -> None:
    match = match_classes(dataset_names, detector_names)
    assert match.labels == labels
    assert len(match.notes) == len(notes)
    assert all(part in note for part, note in zip(notes, match.notes, strict=True))


def test_a_class_that_is_not_judged_is_said_beside_the_figures(make_dataset: MakeDataset, rote: Rote) -> None:
    pytest.importorskip("pycocotools", reason="needs pycocotools")
    evaluation = evaluate(
        rote([(0, 0.9, CAT)], names=("cat",)), make_dataset([(0, CAT), (1, DOG)], names=("cat", "Cat"))
    )
    assert evaluation.coco.left_out == ("Cat",)
    assert "no class of the detector was taken for 'Cat'" in evaluation.dataset


def test_nothing_in_common_but_the_spelling_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match=r"share no class.*'Cat' and 'cat'.*several could be meant"):
        shared_classes(("CAT",), ("Cat", "cat"))
