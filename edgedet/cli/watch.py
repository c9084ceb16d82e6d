"""Watch cameras and streams, and say when something appears and when it is gone; one JSON line for each.

Detections are joined to tracks over time. An alert begins when N of the last M frames show the same object of a
class, above a score, of a size, inside a region. It ends when it was gone for a while, so that one bad frame
neither begins nor ends anything. Each --class is an alert of its own; classes joined by commas are one.

Lines go to standard output, and wherever else it is asked for: a program (--exec), a topic (--mqtt), a web server
of this machine (--webhook). None of them can hold up the watch. No picture is written or sent.

A source that breaks is opened again, and its alerts end ("reason": "lost"). Videos can be watched too: their own
time counts. Ends with Ctrl-C (exit code 130), with --limit, or when every source has ended (0; 1 where one ended
early, or where events could not be delivered).
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.cli.detect import add_pace_arguments
from edgedet.cli.progress import Progress
from edgedet.cli.rule_options import add_end_options, add_rule_options, alert_rules, frames
from edgedet.cli.service_options import add_service_arguments, refuse_service, start_service
from edgedet.cli.values import fraction, positive_integer
from edgedet.errors import EdgedetError, UsageError
from edgedet.runtimes import spellings

if TYPE_CHECKING:
    from edgedet.detector import Detector
    from edgedet.watching.rule import AlertRule

EXAMPLES = """\
examples:
  edgedet watch model.onnx 0 --class camera --conf 0.6           a camera, by its number
  edgedet watch model.onnx 0 --class camera,phone --class car    two alerts, one for either of two classes
  edgedet watch model.trt csi://0 --frames 4/8 --max-fps 10      four of eight frames must show it
  edgedet watch model.onnx 0 --region 0.5,0,1,1 --min-size 0.1   in the right half, a tenth of the frame long
  edgedet watch model.onnx 0 --exec ./vibrate.sh                 JSON on its standard input, no shell
  edgedet watch model.onnx rtsp://10.0.0.7/live --mqtt mqtt://localhost/home/alerts
  edgedet watch model.onnx 0 --metrics 9100 --max-temp 80        for good (docs/service.md)
  edgedet watch model.onnx street.mp4 | jq -c '[.event, .class, .at]'
"""
DEFAULT_CONF = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``edgedet watch``."""
    parser.add_argument("artifact", metavar="ARTIFACT", help="graph, engine or file for ncnn")
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs="+",
        help="camera numbers, URLs, csi://0, GStreamer pipelines; or one video",
    )
    what = parser.add_argument_group("what begins an alert")
    what.add_argument(
        "--frames", metavar="N/M", type=frames, default=(3, 5), help="N of the last M frames must show it (3/5)"
    )
    what.add_argument(
        "--conf",
        metavar="X",
        type=fraction,
        help=f"minimum score of a detection that counts ({DEFAULT_CONF:g}); edgedet eval recommends one",
    )
    add_rule_options(what)
    end = parser.add_argument_group("what ends it")
    add_end_options(end)
    where = parser.add_argument_group("where events go, besides standard output")
    where.add_argument("--json", metavar="FILE", type=Path, help="append the lines to FILE")
    where.add_argument("--exec", metavar="COMMAND", help="run a program for each event: JSON on its standard input")
    where.add_argument(
        "--mqtt", metavar="URL", help="publish to mqtt[s]://[USER@]HOST[:PORT]/TOPIC (EDGEDET_MQTT_PASSWORD)"
    )
    where.add_argument("--webhook", metavar="URL", help="POST to a web server of this machine")
    where.add_argument("--webhook-anywhere", action="store_true", help="let --webhook name another machine")
    where.add_argument(
        "--detections", action="store_true", help="print each frame's detections too, with their track ids"
    )
    add_service_arguments(parser)
    parser.add_argument("--limit", metavar="N", type=positive_integer, help="only the first N frames")
    add_pace_arguments(parser)
    parser.add_argument("--runtime", default="auto", help=f"{spellings()} (auto)")
    parser.add_argument("--threads", metavar="N", type=positive_integer, help="CPU threads for the network")


def run(arguments: argparse.Namespace) -> int:
    """Watch until the sources end."""
    from edgedet.cli.watch_loop import Outlets, watch
    from edgedet.pictures.live.live_source import LiveSource
    from edgedet.pictures.sources import open_source
    from edgedet.watching.watcher import Watcher

    if arguments.webhook_anywhere and arguments.webhook is None:
        raise UsageError("--webhook-anywhere is about --webhook, and none is named")
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(shown="never" if sys.stdout.isatty() else "on a terminal"))
        detector, rules = _open(arguments)
        stack.enter_context(detector)
        for rule in rules:
            rule.require_classes(detector.names)
        # Closed after the source: what ends an alert is still to be delivered.
        outlets = stack.enter_context(Outlets.of(arguments, progress))
        source = stack.enter_context(open_source(arguments.source, unreadable=outlets.lost_frame))
        live = isinstance(source, LiveSource)
        if not live and (arguments.max_fps is not None or arguments.duty is not None):
            raise UsageError(f"--max-fps and --duty are for cameras and streams; {source.description} is none")
        if not live:
            refuse_service(arguments, source.description)
        service = stack.enter_context(start_service(arguments, detector)) if live else None
        # Of several cameras, one that changes its size must not end the watch of the others.
        misfit = outlets.misfit if live else None
        watcher = Watcher(rules, detector.names, clock="captured" if live else "time", misfit=misfit)
        return watch(arguments, detector, source, watcher, outlets, service)


def _open(arguments: argparse.Namespace) -> tuple[Detector, list[AlertRule]]:
    """The detector, with a threshold low enough for what keeps alerts alive, and the rules."""
    from edgedet.detector import Detector
    from edgedet.watching.rule import KEEP_SHARE

    def opened(conf: float | None) -> Detector:
        return Detector(arguments.artifact, runtime=arguments.runtime, threads=arguments.threads, conf=conf)

    conf: float | None = arguments.conf
    keep: float | None = arguments.keep_conf
    if keep is not None and keep > (DEFAULT_CONF if conf is None else conf):
        raise UsageError(f"--keep-conf {keep:g} is above --conf {DEFAULT_CONF if conf is None else conf:g}")
    detector = opened(None)
    try:
        floor = detector.thresholds.score
        if conf is None:
            conf = max(DEFAULT_CONF, floor)
        if keep is None:
            # What the artifact does not tell keeps nothing alive.
            keep = min(max(conf * KEEP_SHARE, floor), conf)
        if keep < floor:
            # Asked for, so it is an error where the artifact has thrown it away.
            detector.close()
            detector = opened(keep)
        rules = alert_rules(arguments, detector.names, arguments.frames, conf=conf, keep_conf=keep)
    except EdgedetError:
        detector.close()
        raise
    return detector, rules
