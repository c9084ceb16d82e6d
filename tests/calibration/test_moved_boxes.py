"""Boxes that only move are seen: all alike, or each for itself; what INT8 always does to them costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgedet.calibration.executor import GraphRunner
from edgedet.calibration.judge import AgreementJudge, Run
from edgedet.calibration.made_judge import MadeJudge
from edgedet.calibration.moved_boxes import cost_of_drift, cost_of_moves, moves
from edgedet.detections import Detections
from edgedet.onnx_graph.network import Array
from edgedet.proof.agreement import found_again
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

BUDGET = 0.01
"""What an export may lose unless it is told otherwise."""


def scene(rng: np.random.Generator, boxes: int = 15) -> Detections:
    """Boxes of 20 to 90 pixels."""
    corner, size = rng.uniform(0, 300, (boxes, 2)), rng.uniform(20, 90, (boxes, 2))
    scores = np.sort(rng.uniform(0.35, 1, boxes))[::-1].astype(np.float32)
    labels = rng.integers(0, 3, boxes).astype(np.int32)
    placed = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    return Detections(placed, scores, labels, ("a", "b", "c"), (400, 400))


SCENES = [scene(np.random.default_rng(number)) for number in range(24)]


def moved(found: Sequence[Detections], by: Callable[[Array, Array], Array]) -> list[Detections]:
    """The same detections; ``by``: boxes and their sizes to boxes."""
    return [
        Detections(
            by(one.boxes, np.tile(one.boxes[:, 2:] - one.boxes[:, :2], 2)).astype(np.float32),
            one.scores,
            one.labels,
            one.names,
            one.frame_size,
        )
        for one in found
    ]


def shaken(share: float) -> Callable[[Array, Array], Array]:
    rng = np.random.default_rng(1)
    return lambda boxes, sizes: boxes + sizes * rng.normal(0, share, boxes.shape)


INWARDS = np.array([1, 1, -1, -1], np.float32)
LARGE_MOVES: dict[str, Callable[[Array, Array], Array]] = {
    "three pixels aside": lambda boxes, sizes: boxes + np.array([3, 0, 3, 0], np.float32),
    "two pixels across": lambda boxes, sizes: boxes + 2,
    "six per cent smaller": lambda boxes, sizes: boxes + sizes * 0.03 * INWARDS,
    "six per cent larger": lambda boxes, sizes: boxes - sizes * 0.03 * INWARDS,
    "shaken by four per cent": shaken(0.04),
    "every third by a quarter": lambda boxes, sizes: (
        boxes + 0.25 * sizes * (np.arange(len(boxes)) % 3 == 0)[:, None] * np.array([1, 0, 1, 0])
    ),
}
USUAL_MOVES: dict[str, Callable[[Array, Array], Array]] = {
    "none": lambda boxes, sizes: boxes,
    "a quarter of a pixel": lambda boxes, sizes: boxes + 0.25,
    "one per cent smaller": lambda boxes, sizes: boxes + sizes * 0.005 * INWARDS,
    "shaken by one and a half per cent": shaken(0.015),
}


@pytest.mark.parametrize("case", LARGE_MOVES)
def test_moves_that_precision_at_half_overlap_does_not_see_cost_more_than_the_budget(case: str) -> None:
    others = moved(SCENES, LARGE_MOVES[case])
    again = found_again(SCENES, others)
    assert again is not None and again > 0.99
    assert cost_of_moves(moves(SCENES, others, least=0.3)) > BUDGET


@pytest.mark.parametrize("case", USUAL_MOVES)
def test_what_int8_does_to_boxes_of_graphs_that_lose_nothing_costs_nothing(case: str) -> None:
    assert cost_of_moves(moves(SCENES, moved(SCENES, USUAL_MOVES[case]), least=0.3)) < 0.001


def test_moves_that_cancel_each_other_out_are_no_drift() -> None:
    found = moves(SCENES, moved(SCENES, shaken(0.04)), least=0.3)
    assert found.scatter > 0.1 and cost_of_drift(found) < 0.001
    aside = moves(SCENES, moved(SCENES, lambda boxes, sizes: boxes + sizes * [0.1, 0, 0.1, 0]), least=0.3)
    assert aside.drift == pytest.approx(aside.scatter, rel=1e-3) == pytest.approx(1 - 0.9 / 1.1, rel=1e-3)
    np.testing.assert_allclose(aside.offsets, np.tile([0.1, 0, 0, 0], (len(aside.offsets), 1)), atol=1e-4)


def test_only_boxes_of_the_same_label_that_are_sure_and_found_again_have_moved() -> None:
    (one,) = SCENES[:1]
    others = Detections(one.boxes, one.scores, (one.labels + 1) % 3, one.names, one.frame_size)
    assert not len(moves([one], [others], least=0.3).lost)
    assert len(moves([one], [one], least=0.6).lost) == (one.scores >= 0.6).sum()
    nothing = Detections.empty(one.names, one.frame_size)
    for pair in ((one, nothing), (nothing, one)):
        assert cost_of_moves(moves([pair[0]], [pair[1]], least=0.3)) == 0


def shifting(run: Run, by: float) -> Run:
    """The graph, its boxes aside by a share of their width."""

    def shifted(tensor: Array) -> dict[str, Array]:
        outputs = dict(run(tensor))
        widths = outputs["boxes"][..., 2:3] - outputs["boxes"][..., :1]
        outputs["boxes"] = outputs["boxes"] + by * widths * np.array([1, 0, 1, 0], np.float32)
        return outputs

    return shifted


@pytest.mark.parametrize("kind", [AgreementJudge, MadeJudge])
def test_judges_see_a_graph_whose_boxes_only_move(kind: type[AgreementJudge | MadeJudge], tmp_path: Path) -> None:
    card = save_rectangle_graph(tmp_path / "rectangle.onnx")
    run = GraphRunner(onnx.load(tmp_path / "rectangle.onnx"), threads=1)
    places = [(6 + step, 10, 30 + 2 * step, 40 + step, step % 3) for step in range(12)]
    frames = [frame_with_rectangle(64, 64, place[:4], channel=place[4])[None] for place in places]
    judging = kind(card, frames, ["boxes", "scores", "labels", "count"], run)
    figures = {by: judging(shifting(run, by)) for by in (0.0, 0.005, 0.06)}
    assert figures[0.0] == figures[0.005] == judging.unchanged == 1.0
    lost = figures[0.06]
    assert lost is not None and lost < 1 - BUDGET
