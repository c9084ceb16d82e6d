"""A graph against boxes of the training framework itself: the one comparison that a wrong assumption cannot pass.

The rebuilt model of :mod:`edgedet.export.parity` shares every assumption with the graph, and agrees with a wrong one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx

from edgedet.card import ModelCard
from edgedet.errors import ExportError
from edgedet.export.assumptions import Assumption
from edgedet.export.options import Progress, silent
from edgedet.export.self_describing import embed, opened
from edgedet.geometry import shortest_side_size
from edgedet.reference.compare import Comparison, Request, compare
from edgedet.reference.diagnosis import Finding, diagnose, summary
from edgedet.reference.pictures import Reference

CONFIRMED_KEY = "assumed_confirmed_by"
"""In the model card's provenance, beside what was assumed."""


@dataclass(frozen=True)
class Confirmed:
    """A graph agrees with the boxes: ``measured`` for its card, ``notes`` for the report, ``by`` whose boxes."""

    measured: dict[str, Any]
    notes: tuple[str, ...]
    by: str


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
            f"{reference.path}: no picture with boxes fits the graph's canvas {card.input.width}x{card.input.height} "
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
            raise ExportError(refusal(comparison, findings, assumed))
    caveats = comparison.caveats()
    if left_out:
        caveats.append(
            f"{left_out} pictures of another shape than the graph's canvas, which it would shrink, are not compared"
        )
    by = f"{reference.path.name}, {comparison.boxes} boxes on {comparison.report.frames} pictures"
    note = "; ".join([f"confirmed by boxes made elsewhere: {comparison.text()}", *caveats])
    return Confirmed(comparison.facts(), (note,), by)


def refusal(comparison: Comparison, findings: Sequence[Finding], assumed: Sequence[Assumption]) -> str:
    """The message of a failed comparison: the share, what differs, which assumptions may be wrong, what to do."""
    if not findings:
        return f"{comparison.text()}; give boxes from a lower threshold, or export with a lower --conf"
    parts = [f"the graph does not give the boxes of {comparison.reference.path.name}: {comparison.text()}"]
    if comparison.share < comparison.required:
        parts[0] += f", {comparison.required:.0%} required"
    elif comparison.silent:
        parts[0] += f", but not one on {', '.join(comparison.silent[:3])}"
    parts.append(summary(findings, comparison.share))
    suspects = list(dict.fromkeys(name for finding in findings for name in finding.suspects))
    doubtful = sorted(
        (entry for entry in assumed if entry.what in suspects), key=lambda entry: suspects.index(entry.what)
    )
    if doubtful:
        parts.append(
            f"Nothing says, and may be assumed wrongly: {'; '.join(entry.text() for entry in doubtful)}. State it "
            f"with --detector ({', '.join(entry.stated_by for entry in doubtful)}), or have it judged: edgedet check"
        )
    elif suspects:
        parts.append(
            f"Suspects are {', '.join(suspects)}, none of which was assumed: look at what the checkpoint, its TOML "
            "file or --detector states, or have it judged: edgedet check"
        )
    return ". ".join(parts)


def fits(card: ModelCard, width: int, height: int) -> bool:
    """Whether a picture goes onto the canvas as training resized it; other shapes are shrunk further."""
    if card.resize.rule != "shortest_side":
        return True
    content = shortest_side_size(card.resize, height, width)
    return content[0] <= card.input.height and content[1] <= card.input.width
