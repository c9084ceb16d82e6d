"""What a detector calls the objects, and what its labels should be named."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgedet.datasets.dataset import ImageRecord
from edgedet.detections import Detections
from edgedet.evaluate.confusion import called_otherwise, confusion_table, mistaken, relabelling


def table_of(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.int64)


def test_an_object_is_called_what_the_best_box_on_it_says_whatever_the_class() -> None:
    boxes = np.array([[0.0, 0, 20, 20], [40, 40, 60, 60], [70, 70, 90, 90]])
    crowd = np.array([False, False, True])
    record = ImageRecord(
        Path("x"), 100, 100, boxes, np.array([0, 1, 0], np.int32), crowd, np.zeros(3, np.bool_), np.ones(3)
    )
    found = Detections(
        [[0, 0, 20, 20], [0, 0, 20, 18], [40, 40, 60, 48], [70, 70, 90, 90]],
        [0.4, 0.9, 0.9, 0.9],
        [0, 2, 1, 1],
        ("a", "b", "c"),
        (100, 100),
    )
    # The second object is only touched, and a crowd is no object.
    assert confusion_table([record], [found], classes=2, labels=3).tolist() == [[0, 0, 1], [0, 0, 0]]


def test_right_names_are_left_alone() -> None:
    assert relabelling(table_of([20, 3, 0], [2, 30, 1], [0, 0, 9]), [0, 1, 2]) is None


def test_names_that_have_changed_places() -> None:
    found = relabelling(table_of([2, 20, 0], [0, 3, 30], [9, 0, 1]), [0, 1, 2])
    assert found is not None and found.complete
    assert found.labels == {0: 1, 1: 2, 2: 0}
    assert found.evidence == ((0, 1, 20, 22), (1, 2, 30, 33), (2, 0, 9, 10))


def test_two_of_many() -> None:
    rows = np.diag([20] * 10)
    rows[[3, 7]] = rows[[7, 3]]
    found = relabelling(rows, list(range(10)))
    assert found is not None and found.labels == {kind: kind for kind in range(10)} | {3: 7, 7: 3}


def test_the_last_place_that_is_left_needs_no_object() -> None:
    found = relabelling(table_of([0, 20, 0], [0, 0, 30], [0, 0, 0]), [0, 1, 2])
    assert found is not None and found.complete and found.labels[2] == 0


def test_two_places_that_are_left_are_a_guess() -> None:
    rows = table_of([0, 20, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 30, 0], [0, 0, 0, 0, 30], [0, 0, 0, 0, 0])
    found = relabelling(rows, [0, 1, 2, 3, 4])
    assert found is not None and not found.complete


def test_a_class_that_is_taken_for_another_has_the_right_name() -> None:
    """Trucks are called cars, and so are cars."""
    assert relabelling(table_of([40, 0, 0], [15, 2, 0], [0, 0, 9]), [0, 1, 2]) is None


def test_two_confusions_among_many_classes_are_no_order() -> None:
    rows = np.diag([20] * 10)
    rows[3], rows[5] = 0, 0
    rows[3, 4], rows[4], rows[5, 6], rows[6] = 9, 0, 9, 0
    assert relabelling(rows, list(range(10))) is None


def test_a_few_objects_say_nothing() -> None:
    assert relabelling(table_of([0, 4], [4, 0]), [0, 1]) is None


def test_a_label_that_no_class_has_by_name_is_nobodys() -> None:
    assert relabelling(table_of([0, 0, 9], [0, 9, 0]), [0, 1]) is None


def test_labels_without_names_get_those_of_their_objects() -> None:
    found = relabelling(table_of([1, 0, 20, 0], [9, 0, 0, 1]), [None, None])
    assert found is not None and found.complete and found.labels == {0: 2, 1: 0}
    few = relabelling(table_of([1, 0, 20, 0], [2, 0, 0, 1]), [None, None])
    assert few is not None and not few.complete
    assert relabelling(table_of([0, 0], [0, 0]), [None, None]) is None


def test_a_class_that_is_hardly_found_may_close_a_circle() -> None:
    """Of two classes that have changed places one is hardly ever found, but not once by its own label."""
    found = relabelling(table_of([30, 0, 0], [0, 0, 22], [1, 1, 0]), [0, 1, 2])
    assert found is not None and found.complete and found.labels == {0: 0, 1: 2, 2: 1}
    rows = table_of([30, 0, 0], [0, 0, 22], [0, 1, 1])
    assert relabelling(rows, [0, 1, 2]) is None, "it has its own label as often"
    assert mistaken(rows, [0, 1, 2]) == ((1, 2, 22, 22),), "but that is said"


def test_what_is_nearly_always_called_otherwise_is_said_by_name() -> None:
    names, others = ("cat", "Dog", "ufo"), ("dog", "cat", "bird")
    table = table_of([19, 1, 0], [0, 12, 0], [0, 0, 9])
    assert called_otherwise(table, names, others) == (
        "19 of 20 cat that are found are called dog",
        "12 of 12 Dog that are found are called cat",
    ), "ufo has no name at the detector's, so bird is not wrong for it"
    assert called_otherwise(table_of([15, 5, 0], [12, 0, 0], [0, 0, 9]), names, others) == (), "a weak detector"
    assert called_otherwise(table_of([4, 0, 0], [0, 4, 0], [0, 0, 0]), names, others) == (), "too few"
