"""``edgedet detect`` on cameras and streams: lines of JSON, and how it goes on the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from edgedet.cli.frame_lines import annotated, error_line, fault_line, live_line
from edgedet.cli.progress import Progress
from edgedet.cli.service_options import start_service
from edgedet.errors import SourceEndedError
from edgedet.masks.class_map import ClassMap

if TYPE_CHECKING:
    from edgedet.cascade import Cascade
    from edgedet.cli.blurring import Blurring
    from edgedet.detector import Detector
    from edgedet.pictures.frames import Unreadable
    from edgedet.pictures.live.fault import Fault
    from edgedet.pictures.live.live_source import LiveSource
    from edgedet.pictures.sinks import Sink
    from edgedet.segmenter import Segmenter
    from edgedet.streaming.stream import Stream


def detect_live(  # noqa: PLR0917
    arguments: argparse.Namespace,
    detector: Detector | Cascade | Segmenter,
    source: LiveSource,
    sinks: Sequence[Sink],
    blur: Blurring,
    progress: Progress,
) -> int:
    """Detect in the newest frames of ``source`` until it ends, ``--limit`` is reached or a window is closed."""
    ended: list[Unreadable] = []
    encoding = sys.stdout.encoding

    def tell(fault: Fault) -> None:
        print(fault_line(fault, encoding), flush=True)
        progress.say(f"edgedet: {fault.kind}: {fault.reason}{_next_step(fault)}")
        service.fault(fault)

    def end(unreadable: Unreadable) -> None:
        print(error_line(unreadable, encoding), flush=True)
        if unreadable.ends:
            ended.append(unreadable)

    with (
        start_service(arguments, detector) as service,
        cast(
            "Stream[Any]",
            detector.stream(
                source,
                max_fps=arguments.max_fps,
                duty=1.0 if arguments.duty is None else arguments.duty,
                unreadable=end,
                fault=tell,
            ),
        ) as stream,
    ):
        found, what = 0, "detections"
        for count, (frame, detections) in enumerate(stream, 1):
            found += len(detections)
            print(live_line(frame, detections, encoding), flush=True)
            status = stream.stats.line
            progress.line(status)
            if isinstance(detections, ClassMap):
                labels, what = detections.present, "classes"
            else:
                labels = detections.labels
            service.frame(frame, labels, detector.last_timing, stream, status)
            if sinks:
                picture = annotated(frame, detections, blur)
                if not all([sink.add(frame, picture) for sink in sinks]):
                    break
            if count == arguments.limit:
                break
        stats = stream.stats
    progress.close()
    if sys.stderr.isatty():
        print(f"{stats.frames} frames, {found} {what}, {stats.line}", file=sys.stderr)
    if ended:
        raise SourceEndedError(ended[0].reason)
    return 0


def _next_step(fault: Fault) -> str:
    if fault.kind == "ended" or fault.retry_seconds is None:
        return ""
    return f"; opening it again in {fault.retry_seconds:.1f} s"
