"""The report's choice, its frontier, its tables, and that nothing unmeasured passes for measured."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgedet.bench.measured_parts import BenchResult, MeasuredArtifact
from edgedet.bench.result import write_result
from edgedet.cli import main
from edgedet.evaluate.result import EvaluationResult
from edgedet.missing_figures import not_measured
from edgedet.report.choose import Budget, choose, pareto_front
from edgedet.report.collect import Row, collect
from edgedet.report.plot import pareto_svg
from edgedet.report.sections import precision_drops
from edgedet.report.tables import csv_text, markdown_text
from edgedet.sweep.grid import Setting
from tests.edgedet.report.results import bench, load, write_done, write_sweep


def row(name: str, milliseconds: float, score: float | None, watts: float | None = None) -> Row:
    (entry,) = bench(name, milliseconds, architecture="arch")["artifacts"]
    entry["latency"] |= {rank: milliseconds for rank in ("p50", "p90", "p95", "p99", "max")}
    entry["energy"] = not_measured("no monitor")
    if watts is not None:
        entry["energy"] = {"source": "x", "covers": "all", "watts": {"total": watts}, "idle_watts": {}}
        entry["energy"] |= {"joules_per_frame": None}
    accuracy = EvaluationResult(missing="no labels") if score is None else EvaluationResult(map=score)
    return Row(
        name=name,
        architecture="arch",
        precision="fp32",
        size=(320, 320),
        sha256=name,
        bytes=1,
        artifact=MeasuredArtifact.from_json(entry),
        accuracy=accuracy,
    )


ROWS = [
    row("tiny", 5, 0.30, 3.0),
    row("small", 10, 0.40, 4.0),
    row("dull", 12, 0.39, 4.0),
    row("large", 20, 0.50, 8.0),
    row("unlabelled", 1, None),
]


def test_the_frontier_has_no_row_that_another_beats_twice() -> None:
    assert [each.name for each in pareto_front(ROWS, "p90")] == ["tiny", "small", "large"]


def test_of_two_equally_accurate_rows_the_faster_is_on_the_frontier() -> None:
    assert [each.name for each in pareto_front([row("a", 9, 0.4), row("b", 8, 0.4)], "p50")] == ["b"]


@pytest.mark.parametrize(
    ("budget", "chosen", "runner_up"),
    [
        (Budget(milliseconds=15), "small", "dull"),
        (Budget(milliseconds=50), "large", "small"),
        (Budget(min_map=0.35), "small", "dull"),
        (Budget(watts=5.0), "small", "dull"),
        (Budget(milliseconds=11, watts=3.5), "tiny", None),
        (Budget(milliseconds=15, min_map=0.45), None, None),
        (Budget(milliseconds=10), "small", "tiny"),
        (Budget(watts=4.0), "small", "dull"),
        (Budget(min_map=0.50), "large", None),
    ],
)
def test_the_choice_is_the_best_inside_the_budget(
    budget: Budget, chosen: str | None, runner_up: str | None
) -> None:
    choice = choose(ROWS, budget)
    assert (choice.chosen and choice.chosen.name, choice.runner_up and choice.runner_up.name) == (chosen, runner_up)


def test_the_choice_says_why_with_figures() -> None:
    why = choose(ROWS, Budget(milliseconds=15)).why
    assert "small is the most accurate of 3 that keep the budget (p90 within 15 ms), out of 4 judged" in why
    assert "Runner-up: dull" in why
    assert "-0.010 mAP, +20% time" in why
    assert "outside the budget: large with mAP 0.500 (p90 20.0 ms)" in why
    none = choose(ROWS, Budget(milliseconds=15, min_map=0.45)).why
    assert "None of 4 keeps the budget" in none
    assert "Nearest: " in none


def test_a_budget_is_named_in_full() -> None:
    assert str(Budget(15, 5, 0.3, "p95")) == "p95 within 15 ms, at most 5 W, mAP of 0.3 or more"
    assert str(Budget()) == "no budget"


def test_a_choice_made_on_a_busy_machine_says_so() -> None:
    run = bench("small", 10.0, architecture="arch")
    run["during"]["others_cpu_share"] = 0.5
    busy = dataclasses.replace(ROWS[1], run=BenchResult.from_json(run))
    assert "measure it again, alone" in choose([busy], Budget(milliseconds=15)).why
    assert "measure it again" not in choose(ROWS, Budget(milliseconds=15)).why


def test_what_was_not_measured_cannot_be_chosen_and_is_named_with_its_reason() -> None:
    choice = choose(ROWS, Budget(milliseconds=15))
    assert choice.left_out == (("unlabelled", "accuracy not measured: no labels"),)
    powerless = choose([row("a", 5, 0.5), row("b", 6, 0.4)], Budget(watts=5))
    assert powerless.chosen is None
    assert {reason for _, reason in powerless.left_out} == {"power not measured: no monitor"}


def test_a_sweep_is_read_with_its_failures(tmp_path: Path) -> None:
    collection = collect([write_sweep(tmp_path)])
    assert len(collection.rows) == 11
    assert [failure.reason for failure in collection.failures] == ["the cell's process ended with signal 9"]
    order = [each.name for each in collection.rows if each.precision == "fp32" and "frcnn" in each.name]
    assert [name.split("-")[2] for name in order] == ["p4", "p50", "p150", "p300"]


def test_a_benchmark_and_an_evaluation_meet_by_the_artifacts_digest(tmp_path: Path) -> None:
    result = bench("a", 10.0, architecture="x")
    write_result(BenchResult.from_json(result), tmp_path / "bench.json")
    digest = result["artifacts"][0]["sha256"]
    evaluation = {"kind": "edgedet-eval", "version": 1, "sha256": digest, "map": 0.4}
    (tmp_path / "eval.json").write_text(json.dumps(evaluation))
    (tmp_path / "other.json").write_text(
        '{"kind": "edgedet-eval", "version": 1, "sha256": "0", "artifact": "b.trt"}'
    )
    alone = collect([tmp_path / "bench.json"]).rows[0]
    assert alone.map is None
    assert "edgedet eval --json" in alone.why_missing("accuracy")
    both = {each.name: each for each in collect(sorted(tmp_path.glob("*.json"))).rows}
    assert both["a"].map == 0.4
    assert both["b.trt"].latency("p50") is None
    assert "edgedet bench --json" in both["b.trt"].why_missing("latency")


def test_what_one_artifact_finds_is_not_what_two_find(tmp_path: Path) -> None:
    alone = bench("persons", 10.0, architecture="toy")
    both = json.loads(json.dumps(alone))
    both["artifacts"][0] |= {"name": "persons then hands", "then": "hands.onnx"}
    digest = alone["artifacts"][0]["sha256"]
    evaluation = {"kind": "edgedet-eval", "version": 1, "sha256": digest, "map": 0.4}
    paths = []
    for name, data in {"alone": alone, "both": both, "eval": evaluation}.items():
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(data))
    rows = {row.name: row for row in collect(paths).rows}
    assert rows["persons"].map == 0.4 and rows["persons then hands"].map is None
    assert "two artifacts were measured as one" in rows["persons then hands"].why_missing("accuracy")


def test_a_benchmark_of_a_cells_artifact_replaces_the_cells_own_as_far_as_it_goes(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep")
    result = bench("ssdlite-320x320-fp32", 20.0, architecture="ssdlite320_mobilenet_v3_large")
    result["artifacts"][0] |= {"cold": {"not_measured": "left out"}, "name": "other.onnx"}
    write_result(BenchResult.from_json(result), tmp_path / "turns.json")
    rows = {each.name: each for each in collect([sweep, tmp_path / "turns.json"]).rows}
    assert len(rows) == 11
    cell = rows["ssdlite-320x320-fp32"]
    assert cell.latency("p50") == pytest.approx(20.0, rel=0.02)
    assert cell.map == 0.457
    assert cell.artifact.cold.total == 180.0


def test_the_csv_has_full_figures_and_reasons_for_gaps(tmp_path: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(csv_text(collect([write_sweep(tmp_path)]).rows))))
    untrained = next(line for line in lines if line["name"] == "vgg16-fp32")
    assert untrained["map"] == ""
    assert "map: random weights" in untrained["not_measured"]
    assert "watts: no power monitor" in untrained["not_measured"]
    assert "proposals" not in untrained["not_measured"]
    assert float(untrained["p50_ms"]) == pytest.approx(900, rel=0.02)


def test_the_csv_is_in_the_units_of_its_titles(tmp_path: Path) -> None:
    write_result(BenchResult.from_json(bench("a", 20.0, architecture="x", watts=8.0)), tmp_path / "a.json")
    (line,) = csv.DictReader(io.StringIO(csv_text(collect([tmp_path / "a.json"]).rows)))
    figures = {key: float(line[key]) for key in ("watts", "millijoules", "rss_mib", "cold_ms", "file_mb")}
    assert figures == pytest.approx(
        {"watts": 8.0, "millijoules": 160.0, "rss_mib": 120.0, "cold_ms": 180.0, "file_mb": 5.0}
    )
    assert line["size"] == "320×240"  # width × height
    assert "device_mib: runs on the CPU" in line["not_measured"]


def test_the_markdown_marks_the_frontier_and_lists_what_failed(tmp_path: Path) -> None:
    collection = collect([write_sweep(tmp_path)])
    text = markdown_text(collection, choose(collection.rows, Budget(milliseconds=15)))
    assert "| **ssdlite-320x320-fp32** |" in text
    assert "| frcnn-320x240-p300-fp32 |" in text
    assert "- resnet50-800x600-p50-fp32: the cell's process ended with signal 9" in text
    assert "not measured" in text


class Page(HTMLParser):
    """Tags that stay open, addresses that would be fetched, and the text."""

    VOID = ("meta", "link", "img", "br", "hr", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset") and value]
        if tag not in self.VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_whole_and_carries_everything_inside(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep")
    out = tmp_path / "report.html"
    assert main(["report", str(sweep), "-o", str(out), "--budget-ms", "15"]) == 0
    page = Page(out.read_text())
    assert page.open == []
    assert all(address.startswith("data:") for address in page.addresses)
    assert sum(address.startswith("data:image/jpeg") for address in page.addresses) == 3
    text = " ".join(page.words)
    for words in (
        "ssdlite-320x320-fp32",
        "budget 15 ms",
        "random weights",
        "signal 9",
        "image 0: 2 of 5 found",
        "--proposals 4,50,150,300",
        "--untrained vgg16.pt",
        "outliers",
        "40 of 50 layers in int8",
    ):
        assert words in text
    for suffix in (".csv", ".md", ".png"):
        assert out.with_suffix(suffix).stat().st_size > 100


def test_the_budget_is_a_line_in_the_plot_at_its_place() -> None:
    def line(budget: Budget) -> list[float]:
        found = re.findall(r'<line class="budget" x1="([\d.]+)"', pareto_svg(ROWS[:4], budget, None))
        return [float(x) for x in found]

    ((tight,), (loose,)) = line(Budget(milliseconds=10)), line(Budget(milliseconds=18))
    assert tight < loose
    assert line(Budget(min_map=0.3)) == []


def test_what_a_lower_precision_cost_and_bought() -> None:
    base = row("a", 20, 0.40)
    worse = dataclasses.replace(row("b", 10, 0.38), precision="int8", bytes=1)
    base = dataclasses.replace(base, bytes=4)
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", precision_drops([base, worse]))
    assert cells == ["b", "0.400", "0.380", "-0.020", "20.00", "10.00", "2.00", "25%"]
    tones = re.findall(r'<td class="(better|worse)"', precision_drops([base, worse]))
    assert tones == ["worse", "better"]


def test_the_page_repeats_the_command_it_came_from(tmp_path: Path) -> None:
    sweep, out = str(write_sweep(tmp_path / "sweep")), str(tmp_path / "report.html")
    words = [
        "--budget-ms",
        "15",
        "--budget-watts",
        "5.5",
        "--min-map",
        "0.3",
        "--percentile",
        "p50",
        "--title",
        "Ours",
    ]
    main(["report", sweep, "-o", out, *words])
    text = Path(out).read_text()
    assert " ".join(words) in text
    assert "device memory: runs on the CPU (all)" in text


def test_names_from_files_cannot_become_markup(tmp_path: Path) -> None:
    setting = Setting('<script>alert("x")</script>.pt')
    (tmp_path / "cells").mkdir()
    write_done(tmp_path, dataclasses.replace(setting, source="x.pt"), 10.0, 0.4, architecture='"><img src=x>')
    cell = next((tmp_path / "cells").glob("*.json"))
    data = load(cell)
    data["label"] = "<script>alert(1)</script>"
    cell.write_text(json.dumps(data))
    out = tmp_path / "report.html"
    assert main(["report", str(tmp_path), "-o", str(out), "--budget-ms", "15"]) == 0
    text = out.read_text()
    assert "<script>alert" not in text
    assert "<img src=x>" not in text


def test_a_budget_that_nothing_keeps_fails_and_no_budget_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, out = str(write_sweep(tmp_path)), str(tmp_path / "report.html")
    assert main(["report", sweep, "-o", out, "--budget-ms", "1"]) == 1
    assert "None of 10 keeps the budget" in capsys.readouterr().out
    assert main(["report", sweep, "-o", out]) == 0
    assert main(["report", sweep, "-o", out, "--budget-watts", "5"]) == 1
    assert "no artifact has all the figures" in capsys.readouterr().out


def test_mistakes_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "empty").mkdir()
    for files, words in (
        ([str(tmp_path / "none.json")], "cannot read"),
        ([str(tmp_path / "list.json")], "no result of edgedet"),
        ([str(tmp_path / "empty")], "no result in"),
        ([str(tmp_path / "list.json"), "-o", "report.pdf"], "does not end in .html"),
        ([str(tmp_path / "list.json"), "--budget-ms", "0"], "--budget-ms"),
    ):
        assert main(["report", *files]) == 2
        assert words in capsys.readouterr().err
