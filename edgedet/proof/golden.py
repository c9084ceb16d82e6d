"""The golden input: a frame made from a seed, and the detections it gave when the artifact was made.

Every artifact carries the seed and the detections, never the picture. Replaying it on a device shows in one
frame whether the whole path (resize, network, NMS) still gives what it gave at export.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import ModelCard, Precision
from edgedet.errors import ArtifactError, SelftestError
from edgedet.masks.run_lengths import decompressed, from_run_lengths
from edgedet.proof.golden_scene import FRAME_HEIGHT, FRAME_WIDTH, golden_frame, splitmix64
from edgedet.proof.made_proposals import made_proposals
from edgedet.proof.parity import FrameParity, Tolerance, match_detections, summarise

if TYPE_CHECKING:
    from edgedet.detections import Detections
    from edgedet.masks.base import Masks

MAX_SIDE = 8192
"""Longest side of a golden frame; a card that says more is damaged."""
MAX_CELLS = 1024
"""Longest side of a bitmap over a box on a card; one that says more is damaged."""
KEPT_DETECTIONS = 50
"""Detections kept on the card: enough to notice a fault, few enough to read."""

SCENES, MORE_SCENES = range(12), range(12, 48)
"""Seeds of the scenes that are looked at, and of those that are where nothing is found in them."""
STEADINESS_SCENES, STEADINESS_TRIALS = 4, 3
"""Number of scenes whose steadiness is measured, and trials of each."""

WEAK_EVIDENCE = 0.7
"""Below this required share, the report says that the scene proves little."""

MIN_REQUIRED = 0.1
"""Minimum share of detections that must match, even for an unstable scene."""

NOTHING_COMPARED = "no detection of this scene can be compared: there is none, or only the last that was kept"

MIN_STEADINESS = 0.3
"""Below this steadiness, a scene proves less than one in which nothing is found."""

TOLERANCES: dict[Precision, tuple[Tolerance, float]] = {
    "fp32": (Tolerance(min_iou=0.98, max_score_difference=0.01, min_mask_iou=0.95), 0.95),
    "fp16": (Tolerance(0.05, 0.95, 0.03, min_mask_iou=0.9, min_keypoint_similarity=0.85), 0.95),
    "int8": (Tolerance(0.05, 0.85, 0.10, min_mask_iou=0.75, min_keypoint_similarity=0.7), 0.9),
}
"""Maximum change on another machine or runtime by precision, and the share that must agree. A GPU
multiplies fp32 in TF32 (10 bits of mantissa) unless told otherwise; an int8 value may round the other way."""


class GoldenSource(Protocol):
    """What is needed of a detector here."""

    card: ModelCard

    def detect(self, frame: NDArray[np.uint8], proposals: Any = ..., /) -> Detections:
        """Detections of one BGR frame; ``proposals`` where the artifact takes them from outside."""


@dataclass(frozen=True)
class GoldenReport:
    """One replay: what was expected and how much of it came back."""

    seed: int
    expected: int
    found: int
    parity: FrameParity
    tolerance: Tolerance
    required: float
    passed: bool
    """Nothing speaks against it; where the report is not ``telling``, nothing speaks for it either."""

    @property
    def telling(self) -> bool:
        """Whether there was anything to compare."""
        return bool(self.expected or self.found)

    def __str__(self) -> str:
        matched = len(self.parity.pairs)
        worst = float(self.parity.score_differences.max(initial=0.0))
        said = f"golden frame {self.seed}: {self.expected} detections at export, {self.found} here, {matched} agree"
        if matched:
            said += f" (scores within {worst:.4f}, IoU at least {self.parity.ious.min():.3f})"
        if not self.telling:
            return f"{said}: it ran, which is all this shows; see edgedet parity"
        if self.required < WEAK_EVIDENCE:
            said += f"; {self.required:.0%} would do, the scene being an unsteady one"
        return said


def record(
    detector: GoldenSource, seeds: Iterable[int] = SCENES, *, more: Iterable[int] = MORE_SCENES
) -> dict[str, Any]:
    """Run the scenes of ``seeds`` and return the most telling one as the card's ``golden`` object.

    The most telling is the one whose detections add up to most confidence, the less they change when the grain of
    the scene does: what a grey level changes, another machine's arithmetic may change too. ``steadiness`` on the
    card is the share that stayed; None, with the reason under ``absent``, where there was nothing to stay. Where
    nothing is found, ``more`` scenes are tried. A scene where nothing is found is better than an unsteady one:
    there another machine should find nothing either.
    """
    found = [(seed, _detect(detector, drawn(seed))) for seed in seeds]
    if not found:
        raise ValueError("no seeds to choose from")
    if not any(len(detections) for _, detections in found):
        found += [(seed, _detect(detector, drawn(seed))) for seed in more]

    nudges = [nudge(number) for number in range(STEADINESS_TRIALS)]

    def measured(scenes: Iterable[tuple[int, Detections]]) -> list[dict[str, Any]]:
        return [_with_steadiness(detector, _described(seed, some, detector.card), nudges) for seed, some in scenes]

    by_weight = sorted(
        (scene for scene in found if len(scene[1])), key=lambda scene: _weight(scene[1]), reverse=True
    )
    candidates = by_weight[:STEADINESS_SCENES]
    recorded = measured(candidates)
    evidence = [
        _weight(some) * (golden["steadiness"] or 0.0)
        for (_, some), golden in zip(candidates, recorded, strict=True)
    ]
    best = recorded[int(np.argmax(evidence))] if recorded else None
    if best is not None and (best["steadiness"] or 0.0) >= MIN_STEADINESS:
        return best
    empty = measured([scene for scene in found if not len(scene[1])][:STEADINESS_SCENES])
    return max((*empty, *([best] if best else [])), key=_kept)


def _detect(detector: GoldenSource, frame: NDArray[np.uint8], scene: NDArray[np.uint8] | None = None) -> Detections:
    """Proposals from outside are made ones here, whoever gives them otherwise: of ``scene``, where ``frame`` is a
    change of it."""
    count = detector.card.input.proposals
    if count is None:
        return detector.detect(frame)
    return detector.detect(frame, made_proposals(frame if scene is None else scene, count))


def _kept(golden: dict[str, Any]) -> float:
    """How far the scene can be relied on to stay as it is; where nothing was found, nothing can leave it."""
    steadiness = golden.get("steadiness")
    return 1.0 if steadiness is None else float(steadiness)


def _weight(detections: Detections) -> float:
    return float(np.sort(detections.scores)[::-1][:10].sum())


def _described(seed: int, detections: Detections, card: ModelCard) -> dict[str, Any]:
    order = np.argsort(-detections.scores, kind="stable")[:KEPT_DETECTIONS]
    truncated = len(order) < len(detections.scores) or len(order) >= card.output.max_detections
    masks: dict[str, Any] = {}
    if detections.masks is not None:
        masks["masks"] = detections.masks[order].to_card()
    keypoints: dict[str, Any] = {}
    if detections.keypoints is not None:
        keypoints["keypoints"] = np.round(detections.keypoints[order].astype(np.float64), 2).tolist()
    described = {
        "seed": seed,
        "height": FRAME_HEIGHT,
        "width": FRAME_WIDTH,
        "boxes": [[round(float(value), 3) for value in box] for box in detections.boxes[order]],
        "scores": [round(float(score), 6) for score in detections.scores[order]],
        "labels": [int(label) for label in detections.labels[order]],
        "truncated": truncated,
    }
    return masks | keypoints | described


def drawn(seed: int) -> NDArray[np.uint8]:
    """The scene of ``seed``, for reading only."""
    return _kept_scene(seed) if seed in SCENES else golden_frame(seed)


@lru_cache(maxsize=len(SCENES))
def _kept_scene(seed: int) -> NDArray[np.uint8]:
    """Kept (11 MB in all), since every export of a process looks at the same ones, each several times: of a small
    network's export, drawing them takes half."""
    frame = golden_frame(seed)
    frame.flags.writeable = False
    return frame


