"""A row of ``docs/measured/families.md``: what edgedet finds with a framework's file, beside the framework."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nameless import readings

from edgedet import Detections
from edgedet.export.options import ExportOptions
from edgedet.proof.parity import ParityReport, Tolerance, match_detections, summarise

REQUIRED = 0.995
MASK_IOU, KEYPOINT_PIXELS = 0.99, 0.5
HEADER = ("detector", "framework", "detections >= 0.05", "matched", "extra", "worst score", "itself")
NAMELESS = ("without names", "and with --classes")
NAMELESS_PHOTOGRAPHS = 4
Reference = Callable[[np.ndarray], Detections]


@dataclass(frozen=True)
class Row:
    """Cells of a row, and whether its bars are met."""

    cells: tuple[str, ...]
    met: bool

    def beside(self, cells: Sequence[str], met: bool = True) -> Row:
        """With more cells, of another bar."""
        return Row((*self.cells, *cells), self.met and met)


def header(*, nameless: bool) -> tuple[str, ...]:
    """Header of the table with those columns."""
    return HEADER + (NAMELESS if nameless else ())


def agreement(
    reference: Sequence[Detections], found: Sequence[Detections], *, mask_iou: float = MASK_IOU
) -> ParityReport:
    """Over all photographs, as the bar counts: where there are masks, theirs are the same, too."""
    same = Tolerance(min_mask_iou=mask_iou, min_keypoint_similarity=0.0)
    return summarise([match_detections(*pair, same) for pair in zip(reference, found, strict=True)])


def compared(
    name: str,
    version: str,
    infer: Reference,
    found: Sequence[Detections],
    frames: Sequence[np.ndarray],
    *,
    again: Reference | None = None,
) -> Row:
    """What edgedet ``found`` in ``frames`` beside what the framework does.

    Args:
        name: of the row.
        version: of the framework, in words.
        infer: the framework's own way from a BGR frame to boxes in its pixels.
        found: by edgedet.
        frames: BGR.
        again: the framework once more, with other roundings; None for PyTorch's own convolutions in oneDNN's place.
    """
    reference = [_whole(infer(frame)) for frame in frames]
    result = agreement(reference, found)
    # A mask that differs leaves its detection without a partner; there is one box all the same.
    extra = agreement(reference, found, mask_iou=0.0).extra
    share, worst = result.found or 0.0, result.worst_score_difference or 0.0
    cells = (name, version, str(result.reference_count), f"{share:.2%}", str(extra), f"{worst:.1e}")
    same = share == 1 and not extra
    met = result.agrees(REQUIRED) and not result.absent and not extra
    apart = keypoints_apart(reference, found)
    if len(apart):
        near = float((apart <= KEYPOINT_PIXELS).mean())
        cells = (name, f"{version}; {near:.2%} of keypoints within {KEYPOINT_PIXELS} px", *cells[2:])
        met = met and near >= REQUIRED
    return Row((*cells, "" if same else _itself(infer, again, reference, frames)), met)


def keypoints_apart(reference: Sequence[Detections], found: Sequence[Detections]) -> np.ndarray:
    """Pixels between the keypoints of every pair of detections, clipped to the frame, as Ultralytics clips them."""
    apart = [np.zeros(0)]
    for theirs, ours in zip(reference, found, strict=True):
        if theirs.keypoints is None or ours.keypoints is None:
            continue
        first, second = match_detections(theirs, ours, Tolerance(min_keypoint_similarity=0.0)).pairs.T
        limit = np.array(ours.frame_size[::-1], np.float32)
        shift = ours.keypoints[second, :, :2].clip(0, limit) - theirs.keypoints[first, :, :2].clip(0, limit)
        apart.append(np.hypot(shift[..., 0], shift[..., 1]).ravel())
    return np.concatenate(apart)


def _whole(found: Detections) -> Detections:
    """Without boxes that lie in the border only, which frameworks clip to nothing and report."""
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    return found[(sides > 0).all(axis=1)]


def _itself(
    infer: Reference, again: Reference | None, reference: Sequence[Detections], frames: Sequence[np.ndarray]
) -> str:
    """The framework against itself: what rounding alone decides."""
    import torch

    with torch.backends.mkldnn.flags(enabled=again is not None):
        result = agreement(reference, [_whole((again or infer)(frame)) for frame in frames])
    return f"{result.found:.2%}, {result.extra} extra" if result.found is not None else ""


def read_without_names(
    name: str,
    path: Path,
    found: Sequence[Detections],
    frames: Sequence[np.ndarray],
    *,
    folder: Path,
    options: ExportOptions,
) -> tuple[tuple[str, str], bool]:
    """Cells of ``NAMELESS``, and whether nothing was read wrongly; checkpoints have no names to take away."""
    if path.suffix != ".onnx":
        return ("", ""), True
    read = readings(path, folder, found[:NAMELESS_PHOTOGRAPHS], frames[:NAMELESS_PHOTOGRAPHS], options)
    for word, each in read.items():
        print(f"{name}, {word} said: {each.word}: {each.why}", file=sys.stderr)
    first, second = (each.word for each in read.values())
    return (first, second), not any(each.word.startswith("WRONG") for each in read.values())
