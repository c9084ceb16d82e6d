"""Bars: a figure, what it is held against, and whether the limit holds."""

from __future__ import annotations

from typing import Any

import pytest
from gpu_day.bars import Bar


@pytest.mark.parametrize(
    ("rule", "limit", "measured", "reference", "met"),
    [
        ("value", 0.35, 0.35, None, True),
        ("value", 0.35, 0.36, None, False),
        ("times", 1.15, 1.1, 1.0, True),
        ("times", 1.15, 1.2, 1.0, False),
        ("times", 1.15, 1.2, None, None),
        ("faster", 2, 1.0, 2.1, True),
        ("faster", 2, 1.0, 1.9, False),
        ("apart", 0.002, 0.502, 0.5005, True),
        ("apart", 0.002, 0.498, 0.5005, False),
        ("apart", 0.002, float("nan"), 0.5, False),
    ],
)
def test_a_bar_is_met_or_not(rule: str, limit: float, measured: float, reference: Any, met: Any) -> None:
    bar = Bar("NMS", rule, limit, measured=measured, reference=reference)
    assert bar.met is met
    line = str(bar).split(" | ")
    assert len(line) == 6 and line[0] == "NMS"
    assert line[-1] == {True: "met", False: "NOT MET", None: "not measured: "}[met]


def test_a_figure_without_its_reference_is_not_judged() -> None:
    bar = Bar("NMS", "faster", 2, measured=1.25, why="no torchvision")
    assert str(bar) == "NMS | 1.2500 ms | - | - | at least 2 x faster | not measured: no torchvision"
    assert bar.to_dict()["met"] is None and bar.to_dict()["measured"] == 1.25
