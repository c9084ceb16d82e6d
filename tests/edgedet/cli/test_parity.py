"""What `edgedet parity` calls agreement."""

from __future__ import annotations

from edgedet.cli.parity import report_lines, shown_to_agree
from edgedet.detections import Detections
from edgedet.parity import match_detections, summarise


def test_two_that_find_nothing_have_not_been_shown_to_agree() -> None:
    frames = [match_detections(Detections.empty(), Detections.empty())]
    report = summarise(frames)
    assert not shown_to_agree(report, 0.5)
    lines = list(report_lines(report, 0.5, ["a.jpg"], frames))
    assert "nothing was compared" in lines[-2] and lines[-1].startswith("they do not agree")
