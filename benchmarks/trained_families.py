"""What INT8 keeps of the families that Ultralytics trains, on networks that it trained.

    python benchmarks/trained_families.py [--only yolov8n,yolo11n,…] [--trained build/trained]
                                          [--page docs/measured/families.md]

A network of random weights magnifies what is rounded, so the guard refuses it and says nothing of the family. Here
Ultralytics (the installed package) trains each network from its own YAML on rendered scenes of four shapes, a few
minutes on a CPU; what it trained stays in ``--trained`` as NAME.pt and is not trained again. edgedet exports it in
float and, with ``--int8 --target tensorrt --effort quick`` and the default budget of 0.01, in INT8, calibrated on
scenes without their labels. Both graphs are judged on other scenes, by the same code as ``edgedet eval``.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from family_costs import guarded
from family_row import Row
from measured_rows import PAGE, line, put
from shape_scenes import write_scenes

from edgedet import Detector
from edgedet.datasets import read_dataset
from edgedet.errors import AccuracyBudgetError
from edgedet.evaluate.coco import CocoMetrics, evaluate_coco
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model

HEADER = (
    "trained detector",
    "steps",
    "multiply-adds in INT8",
    "guard's agreement",
    "mAP50 fp32",
    "mAP fp32",
    "mAP INT8",
)
FAMILIES = (
    "yolov8n", "yolo11n", "yolov5n", "yolo26n", "yolov10n", "yolov9t", "yolo12n", "yolov3-tiny",
)  # fmt: skip
SIDE, SEED = 160, 0
SCENES = {"train": 1600, "val": 64, "test": 256}
"""Pictures: those of ``val`` calibrate, those of ``test`` judge."""
TRAINING: dict[str, Any] = {
    "batch": 8,
    "optimizer": "AdamW",
    "lr0": 0.002,
    "cos_lr": True,
    "warmup_epochs": 0.3,
    # Some hundred steps have no time for pictures that are harder than those to come.
    **dict.fromkeys(("mosaic", "scale", "hsv_h", "hsv_s", "hsv_v", "erasing"), 0.0),
}
LOWEST = 0.001
"""Score from which detections count: average precision needs every one."""
BUDGET = 0.01
"""mAP that INT8 may cost on the pictures that judge."""


def trained(name: str, data: Path, arguments: argparse.Namespace) -> Path:
    """The checkpoint that Ultralytics' training leaves, made where it is not there yet."""
    path: Path = arguments.trained / f"{name}.pt"
    if path.exists():
        return path
    os.environ.update({"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"})
    import torch
    import ultralytics

    torch.manual_seed(SEED)
    arguments.trained.mkdir(parents=True, exist_ok=True)
    # Its progress goes to stdout, which belongs to the table.
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as project:
        model = ultralytics.YOLO(f"{name}.yaml")
        # It sets a number of its own as it begins.
        model.add_callback("on_train_start", lambda trainer: torch.set_num_threads(arguments.threads))
        model.train(
            data=str(data), imgsz=SIDE, seed=SEED, project=project, name=name, epochs=arguments.epochs,
            device="cpu", workers=0, cache="ram", amp=False, plots=False, val=False, verbose=False, **TRAINING,
        )  # fmt: skip
        shutil.copyfile(model.trainer.last, path)
    return path


def steps(checkpoint: Path) -> int:
    """How many steps of training a checkpoint has behind it, by what it says itself."""
    import torch

    settings = torch.load(checkpoint, map_location="cpu", weights_only=False)["train_args"]
    return int(settings["epochs"]) * math.ceil(SCENES["train"] / int(settings["batch"]))


def row(name: str, data: Path, arguments: argparse.Namespace) -> Row:
    """A line of the table."""
    checkpoint = trained(name, data, arguments)
    return kept(name, str(steps(checkpoint)), checkpoint, ExportOptions(conf=LOWEST, trust="code"), data)


def kept(name: str, taken: str, source: Path, options: ExportOptions, data: Path) -> Row:
    """What INT8 keeps of a trained network, ``taken`` in words or steps, and the figures of both graphs."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with contextlib.redirect_stdout(sys.stderr):
            floats = judged(export_model(source, folder / "float.onnx", options).path, data)
            try:
                report = guarded(source, folder, dataclasses.replace(options, calib=f"{data}:val"))
            except AccuracyBudgetError as error:
                figures = (f"{floats.ap50:.4f}", f"{floats.map:.4f}")
                return Row((name, taken, f"refused: {error}", "", *figures, ""), False)
            said, integers = report.card.measured["int8"], judged(report.path, data)
    print(f"{name}: {said}", *report.notes, sep="\n", file=sys.stderr)
    agreed = (said["after"], floats.ap50, floats.map, integers.map)
    cells = (name, taken, f"{said['macs_int8']:.1%}", *(f"{figure:.4f}" for figure in agreed))
    return Row(cells, floats.map - integers.map <= BUDGET)


def judged(path: Path, data: Path) -> CocoMetrics:
    """COCO's figures of an artifact on the pictures that neither training nor calibration saw."""
    with Detector(path) as detector:
        return evaluate_coco(detector, read_dataset(f"{data}:test"))


def main() -> int:
    """Print the table, a row at a time; 1 where INT8 is refused or costs more than its budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(FAMILIES))
    parser.add_argument("--trained", type=Path, default=Path("build/trained"), help="where checkpoints stay")
    parser.add_argument("--epochs", type=int, default=4, help="of training (4)")
    parser.add_argument("--threads", type=int, default=1, help="of training; on busy cores one is fastest (1)")
    parser.add_argument("--page", type=Path, metavar="FILE", help=f"write rows into it, as {PAGE.name} has them")
    arguments = parser.parse_args()
    missed = 0
    print(line(HEADER), line(["---"] * len(HEADER)), sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data = write_scenes(Path(folder) / "scenes", SCENES, side=SIDE, seed=SEED)
        for name in arguments.only.split(","):
            measured = row(name, data, arguments)
            print(line(measured.cells), flush=True)
            if arguments.page:
                put(arguments.page, HEADER, measured.cells)
            missed += not measured.met
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
