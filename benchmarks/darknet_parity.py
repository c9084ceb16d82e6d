"""Graphs of Darknet networks beside the program itself: the same weights, the same photographs.

Builds nothing: give folders of pjreddie's or AlexeyAB's Darknet in which ``libdarknet.so`` was made (``make``;
``make LIBSO=1``). Weights are random, fixed by seed, the heads scaled so that scores spread; ``--weights`` takes
real ones. Photographs reach both as the same pixels, so that two JPEG decoders do not count.

    python benchmarks/darknet_parity.py ~/darknet --networks yolov3-tiny yolov2-voc:160 --pictures photos/

The last line says whether the bars hold: of the program's detections from 0.05 on 99.5 % found again at IoU 0.99
and 0.001 of the score, nothing else found, boxes within 0.5 pixels and scores within 0.002.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.darknet_program import Program
from benchmarks.darknet_weights import random_arrays, read_layers, scale_heads, write_weights
from benchmarks.measured_rows import at_commit, put
from edgedet import Detections, Detector
from edgedet.export import ExportOptions, export_model
from edgedet.export.darknet.layer_records import HEADS, Detection
from edgedet.pictures.image_file import read_image
from edgedet.proof.parity import Tolerance, match_detections

THRESHOLD, MARGIN = 0.05, 0.005
"""Score from which detections are compared; both are asked for those a margin below, for the border's sake."""
SAME = Tolerance(min_score=THRESHOLD)
MAX_DETECTIONS = 3000
"""Maximum number of detections in a frame: Darknet has no limit."""


