"""What artifacts of one detector find, held against each other."""

from __future__ import annotations

from pathlib import Path

from edgedet import Detections, Detector
from edgedet.proof.golden import golden_frame
from edgedet.proof.parity import Tolerance, match_detections

CONF = 0.3


def found(artifact: Path) -> list[Detections]:
    """On two drawn frames."""
    with Detector(artifact, conf=CONF) as detector:
        return [detector.detect(golden_frame(seed, 90, 120)) for seed in (1, 4)]


def assert_same(expected: list[Detections], ours: list[Detections]) -> None:
    """Equal detections, and several of them."""
    for wanted, got in zip(expected, ours, strict=True):
        report = match_detections(wanted, got, Tolerance(min_score=0, max_score_difference=1e-4))
        assert report.reference_count > 3
        assert (len(report.missing), len(report.extra)) == (0, 0)
