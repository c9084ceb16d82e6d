"""A sweep's grid, and that no finished cell is repeated or lost whatever happens."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edgedet.bench.latency import Rules
from edgedet.cli import main
from edgedet.cli.sweep import _tell
from edgedet.errors import UsageError
from edgedet.report.collect import collect
from edgedet.sweep.cell import _export, run_cell, write_cell
from edgedet.sweep.cell import main as cell_main
from edgedet.sweep.grid import Job, Setting, cell_key, grid, job_from_json, setting_from_json
from edgedet.sweep.runner import SweepSummary, run_sweep

if TYPE_CHECKING:
    from edgedet.export.options import ExportOptions, ExportReport

OUTCOME = {"status": "done", "reason": None}


def settings_of(folder: Path, count: int) -> list[Setting]:
    source = folder / "model.pt"
    source.write_bytes(b"weights")
    return [Setting(str(source), proposals=number + 1) for number in range(count)]


class Cells:
    """Stands in for the cells' processes; counts them, and dies where it is told to."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.ran: list[int] = []
        self.dies_at = dies_at

    def __call__(self, request: Path) -> subprocess.CompletedProcess[str]:
        asked = json.loads(request.read_text())
        setting, job = setting_from_json(asked["setting"]), job_from_json(asked["job"])
        assert setting.proposals is not None
        self.ran.append(setting.proposals)
        if len(self.ran) - 1 == self.dies_at:
            Path(asked["result"]).with_name(".half.partial.json").write_text('{"kind":')
            raise KeyboardInterrupt
        if setting.proposals == 3:
            return subprocess.CompletedProcess([], -9, "", "loading\nout of memory\n")
        write_cell(Path(asked["result"]), asked["key"], setting, job, {"status": "done", "reason": None})
        return subprocess.CompletedProcess([], 0, "", "")


def test_the_grid_has_every_combination_once_and_proposals_only_where_there_are_any() -> None:
    cells = grid(
        [("ssd.pt", "trained"), ("frcnn.pt", "untrained")],
        imgsz=[(320, 320), (224, 224)],
        proposals=[4, 50, 50],
        precisions=["fp32", "int8"],
        has_proposals=lambda source: source == "frcnn.pt",
    )
    assert len(cells) == len(set(cells)) == 2 * 2 + 2 * 2 * 2
    assert {cell.proposals for cell in cells if cell.source == "ssd.pt"} == {None}
    assert {cell.weights for cell in cells if cell.source == "frcnn.pt"} == {"untrained"}


def test_the_key_changes_with_everything_that_changes_the_result_and_with_nothing_else() -> None:
    setting, job = Setting("a/model.pt", imgsz=(320, 320)), Job(eval="data:test")
    key = cell_key(setting, job, "digest")
    assert key == cell_key(dataclasses.replace(setting, source="b/model.pt"), job, "digest")
    assert key.startswith("model-320x320-fp32-")
    others = [
        cell_key(dataclasses.replace(setting, precision="int8"), job, "digest"),
        cell_key(dataclasses.replace(setting, conf=0.3), job, "digest"),
        cell_key(setting, dataclasses.replace(job, eval="data:val"), "digest"),
        cell_key(setting, dataclasses.replace(job, rules=dataclasses.replace(job.rules, seconds=6.0)), "digest"),
        cell_key(setting, job, "another"),
    ]
    assert len({key, *others}) == 6


def test_settings_and_jobs_survive_json() -> None:
    setting, job = Setting("a.pt", imgsz=(240, 320), conf=0.5), Job(classes=("a", "b"), frame_size=(640, 480))
    assert setting_from_json(json.loads(json.dumps(dataclasses.asdict(setting)))) == setting
    assert job_from_json(json.loads(json.dumps(dataclasses.asdict(job)))) == job


