"""``edgedet parity`` of two segmenters: the class of every pixel."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator

from edgedet.artifacts.card import ASSUMED_KEY
from edgedet.cli.progress import Progress
from edgedet.errors import UsageError
from edgedet.masks.class_map import ClassMap
from edgedet.proof.map_parity import REQUIRED, MapParity, MapParityReport, compare_all
from edgedet.segmenter import Segmenter

WORST_SHOWN = 3
OF_BOXES = ("min_score", "min_iou", "max_score_difference", "min_mask_iou", "min_keypoint_similarity")


def run_maps(arguments: argparse.Namespace) -> int:
    """Segment the same frames with both, and say whether the classes are the same."""
    given = next((name for name in OF_BOXES if getattr(arguments, name) is not None), None)
    if given is not None:
        raise UsageError(
            f"--{given.replace('_', '-')} is about boxes, and {arguments.first} is a segmenter: --required says "
            "which share of the pixels must have the same class"
        )
    required = REQUIRED if arguments.required is None else arguments.required
    names: list[str] = []
    with (
        Progress() as progress,
        Segmenter(arguments.first, threads=arguments.threads) as reference,
        Segmenter(arguments.second, threads=arguments.threads) as candidate,
    ):
        if reference.names != candidate.names:
            raise UsageError(f"{reference.path} and {candidate.path} do not tell the same classes apart")

        def pairs() -> Iterator[tuple[ClassMap, ClassMap]]:
            for frame, expected in reference.stream(arguments.frames):
                names.append(frame.name)
                progress("comparing", len(names), arguments.limit)
                yield expected, candidate.segment(frame.image)
                if len(names) == arguments.limit:
                    return

        report, frames = compare_all(pairs())
        assumed = reference.card.provenance.get(ASSUMED_KEY, [])
    if arguments.json:
        data = dataclasses.asdict(report) | {"share": report.share, "required": required}
        data |= {"agrees": report.agrees(required), "assumed": assumed}
        data["per_frame"] = [{"name": name, "share": each.share} for name, each in zip(names, frames, strict=True)]
        print(json.dumps(data, indent=2))
    else:
        for line in report_lines(report, required, names, frames):
            print(line)
        if assumed:
            print(f"A rests on what was assumed: {'; '.join(assumed)} (see edgedet eval)")
    return 0 if report.agrees(required) else 1


def report_lines(
    report: MapParityReport, required: float, names: list[str], frames: list[MapParity]
) -> Iterator[str]:
    """The report for people."""
    if report.share is None or report.worst is None or report.mean_iou is None:
        yield "no frame was compared: give frames with --frames"
        return
    yield f"{report.frames} frames, {report.classes} classes in A"
    yield f"equal       {report.share:.3%} of the pixels have the same class (mean IoU {report.mean_iou:.4f})"
    for index in sorted(range(len(frames)), key=lambda i: frames[i].share)[:WORST_SHOWN]:
        if frames[index].equal < frames[index].pixels:
            yield f"  {names[index]}: {frames[index].share:.3%}"
    verdict = "they agree" if report.agrees(required) else "they do not agree"
    yield f"{verdict} ({required:.2%} required)"
