"""Find objects in an image, a folder of images, a video or a camera; one JSON line per frame on stdout.

An image of a folder that cannot be read, or a damaged frame of a video, does not stop the rest: its line has
"error" in place of "detections", and the exit code is 1 in the end. The same goes for a video, camera or stream
that ends early.

A damaged frame of a video is skipped and named in the same way, and an early end is reported. What FFmpeg conceals
inside compressed video (MPEG-4, H.264) counts as read: OpenCV does not tell.

Frames are not stored unless --save names a folder, and --blur makes whole classes
unrecognisable in what is stored or shown.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedet.cli.progress import Progress
from edgedet.cli.values import fraction, positive_integer
from edgedet.errors import SourceEndedError, SourceError, UnreadableFramesError, UsageError
from edgedet.runtimes import spellings

if TYPE_CHECKING:
    from edgedet.detections import Detections
    from edgedet.detector import Detector
    from edgedet.pictures.sinks import Picture, Sink
    from edgedet.pictures.sources import Frame, FrameSource, Unreadable

EXAMPLES = """\
examples:
  edgedet detect model.onnx photo.jpg
  edgedet detect model.onnx photos/ --conf 0.4 --save annotated/
  edgedet detect model.onnx photos/2024-*/*.jpg | jq -c '.detections[].name'
  edgedet detect model.trt 0 --show                       a camera, by its number
  edgedet detect model.onnx street.mp4 --save out/ --blur person --blur car
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``edgedet detect``."""
    parser.add_argument("artifact", metavar="ARTIFACT", help="graph, engine, or checkpoint (through PyTorch)")
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs="+",
        help="images, folders, glob patterns; or one video, camera number, URL, GStreamer pipeline",
    )
    parser.add_argument("--conf", metavar="X", type=fraction, help="minimum score of a detection")
    parser.add_argument("--iou", metavar="X", type=fraction, help="IoU above which NMS drops the lower-scoring box")
    parser.add_argument(
        "--max-detections", metavar="N", type=positive_integer, help="maximum number of boxes per frame"
    )
    parser.add_argument("--limit", metavar="N", type=positive_integer, help="only the first N frames")
    parser.add_argument("--runtime", default="auto", help=f"{spellings()} (auto)")
    parser.add_argument("--threads", metavar="N", type=positive_integer, help="CPU threads for the network")
    parser.add_argument("--save", metavar="DIR", type=Path, help="write annotated pictures, or a video, into DIR")
    parser.add_argument("--show", action="store_true", help="show them in a window; q ends")
    parser.add_argument(
        "--blur",
        metavar="CLASS",
        action="append",
        default=[],
        help="make objects of CLASS unrecognisable in what is saved or shown; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    """Detect, frame by frame."""
    if arguments.blur and arguments.save is None and not arguments.show:
        raise UsageError("--blur is about pictures, and none are saved or shown: add --save DIR or --show")
    from edgedet.detector import Detector
    from edgedet.in_order import lanes_here
    from edgedet.pictures.sources import is_read_ahead, open_source
    from edgedet.runtimes.free_memory import keep_free_memory

    lanes = 1
    if is_read_ahead(arguments.source):
        lanes = lanes_here(arguments.threads)
        keep_free_memory()
    with ExitStack() as stack:
        detector = stack.enter_context(
            Detector(
                arguments.artifact,
                runtime=arguments.runtime,
                conf=arguments.conf,
                iou=arguments.iou,
                max_detections=arguments.max_detections,
                threads=arguments.threads,
                lanes=lanes,
            )
        )
        blurred = _labels(detector, arguments.blur)
        # With the results themselves on the terminal, a progress line would run into them.
        progress = Progress(shown="never" if sys.stdout.isatty() else "on a terminal")
        skipped: list[Unreadable] = []

        def skip(frame: Unreadable) -> None:
            skipped.append(frame)
            print(error_line(frame, sys.stdout.encoding), flush=True)
            if not frame.ends:
                progress.say(f"edgedet: skipped: {frame.reason}")

        source = stack.enter_context(open_source(arguments.source, unreadable=skip))
        sinks = [stack.enter_context(sink) for sink in _sinks(arguments, source)]
        stack.enter_context(progress)
        count = found = 0
        began = time.perf_counter()
        results = stack.enter_context(closing(detector.stream(source)))
        for frame, detections in results:
            print(json_line(frame, detections, sys.stdout.encoding), flush=True)
            count, found = count + 1, found + len(detections)
            progress("detecting", count + (0 if arguments.limit else len(skipped)), arguments.limit or source.count)
            if sinks:
                picture = annotated(frame, detections, blurred)
                if not all([sink.add(frame, picture) for sink in sinks]):
                    break
            if count == arguments.limit:
                break
        seconds = time.perf_counter() - began
    ended = [frame.reason for frame in skipped if frame.ends]
    if skipped and not count:
        raise SourceError(f"none of the {len(skipped)} images of {source.description} could be read")
    if sys.stderr.isatty():
        where = f", pictures in {arguments.save}" if arguments.save is not None else ""
        print(f"{count} frames, {found} detections, {count / seconds:.1f} frames/s{where}", file=sys.stderr)
    if ended:
        raise SourceEndedError(ended[0])
    if skipped:
        what = "frames" if source.rate is not None else "images"
        raise UnreadableFramesError(
            f"{len(skipped)} of {count + len(skipped)} {what} of {source.description} could not be read"
        )
    return 0


def json_line(frame: Frame, detections: Detections, encoding: str) -> str:
    """One frame's detections as a JSON object on one line; escaped where ``encoding`` cannot spell every name."""
    head = {"source": frame.name, "index": frame.index}
    if frame.time is not None:
        head["time"] = round(frame.time, 4)
    return _json(head | detections.to_dict(), encoding)


def error_line(frame: Unreadable, encoding: str) -> str:
    """The same for a frame that could not be read: why, and no ``detections``, which would say it is empty."""
    return _json({"source": frame.name, "index": frame.index, "error": frame.reason}, encoding)


def _json(values: dict[str, Any], encoding: str) -> str:
    escaped = (encoding or "utf-8").lower().replace("-", "") != "utf8"
    return json.dumps(values, ensure_ascii=escaped)


def annotated(frame: Frame, detections: Detections, blurred: list[int]) -> Picture:
    """The frame with boxes drawn, and the objects of ``blurred`` labels made unrecognisable."""
    image = frame.image
    if blurred:
        from edgedet.pictures.redaction import redact

        image = redact(image, detections.boxes[np.isin(detections.labels, blurred)])
    return detections.plot(image)


def _labels(detector: Detector, classes: list[str]) -> list[int]:
    unknown = [name for name in classes if name not in detector.names]
    if unknown:
        raise UsageError(f"--blur {unknown[0]}: this detector finds {', '.join(detector.names)}")
    return [detector.names.index(name) for name in classes]


def _sinks(arguments: argparse.Namespace, source: FrameSource) -> list[Sink]:
    from edgedet.pictures.sinks import Folder, Window

    sinks: list[Sink] = []
    if arguments.save is not None:
        endless = source.count is None
        sinks.append(Folder(arguments.save, source.rate, interrupted="finishes" if endless else "discards"))
    if arguments.show:
        # A single picture stays until a key is pressed.
        sinks.append(Window(wait_ms=0 if source.count == 1 else 1))
    return sinks