@lru_cache(maxsize=STEADINESS_TRIALS)
def nudge(number: int) -> NDArray[np.int8]:
    """A change of every pixel of a scene by -1, 0 or 1: int8 [FRAME_HEIGHT, FRAME_WIDTH, 3], by ``number``; for
    reading only."""
    change = np.empty((FRAME_HEIGHT, FRAME_WIDTH, 3), np.int8)
    for row in range(FRAME_HEIGHT):
        first = row * FRAME_WIDTH * 3
        positions = np.arange(first, first + FRAME_WIDTH * 3, dtype=np.uint64) + np.uint64(number << 40)
        change[row] = (splitmix64(positions) % np.uint64(3)).astype(np.int8).reshape(FRAME_WIDTH, 3) - 1
    change.flags.writeable = False
    return change


def _with_steadiness(
    detector: GoldenSource, golden: dict[str, Any], nudges: list[NDArray[np.int8]]
) -> dict[str, Any]:
    """``golden`` with the share of its detections that a change of every pixel by at most one leaves as it is."""
    scene = drawn(int(golden["seed"]))
    frame = scene.astype(np.int16)
    shares = []
    for nudge in nudges:
        found = _detect(detector, np.clip(frame + nudge, 0, 255).astype(np.uint8), scene)
        shares.append(_share(_compare(golden, found, detector.card, None)[0]))
    known = [share for share in shares if share is not None]
    if not known:
        return golden | {"steadiness": None, "absent": {"steadiness": NOTHING_COMPARED}}
    return golden | {"steadiness": math.floor(1000 * min(known)) / 1000}


