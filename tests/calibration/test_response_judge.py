"""Answers below the threshold: missing, moved, and weaker ones cost what they cost; too few judge nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from edgedet.calibration.moved_boxes import cost_of_lost_overlap
from edgedet.calibration.response_judge import MIN_ANSWERS, OWN_ERROR, USUAL_MOVE, ResponseJudge
from edgedet.calibration.weak_boxes import WeakReader

Answers = dict[str, np.ndarray]
ROWS, PICTURES = 8, 6


def answers(scores: float | np.ndarray = 0.25, *, wider: float = 0.0) -> Answers:
    """ROWS boxes side by side, 8 pixels wide, of the first of two classes; ``wider`` by so many pixels."""
    top = np.arange(ROWS, dtype=np.float32) // 4 * 10
    left = np.arange(ROWS, dtype=np.float32) % 4 * 8
    boxes = np.stack([left, top, left + 8 + wider, top + 8], axis=1)
    values = np.zeros((1, ROWS, 2), np.float32)
    values[0, :, 0] = scores
    return {"boxes": boxes[None], "scores": values}


def judge(tiny: ModuleType, reference: Callable[[np.ndarray], Answers]) -> ResponseJudge:
    return ResponseJudge(tiny.card(), tiny.frames(PICTURES), ["boxes", "scores"], reference)


def test_the_reference_itself_has_lost_nothing(tiny: ModuleType) -> None:
    def reference(frame: np.ndarray) -> Answers:
        return answers()

    judging = judge(tiny, reference)
    assert judging.answers == ROWS * PICTURES and judging(reference) == 1.0
    assert judging(lambda frame: answers()) == 1.0


def test_a_graph_that_finds_nothing_has_lost_everything(tiny: ModuleType) -> None:
    assert judge(tiny, lambda frame: answers())(lambda frame: answers(0.0)) == 0.0


def test_half_of_the_answers_are_half_of_the_figure(tiny: ModuleType) -> None:
    half = np.where(np.arange(ROWS) < ROWS // 2, 0.25, 0.0)
    assert judge(tiny, lambda frame: answers())(lambda frame: answers(half)) == pytest.approx(0.5)


def test_moved_boxes_cost_what_they_lack_of_overlap(tiny: ModuleType) -> None:
    figure = judge(tiny, lambda frame: answers())(lambda frame: answers(wider=1.0))
    # Those in the last column are clipped at the picture's edge.
    assert figure == pytest.approx(1 - cost_of_lost_overlap(0.75 * (1 - 8 / 9), own=OWN_ERROR), abs=1e-5)
    assert figure < 0.93


def test_scores_that_move_together_cost_what_is_beyond_rounding(tiny: ModuleType) -> None:
    figure = judge(tiny, lambda frame: answers(0.25))(lambda frame: answers(0.2))
    assert figure == pytest.approx(1 - (0.05 / 0.25 - USUAL_MOVE), abs=1e-5)


def test_boxes_of_another_class_are_not_those_that_moved(tiny: ModuleType) -> None:
    judging = judge(tiny, lambda frame: answers())
    reader = WeakReader(tiny.card(), ["boxes", "scores"])
    found = list(reader(lambda frame: answers(0.2, wider=1.0), tiny.frames(PICTURES)))
    assert judging.moves(found)[0] > 0.05 and judging.moves(found)[1] == pytest.approx(0.2)
    others = [replace(one, labels=1 - one.labels) for one in found]
    assert judging.moves(others) == (0.0, 0.0)


def test_other_pictures_have_another_digest(tiny: ModuleType) -> None:
    def judging(seed: int) -> ResponseJudge:
        frames = tiny.frames(PICTURES, seed=seed)
        return ResponseJudge(tiny.card(), frames, ["boxes", "scores"], lambda frame: answers())

    assert judging(0).digest == judging(0).digest != judging(1).digest


def test_answers_on_the_edge_are_neither_asked_for_nor_held_against_a_graph(tiny: ModuleType) -> None:
    edge = np.where(np.arange(ROWS) < ROWS - 1, 0.6, 0.2)
    judging = judge(tiny, lambda frame: answers(edge))
    assert judging.answers == (ROWS - 1) * PICTURES
    assert judging(lambda frame: answers(np.where(edge < 0.5, 0.32, edge))) == 1.0


def test_inventing_costs(tiny: ModuleType) -> None:
    few = np.where(np.arange(ROWS) < ROWS - 1, 0.6, 0.0)
    assert judge(tiny, lambda frame: answers(few))(lambda frame: answers(np.where(few, 0.6, 0.9))) < 0.95


def test_too_few_answers_judge_nothing_and_say_how_many(tiny: ModuleType) -> None:
    one = np.where(np.arange(ROWS) < 1, 0.25, 0.0)
    judging = judge(tiny, lambda frame: answers(one))
    assert judging.answers == PICTURES < MIN_ANSWERS and judging(lambda frame: answers(one)) is None
    assert "only 6 things" in judging.nothing
