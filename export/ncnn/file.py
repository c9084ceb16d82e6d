"""A finished graph becomes a file for ncnn: written, proved against the graph on frames, then kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.ncnn_file import write_ncnn
from edgedet.detector import Detector
from edgedet.errors import ArtifactError, ExportError
from edgedet.opening import open_artifact
from edgedet.preprocess import Preprocessor
from edgedet.proof.golden import require_golden
from edgedet.proof.parity import Tolerance

from ..embedded_card import embed
from ..options import ExportReport, Progress, silent
from .conversion_state import INSTEAD
from .graph import Written, write_graph

BOXES, SCORES = "boxes", "scores"
MAX_SCORE_DIFFERENCE = Tolerance().max_score_difference
"""Maximum difference of a score from the graph's: parity's limit."""
MIN_IOU = Tolerance().min_iou
PIXELS = 0.01
"""Difference of corners, in pixels of the canvas, that is none, however small a box is."""

Array = NDArray[Any]


def require_writable(model: onnx.ModelProto, card: ModelCard) -> None:
    """Find out whether ncnn has all that a graph needs, before minutes are spent on it.

    Raises:
        ExportError: it does not, or the graph makes its choice itself.
    """
    if card.output.format != "candidates":
        raise ExportError(
            f"{card.architecture} chooses its boxes inside the network (TopK), which ncnn does not do as ONNX has "
            f"it; {INSTEAD}"
        )
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    write_graph(copied, card.input)


def build_ncnn_file(
    model: onnx.ModelProto,
    card: ModelCard,
    output: Path,
    frames: Sequence[NDArray[np.uint8]],
    *,
    batch: int = 1,
    notes: tuple[str, ...] = (),
    progress: Progress = silent,
) -> ExportReport:
    """Write a finished graph of one image as a file for ncnn, if ncnn gives the graph's own numbers.

    Args:
        model: the graph, whose weights may be put in another order.
        card: its card.
        output: the file.
        frames: uint8 [H, W, 3] BGR, on which both are compared.
        batch: images that the file is to take at once.
        notes: what the user should know so far.
        progress: called with (what, done, of).

    Raises:
        ExportError: ncnn lacks something, or gives other numbers.
        SelftestError: the golden input gives other detections.
        OutputError: the file cannot be written.
    """
    from ...runtimes.ncnn_library import ncnn

    progress("writing the layers of ncnn", 0, 0)
    content = model.SerializeToString()
    written = write_graph(model, card.input)
    facts = {
        "written_with": ncnn.__version__,
        "outputs": {name: list(size) for name, size in written.outputs.items()},
    }
    graph, trial = (output.with_name(f".{output.stem}.trial{suffix}") for suffix in (".onnx", output.suffix))
    try:
        graph.write_bytes(embed(onnx.load_model_from_string(content), card).SerializeToString())
        _write(trial, card, facts, written)
        agreement = compare(graph, trial, card, frames, progress=progress)
        require_equal(agreement, output)
        card = replace(card, measured=card.measured | {"ncnn": agreement}, input=replace(card.input, batch=batch))
        _write(trial, card, facts, written)
        progress("replaying the golden input", 0, 0)
        with Detector(trial, runtime="ncnn") as detector:
            proved = str(require_golden(detector, unproved="accept"))
        _write(output, card, facts, written)
    finally:
        graph.unlink(missing_ok=True)
        trial.unlink(missing_ok=True)
    more = [
        f"ncnn {ncnn.__version__} gives the graph's candidates on {agreement['frames']} frames (IoU at least "
        f"{agreement['worst_iou']:.4f}, scores within {agreement['worst_score_difference']:.2g})",
        proved,
    ]
    if batch > 1:
        more.append(f"ncnn runs one image at a time: a batch of {batch} takes as long as {batch} frames")
    return ExportReport(output, card, output.stat().st_size, written.layers, 0, (*notes, *more))


def _write(path: Path, card: ModelCard, facts: dict[str, Any], written: Written) -> None:
    write_ncnn(path, card, facts, param=written.param, weights=written.weights)


def compare(
    graph: Path, file: Path, card: ModelCard, frames: Sequence[NDArray[np.uint8]], *, progress: Progress = silent
) -> dict[str, Any]:
    """How far the outputs of a file for ncnn are from its graph's, candidate by candidate.

    Args:
        graph: the graph, which runs on ONNX Runtime.
        file: the file.
        card: of both, one image each.
        frames: uint8 [H, W, 3] BGR.
        progress: called with (what, done, of).

    Returns:
        ``frames``; ``worst_score_difference`` of all scores; ``worst_iou`` of the boxes with a score above the
        card's threshold, each with its own counterpart, and ``other_boxes``, for how many of them that is below
        parity's limit. Numbers that are not finite differ from all but the same.
    """
    (_, expected), (_, found) = open_artifact(graph, runtime="onnxruntime:cpu"), open_artifact(file, runtime="ncnn")
    prepare = Preprocessor(card.input, card.resize)
    scores, worst, others, data = 0.0, 1.0, 0, 0.0
    try:
        for index, frame in enumerate(frames):
            progress("comparing ncnn with the graph", index, len(frames))
            prepare.prepare(frame)
            inputs = {card.input.name: prepare.tensor}
            wanted, given = expected.run(inputs), found.run(inputs)
            scores = max(scores, _worst(wanted[SCORES], given[SCORES]))
            likely = wanted[SCORES][0].max(axis=1) > card.output.score_threshold
            before, after = wanted[BOXES][0][likely], given[BOXES][0][likely]
            ious = _ious(before, after)
            ious[_differences(before, after).max(axis=1, initial=0) <= PIXELS] = 1.0
            worst = min(worst, float(ious.min(initial=1.0)))
            others += int((ious < MIN_IOU).sum())
            for name in card.output.data:
                size = max(float(np.abs(wanted[name]).max(initial=0)), 1e-9)
                data = max(data, _worst(wanted[name], given[name]) / size)
    finally:
        expected.close()
        found.close()
    agreement = {
        "frames": len(frames),
        "worst_score_difference": scores,
        "worst_iou": worst,
        "other_boxes": others,
    }
    return agreement | ({"worst_data_difference": data} if card.output.data else {})


def require_equal(agreement: dict[str, Any], output: Path) -> None:
    """Refuse a file whose network gives other candidates.

    Raises:
        ExportError: it does.
    """
    scores, data = agreement["worst_score_difference"], agreement.get("worst_data_difference", 0.0)
    if agreement["other_boxes"] or not scores <= MAX_SCORE_DIFFERENCE or not data <= MAX_SCORE_DIFFERENCE:
        raise ExportError(
            f"ncnn does not give the graph's numbers: scores differ by up to {scores:.2g} (expected "
            f"{MAX_SCORE_DIFFERENCE:g}), {agreement['other_boxes']} boxes down to an IoU of "
            f"{agreement['worst_iou']:.3f} (expected {MIN_IOU:g}); {output.name} is not written. "
            f"Please report this, and {INSTEAD}"
        )


def _worst(expected: Array, found: Array) -> float:
    return float(_differences(expected, found).max(initial=0))


def _ious(first: Array, second: Array) -> Array:
    """IoU of every box [x1, y1, x2, y2] with the one in its place; 1 of equal boxes, 0 where it is no number."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    with np.errstate(all="ignore"):
        sides = np.clip(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0, None)
        shared = sides.prod(axis=1)
        union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - shared
        found = np.nan_to_num(shared / union)
    return np.where(_differences(first, second).max(axis=1, initial=0) == 0, 1.0, found)


def _differences(expected: Array, found: Array) -> Array:
    """Absolute, float64; none between equal infinities or two that are no number, and infinite to one that is."""
    if expected.shape != found.shape:
        raise ArtifactError(f"ncnn gives {list(found.shape)} where the graph gives {list(expected.shape)}")
    with np.errstate(invalid="ignore"):
        difference = np.abs(expected.astype(np.float64) - found)
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    return np.where(same, 0.0, np.where(np.isnan(difference), inf, difference))
