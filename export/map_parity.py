"""Agreement of a segmenter's graph with the framework it came from, measured at export on frames made or given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgedet.artifacts.card import ModelCard
from edgedet.errors import ExportError
from edgedet.proof.map_parity import REQUIRED, MapParityReport, compare_all

from .embedded_card import embed, opened_segmenter
from .parity import DISAGREES, disturbed

if TYPE_CHECKING:
    from .segmentation.reference import SegmentationReference


def measure(
    model: onnx.ModelProto, card: ModelCard, reference: SegmentationReference, frames: Sequence[NDArray[np.uint8]]
) -> dict[str, Any]:
    """Agreement of the float graph ``model`` with its framework, as the card keeps it: the share of pixels that
    have the same class, of all frames and of the frame that agrees least."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    with opened_segmenter(embed(copied, card)) as segmenter:
        report, _ = compare_all((reference(frame), segmenter.segment(frame)) for frame in frames)
    return {
        "frames": report.frames,
        "pixels": report.pixels,
        "classes": report.classes,
        "equal": report.share,
        "worst_frame": report.worst,
        "mean_iou": report.mean_iou,
    }


def require_agreement(
    agreement: dict[str, Any],
    reference: SegmentationReference,
    frames: Sequence[NDArray[np.uint8]],
    *,
    source: Path,
) -> None:
    """Refuse a graph that gives other classes than its framework for another reason than rounding.

    Where scores of several classes are alike everywhere, rounding decides, and the framework does not agree with
    itself either once its weights are disturbed by as much.

    Raises:
        ExportError: the graph agrees by far less than that.
    """
    share = agreement["equal"]
    if share >= REQUIRED:
        return
    steady = _steadiness(reference, frames[:2])
    assert steady.share is not None
    if share < min(REQUIRED, 1 - (1 - steady.share) / DISAGREES):
        raise ExportError(
            f"the graph of {source} does not give the classes of its framework: {share:.2%} of the pixels are "
            f"equal, while the framework repeats {steady.share:.2%} of its own when its weights change by as much "
            "as rounding changes them; something in this network is not as edgedet builds it (a hook, a forward of "
            "its own, a value changed after it was made): save it whole and add --arch fcn_module "
            "--trust-checkpoint"
        )


def _steadiness(reference: SegmentationReference, frames: Sequence[NDArray[np.uint8]]) -> MapParityReport:
    """How much of its classes the framework gives again after a disturbance."""
    before = [reference(frame) for frame in frames]
    with disturbed(reference.module, 0):
        after = [reference(frame) for frame in frames]
    return compare_all(zip(before, after, strict=True))[0]


def note(parity: dict[str, Any], *, precision: str) -> str:
    """What :func:`measure` found, in a sentence. ``precision``: what is made of the float graph afterwards."""
    limits = "" if precision == "fp32" else f" (in fp32, before {precision})"
    classes = "1 class" if parity["classes"] == 1 else f"{parity['classes']} classes"
    said = (
        f"{parity['equal']:.3%} of the pixels have the framework's own class on {parity['frames']} frames, of "
        f"{classes}{limits}"
    )
    if parity["equal"] < REQUIRED:
        return f"only {said}: run edgedet parity on frames of your own"
    if parity["classes"] == 1:
        return f"{said}, which shows little: run edgedet parity on frames of your own"
    return said
