"""Check that two artifacts of one detector agree: each detection of A has a partner in B, and B has no extra ones.

A is the reference: often the checkpoint itself, which runs through PyTorch. Exit code 0 when they agree, else 1,
also where neither finds anything. Where one takes proposals from outside, both get the same made ones. Of two
segmenters the class of every pixel is compared.

With --reference, one artifact is compared with boxes that the training framework itself found and wrote down: COCO
results with their images and categories, a COCO results list (--frames is then its COCO file), or lines of edgedet
detect. It also shows wrongly assumed settings of a checkpoint, which its rebuilt model shares with its graph.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from edgedet.artifacts.card import ASSUMED_KEY
from edgedet.cli.parity_report import as_dict, report_lines, settle
from edgedet.cli.progress import Progress
from edgedet.cli.values import fraction, positive_integer
from edgedet.errors import TaskError, UsageError
from edgedet.proof.parity import (
    ELSEWHERE,
    ELSEWHERE_REQUIRED,
    FrameParity,
    Tolerance,
    match_detections,
    summarise,
)

if TYPE_CHECKING:
    from edgedet.detector import Detector

EXAMPLES = """\
examples:
  edgedet parity model.pt model.onnx --frames photos/
  edgedet parity model.onnx model-int8.onnx --frames photos/ --min-iou 0.9 --max-score-difference 0.05
  edgedet parity model.onnx model.trt --frames clip.mp4 --limit 200 --json
  edgedet parity model.onnx --reference boxes.json --frames photos/
"""

REQUIRED_OF_ARTIFACTS = 0.995


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``edgedet parity``."""
    default = Tolerance()
    parser.add_argument("first", metavar="A", help="reference artifact")
    parser.add_argument("second", metavar="B", nargs="?", help="artifact to compare with it")
    parser.add_argument(
        "--reference",
        metavar="FILE",
        help="boxes of another program, taken as the truth, in place of B",
    )
    parser.add_argument(
        "--frames",
        metavar="SOURCE",
        help="image, folder, glob pattern or video; with --reference the folder of its pictures, or the dataset "
        "PATH[:SPLIT] that a bare results list is of (where COCO files usually have them)",
    )
    parser.add_argument("--limit", metavar="N", type=positive_integer, help="only the first N frames")
    for option, value, made_elsewhere, what in (
        ("--min-score", default.min_score, ELSEWHERE.min_score, "ignore detections that score below this"),
        ("--min-iou", default.min_iou, ELSEWHERE.min_iou, "minimum IoU of a matched pair"),
        (
            "--max-score-difference",
            default.max_score_difference,
            ELSEWHERE.max_score_difference,
            "maximum difference of their scores",
        ),
        (
            "--min-mask-iou",
            default.min_mask_iou,
            ELSEWHERE.min_mask_iou,
            "minimum IoU of a matched pair's masks, where both give some",
        ),
        (
            "--min-keypoint-similarity",
            default.min_keypoint_similarity,
            ELSEWHERE.min_keypoint_similarity,
            "minimum similarity (OKS) of a matched pair's keypoints, where both give some",
        ),
        ("--required", REQUIRED_OF_ARTIFACTS, ELSEWHERE_REQUIRED, "minimum share that must agree, both ways"),
    ):
        other = f"; with --reference {made_elsewhere:g}" if made_elsewhere != value else ""
        parser.add_argument(option, metavar="X", type=fraction, help=f"{what} ({value:g}{other})")
    parser.add_argument("--threads", metavar="N", type=positive_integer, help="CPU threads for each of the two")
    parser.add_argument("--json", action="store_true", help="the report as one JSON object, with every frame")


