"""Find objects in an image, a folder of images, a video or a camera; one JSON line per frame on stdout. A segmenter
gives "segments" in place of "detections": of every class in the frame its area and its pixels.

An image of a folder that cannot be read, or a damaged frame of a video, does not stop the rest: its line has
"error" in place of "detections", and the exit code is 1 in the end. The same goes for a video, camera or stream
that ends early.

A damaged frame of a video is skipped and named in the same way, and an early end is reported. What FFmpeg conceals
inside compressed video (MPEG-4, H.264) counts as read: OpenCV does not tell.

Cameras and streams give their newest frame; "age" is how old it was when its line was written, in milliseconds, and
"dropped" how many gave way to newer ones. One that breaks is opened again, and its line has "fault" and "error".
Several of them take turns.

An artifact that takes its proposals from outside (edgedet export --outside-proposals) gets them from a file
(--proposals) with a line for every frame: {"source": ..., "index": ..., "boxes": [[x1, y1, x2, y2], ...]} in
pixels, or what this command printed of another artifact.

With --then, a second artifact looks into crops of what the first finds (hands of persons), and its objects are the
result, in pixels of the frame, each with the box it was found "within". --conf and the like are of the first.

Frames are not stored unless --save names a folder. --blur makes whole classes unrecognisable in what is stored or
shown, --blur-with everything that another detector finds there, such as faces.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgedet.cli.blurring import add_blur_options, blurring, require_pictures
from edgedet.cli.frame_lines import annotated, error_line, json_line
from edgedet.cli.progress import Progress
from edgedet.cli.ray_options import add_ray_options, cluster_detector, require_ray_options
from edgedet.cli.service_options import add_service_arguments, refuse_service
from edgedet.cli.then_option import add_then_options, then_settings
from edgedet.cli.values import fraction, positive_integer, positive_number
from edgedet.errors import (
    ProposalsError,
    SourceEndedError,
    SourceError,
    TaskError,
    UnreadableFramesError,
    UsageError,
)
from edgedet.runtimes import spellings

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from edgedet.cascade import Cascade
    from edgedet.cli.proposals_file import ProposalsFile
    from edgedet.cluster.detector import ClusterDetector
    from edgedet.detections import Detections
    from edgedet.detector import Detector
    from edgedet.masks.class_map import ClassMap
    from edgedet.pictures.frames import Frame
    from edgedet.pictures.sinks import Sink
    from edgedet.pictures.sources import FrameSource, Unreadable
    from edgedet.segmenter import Segmenter
    from edgedet.streaming.stream import Stream

EXAMPLES = """\
examples:
  edgedet detect model.onnx photo.jpg
  edgedet detect model.onnx photos/ --conf 0.4 --save annotated/
  edgedet detect model.onnx photos/2024-*/*.jpg | jq -c '.detections[].name'
  edgedet detect model.trt 0 --show                       a camera, by its number
  edgedet detect model.trt 0 rtsp://10.0.0.7/live --max-fps 5
  edgedet detect model.onnx /shared/week/ --ray 10.0.0.5:6379
  edgedet detect model.onnx street.mp4 --save out/ --blur person --blur car
  edgedet detect persons.onnx street.mp4 --then hands.onnx --then-class person
  edgedet detect model.onnx street.mp4 --save out/ --blur-with faces.onnx --blur-conf 0.2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``edgedet detect``."""
    parser.add_argument(
        "artifact", metavar="ARTIFACT", help="graph, engine, file for ncnn, or checkpoint (through PyTorch)"
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs="+",
        help="images, folders, glob patterns; one video; or camera numbers, URLs, csi://0, GStreamer pipelines",
    )
    parser.add_argument("--conf", metavar="X", type=fraction, help="minimum score of a detection")
    parser.add_argument("--iou", metavar="X", type=fraction, help="IoU above which NMS drops the lower-scoring box")
    parser.add_argument(
        "--max-detections", metavar="N", type=positive_integer, help="maximum number of boxes per frame"
    )
    parser.add_argument(
        "--proposals", metavar="FILE", type=Path, help="where to look, for an artifact that is told from outside"
    )
    parser.add_argument("--limit", metavar="N", type=positive_integer, help="only the first N frames")
    add_then_options(parser)
    add_pace_arguments(parser)
    parser.add_argument("--runtime", default="auto", help=f"{spellings()} (auto)")
    parser.add_argument("--threads", metavar="N", type=positive_integer, help="CPU threads for the network")
    parser.add_argument("--save", metavar="DIR", type=Path, help="write annotated pictures, or a video, into DIR")
    parser.add_argument("--show", action="store_true", help="show them in a window; q ends")
    add_blur_options(parser)
    add_service_arguments(parser)
    add_ray_options(parser)


def add_pace_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that spare the battery where a camera or stream is watched."""
    parser.add_argument(
        "--max-fps", metavar="X", type=positive_number, help="frames per second at most, of cameras and streams"
    )
    parser.add_argument(
        "--duty",
        metavar="X",
        type=fraction,
        help="share of the time that the detector may run, on cameras and streams (1)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Detect, frame by frame."""
    require_pictures(arguments)
    require_ray_options(arguments)
    crops = then_settings(arguments)
    if arguments.then is not None and arguments.proposals is not None:
        raise UsageError("--proposals and --then are for different ways of looking twice: leave one of them out")
    if arguments.ray is not None and (arguments.then is not None or arguments.proposals is not None):
        raise UsageError("--ray looks once at every picture: leave --then and --proposals out, or --ray")
    from edgedet.pictures.live.live_source import LiveSource
    from edgedet.pictures.sources import open_source

    with ExitStack() as stack:
        first = _open(arguments, stack)
        if arguments.then is not None and first.card.input.proposals is not None:
            raise UsageError(
                f"{first.path} is told where to look, and with --then nobody does: take an ordinary artifact as "
                "the first, or give it a proposer in Python (edgedet.cascade.Cascade)"
            )
        proposals = _proposals(arguments.proposals, first)
        detector: Detector | ClusterDetector | Cascade | Segmenter = first
        if arguments.then is not None:
            detector = _cascade(arguments, first, stack, crops)
        blur = blurring(arguments, detector, stack)
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
        if isinstance(source, LiveSource):
            if proposals is not None:
                raise UsageError(
                    f"--proposals has lines for recorded frames, and {source.description} is live: give the "
                    "detector a proposer in Python (examples/motion_proposals.py)"
                )
            from edgedet.cascade import Cascade
            from edgedet.cli.live import detect_live
            from edgedet.detector import Detector
            from edgedet.segmenter import Segmenter

            if not isinstance(detector, Detector | Cascade | Segmenter):
                raise UsageError(f"--ray takes pictures and folders of them; {source.description} is none")
            return detect_live(arguments, detector, source, sinks, blur, progress)
        refuse_service(arguments, source.description)
        if arguments.max_fps is not None or arguments.duty is not None:
            raise UsageError(f"--max-fps and --duty are for cameras and streams; {source.description} is none")
        count = found = 0
        began = time.perf_counter()
        results = stack.enter_context(closing(_results(detector, source, proposals, pictures=bool(sinks))))
        for frame, detections in results:
            print(json_line(frame, detections, sys.stdout.encoding), flush=True)
            count, found = count + 1, found + len(detections)
            progress("detecting", count + (0 if arguments.limit else len(skipped)), arguments.limit or source.count)
            if sinks:
                picture = annotated(frame, detections, blur)
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
        print(f"{count} frames, {found} {_what(first)}, {count / seconds:.1f} frames/s{where}", file=sys.stderr)
    if ended:
        raise SourceEndedError(ended[0])
    if skipped:
        what = "frames" if source.rate is not None else "images"
        raise UnreadableFramesError(
            f"{len(skipped)} of {count + len(skipped)} {what} of {source.description} could not be read"
        )
    return 0


def _what(opened: Detector | ClusterDetector | Segmenter) -> str:
    from edgedet.segmenter import Segmenter

    return "classes" if isinstance(opened, Segmenter) else "detections"


def _open(arguments: argparse.Namespace, stack: ExitStack) -> Detector | ClusterDetector | Segmenter:
    """The detector or segmenter, open until ``stack`` is; on a cluster where that is asked for."""
    if arguments.ray is not None:
        _require_pictures_for_ray(arguments.source)
        return cluster_detector(arguments, stack)
    from edgedet.detector import Detector
    from edgedet.pictures.sources import is_read_ahead
    from edgedet.prefetch import lanes_here
    from edgedet.runtimes.heap_trimming import keep_free_memory

    lanes = 1
    if arguments.proposals is None and arguments.then is None and is_read_ahead(arguments.source):
        lanes = lanes_here(arguments.threads)
        keep_free_memory()
    try:
        detector = Detector(
            arguments.artifact,
            runtime=arguments.runtime,
            conf=arguments.conf,
            iou=arguments.iou,
            max_detections=arguments.max_detections,
            threads=arguments.threads,
            lanes=lanes,
        )
    except TaskError:
        return stack.enter_context(_segmenter(arguments, lanes))
    return stack.enter_context(detector)


def _require_pictures_for_ray(source: Sequence[str]) -> None:
    """Tell what is wrong with a source before Ray is started, which takes a quarter of a minute.

    Raises:
        SourceError: it is not there.
        UsageError: it is none of pictures.
    """
    from edgedet.pictures.live.address import is_live
    from edgedet.pictures.sources import ReadsAhead, open_source

    if not any(map(is_live, source)):
        with open_source(source, unreadable=lambda frame: None) as opened:
            if isinstance(opened, ReadsAhead) and hasattr(opened, "paths"):
                return
    raise UsageError(f"--ray takes pictures and folders of them; {', '.join(source)} is none")


def _segmenter(arguments: argparse.Namespace, lanes: int) -> Segmenter:
    """A segmenter, which has neither thresholds nor boxes.

    Raises:
        UsageError: something is asked for that needs them.
    """
    from edgedet.segmenter import Segmenter

    for name in ("conf", "iou", "max_detections", "proposals", "then"):
        if getattr(arguments, name) is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} is for detectors; {arguments.artifact} is a segmenter, which gives "
                "the class of every pixel: leave it out"
            )
    return Segmenter(arguments.artifact, runtime=arguments.runtime, threads=arguments.threads, lanes=lanes)


def _cascade(
    arguments: argparse.Namespace,
    first: Detector | ClusterDetector | Segmenter,
    stack: ExitStack,
    crops: dict[str, Any],
) -> Cascade:
    """``first`` and the artifact of ``--then`` behind it."""
    from edgedet.cascade import Cascade
    from edgedet.detector import Detector

    assert isinstance(first, Detector), "refused with --ray"
    second = Detector(
        arguments.then, runtime=arguments.runtime, conf=arguments.then_conf, threads=arguments.threads
    )
    return Cascade(first, stack.enter_context(second), **crops)


def _results(
    detector: Detector | ClusterDetector | Cascade | Segmenter,
    source: FrameSource,
    proposals: ProposalsFile | None,
    *,
    pictures: bool,
) -> Stream[Detections] | Stream[ClassMap] | Generator[tuple[Frame, Detections], None, None]:
    """Frames with what was found in them; ``pictures``: whether the frames' pixels are needed."""
    from edgedet.cascade import Cascade
    from edgedet.detector import Detector
    from edgedet.segmenter import Segmenter

    if isinstance(detector, Detector) and proposals is not None:
        return ((frame, _told(detector, frame, proposals)) for frame in source)
    if isinstance(detector, Detector | Cascade):
        return detector.stream(source)
    if isinstance(detector, Segmenter):
        return detector.stream(source)
    return detector.stream(source, pictures=pictures)


def _told(detector: Detector, frame: Frame, proposals: ProposalsFile) -> Detections:
    """What is found in a frame whose proposals are in a file.

    Raises:
        ProposalsError: they cannot be boxes of that frame, which is named.
    """
    boxes = proposals.of(frame)
    try:
        return detector.detect(frame.image, boxes)
    except ProposalsError as error:
        raise ProposalsError(f"frame {frame.index} of {frame.name}: {error}") from error


def _proposals(path: Path | None, detector: Detector | ClusterDetector | Segmenter) -> ProposalsFile | None:
    """The proposals an artifact needs.

    Raises:
        UsageError: it needs some and there is no file, or the other way round.
        ProposalsError: the file is none of proposals.
    """
    count = detector.card.input.proposals
    if path is None:
        if count is not None:
            raise UsageError(
                f"{detector.path} makes no proposals of its own: --proposals FILE has up to {count} for every "
                "frame, or give the detector a proposer in Python (examples/motion_proposals.py)"
            )
        return None
    if count is None:
        raise UsageError(f"{detector.path} takes no proposals from outside: leave --proposals out")
    from edgedet.cli.proposals_file import ProposalsFile

    return ProposalsFile(path)


def _sinks(arguments: argparse.Namespace, source: FrameSource) -> list[Sink]:
    from edgedet.pictures.live.live_source import LiveSource
    from edgedet.pictures.sinks import Folder, Window

    sinks: list[Sink] = []
    if arguments.save is not None:
        endless = source.count is None
        live = isinstance(source, LiveSource)
        interrupted: Literal["finishes", "discards"] = "finishes" if endless else "discards"
        sinks.append(Folder(arguments.save, source.rate, interrupted=interrupted, by_clock=live))
    if arguments.show:
        # A single picture stays until a key is pressed.
        sinks.append(Window(wait_ms=0 if source.count == 1 else 1))
    return sinks
