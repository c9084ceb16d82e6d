"""What the report says is not there is not there, and what it shows is."""

from __future__ import annotations

import copy
import dataclasses
import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from edgedet.bench.latency import Series
from edgedet.bench.measured_latency import Stages
from edgedet.cli import main
from edgedet.missing_figures import NotMeasured, not_measured
from edgedet.report.choose import Budget, choose
from edgedet.report.collect import collect
from edgedet.report.int8_section import sensitivity
from edgedet.report.plot import pareto_svg
from edgedet.report.sections import precision_drops, stage_bars
from edgedet.report.tables import markdown_text
from edgedet.sweep.grid import Setting
from tests.edgedet.report.results import bench, load, write_done
from tests.edgedet.report.test_report import row


def page(tmp_path: Path, *results: dict[str, Any], budget: tuple[str, ...] = ()) -> str:
    for number, result in enumerate(results):
        (tmp_path / f"{number}.json").write_text(json.dumps(result))
    out = tmp_path / "report.html"
    assert main(["report", *map(str, sorted(tmp_path.glob("*.json"))), "-o", str(out), *budget]) in (0, 1)
    return unescape(out.read_text())


def test_an_int8_artifact_whose_card_is_elsewhere_is_not_denied(tmp_path: Path) -> None:
    text = page(tmp_path, bench("small.onnx", 10.0, architecture="x", precision="int8"))
    assert "none of the artifacts is int8" not in text
    assert "Not among the files for small.onnx" in text and "edgedet inspect" in text
    assert sensitivity([row("a", 1, 0.5)]) == "<p>Not measured: none of the artifacts is int8.</p>"


def cell(tmp_path: Path, **report: Any) -> str:
    setting = Setting("a.pt", precision="int8")
    write_done(tmp_path, setting, 10.0, 0.4, architecture="x")
    (path,) = (tmp_path / "cells").glob("*.json")
    data = load(path)
    data["export"]["card"]["measured"]["int8"] |= report
    path.write_text(json.dumps(data))
    out = tmp_path / "report.html"
    assert main(["report", str(tmp_path), "-o", str(out)]) == 0
    return unescape(out.read_text())


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    (tmp_path / "cells").mkdir()
    return tmp_path


def test_int8_that_was_not_judged_has_no_judge(cells: Path) -> None:
    why = "the fp32 graph finds nothing that scores 0.3 or more in 8 calibration images"
    text = cell(
        cells,
        before=None,
        after=None,
        losses={"a": None, "b": None},
        absent={"before": why, "after": why, "losses": "nothing is found"},
    )
    assert f"not judged: {why}" in text and "judged by mAP" not in text
    assert "Not measured layer by layer: nothing is found" in text and "None" not in text.split("<script>")[0]


def test_int8_that_was_judged_says_by_what_it_was_calibrated_and_judged(cells: Path) -> None:
    text = cell(cells, before=0.457, after=0.455, losses={"features.0": 0.02, "features.1": None})
    assert "calibrated on 100 images; judged by mAP at export (0.457 in fp32, 0.455 so)" in text
    assert "2.00%" in text


def test_cards_of_earlier_versions_are_read(cells: Path) -> None:
    text = cell(cells)
    assert "40 of 50 layers in int8, 90% of the multiply-adds; calibrated on 100 images; judged by mAP" in text


def test_int8_that_was_left_in_float_is_not_called_int8(cells: Path) -> None:
    text = cell(cells, layers_int8=0, macs_int8=0.0)
    assert "int8, left in float" in text and "0 of 50 layers in int8, all was left in float" in text


def test_every_gap_of_the_table_is_among_what_was_not_measured(tmp_path: Path) -> None:
    result = bench("a.onnx", 10.0, architecture="x")
    artifact = result["artifacts"][0]
    short = Series(warmup={"frames": 5, "seconds": 1.0, "settled": True, "median_s": 0.01})
    short.blocks = copy.deepcopy(artifact["latency"]["blocks"][:1])
    artifact["latency"] = short.describe()
    artifact["cold"] = artifact["memory"] = not_measured("left out on request (--cold-starts 0)")
    text = page(tmp_path, result).split("<h2>Not measured</h2>")[1]
    assert "accuracy: no evaluation of this artifact was among the files" in text
    assert "latency: 100 frames are needed, 12 ran (all)" in text
    assert "cold start: left out on request (--cold-starts 0) (all)" in text
    assert "host memory: left out on request" in text and "power: no power monitor" in text
    assert "Everything in the table was measured" not in text


