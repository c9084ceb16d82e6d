"""The main job from end to end: the sample detector to fp32 and int8 graphs, a rendered clip through both, and a
table of what was kept.

    python examples/demo.py [--out build/demo]

With real photographs and trained detectors beside the repository (../shared, or $EDGEDET_SHARED) the same path is
shown on those too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgedet import Detections, Detector
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.pictures.sources import read_image
from edgedet.proof.parity import Tolerance, match_detections, summarise
from examples.render import write_dataset
from examples.scenes.scene import render_clip

SAMPLE = ROOT / "examples" / "sample" / "camera_phone_ssdlite320.pt"
CALIBRATION_IMAGES = 24
CLIP_FRAMES = 60
CLIP_SEED = 11
CONF = 0.25
KEPT_PICTURES = 6
EXPORTS = {
    "fp32": ExportOptions(),
    "int8 cpu": ExportOptions(precision="int8", target="cpu", over_budget="keep_best"),
    "int8 tensorrt": ExportOptions(precision="int8", target="tensorrt", over_budget="keep_best"),
}
SAME_OBJECT = Tolerance(min_score=CONF, min_iou=0.7, max_score_difference=0.15)
"""When int8 and fp32 mean the same object: quantisation moves scores and edges a little."""


@dataclass(frozen=True)
class Row:
    """One artifact's line of the table. ``agreement``: text, against the artifact named in it."""

    name: str
    megabytes: float
    median_ms: float
    objects: int
    agreement: str


def main() -> int:
    """Run everything; the pictures are in ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "demo", help="folder for graphs and pictures")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    step(f"rendering {CALIBRATION_IMAGES} calibration scenes and a clip of {CLIP_FRAMES} frames")
    calibration = write_dataset(arguments.out / "calibration", CALIBRATION_IMAGES, seed=3)
    clip = [scene.image for scene in render_clip(CLIP_SEED, CLIP_FRAMES)]
    show("Sample detector (cameras and phones), rendered clip", SAMPLE, str(calibration), clip, arguments.out)

    shared = Path(os.environ.get("EDGEDET_SHARED") or ROOT.parent / "shared")
    bccd = shared / "data" / "bccd"
    if not bccd.is_dir():
        print(f"\nNo real photographs in {shared}: the same on blood-cell micrographs is left out.")
        return 0
    names = (bccd / "ImageSets" / "Main" / "test.txt").read_text().split()
    photographs = [read_image(bccd / "JPEGImages" / f"{name}.jpg") for name in names[:30]]
    calibration = some_images(bccd, arguments.out / "micrographs")
    for checkpoint in sorted((shared / "models").glob("*_bccd.pt")):
        show(f"{checkpoint.stem}, real micrographs", checkpoint, str(calibration), photographs, arguments.out)
    return 0


def some_images(bccd: Path, folder: Path) -> Path:
    """A folder with a few training images: enough for a demonstration, few enough to wait for."""
    folder.mkdir(exist_ok=True)
    for name in (bccd / "ImageSets" / "Main" / "train.txt").read_text().split()[:CALIBRATION_IMAGES]:
        shutil.copy(bccd / "JPEGImages" / f"{name}.jpg", folder)
    return folder


def show(title: str, checkpoint: Path, calibration: str, frames: Sequence[np.ndarray], out: Path) -> None:
    """Export ``checkpoint`` twice, run the frames through all three, print the table, write annotated pictures."""
    reports = {}
    source = checkpoint
    for name, options in EXPORTS.items():
        step(f"exporting {checkpoint.name} to {name}")
        options = replace(options, calib=calibration)  # noqa: PLW2901
        reports[name] = export_model(source, out / f"{checkpoint.stem}-{name.replace(' ', '-')}.onnx", options)
        source = reports["fp32"].path
        for note in reports[name].notes:
            print(f"          {note}")
    paths = {"torch": checkpoint} | {name: report.path for name, report in reports.items()}
    step(f"detecting on {len(frames)} frames with each")
    found, times = {}, {}
    for name, path in paths.items():
        found[name], times[name] = run(path, frames)
    rows = [Row("torchvision, eager", checkpoint.stat().st_size / 1e6, times["torch"], count(found["torch"]), "")]
    for name, report in reports.items():
        agreement = exact(found) if name == "fp32" else alike(found["fp32"], found[name])
        if share := report.card.measured.get("int8", {}).get("macs_int8"):
            agreement += f"; {share:.0%} of multiply-adds in int8"
        rows.append(Row(f"edgedet {name}", report.bytes / 1e6, times[name], count(found[name]), agreement))
    print_table(title, rows, times["torch"])
    print("int8 tensorrt is the graph engines are built from; a CPU runs it only to compare its boxes.")
    write_pictures(out / checkpoint.stem, frames, found["int8 cpu"])


def run(path: Path, frames: Sequence[np.ndarray]) -> tuple[list[Detections], float]:
    """Detections of every frame, and the median time of a whole ``detect`` in ms."""
    with Detector(path, threads=2) as detector:
        detector.detect(frames[0])
        found, times = [], []
        for frame in frames:
            began = time.perf_counter()
            found.append(detector.detect(frame))
            times.append((time.perf_counter() - began) * 1e3)
    return found, float(np.median(times))


def count(found: Sequence[Detections]) -> int:
    """Objects in all frames."""
    return sum(int((detections.scores >= CONF).sum()) for detections in found)


def exact(found: dict[str, list[Detections]]) -> str:
    """How many of torchvision's detections fp32 gives, to the last pixel."""
    pairs = zip(found["torch"], found["fp32"], strict=True)
    report = summarise([match_detections(ours, theirs, Tolerance(min_score=CONF)) for ours, theirs in pairs])
    if report.found is None:
        return "not measured: torchvision finds nothing"
    return f"{report.found:.1%} equal to torchvision's"


def alike(reference: Sequence[Detections], candidate: Sequence[Detections]) -> str:
    """How many of fp32's objects int8 finds."""
    pairs = zip(reference, candidate, strict=True)
    report = summarise([match_detections(ours, theirs, SAME_OBJECT) for ours, theirs in pairs])
    if report.found is None or report.confirmed is None:
        return f"not measured: {next(iter(report.absent.values()))}"
    return f"{report.found:.1%} of fp32's objects, {1 - report.confirmed:.1%} of its own"


def print_table(title: str, rows: Sequence[Row], reference: float) -> None:
    """A table for people."""
    print(f"\n{title}")
    print(f"{'':22}{'size':>9}{'detect p50':>13}{'speed':>8}{'objects':>9}  agreement")
    for row in rows:
        print(
            f"{row.name:22}{row.megabytes:>6.1f} MB{row.median_ms:>10.1f} ms{reference / row.median_ms:>7.1f}x"
            f"{row.objects:>9}  {row.agreement}"
        )


def write_pictures(folder: Path, frames: Sequence[np.ndarray], found: Sequence[Detections]) -> None:
    """Some annotated frames, evenly spaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in np.linspace(0, len(frames) - 1, KEPT_PICTURES).astype(int):
        confident = found[index][found[index].scores >= CONF]
        cv2.imwrite(str(folder / f"frame_{index:03d}.jpg"), confident.plot(frames[index]))
    print(f"annotated pictures: {folder}")


def step(what: str) -> None:
    """Say what is being done, with the seconds since the start."""
    print(f"[{time.monotonic() - BEGAN:5.0f} s] {what}", flush=True)


BEGAN = time.monotonic()

if __name__ == "__main__":
    sys.exit(main())
