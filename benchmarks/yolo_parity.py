"""Every YOLO through edgedet against its own framework, on 16 photographs: share matched, and what is extra.

    python benchmarks/yolo_parity.py --frameworks DIR [--only yolov5n,yolov7-tiny,…] [--imgsz 320]
                                     [--nameless] [--page docs/measured/families.md]

``DIR`` holds checkouts of the frameworks under the names of their repositories (yolov5, yolov7, YOLOv6, YOLOX,
super-gradients, DAMO-YOLO); what is missing there is not measured, and so says the table. Ultralytics is the
installed package. None of them is imported by edgedet. Networks have seeded random weights, whose class scores are
spread until detections differ. ``itself``, where anything differs: the framework's agreement with itself when
PyTorch convolves in another order. Each runs in a process of its own: the frameworks' packages have the same names.
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
from family_row import Row, compared, header, read_without_names
from framework_case import CONF, Case, NotHereError
from measured_rows import PAGE, line, put
from mmdet_frameworks import CASES as OPEN_MMLAB
from paddle_frameworks import CASES as PADDLE
from yolo_frameworks import CASES as FIRST
from yolo_repositories import CASES as MORE

from edgedet import Detector
from edgedet.export.pipeline import export_model
from edgedet.pictures.image_file import read_image

CASES = FIRST | MORE | OPEN_MMLAB | PADDLE
ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("EDGEDET_SHARED", ROOT.parent / "shared"))
PHOTOGRAPHS = 16


def photographs() -> list[np.ndarray]:
    """BGR frames."""
    return [read_image(path) for path in sorted((SHARED / "data/coco128").rglob("*.jpg"))[:PHOTOGRAPHS]]


def row(name: str, arguments: argparse.Namespace) -> Row:
    """A line of the table."""
    frames, more = photographs(), len(header(nameless=arguments.nameless)) - 2
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        try:
            case: Case = CASES[name](name, arguments.frameworks, folder, arguments.imgsz, frames)
        except NotHereError as error:
            return Row((name, f"not measured: {error}", *[""] * more), True)
        report = export_model(case.path, folder / "ours.onnx", case.options)
        with Detector(report.path, threads=2) as ours:
            found = [ours.detect(frame) for frame in frames]
        measured = compared(name, case.version, case.reference, found, frames)
        if arguments.nameless:
            conf = case.options.conf if case.options.conf is not None else CONF
            options = dataclasses.replace(case.options, conf=conf)
            read = read_without_names(name, case.path, found, frames, folder=folder, options=options)
            measured = measured.beside(*read)
        return measured


def main() -> int:
    """Print the table, a row at a time; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frameworks", type=Path, default=Path("frameworks"))
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--nameless", action="store_true", help="read the files without names and metadata, too")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help=f"write the rows into it, as {PAGE.name} has them"
    )
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if arguments.alone:
        measured = row(names[0], arguments)
        print(line(measured.cells), flush=True)
        if arguments.page:
            put(arguments.page, header(nameless=arguments.nameless), measured.cells)
        return 0 if measured.met else 1
    columns = header(nameless=arguments.nameless)
    print(line(columns), line(["---"] * len(columns)), sep="\n", flush=True)
    missed = 0
    for name in names:
        settings = ["--frameworks", str(arguments.frameworks), "--imgsz", str(arguments.imgsz)]
        settings += ["--nameless"] if arguments.nameless else []
        settings += ["--page", str(arguments.page)] if arguments.page else []
        done = subprocess.run(
            [sys.executable, __file__, "--alone", "--only", name, *settings],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if line.startswith("| ")]
        said = (done.stderr.strip().splitlines() or [""])[-1]
        print(
            *[word for word in done.stderr.splitlines() if " said: " in word], sep="\n", file=sys.stderr, flush=True
        )
        print(lines[-1] if lines else f"| {name} | FAILED: {said} | | | | |", flush=True)
        missed += done.returncode != 0
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
