"""Memory of an evaluation as the number of images grows, beside pycocotools fed with everything at once.

    python benchmarks/eval_memory.py            10,000 images; writes docs/measured/eval_memory.{md,png}
    python benchmarks/eval_memory.py --images 2000 --out /tmp

Synthetic: pictures of coloured clouds (640 × 480, decoded anew every time), 80 classes, 7 objects and 100
detections per image, which is COCO's density and the most its protocol looks at. Every run is a process of its own,
so that none inherits another's memory. pycocotools is stopped at a third of the images: it would need gigabytes for
all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgedet.datasets import Dataset
from edgedet.datasets.rows import ProblemLog, Row, build_record
from edgedet.detections import Detections
from edgedet.evaluate.evaluation import evaluate
from edgedet.pictures.image_file import read_image

CLASSES = tuple(f"class {label}" for label in range(80))
SIZE = (640, 480)
OBJECTS, DETECTIONS, PICTURES = 7, 100, 16
MEGABYTE = 1e6
ROOT = Path(__file__).resolve().parents[1]


def resident_bytes() -> int:
    """Memory this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def synthetic_dataset(images: int, folder: Path) -> Dataset:
    """Records with boxes of their own; the pictures themselves repeat."""
    random = np.random.default_rng(0)
    paths = []
    for index in range(PICTURES):
        paths.append(folder / f"{index}.jpg")
        clouds = random.integers(0, 256, (15, 20, 3), np.uint8)
        cv2.imwrite(str(paths[-1]), cv2.resize(clouds, SIZE, interpolation=cv2.INTER_CUBIC))
    records = []
    for index in range(images):
        corners = random.uniform(0, 300, (OBJECTS, 2))
        boxes = np.concatenate([corners, corners + random.uniform(8, 170, (OBJECTS, 2))], axis=1)
        labels = random.integers(0, len(CLASSES), OBJECTS)
        rows = [Row("made", int(label), *box) for label, box in zip(labels, boxes.tolist(), strict=True)]
        records.append(build_record(paths[index % PICTURES], SIZE, rows, ProblemLog()))
    return Dataset(CLASSES, tuple(records), "coco", "synthetic")


def synthetic_answers(dataset: Dataset) -> Iterator[Detections]:
    """What a mediocre detector would say: most objects, displaced, and many boxes elsewhere."""
    random = np.random.default_rng(1)
    for record in dataset.images:
        elsewhere = DETECTIONS - len(record)
        corners = random.uniform(0, 300, (elsewhere, 2))
        boxes = np.concatenate(
            [
                record.boxes + random.normal(0, 4, record.boxes.shape),
                np.concatenate([corners, corners + random.uniform(8, 170, corners.shape)], axis=1),
            ]
        )
        labels = np.concatenate([record.labels, random.integers(0, len(CLASSES), elsewhere)])
        scores = random.random(DETECTIONS)
        order = np.argsort(-scores)
        yield Detections(boxes[order], scores[order], labels[order], CLASSES, SIZE[::-1])


def by_edgedet(dataset: Dataset, tick: Callable[[int], None]) -> float:
    """What ``edgedet eval`` runs."""
    answers = synthetic_answers(dataset)
    return evaluate(lambda frame: next(answers), dataset, progress=lambda stage, done, total: tick(done)).coco.map


