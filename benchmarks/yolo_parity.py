"""Every YOLO through edgedet against its own framework, on 16 photographs: share matched, and what is extra.

    python benchmarks/yolo_parity.py --frameworks DIR [--only yolov5n,yolov7-tiny,…] [--imgsz 320] [--int8]

``DIR`` holds checkouts of the frameworks under the names of their repositories (yolov5, yolov7, YOLOv6, YOLOX,
super-gradients, DAMO-YOLO); what is missing there is not measured, and so says the table. Ultralytics is the
installed package. None of them is imported by edgedet. Networks have seeded random weights, whose class scores are
spread until detections differ. Each runs in a process of its own: the frameworks' packages have the same names.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from yolo_frameworks import CASES as FIRST
from yolo_frameworks import Case, NotHereError
from yolo_repositories import CASES as MORE

from edgedet import Detections, Detector
from edgedet.export.pipeline import export_model
from edgedet.pictures.image_file import read_image
from edgedet.proof.parity import Tolerance, match_detections, summarise

CASES = FIRST | MORE
ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("EDGEDET_SHARED", ROOT.parent / "shared"))
PHOTOGRAPHS = 16
REQUIRED = 0.995
INT8_REQUIRED = 0.97


def photographs() -> list[np.ndarray]:
    """BGR frames."""
    return [read_image(path) for path in sorted((SHARED / "data/coco128").rglob("*.jpg"))[:PHOTOGRAPHS]]


def row(name: str, frameworks: Path, imgsz: int, int8: bool) -> tuple[str, bool]:
    """A line of the table, and whether the bar is met."""
    frames = photographs()
    with tempfile.TemporaryDirectory() as folder:
        try:
            case: Case = CASES[name](name, frameworks, Path(folder), imgsz, frames)
        except NotHereError as error:
            return f"| {name} | not measured: {error} | | | | |", True
        report = export_model(case.path, Path(folder) / "ours.onnx", case.options)
        reference = [_whole(case.reference(frame)) for frame in frames]
        with Detector(report.path, threads=2) as ours:
            found = [ours.detect(frame) for frame in frames]
        result = summarise([match_detections(*pair, Tolerance()) for pair in zip(reference, found, strict=True)])
        met = result.agrees(REQUIRED) and not result.absent
        extra = result.candidate_count - round(result.confirmed * result.candidate_count)
        line = (
            f"| {name} | {case.version} | {result.reference_count} | {result.found:.2%} | {extra} "
            f"| {result.worst_score_difference:.1e} |"
        )
        if int8:
            agreement = _int8(case, Path(folder), found, frames)
            line, met = f"{line} {agreement:.3f} |", met and agreement >= INT8_REQUIRED
        return line, met


def _int8(case: Case, folder: Path, floats: list[Detections], frames: list[np.ndarray]) -> float:
    """Agreement of the INT8 graph with the float one, as the guard counts it where no labels are."""
    options = dataclasses.replace(
        case.options, precision="int8", calib=str(SHARED / "data/coco128"), over_budget="keep_best"
    )
    report = export_model(case.path, folder / "int8.onnx", options)
    print(report.card.quantization, file=sys.stderr)
    with Detector(report.path, threads=2) as ours:
        loose = Tolerance(min_score=0.1, min_iou=0.5, max_score_difference=0.2)
        pairs = zip(floats, (ours.detect(frame) for frame in frames), strict=True)
        return summarise([match_detections(*pair, loose) for pair in pairs]).found


def _whole(found: Detections) -> Detections:
    """Without boxes that lie in the border only, which frameworks clip to nothing and report."""
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    return found[(sides > 0).all(axis=1)]


def main() -> int:
    """Print the table, a row at a time; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frameworks", type=Path, default=Path("frameworks"))
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if arguments.alone:
        line, met = row(names[0], arguments.frameworks, arguments.imgsz, arguments.int8)
        print(line, flush=True)
        return 0 if met else 1
    last = " INT8 agreement |" if arguments.int8 else ""
    print(f"| detector | framework | detections >= 0.05 | matched | extra | worst score |{last}")
    print("|---|---|---|---|---|---|" + ("---|" if arguments.int8 else ""), flush=True)
    missed = 0
    for name in names:
        settings = ["--frameworks", str(arguments.frameworks), "--imgsz", str(arguments.imgsz)]
        settings += ["--int8"] if arguments.int8 else []
        done = subprocess.run(
            [sys.executable, __file__, "--alone", "--only", name, *settings],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if line.startswith("| ")]
        said = (done.stderr.strip().splitlines() or [""])[-1]
        print(lines[-1] if lines else f"| {name} | FAILED: {said} | | | | |", flush=True)
        missed += done.returncode != 0
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