@pytest.mark.parametrize("killed_at", range(6))
def test_a_sweep_killed_anywhere_goes_on_where_it_was(tmp_path: Path, killed_at: int) -> None:
    settings = settings_of(tmp_path, 6)
    first, second = Cells(dies_at=killed_at), Cells()
    with pytest.raises(KeyboardInterrupt):
        run_sweep(settings, Job(), tmp_path / "out", run=first)
    summary = run_sweep(settings, Job(), tmp_path / "out", run=second)
    assert first.ran[:-1] + second.ran == [1, 2, 3, 4, 5, 6]
    assert (summary.done, summary.failed, summary.fresh) == (5, 1, 6 - killed_at)
    third = Cells()
    assert run_sweep(settings, Job(), tmp_path / "out", run=third).fresh == 0
    assert third.ran == []


def test_a_crashed_cell_is_recorded_with_its_last_words_and_retried_on_request(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 4)
    told: list[str] = []
    run_sweep(settings, Job(), tmp_path / "out", run=Cells(), told=lambda cell: told.append(cell["status"]))
    assert told == ["done", "done", "failed", "done"]
    (failed,) = (
        data
        for path in (tmp_path / "out" / "cells").glob("*.json")
        if (data := json.loads(path.read_text()))["status"] == "failed"
    )
    assert "signal 9" in failed["reason"]
    assert "out of memory" in failed["reason"]
    again = Cells()
    run_sweep(settings, Job(), tmp_path / "out", run=again, failed="retry")
    assert again.ran == [3]


def test_a_damaged_result_is_measured_again(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 2)
    run_sweep(settings, Job(), tmp_path / "out", run=Cells())
    next((tmp_path / "out" / "cells").glob("*p1-*.json")).write_text('{"kind": "edgedet-cell", "sta')
    again = Cells()
    run_sweep(settings, Job(), tmp_path / "out", run=again)
    assert again.ran == [1]


def test_progress_counts_what_is_left_to_do(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 4)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(settings, Job(), tmp_path / "out", run=Cells(dies_at=1))
    seen: list[tuple[int, int | None]] = []
    run_sweep(
        settings,
        Job(),
        tmp_path / "out",
        run=Cells(),
        progress=lambda stage, done, total: seen.append((done, total)),
    )
    assert seen == [(0, 3), (1, 3), (2, 3)]


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file: .*none\.pt"):
        run_sweep([Setting(str(tmp_path / "none.pt"))], Job(), tmp_path / "out")


