"""The time left: predicted before, corrected by what has passed, never told to those who do not ask."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from edgedet.calibration import duration_estimate as module
from edgedet.calibration.duration_estimate import SIMULATED, TAPPED, Forecast, Step, forecast
from edgedet.calibration.effort import EFFORTS
from edgedet.calibration.executor import GraphRunner
from edgedet.calibration.first_pass import Pace
from edgedet.calibration.tensorrt import TensorRT
from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.preparing import prepare


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.expected: list[float] = []
        self.told: list[tuple[str, int, int]] = []

    def expect(self, seconds: float) -> None:
        self.expected.append(seconds)

    def __call__(self, what: str, done: int, of: int, /) -> None:
        self.told.append((what, done, of))


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


STEPS = [Step("ranges", 10), Step("weights", 20), Step("finishing", 10)]


def test_the_prediction_is_told_before_anything_happens() -> None:
    listener = Listener()
    Forecast(listener, STEPS, Clock())
    assert listener.expected == [40]


def test_work_at_the_predicted_pace_leaves_what_was_predicted() -> None:
    listener, clock = Listener(), Clock()
    progress = Forecast(listener, STEPS, clock)
    clock.now = 5
    progress("ranges", 1, 2)
    assert listener.expected[-1] == pytest.approx(35)
    clock.now = 30
    progress("finishing", 0, 0)
    assert listener.expected[-1] == pytest.approx(10)
    assert listener.told == [("ranges", 1, 2), ("finishing", 0, 0)]


def test_a_machine_twice_as_slow_is_believed_as_it_goes_on() -> None:
    listener, clock = Listener(), Clock()
    progress = Forecast(listener, STEPS, clock)
    for done in range(1, 11):
        clock.now = 2 * done
        progress("ranges", done, 10)
    # 30 predicted seconds are left; 60 at this pace, of which the prediction still holds back some.
    assert 45 < listener.expected[-1] < 60
    assert listener.expected[1:] != sorted(listener.expected[1:], reverse=True) or listener.expected[1] > 40


def test_a_step_that_is_left_out_is_no_longer_waited_for() -> None:
    listener, clock = Listener(), Clock()
    progress = Forecast(
        listener, [Step("ranges", 10), Step("sensitivity", 100, odds=0.5), Step("finishing", 10)], clock
    )
    assert listener.expected == [70]
    clock.now = 10
    progress("finishing", 0, 0)
    assert listener.expected[-1] < 10 + 1e-9


def test_a_search_that_has_begun_is_certain() -> None:
    listener, clock = Listener(), Clock()
    steps = [Step("ranges", 10), Step("sensitivity", 20, odds=0.5), Step("accuracy", 30, 5, odds=0.5)]
    progress = Forecast(listener, steps, clock)
    assert listener.expected == [35]
    clock.now = 10
    progress("sensitivity", 0, 16)
    assert listener.expected[-1] == pytest.approx(50)


def test_a_stage_that_has_begun_is_certain() -> None:
    listener, clock = Listener(), Clock()
    progress = Forecast(
        listener, [Step("ranges", 10), Step("accuracy", 30, 5, odds=0.5), Step("finishing", 10)], clock
    )
    assert listener.expected == [35]
    clock.now = 10
    progress("accuracy", 1, 0)
    assert listener.expected[-1] == pytest.approx(40)


def test_counts_of_what_has_begun_run_on_from_stage_to_stage() -> None:
    listener, clock = Listener(), Clock()
    progress = Forecast(listener, [Step("ranges", 10), Step("accuracy", 50, 5)], clock)
    clock.now = 10
    progress("accuracy", 3, 0)  # the third of the run, the first of this stage, has just begun
    assert listener.expected[-1] == pytest.approx(50)
    clock.now = 20
    progress("accuracy", 4, 0)
    assert listener.expected[-1] == pytest.approx(40)


def test_calls_made_before_the_prediction_are_no_part_of_it() -> None:
    listener, clock = Listener(), Clock()
    progress = Forecast(listener, [Step("ranges", 20, before=33), Step("weights", 20)], clock)
    clock.now = 10
    progress("ranges", 34, 35)  # half of what was left then
    assert listener.expected[-1] == pytest.approx(30)
    clock.now = 20
    progress("ranges", 35, 35)
    assert listener.expected[-1] == pytest.approx(20)


def test_a_step_that_was_over_before_the_prediction_leaves_the_rest() -> None:
    listener = Listener()
    progress = Forecast(listener, [Step("ranges", 0, before=4), Step("weights", 20)], Clock())
    progress("ranges", 4, 4)
    assert listener.expected[-1] == pytest.approx(20)


def test_what_no_step_is_named_after_changes_nothing() -> None:
    listener = Listener()
    progress = Forecast(listener, STEPS, Clock())
    progress("balancing channels", 0, 0)
    assert listener.expected[-1] > 0 and listener.told == [("balancing channels", 0, 0)]


@pytest.fixture
def network(tiny: ModuleType) -> Network:
    return prepare(tiny.tiny_detector())


def test_a_real_network_has_a_forecast_of_seconds(network: Network, tiny: ModuleType) -> None:
    listener = Listener()
    wrapped = forecast(
        listener,
        network,
        network.layers(),
        tiny.frames(4),
        float_graph=lambda: GraphRunner(network.model, threads=1),
        judge=None,
        effort=EFFORTS["normal"],
        dialect=TensorRT(),
        threads=1,
        max_drop=0.01,
        runs_after=10,
    )
    assert isinstance(wrapped, Forecast)
    assert 0 < listener.expected[0] < 60


def without_silu(network: Network) -> Network:
    """The network with the other gates that look like it."""
    gates = [node for node in network.graph.node if node.op_type == "Sigmoid"]
    assert gates
    for node in gates:
        node.op_type = "HardSigmoid"
    network.refresh()
    return network


def test_runs_in_which_every_pair_is_executed_take_longer(
    network: Network, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_seconds", lambda runner, frame: 1.0)
    monkeypatch.setattr(module, "ENOUGH_SECONDS", 0.0)  # of the race that fused layers are tried in

    def predicted(fusion: str, network: Network = network, max_drop: float = 0.01) -> float:
        listener, dialect = Listener(), SimpleNamespace(fusion=fusion)
        given: Any = {"judge": None, "effort": EFFORTS["normal"], "dialect": dialect, "threads": 1}
        given["float_graph"] = lambda: GraphRunner(network.model, threads=1)
        forecast(listener, network, network.layers(), tiny.frames(4), **given, max_drop=max_drop, runs_after=10)
        return listener.expected[0]

    # Four frames that judge, and ten runs afterwards, at the least.
    assert predicted("separate") - predicted("fused") > (SIMULATED - 1) * (4 + 10)
    # A search is likelier where there are SiLUs, and there is none where everything may be lost.
    plain = predicted("separate")
    without = predicted("separate", without_silu(network.copy()))
    assert plain - 1 > without > predicted("separate", max_drop=1) + 1


def test_who_does_not_ask_gets_his_own_progress_back(network: Network, tiny: ModuleType) -> None:
    def progress(what: str, done: int, of: int) -> None:
        pass

    wrapped = forecast(
        progress,
        network,
        network.layers(),
        tiny.frames(1),
        float_graph=lambda: pytest.fail("nothing is measured for who does not ask"),
        judge=None,
        effort=EFFORTS["quick"],
        dialect=TensorRT(),
        threads=1,
        max_drop=0.01,
        runs_after=0,
    )
    assert wrapped is progress


def test_one_pass_for_judge_and_ranges_is_predicted_from_its_own_pace(network: Network, tiny: ModuleType) -> None:
    def predicted(between: float) -> float:
        listener = Listener()
        given: Any = {"judge": None, "effort": EFFORTS["normal"], "dialect": TensorRT(), "threads": 1}
        given["float_graph"] = lambda: pytest.fail("nothing is run for the forecast alone")
        given["first"] = SimpleNamespace(pace=lambda: Pace(0.0, between, ranged=3, left=1))
        forecast(listener, network, network.layers(), tiny.frames(4), **given, max_drop=1.0, runs_after=0)
        return listener.expected[0]

    # The one frame with taps that is left, and four in INT8.
    assert predicted(15.0) - predicted(0.0) == pytest.approx(15 + 4 * SIMULATED * 15 / TAPPED)
