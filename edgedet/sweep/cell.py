"""One cell, in a process of its own: ``python -m edgedet.sweep.cell REQUEST.json``.

A detector that does not fit into memory, or a runtime that crashes, ends this process and not the sweep.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from edgedet.artifacts.card import ModelCard
from edgedet.bench.frames import load_frames
from edgedet.bench.suite import BenchOptions, run_bench
from edgedet.errors import EdgedetError
from edgedet.files import atomic_path
from edgedet.missing_figures import not_measured
from edgedet.sweep.grid import Job, Setting, job_from_json, setting_from_json

KIND = "edgedet-cell"
VERSION = 1
WORST_IMAGES = 6


def run_cell(setting: Setting, job: Job, key: str, folder: Path) -> dict[str, Any]:
    """Export, evaluate and measure one cell; the artifact lands in ``folder/artifacts``."""
    artifact = folder / "artifacts" / f"{key}.onnx"
    exported = _export(setting, job, artifact)
    accuracy = _accuracy(setting, job, artifact=artifact, folder=folder, key=key)
    frames = job.frames or job.eval
    bench = run_bench(
        [artifact],
        load_frames(frames),
        BenchOptions(rules=job.rules, threads=job.threads, batches=(), streams=(), cold_starts=job.cold_starts),
        names=[setting.label],
    )
    return {"export": exported, "accuracy": accuracy, "bench": bench.to_json()}


def _export(setting: Setting, job: Job, artifact: Path) -> dict[str, Any]:
    from edgedet.export.options import ExportOptions
    from edgedet.export.pipeline import export_model

    report = export_model(
        setting.source,
        artifact,
        ExportOptions(
            arch=job.arch,
            classes=job.classes,
            imgsz=setting.imgsz,
            frame_size=job.frame_size,
            precision=setting.precision,
            calib=job.calib if setting.precision == "int8" else None,
            eval=job.guard if setting.weights == "trained" else None,
            # Random weights have no accuracy that INT8 could cost.
            max_drop=job.max_drop if setting.weights == "trained" else 1.0,
            proposals=setting.proposals,
            conf=setting.conf,
            over_budget="keep_best",
        ),
    )
    return {
        "bytes": report.bytes,
        "nodes": report.nodes,
        "seconds": round(report.seconds, 1),
        "notes": list(report.notes),
        "card": _card_facts(report.card),
    }


def _card_facts(card: ModelCard) -> dict[str, Any]:
    """What the report shows of a card; class names and thresholds, provenance and measurements."""
    facts: dict[str, Any] = json.loads(card.to_json())
    return {
        name: facts[name] for name in ("family", "architecture", "names", "precision", "provenance", "measured")
    }


def _accuracy(setting: Setting, job: Job, *, artifact: Path, folder: Path, key: str) -> dict[str, Any]:
    if setting.weights == "untrained":
        return not_measured("random weights: the detector was built for its speed alone")
    if job.eval is None:
        return not_measured("no labelled images were given (--eval)")
    from edgedet.datasets import read_dataset
    from edgedet.detector import Detector
    from edgedet.evaluate.evaluation import evaluate
    from edgedet.evaluate.worst import save_worst

    dataset = read_dataset(job.eval)
    with Detector(artifact, threads=job.threads) as detector:
        evaluation = evaluate(detector, dataset, lowest_score=detector.thresholds.score)
        drawn = save_worst(detector, dataset, evaluation, folder / "worst" / key, count=WORST_IMAGES)
    beside = {number: path.relative_to(folder) for number, path in drawn.items()}
    return evaluation.to_dict(beside)


def main(request: str) -> int:
    """Do what ``request`` says, and leave the cell's result beside it."""
    asked = json.loads(Path(request).read_text())
    setting, job = setting_from_json(asked["setting"]), job_from_json(asked["job"])
    outcome: dict[str, Any]
    try:
        outcome = {"status": "done", "reason": None} | run_cell(setting, job, asked["key"], Path(asked["folder"]))
    except EdgedetError as error:
        outcome = failure(str(error))
    write_cell(Path(asked["result"]), asked["key"], setting, job, outcome)
    return 0


def failure(reason: str) -> dict[str, Any]:
    """The outcome of a cell that did not work."""
    return {"status": "failed", "reason": " ".join(reason.split())}


def write_cell(path: Path, key: str, setting: Setting, job: Job, outcome: dict[str, Any]) -> None:
    """Write a cell's result, whole or not at all: a file that is there is a cell that is finished."""
    data = {
        "kind": KIND,
        "version": VERSION,
        "key": key,
        "label": setting.label,
        "setting": dataclasses.asdict(setting),
        "job": dataclasses.asdict(job),
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(data | outcome, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
