"""Pascal VOC average precision, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgedet.evaluate.voc import voc_average_precision


def ap(correct: str, objects: int, rule: str) -> float:
    """Detections best first, ``+`` right and ``-`` wrong."""
    scores = np.linspace(0.9, 0.1, len(correct), dtype=np.float32)
    return voc_average_precision(scores, np.array([c == "+" for c in correct], np.bool_), objects, rule=rule)  # type: ignore[arg-type]


def test_a_ranking_worked_by_hand() -> None:
    # + - + + -, 4 objects. Precision at the hits: 1, 2/3, 3/4; recall 1/4, 2/4, 3/4.
    # Envelope: 1 up to recall 1/4, then 3/4 up to 3/4, then 0.
    assert ap("+-++-", 4, "area") == pytest.approx(1 / 4 + 3 / 4 * 2 / 4)
    # Recall 0, .1, .2 reach 1; .3 to .7 reach 3/4; .8, .9, 1 nothing.
    assert ap("+-++-", 4, "11-point") == pytest.approx((3 * 1 + 5 * 3 / 4) / 11)


def test_a_recall_of_three_tenths_reaches_three_tenths() -> None:
    # 3 of 10 found, all right: recall levels 0, .1, .2, .3.
    assert ap("+++", 10, "11-point") == pytest.approx(4 / 11)


@pytest.mark.parametrize("rule", ["area", "11-point"])
def test_the_ends_of_the_scale(rule: str) -> None:
    assert ap("++", 2, rule) == pytest.approx(1)
    assert ap("--", 2, rule) == 0
    assert ap("", 2, rule) == 0
    assert math.isnan(ap("-", 0, rule))


def test_order_is_that_of_the_scores() -> None:
    scores, correct = np.array([0.1, 0.9]), np.array([False, True])
    assert voc_average_precision(scores, correct, 1, rule="area") == 1
