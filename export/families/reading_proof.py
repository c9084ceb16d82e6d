"""Whether what a reading makes of a foreign graph can be detections: run on sample pictures, all candidates seen.

Boxes lie on the canvas, with their corners in order, and not all in one place; scores are probabilities; classes
differ. A wrong reading fails one of these nearly always: sizes taken for far corners turn boxes round, shares taken
for pixels put them all into one corner, a background taken for a class wins everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgedet.errors import ArtifactError
from edgedet.onnxruntime_import import onnxruntime, session_options
from edgedet.outputs.plausible_values import score_range

from ..foreign import ForeignGraph
from .base import Exported, ForeignExport, ForeignFamily, GraphOptions
from .trial import picture_frames

Array = NDArray[Any]

MIN_ORDERED = 0.5
"""Share of boxes whose corners are in order: an untrained network turns some round, a wrong reading most."""
MIN_INSIDE, MARGIN = 0.5, 0.25
"""Share of boxes whose middle lies on the canvas, or beside it by that share of its side."""
MIN_PLACES = 0.05
"""Share of the canvas's side over which the middles of boxes spread, along both axes."""
ONE_CLASS, SURE = 0.98, 0.5
"""Share of candidates that one class wins, surely, where it is not a class but the background."""
ONE_PLACE = "all boxes are in one place, or on one line"
MIN_ROWS = 8
"""Number of candidates that show anything."""


@dataclass(frozen=True)
class Proof:
    """What was seen. ``faults``: nothing is read so; ``doubts``: no trained detector is, though one that names
    itself may be. ``boxes``: number of candidates seen, on ``pictures``."""

    faults: tuple[str, ...]
    doubts: tuple[str, ...]
    boxes: int
    pictures: int

    def text(self) -> str:
        """For the report."""
        seen = f"a trial run on {self.pictures} pictures gave {self.boxes} boxes, "
        if self.doubts:
            return f"{seen}yet {' and '.join(self.doubts)}"
        return f"{seen}which lie on the canvas, in order, with scores from 0 to 1"


TRIAL: dict[str, Any] = {"nms": "runtime", "conf": 0.0, "iou": None, "max_detections": None}
"""Options under which nothing is left out that a reading makes of the numbers."""


def proved(
    export: Callable[[GraphOptions], ForeignExport], foreign: ForeignGraph, options: GraphOptions
) -> tuple[ForeignExport, Proof]:
    """What ``export`` makes under ``options``, and what is seen of it with all candidates let through.

    Raises:
        EdgedetError: as ``export``.
        ArtifactError: what it makes does not run.
    """
    seen = prove(export(replace(options, **TRIAL)).exported, foreign.path)
    return export(options), seen


def for_trial(foreign: ForeignGraph) -> ForeignGraph:
    """A copy that an exporter may change, whose candidates can all be let through."""
    model = onnx.ModelProto()
    model.CopyFrom(foreign.model)
    # Classes that suppress each other do so in a graph's NMS alone, which a trial leaves out.
    nms = None if foreign.nms is None else replace(foreign.nms, apart=None)
    return replace(foreign, model=model, nms=nms)


def require_places(
    family: ForeignFamily, foreign: ForeignGraph, options: GraphOptions, classes: int | None
) -> None:
    """Refuse a file that its user takes for another ``family``'s, where its numbers are plainly no boxes.

    An untrained network turns boxes round, or lets them leave the canvas; it does not put those of all anchors into
    one place.

    Raises:
        EdgedetError: as ``family.export``.
        ArtifactError: all boxes are in one place.
    """
    made = family.export(for_trial(foreign), replace(options, **TRIAL), classes)
    if not made.chosen and ONE_PLACE in prove(made.exported, foreign.path).doubts:
        raise ArtifactError(
            f"{foreign.path}: read as --family {family.name} says, {ONE_PLACE}; it is another detector's "
            "file: leave --family out to see what fits, or state its outputs (--outputs)"
        )


