"""What INT8 costs on made pictures: what the float graph was unsure of is neither asked for nor held against it."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from edgedet.calibration.made_judge import ENOUGH, LESS_ON_REAL, UNSURE, MadeJudge
from edgedet.proof.agreement import CONFIDENT

SURE, EDGE, PICTURES = 6, 2, 8


def answers(sure: float, edge: float) -> dict[str, np.ndarray]:
    """Eight boxes side by side of the first of two classes: SURE of one score, then EDGE of another."""
    left = np.arange(SURE + EDGE, dtype=np.float32) * 4
    boxes = np.stack([left, left, left + 4, left + 4], axis=1)
    scores = np.zeros((SURE + EDGE, 2), np.float32)
    scores[:, 0] = np.repeat([sure, edge], [SURE, EDGE])
    return {"boxes": boxes[None], "scores": scores[None]}


def judge(tiny: ModuleType, sure: float, edge: float) -> MadeJudge:
    return MadeJudge(tiny.card(), tiny.frames(PICTURES), ["boxes", "scores"], lambda frame: answers(sure, edge))


def test_boxes_from_a_sixth_of_the_level_on_may_be_found_or_not(tiny: ModuleType) -> None:
    edge = 1.5 * CONFIDENT * UNSURE
    judging = judge(tiny, 0.6, edge)
    assert judging.level == pytest.approx(CONFIDENT) and judging.truths == SURE * PICTURES >= ENOUGH
    for again in (0.0, edge, 0.7):
        assert judging(lambda frame, again=again: answers(0.6, again)) == 1.0


def test_boxes_that_the_float_graph_does_not_find_cost_their_share(tiny: ModuleType) -> None:
    figure = judge(tiny, 0.6, 0.0)(lambda frame: answers(0.6, 0.7))
    # All the invented ones come first: of the hits that follow, six in eight are right at the best of them.
    assert figure == pytest.approx(1 - LESS_ON_REAL * (1 - SURE / (SURE + EDGE)))


def test_where_nothing_is_confident_the_best_are_the_truth(tiny: ModuleType) -> None:
    judging = judge(tiny, 0.2, 0.1)
    assert judging.level == pytest.approx(0.2) and judging.truths == SURE * PICTURES
    assert judging(lambda frame: answers(0.2, 0.0)) == 1.0
    assert judging(lambda frame: answers(0.0, 0.0)) == pytest.approx(1 - LESS_ON_REAL)


def test_classes_count_as_often_as_they_are_found(tiny: ModuleType) -> None:
    def classes(frame: np.ndarray, rare: float = 0.5) -> dict[str, np.ndarray]:
        found = answers(0.6, 0.0)
        found["scores"][0, SURE:, 1] = rare
        return found

    judging = MadeJudge(tiny.card(), tiny.frames(PICTURES), ["boxes", "scores"], classes)
    assert judging.truths == (SURE + EDGE) * PICTURES
    assert judging(lambda frame: classes(frame, 0.0)) == pytest.approx(1 - LESS_ON_REAL * EDGE / (SURE + EDGE))


def test_other_pictures_have_another_digest(tiny: ModuleType) -> None:
    def judging(seed: int) -> MadeJudge:
        frames = tiny.frames(PICTURES, seed=seed)
        return MadeJudge(tiny.card(), frames, ["boxes", "scores"], lambda frame: answers(0.6, 0.0))

    assert judging(0).digest == judging(0).digest != judging(1).digest


def test_a_graph_that_finds_nothing_judges_nothing(tiny: ModuleType) -> None:
    judging = judge(tiny, 0.0, 0.0)
    assert judging.truths == 0 and judging(lambda frame: answers(0.6, 0.6)) is None and judging.unchanged is None