def run(arguments: argparse.Namespace) -> int:
    """Detect with both in the same frames, match, and say whether they agree."""
    check_arguments(arguments)
    if arguments.reference is not None:
        from edgedet.cli.parity_reference import run_reference

        return run_reference(arguments)
    from edgedet.detector import Detector
    from edgedet.proof.made_proposals import propose_alike

    try:
        first = Detector(arguments.first, threads=arguments.threads)
    except TaskError:
        from edgedet.cli.parity_maps import run_maps

        return run_maps(arguments)
    settle(arguments, Tolerance(), REQUIRED_OF_ARTIFACTS)
    names: list[str] = []
    frames: list[FrameParity] = []
    with (
        Progress() as progress,
        first as reference,
        Detector(arguments.second, threads=arguments.threads) as candidate,
    ):
        require_same_classes(reference, candidate)
        require_same_keypoints(reference, candidate)
        assumed = reference.card.provenance.get(ASSUMED_KEY, [])
        tolerance = usable_tolerance(arguments, reference, candidate)
        proposing = propose_alike(reference, candidate)
        alone = one_sided(reference, candidate)
        for frame, expected in reference.stream(arguments.frames):
            frames.append(match_detections(expected, candidate.detect(frame.image), tolerance))
            names.append(frame.name)
            progress("comparing", len(frames), arguments.limit)
            if len(frames) == arguments.limit:
                break
    report = summarise(frames)
    agrees = report.agrees(arguments.required)
    if arguments.json:
        data = as_dict(report, tolerance, arguments.required, names, frames) | {"assumed": assumed}
        data |= {"made_proposals": proposing} if proposing else {}
        data |= {"not_compared": alone} if alone else {}
        print(json.dumps(data, indent=2))
    else:
        if proposing:
            print(f"both were given the same {proposing} made proposals, in place of any of their own")
        if tolerance.min_score > arguments.min_score:
            print(
                f"compared from score {tolerance.min_score:g} on: below, one of the two may have dropped what the "
                "other still shows"
            )
        for what, which in alone.items():
            print(f"{what} are not compared: only {which} gives any")
        for line in report_lines(report, arguments.required, names, frames):
            print(line)
        if assumed:
            # Both may be built from the same wrong guess, and agree.
            print(f"A rests on what was assumed: {'; '.join(assumed)} (see edgedet check)")
    return 0 if agrees else 1


def check_arguments(arguments: argparse.Namespace) -> None:
    """Two artifacts and frames, or one artifact and boxes made elsewhere.

    Raises:
        UsageError: anything else.
    """
    if arguments.reference is None and arguments.second is None:
        raise UsageError(
            "parity compares two artifacts: edgedet parity A B --frames SOURCE; or one with boxes made elsewhere: "
            "edgedet parity A --reference boxes.json"
        )
    if arguments.reference is None and arguments.frames is None:
        raise UsageError(
            "say on which pictures the two are compared: --frames with an image, folder, pattern or video"
        )
    if arguments.reference is not None and arguments.second is not None:
        raise UsageError(
            f"--reference {arguments.reference} takes the place of one artifact; give {arguments.first} or "
            f"{arguments.second}, not both"
        )


def require_same_classes(reference: Detector, candidate: Detector) -> None:
    """Two detectors of different things cannot agree.

    Raises:
        UsageError: their class names differ.
    """
    first, second = reference.names, candidate.names
    if first == second:
        return
    where = next((i for i, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), None)
    detail = (
        f"{len(first)} and {len(second)} classes"
        if where is None
        else f"label {where} is {first[where]!r} in one and {second[where]!r} in the other"
    )
    raise UsageError(f"{reference.path} and {candidate.path} do not detect the same classes ({detail})")


def one_sided(reference: Detector, candidate: Detector) -> dict[str, str]:
    """What one of two detectors gives beside its boxes and the other does not, by the path of the one."""
    found = {}
    for what in ("masks", "keypoints"):
        first, second = (getattr(each.card.output, what) for each in (reference, candidate))
        if (first is None) != (second is None):
            found[what] = str(candidate.path if first is None else reference.path)
    return found


def require_same_keypoints(reference: Detector, candidate: Detector) -> None:
    """Keypoints of different meaning cannot agree.

    Raises:
        UsageError: both give keypoints, and their names differ.
    """
    first, second = (each.card.output.keypoints for each in (reference, candidate))
    if first is None or second is None or first.skeleton.names == second.skeleton.names:
        return
    counts = [len(each.skeleton.names) for each in (first, second)]
    raise UsageError(
        f"{reference.path} and {candidate.path} do not give the same keypoints ({counts[0]} from "
        f"{first.skeleton.names[0]!r} on and {counts[1]} from {second.skeleton.names[0]!r} on)"
    )


def usable_tolerance(arguments: argparse.Namespace, reference: Detector, candidate: Detector) -> Tolerance:
    """The tolerance asked for; its least score raised to where both artifacts still show everything.

    Near its own threshold an artifact may drop what the other, by a rounding, keeps.
    """
    floor = max(reference.thresholds.score, candidate.thresholds.score)
    least = arguments.min_score
    if floor > least - arguments.max_score_difference and floor > 0:
        least = max(least, floor + arguments.max_score_difference)
    return Tolerance(
        least,
        arguments.min_iou,
        arguments.max_score_difference,
        arguments.min_mask_iou,
        arguments.min_keypoint_similarity,
    )
