"""``edgedet eval`` of a segmenter: mean IoU on pictures with labels of every pixel."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedet.cli.progress import Progress
from edgedet.errors import DatasetError, EdgedetError, UsageError

if TYPE_CHECKING:
    from edgedet.evaluate.maps import MapEvaluation

TAKEN = ("command", "artifact", "dataset", "limit", "strict", "runtime", "threads", "json", "require_signature")
"""Options that say something of a segmenter's judgement; labels of pixels are read strictly in any case."""
CARDLESS = (".pt", ".pth", ".ckpt", ".safetensors")
"""Files that say what they are only once their framework has read them."""


def is_segmenter(artifact: str, dataset: str) -> bool:
    """Whether an artifact is one. Of a checkpoint that is asked only where there are labels of pixels."""
    from edgedet.datasets.map_dataset import is_map_dataset
    from edgedet.opening import read_card

    if artifact.lower().endswith(CARDLESS) and not is_map_dataset(dataset):
        return False
    try:
        return read_card(Path(artifact)).task == "segmentation"
    except EdgedetError:
        return False  # which is said where it is opened


def run_maps(arguments: argparse.Namespace) -> int:
    """Open, judge, and print the figures."""
    from dataclasses import replace

    from edgedet.datasets.map_dataset import read_map_dataset
    from edgedet.evaluate.maps import evaluate_maps
    from edgedet.files import atomic_path, file_sha256, require_writable_parent
    from edgedet.segmenter import Segmenter

    given = next((name for name, value in vars(arguments).items() if name not in TAKEN and value), None)
    if given is not None:
        raise UsageError(
            f"--{given.replace('_', '-')} is for detectors; {arguments.artifact} is a segmenter, which is judged "
            "by the class of every pixel: leave it out"
        )
    if arguments.json is not None and arguments.json != "-":
        require_writable_parent(arguments.json)
    dataset = read_map_dataset(arguments.dataset)
    if arguments.limit is not None:
        dataset = replace(dataset, records=dataset.records[: arguments.limit])
    pictures = "1 picture" if len(dataset) == 1 else f"{len(dataset)} pictures"
    with (
        Segmenter(arguments.artifact, runtime=arguments.runtime, threads=arguments.threads) as segmenter,
        Progress() as progress,
    ):
        evaluation = evaluate_maps(segmenter, dataset, progress=progress)
        if math.isnan(evaluation.mean_iou):
            raise DatasetError(
                f"{dataset.source}: not one pixel of {pictures} has a label of the segmenter's classes, and there "
                "is nothing to judge by"
            )
        data: dict[str, Any] = {
            "artifact": str(segmenter.path),
            "sha256": file_sha256(segmenter.path),
            "family": segmenter.card.family,
            "architecture": segmenter.card.architecture,
            "precision": segmenter.card.precision,
            "runtime": segmenter.description,
            "dataset": dataset.source,
            "notes": list(dataset.notes),
        }
        data |= evaluation.to_dict()
    if arguments.json == "-":
        print(json.dumps(data, indent=1, allow_nan=False))
        return 0
    if arguments.json is not None:
        with atomic_path(arguments.json) as temporary:
            temporary.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    for line in (f"{dataset.source}: {pictures}", *dataset.notes, *report_lines(evaluation)):
        print(line)
    return 0


def report_lines(evaluation: MapEvaluation) -> Iterator[str]:
    """The report for people."""
    if evaluation.left_out:
        yield f"left out, the segmenter does not know them: {', '.join(evaluation.left_out)}"
    if evaluation.ignored:
        yield f"counted for nothing: {evaluation.ignored:.2%} of the pixels"
    yield ""
    yield f"mean IoU {evaluation.mean_iou:.4f}   pixel accuracy {evaluation.pixel_accuracy:.4f}"
    yield ""
    width = max(len(name) for name in (*evaluation.names, "class"))
    yield f"{'class':{width}}       pixels    IoU"
    for name, row, iou in zip(evaluation.names, evaluation.confusion, evaluation.ious, strict=True):
        figure = "    -" if math.isnan(iou) else f"{iou:5.3f}"
        yield f"{name:{width}} {int(row.sum()):12,}  {figure}"
