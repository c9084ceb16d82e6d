"""The result of a step: written as it goes, judged by what is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_day.bars import Bar
from gpu_day.outcome import NotHereError, Report, judge, plain

from edgedet.errors import UsageError

FIRST, SECOND = (Bar(name, "value", 1) for name in ("first", "second"))


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report(tmp_path / "result.json")


def content(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "result.json").read_text())


def broken() -> str:
    raise ValueError("two\nlines")


def missing() -> str:
    raise NotHereError("no GPU")


def test_everything_is_in_the_file_as_soon_as_it_is_known(report: Report, tmp_path: Path) -> None:
    report.attempt("one", lambda: "as expected")
    report.attempt("two", broken)
    report.attempt("three", missing)
    report.figure("sizes", (np.int64(3), float("inf"), Path("x")))
    found = content(tmp_path)
    assert found["complete"] is False
    assert [(check["what"], check["outcome"], check["detail"]) for check in found["checks"]] == [
        ("one", "passed", "as expected"),
        ("two", "failed", "ValueError: two lines"),
        ("three", "not_measured", "no GPU"),
    ]
    assert found["figures"] == {"sizes": [3, None, "x"]}
    report.end()
    assert content(tmp_path)["complete"] is True


@pytest.mark.parametrize(
    ("error", "outcome", "why"),
    [
        (UsageError("the second\ncannot be"), "failed", "the second cannot be"),
        (NotHereError("no torch"), "passed", "no torch"),
    ],
)
def test_what_breaks_half_way_keeps_what_was_measured(
    report: Report, tmp_path: Path, error: Exception, outcome: str, why: str
) -> None:
    def work() -> Iterator[Bar]:
        yield replace(FIRST, measured=0.5)
        raise error

    report.measure([FIRST, SECOND], work)
    found = content(tmp_path)
    assert [(bar["name"], bar["met"], bar["why"]) for bar in found["bars"]] == [
        ("first", True, ""),
        ("second", None, why),
    ]
    assert judge(found)[0] == outcome and why in judge(found)[1]


def test_a_figure_that_is_no_number_holds_no_limit(report: Report, tmp_path: Path) -> None:
    report.measure([FIRST], lambda: [replace(FIRST, measured=float("nan"))])
    found = content(tmp_path)
    assert found["bars"][0]["measured"] is None and found["bars"][0]["met"] is False
    assert judge(found) == ("failed", f"first: {found['bars'][0]['text']}")


def check(outcome: str, what: str = "a", detail: str = "b") -> dict[str, str]:
    return {"what": what, "outcome": outcome, "detail": detail}


@pytest.mark.parametrize(
    ("checks", "outcome", "why"),
    [
        ([], "not_measured", "there was nothing to measure"),
        ([check("passed")], "passed", ""),
        ([check("passed"), check("not_measured", "c", "no GPU")], "passed", "c: no GPU"),
        (
            [check("not_measured", "c", "no GPU"), check("not_measured", "d", "no GPU")],
            "not_measured",
            "c, d: no GPU",
        ),
        ([check("passed"), check("failed", "d", "wrong"), check("not_measured")], "failed", "d: wrong"),
    ],
)
def test_one_failure_fails_a_step_and_nothing_measured_is_no_success(
    checks: list[dict[str, str]], outcome: str, why: str
) -> None:
    assert judge({"checks": checks, "bars": []}) == (outcome, why)


def test_json_has_no_numbers_that_are_none() -> None:
    value = {"a": (1, float("nan")), 2: [np.float32(0.5), True, None]}
    assert plain(value) == {"a": [1, None], "2": [0.5, True, None]}
    json.dumps(plain(value), allow_nan=False)
