"""Measure the accuracy of an artifact, as it will run, on a labelled dataset.

COCO's figures (by pycocotools), Pascal VOC's and scikit-learn's average precision at IoU 0.5, and two figures of an
application: the share of pictures with objects in which nothing is found, and of object-free pictures with a box.

Average precision needs every detection down to the lowest scores. An artifact exported with a high --conf is judged
as it runs, and its figures are lower than published ones; export with --conf 0.001 to compare with those.

Pictures that cannot be read are left out and named, here and under "problems" in the JSON; their objects count
neither as found nor as missed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

from edgedet.cli.progress import Progress
from edgedet.cli.ray_options import add_ray_options, cluster_detector, require_ray_options
from edgedet.cli.values import class_names, fraction, positive_integer
from edgedet.datasets import formats
from edgedet.errors import EdgedetError, UnreadableFramesError, UsageError
from edgedet.files import atomic_path, file_sha256, require_writable_parent
from edgedet.runtimes import spellings

if TYPE_CHECKING:
    from edgedet.cluster.detector import ClusterDetector
    from edgedet.datasets.dataset import Problem
    from edgedet.datasets.rows import Strictness
    from edgedet.detector import Detector
    from edgedet.evaluate.evaluation import Evaluation
    from edgedet.evaluate.working_point import WorkingPoint

EXAMPLES = f"""\
examples:
  edgedet eval model.onnx bccd:test
  edgedet eval model.onnx instances_val2017.json --json accuracy.json --save worst/
  edgedet eval engine.trt data.yaml:val --negatives empty_rooms/ --false-alarm-rate 0.01
  edgedet eval model.onnx /shared/week/labels.json --ray 10.0.0.5:6379