def prove(exported: Exported, path: Path) -> Proof:
    """Run a graph of ours, made with all candidates let through, on sample pictures.

    Raises:
        ArtifactError: it does not run.
    """
    boxes, scores, labels = _seen(exported, path)
    pictures = len(boxes)
    shown = scores > 0 if labels is not None else np.ones(scores.shape[:2], bool)
    rows, best = boxes[shown], scores[shown]
    classes = labels[shown] if labels is not None else best.argmax(axis=1) if best.size else np.zeros(0, int)
    sure = best if labels is not None else best.max(axis=1, initial=0.0)
    faults = _faults(rows, best, exported.input.height, exported.input.width)
    alone = labels is None and scores.shape[2] == 1
    canvas = np.array([exported.input.width, exported.input.height], np.float32)
    doubts = () if faults else _doubts(rows / np.tile(canvas, 2), sure, classes, alone=alone)
    return Proof(faults, doubts, len(rows), pictures)


def _seen(exported: Exported, path: Path) -> tuple[Array, Array, Array | None]:
    """Boxes [F, A, 4], and scores [F, A, C], or [F, K] with labels [F, K], of the first picture of each batch."""
    spec = exported.input
    session = onnxruntime.InferenceSession(
        exported.model.SerializeToString(), session_options(None), providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_outputs()]
    runs = []
    for frame in picture_frames(spec.height, spec.width):
        batch = np.repeat(frame[None], spec.batch, axis=0).astype(spec.dtype)
        try:
            found = session.run(names, {spec.name: batch})
        except Exception as error:  # the bindings raise a dozen kinds
            reason = " ".join(str(error).split())
            raise ArtifactError(f"{path}: ONNX Runtime cannot run what was read ({reason[:200]})") from error
        runs.append({name: value[0] for name, value in zip(names, found, strict=True)})
    boxes, scores = (np.stack([run[name] for run in runs]) for name in ("boxes", "scores"))
    labels = np.stack([run["labels"] for run in runs]) if "labels" in names else None
    return boxes, scores, labels


def _faults(boxes: Array, scores: Array, height: int, width: int) -> tuple[str, ...]:
    if not np.isfinite(boxes).all() or not np.isfinite(scores).all():
        return ("it gives numbers that are not finite",)
    faults = []
    beyond = score_range(scores)
    if beyond is not None:
        faults.append(f"scores range from {beyond[0]:.3g} to {beyond[1]:.3g}, expected 0 to 1")
    if len(boxes) < MIN_ROWS:
        return tuple(faults)
    ordered = float(((boxes[:, 2] >= boxes[:, 0]) & (boxes[:, 3] >= boxes[:, 1])).mean())
    if ordered < MIN_ORDERED:
        faults.append(f"only {ordered:.0%} of the boxes have x1 <= x2 and y1 <= y2")
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2 / np.array([width, height], np.float32)
    inside = float((np.abs(middles - 0.5) <= 0.5 + MARGIN).all(axis=1).mean())
    if inside < MIN_INSIDE:
        faults.append(f"only {inside:.0%} of the boxes lie on the canvas")
    return tuple(faults)


def _doubts(boxes: Array, sure: Array, classes: Array, *, alone: bool) -> tuple[str, ...]:
    """``boxes`` [R, 4] as shares of the canvas; ``alone``: there is one class only."""
    if len(boxes) < MIN_ROWS:
        return (f"{len(boxes)} boxes show nothing",)
    doubts = []
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    if float(np.ptp(middles, axis=0).min()) < MIN_PLACES:
        doubts.append(ONE_PLACE)
    share = np.bincount(classes).max() / len(classes)
    if not alone and share >= ONE_CLASS and float(np.median(sure)) > SURE:
        doubts.append(f"{share:.0%} of the boxes are surely of class {np.bincount(classes).argmax()}")
    return tuple(doubts)
