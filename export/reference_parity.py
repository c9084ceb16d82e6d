"""A graph against boxes of the training framework itself: the one comparison that a wrong assumption cannot pass.

The rebuilt model of :mod:`edgedet.export.parity` shares the graph's assumptions, and agrees with wrong ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx

from edgedet.artifacts.card import Family, ModelCard
from edgedet.errors import ExportError
from edgedet.geometry import shortest_side_size
from edgedet.reference.compare import Comparison, Request, compare
from edgedet.reference.diagnosis import Finding, diagnose, summary
from edgedet.reference.pictures import Reference

from .embedded_card import embed, opened
from .options import Progress, silent
from .training.assumptions import Assumption

CONFIRMED_KEY = "assumed_confirmed_by"
"""Key of the model card's provenance, beside the assumptions."""

MIN_CONFIRMING = 20
"""Minimum number of boxes: the surest few of a detector agree under many a wrong assumption."""

ONE_STAGE = ("anchors", "RoIAlign")
FOREIGN = (*ONE_STAGE, "default boxes", "box weights", "background", "BatchNorm's eps")
UNKNOWN_TO: dict[Family, tuple[str, ...]] = {
    "ssd": ONE_STAGE,
    "faster_rcnn": ("default boxes",),
    "yolo": FOREIGN,
    "detr": FOREIGN,
    "yolox": FOREIGN,
    "nanodet": FOREIGN,
    "fastestdet": FOREIGN,
    "mmdet": FOREIGN,
    "darknet": (*ONE_STAGE, "default boxes", "box weights", "background"),
}
"""Settings that a family does not have, by family."""


@dataclass(frozen=True)
class Confirmed:
    """A graph agrees with the boxes: ``measured`` for its card, ``notes`` for the report, ``by`` whose boxes.
    ``thorough``: so many agree, and so closely, that what was assumed is confirmed by them."""

    measured: dict[str, Any]
    notes: tuple[str, ...]
    by: str
    thorough: bool


def require_reference(
    model: onnx.ModelProto,
    card: ModelCard,
    reference: Reference,
    assumed: Sequence[Assumption],
    *,
    progress: Progress = silent,
) -> Confirmed:
    """Compare the float graph ``model`` with boxes made elsewhere.

    Raises:
        ExportError: too few agree; says what differs, and which of the assumptions may be why.
        ReferenceBoxesError: boxes of classes the detector does not have.
    """
    fitting = tuple(picture for picture in reference.pictures if fits(card, *picture.size))
    left_out = len(reference.pictures) - len(fitting)
    if not any(len(picture.scores) for picture in fitting):
        width, height = reference.usual_size
        raise ExportError(
            f"{reference.path}: no picture with boxes fits the canvas of {card.input.width}x{card.input.height} "
            f"without being shrunk, so none can be compared; make it for them: --frame-size {width}x{height}"
        )
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    with opened(embed(copied, card)) as detector:
        request = Request(floor=detector.thresholds.score, max_detections=detector.thresholds.max_detections)
        comparison = compare(
            replace(reference, pictures=fitting), card.names, detector.detect, request, progress=progress
        )
        if not comparison.agrees:
            findings = diagnose(comparison, detector.detect) if comparison.boxes else []
            raise ExportError(refusal(comparison, findings, assumed, card.family))
    caveats = comparison.caveats()
    if left_out:
        caveats.append(
            f"{left_out} pictures of another shape than the graph's canvas, which it would shrink, are not compared"
        )
    by = f"{reference.path.name}, {comparison.boxes} boxes on {comparison.report.frames} pictures"
    few = comparison.boxes < MIN_CONFIRMING
    if few:
        caveats.append(
            f"so few boxes confirm nothing of what was assumed: give pictures with {MIN_CONFIRMING} or more in all"
        )
    note = "; ".join([f"agrees with boxes made elsewhere: {comparison.text()}", *caveats])
    return Confirmed(comparison.facts(), (note,), by, thorough=not few and comparison.close)


def refusal(
    comparison: Comparison, findings: Sequence[Finding], assumed: Sequence[Assumption], family: Family
) -> str:
    """The message of a failed comparison: the share, what differs, which assumptions may be wrong, what to do."""
    if not findings:
        return f"{comparison.text()}; give boxes from a lower threshold, or export with a lower --conf"
    parts = [f"the graph does not give the boxes of {comparison.reference.path.name}: {comparison.text()}"]
    if comparison.share < comparison.required:
        parts[0] += f", {comparison.required:.0%} required"
    elif comparison.silent:
        parts[0] += f", but not one on {', '.join(comparison.silent[:3])}"
    parts.append(summary(findings, comparison.share))
    suspects = [name for finding in findings[:2] for name in finding.suspects if name not in UNKNOWN_TO[family]]
    suspects = list(dict.fromkeys(suspects))
    if suspects:
        unsaid = {entry.what: entry for entry in assumed}
        doubtful = [unsaid[name] for name in suspects if name in unsaid]
        known = [name for name in suspects if name not in unsaid]
        blamed = []
        if doubtful:
            blamed.append(f"of what was assumed: {'; '.join(entry.text() for entry in doubtful)}")
        if known:
            blamed.append(f"of what is stated or known: {', '.join(known)}")
        parts.append(f"Suspects {'; '.join(blamed)}")
        parts.append("State the right ones (--detector, docs/checkpoints.md), or let edgedet check try them")
    return ". ".join(parts)


def fits(card: ModelCard, width: int, height: int) -> bool:
    """Whether a picture goes onto the canvas as training resized it; other shapes are shrunk further."""
    if card.resize.rule != "shortest_side":
        return True
    content = shortest_side_size(card.resize, height, width)
    return content[0] <= card.input.height and content[1] <= card.input.width