def replay(detector: GoldenSource, *, conf: float | None = None) -> GoldenReport:
    """Run the golden frame and compare with the card.

    ``conf``: the detector's score threshold where it was raised above the card's; what lies below is not
    looked for.

    Raises:
        ArtifactError: the card carries no golden input, or a broken one.
    """
    golden = detector.card.golden
    if golden is None:
        raise ArtifactError("this artifact carries no golden input to replay; export it with this edgedet")
    frame, steadiness = _scene(golden)
    parity, tolerance = _compare(golden, _detect(detector, frame), detector.card, conf)
    share = _share(parity)
    required = max(min(TOLERANCES[detector.card.precision][1], steadiness), MIN_REQUIRED)
    return GoldenReport(
        seed=int(golden["seed"]),
        expected=parity.reference_count,
        found=parity.candidate_count,
        parity=parity,
        tolerance=tolerance,
        required=required,
        passed=share is None or share >= required,
    )


def _compare(
    golden: dict[str, Any], found: Detections, card: ModelCard, conf: float | None
) -> tuple[FrameParity, Tolerance]:
    """``found`` on the golden scene against what the card says, away from the thresholds."""
    expected = _expected(golden, card)
    tolerance, _ = TOLERANCES[card.precision]
    slack = tolerance.max_score_difference
    floor = max(card.output.score_threshold, conf or 0.0) + slack
    if golden.get("truncated") and len(expected):
        # Which detections were the last to be kept is a matter of rounding.
        floor = max(floor, float(expected.scores.min()) + slack)
    tolerance = replace(tolerance, min_score=floor)
    if expected.masks is not None and found.masks is not None:
        # The card holds bitmaps without shades; as many are taken of what was found.
        found = replace(found, masks=found.masks.without_shades())
    return match_detections(expected, found, tolerance), tolerance


def _share(parity: FrameParity) -> float | None:
    """The lower of the shares of expected and of found detections with a counterpart; None of nothing."""
    return summarise([parity]).share


