"""What an application can bear, as columns and budgets of the report."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgedet.bench.measured_parts import BenchResult
from edgedet.bench.result import write_result
from edgedet.budget_limits import LIMITS, Limit
from edgedet.cli import main
from edgedet.evaluate.application_result import BY_HOUR, FIGURES, ApplicationResult
from edgedet.evaluate.result import EvaluationResult
from edgedet.report.choose import Budget, choose
from edgedet.report.collect import Row
from edgedet.report.columns import COLUMNS, shown_columns
from edgedet.report.sections import table
from edgedet.report.tables import csv_text, markdown_text
from tests.edgedet.report.results import bench
from tests.edgedet.report.test_report import row

LIMIT = {limit.key: limit for limit in LIMITS}


def counted(value: float | None, high: float | None = None) -> dict[str, Any]:
    return {"value": value, "interval": [0, high], "absent": {} if value is not None else {"value": "no video"}}


def judged(
    alarms: float, *, p90: float | None = 0.2, high: float = 0.0, by: str = "each frame by itself", visits: int = 4
) -> dict[str, Any]:
    """An evaluation's object."""
    delay = {"visits": visits, "p50": 0.1, "p90": p90, "p50_interval": [0.1, 0.2], "p90_interval": [0.1, None]}
    if not visits:
        delay |= {"p50": None, "p90": None, "absent": {"p90": "no object comes into view in the clips"}}
    return {
        "kind": "edgedet-eval",
        "version": 1,
        "map": 0.4,
        "per_image": {"misses": counted(0.1, 0.2), "false_alarms": counted(None), "false_boxes": counted(0.5, 0.6)},
        "clips": {
            "by": by,
            "false_alarms_per_hour": counted(alarms, max(high, alarms)),
            "misses_per_hour": counted(2.0, 3.0),
            "delay": delay,
        },
        "alerts": None,
    }


def rated(name: str, milliseconds: float, data: dict[str, Any]) -> Row:
    return replace(row(name, milliseconds, 0.4), accuracy=EvaluationResult.from_json(data))


def per_hour(most: float) -> tuple[tuple[Limit, float], ...]:
    return ((LIMIT["false_alarms_per_hour"], most),)


QUIET, LOUD = rated("quiet", 20, judged(0.5)), rated("loud", 5, judged(30.0))
STILLS = row("stills", 1, 0.9)


def test_figures_of_a_file_with_their_bounds_and_reasons() -> None:
    result = ApplicationResult.from_json(judged(0.5, high=4.0))
    assert set(result.figures) == set(FIGURES) and result.by == "each frame by itself"
    assert (result.figures["false_alarms_per_hour"].value, result.figures["false_alarms_per_hour"].high) == (
        0.5,
        4.0,
    )
    assert (result.figures["delay_p90"].value, result.figures["delay_p90"].high) == (0.2, math.inf)
    assert result.figures["false_alarms"].reason == "no video"
    assert "earlier edgedet" in result.figures["missed_objects"].reason
    assert ApplicationResult.from_json(judged(1, p90=None)).figures["delay_p90"].value == math.inf
    empty = ApplicationResult.from_json(judged(1, visits=0))
    assert empty.figures["delay_p90"].reason == "no object comes into view in the clips"
    assert empty.figures["misses_per_hour"].value is None and empty.figures["false_alarms_per_hour"].value == 1
    stills = ApplicationResult.from_json({"clips": None, "absent": {"clips": "no frames"}})
    assert {stills.figures[name].reason for name in BY_HOUR} == {"no frames"} and stills.by is None


def test_alerts_go_before_each_frame_by_itself() -> None:
    data = judged(30.0)
    data["alerts"] = judged(0.25, by="3/5 frames of one track")["clips"]
    result = ApplicationResult.from_json(data)
    assert (result.figures["false_alarms_per_hour"].value, result.by) == (0.25, "3/5 frames of one track")


def test_a_budget_of_false_alarms_leaves_out_the_loud_and_the_unmeasured() -> None:
    choice = choose([QUIET, LOUD, STILLS], Budget(limits=per_hour(1)))
    assert choice.chosen is QUIET and choice.runner_up is None
    assert "keep the budget (at most 1 false alarms an hour)" in choice.why
    assert "mAP 0.400, p90 20.0 ms, 0.5 false alarms an hour" in choice.why
    ((name, reason),) = choice.left_out
    assert name == "stills" and reason.startswith("false alarms/h not measured: ")
    assert choose([QUIET, LOUD], Budget(limits=per_hour(100))).chosen is LOUD
    assert choose([QUIET, LOUD], Budget(limits=per_hour(0.5))).chosen is QUIET
    none = choose([LOUD], Budget(limits=per_hour(1)))
    assert none.chosen is None and "it has 30 false alarms an hour" in none.why


