"""The golden input: a frame made from a seed, and the detections it gave when the artifact was made.

Every artifact carries the seed and the detections, never the picture. Replaying it on a device shows in one
frame whether the whole path (resize, network, NMS) still gives what it gave at export.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import ModelCard, Precision
from edgedet.errors import ArtifactError, SelftestError
from edgedet.proof.parity import FrameParity, Tolerance, match_detections, summarise

if TYPE_CHECKING:
    from edgedet.detections import Detections

FRAME_HEIGHT, FRAME_WIDTH = 480, 640
LARGEST_SIDE = 8192
"""Of a golden frame: a card that says more is damaged."""
KEPT_DETECTIONS = 50
"""Detections kept on the card: enough to notice a fault, few enough to read."""

FINALISTS, NUDGES = 4, 3
"""Scenes whose steadiness is tried, and how often each."""

TELLING = 0.7
"""Shares below this are worth a word."""

LEAST = 0.1
"""Asked of the unsteadiest scene: what computes something else agrees on next to nothing."""

NOTHING_COMPARED = "no detection of this scene can be compared: there is none, or only the last that was kept"

STEADY_ENOUGH = 0.3
"""Below this a scene proves less than one where nothing is to be found."""

TOLERANCES: dict[Precision, tuple[Tolerance, float]] = {
    "fp32": (Tolerance(min_iou=0.98, max_score_difference=0.01), 0.95),
    "fp16": (Tolerance(min_iou=0.95, max_score_difference=0.03), 0.95),
    "int8": (Tolerance(min_iou=0.85, max_score_difference=0.10), 0.9),
}
"""What another machine or runtime may change at each precision, and the share that must agree. A GPU
multiplies fp32 in TF32 (10 bits of mantissa) unless told otherwise; an int8 value may round the other way."""


class GoldenSource(Protocol):
    """What is needed of a detector here."""

    card: ModelCard

    def detect(self, frame: NDArray[np.uint8]) -> Detections:
        """Detections of one BGR frame."""


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
        if self.required < TELLING:
            said += f"; {self.required:.0%} would do, the scene being an unsteady one"
        return said


def golden_frame(seed: int, height: int = FRAME_HEIGHT, width: int = FRAME_WIDTH) -> NDArray[np.uint8]:
    """A synthetic scene, ``uint8 [height, width, 3]`` BGR, the same on every machine and NumPy version.

    Integer arithmetic only, and no random generator but a hash (splitmix64, Steele et al. 2014): smooth ground,
    figures with a head and legs, boxes with wheels, discs with a nucleus, and a grain over all of it.

    >>> golden_frame(1, 2, 3).tolist() == golden_frame(1, 2, 3).tolist()
    True
    """
    draws = _draws(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    frame = np.empty((height, width, 3), np.int64)
    for channel in range(3):
        top, bottom, tilt = (next(draws) % 256 for _ in range(3))
        frame[..., channel] = (top * (height - y) + bottom * y) // height + (tilt - 128) * x // (4 * width)
    shapes = (_figure, _vehicle, _disc)
    for index in range(6 + next(draws) % 8):
        size = max(min(height, width) * (12 + next(draws) % 45) // 100, 2)
        left, top = next(draws) % max(width - size // 2, 1), next(draws) % max(height - size // 2, 1)
        colours = [[next(draws) % 256 for _ in range(3)] for _ in range(3)]
        # Every third seed keeps to one kind of thing, as microscope or street pictures do.
        kind = shapes[(seed + index) % 3] if seed % 3 == 0 else shapes[seed % 3]
        for mask, colour in zip(kind(y - top, x - left, size), colours, strict=False):
            frame[mask] = colour
    grain = _hash((y * width + x).astype(np.uint64) + np.uint64(seed % 2**32 << 32))
    for channel in range(3):
        frame[..., channel] += ((grain >> np.uint64(8 * channel)) & np.uint64(15)).astype(np.int64) - 8
    return np.clip(frame, 0, 255).astype(np.uint8)


def record(
    detector: GoldenSource, seeds: Iterable[int] = range(12), *, more: Iterable[int] = range(12, 48)
) -> dict[str, Any]:
    """Run the scenes of ``seeds`` and return the most telling one as the card's ``golden`` object.

    The most telling is the one whose detections add up to most confidence, the less they change when the grain of
    the scene does: what a grey level changes, another machine's arithmetic may change too. ``steadiness`` on the
    card is the share that stayed; None, with the reason under ``absent``, where there was nothing to stay. Where
    nothing is found, ``more`` scenes are tried. A scene where nothing is found is better than an unsteady one:
    there another machine should find nothing either.
    """
    found = [(seed, detector.detect(golden_frame(seed))) for seed in seeds]
    if not found:
        raise ValueError("no seeds to choose from")
    if not any(len(detections) for _, detections in found):
        found += [(seed, detector.detect(golden_frame(seed))) for seed in more]

    def steadied(scenes: Iterable[tuple[int, Detections]]) -> list[dict[str, Any]]:
        return [_steadied(detector, _described(seed, some, detector.card)) for seed, some in scenes]

    heaviest = sorted((each for each in found if len(each[1])), key=lambda each: _weight(each[1]), reverse=True)
    heaviest = heaviest[:FINALISTS]
    telling = steadied(heaviest)
    weights = [
        _weight(some) * (golden["steadiness"] or 0.0) for (_, some), golden in zip(heaviest, telling, strict=True)
    ]
    best = telling[int(np.argmax(weights))] if telling else None
    if best is not None and (best["steadiness"] or 0.0) >= STEADY_ENOUGH:
        return best
    empty = steadied([each for each in found if not len(each[1])][:FINALISTS])
    return max((*empty, *([best] if best else [])), key=_kept)


def _kept(golden: dict[str, Any]) -> float:
    """How far the scene can be relied on to stay as it is; where nothing was found, nothing can leave it."""
    steadiness = golden.get("steadiness")
    return 1.0 if steadiness is None else float(steadiness)


def _weight(detections: Detections) -> float:
    return float(np.sort(detections.scores)[::-1][:10].sum())


def _described(seed: int, detections: Detections, card: ModelCard) -> dict[str, Any]:
    order = np.argsort(-detections.scores, kind="stable")[:KEPT_DETECTIONS]
    truncated = len(order) < len(detections.scores) or len(order) >= card.output.max_detections
    return {
        "seed": seed,
        "height": FRAME_HEIGHT,
        "width": FRAME_WIDTH,
        "boxes": [[round(float(value), 3) for value in box] for box in detections.boxes[order]],
        "scores": [round(float(score), 6) for score in detections.scores[order]],
        "labels": [int(label) for label in detections.labels[order]],
        "truncated": truncated,
    }


def _steadied(detector: GoldenSource, golden: dict[str, Any]) -> dict[str, Any]:
    """``golden`` with the share of its detections that a change of every pixel by at most one leaves as it is."""
    frame = golden_frame(int(golden["seed"]))
    shares = []
    for number in range(NUDGES):
        positions = np.arange(frame.size, dtype=np.uint64).reshape(frame.shape) + np.uint64(number << 40)
        nudged = frame.astype(np.int16) + (_hash(positions) % np.uint64(3)).astype(np.int16) - 1
        found = detector.detect(np.clip(nudged, 0, 255).astype(np.uint8))
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
    parity, tolerance = _compare(golden, detector.detect(frame), detector.card, conf)
    share = _share(parity)
    required = max(min(TOLERANCES[detector.card.precision][1], steadiness), LEAST)
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
    tolerance = Tolerance(min_score=floor, min_iou=tolerance.min_iou, max_score_difference=slack)
    return match_detections(expected, found, tolerance), tolerance


def _share(parity: FrameParity) -> float | None:
    """Of what was expected and of what was found, the lower share that has its counterpart; None of nothing."""
    return summarise([parity]).share


def _scene(golden: dict[str, Any]) -> tuple[NDArray[np.uint8], float]:
    """The frame, and how steady its detections are; older cards do not tell that."""
    try:
        seed, height, width = (int(golden[key]) for key in ("seed", "height", "width"))
        steadiness = _kept(golden)
        if not (0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE and 0 <= steadiness <= 1):
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


def _expected(golden: dict[str, Any], card: ModelCard) -> Detections:
    from edgedet.detections import Detections

    try:
        return Detections(
            boxes=np.array(golden["boxes"], np.float32).reshape(-1, 4),
            scores=np.array(golden["scores"], np.float32),
            labels=np.array(golden["labels"], np.int32),
            names=card.names,
            frame_size=(int(golden["height"]), int(golden["width"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"the card's golden input is broken ({error}); export the model again") from error


def _hash(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's mixing of each value; unsigned array arithmetic wraps silently."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _draws(seed: int) -> Iterator[int]:
    count = 0
    while True:
        block = _hash(np.arange(count, count + 64, dtype=np.uint64) + np.uint64(seed % 2**32 << 20))
        yield from (int(value >> np.uint64(16)) for value in block)
        count += 64


Offsets = NDArray[np.int64]
Mask = NDArray[np.bool_]


def _ellipse(  # noqa: PLR0917
    y: Offsets, x: Offsets, centre_y: int, centre_x: int, radius_y: int, radius_x: int
) -> Mask:
    radius_y, radius_x = max(radius_y, 1), max(radius_x, 1)
    inside = ((y - centre_y) * radius_x) ** 2 + ((x - centre_x) * radius_y) ** 2
    return np.asarray(inside <= (radius_y * radius_x) ** 2)


def _rectangle(  # noqa: PLR0917
    y: Offsets, x: Offsets, top: int, left: int, bottom: int, right: int
) -> Mask:
    return np.asarray((y >= top) & (y < bottom) & (x >= left) & (x < right))


def _figure(y: Offsets, x: Offsets, size: int) -> tuple[Mask, ...]:
    """Trunk and arms, legs, head: upright, two and a half times as tall as wide."""
    unit = max(size // 10, 1)
    trunk = _rectangle(y, x, 2 * unit, unit, 6 * unit, 4 * unit)
    legs = _rectangle(y, x, 6 * unit, unit, 10 * unit, 4 * unit) & ~_rectangle(
        y, x, 7 * unit, 2 * unit + unit // 3, 10 * unit, 3 * unit - unit // 3
    )
    return trunk, legs, _ellipse(y, x, unit, 5 * unit // 2, unit, unit)


def _vehicle(y: Offsets, x: Offsets, size: int) -> tuple[Mask, ...]:
    """Body and cabin, windows, two wheels."""
    unit = max(size // 10, 1)
    body = _rectangle(y, x, 3 * unit, 0, 6 * unit, 12 * unit) | _rectangle(y, x, unit, 3 * unit, 3 * unit, 9 * unit)
    windows = _rectangle(y, x, unit + unit // 2, 4 * unit, 3 * unit, 8 * unit)
    wheels = _ellipse(y, x, 6 * unit, 3 * unit, unit, unit) | _ellipse(y, x, 6 * unit, 9 * unit, unit, unit)
    return body, windows, wheels


def _disc(y: Offsets, x: Offsets, size: int) -> tuple[Mask, ...]:
    """A cell: rim, inside, nucleus."""
    radius = max(size // 2, 1)
    return (
        _ellipse(y, x, radius, radius, radius, radius),
        _ellipse(y, x, radius, radius, radius * 3 // 4, radius * 3 // 4),
        _ellipse(y, x, radius, radius + radius // 8, radius // 3, radius // 4),
    )