def test_a_cell_whose_export_fails_writes_the_reason(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    source, result = tmp_path / "model.pt", tmp_path / "result.json"
    source.write_bytes(b"this is no checkpoint")
    (tmp_path / "artifacts").mkdir()
    request = {
        "key": "k",
        "setting": dataclasses.asdict(Setting(str(source))),
        "job": dataclasses.asdict(Job()),
        "folder": str(tmp_path),
        "result": str(result),
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    assert cell_main(str(tmp_path / "request.json")) == 0
    cell = json.loads(result.read_text())
    assert cell["status"] == "failed"
    assert "model.pt" in cell["reason"]


KILLED = """
import sys, time, json, subprocess
from pathlib import Path
from edgedet.sweep.cell import run_cell, write_cell
from edgedet.sweep.grid import Job, Setting, setting_from_json, job_from_json
from edgedet.sweep.runner import run_sweep

folder = Path(sys.argv[1])
OUTCOME = {"status": "done", "reason": None, "pad": "x" * 200000}

def run(request):
    asked = json.loads(request.read_text())
    time.sleep(0.03)
    with open(folder / "log", "a") as log:
        log.write(asked["key"] + "\\n")
    setting, job = setting_from_json(asked["setting"]), job_from_json(asked["job"])
    write_cell(Path(asked["result"]), asked["key"], setting, job, OUTCOME)
    return subprocess.CompletedProcess([], 0, "", "")

settings = [Setting(str(folder / "model.pt"), proposals=number) for number in range(12)]
run_sweep(settings, Job(), folder / "out", run=run)
"""


def test_a_real_kill_repeats_no_finished_cell_and_loses_none(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"weights")
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    finished_before: dict[str, float] = {}
    cells = tmp_path / "out" / "cells"
    for _ in range(3):
        process = subprocess.Popen(command, env=os.environ | {"PYTHONUNBUFFERED": "1"})
        target = len(finished_before) + 2
        while process.poll() is None and len(list(cells.glob("[!.]*.json"))) < target:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = {path.name: path.stat().st_mtime_ns for path in cells.glob("[!.]*.json")}
        assert now.items() >= finished_before.items(), "a finished cell was lost or measured again"
        finished_before = now
    subprocess.run(command, check=True)
    final = {path.name: path.stat().st_mtime_ns for path in cells.glob("[!.]*.json")}
    assert final.items() >= finished_before.items()
    assert len(final) == 12
    assert all(json.loads((cells / name).read_text())["status"] == "done" for name in final)


def exporting(monkeypatch: pytest.MonkeyPatch, made: ExportReport) -> list[ExportOptions]:
    """Cells get this export instead of one of their own; what they asked for is kept."""
    asked: list[ExportOptions] = []

    def export(source: str, target: Path, options: ExportOptions) -> ExportReport:
        asked.append(options)
        shutil.copyfile(made.path, target)
        return dataclasses.replace(made, path=target)

    monkeypatch.setattr("edgedet.export.pipeline.export_model", export)
    return asked


def test_a_cell_from_graph_to_figures(
    shared: Path, tmp_path: Path, sample_export: ExportReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = exporting(monkeypatch, sample_export)
    source = shared / "models" / "ssdlite320_mobilenet_v3_large_bccd.pt"
    bccd, few = shared / "data" / "bccd", tmp_path / "bccd"
    names = (bccd / "ImageSets" / "Main" / "test.txt").read_text().split()[:4]
    (few / "ImageSets" / "Main").mkdir(parents=True)
    (few / "ImageSets" / "Main" / "test.txt").write_text("\n".join(names))
    for folder, suffix in (("Annotations", ".xml"), ("JPEGImages", ".jpg")):
        (few / folder).mkdir()
        for name in names:
            (few / folder / f"{name}{suffix}").symlink_to(bccd / folder / f"{name}{suffix}")
    rules = Rules(warmup_frames=2, warmup_seconds=0.01, frames=5, seconds=0.1, max_seconds=0.3)
    job = Job(eval=f"{few}:test", rules=rules, cold_starts=0, guard="guard:val", calib="photos")
    (tmp_path / "out" / "artifacts").mkdir(parents=True)
    outcome = run_cell(Setting(str(source)), job, "cell", tmp_path / "out")
    write_cell(tmp_path / "out" / "cells" / "cell.json", "cell", Setting(str(source)), job, OUTCOME | outcome)
    (row,) = collect([tmp_path / "out"]).rows
    assert row.map is not None
    assert row.map > 0.3
    assert row.latency("p50") is not None
    assert all(Path(entry.drawn).is_file() for entry in row.accuracy.worst)
    assert row.run is not None and row.run.frames.source == job.eval
    # Frames of its own, no figures from random weights, nothing that judges them at export.
    cv2.imwrite(str(tmp_path / "frame.png"), np.zeros((30, 40, 3), np.uint8))
    job = dataclasses.replace(job, frames=str(tmp_path / "frame.png"))
    setting = Setting(str(source), weights="untrained", precision="int8", conf=0.2, imgsz=(64, 96))
    untrained = run_cell(setting, job, "untrained", tmp_path / "out")
    assert "random weights" in untrained["accuracy"]["not_measured"]
    assert untrained["bench"]["frames"]["source"] == job.frames
    assert [(each.calib, each.eval) for each in asked] == [(None, "guard:val"), ("photos", None)]
    assert (asked[1].precision, asked[1].conf, asked[1].imgsz) == ("int8", 0.2, (64, 96))


def test_of_random_weights_int8_is_taken_unjudged(
    tmp_path: Path, sample_export: ExportReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have no accuracy that INT8 could cost, so the guard, which accepts nothing unjudged, is not asked."""
    asked = exporting(monkeypatch, sample_export)
    job = Job(calib="photos", max_drop=0.02)
    for setting in (Setting("a.pt", precision="int8"), Setting("a.pt", precision="int8", weights="untrained")):
        _export(setting, job, tmp_path / "a.onnx")
    assert [options.max_drop for options in asked] == [0.02, 1.0]


def test_a_cell_without_a_figure_is_told_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    bench = {"artifacts": [{"latency": {"p50": 12.0}}]}
    for accuracy, reason in (
        ({"not_measured": "random weights"}, "random weights"),
        ({"map": None, "absent": {"map": "no object of the judged classes"}}, "no object of the judged classes"),
        ({"map": None}, "the evaluation gave none"),
    ):
        _tell({"status": "done", "label": "a", "bench": bench, "accuracy": accuracy})
        assert capsys.readouterr().err == f"a: p50 12.00 ms, mAP not measured: {reason}\n"


def test_a_result_of_another_kind_is_not_taken_for_a_cell(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 2)
    run_sweep(settings, Job(), tmp_path / "out", run=Cells())
    cell = next((tmp_path / "out" / "cells").glob("*p1-*.json"))
    cell.write_text(json.dumps(json.loads(cell.read_text()) | {"kind": "edgedet-eval"}))
    again = Cells()
    run_sweep(settings, Job(), tmp_path / "out", run=again)
    assert again.ran == [1]


def test_another_edgedet_measures_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting("a.pt")
    key = cell_key(setting, Job(), "digest")
    monkeypatch.setattr("edgedet.sweep.grid.__version__", "99.0")
    assert cell_key(setting, Job(), "digest") != key


def test_a_retry_that_crashes_gives_its_own_reason(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 3)
    run_sweep(settings, Job(), tmp_path / "out", run=Cells())

    def crash(request: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 7, "", "disk full\n")

    run_sweep(settings, Job(), tmp_path / "out", run=crash, failed="retry")
    (cell,) = (tmp_path / "out" / "cells").glob("*p3-*.json")
    assert json.loads(cell.read_text())["reason"] == "the cell's process ended with exit code 7: disk full"


@pytest.mark.parametrize(("done", "code"), [(0, 1), (1, 0)])
def test_the_command_hands_the_sweep_what_it_was_told_and_fails_when_no_cell_worked(
    done: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[list[Setting], Job, str, dict[str, Any]]] = []

    def sweep(settings: list[Setting], job: Job, folder: str, **options: Any) -> SweepSummary:
        calls.append((settings, job, folder, options))
        return SweepSummary(done, 3, 2)

    monkeypatch.setattr("edgedet.sweep.runner.run_sweep", sweep)
    words = ["sweep", "a.pt", "--untrained", "b.pt", "--arch", "fasterrcnn_resnet50_fpn", "-o", "out"]
    words += ["--proposals", "4,50", "--imgsz", "320,240x416", "--eval", "data:test", "--frames", "clip.mp4"]
    assert main([*words, "--seconds", "2", "--threads", "1", "--retry"]) == code
    assert f"{done + 3} cells: {done} measured, 3 failed (2 of them now)" in capsys.readouterr().out
    ((settings, job, folder, options),) = calls
    assert {(cell.source, cell.weights) for cell in settings} == {("a.pt", "trained"), ("b.pt", "untrained")}
    assert {(cell.imgsz, cell.proposals) for cell in settings} == {
        ((height, width), count) for height, width in ((320, 320), (240, 416)) for count in (4, 50)
    }
    assert (job.eval, job.frames, job.threads, folder) == ("data:test", "clip.mp4", 1, "out")
    assert (job.rules.seconds, job.rules.max_seconds) == (2, 6)
    assert options["failed"] == "retry"
    main([*words, "--precision", "fp32,int8"])
    # Without --calib, int8 cells are calibrated on made pictures.
    assert {cell.precision for cell in calls[1][0]} == {"fp32", "int8"} and calls[1][1].calib is None
    main(words)
    assert calls[2][3]["failed"] == "keep"