def test_an_evaluation_alone_is_not_said_to_have_rails_or_frames(tmp_path: Path) -> None:
    evaluation = {
        "kind": "edgedet-eval",
        "version": 1,
        "sha256": "0",
        "artifact": "b.trt",
        "map": None,
        "ap50": None,
        "absent": {"map": "no object of the judged classes", "ap50": "no object of the judged classes"},
    }
    text = page(tmp_path, evaluation, budget=("--min-map", "0.3"))
    assert "no rail covers the whole" not in text and "too few frames" not in text
    assert "accuracy: no object of the judged classes" in text
    assert "power: no benchmark of this artifact was among the files" in text
    assert "mAP 0.000" not in text
    old = {key: value for key, value in evaluation.items() if key != "absent"}
    assert "the evaluation gave no figure" in page(tmp_path, old)


def test_a_percentile_that_few_frames_cannot_tell_is_named_by_the_plot_and_the_choice() -> None:
    whole = row("a", 10, 0.4)
    assert whole.artifact is not None
    latency = dataclasses.replace(whole.artifact.latency, p99=None, absent={"p99": "100 frames are needed, 50 ran"})
    short = dataclasses.replace(whole, artifact=dataclasses.replace(whole.artifact, latency=latency))
    drawn = pareto_svg([short], Budget(percentile="p99"), None)
    assert drawn == "<p>No p99 latency was measured: 100 frames are needed, 50 ran.</p>"
    choice = choose([short], Budget(milliseconds=15, percentile="p99"))
    assert choice.chosen is None
    assert choice.left_out == (("a", "p99 not measured: 100 frames are needed, 50 ran"),)


def staged(name: str, capture: Any, part: float = 1.0) -> Any:
    made = row(name, 10, 0.4)
    stages = Stages(pre=part, run=part, post=part, between=0.0, capture=capture)
    return dataclasses.replace(made, artifact=dataclasses.replace(made.artifact, stages=stages))


def test_how_long_frames_took_to_read_is_told_for_each_that_knows() -> None:
    synthetic, real = staged("a", NotMeasured("synthetic frames are not captured")), staged("b", 3.0)
    text = stage_bars([synthetic, real])
    assert "not measured, synthetic frames are not captured (a); 3.00 ms (b)" in text
    assert "before the latency begins: 3.00 ms." in stage_bars([real, staged("c", 3.0)])


def test_stages_that_took_no_time_at_all_divide_nothing() -> None:
    assert "width:0.000%" in stage_bars([staged("a", 3.0, part=0.0)])


def test_of_two_fp32_twins_neither_is_taken_for_the_one() -> None:
    twins = [row("a", 20, 0.4), row("b", 20, 0.3)]
    lower = dataclasses.replace(row("c", 10, 0.29), precision="int8")
    text = precision_drops([*twins, lower])
    assert "which of a, b is the fp32 of c is not known" in text and "no artifact is there both" not in text
    both = precision_drops([twins[0], lower, dataclasses.replace(row("d", 9, 0.28), precision="int8")])
    assert ">c<" in both and ">d<" in both, "two of one precision are both shown"
    assert "no artifact is there both in fp32" in precision_drops([twins[0]])


def test_drawn_images_that_were_moved_are_not_denied(cells: Path) -> None:
    write_done(cells, Setting("a.pt"), 10.0, 0.4, architecture="x", worst=True)
    for path in (cells / "worst").iterdir():
        path.unlink()
    out = cells / "report.html"
    assert main(["report", str(cells), "-o", str(out)]) == 0
    text = out.read_text()
    assert "Drawn, but not found here any more" in text and "No drawn images are among the files" not in text


def test_the_markdown_gives_the_reason_of_every_gap_it_shows(tmp_path: Path) -> None:
    result = bench("a.onnx", 10.0, architecture="x")
    latency = result["artifacts"][0]["latency"]
    latency |= {"p95": None, "absent": {"p95": "20 frames are needed, 12 ran"}}
    (tmp_path / "a.json").write_text(json.dumps(result))
    collection = collect([tmp_path / "a.json"])
    text = markdown_text(collection, choose(collection.rows, Budget()))
    assert "- latency: 20 frames are needed, 12 ran" in text and "- power: no power monitor" in text


def test_load_that_nobody_counted_is_not_said_to_be_none(tmp_path: Path) -> None:
    result = bench("a.onnx", 10.0, architecture="x")
    result["during"] |= {"others_cpu_share": None, "absent": {"others_cpu_share": "not counted here"}}
    assert "what other processes used: not counted here" in page(tmp_path, result)


def test_a_cell_whose_benchmark_is_damaged_is_refused_in_one_line(
    cells: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_done(cells, Setting("a.pt"), 10.0, 0.4, architecture="x")
    (path,) = (cells / "cells").glob("*.json")
    data = load(path)
    del data["bench"]["machine"]["cpu"]
    path.write_text(json.dumps(data))
    assert main(["report", str(cells), "-o", str(cells / "report.html")]) == 2
    complaint = capsys.readouterr().err
    assert "'cpu' is not there" in complaint and complaint.count("\n") == 1 and "unexpected" not in complaint
