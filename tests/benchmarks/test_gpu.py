"""benchmarks/gpu.py: every bar is printed and written, also where nothing can be measured."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgedet.errors import UsageError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bars() -> Any:
    """The module, which is a neighbour of a script and in no package."""
    spec = importlib.util.spec_from_file_location("gpu_bars", BENCHMARKS / "gpu_bars.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_bars"] = module
    spec.loader.exec_module(module)
    return module


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
def test_a_bar_is_met_or_not(bars: Any, rule: str, limit: float, measured: float, reference: Any, met: Any) -> None:  # noqa: PLR0917
    bar = bars.Bar("NMS", rule, limit, measured=measured, reference=reference)
    assert bar.met is met
    line = str(bar).split(" | ")
    assert len(line) == 6 and line[0] == "NMS"
    assert line[-1] == {True: "met", False: "NOT MET", None: "not measured: "}[met]


def test_a_figure_without_its_reference_is_not_judged(bars: Any) -> None:
    bar = bars.Bar("NMS", "faster", 2, measured=1.25, why="no torchvision")
    assert str(bar) == "NMS | 1.2500 ms | - | - | at least 2 x faster | not measured: no torchvision"
    assert bar.to_dict()["met"] is None and bar.to_dict()["measured"] == 1.25


def test_what_breaks_half_way_keeps_what_was_measured(bars: Any) -> None:
    first, second = (bars.Bar(name, "value", 1) for name in ("first", "second"))

    def work() -> Iterator[Any]:
        yield replace(first, measured=0.5)
        raise UsageError("the second\ncannot be")

    done = list(bars.attempt([first, second], work))
    assert [(bar.name, bar.met, bar.why) for bar in done] == [
        ("first", True, ""),
        ("second", None, "the second cannot be"),
    ]


def test_without_a_gpu_every_bar_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu.py", "mine.trt", "--json", tmp_path / "figures.json"],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    heading, *lines, total = done.stdout.splitlines()
    assert heading == "bar | measured | against | ratio | limit | met"
    assert all("| not measured: CUDA " in line for line in lines)
    for bar in ("pre + post", "NMS of 8,400 x 80", "end-to-end of mine.trt", "mAP of SSDLite int8",
                "Faster R-CNN fp16, frame on the host (against torchvision eager, fp32)"):  # fmt: skip
        assert any(line.startswith(bar) for line in lines), bar
    assert total.startswith(f"0 met, 0 not met, {len(lines)} not measured")
    assert len(json.loads((tmp_path / "figures.json").read_text())["bars"]) == len(lines)