def test_a_delay_without_end_keeps_no_budget() -> None:
    blind = rated("blind", 1, judged(0, p90=None))
    choice = choose([QUIET, blind], Budget(limits=((LIMIT["delay_p90"], 10.0),)))
    assert choice.chosen is QUIET
    assert "a delay without end" in choose([blind], Budget(limits=((LIMIT["delay_p90"], 10.0),))).why


def test_what_the_interval_leaves_open_is_said() -> None:
    unsure = rated("unsure", 5, judged(0.0, high=3.69))
    assert "is not certain: the 95 % interval reaches 3.69" in choose([unsure], Budget(limits=per_hour(1))).why
    assert "not certain" not in choose([unsure], Budget(limits=per_hour(4))).why
    assert "reaches without end" in choose([QUIET], Budget(limits=((LIMIT["delay_p90"], 10.0),))).why


def test_alarms_that_were_not_counted_alike_are_said() -> None:
    ruled = rated("ruled", 6, judged(0.2, by="3/5 frames of one track"))
    why = choose([QUIET, ruled], Budget(limits=per_hour(1))).why
    assert "Alarms are not counted alike" in why and "ruled: 3/5 frames of one track" in why
    assert "not counted alike" not in choose([QUIET, LOUD], Budget(limits=per_hour(1))).why
    assert "not counted alike" not in choose([QUIET, ruled], Budget(limits=((LIMIT["misses"], 1.0),))).why


def test_columns_are_there_where_any_row_has_them_and_say_why_others_have_not() -> None:
    assert not any(column.optional for column in shown_columns([STILLS]))
    titles = [column.title for column in shown_columns([QUIET, STILLS])]
    assert {"misses", "false alarms/h", "delay p90 s", "alarms by"} < set(titles) and "false alarms" not in titles
    (_, stills) = csv.DictReader(io.StringIO(csv_text([QUIET, STILLS])))
    assert stills["false_alarms_per_hour"] == "" and "false_alarms_per_hour: " in stills["not_measured"]
    page = table([rated("blind", 1, judged(0, p90=None))], choose([], Budget()))
    assert 'data-value="Infinity">never</td>' in page


def test_every_limit_is_a_column_an_option_and_a_figure() -> None:
    titles = {column.title for column in COLUMNS}
    assert {limit.title for limit in LIMITS} <= titles
    assert {limit.key for limit in LIMITS} <= set(FIGURES)


def test_the_command_takes_budgets_and_its_page_repeats_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for name, alarms, milliseconds in (("quiet", 0.5, 20.0), ("loud", 30.0, 5.0)):
        result = bench(name, milliseconds, architecture="x")
        write_result(BenchResult.from_json(result), tmp_path / f"{name}.json")
        (tmp_path / f"{name}.eval.json").write_text(
            json.dumps(judged(alarms) | {"sha256": result["artifacts"][0]["sha256"]})
        )
        files += [str(tmp_path / f"{name}.json"), str(tmp_path / f"{name}.eval.json")]
    out = tmp_path / "report.html"
    words = ["--max-misses", "0.2", "--max-false-alarms-per-hour", "1", "--max-delay", "0"]
    assert main(["report", *files, "-o", str(out), *words[:4]]) == 0
    assert "quiet is the fastest of 1" in capsys.readouterr().out
    assert " ".join(words[:4]) in out.read_text()
    assert "| false alarms/h |" in out.with_suffix(".md").read_text()
    assert main(["report", *files, "-o", str(out), *words]) == 1
    assert "s of delay (p90)" in capsys.readouterr().out
    for wrong, told in ((["--max-misses", "2"], "from 0 to 1"), (["--max-delay", "-1"], "at least 0")):
        assert main(["report", *files, "-o", str(out), *wrong]) == 2
        assert told in capsys.readouterr().err


def test_the_table_for_repositories_has_the_figures(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(judged(0.5) | {"artifact": "a.onnx"}))
    from edgedet.report.collect import collect

    collection = collect([tmp_path / "a.json"])
    text = markdown_text(collection, choose(collection.rows, Budget()))
    assert "| misses | false alarms/h | delay p90 s |" in text and "| 10.0% | 0.5 | 0.20 |" in text