{fill(f"datasets: {formats.looks()}; PATH:SPLIT names a split", 110)}
"""

LOW_ENOUGH = 0.05
"""Highest score threshold under which published average precisions are measured (torchvision's two-stage ones)."""
DEFAULT_WORST = 10
CURVES_NAME = "curves.png"
CLASSES_SHOWN = 25
PROBLEMS_SHOWN = 5
HINTS_SHOWN = 3
WITH_A_CARD = (".onnx", ".trt", ".engine", ".plan", ".rtx", ".ncnn")
"""Files whose card is read in milliseconds."""
NO_PICTURE = "unreadable image"
"""The reason of a reader's problem with a file that is no picture."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``edgedet eval``."""
    parser.add_argument(
        "artifact", metavar="ARTIFACT", help="graph, engine, file for ncnn, or checkpoint (through PyTorch)"
    )
    parser.add_argument("dataset", metavar="DATASET", help="labelled images, PATH[:SPLIT]")
    data = parser.add_argument_group("the dataset")
    data.add_argument("--images", metavar="DIR", type=Path, help="folder of the pictures, if not at a usual place")
    data.add_argument("--classes", metavar="NAMES", type=class_names, help="classes to judge: a,b,c or a .txt file")
    data.add_argument("--limit", metavar="N", type=positive_integer, help="only the first N pictures")
    data.add_argument(
        "--strict", action="store_true", help="stop at the first bad annotation or picture instead of dropping it"
    )
    data.add_argument("--negatives", metavar="DIR", help="pictures without objects, for false alarms")
    run_group = parser.add_argument_group("the detector")
    run_group.add_argument("--conf", metavar="X", type=fraction, help="minimum score of a detection")
    run_group.add_argument(
        "--iou", metavar="X", type=fraction, help="IoU above which NMS drops the lower-scoring box"
    )
    run_group.add_argument(
        "--max-detections", metavar="N", type=positive_integer, help="maximum number of boxes per frame"
    )
    run_group.add_argument("--runtime", default="auto", help=f"{spellings()} (auto)")
    run_group.add_argument("--threads", metavar="N", type=positive_integer, help="CPU threads for the network")
    add_ray_options(parser)
    point = parser.add_argument_group("the working point")
    point.add_argument(
        "--threshold", metavar="X", type=fraction, help="minimum score of a box that counts (default: best F1)"
    )
    point.add_argument(
        "--false-alarm-rate",
        metavar="X",
        type=fraction,
        help="recommend the threshold that keeps boxes out of all but this share of the object-free pictures",
    )
    out = parser.add_argument_group("output")
    out.add_argument("--json", metavar="OUT", help="everything as one JSON object, to a file or - for stdout")
    out.add_argument("--save", metavar="DIR", type=Path, help="draw the worst pictures and the curves into DIR")
    out.add_argument("--worst", metavar="N", type=positive_integer, help=f"how many of them ({DEFAULT_WORST})")


def run(arguments: argparse.Namespace) -> int:
    """Open, judge, and print the tables."""
    require_ray_options(arguments)
    if arguments.worst is not None and arguments.save is None:
        raise UsageError("--worst needs a folder for the pictures: add --save DIR")
    if arguments.json is not None and arguments.json != "-":
        require_writable_parent(arguments.json)
    if arguments.save is not None:
        require_writable_parent(arguments.save / "picture.jpg")
    from dataclasses import replace

    from edgedet.cli.own_proposals import require_own_proposals
    from edgedet.datasets import read_dataset
    from edgedet.detector import Detector
    from edgedet.evaluate.curve_picture import save_curves
    from edgedet.evaluate.evaluation import evaluate
    from edgedet.evaluate.worst import save_worst
    from edgedet.in_order import lanes_here
    from edgedet.runtimes.free_memory import keep_free_memory

    keep_free_memory()
    strictness: Strictness = "stop" if arguments.strict else "drop"
    dataset = read_dataset(
        arguments.dataset,
        images=arguments.images,
        classes=arguments.classes,
        problems=strictness,
        outlines=_may_give(arguments.artifact, "masks"),
        keypoints=_may_give(arguments.artifact, "keypoints"),
    )
    if arguments.limit is not None:
        dataset = replace(dataset, images=dataset.images[: arguments.limit])
    negatives = None if arguments.negatives is None else read_dataset(arguments.negatives, problems=strictness)
    thresholds = {name: getattr(arguments, name) for name in ("conf", "iou", "max_detections")}
    with ExitStack() as stack:
        detector: Detector | ClusterDetector
        if arguments.ray is not None:
            detector = cluster_detector(arguments, stack)
        else:
            detector = stack.enter_context(
                Detector(
                    arguments.artifact,
                    runtime=arguments.runtime,
                    threads=arguments.threads,
                    lanes=lanes_here(arguments.threads),
                    **thresholds,
                )
            )
        progress = stack.enter_context(Progress())
        require_own_proposals(detector.card, "edgedet eval")
        evaluation = evaluate(
            detector,
            dataset,
            negatives=negatives,
            threshold=arguments.threshold,
            false_alarm_rate=arguments.false_alarm_rate,
            lowest_score=detector.thresholds.score,
            unreadable=strictness,
            progress=progress,
        )
        drawn = {}
        if arguments.save is not None:
            progress("drawing the worst pictures")
            count = arguments.worst or DEFAULT_WORST
            drawn = save_worst(detector, dataset, evaluation, arguments.save, count=count)
            save_curves(evaluation, arguments.save / CURVES_NAME)
        lowest = detector.thresholds.score
        data = _artifact(detector) | evaluation.to_dict({number: path.resolve() for number, path in drawn.items()})
        of_negatives = negatives.problems if negatives is not None else ()
        problems = (*dataset.problems, *of_negatives, *evaluation.problems)
        data["problems"] = [str(problem) for problem in problems]
        # Those of which not even the size can be read never came so far as to be judged.
        unread = [problem for problem in problems if problem.reason == NO_PICTURE or problem in evaluation.problems]
        data["notes"] = dataset.notes
    if arguments.json == "-":
        print(json.dumps(data, indent=1, allow_nan=False))
        _require_readable(unread)
        return 0
    if arguments.json is not None:
        with atomic_path(arguments.json) as temporary:
            temporary.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    for line in report_lines(evaluation, lowest):
        print(line)
    for what, where in (
        ("figures", arguments.json),
        (f"{len(drawn)} worst pictures and {CURVES_NAME}", arguments.save),
    ):
        if where is not None:
            print(f"{what} in {where}", file=sys.stderr)
    _require_readable(unread)
    return 0


def _may_give(artifact: str, what: Literal["masks", "keypoints"]) -> bool:
    """Whether outlines or keypoints are worth their memory; a checkpoint says it only once it is open."""
    from edgedet.opening import read_card

    if not artifact.lower().endswith(WITH_A_CARD):
        return True
    try:
        return getattr(read_card(Path(artifact)).output, what) is not None
    except EdgedetError:
        return False  # which is said where it is opened


def _require_readable(unread: list[Problem]) -> None:
    if unread:
        what = "1 picture" if len(unread) == 1 else f"{len(unread)} pictures"
        raise UnreadableFramesError(f"{what} could not be read, and these figures are without: {unread[0]}")


def _artifact(detector: Detector | ClusterDetector) -> dict[str, Any]:
    return {
        "artifact": str(detector.path),
        "sha256": file_sha256(detector.path),
        "family": detector.card.family,
        "architecture": detector.card.architecture,
        "precision": detector.card.precision,
        "runtime": detector.description,
        "score_threshold": detector.thresholds.score,
        "iou_threshold": detector.thresholds.iou,
        "max_detections": detector.thresholds.max_detections,
    }


def report_lines(evaluation: Evaluation, lowest_score: float) -> Iterator[str]:
    """The report for people; ``lowest_score``: the detector's own threshold."""
    coco = evaluation.coco
    yield evaluation.dataset
    if evaluation.problems:
        count = len(evaluation.problems)
        yield f"left out, cannot be read: {count} picture{'s' * (count != 1)}, with the objects there"
        yield from (f"  {problem.reason}" for problem in evaluation.problems[:PROBLEMS_SHOWN])
        if len(evaluation.problems) > PROBLEMS_SHOWN:
            yield f"  and {len(evaluation.problems) - PROBLEMS_SHOWN} more (--json has them all)"
    if coco.left_out:
        yield f"left out, the detector does not know them: {', '.join(coco.left_out)}"
    if evaluation.hints:
        more = f"; and {len(evaluation.hints) - HINTS_SHOWN} more classes" * (len(evaluation.hints) > HINTS_SHOWN)
        yield f"names that have changed places? {'; '.join(evaluation.hints[:HINTS_SHOWN])}{more}"
    yield ""
    yield (
        f"COCO    mAP {_figure(coco.map)}   AP50 {_figure(coco.ap50)}   AP75 {_figure(coco.ap75)}   "
        f"AR1 {_figure(coco.ar1)}   AR10 {_figure(coco.ar10)}   AR100 {_figure(coco.ar100)}"
    )
    if (masks := evaluation.masks) is not None:
        yield (
            f"masks   mAP {_figure(masks.map)}   AP50 {_figure(masks.ap50)}   AP75 {_figure(masks.ap75)}   "
            f"AR1 {_figure(masks.ar1)}   AR10 {_figure(masks.ar10)}   AR100 {_figure(masks.ar100)}"
        )
    elif evaluation.no_masks:
        yield f"masks   not judged: {evaluation.no_masks}"
    if (points := evaluation.keypoints) is not None:
        yield (
            f"points  mAP {_figure(points.map)}   AP50 {_figure(points.ap50)}   AP75 {_figure(points.ap75)}   "
            f"AR20 {_figure(points.ar20)}   medium {_figure(points.ap_medium)}   large {_figure(points.ap_large)}"
        )
    elif evaluation.no_keypoints:
        yield f"points  not judged: {evaluation.no_keypoints}"
    yield (
        f"VOC     11-point {_figure(evaluation.voc_11_point)}   area {_figure(evaluation.voc_area)}   "
        f"ranked (scikit-learn) {_figure(evaluation.ranked)}   at IoU 0.5"
    )
    if lowest_score > LOW_ENOUGH:
        yield (
            f"        the artifact reports no score below {lowest_score:g}, which cuts these figures short; to "
            "compare with published ones, export with --conf 0.001"
        )
    yield ""
    yield "size     objects    mAP     AR"
    for size in ("small", "medium", "large"):
        ap, ar = getattr(coco, f"ap_{size}"), getattr(coco, f"ar_{size}")
        yield f"{size:8} {coco.objects_by_size[size]:7,}  {_figure(ap)}  {_figure(ar)}"
    yield ""
    yield from _class_table(evaluation)
    if _has_gaps(evaluation):
        yield "-: not measured, the dataset has no such object"
    yield ""
    yield from _point_lines(evaluation)


def _has_gaps(evaluation: Evaluation) -> bool:
    data = evaluation.to_dict()
    rows = (data, data["voc"], data["ranked"], *data["per_class"], *data["per_class_at_iou_50"])
    return any(row["absent"].keys() - {"false_alarm_rate", "false_alarm_threshold"} for row in rows)


def _class_table(evaluation: Evaluation) -> Iterator[str]:
    width = min(max(len(name) for name in (*evaluation.names, "class")), 24)
    yield f"{'class':{width}}  objects    mAP   AP50  small medium  large  VOC07  VOC10 ranked"
    rows = sorted(zip(evaluation.coco.per_class, evaluation.classes, strict=True), key=lambda row: -row[0].objects)
    for coco, at_half in rows[:CLASSES_SHOWN]:
        figures = [coco.ap, coco.ap50, coco.ap_small, coco.ap_medium, coco.ap_large]
        figures += [at_half.voc_11_point, at_half.voc_area, at_half.ranked]
        yield f"{coco.name[:width]:{width}}  {coco.objects:7,}  " + "  ".join(_figure(value) for value in figures)
    if len(rows) > CLASSES_SHOWN:
        yield f"and {len(rows) - CLASSES_SHOWN} more classes (--json has them all)"


def _point_lines(evaluation: Evaluation) -> Iterator[str]:
    from edgedet.evaluate.absent import OF_POINT

    at = evaluation.at
    yield f"boxes scoring at least {at.threshold:g} ({evaluation.chosen_by}):"
    figures = "   ".join(
        f"{title} {_figure(value)}" if not math.isnan(value) else f"{title} not measured ({OF_POINT[key]})"
        for title, key, value in (
            ("precision", "precision", at.precision),
            ("recall", "recall", at.recall),
            ("F1", "f1", at.f1),
        )
    )
    yield f"  {figures}   ({at.true:,} right, {at.false:,} false, {at.missed_objects:,} objects missed)"
    if at.images_with_objects:
        yield f"  misses        {_share(at.misses, at.misses_range, at.images_with_objects, 'images with objects')}"
    else:
        yield f"  misses        not measured: {OF_POINT['misses']}"
    if at.images_without_objects:
        share = _share(at.false_alarms, at.false_alarms_range, at.images_without_objects, "object-free images")
        yield f"  false alarms  {share}"
    else:
        yield "  false alarms  not measured: no object-free images (--negatives DIR)"
    if evaluation.alarm_threshold is not None:
        yield _recommendation(evaluation, at)


def _recommendation(evaluation: Evaluation, at: WorkingPoint) -> str:
    assert evaluation.alarm_rate is not None and evaluation.alarm_threshold is not None
    if math.isnan(evaluation.alarm_threshold):
        return f"  no threshold for {evaluation.alarm_rate:.2%} false alarms: {evaluation.no_alarm_threshold}"
    return (
        f"  recommended   --conf {evaluation.alarm_threshold:g} keeps false alarms at {evaluation.alarm_rate:.2%} "
        f"or less of these {at.images_without_objects:,} images"
    )


def _share(share: float, interval: tuple[float, float], total: int, what: str) -> str:
    return f"{share:.1%} of {total:,} {what} (95 % interval {interval[0]:.1%} to {interval[1]:.1%})"


def _figure(value: float) -> str:
    return "    -" if math.isnan(value) else f"{value:5.3f}"
