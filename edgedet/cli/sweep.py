"""Export, evaluate and measure a grid of detectors and settings.

Every cell's result is a file in OUT/cells; a sweep that was killed resumes when it is started again. A failed cell
is kept with the reason. `edgedet report OUT` shows all cells and names a choice."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from edgedet.cli.values import camera_size, canvas_size, class_names, fraction, list_of, positive_integer

if TYPE_CHECKING:
    from edgedet.sweep.grid import Weights

EXAMPLES = """\
examples:
  edgedet sweep ssd.pt frcnn.pt --eval data:test --proposals 4,50,150 -o sweep/
  edgedet sweep best.pt --eval val.json --imgsz 320,480 --precision fp32,int8 --calib photos/ -o sweep/
  edgedet report sweep/ --budget-ms 15 -o report.html
"""


def _precision(text: str) -> str:
    if text not in ("fp32", "fp16", "int8"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a precision; expected fp32, fp16 or int8")
    return text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("sources", nargs="*", metavar="SRC", help="checkpoints or ONNX files")
    parser.add_argument(
        "--untrained", nargs="+", default=[], metavar="SRC", help="sources with random weights: latency only"
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder for results and artifacts")
    axes = parser.add_argument_group("the grid (values separated by commas)")
    axes.add_argument(
        "--imgsz", type=list_of(canvas_size), default=(), metavar="SIZES", help="SIDE or HEIGHTxWIDTH"
    )
    axes.add_argument(
        "--proposals",
        type=list_of(positive_integer),
        default=(),
        metavar="N,N",
        help="region proposals per image (two-stage detectors only)",
    )
    axes.add_argument(
        "--precision", type=list_of(_precision), default=("fp32",), metavar="P,P", help="precisions (fp32)"
    )
    axes.add_argument("--conf", type=list_of(fraction), default=(), metavar="X,X", help="score thresholds")
    data = parser.add_argument_group("data")
    data.add_argument("--eval", metavar="DATASET", help="labelled images for accuracy")
    data.add_argument("--calib", metavar="SOURCE", help="images for INT8 ranges: a folder, dataset or video")
    data.add_argument("--guard", metavar="DATASET", help="labelled images for INT8's accuracy guard")
    data.add_argument(
        "--max-drop", type=fraction, default=0.01, metavar="X", help="maximum accuracy loss of INT8 (0.01)"
    )
    data.add_argument("--frames", metavar="SOURCE", help="frames for latency (the evaluation images)")
    source = parser.add_argument_group("the sources (settings they do not hold themselves)")
    source.add_argument("--arch", help="torchvision architecture of a bare state_dict")
    source.add_argument("--classes", type=class_names, metavar="NAMES", help="a,b,c or a .txt file")
    source.add_argument("--frame-size", type=camera_size, metavar="WxH", help="the camera's frames")
    parser.add_argument(
        "--threads", type=positive_integer, metavar="N", help="CPU threads (the runtime's own choice)"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="minimum time per latency measurement (5)")
    parser.add_argument("--retry", action="store_true", help="repeat cells that failed")
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="a cell on each node of a Ray cluster (docs/cluster.md): HOST:PORT, auto on a node of it, or local",
    )


def run(arguments: argparse.Namespace) -> int:
    """Sweep; 1 when no cell worked."""
    import dataclasses

    from edgedet.cli.progress import Progress
    from edgedet.errors import UsageError
    from edgedet.opening import read_card
    from edgedet.sweep.grid import SWEEP_RULES, Job, grid
    from edgedet.sweep.runner import run_sweep

    sources: list[tuple[str, Weights]] = [(path, "trained") for path in arguments.sources]
    sources += [(path, "untrained") for path in arguments.untrained]
    if not sources:
        raise UsageError("nothing to sweep over; expected at least one checkpoint or ONNX file")
    rules = SWEEP_RULES
    if arguments.seconds is not None:
        if arguments.seconds <= 0:
            raise UsageError(f"--seconds is {arguments.seconds:g}, expected a number above 0")
        rules = dataclasses.replace(rules, seconds=arguments.seconds, max_seconds=3 * arguments.seconds)
    job = Job(
        eval=arguments.eval,
        calib=arguments.calib,
        guard=arguments.guard,
        frames=arguments.frames,
        arch=arguments.arch,
        classes=arguments.classes,
        frame_size=arguments.frame_size,
        max_drop=arguments.max_drop,
        threads=arguments.threads,
        rules=rules,
    )

    def two_stage(source: str) -> bool:
        if arguments.arch is not None:
            return bool(arguments.arch.startswith("fasterrcnn"))
        return read_card(source).family == "faster_rcnn"

    settings = grid(
        sources,
        imgsz=arguments.imgsz,
        proposals=arguments.proposals,
        precisions=arguments.precision,
        confs=arguments.conf,
        has_proposals=two_stage,
    )
    with ExitStack() as stack:
        elsewhere = None
        if arguments.ray is not None:
            from edgedet.cluster.cells import CellsOnNodes
            from edgedet.cluster.session import open_cluster

            elsewhere = CellsOnNodes(stack.enter_context(open_cluster(arguments.ray)))
        summary = run_sweep(
            settings,
            job,
            arguments.output,
            failed="retry" if arguments.retry else "keep",
            progress=stack.enter_context(Progress()),
            told=_tell if not sys.stderr.isatty() else None,
            elsewhere=elsewhere,
        )
    print(
        f"{summary.done + summary.failed} cells: {summary.done} measured, {summary.failed} failed "
        f"({summary.fresh} of them now); edgedet report {arguments.output}"
    )
    return 0 if summary.done else 1


def _tell(cell: dict[str, Any]) -> None:
    """One line for a finished cell, where there is no progress bar."""
    if cell["status"] == "failed":
        words = f"failed: {cell['reason']}"
    else:
        from edgedet.evaluate.result import EvaluationResult

        latency = cell["bench"]["artifacts"][0]["latency"]["p50"]
        accuracy = EvaluationResult.from_json(cell["accuracy"])
        score, reason = accuracy.map, accuracy.why_missing("map") or "the evaluation gave none"
        words = f"p50 {latency:.2f} ms, mAP {f'not measured: {reason}' if score is None else format(score, '.3f')}"
    print(f"{cell['label']}: {words}", file=sys.stderr)
