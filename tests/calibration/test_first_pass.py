"""One pass gives what two gave: what the float graph finds, and what it holds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

from edgedet.calibration import activation_samples, pipeline
from edgedet.calibration.activation_samples import Survey, surveys
from edgedet.calibration.effort import EFFORTS
from edgedet.calibration.executor import GraphRunner, frames_run_by, run_here
from edgedet.calibration.first_pass import PACED, FirstPass, first_pass
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.preparing import prepare

TENSORS = ["stem_silu_out", "spread_relu_out"]


@pytest.fixture
def network(tiny: ModuleType) -> Network:
    return prepare(tiny.tiny_detector())


def opened(model: onnx.ModelProto) -> onnx.ModelProto:
    return model


def made(
    network: Network, frames: list[np.ndarray], ranged: list[int], judged: list[int], *, threads: int = 1
) -> FirstPass:
    layers = dict.fromkeys((layer for layer in network.layers() if layer.input in TENSORS), 16)
    return FirstPass(
        network, TENSORS, layers, frames, ranged=ranged, judged=judged, opening=opened, threads=threads
    )


def same(one: Survey, other: Survey) -> bool:
    return one.patches.keys() == other.patches.keys() != set() and all(
        [
            *(np.array_equal(one.patches[name].rows, other.patches[name].rows) for name in one.patches),
            *(np.array_equal(one.seen[name].counts, other.seen[name].counts) for name in TENSORS),
            *(
                (one.seen[name].low, one.seen[name].high) == (other.seen[name].low, other.seen[name].high)
                for name in TENSORS
            ),
        ]
    )


def apart(network: Network, frames: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Survey:
    monkeypatch.setattr(activation_samples, "rows_per_frame", lambda frames, weights: 16)
    layers = [layer for layer in network.layers() if layer.input in TENSORS]
    (survey,) = surveys(network, frames, TENSORS, layers, threads=1)
    return survey


@pytest.mark.parametrize("paced", [False, True])
def test_the_outputs_are_the_graphs_and_the_survey_is_that_of_a_pass_of_its_own(
    network: Network, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch, paced: bool
) -> None:
    frames, run = tiny.frames(5), GraphRunner(network.model, threads=1)
    one = made(network, frames, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    if paced:
        pace = one.pace()
        assert min(pace.opening, pace.between) > 0 and (pace.ranged, pace.left) == (3, 2)
    for frame in frames:
        found = one(frame)
        assert set(found) == {"boxes", "scores"}
        np.testing.assert_allclose(found["scores"], run(frame)["scores"], rtol=1e-5, atol=1e-6)
    assert same(one.survey(), apart(network, frames, monkeypatch))


def test_frames_may_be_judged_alone_or_set_ranges_alone(
    network: Network, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, run = tiny.frames(6), GraphRunner(network.model, threads=1)
    told: list[tuple[str, int, int]] = []
    one = made(network, frames, [0, 2, 5], [2, 3])
    one.progress = lambda *what: told.append(what)
    for number in (2, 3):
        np.testing.assert_allclose(
            one(frames[number])["scores"], run(frames[number])["scores"], rtol=1e-5, atol=1e-6
        )
    seen = one.survey().seen
    assert told == [("ranges", 1, 3), ("ranges", 2, 3), ("ranges", 3, 3)]
    expected = apart(network, [frames[number] for number in (0, 2, 5)], monkeypatch).seen
    for name in TENSORS:
        assert (seen[name].low, seen[name].high) == (expected[name].low, expected[name].high)


def test_who_asks_for_more_frames_than_are_judged_is_told(network: Network, tiny: ModuleType) -> None:
    frames = tiny.frames(2)
    one = made(network, frames, [0, 1], [1])
    one(frames[1])
    with pytest.raises(IndexError):
        one(frames[1])


def test_a_graph_whose_survey_nobody_wants_is_let_go(network: Network, tiny: ModuleType) -> None:
    ended = []

    def run(*given: Any) -> Iterator[dict[str, np.ndarray]]:
        try:
            yield from run_here(*given)
        finally:
            ended.append(True)

    frames = tiny.frames(2)
    with frames_run_by(run):
        one = made(network, frames, [0, 1], [0, 1])
        for frame in frames:
            one(frame)
        assert not ended
        one.close()
        assert ended
        other = made(network, frames, [0, 1], [0, 1])
        other.survey()
        assert len(ended) == 2


def test_of_one_frame_the_pace_is_when_it_was_there(network: Network, tiny: ModuleType) -> None:
    frames = tiny.frames(1)
    assert len(frames) < PACED
    one = made(network, frames, [0], [0])
    pace = one.pace()
    assert pace.between == pace.opening > 0 and (pace.ranged, pace.left) == (1, 0)
    assert set(one(frames[0])) == {"boxes", "scores"}


def rounds_of_four(
    model: onnx.ModelProto, inputs: Iterable[Mapping[str, Any]], threads: int | None
) -> Iterator[dict[str, Any]]:
    """Frames as four cores run them: four come at the same time, and then there are none for a while."""
    for number, found in enumerate(run_here(model, inputs, 1)):
        if number % 4 == 0:
            time.sleep(0.2)
        yield found


@pytest.mark.parametrize(("count", "left"), [(12, 3), (9, 0), (7, 0), (5, 0), (4, 0), (2, 0)])
def test_frames_that_come_four_at_a_time_have_the_pace_of_four(
    network: Network, tiny: ModuleType, count: int, left: int
) -> None:
    with frames_run_by(rounds_of_four):
        one = made(network, tiny.frames(count), list(range(count)), list(range(count)), threads=4)
        pace = one.pace()
    # Of two frames it is that of two: two cores had nothing to do.
    assert pace.opening >= 0.2 and 0.2 / min(count, 4) <= pace.between < 0.2
    assert pace.left == left


def test_frames_that_are_judged_alone_do_not_count_as_ranged(network: Network, tiny: ModuleType) -> None:
    pace = made(network, tiny.frames(6), [0, 3, 5], [1, 2]).pace()
    assert (pace.ranged, pace.left) == (1, 2)


def planned(network: Network, pictures: list[np.ndarray], **changes: int) -> FirstPass | None:
    effort = replace(EFFORTS["normal"], **changes)
    return first_pass(network, TENSORS, network.layers(), pictures, effort, opening=opened, threads=1)


def test_two_passes_are_less_work_where_few_judged_frames_set_ranges(network: Network, tiny: ModuleType) -> None:
    frames = tiny.frames(20)
    assert planned(network, frames) is not None
    # Of twenty, 0, 10 and 19 set ranges: two of the four judged ones (0, 6, 13, 19), or of ten.
    assert planned(network, frames, frames=3, judged=4) is not None
    assert planned(network, frames, frames=3, judged=10) is None


def test_patches_that_are_too_much_at_a_time_are_not_held(
    network: Network, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation_samples, "PATCH_BYTES", 1024)
    assert planned(network, tiny.frames(4)) is None


def frames_run(model: onnx.ModelProto, tiny: ModuleType, options: QuantiseOptions) -> tuple[int, bytes]:
    """How many frames a quantisation had run for it in passes over them, and the graph that it made."""
    count = 0

    def run(
        model: onnx.ModelProto, inputs: Iterable[Mapping[str, np.ndarray]], threads: int | None
    ) -> Iterator[dict[str, np.ndarray]]:
        nonlocal count
        for found in run_here(model, inputs, threads):
            count += 1
            yield found

    with frames_run_by(run):
        done = quantise(model, tiny.card(), tiny.frames(8), options=options)
    return count, done.model.SerializeToString(deterministic=True)


def test_a_quantisation_runs_every_picture_once_before_it_is_judged(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "equalise", lambda *given, **options: {})
    model, options = tiny.tiny_detector(), QuantiseOptions(max_drop=1.0, threads=1)
    passed, graph = frames_run(model, tiny, options)
    assert passed == 8
    monkeypatch.setattr(pipeline, "pass_over", lambda *given, **options: None)
    separate, expected = frames_run(model, tiny, options)
    assert separate == 8 and graph == expected, "the judge's own eight are no pass over them"


def test_what_equalising_has_changed_is_looked_at_again(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model, options = tiny.tiny_detector(hostile="spread"), QuantiseOptions(max_drop=1.0, threads=1)
    again: list[list[str]] = []
    real = Survey.again

    def watched(self: Survey, network: Network, frames: Any, layers: Any, **given: Any) -> Survey:
        again.append([layer.name for layer in layers])
        made = real(self, network, frames, layers, **given)
        (name,) = {layer.input for layer in layers}
        assert made.seen[name].high < self.seen[name].high / 4
        return made

    monkeypatch.setattr(Survey, "again", watched)
    done = quantise(model, tiny.card(), tiny.frames(8), options=options)
    assert again == [["narrow"]] and done.report["equalised"].keys() == {"narrow"}


class OneBuffer(Sequence[np.ndarray]):
    """Frames made when they are asked for, in one buffer: not for two threads at a time."""

    def __init__(self, frames: list[np.ndarray]) -> None:
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: Any) -> Any:
        return self._frames[index]


@pytest.mark.parametrize(("kind", "together"), [(list, True), (tuple, True), (OneBuffer, False)])
def test_a_sequence_of_the_callers_own_is_not_taken_by_judge_and_lanes_together(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch, kind: Any, together: bool
) -> None:
    passes: list[FirstPass | None] = []
    pass_over = pipeline.pass_over

    def counted(*arguments: Any, **options: Any) -> FirstPass | None:
        passes.append(pass_over(*arguments, **options))
        return passes[-1]

    monkeypatch.setattr(pipeline, "pass_over", counted)
    options = QuantiseOptions(max_drop=1.0, threads=1)
    quantise(tiny.tiny_detector(), tiny.card(), kind(tiny.frames(16)), options=options)
    assert [one is not None for one in passes] == ([True] if together else [])
