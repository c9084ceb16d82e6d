"""A framework's file with all names and metadata taken away: how it is read then, and whether that is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from edgedet import Detections, Detector
from edgedet.errors import EdgedetError
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.proof.parity import Tolerance, match_detections, summarise

REQUIRED = 0.995


@dataclass(frozen=True)
class Reading:
    """``word``: ``right``, ``refused`` or ``WRONG``; ``why``: what the report or the refusal says."""

    word: str
    why: str


def strip(source: Path, target: Path) -> Path:
    """Write ``source`` to ``target`` with tensors called t0, t1, ... and nothing said of itself."""
    model = onnx.load(str(source))
    del model.metadata_props[:]
    model.producer_name = model.producer_version = model.doc_string = model.domain = ""
    model.model_version = 0
    _rename(model.graph, {})
    onnx.save(model, str(target))
    return target


def _rename(graph: onnx.GraphProto, known: dict[str, str]) -> None:
    """Rename in place, in the bodies of loops and branches too."""

    def new(name: str) -> str:
        return known.setdefault(name, f"t{len(known)}") if name else ""

    graph.name, graph.doc_string = "graph", ""
    # Shapes inside are the exporter's own word for what a tensor is; those of the outputs stay.
    del graph.value_info[:]
    for value in (*graph.input, *graph.initializer, *graph.output):
        value.name, value.doc_string = new(value.name), ""
    for node in graph.node:
        node.name = node.doc_string = ""
        for names in (node.input, node.output):
            names[:] = [new(name) for name in names]
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else ())):
                _rename(inner, known)


def readings(
    source: Path, folder: Path, wanted: Sequence[Detections], frames: Sequence[np.ndarray], options: ExportOptions
) -> dict[str, Reading]:
    """By what its user says: nothing, or the classes' names.

    Args:
        source: the file as its framework wrote it.
        folder: for what is written on the way.
        wanted: what the file finds in ``frames`` where it is read as its framework means it.
        frames: BGR.
        options: of ``wanted``; what they say of the file's own meaning is not passed on.
    """
    bare = strip(source, folder / "nameless.onnx")
    names = wanted[0].names
    said: dict[str, tuple[str, ...] | None] = {"nothing": None, "classes": names}
    return {
        word: _reading(
            bare, folder, wanted, frames, replace(options, family=None, classes=classes, max_detections=1000)
        )
        for word, classes in said.items()
    }


def _reading(
    bare: Path,
    folder: Path,
    wanted: Sequence[Detections],
    frames: Sequence[np.ndarray],
    options: ExportOptions,
) -> Reading:
    try:
        report = export_model(bare, folder / "read.onnx", options)
    except EdgedetError as error:
        return Reading("refused", str(error))
    with Detector(report.path, threads=2) as detector:
        found = [detector.detect(frame) for frame in frames]
    pairs = [match_detections(*pair, Tolerance()) for pair in zip(wanted, found, strict=True)]
    # The limit is the user's to choose: what counts is that no box is another than it should be.
    share = summarise(pairs).found
    said = next((note for note in report.notes if "recognised" in note), "; ".join(report.notes))
    return Reading("right" if share is not None and share >= REQUIRED else f"WRONG ({share})", said)
