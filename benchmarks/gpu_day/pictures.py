"""The prepared pictures, and what the graphs found in them on the machine that prepared them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edgedet.datasets import Dataset, read_dataset
from edgedet.detections import Detections
from edgedet.pictures.image_file import read_image
from edgedet.runtimes.base import Array
from gpu_day.inputs import Graph, Inputs


def labelled(inputs: Inputs, graph: Graph, work: Path) -> Dataset:
    """The pictures that ``graph`` is judged on."""
    assert graph.pictures is not None
    return read_dataset(inputs.unpack(graph.pictures, work) / inputs.pictures[graph.pictures]["labels"])


def first_picture(inputs: Inputs, graph: Graph, work: Path) -> Array:
    """uint8 [H, W, 3], BGR."""
    return read_image(labelled(inputs, graph, work).images[0].path)


def save_answers(path: Path, found: Sequence[Detections]) -> None:
    """What was found, picture by picture."""
    np.savez_compressed(
        path,
        counts=np.array([len(each) for each in found], np.int64),
        sizes=np.array([each.frame_size for each in found], np.int64).reshape(-1, 2),
        boxes=np.concatenate([each.boxes for each in found]),
        scores=np.concatenate([each.scores for each in found]),
        labels=np.concatenate([each.labels for each in found]),
    )


def read_answers(path: Path, names: tuple[str, ...]) -> Iterator[Detections]:
    """What :func:`save_answers` wrote."""
    with np.load(path) as content:
        kept = {name: content[name] for name in ("counts", "sizes", "boxes", "scores", "labels")}
    ends = np.cumsum(kept["counts"])
    for begin, end, size in zip(ends - kept["counts"], ends, kept["sizes"], strict=True):
        boxes, scores, labels = (kept[name][begin:end] for name in ("boxes", "scores", "labels"))
        yield Detections(boxes, scores, labels, names, (int(size[0]), int(size[1])))
