"""Anchors that fit a dataset: k-means under 1 - IoU, for YOLO's lists and Faster R-CNN's scales and ratios.

The mean IoU says how well every box is met by its best anchor; compare it with that of the anchors you have.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedet.cli.progress import Progress
from edgedet.cli.values import canvas_size, class_names, positive_integer, whole_number
from edgedet.missing_figures import explained

if TYPE_CHECKING:
    from edgedet.datasets.anchors import AnchorGrid, Anchors

EXAMPLES = """\
examples:
  edgedet anchors bccd:train --count 9 --imgsz 416
  edgedet anchors instances_train2017.json --imgsz 320 --fit shortest_side --scales 5 --ratios 3
"""

YOLO_V2_STRIDE = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``edgedet anchors``."""
    parser.add_argument("dataset", metavar="DATASET", help="labelled images, PATH[:SPLIT]")
    parser.add_argument(
        "--images", metavar="DIR", type=Path, help="folder of the pictures, if not at a usual place"
    )
    parser.add_argument("--classes", metavar="NAMES", type=class_names, help="boxes of these classes only")
    parser.add_argument(
        "--count", metavar="N", type=positive_integer, default=9, help="number of anchors, YOLO style (9)"
    )
    parser.add_argument(
        "--scales", metavar="N", type=positive_integer, default=5, help="number of scales, Faster R-CNN style (5)"
    )
    parser.add_argument(
        "--ratios", metavar="N", type=positive_integer, default=3, help="number of ratios, Faster R-CNN style (3)"
    )
    parser.add_argument(
        "--imgsz",
        metavar="SIZE",
        type=canvas_size,
        default=(640, 640),
        help="network input, SIDE or HEIGHTxWIDTH (640)",
    )
    parser.add_argument(
        "--fit",
        choices=("letterbox", "stretch", "shortest_side", "none"),
        default="letterbox",
        help="resizing of pictures onto the input; none: pixels of the pictures (letterbox)",
    )
    parser.add_argument("--seed", metavar="N", type=whole_number, default=0, help="seed of k-means (0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Read the boxes, fit, print."""
    from edgedet.datasets import read_dataset
    from edgedet.datasets.anchors import box_sizes, fit_anchor_grid, fit_anchors

    with Progress() as progress:
        progress("reading the dataset")
        dataset = read_dataset(arguments.dataset, images=arguments.images, classes=arguments.classes)
        sizes = box_sizes(dataset, imgsz=arguments.imgsz, fit=arguments.fit)
        progress("fitting anchors")
        anchors = fit_anchors(sizes, arguments.count, seed=arguments.seed)
        grid = fit_anchor_grid(sizes, arguments.scales, arguments.ratios, seed=arguments.seed)
    if arguments.json:
        print(json.dumps(_facts(anchors, grid, len(sizes)), indent=1))
        return 0
    print(dataset.describe())
    where = "the pictures" if arguments.fit == "none" else f"a {arguments.imgsz[0]}x{arguments.imgsz[1]} input"
    print(f"pixels of {where} ({arguments.fit}), {len(sizes):,} boxes\n")
    for line in _lines(anchors, grid):
        print(line)
    return 0


TOO_FEW = "no more boxes than anchors, so each may be its own"


def _facts(anchors: Anchors, grid: AnchorGrid, boxes: int) -> dict[str, Any]:
    return {
        "boxes": boxes,
        "yolo": {"anchors": anchors.sizes.round(2).tolist()} | _fit(anchors),
        "faster_rcnn": {"scales": grid.scales.round(2).tolist(), "aspect_ratios": grid.ratios.round(3).tolist()}
        | _fit(grid),
    }


def _fit(found: Anchors | AnchorGrid) -> dict[str, Any]:
    figures = {
        "mean_iou": None if found.mean_iou is None else round(found.mean_iou, 5),
        "covered_at_iou_50": None if found.covered is None else round(found.covered, 5),
    }
    return explained(figures, {}, otherwise=TOO_FEW)


def _lines(anchors: Anchors, grid: AnchorGrid) -> Iterator[str]:
    pairs = anchors.sizes.tolist()
    yield f"{len(pairs)} anchors, width,height: {_fit_words(anchors)}"
    yield f"  YOLOv3 (pixels)              {', '.join(f'{w:.0f},{h:.0f}' for w, h in pairs)}"
    cells = ", ".join(f"{w / YOLO_V2_STRIDE:.2f},{h / YOLO_V2_STRIDE:.2f}" for w, h in pairs)
    yield f"  YOLOv2 (cells of {YOLO_V2_STRIDE} pixels)  {cells}"
    yield (f"{len(grid.scales)} scales x {len(grid.ratios)} aspect ratios (height / width): {_fit_words(grid)}")
    yield f"  Faster R-CNN scales          {', '.join(f'{scale:.0f}' for scale in grid.scales)}"
    yield f"  Faster R-CNN aspect ratios   {', '.join(f'{ratio:.2f}' for ratio in grid.ratios)}"


def _fit_words(found: Anchors | AnchorGrid) -> str:
    if found.mean_iou is None or found.covered is None:
        return f"how well they fit is not known ({TOO_FEW})"
    return f"mean IoU {found.mean_iou:.3f}, {found.covered:.1%} above 0.5"
