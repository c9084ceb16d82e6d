"""``edgedet parity A --reference FILE``: an artifact against boxes that the training framework itself found."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edgedet.artifacts.card import ASSUMED_KEY
from edgedet.cli.parity_report import as_dict, report_lines, settle
from edgedet.cli.progress import Progress
from edgedet.cli.proposals_refusal import require_own_proposals
from edgedet.proof.parity import ELSEWHERE, ELSEWHERE_REQUIRED, Tolerance
from edgedet.reference import Comparison, Request, compare, open_reference

if TYPE_CHECKING:
    from edgedet.reference.diagnosis import Finding


def run_reference(arguments: argparse.Namespace) -> int:
    """Read the boxes, detect on their pictures, match, and say whether they agree and what differs.

    Raises:
        ReferenceBoxesError: boxes that cannot be compared with.
    """
    from edgedet.detector import Detector
    from edgedet.reference.diagnosis import diagnose

    settle(arguments, ELSEWHERE, ELSEWHERE_REQUIRED)
    reference = open_reference(arguments.reference, arguments.frames)
    if arguments.limit is not None:
        reference = reference.first(arguments.limit)
    with Progress() as progress, Detector(arguments.first, threads=arguments.threads) as detector:
        require_own_proposals(detector.card, "edgedet parity --reference")
        request = Request(
            Tolerance(
                arguments.min_score,
                arguments.min_iou,
                arguments.max_score_difference,
                arguments.min_mask_iou,
                arguments.min_keypoint_similarity,
            ),
            arguments.required,
            detector.thresholds.score,
            detector.thresholds.max_detections,
        )
        comparison = compare(reference, detector.names, detector.detect, request, progress=progress)
        assumed = detector.card.provenance.get(ASSUMED_KEY, [])
        findings = [] if comparison.agrees or not comparison.boxes else diagnose(comparison, detector.detect)
    if arguments.json:
        print(json.dumps(_as_json(comparison, findings) | {"assumed": assumed}, indent=2))
    else:
        for line in lines(comparison, findings):
            print(line)
    return 0 if comparison.agrees else 1


def lines(comparison: Comparison, findings: Sequence[Finding]) -> Iterator[str]:
    """The report for people; A are the boxes made elsewhere, B the artifact's."""
    yield f"A: {comparison.reference.path}; compared from score {comparison.least_words}"
    names = [pair.name for pair in comparison.pairs]
    *said, verdict = report_lines(
        comparison.report, comparison.required, names, [pair.agreement for pair in comparison.pairs]
    )
    yield from said
    for caveat in comparison.caveats():
        yield f"note: {caveat}"
    for there, here in comparison.swapped:
        yield f"{there!r} is always {here!r} in B, box for box"
    for name in comparison.silent:
        yield f"not one box of {name} agrees"
    for finding in findings:
        gain = f" ({finding.share:.1%} would agree but for that)" if finding.share > comparison.share else ""
        yield f"what differs: {finding.text}{gain}"
    if findings and findings[0].suspects:
        yield f"suspects: {', '.join(findings[0].suspects)}; edgedet check judges them, --detector states them"
    yield verdict if comparison.agrees else f"they do not agree ({comparison.required:.2%} required)"


def _as_json(comparison: Comparison, findings: Sequence[Finding]) -> dict[str, Any]:
    values = as_dict(
        comparison.report,
        comparison.tolerance,
        comparison.required,
        [pair.name for pair in comparison.pairs],
        [pair.agreement for pair in comparison.pairs],
    )
    return values | {
        "agrees": comparison.agrees,
        "reference": comparison.facts(),
        "notes": comparison.caveats(),
        "swapped": [list(pair) for pair in comparison.swapped],
        "silent": list(comparison.silent),
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }
