"""Which blood-cell detector for the budget? Four backbones, proposals, input sizes and precisions in one table.

On BCCD: SSDLite and Faster R-CNN with MobileNetV3, trained; torchvision's Faster R-CNN with VGG16 and ResNet50 (C4
and FPN) with random weights, for their speed alone. Exported, evaluated on the test split, measured, and put into
one report:

    python benchmarks/tradeoff.py -o build/tradeoff --budget-ms 15

Cells are exported and evaluated one after the other; then the latency of all is measured in turns, so that it
compares on a machine that does other things too. May be interrupted and started again at any time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgedet.artifacts.card import Precision
from edgedet.bench.frames import load_frames
from edgedet.bench.latency import Rules
from edgedet.bench.result import write_result
from edgedet.bench.suite import BenchOptions, run_bench
from edgedet.cli import main as edgedet
from edgedet.cli.progress import Progress
from edgedet.sweep.grid import SWEEP_RULES, Job, Setting, Weights, grid
from edgedet.sweep.runner import run_sweep

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("EDGEDET_SHARED", REPOSITORY.parent / "shared"))

TRAINED = ("ssdlite320_mobilenet_v3_large_bccd.pt", "fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt")
UNTRAINED = ("fasterrcnn_vgg16", "fasterrcnn_resnet50_c4", "fasterrcnn_resnet50_fpn")
CLASSES = ("RBC", "WBC", "Platelets")
PROPOSALS = (4, 50, 150, 300)
"""Boxes that reach the second stage of a frame; not to be taken for the boxes of one call of a head."""
SIZES = ((320, 320), (240, 240))
"""Pixels of the shortest side for Faster R-CNN, of both for SSDLite; the trained ones were trained at 320."""

CELL_RULES = replace(SWEEP_RULES, frames=20, seconds=1.0, max_seconds=3.0)
SLOW_RULES = replace(SWEEP_RULES, warmup_frames=2, warmup_seconds=0.1, frames=5, seconds=1.0, max_seconds=5.0)
"""A first look, within each cell; what counts is measured in turns."""

PARTS = ("trained", "trained-int8", "untrained", "untrained-int8")
TURNS: dict[Weights, Rules] = {
    "trained": Rules(warmup_frames=10, frames=200, seconds=6.0, max_seconds=12.0),
    "untrained": Rules(warmup_frames=1, warmup_seconds=0.1, frames=8, seconds=1.0, max_seconds=1.0),
}
"""Detectors that take a second a frame run few frames: their medians are to be believed, their tails are not."""

FEW_IMAGES = 2
"""Calibration images for random weights: their ranges mean nothing, only the speed of the result does."""


@dataclass(frozen=True)
class Part:
    """Some cells and the job they share."""

    settings: list[Setting]
    job: Job


def parts(folder: Path, data: Path, models: Path) -> dict[str, Part]:
    """The experiment, by name."""
    trained: list[tuple[str, Weights]] = [(str(models / name), "trained") for name in TRAINED]
    untrained: list[tuple[str, Weights]] = [
        (str(random_checkpoint(name, folder / "untrained")), "untrained") for name in UNTRAINED
    ]
    job = Job(
        eval=f"{data}:test", calib=f"{data}:train", guard=f"{data}:val", frame_size=(640, 480), rules=CELL_RULES
    )
    slow = replace(job, calib=str(few_images(data, folder / "calibration")), guard=None, rules=SLOW_RULES)
    return {
        "trained": Part(_grid(trained, SIZES, PROPOSALS, ("fp32",)), job),
        "trained-int8": Part(_grid(trained, SIZES, PROPOSALS, ("int8",)), job),
        "untrained": Part(_grid(untrained, SIZES, PROPOSALS, ("fp32",)), slow),
        # What random weights find is chance, so no accuracy is guarded.
        "untrained-int8": Part(_grid(untrained, SIZES, PROPOSALS, ("int8",)), replace(slow, max_drop=1.0)),
    }


def _grid(
    sources: list[tuple[str, Weights]],
    sizes: tuple[tuple[int, int], ...],
    proposals: tuple[int, ...],
    precisions: tuple[Precision, ...],
) -> list[Setting]:
    return grid(
        sources,
        imgsz=sizes,
        proposals=proposals,
        precisions=precisions,
        has_proposals=lambda source: "fasterrcnn" in source,
    )


def random_checkpoint(arch: str, folder: Path) -> Path:
    """A detector of that architecture with seeded random weights, as a checkpoint."""
    import torch

    from edgedet.export.families.torchvision_architectures import build
    from edgedet.files import atomic_path

    path = folder / f"{arch}.pt"
    if not path.exists():
        torch.manual_seed(0)
        state = build(arch, len(CLASSES) + 1).state_dict()
        contents: dict[str, Any] = {"arch": arch, "num_classes": len(CLASSES) + 1, "classes": list(CLASSES)}
        with atomic_path(path) as temporary:
            torch.save(contents | {"state_dict": state}, temporary)
    return path


def few_images(data: Path, folder: Path) -> Path:
    """A folder with the first images of the training split."""
    folder.mkdir(parents=True, exist_ok=True)
    names = (data / "ImageSets" / "Main" / "train.txt").read_text().split()[:FEW_IMAGES]
    for name in names:
        source = data / "JPEGImages" / f"{name}.jpg"
        if not (folder / source.name).exists():
            shutil.copy(source, folder)
    return folder


def measure_in_turns(folder: Path, frames: str, weights: Weights, rules: Rules) -> None:
    """All artifacts of that kind in one benchmark; its result goes to the folder ``turns``."""
    cells = [json.loads(path.read_text()) for path in sorted((folder / "cells").glob("[!.]*.json"))]
    done = [cell for cell in cells if cell["status"] == "done" and cell["setting"]["weights"] == weights]
    if not done:
        return
    options = BenchOptions(rules=rules, batches=(), streams=(), cold_starts=0)
    artifacts = [folder / "artifacts" / f"{cell['key']}.onnx" for cell in done]
    with Progress() as progress:
        result = run_bench(
            artifacts, load_frames(frames), options, names=[cell["label"] for cell in done], progress=progress
        )
    write_result(result, folder / "turns" / f"{weights}.json")


def main() -> int:
    """Sweep and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=REPOSITORY / "build" / "tradeoff")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="parts to do")
    parser.add_argument(
        "--turns", nargs="*", choices=tuple(TURNS), default=tuple(TURNS), help="to measure in turns"
    )
    parser.add_argument("--budget-ms", default="15")
    parser.add_argument("--retry", action="store_true", help="try cells again that failed")
    arguments = parser.parse_args()
    data, models = SHARED / "data" / "bccd", SHARED / "models"
    if not data.is_dir() or not models.is_dir():
        print(f"needs BCCD and the trained detectors: no data/bccd and models in {SHARED} (set EDGEDET_SHARED)")
        return 2
    chosen = parts(arguments.output, data, models)
    for name in arguments.only or list(chosen):
        part = chosen[name]
        with Progress() as progress:
            summary = run_sweep(
                part.settings,
                part.job,
                arguments.output,
                failed="retry" if arguments.retry else "keep",
                progress=progress,
                told=lambda cell: print(f"{cell['label']}: {cell['status']} {cell['reason'] or ''}", flush=True),
            )
        print(f"{name}: {summary.done} measured, {summary.failed} failed", file=sys.stderr)
    for weights in arguments.turns:
        measure_in_turns(arguments.output, f"{data}:test", weights, TURNS[weights])
    turns = [str(path) for path in sorted((arguments.output / "turns").glob("[!.]*.json"))]
    report = ["report", str(arguments.output), *turns, "-o", str(arguments.output / "tradeoff.html")]
    title = ["--title", "Blood cells: detector trade-offs on BCCD"]
    return edgedet([*report, *title, "--budget-ms", arguments.budget_ms])


if __name__ == "__main__":
    raise SystemExit(main())
