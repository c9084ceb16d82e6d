"""Measure the accuracy of an artifact, as it will run, on a labelled dataset.

COCO's figures (by pycocotools), Pascal VOC's and scikit-learn's average precision at IoU 0.5, and figures of an
application: the share of pictures with objects in which nothing is found, and of object-free pictures with a box.
Of frames of clips (--fps, or annotations that say it) also false alarms and misses by hour of video and the delay
until something is found, each frame by itself and with an alert's rule (--alert, as in edgedet watch).

Average precision needs every detection down to the lowest scores. An artifact exported with a high --conf is judged
as it runs, and its figures are lower than published ones; export with --conf 0.001 to compare with those.

Pictures that cannot be read are left out and named, here and under "problems" in the JSON; their objects count
neither as found nor as missed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

from edgedet import dataset_formats
from edgedet.cli.eval_lines import report_lines
from edgedet.cli.progress import Progress
from edgedet.cli.ray_options import add_ray_options, cluster_detector, require_ray_options
from edgedet.cli.rule_options import add_end_options, add_rule_options, alert_rules, frames, given_options
from edgedet.cli.values import class_names, fraction, positive_integer, positive_number
from edgedet.errors import EdgedetError, UnreadableFramesError, UsageError
from edgedet.files import atomic_path, file_sha256, require_new_folder, require_writable_parent
from edgedet.runtimes import spellings

if TYPE_CHECKING:
    from edgedet.cluster.detector import ClusterDetector
    from edgedet.datasets.dataset import Problem
    from edgedet.datasets.rows import Strictness
    from edgedet.detector import Detector
    from edgedet.watching.rule import AlertRule

EXAMPLES = f"""\
examples:
  edgedet eval model.onnx bccd:test
  edgedet eval model.onnx instances_val2017.json --json accuracy.json --save worst/
  edgedet eval engine.trt data.yaml:val --negatives empty_rooms/ --false-alarm-rate 0.01
  edgedet eval model.onnx data.yaml:val --negatives rooms/ --hard-negatives hard/     those with a box, for training
  edgedet eval model.onnx clips/labels.json --fps 10 --alert 3/5 --class camera       by hour of video
  edgedet eval model.onnx /shared/week/labels.json --ray 10.0.0.5:6379

{fill(f"datasets: {dataset_formats.looks()}; PATH:SPLIT names a split", 110)}
"""

DEFAULT_WORST = 10
CURVES_NAME = "curves.png"
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
    data.add_argument(
        "--negatives", metavar="DIR", help="pictures without objects, for false alarms; its folders are told apart"
    )
    data.add_argument(
        "--fps",
        metavar="N",
        type=positive_number,
        help="the pictures are frames of clips, N a second: folder by folder in the order of their names, or as "
        "video_id and frame_id of a COCO file say (where that has fps too, nothing needs to be said)",
    )
    data.add_argument("--negatives-fps", metavar="N", type=positive_number, help="the same of --negatives")
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
    alert = parser.add_argument_group("alerts, with the working point's threshold (docs/watch.md)")
    alert.add_argument(
        "--alert", metavar="N/M", type=frames, help="judge alerts of clips: N of the last M frames must show it"
    )
    add_rule_options(alert)
    add_end_options(alert)
    out = parser.add_argument_group("output")
    out.add_argument("--json", metavar="OUT", help="everything as one JSON object, to a file or - for stdout")
    out.add_argument("--save", metavar="DIR", type=Path, help="draw the worst pictures and the curves into DIR")
    out.add_argument("--worst", metavar="N", type=positive_integer, help=f"how many of them ({DEFAULT_WORST})")
    out.add_argument(
        "--hard-negatives",
        metavar="DIR",
        type=Path,
        help="copy the pictures of --negatives that raise a false alarm into DIR, a COCO set without boxes, to be "
        "trained on",
    )


def run(arguments: argparse.Namespace) -> int:
    """Open, judge, and print the tables."""
    require_ray_options(arguments)
    from edgedet.cli.eval_maps import is_segmenter, run_maps

    if is_segmenter(arguments.artifact, arguments.dataset):
        return run_maps(arguments)
    if arguments.worst is not None and arguments.save is None:
        raise UsageError("--worst needs a folder for the pictures: add --save DIR")
    if arguments.hard_negatives is not None:
        if arguments.negatives is None:
            raise UsageError("--hard-negatives are some of --negatives, and none are named")
        require_new_folder(arguments.hard_negatives)
    if arguments.alert is None and (given := given_options(arguments)):
        more = "; the classes to judge are --classes" * (given[0] == "--class")
        raise UsageError(f"{given[0]} is about alerts: add --alert N/M{more}")
    if arguments.json is not None and arguments.json != "-":
        require_writable_parent(arguments.json)
    if arguments.save is not None:
        require_writable_parent(arguments.save / "picture.jpg")
    from dataclasses import replace

    from edgedet.cli.proposals_refusal import require_own_proposals
    from edgedet.datasets import read_dataset
    from edgedet.detector import Detector
    from edgedet.evaluate.class_match import shared_classes
    from edgedet.evaluate.curve_picture import save_curves
    from edgedet.evaluate.evaluation import evaluate
    from edgedet.evaluate.negatives import write_false_alarms
    from edgedet.evaluate.worst import save_false_alarms, save_worst
    from edgedet.prefetch import lanes_here
    from edgedet.runtimes.heap_trimming import keep_free_memory

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
        rules: list[AlertRule] = []
        if arguments.alert is not None:
            known = shared_classes(dataset.names, detector.names)
            # The score that begins an alert is the working point's, which is not known yet.
            rules = alert_rules(arguments, known, arguments.alert, conf=1.0, keep_conf=arguments.keep_conf)
        evaluation = evaluate(
            detector,
            dataset,
            negatives=negatives,
            threshold=arguments.threshold,
            false_alarm_rate=arguments.false_alarm_rate,
            fps=arguments.fps,
            negatives_fps=arguments.negatives_fps,
            rules=rules,
            lowest_score=detector.thresholds.score,
            unreadable=strictness,
            progress=progress,
        )
        drawn, drawn_negatives = {}, {}
        if arguments.save is not None:
            progress("drawing the worst pictures")
            count = arguments.worst or DEFAULT_WORST
            drawn = save_worst(detector, dataset, evaluation, arguments.save, count=count)
            if negatives is not None:
                drawn_negatives = save_false_alarms(detector, negatives, evaluation, arguments.save, count=count)
            save_curves(evaluation, arguments.save / CURVES_NAME)
        hard = "no picture of --negatives raised a false alarm: no hard negatives are"
        if arguments.hard_negatives is not None and negatives is not None and evaluation.false_alarms:
            progress("copying the hard negatives")
            written = write_false_alarms(
                negatives, evaluation.false_alarms, arguments.hard_negatives, names=detector.names
            )
            hard = f"{written:,} hard negatives (COCO, without boxes)"
        lowest = detector.thresholds.score
        data = _artifact(detector) | evaluation.to_dict(
            *({number: path.resolve() for number, path in each.items()} for each in (drawn, drawn_negatives))
        )
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
        (f"{len(drawn) + len(drawn_negatives)} worst pictures and {CURVES_NAME}", arguments.save),
        (hard, arguments.hard_negatives),
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
