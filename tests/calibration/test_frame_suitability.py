"""Frames without an object: networks of eight activations keep their accuracy, or are refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest

from edgedet.artifacts.card import ModelCard
from edgedet.calibration.effort import EFFORTS
from edgedet.calibration.executor import GraphRunner
from edgedet.calibration.frame_suitability import JUDGED_FROM, MADE, MARGIN, look, shows_objects, slightly_open
from edgedet.calibration.judge import AgreementJudge
from edgedet.calibration.observe import silent
from edgedet.calibration.pipeline import QuantisedGraph, QuantiseOptions, quantise
from edgedet.calibration.reasons import UNJUDGED
from edgedet.calibration.response_judge import ResponseJudge
from edgedet.errors import AccuracyBudgetError, CalibrationError
from tests.calibration import small_detectors as small

FRAMES = 24
Known = tuple[onnx.ModelProto, float]


@cache
def held_out() -> small.Scenes:
    return small.scenes(300, seed=5)


@pytest.fixture(scope="module")
def known() -> Callable[[str], Known]:
    """Trained detectors and their mAP, by activation; each is measured once."""

    @cache
    def measured(activation: str) -> Known:
        model = small.trained(activation)
        return model, small.mean_average_precision(model, held_out())

    return measured


@cache
def blinded(activation: str) -> QuantisedGraph | CalibrationError | AccuracyBudgetError:
    """What frames of an empty room make of a network, or why they are refused."""
    try:
        return quantise(small.trained(activation), small.card(), small.scenes(FRAMES, seed=77, objects=0).frames)
    except (CalibrationError, AccuracyBudgetError) as refused:
        return refused


def drop(known: Known, done: QuantisedGraph) -> float:
    return known[1] - small.mean_average_precision(done.model, held_out())


@pytest.mark.parametrize("activation", small.ACTIVATIONS)
def test_frames_of_an_empty_room_cost_little_or_are_refused_with_the_reason(
    activation: str, known: Callable[[str], Known]
) -> None:
    detector = known(activation)
    assert detector[1] > 0.7, "a network that has learned nothing has nothing to lose"
    done = blinded(activation)
    if not isinstance(done, QuantisedGraph):
        assert "made pictures" in str(done) or "pictures made" in str(done)
        return
    assert drop(detector, done) <= 0.02
    assert set(done.report["ranges"]) == {"widened"}
    assert done.report["kept_float"]["head"].startswith("predicts boxes or scores")
    assert done.report["blind"]["pictures"] == MADE and done.report["blind"]["margin"] == MARGIN
    assert done.report["before"] == 1.0 and "answers to made pictures" in done.report["judge"]
    assert any("made for the purpose" in warning and "--calib" in warning for warning in done.warnings)


@pytest.mark.parametrize("activation", small.ACTIVATIONS)
def test_frames_with_objects_make_no_pictures_and_cost_little(
    activation: str, known: Callable[[str], Known]
) -> None:
    detector = known(activation)
    done = quantise(detector[0], small.card(), small.scenes(FRAMES, seed=77).frames)
    assert done.report["blind"] is None
    # 0.01 is the aim. Of two LeakyReLU networks one loses 0.011: AP50, which judges, does not see small moves.
    assert drop(detector, done) <= (0.02 if activation == "LeakyReLU" else 0.01)


def test_the_same_frames_ruin_a_network_that_is_not_judged(known: Callable[[str], Known]) -> None:
    """So the tests above test something."""
    detector = known("SiLU")
    frames = small.scenes(FRAMES, seed=77, objects=0).frames
    done = quantise(detector[0], small.card(), frames, options=QuantiseOptions(max_drop=1.0))
    assert drop(detector, done) > 0.2 and done.report["before"] is None


def test_what_a_network_takes_for_objects_in_noise_is_none(known: Callable[[str], Known]) -> None:
    detector = known("ReLU")
    noise = np.random.default_rng(77).integers(0, 256, (FRAMES, 1, small.SIDE, small.SIDE, 3), dtype=np.uint8)
    done = quantise(detector[0], small.card(), list(noise))
    assert done.report["blind"] is not None and drop(detector, done) <= 0.02


def test_the_same_frames_make_the_same_pictures_and_the_same_graph() -> None:
    once = blinded("ReLU")
    assert isinstance(once, QuantisedGraph)
    again = quantise(small.trained("ReLU"), small.card(), small.scenes(FRAMES, seed=77, objects=0).frames)
    assert once.model.SerializeToString(deterministic=True) == again.model.SerializeToString(deterministic=True)


def sighted(tiny: ModuleType, frames: list[np.ndarray], **changes: object):  # type: ignore[no-untyped-def]
    given = {"effort": EFFORTS["quick"], "max_drop": 0.01, "threads": 1, "progress": silent} | changes
    model, card = tiny.tiny_detector(), tiny.card()
    return look(model, card, frames, None, float_graph=lambda: opened_graph(model, card), **given)


def opened_graph(model: onnx.ModelProto, card: ModelCard) -> GraphRunner:
    return GraphRunner(slightly_open(model, card), threads=1)


def test_blind_is_who_is_sure_of_nothing_and_wants_a_judgement(tiny: ModuleType) -> None:
    blind = sighted(tiny, tiny.frames(4))
    assert blind.blind and blind.margin > 1 and isinstance(blind.judge, ResponseJudge)
    assert len(blind.frames) == 4 + MADE // 2, "half of the made pictures set ranges, beside the frames"
    unjudged = sighted(tiny, tiny.frames(4), max_drop=1.0)
    assert not unjudged.blind and unjudged.margin == 1 and isinstance(unjudged.judge, AgreementJudge)
    assert unjudged.report() is None and unjudged.warning is None


@pytest.mark.parametrize(
    ("sure", "confident", "shown"),
    [(10, 10, True), (9, 9, False), (10, 20, True), (10, 21, False), (60, 500, False)],
)
def test_objects_are_shown_where_most_of_enough_answers_are_sure(sure: int, confident: int, shown: bool) -> None:
    assert shows_objects(SimpleNamespace(sure=sure, confident=confident)) == shown  # type: ignore[arg-type]


def test_pictures_that_judge_set_no_ranges(tiny: ModuleType) -> None:
    blind = sighted(tiny, tiny.frames(4))
    run, judged = GraphRunner(blind.opening(tiny.tiny_detector()), threads=1), list[np.ndarray]()

    def looked_at(tensor: np.ndarray) -> dict[str, np.ndarray]:
        judged.append(tensor)
        return run(tensor)

    blind.judge(looked_at)
    assert len(judged) == MADE // 2
    assert not any(np.array_equal(one, other) for one in judged for other in blind.frames)


@pytest.mark.parametrize("threshold", [0.01, 0.2, 0.6])
def test_the_threshold_of_use_does_not_decide_what_int8_costs(threshold: float, tiny: ModuleType) -> None:
    """Boxes just above it would be lost, which score hardly less than before."""
    card = tiny.card()
    card = replace(card, output=replace(card.output, score_threshold=threshold))
    model = tiny.tiny_detector()
    sight = look(
        model,
        card,
        tiny.frames(12),
        None,
        float_graph=lambda: opened_graph(model, card),
        effort=EFFORTS["normal"],
        max_drop=1.0,
        threads=1,
        progress=silent,
    )
    run = GraphRunner(sight.opening(model), threads=1)
    found = [one for frame in tiny.frames(12) for one in sight.reader.read(run(frame))]
    lowest = min(float(one.scores.min()) for one in found if len(one))
    assert lowest < 0.2 and lowest >= min(threshold, JUDGED_FROM)


def test_a_judge_of_the_callers_is_believed(tiny: ModuleType) -> None:
    class Labelled:
        name, nothing, digest = "mAP", "there is nothing", "0"

        def __call__(self, run: object) -> float:
            return 0.5

    judge, frames = Labelled(), tiny.frames(4)
    seen = look(
        tiny.tiny_detector(),
        tiny.card(),
        frames,
        judge,
        float_graph=lambda: pytest.fail("a judge of the caller's needs no float graph to be opened here"),
        effort=EFFORTS["quick"],
        max_drop=0.01,
        threads=1,
        progress=silent,
    )
    assert seen.judge is judge and not seen.blind and list(seen.frames) == frames


def test_the_reason_of_predictions_left_in_float_says_why() -> None:
    assert "show nothing to judge" in UNJUDGED
