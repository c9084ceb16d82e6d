"""The accuracy guard: the budget is kept, the worst goes first, nothing is measured twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedet.calibration.accuracy_guard import Guard, within
from edgedet.calibration.dialect import Unit
from edgedet.calibration.effort import EFFORTS, EffortName
from edgedet.calibration.measurement_cache import Ledger

Names = frozenset[str]


def units(gains: Mapping[str, float]) -> list[Unit]:
    """Units without layers: the guard looks at names and gains alone."""
    return [Unit(name, (), (name,), gain) for name, gain in gains.items()]


class Network:
    """A network whose units cost what they cost, on top of each other; counts what is measured."""

    def __init__(
        self,
        costs: Mapping[str, float],
        *,
        gains: Mapping[str, float] | None = None,
        losses: Mapping[str, float | None] | None = None,
        disturbances: Mapping[str, float] | None = None,
        effort: EffortName = "normal",
        reference: float | None = 0.9,
        folder: Path | None = None,
        digest: str = "d" * 64,
    ) -> None:
        self.costs, self.reference = costs, reference
        self.losses = dict(costs) if losses is None else losses
        self.figures: list[Names] = []
        self.singles: list[str] = []
        self.progress: list[tuple[str, int, int]] = []
        self.guard = Guard(
            units(gains or dict.fromkeys(costs, 1.0)),
            self.evaluate,
            self.sensitivity,
            disturbance=(disturbances or dict.fromkeys(costs, 1.0)).__getitem__,
            effort=EFFORTS[effort],
            ledger=Ledger(folder, digest),
            progress=lambda *step: self.progress.append(step),
        )

    def evaluate(self, on: Names) -> float | None:
        self.figures.append(on)
        return None if self.reference is None else self.reference - sum(self.costs[name] for name in on)

    def sensitivity(self, name: str) -> float | None:
        self.singles.append(name)
        return self.losses[name]


def test_a_network_that_loses_nothing_is_int8_throughout_after_two_evaluations() -> None:
    network = Network({"a": 0.0, "b": 0.001})
    verdict = network.guard.search(0.005)
    assert verdict.on == {"a", "b"} and verdict.figure == pytest.approx(0.899)
    assert verdict.evaluations == len(network.figures) == 2
    assert network.singles == []  # nothing to rank


def test_a_drop_of_exactly_the_budget_is_kept_and_more_is_not() -> None:
    assert within(0.75, 0.5, 0.25) and not within(0.75, 0.4999, 0.25)
    assert within(0.5, 0.75, 0.0)  # better than float is no loss


def test_an_absent_figure_is_within_no_budget() -> None:
    assert not within(None, 0.5, 1.0) and not within(0.5, None, 1.0) and not within(None, None, 1.0)


def test_the_unit_that_costs_most_is_given_back_and_the_others_stay() -> None:
    network = Network({"a": 0.001, "b": 0.2, "c": 0.001})
    verdict = network.guard.search(0.005)
    assert verdict.on == {"a", "c"}
    assert network.guard.losses == {"a": 0.001, "b": 0.2, "c": 0.001}


def test_one_unit_is_enough_where_one_is_to_blame() -> None:
    # Units behind the first of the ranking are not touched, though giving them back would keep the budget, too.
    names = [f"unit{index}" for index in range(6)]
    network = Network(dict.fromkeys(names, 0.0) | {names[0]: 0.2})
    assert network.guard.search(0.005).on == frozenset(names[1:])
    assert network.figures[2:] == [frozenset(names[1:])]


def test_units_go_by_loss_per_gain() -> None:
    costs = {"cheap": 0.02, "dear": 0.1, "small": 0.03}
    network = Network(costs, gains={"cheap": 0.1, "dear": 1.0, "small": 0.01})
    # By loss alone "dear" would go first, and be enough.
    assert network.guard.search(0.11).on == {"dear"}


def test_units_of_which_nothing_tells_are_expected_to_lose_nothing() -> None:
    network = Network({"a": 0.0, "b": 0.1, "c": 0.2}, losses={"a": None, "b": 0.1, "c": 0.2})
    assert network.guard.search(0.15).on == {"a", "b"}
    assert network.guard.losses["a"] is None


def test_a_unit_without_any_gain_is_the_first_to_go() -> None:
    network = Network({"a": 0.25, "b": 0.0078125}, gains={"a": 1.0, "b": 0.0}, reference=0.75)
    assert network.guard.search(0.25).on == {"a"}


def test_the_most_disturbed_units_are_tried_and_the_others_estimated_from_them() -> None:
    names = [f"unit{index:02}" for index in range(20)]
    disturbances = {name: float(index + 1) for index, name in enumerate(names)}
    network = Network({name: 0.01 * value for name, value in disturbances.items()}, disturbances=disturbances)
    expected = network.guard.expected()
    assert network.singles == names[-EFFORTS["normal"].checks :]
    # What was not tried follows the median of loss over disturbance.
    assert expected == pytest.approx({name: 0.01 * value for name, value in disturbances.items()})


def test_a_unit_given_back_for_company_is_tried_again_the_largest_gain_first() -> None:
    # The probes mislead: "wrong" looks worst and costs nothing, "culprit" is found only by the real figure.
    costs = {"wrong": 0.0, "other": 0.002, "culprit": 0.2, "fine": 0.0}
    losses = {"wrong": 0.9, "other": 2.0, "culprit": 0.7, "fine": 0.0}
    network = Network(costs, losses=losses, gains={"wrong": 1.0, "other": 2.0, "culprit": 1.0, "fine": 1.0})
    verdict = network.guard.search(0.001)
    assert verdict.on == {"wrong", "fine"}
    # The third, with "culprit", was measured on the way down the ranking.
    assert network.figures[-2:] == [frozenset({"fine", "other"}), frozenset({"fine", "wrong"})]


def test_few_units_are_tried_again() -> None:
    names = [f"unit{index:02}" for index in range(8)]
    network = Network(dict.fromkeys(names, 0.1))
    verdict = network.guard.search(0.001)
    assert verdict.on == frozenset()
    # The last of the ranking was met alone when bisecting, before any was tried again.
    assert sum(len(on) == 1 and on != {names[-1]} for on in network.figures) == EFFORTS["normal"].returns


def test_where_nothing_fits_the_budget_everything_is_float() -> None:
    network = Network({"a": 0.5, "b": 0.5})
    verdict = network.guard.search(0.01)
    assert verdict.on == frozenset() and verdict.figure == 0.9


@pytest.mark.parametrize("effort", ["quick", "normal", "thorough"])
def test_a_hundred_units_take_a_stated_number_of_evaluations(effort: EffortName) -> None:
    costs = {f"unit{index:03}": 0.0001 * index for index in range(100)}
    network = Network(costs, effort=effort)
    verdict = network.guard.search(0.05)
    assert sum(costs[name] for name in verdict.on) <= 0.05
    limits = EFFORTS[effort]
    # Beside the search's own: the float graph, and everything in INT8.
    assert verdict.evaluations == len(network.figures) <= limits.evaluations + limits.returns + 2
    assert len(network.singles) == min(limits.checks, 100)


def test_more_effort_leaves_more_in_int8() -> None:
    costs = {f"unit{index:03}": 0.0001 * (index % 10) ** 2 for index in range(100)}
    kept = {effort: len(Network(costs, effort=effort).guard.search(0.02).on) for effort in EFFORTS}
    assert kept["thorough"] >= kept["normal"] >= kept["quick"] > 0


def test_nothing_to_judge_by_leaves_everything_in_float() -> None:
    network = Network({"a": 0.0, "b": 0.0}, reference=None)
    verdict = network.guard.search(0.5)
    assert verdict.on == frozenset() and verdict.figure is None


def test_who_allows_everything_to_be_lost_gets_int8_even_unjudged() -> None:
    network = Network({"a": 0.9, "b": 0.9}, reference=None)
    verdict = network.guard.search(1.0)
    assert verdict.on == {"a", "b"} and verdict.figure is None
    assert network.singles == []


def test_no_units_are_a_verdict_too() -> None:
    verdict = Network({}).guard.search(0.01)
    assert verdict.on == frozenset() and verdict.figure == 0.9


def test_a_second_search_measures_only_what_is_new() -> None:
    network = Network({"a": 0.001, "b": 0.2, "c": 0.003})
    first = network.guard.search(0.005)
    measured = len(network.figures)
    assert network.guard.search(0.005).on == first.on
    assert len(network.figures) == measured and network.singles == ["a", "b", "c"]
    assert network.guard.search(0.002).on == {"a"}
    assert len(set(network.figures)) == len(network.figures)


def test_a_killed_search_resumes_from_the_ledger(tmp_path: Path) -> None:
    costs = {"a": 0.001, "b": 0.2, "c": 0.003}
    whole = Network(costs)
    expected = whole.guard.search(0.005)

    killed = Network(costs, folder=tmp_path)
    killed.losses = {"a": 0.001}  # KeyError at the second unit stands for Ctrl-C
    with pytest.raises(KeyError):
        killed.guard.search(0.005)
    resumed = Network(costs, folder=tmp_path)
    verdict = resumed.guard.search(0.005)
    assert (verdict.on, verdict.figure) == (expected.on, expected.figure)
    assert resumed.singles == ["b", "c"]
    assert [*killed.figures, *resumed.figures] == whole.figures
    assert verdict.evaluations == len(resumed.figures)


def test_figures_of_another_graph_are_not_believed(tmp_path: Path) -> None:
    Network({"a": 0.0}, folder=tmp_path, digest="e" * 64).guard.search(0.01)
    other = Network({"a": 0.5}, folder=tmp_path, digest="f" * 64)
    assert other.guard.search(0.01).on == frozenset()


def test_an_absent_figure_is_kept_as_absent_and_not_measured_again(tmp_path: Path) -> None:
    Network({"a": 0.0}, reference=None, folder=tmp_path).guard.search(0.01)
    again = Network({"a": 0.0}, reference=None, folder=tmp_path)
    assert again.guard.search(0.01).figure is None
    assert again.figures == []


def test_progress_counts_evaluations_and_units() -> None:
    network = Network({"a": 0.0, "b": 0.5})
    network.guard.search(0.01)
    assert [step for step in network.progress if step[0] == "sensitivity"] == [
        ("sensitivity", 1, 2),
        ("sensitivity", 2, 2),
    ]
    accuracy = [step for step in network.progress if step[0] == "accuracy"]
    assert accuracy == [("accuracy", count + 1, 0) for count in range(len(network.figures))]


@given(
    costs=st.lists(st.integers(0, 64).map(lambda n: n / 1024), min_size=1, max_size=12),
    noise=st.lists(st.integers(0, 8).map(lambda n: n / 8), min_size=12, max_size=12),
    aim=st.integers(0, 64).map(lambda n: n / 1024),
)
def test_whatever_the_probes_say_the_budget_is_kept(costs: list[float], noise: list[float], aim: float) -> None:
    named = {f"unit{index}": cost for index, cost in enumerate(costs)}
    network = Network(named, losses=dict(zip(named, noise, strict=False)), reference=0.75)
    verdict = network.guard.search(aim)
    assert sum(named[name] for name in verdict.on) <= aim
    assert verdict.figure == 0.75 - sum(named[name] for name in verdict.on)