def main() -> int:
    """Compare, print a line of JSON for each network and seed, and say whether the bars hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("darknet", type=Path, help="folder with libdarknet.so and cfg/")
    parser.add_argument("--networks", nargs="+", required=True, help="names of cfg/NAME.cfg, as NAME or NAME:SIDE")
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--count", type=int, default=16, help="pictures")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--weights", type=Path, help="real ones, for the one network named")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write a row for each network into its table")
    parser.add_argument("--resize", choices=("letterbox", "stretch"))
    arguments = parser.parse_args()
    pictures = sorted(arguments.pictures.rglob("*.jpg"))[: arguments.count]
    frames = [read_image(path) for path in pictures]
    good = True
    for named in arguments.networks:
        rows = []
        for seed in range(1 if arguments.weights else arguments.seeds):
            with tempfile.TemporaryDirectory() as folder:
                rows.append(compare(arguments, named, seed, frames, Path(folder)))
            print(json.dumps(rows[-1]), flush=True)
        good &= all(row["holds"] for row in rows)
        if arguments.page:
            put(arguments.page, HEADER, cells(named, rows))
    print("the bars hold" if good else "NOT within the bars")
    return 0 if good else 1


HEADER = (
    "network",
    "program",
    "seeds x pictures",
    "detections",
    "matched",
    "extra",
    "worst box, px",
    "worst score",
)


def cells(named: str, rows: list[dict[str, Any]]) -> tuple[str, ...]:
    """Cells of a row of ``docs/measured/families.md``, over all seeds."""
    program, matched, extra = (sum(row[key] for row in rows) for key in ("program_found", "matched", "extra"))
    return (
        named.replace(":", " at "),
        rows[0]["version"],
        f"{len(rows)} x {rows[0]['pictures']}",
        str(program),
        f"{matched / max(program, 1):.2%}",
        str(extra),
        f"{max(row['box_pixels'] for row in rows):.3f}",
        f"{max(row['score'] for row in rows):.1e}",
    )


def compare(
    arguments: argparse.Namespace, named: str, seed: int, frames: list[NDArray[np.uint8]], folder: Path
) -> dict[str, Any]:
    """One network with one set of weights on all frames."""
    name, _, side = named.partition(":")
    cfg = folder / f"{Path(name).name}.cfg"
    cfg.write_text(_cfg_text(arguments.darknet / "cfg" / f"{name}.cfg", side))
    layers = read_layers(cfg)
    weights = arguments.weights or cfg.with_suffix(".weights")
    height, width = _size(cfg)
    if arguments.weights is None:
        arrays = random_arrays(layers, seed)
        scale_heads(cfg, layers, arrays, [cv2.resize(frame, (width, height)).astype("f4") for frame in frames])
        write_weights(weights, layers, arrays)
        del arrays
    program = Program(arguments.darknet / "libdarknet.so", cfg, weights, (height, width))
    heads = [layer for layer in layers if isinstance(layer.kind, HEADS)]
    cells = isinstance(heads[0].kind, Detection)
    fork: Any = "alexeyab" if program.alexeyab else "pjreddie"
    options = ExportOptions(
        weights=str(weights),
        darknet=fork,
        resize=arguments.resize,
        conf=THRESHOLD - MARGIN,
        max_detections=MAX_DETECTIONS,
    )
    started = time.monotonic()
    report = export_model(cfg, folder / "model.onnx", options)
    detector = Detector(folder / "model.onnx")
    card = report.card
    totals = {"program": 0, "matched": 0, "extra": 0}
    worst_box = worst_score = 0.0
    for frame in frames:
        theirs = program.detect(
            frame,
            classes=len(card.names),
            thresh=THRESHOLD - MARGIN,
            iou=card.output.iou_threshold,
            letterbox=card.resize.rule == "letterbox",
            cells=cells,
        )
        reference = Detections(*theirs, names=card.names, frame_size=(frame.shape[0], frame.shape[1]))
        counts, box, score = agreement(reference, detector.detect(frame))
        totals = {key: totals[key] + counts[key] for key in totals}
        worst_box, worst_score = max(worst_box, box), max(worst_score, score)
    share = totals["matched"] / max(totals["program"], 1)
    return {
        "network": named,
        "program": fork,
        "version": at_commit(arguments.darknet, f"{fork}'s"),
        "seed": seed,
        "resize": card.resize.rule,
        "pictures": len(frames),
        "program_found": totals["program"],
        "matched": totals["matched"],
        "extra": totals["extra"],
        "share": round(share, 5),
        "box_pixels": round(worst_box, 4),
        "score": round(worst_score, 6),
        "seconds": round(time.monotonic() - started, 1),
        "holds": bool(
            totals["program"]
            and share >= 0.995
            and not totals["extra"]
            and max(worst_box / 0.5, worst_score / 0.002) <= 1
        ),
    }


def agreement(theirs: Detections, ours: Detections) -> tuple[dict[str, int], float, float]:
    """Counts of equal detections, and the largest differences of the program's from ours beside them."""
    same = match_detections(theirs, ours, SAME)
    counts = {
        "program": same.reference_count,
        "matched": same.reference_count - len(same.missing),
        "extra": len(same.extra),
    }
    box = score = 0.0
    for index in np.flatnonzero(theirs.scores >= THRESHOLD):
        others = np.flatnonzero(ours.labels == theirs.labels[index])
        if len(others):
            boxes = np.abs(ours.boxes[others] - theirs.boxes[index]).max(axis=1)
            scores = np.abs(ours.scores[others] - theirs.scores[index])
            nearest = int(np.argmin(boxes / 0.5 + scores / 0.002))
            box, score = max(box, float(boxes[nearest])), max(score, float(scores[nearest]))
    return counts, box, score


def _size(cfg: Path) -> tuple[int, int]:
    text = cfg.read_text()
    sides = [re.search(rf"^{side}\s*=\s*(\d+)", text, re.MULTILINE) for side in ("height", "width")]
    height, width = (int(found[1]) for found in sides if found)
    return height, width


def _cfg_text(path: Path, side: str) -> str:
    """A ``.cfg`` for one picture at a time, and of another size."""
    text = re.sub(r"^(batch|subdivisions)\s*=.*$", r"\1=1", path.read_text(), flags=re.MULTILINE)
    return re.sub(r"^(height|width)\s*=.*$", rf"\1={side}", text, flags=re.MULTILINE) if side else text


if __name__ == "__main__":
    raise SystemExit(main())
