"""Pictures are chosen by what the detector makes of them; one that makes nothing of any is refused."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgedet.calibration import made_frames
from edgedet.calibration.executor import GraphRunner
from edgedet.calibration.float_responses import Answer, Questions
from edgedet.calibration.made_frames import made_judge, make_frames
from edgedet.calibration.made_judge import MadeJudge
from edgedet.calibration.picture_selection import choose, require_alive
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.calibration.training_statistics import Normalised
from edgedet.errors import CalibrationError
from edgedet.onnx_graph.network import Layer
from edgedet.onnx_graph.preparing import prepare


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_frames, "POOL", 48)
    monkeypatch.setattr(made_frames, "SMALLEST_POOL", 48)


def scaled(model: onnx.ModelProto, name: str, factor: float) -> onnx.ModelProto:
    """A copy with one constant multiplied."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for constant in copy.graph.initializer:
        if constant.name == name:
            constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant) * np.float32(factor), name))
    return copy


def test_the_same_pictures_every_time_and_none_judges_what_it_calibrated(tiny: ModuleType) -> None:
    model, card = tiny.tiny_detector(), tiny.card()
    first, second = make_frames(model, card), make_frames(model, card)
    assert all(np.array_equal(a, b) for a, b in zip(first.frames, second.frames, strict=True))
    calibrated = {frame.tobytes() for frame in first.frames}
    assert len(first.held_out) >= 8 and not calibrated & {frame.tobytes() for frame in first.held_out}
    assert first.report["drawn"] == 48 and first.report["layers_with_statistics"] == 0 and not first.warnings


