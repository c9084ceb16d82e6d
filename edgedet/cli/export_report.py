"""The report of ``edgedet export``, for people."""

from __future__ import annotations

from collections.abc import Iterator

from edgedet.cli.values import human_bytes
from edgedet.export.options import ExportReport
from edgedet.export.request_checks import is_for_ncnn


def report_lines(report: ExportReport) -> Iterator[str]:
    """What was written where, and what the exporter noted on the way."""
    card = report.card
    batch = f", batch {card.input.batch}" if card.input.batch > 1 else ""
    nms = "NMS in the graph" if card.output.format == "detections" else "NMS in the runtime"
    nms = "no NMS" if card.provenance.get("nms") == "none" else nms
    yield f"wrote {report.path} ({human_bytes(report.bytes)}, {report.seconds:.0f} s)"
    yield (
        f"  {card.architecture}, {card.precision}, {len(card.names)} classes, "
        f"input {card.input.height}x{card.input.width} {card.input.dtype}{batch}"
    )
    parts = "layers" if is_for_ncnn(report.path) else "nodes"
    # A segmenter has neither boxes nor a threshold.
    finished = (
        "" if card.output.format == "class_logits" else f", {nms}, scores from {card.output.score_threshold:g}"
    )
    yield f"  {report.nodes} {parts}{finished}"
    for note in report.notes:
        yield f"  {note}"
