"""What detect of a 1080p frame costs beside the bare network, and what INT8 keeps, detector by detector.

    python benchmarks/family_costs.py --frameworks DIR [--only yolov8n,dfine,…] [--imgsz 640] [--int8]
                                      [--page docs/measured/families.md]

``DIR`` holds checkouts of the frameworks, as :mod:`yolo_parity` and :mod:`transformer_parity` want them; their
detectors are made in the same way, each in a process of its own. Without ``--int8`` every file is timed in turns
with ``detect`` on one thread, both in ONNX Runtime. With it the file is exported with ``--int8 --target tensorrt
--effort quick``, calibrated on coco128's val2017 pictures: the guard keeps its budget (0.01; 0.03 of weights that a
seed gave) or refuses. What it kept is then judged once more by the guard's own figure,
:func:`edgedet.proof.agreement.found_again` (AP at IoU 0.5 with the float graph's confident detections as truth), on
16 photographs that it was not calibrated on.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import transformer_repositories
import yolo_parity
from family_row import Row
from framework_case import Case, NotHereError
from measured_rows import PAGE, line, put
from stand_ins import stand_in_for_training
from whole_against_bare import HEADER as OVERHEAD
from whole_against_bare import overhead

from edgedet import Detections, Detector
from edgedet.errors import AccuracyBudgetError
from edgedet.export.options import ExportOptions, ExportReport
from edgedet.export.pipeline import export_model
from edgedet.proof.agreement import found_again

TIMES = ("detector", *OVERHEAD)
INT8 = ("detector", "multiply-adds in INT8", "guard's agreement", "on 16 other photographs")
AGREEMENT, SEED_BUDGET = 0.97, 0.03
"""Least agreement of weights that a seed gave, and what it leaves to lose."""
TRAINED = ("yolox nano", "yolox nano .pth")
"""Detectors with their authors' weights: the guard has its own budget."""
SETTLED = 4
"""Photographs that a network's statistics come from, where only its time is measured."""


def made(name: str, frameworks: Path, folder: Path, imgsz: int, frames: Sequence[np.ndarray]) -> tuple[Case, int]:
    """The framework's file with how it is exported, and the side of its input."""
    if name in yolo_parity.CASES:
        return yolo_parity.CASES[name](name, frameworks, folder, imgsz, frames), imgsz
    subject = transformer_repositories.SUBJECTS[name]
    if not (frameworks / subject.repository).is_dir() and subject.repository != "rfdetr":
        raise NotHereError(f"no checkout {subject.repository}")
    stand_in_for_training()
    with contextlib.redirect_stdout(sys.stderr):
        built, path = transformer_repositories.written(name, frameworks, frames, folder)
    options = ExportOptions(family=subject.family, conf=0.05)
    return Case(path, "", transformer_repositories.repository_inference(built, ()), options), subject.side


def row(name: str, arguments: argparse.Namespace) -> tuple[tuple[str, ...], Row]:
    """A line and the header of its table."""
    frames = yolo_parity.photographs()
    header = INT8 if arguments.int8 else TIMES
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        try:
            count = len(frames) if arguments.int8 else SETTLED
            case, side = made(name, arguments.frameworks.resolve(), folder, arguments.imgsz, frames[:count])
        except NotHereError as error:
            return header, Row((name, f"not measured: {error}", *[""] * (len(header) - 2)), True)
        report = export_model(case.path, folder / "ours.onnx", case.options)
        if arguments.int8:
            return header, int8(name, case, report.path, folder, frames)
        if not _bare(case.path):
            return header, Row((name, *[""] * (len(header) - 1)), True)
        cost = overhead(case.path, report.path, frames[0], side)
        return header, Row((name, *cost.cells()), cost.met)


def _bare(path: Path) -> bool:
    """Whether the framework's file runs in ONNX Runtime as it is: plugins of TensorRT do not, nor checkpoints."""
    if path.suffix != ".onnx":
        return False
    graph = onnx.load(str(path), load_external_data=False).graph
    return all(node.domain in ("", "ai.onnx") for node in graph.node)


def guarded(source: Path, folder: Path, options: ExportOptions) -> ExportReport:
    """The INT8 graph that the guard lets pass.

    Raises:
        AccuracyBudgetError: none.
    """
    options = dataclasses.replace(options, precision="int8", target="tensorrt", effort="quick")
    return export_model(source, folder / "int8.onnx", options)


def int8(name: str, case: Case, floats: Path, folder: Path, frames: Sequence[np.ndarray]) -> Row:
    """The guarded INT8 graph beside the float one."""
    options = dataclasses.replace(case.options, calib=str(yolo_parity.SHARED / "data/coco128/val2017"))
    if name not in TRAINED:
        options = dataclasses.replace(options, max_drop=SEED_BUDGET)
    try:
        report = guarded(case.path, folder, options)
    except AccuracyBudgetError as error:
        return Row((name, f"refused: {error}", *[""] * (len(INT8) - 2)), False)
    said = report.card.measured["int8"]
    print(f"{name}: {said}", file=sys.stderr)
    share = found_again(*(_found(path, frames) for path in (floats, report.path)))
    cells = (
        f"{said['macs_int8']:.1%}",
        f"{said['after']:.4f}",
        "nothing confident" if share is None else f"{share:.4f}",
    )
    return Row((name, *cells), share is not None and share >= AGREEMENT)


def _found(path: Path, frames: Sequence[np.ndarray]) -> list[Detections]:
    with Detector(path, threads=1) as detector:
        return [detector.detect(frame) for frame in frames]


def main() -> int:
    """Print the table, a row at a time; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frameworks", type=Path, default=Path("frameworks"))
    parser.add_argument("--only", default=",".join((*yolo_parity.CASES, *transformer_repositories.SUBJECTS)))
    parser.add_argument("--imgsz", type=int, default=640, help="of YOLOs; the others have their own")
    parser.add_argument("--int8", action="store_true", help="what INT8 keeps, in place of times")
    parser.add_argument("--page", type=Path, metavar="FILE", help=f"write rows into it, as {PAGE.name} has them")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names, missed = arguments.only.split(","), 0
    if arguments.alone:
        for name in names:
            header, measured = row(name, arguments)
            print(line(measured.cells), flush=True)
            if arguments.page and any(measured.cells[1:]):
                put(arguments.page, header, measured.cells)
            missed += not measured.met
        return 1 if missed else 0
    settings = ["--frameworks", str(arguments.frameworks), "--imgsz", str(arguments.imgsz)]
    settings += ["--int8"] if arguments.int8 else []
    settings += ["--page", str(arguments.page.resolve())] if arguments.page else []
    # Repositories call their packages alike; what one package makes is made in one process.
    for _, group in itertools.groupby(names, lambda name: yolo_parity.CASES.get(name, name)):
        command = [sys.executable, __file__, "--alone", "--only", ",".join(group), *settings]
        missed += subprocess.call(command) != 0
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
