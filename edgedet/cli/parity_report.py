"""The report of ``edgedet parity``: of two artifacts, or of one and boxes made elsewhere."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator

from edgedet.proof.parity import FrameParity, ParityReport, Tolerance

WORST_SHOWN = 3


def settle(arguments: argparse.Namespace, tolerance: Tolerance, required: float) -> None:
    """Fill in what was not given."""
    for name, value in {**dataclasses.asdict(tolerance), "required": required}.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)


def report_lines(
    report: ParityReport, required: float, names: list[str], frames: list[FrameParity]
) -> Iterator[str]:
    """The report for people."""
    yield f"{report.frames} frames: {report.reference_count} detections in A, {report.candidate_count} in B"
    for title, share, first, second, lacking in (
        ("found", report.found, "A", "B", f"{report.missing} missing"),
        ("confirmed", report.confirmed, "B", "A", f"{report.extra} extra"),
    ):
        if share is None:
            yield f"{title:<12}not measured: {first} finds nothing"
        else:
            yield f"{title:<12}{share:.2%} of {first}'s are in {second} ({lacking})"
    if report.matched:
        yield (
            f"differences among the {report.matched} pairs, at most: score {report.worst_score_difference:.2g}, "
            f"corner {report.worst_corner_difference:.2g} pixels, IoU {report.worst_iou:.5f}"
        )
    if report.worst_mask_iou is not None:
        yield f"masks among them: IoU at least {report.worst_mask_iou:.4f}"
    if report.worst_keypoint_similarity is not None:
        yield f"keypoints among them: similarity at least {report.worst_keypoint_similarity:.4f}"
    order = sorted(range(len(frames)), key=lambda i: -(len(frames[i].missing) + len(frames[i].extra)))
    for index in order[:WORST_SHOWN]:
        missing, extra = len(frames[index].missing), len(frames[index].extra)
        if missing or extra:
            yield f"  {names[index]}: {missing} missing, {extra} extra"
    if report.reference_count == report.candidate_count == 0:
        yield "neither found anything, so nothing was compared: give frames with something in them"
    yield (
        f"they agree ({required:.2%} required)"
        if report.agrees(required)
        else (f"they do not agree ({required:.2%} required)")
    )


def as_dict(
    report: ParityReport, tolerance: Tolerance, required: float, names: list[str], frames: list[FrameParity]
) -> dict[str, object]:
    figures = dataclasses.asdict(report)
    # The name in the JSON is older than the one in the code.
    figures["invented"] = figures.pop("extra")
    for further in ("worst_mask_iou", "worst_keypoint_similarity"):
        # Most detectors give no masks and no keypoints, and nothing is missing then.
        if figures[further] is None:
            del figures[further]
    return {
        **figures,
        "found": report.found,
        "confirmed": report.confirmed,
        "required": required,
        "absent": report.absent,
        "agrees": report.agrees(required),
        "tolerance": dataclasses.asdict(tolerance),
        "per_frame": [
            {
                "name": name,
                "reference": frame.reference_count,
                "candidate": frame.candidate_count,
                "missing": len(frame.missing),
                "invented": len(frame.extra),
            }
            for name, frame in zip(names, frames, strict=True)
        ],
    }
