"""Motion against the region proposal network: accuracy and time of both on a clip whose objects are known.

    python benchmarks/outside_proposals.py [--shared ../shared] [--frames 60] [--cells 8] [--proposals 24]

A trained Faster R-CNN (blood cells) with its own 50 and 150 proposals, and with those of
examples/motion_proposals.py. The clip: cells cut from the test pictures that drift over a still background, seen by
a camera that stands still. All detect the same frame in turns; CPU time is of the whole process, all threads, and
counts the proposer. Ends with 1 where motion finds less than 0.9 of what the RPN finds (mAP at an IoU of 0.5).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from edgedet import Detections, Detector
    from edgedet.datasets.dataset import Dataset

HEIGHT, WIDTH = 480, 640
WARMUP = 5
"""Frames that are not judged or timed: the proposer knows no background yet."""


@dataclass
class Row:
    """What came of one way."""

    name: str
    detector: Detector
    found: list[Detections] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


def main() -> int:
    """Render, export, run in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shared", type=Path, default=Path(os.environ.get("EDGEDET_SHARED") or ROOT.parent / "shared")
    )
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--cells", type=int, default=8, help="that move (8)")
    parser.add_argument("--proposals", type=int, default=24, help="from outside (24)")
    arguments = parser.parse_args()
    checkpoint = arguments.shared / "models" / "fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt"
    pictures = arguments.shared / "data" / "bccd"
    if not checkpoint.is_file() or not pictures.is_dir():
        print(f"needs {checkpoint} and {pictures}: a trained two-stage detector and its pictures", file=sys.stderr)
        return 2
    from edgedet import Detector
    from edgedet.datasets import read_dataset
    from edgedet.evaluate.coco import coco_metrics
    from edgedet.export.options import ExportOptions
    from edgedet.export.pipeline import export_model
    from edgedet.machine.hardware import describe_machine
    from examples.motion_proposals import MotionProposer

    dataset = read_dataset(f"{pictures}:test")
    clip = list(moving_cells(dataset, WARMUP + arguments.frames, arguments.cells))
    with tempfile.TemporaryDirectory() as name:
        rows = []
        for title, options in (
            ("RPN, 150 proposals", ExportOptions(proposals=150)),
            ("RPN, 50 proposals", ExportOptions(proposals=50)),
            (f"motion, {arguments.proposals} proposals", ExportOptions(outside_proposals=arguments.proposals)),
        ):
            path = Path(name) / f"{len(rows)}.onnx"
            export_model(checkpoint, path, options)
            rows.append(Row(title, Detector(path, runtime="onnxruntime:cpu")))
        rows[-1].detector.proposer = MotionProposer(arguments.proposals)
        for number, (frame, _, _) in enumerate(clip):
            for row in rows[:: 1 if number % 2 else -1]:
                begin, cpu = time.perf_counter(), time.process_time()
                found = row.detector.detect(frame)
                if number >= WARMUP:
                    row.cpu.append((time.process_time() - cpu) * 1e3)
                    row.wall.append((time.perf_counter() - begin) * 1e3)
                    row.found.append(found)
    truth = as_dataset(dataset.names, clip[WARMUP:])
    cpu = describe_machine().cpu
    print(f"{cpu.model}, {cpu.cores} cores; {arguments.frames} frames of {WIDTH}x{HEIGHT}, in turns\n")
    print("| proposals | mAP | mAP 50 | CPU ms a frame | wall ms a frame |")
    print("|---|---|---|---|---|")
    scores = []
    for row in rows:
        metrics = coco_metrics(row.found, truth)
        scores.append(metrics.ap50)
        print(
            f"| {row.name} | {metrics.map:.3f} | {metrics.ap50:.3f} | {statistics.median(row.cpu):.1f} | "
            f"{statistics.median(row.wall):.1f} |"
        )
        row.detector.close()
    return 0 if scores[-1] >= 0.9 * scores[1] else 1


def as_dataset(names: tuple[str, ...], clip: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Dataset:
    """The clip's boxes as those of a labelled dataset."""
    from edgedet.datasets.dataset import Dataset, ImageRecord

    records = []
    for number, (_, boxes, labels) in enumerate(clip):
        no = np.zeros(len(labels), np.bool_)
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        records.append(ImageRecord(Path(f"{number}.png"), WIDTH, HEIGHT, boxes, labels, no, no, area))
    return Dataset(names, tuple(records), "folder", "clip")


def moving_cells(dataset: Dataset, frames: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Frames uint8 [HEIGHT, WIDTH, 3] BGR with their boxes float64 [N, 4] and labels int32 [N]."""
    from edgedet.pictures.image_file import read_image

    rng = np.random.default_rng(5)
    cells: list[tuple[np.ndarray, np.ndarray, int]] = []
    ground: np.ndarray | None = None
    for record in dataset.images:
        picture = read_image(record.path)
        if ground is None:
            # The field between the cells: bright everywhere, and still.
            plain = np.percentile(picture.reshape(-1, 3), 85, axis=0)
            tilt = cv2.resize(rng.normal(0, 3, (4, 5)).astype(np.float32), (WIDTH, HEIGHT))
            ground = np.clip(plain + tilt[..., None], 0, 255).astype(np.float32)
        for box, label in zip(record.boxes.astype(int), record.labels, strict=True):
            cut = picture[box[1] : box[3], box[0] : box[2]]
            inside = box.min() > 2 and box[2] < record.width - 2 and box[3] < record.height - 2
            alone = sum(_meet(box, other) for other in record.boxes) == 1
            if inside and alone and min(cut.shape[:2]) >= 24:
                cells.append((cut.astype(np.float32), _soft(cut.shape[:2]), int(label)))
        if len(cells) >= 4 * count:
            break
    assert ground is not None
    chosen = [cells[place] for place in rng.permutation(len(cells))[:count]]
    across = int(np.ceil(np.sqrt(count * WIDTH / HEIGHT)))
    down = -(-count // across)
    places = np.array(
        [
            ((number % across + 0.5) * WIDTH / across, (number // across + 0.5) * HEIGHT / down)
            for number in range(count)
        ]
    )
    swing = rng.uniform(14, 26, (count, 2))
    phase = rng.uniform(0, 2 * np.pi, (count, 2))
    for frame in range(frames):
        image = ground + rng.normal(0, 2, ground.shape)
        boxes, labels = [], []
        for (cell, alpha, label), place, reach, begin in zip(chosen, places, swing, phase, strict=True):
            x, y = place + reach * np.sin(frame / 7 + begin)
            tall, wide = cell.shape[:2]
            left, top = int(x - wide / 2), int(y - tall / 2)
            left, top = min(max(left, 0), WIDTH - wide), min(max(top, 0), HEIGHT - tall)
            part = image[top : top + tall, left : left + wide]
            part[:] = part * (1 - alpha) + cell * alpha
            boxes.append([left, top, left + wide, top + tall])
            labels.append(label)
        yield (
            np.clip(np.rint(image), 0, 255).astype(np.uint8),
            np.array(boxes, np.float64),
            np.array(labels, np.int32),
        )


def _meet(box: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.all(np.maximum(box[:2], other[:2]) < np.minimum(box[2:], other[2:])))


def _soft(size: tuple[int, int]) -> np.ndarray:
    """An ellipse that fills ``size`` and fades at its rim: float32 [H, W, 1]."""
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    return np.asarray(np.clip((1.05 - np.hypot(x, y)) * 8, 0, 1)[..., None], np.float32)


if __name__ == "__main__":
    sys.exit(main())