def _scene(golden: dict[str, Any]) -> tuple[NDArray[np.uint8], float]:
    """The frame, and how steady its detections are; older cards do not tell that."""
    try:
        seed, height, width = (int(golden[key]) for key in ("seed", "height", "width"))
        steadiness = _kept(golden)
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and 0 <= steadiness <= 1):
            raise ValueError(f"{width} x {height} pixels, steadiness {steadiness}")
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise ArtifactError(f"the card's golden input is broken ({error}); export the model again") from error
    return golden_frame(seed, height, width), steadiness


def require_golden(
    detector: GoldenSource, *, conf: float | None = None, unproved: Literal["refuse", "accept"] = "refuse"
) -> GoldenReport:
    """Replay and insist.

    ``unproved``: what becomes of a scene in which nothing was found at export, and nothing here.

    Raises:
        ArtifactError: nothing to replay.
        SelftestError: the detections differ from those at export by more than the precision explains, or there are
            none on either side (unless ``unproved`` is ``accept``).
    """
    report = replay(detector, conf=conf)
    if not report.telling and unproved == "refuse":
        above = "" if conf is None else f" at scores of {conf:g} or more"
        raise SelftestError(
            f"the self-test proves nothing: golden frame {report.seed} holds no detection to compare{above}, from "
            "export or from here. Compare with what it was made from on frames of your own: edgedet parity"
        )
    if not report.passed:
        raise SelftestError(
            f"self-test failed: {report}; expected {report.required:.0%} to agree within IoU "
            f"{report.tolerance.min_iou} and score {report.tolerance.max_score_difference}. This runtime computes "
            "something else than the exporting machine did: build the engine again here, or try "
            "runtime='onnxruntime'"
        )
    return report


def _cells_on(mask: dict[str, Any], longest: int) -> NDArray[np.bool_]:
    """Cells of a bitmap as the card has them."""
    height, width = (int(side) for side in mask["size"])
    if not (0 < height <= longest and 0 < width <= longest):
        raise ValueError(f"masks of {height} x {width} cells")
    return from_run_lengths(decompressed(str(mask["counts"])), (height, width))


def _masks_on(
    golden: dict[str, Any], card: ModelCard, boxes: NDArray[np.float32], size: tuple[int, int]
) -> Masks | None:
    """The outlines of a golden input, of the kind that the detector gives; None where there are none."""
    from edgedet.masks.box_masks import BoxMasks
    from edgedet.masks.canvas_masks import CanvasMasks

    if card.output.masks == "prototypes":
        frames = [_cells_on(each, MAX_SIDE) for each in golden.get("masks", ())]
        if any(frame.shape != size for frame in frames):
            raise ValueError("masks of another size than the frame's")
        return CanvasMasks.of_frames(frames, size) if frames else None
    cells = [_cells_on(each, MAX_CELLS) for each in golden.get("masks", ())]
    return BoxMasks(np.stack(cells).astype(np.float32), boxes, size) if cells else None


def _expected(golden: dict[str, Any], card: ModelCard) -> Detections:
    from edgedet.detections import Detections

    try:
        boxes = np.array(golden["boxes"], np.float32).reshape(-1, 4)
        size = (int(golden["height"]), int(golden["width"]))
        points = golden.get("keypoints")
        skeleton = None if card.output.keypoints is None else card.output.keypoints.skeleton
        shape = (len(boxes), 0 if skeleton is None else len(skeleton.names), 3)
        return Detections(
            boxes=boxes,
            scores=np.array(golden["scores"], np.float32),
            labels=np.array(golden["labels"], np.int32),
            names=card.names,
            frame_size=size,
            masks=_masks_on(golden, card, boxes, size),
            keypoints=None if points is None or skeleton is None else np.array(points, np.float32).reshape(shape),
            skeleton=None if points is None else skeleton,
        )
    except (KeyError, OverflowError, TypeError, ValueError) as error:  # Overflow: a label beyond int32
        raise ArtifactError(f"the card's golden input is broken ({error}); export the model again") from error
