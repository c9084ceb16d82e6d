"""The main job from end to end: the sample detector to fp32 and int8 graphs, a rendered clip through both, and a
table of what was kept.

    python examples/demo.py [--out build/demo]

With real photographs and trained detectors beside the repository (../shared, or $EDGEDET_SHARED) the same path is
shown on those too.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgedet import Detections, Detector
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.parity import Tolerance, match_detections, summarise
from edgedet.sources import read_image
from examples.render import write_dataset
from examples.scenes.scene import render_clip

SAMPLE = ROOT / "examples" / "sample" / "camera_phone_ssdlite320.pt"
CALIBRATION_SCENES = 64
CLIP_FRAMES = 60
CLIP_SEED = 11
CONF = 0.4
KEPT_PICTURES = 6
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

    step(f"rendering {CALIBRATION_SCENES} calibration scenes and a clip of {CLIP_FRAMES} frames")
    calibration = write_dataset(arguments.out / "calibration", CALIBRATION_SCENES, seed=3)
    clip = [scene.image for scene in render_clip(CLIP_SEED, CLIP_FRAMES)]
    show("Sample detector (cameras and phones), rendered clip", SAMPLE, str(calibration), clip, arguments.out)

    shared = Path(os.environ.get("EDGEDET_SHARED") or ROOT.parent / "shared")
    bccd = shared / "data" / "bccd"
    if not bccd.is_dir():
        print(f"\nNo real photographs in {shared}: the same on blood-cell micrographs is left out.")
        return 0
    names = (bccd / "ImageSets" / "Main" / "test.txt").read_text().split()
    photographs = [read_image(bccd / "JPEGImages" / f"{name}.jpg") for name in names[:30]]
    for checkpoint in sorted((shared / "models").glob("*_bccd.pt")):
        show(f"{checkpoint.stem}, real micrographs", checkpoint, f"{bccd}:train", photographs, arguments.out)
    return 0


def show(title: str, checkpoint: Path, calibration: str, frames: Sequence[np.ndarray], out: Path) -> None:
    """Export ``checkpoint`` twice, run the frames through all three, print the table, write annotated pictures."""
    reports = {}
    for precision, options in (
        ("fp32", ExportOptions(calib=calibration)),
        ("int8", ExportOptions(precision="int8", calib=calibration, over_budget="keep_best")),
    ):
        step(f"exporting {checkpoint.name} to {precision}")
        reports[precision] = export_model(checkpoint, out / f"{checkpoint.stem}-{precision}.onnx", options)
    for report in reports.values():
        for note in report.notes:
            print(f"  {report.card.precision}: {note}")
    paths = {"torch": checkpoint} | {name: report.path for name, report in reports.items()}
    step(f"detecting on {len(frames)} frames with each")
    found, times = {}, {}
    for name, path in paths.items():
        found[name], times[name] = run(path, frames[: 20 if name == "torch" else None])
    rows = [
        Row(
            "torchvision, eager",
            checkpoint.stat().st_size / 1e6,
            times["torch"],
            sum(len(detections) for detections in found["torch"]),
            "",
        ),
        Row("edgedet fp32", reports["fp32"].bytes / 1e6, times["fp32"], count(found["fp32"]), exact(found)),
        Row("edgedet int8", reports["int8"].bytes / 1e6, times["int8"], count(found["int8"]), alike(found)),
    ]
    print_table(title, rows, times["torch"])
    write_pictures(out / checkpoint.stem, frames, found["int8"])


def run(path: Path, frames: Sequence[np.ndarray]) -> tuple[list[Detections], float]:
    """Detections of every frame, and the median time of a whole ``detect`` in ms."""
    with Detector(path, threads=2) as detector:
        detector.detect(frames[0])
        found, times = [], []
        for frame in frames:
            began = time.perf_counter()
            found.append(detector.detect(frame))
            times.append((time.perf_counter() - began) * 1e3)
    return [detections[detections.scores >= CONF] for detections in found], float(np.median(times))


def count(found: Sequence[Detections]) -> int:
    """Objects in all frames."""
    return sum(len(detections) for detections in found)


def exact(found: dict[str, list[Detections]]) -> str:
    """How many of torchvision's detections fp32 gives, to the last pixel."""
    pairs = zip(found["torch"], found["fp32"], strict=False)
    report = summarise([match_detections(ours, theirs, Tolerance(min_score=CONF)) for ours, theirs in pairs])
    return f"{report.found:.1%} equal to torchvision's"


def alike(found: dict[str, list[Detections]]) -> str:
    """How many of fp32's objects int8 finds."""
    pairs = zip(found["fp32"], found["int8"], strict=True)
    report = summarise([match_detections(ours, theirs, SAME_OBJECT) for ours, theirs in pairs])
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
        cv2.imwrite(str(folder / f"frame_{index:03d}.jpg"), found[index].plot(frames[index]))
    print(f"annotated pictures: {folder}")


def step(what: str) -> None:
    """Say what is being done, with the seconds since the start."""
    print(f"[{time.monotonic() - BEGAN:5.0f} s] {what}", flush=True)


BEGAN = time.monotonic()

if __name__ == "__main__":
    sys.exit(main())