def test_batches_are_answered_place_by_place(tiny: ModuleType) -> None:
    network = prepare(tiny.tiny_detector())
    questions = Questions(network, tiny.card(), network.layers())
    answers = list(questions.ask(tiny.frames(3)))
    assert len(answers) == 3
    widen = next(i for i, layer in enumerate(questions.layers) if layer.name == "widen")
    network.graph.output.append(onnx.helper.make_empty_tensor_value_info(questions.layers[widen].output))
    for answer, frame in zip(answers, tiny.frames(3), strict=True):
        tensor = GraphRunner(network.model)(frame)[questions.layers[widen].output]
        piece = questions.channels[widen]
        np.testing.assert_allclose(answer.means[piece], tensor.mean(axis=(0, 2, 3)), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(answer.squares[piece], (tensor**2).mean(axis=(0, 2, 3)), rtol=1e-3, atol=1e-4)
        assert (np.diff(answer.scores) <= 0).all()


def layer(name: str) -> Layer:
    return Layer(name, "Conv", f"{name}_in", f"{name}_out", f"{name}_w", None, 0, 1, 1, False)


def answer(score: float, strength: float, channels: int = 4) -> Answer:
    """Of a network of one layer whose output has mean 0 and deviation ``strength``."""
    scores = np.array([score] if score else [], np.float32)
    return Answer(scores, np.zeros(channels, np.float32), np.full(channels, strength**2, np.float32))


@pytest.mark.parametrize("strength", [10.0, 0.1])
def test_pictures_that_excite_the_network_beyond_reason_or_hardly_are_left_out(strength: float) -> None:
    # Three in four drive it ten times as hard as those it answers to, or a tenth as hard.
    answers = [answer(0.8, 1.0) if i % 4 == 0 else answer(0.0, strength) for i in range(40)]
    found = choose(answers, [layer("a")], [slice(0, 4)], {}, calibrate=7, judge=3)
    assert {i % 4 for i in (*found.calibrate, *found.judge)} == {0}
    assert found.alike == 10 and not set(found.calibrate) & set(found.judge)


def test_training_overrules_what_is_seen_unless_it_contradicts_the_best_answers() -> None:
    statistics = {"a_out": Normalised(np.zeros(4, np.float32), np.ones(4, np.float32), False)}
    # The best are a little stronger than training saw; of the others, half as strong as the best, or four times.
    answers = [answer(0.9, 1.6)] * 4 + [answer(0.1, 0.6)] * 8 + [answer(0.1, 2.9)] * 8
    found = choose(answers, [layer("a")], [slice(0, 4)], statistics, calibrate=8, judge=4)
    assert found.trusted == ("a",) and set((*found.calibrate, *found.judge)) == set(range(12))
    assert found.strengths["a"] == pytest.approx(0.6, rel=0.01)
    # A backbone's statistics that were frozen: everything is a hundred times stronger, real pictures too.
    stale = {"a_out": Normalised(np.zeros(4, np.float32), np.full(4, 0.01, np.float32), True)}
    assert choose(answers, [layer("a")], [slice(0, 4)], stale, calibrate=8, judge=4).trusted == ()
    without = choose(answers, [layer("a")], [slice(0, 4)], {}, calibrate=8, judge=4)
    assert choose(answers, [layer("a")], [slice(0, 4)], stale, calibrate=8, judge=4).calibrate == without.calibrate


@pytest.mark.parametrize(("best", "others", "trusted"), [(1.2, 10.0, ("a",)), (10.0, 1.2, ())])
def test_only_pictures_that_are_answered_to_can_contradict_training(
    best: float, others: float, trusted: tuple[str, ...]
) -> None:
    statistics = {"a_out": Normalised(np.zeros(4, np.float32), np.ones(4, np.float32), False)}
    answers = [answer(0.9, best)] * 10 + [answer(0.1, others)] * 30
    found = choose(answers, [layer("a")], [slice(0, 4)], statistics, calibrate=6, judge=3)
    assert found.trusted == trusted
    assert set((*found.calibrate, *found.judge)) <= set(range(10)), "they are alike either way"


def test_a_layer_far_from_training_is_named(tiny: ModuleType) -> None:
    network = prepare(tiny.tiny_detector())
    (widen,) = [one for one in network.layers() if one.name == "widen"]
    width = network.constant(widen.weight).shape[0]
    statistics = {widen.output: Normalised(np.zeros(width, np.float32), np.full(width, 1e-3, np.float32), False)}
    found = make_frames(tiny.tiny_detector(), tiny.card(), statistics)
    assert len(found.warnings) == 1 and "widen" in found.warnings[0] and "--calib" in found.warnings[0]
    assert found.report["layers_with_statistics"] == 1 and found.report["layers_agreeing"] == 0


def test_a_dead_network_is_refused(tiny: ModuleType) -> None:
    dead = scaled(tiny.tiny_detector(), "stem.w", 0)
    with pytest.raises(CalibrationError, match=r"dead or saturated.*layers give the same.*--calib"):
        make_frames(dead, tiny.card())
    broken = scaled(tiny.tiny_detector(), "stem.w", np.nan)
    with pytest.raises(CalibrationError, match="no numbers on made pictures, first in stem"):
        make_frames(broken, tiny.card())


def test_one_that_finds_nothing_is_refused(tiny: ModuleType) -> None:
    blind = scaled(scaled(tiny.tiny_detector(), "head.b", 1000), "head.w", 0.001)
    with pytest.raises(CalibrationError, match="finds nothing in any of 48 made pictures"):
        make_frames(blind, tiny.card())


def test_a_layer_that_varies_is_alive_however_little() -> None:
    rng = np.random.default_rng(0)
    answers = [
        Answer(np.zeros(0), m.astype(np.float32), (m**2 + 0.01).astype(np.float32))
        for m in rng.normal(5, 0.1, (9, 4))
    ]
    require_alive(answers, [layer("a")], [slice(0, 4)])
    same = [Answer(np.zeros(0), np.full(4, 5, np.float32), np.full(4, 25, np.float32))] * 9
    with pytest.raises(CalibrationError, match="dead"):
        require_alive(same, [layer("a")], [slice(0, 4)])


def test_the_judge_sees_what_is_lost_and_is_content_with_the_original(tiny: ModuleType) -> None:
    model, card = tiny.tiny_detector(), tiny.card()
    judge, _ = made_judge(model, card, make_frames(model, card))
    assert judge(GraphRunner(model)) == pytest.approx(1.0)
    nothing = scaled(scaled(model, "head.b", 1000), "head.w", 0.001)
    figure = judge(GraphRunner(nothing))
    assert figure is not None and figure < 0.8, "a graph that finds nothing loses all of what there is to lose"


def test_quantises_without_a_picture(tiny: ModuleType) -> None:
    model, card = tiny.tiny_detector(), tiny.card()
    found = make_frames(model, card)
    judge, _ = made_judge(model, card, found)
    result = quantise(
        model, card, found.frames, judge=judge, options=QuantiseOptions(max_drop=0.05, layers="all", threads=1)
    )
    assert result.report["judge"] == MadeJudge.name and result.report["before"] == pytest.approx(1.0)
    assert result.report["layers_int8"] > 0
