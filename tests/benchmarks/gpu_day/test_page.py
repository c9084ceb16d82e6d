"""The page: everything the file has, escaped, whatever state the run is in."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from gpu_day.page import page

STEP = {
    "name": "engine <b>", "does": "x", "outcome": "failed", "reason": "<script>alert(1)</script>", "limit_s": 5,
    "seconds": 1.25, "exit_code": 1,
    "checks": [{"what": "GPU", "outcome": "passed", "detail": "NVIDIA <H200>, compute capability 9.0"}],
    "bars": [{"name": "NMS", "rule": "value", "limit": 1, "unit": "ms", "measured": 2.0, "reference": None,
              "value": 2.0, "met": False, "why": "", "text": "NMS | 2.0 ms | - | - | at most 1 ms | NOT MET"}],
    "figures": {"a": "<i>"}, "last_words": "</pre><img src=x>",
}  # fmt: skip
WAITING = STEP | {
    "name": "later", "outcome": "waiting", "reason": "", "seconds": None, "checks": [], "bars": [], "figures": {},
    "last_words": "",
}  # fmt: skip
CONTENT: dict[str, Any] = {
    "edgedet": "0.1.0", "library": "tensorrt", "command": "gpu_day.sh in", "started": "then", "ended": None,
    "complete": False, "stopped_by": None, "exit_code": None, "budget_s": 520.0, "spent_s": 12.0,
    "inputs": {"sha256": "abc"}, "counts": {"failed": 1, "waiting": 1, "passed": 0}, "steps": [STEP, WAITING],
}  # fmt: skip


def test_everything_from_the_file_is_escaped() -> None:
    text = page(CONTENT)
    for raw in ("<script>alert", "<img src=x>", "<H200>", "<b>", "<i>"):
        assert raw not in text
    assert "&lt;script&gt;alert(1)" in text and "NVIDIA &lt;H200&gt;" in text
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text


def test_a_bar_is_shown_with_its_limit_and_verdict() -> None:
    text = page(CONTENT)
    assert "at most 1 ms" in text and '<span class="worse">FAILED</span>' in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Still running, or ended without a word"),
        ({"stopped_by": "SIGINT", "exit_code": 130}, "Stopped by SIGINT"),
        ({"complete": True, "exit_code": 0}, "Everything was measured, and passed."),
        ({"complete": True, "exit_code": 1}, "Something failed."),
        ({"complete": True, "exit_code": 3}, "Nothing could be measured."),
        ({"complete": True, "exit_code": 4}, "the rest was not measured"),
    ],
)
def test_it_says_how_the_run_ended(changes: dict[str, Any], said: str) -> None:
    assert said in page(copy.deepcopy(CONTENT) | changes)


def test_no_gpu_and_no_figures_are_said() -> None:
    text = page(CONTENT | {"steps": [WAITING]})
    assert "no GPU was found" in text and "None was measured" in text