def by_pycocotools(dataset: Dataset, tick: Callable[[int], None]) -> float:
    """Everything in lists, then one COCOeval, as its demo and most tools do."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for index, (record, detections) in enumerate(zip(dataset.images, synthetic_answers(dataset), strict=True)):
        tick(index)
        read_image(record.path)
        for (x1, y1, x2, y2), label in zip(record.boxes.tolist(), record.labels.tolist(), strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            entry = {"id": len(truth) + 1, "image_id": index + 1, "category_id": label, "iscrowd": 0}
            truth.append(entry | {"bbox": box, "area": box[2] * box[3]})
        found += detections.to_coco(index + 1)
    tick(len(dataset))
    gt = COCO()
    categories = [{"id": label} for label in range(len(CLASSES))]
    images = [{"id": index + 1} for index in range(len(dataset))]
    gt.dataset = {"images": images, "annotations": truth, "categories": categories}
    gt.createIndex()
    evaluation = COCOeval(gt, gt.loadRes(found), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])


def measure(way: str, images: int) -> dict[str, Any]:
    """One run in this process: memory by image, and the peak including the conclusion."""
    done = [0]
    samples: list[tuple[int, int]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            samples.append((done[0], resident_bytes()))

    with tempfile.TemporaryDirectory() as folder:
        dataset = synthetic_dataset(images, Path(folder))
        before = resident_bytes()
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        begin = time.perf_counter()
        figure = {"edgedet": by_edgedet, "pycocotools": by_pycocotools}[way](
            dataset, lambda number: done.__setitem__(0, number)
        )
        seconds = time.perf_counter() - begin
        over.set()
        watcher.join()
    during = {number: size for number, size in samples if number < images}
    step = max(1, len(during) // 200)
    return {
        "way": way,
        "images": images,
        "map": figure,
        "seconds": round(seconds, 1),
        "before_mb": round(before / MEGABYTE, 1),
        "peak_mb": round(max(size for _, size in samples) / MEGABYTE, 1),
        "curve": [(number, round(size / MEGABYTE, 1)) for number, size in list(during.items())[::step]],
    }


def in_process_of_its_own(way: str, images: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--run", way, "--images", str(images)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    result: dict[str, Any] = json.loads(answer)
    return result


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """Memory against images, for the largest run of each way."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=130)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for way, colour in (("edgedet", "#1f77b4"), ("pycocotools", "#d95f02")):
        run = max((run for run in runs if run["way"] == way), key=lambda run: run["images"])
        axes.plot(*zip(*run["curve"], strict=True), color=colour, label=f"{way}, while images go by")
        axes.plot(
            [run["images"]],
            [run["peak_mb"]],
            "o",
            color=colour,
            label=f"{way}, peak with the conclusion",
            clip_on=False,
        )
    axes.set_xlabel("images evaluated")
    axes.set_ylabel("resident memory, MB")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path)


def page(runs: list[dict[str, Any]], images: int) -> str:
    """The measured page."""
    table = [
        f"| {run['way']} | {run['images']:,} | {run['before_mb']:.0f} | {run['peak_mb']:.0f} "
        f"| {run['peak_mb'] - run['before_mb']:.0f} | {run['seconds']:.0f} | {run['map']:.9f} |"
        for run in runs
    ]
    return "\n".join(
        [
            "# Memory of an evaluation",
            "",
            f"`python benchmarks/eval_memory.py --images {images}`: synthetic pictures, {len(CLASSES)} classes, "
            f"{OBJECTS} objects and {DETECTIONS} detections per image. `edgedet` is what `edgedet eval` runs "
            "(COCO, VOC and ranked precision, working points); `pycocotools` is its own evaluator fed with "
            "everything at once, stopped at a third of the images. *Before* includes the annotations. Every row is "
            "a process of its own.",
            "",
            "| evaluated by | images | before, MB | peak, MB | grown by, MB | seconds | mAP |",
            "|---|---|---|---|---|---|---|",
            *table,
            "",
            "![resident memory against images evaluated](eval_memory.png)",
            "",
            "While images go by, memory does not grow: what an evaluation keeps per detection goes to a temporary "
            "file (41 bytes each). The conclusion reads it back class by class for the average precisions, and all "
            "of it once for the thresholds, which is where the peak of the largest run comes from (a million "
            "detections, about 60 bytes each). The figures are pycocotools' own. Seconds are wall time on a "
            "machine shared with other work.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "measured")
    parser.add_argument("--run", choices=("edgedet", "pycocotools"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(measure(arguments.run, arguments.images)))
        return
    sizes = [max(arguments.images // 10, 1), max(arguments.images // 3, 2), arguments.images]
    runs = [in_process_of_its_own("edgedet", images) for images in sizes]
    runs += [in_process_of_its_own("pycocotools", images) for images in sizes[:2]]
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "eval_memory.md").write_text(page(runs, arguments.images), encoding="utf-8")
    draw(runs, arguments.out / "eval_memory.png")
    print(page(runs, arguments.images))


if __name__ == "__main__":
    main()
