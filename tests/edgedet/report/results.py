"""Results as sweeps write them, made up for the tests of the report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgedet.bench.latency import Series
from edgedet.missing_figures import not_measured
from edgedet.sweep.cell import failure, write_cell
from edgedet.sweep.grid import Job, Setting

MACHINE = {
    "system": "Test OS 1",
    "kernel": "Linux 6",
    "architecture": "x86_64",
    "cpu": {"model": "Test CPU", "cores": 2, "cores_of_machine": 2, "quota": None, "features": ["avx2"]},
    "memory_total": 8 * 2**30,
    "memory_available": 4 * 2**30,
    "gpus": [],
    "jetson": None,
    "clocks": {"governor": "performance", "cpu_max_mhz": None, "gpu_max_mhz": None, "pinned": None},
}


def bench(
    name: str, milliseconds: float, *, architecture: str, precision: str = "fp32", watts: float | None = None
) -> dict[str, Any]:
    """A benchmark's result of one artifact."""
    rng = np.random.default_rng(len(name))
    series = Series(warmup={"frames": 5, "seconds": 1.0, "settled": True, "median_s": 0.01})
    for turn in range(10):
        samples = (milliseconds * np.exp(0.02 * rng.standard_normal(12))).round(4).tolist()
        series.blocks.append(
            {
                "turn": turn,
                "begin_s": turn * 1.0,
                "reference_ms": 2.0,
                "others_cpu_share": 0.0,
                "samples_ms": samples,
            }
        )
    energy: dict[str, Any] = not_measured("no power monitor")
    if watts is not None:
        energy = {
            "source": "INA3221",
            "covers": "the module (VDD_IN)",
            "watts": {"VDD_IN": watts, "total": watts},
            "idle_watts": {"VDD_IN": 2.0, "total": 2.0},
            "joules_per_frame": watts * milliseconds / 1e3,
        }
    artifact = {
        "name": name,
        "path": f"{name}.onnx",
        "sha256": f"{sum(name.encode()):064x}",
        "bytes": 5_000_000,
        "family": "ssd",
        "architecture": architecture,
        "precision": precision,
        "input": [240, 320],
        "classes": 3,
        "runtime": "onnxruntime 1, 2 threads",
        "cold": {"interpreter": 20.0, "import": 80.0, "open": 50.0, "first_frame": 30.0, "total": 180.0,
                 "worst_total": 190.0, "starts": 1, "page_cache": "warm"},
        "memory": {"peak_rss": 120 * 2**20, "rss_after_import": 40 * 2**20, "rss_after_open": 90 * 2**20,
                   "device": not_measured("runs on the CPU")},
        "latency": series.describe(),
        "stages": {"pre": 0.1 * milliseconds, "run": 0.8 * milliseconds, "post": 0.1 * milliseconds,
                   "between": 0.01, "capture": 3.0},
        "detections": {"min": 0, "median": 7.0, "max": 30},
        "throughput": not_measured("left out on request (--batches none)"),
        "streams": not_measured("left out on request (--streams none)"),
        "energy": energy,
    }  # fmt: skip
    return {
        "kind": "edgedet-bench",
        "version": 1,
        "edgedet": "0.1.0",
        "created": "2026-01-01T00:00:00+00:00",
        "machine": MACHINE,
        "during": {"cpu_mhz": None, "gpu_mhz": None, "temperatures": {}, "throttled": None, "throttle_events": {},
                   "others_cpu_share": 0.0},
        "rules": Job().rules.describe() | {"threads": None},
        "frames": {"kind": "dataset", "source": "photos", "count": 32, "sizes": [[640, 480]], "note": None},
        "artifacts": [artifact],
    }  # fmt: skip


def write_done(
    folder: Path,
    setting: Setting,
    milliseconds: float,
    score: float | None,
    *,
    architecture: str,
    watts: float | None = None,
    worst: bool = False,
) -> None:
    """One finished cell."""
    accuracy: dict[str, Any] = not_measured("random weights")
    if score is not None:
        accuracy = {"map": score, "ap50": min(1.0, score * 1.4), "images": 72}
    if worst:
        (folder / "worst").mkdir(parents=True, exist_ok=True)
        accuracy["worst"] = []
        for index in range(3):
            cv2.imwrite(str(folder / "worst" / f"{index}.jpg"), np.full((60, 80, 3), 60 * index + 60, np.uint8))
            accuracy["worst"].append({"drawn": f"worst/{index}.jpg", "caption": f"image {index}: 2 of 5 found"})
    measured: dict[str, Any] = {}
    if setting.precision == "int8":
        measured["int8"] = {
            "layers": 50,
            "layers_int8": 40,
            "macs_int8": 0.9,
            "judge": "mAP",
            "images": 100,
            "losses": {"features.0": 0.02, "features.1": 0.001},
            "kept_float": {"head": "costs 2.00% of agreement alone", "stem": "costs 2.00% of agreement alone"},
        }
    outcome = {
        "status": "done",
        "reason": None,
        "export": {"bytes": 5, "nodes": 100, "seconds": 3.0, "notes": [], "card": {"measured": measured}},
        "accuracy": accuracy,
        "bench": bench(
            setting.label, milliseconds, architecture=architecture, precision=setting.precision, watts=watts
        ),
    }
    write_cell(folder / "cells" / f"{setting.label}.json", setting.label, setting, Job(eval="data:test"), outcome)


def write_sweep(folder: Path) -> Path:
    """Two detectors in two precisions, one without accuracy, one that failed."""
    (folder / "cells").mkdir(parents=True)
    two_stage = "fasterrcnn_mobilenet_v3_large_320_fpn"
    for proposals, milliseconds, score in (
        (4, 12.0, 0.21),
        (50, 16.0, 0.34),
        (150, 26.0, 0.365),
        (300, 40.0, 0.366),
    ):
        setting = Setting("frcnn.pt", (240, 320), proposals)
        write_done(folder, setting, milliseconds, score, architecture=two_stage)
        setting = dataclasses.replace(setting, precision="int8")
        write_done(folder, setting, milliseconds * 0.7, score - 0.005, architecture=two_stage)
    for side, milliseconds, score in ((320, 9.0, 0.457), (224, 5.0, 0.38)):
        setting = Setting("ssdlite.pt", (side, side))
        write_done(
            folder, setting, milliseconds, score, architecture="ssdlite320_mobilenet_v3_large", worst=side == 320
        )
    write_done(folder, Setting("vgg16.pt", weights="untrained"), 900.0, None, architecture="fasterrcnn_vgg16")
    broken = Setting("resnet50.pt", (600, 800), 50)
    write_cell(
        folder / "cells" / "broken.json", "broken", broken, Job(), failure("the cell's process ended with signal 9")
    )
    return folder


def load(path: Path) -> dict[str, Any]:
    """A result as JSON."""
    data: dict[str, Any] = json.loads(path.read_text())
    return data
