"""Agreement of a graph with the framework it came from, measured at export on frames made or given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgedet.artifacts.card import ModelCard
from edgedet.detections import Detections
from edgedet.errors import ExportError, SourceError
from edgedet.onnx_graph.network import Network
from edgedet.pictures.sources import is_dataset_name
from edgedet.proof.golden import drawn
from edgedet.proof.golden_scene import FRAME_HEIGHT, FRAME_WIDTH, golden_frame
from edgedet.proof.parity import ParityReport, Tolerance, match_detections, summarise

from .built_graph import DEFAULT_FRAME
from .embedded_card import embed, opened
from .families.base import FrameworkReference
from .options import ExportOptions

if TYPE_CHECKING:
    from torch import nn

SCENES = (1, 3, 5)
"""Seeds of the synthetic frames on which a graph is compared with its framework at export."""
IMAGES = 8
"""Calibration or evaluation images that are compared too."""

MULTIPLY_ADDS = 1e12
"""Maximum work of all frames compared: a heavy network is compared on fewer, or that would take minutes."""
MIN_FRAMES = 4
"""Frames that the heaviest network is compared on, if there are so many."""

EXPECTED = 0.98
"""Share of equal detections below which a note is given. Untrained or flat scores let float noise decide some."""

MIN_SCORE = 0.05
"""Minimum score of a detection that is compared, as in published figures (torchvision's two-stage ones)."""

MORE_SCENES = (0, 2, 4, 6, 7, 8, 9, 10, 11)
"""Further seeds, for where no detection reaches the threshold on the frames above."""
CANDIDATES_PER_FRAME = 20
"""Number of the best candidates that are compared there."""
DISAGREES = 0.8
"""Share of what rounding leaves equal, below which a graph is another detector."""
MIN_UNEQUAL = 3
"""Minimum number of boxes that differ: one of two or three says nothing."""
ROUNDING = 1e-5
"""Change of a weight that is larger than the difference between ONNX Runtime and PyTorch."""

TELLING_SCORE = 1e-4
"""Minimum score of a candidate that is evidence, if there is one: scores of 1e-30 always agree."""


def usual_frame(options: ExportOptions) -> tuple[int, int] | None:
    """The commonest (width, height) of the calibration or evaluation images."""
    named = options.calib or options.eval
    if named is None:
        return None
    from ..calibration.pictures import pictures_of

    first = None if is_dataset_name(named) else IMAGES
    sizes = [(image.width, image.height) for image in pictures_of(named, first=first).pictures if image.width]
    return max(set(sizes), key=sizes.count) if sizes else None


def parity_frames(options: ExportOptions) -> list[NDArray[np.uint8]]:
    """Some of the user's own frames where they are known, and synthetic scenes of the shape to come."""
    width, height = options.frame_size or usual_frame(options) or DEFAULT_FRAME
    scenes = [_scene(seed, height, width) for seed in SCENES]
    named = options.calib or options.eval
    if named is None:
        return scenes
    from ..calibration.pictures import pictures_of

    for picture in pictures_of(named, first=IMAGES).pictures:
        # What cannot be read is named where it is calibrated on or judged.
        with suppress(SourceError):
            scenes.append(picture.read())
    return scenes


def _scene(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """One of which the usual size is drawn once in a process, for the golden input, too."""
    usual = (height, width) == (FRAME_HEIGHT, FRAME_WIDTH)
    return drawn(seed).copy() if usual else golden_frame(seed, height, width)


def affordable(
    model: onnx.ModelProto, frames: Sequence[NDArray[np.uint8]], *, most: float = MULTIPLY_ADDS
) -> list[NDArray[np.uint8]]:
    """As many of ``frames`` as a network of such weight is compared on, evenly spread: scenes and pictures."""
    work = sum(layer.multiply_adds for layer in Network(model).layers())
    count = max(int(most / max(work, 1)), MIN_FRAMES)
    if count >= len(frames):
        return list(frames)
    return [frames[round(place)] for place in np.linspace(0, len(frames) - 1, count)]


def measure(
    model: onnx.ModelProto, card: ModelCard, reference: FrameworkReference, frames: Sequence[NDArray[np.uint8]]
) -> dict[str, Any]:
    """Agreement of the float graph ``model`` with its framework, as the card keeps it.

    Where neither finds anything on ``frames``, the best candidates below the threshold are compared on more scenes:
    the same arithmetic gave them. ``least_score`` says from where on, ``below_threshold`` whether that was done;
    ``absent`` why shares and differences are None, where there was nothing to compare all the same.
    """
    tolerance = Tolerance(min_score=max(MIN_SCORE, card.output.score_threshold + 0.001))
    report = _compare(model, card, [reference(frame) for frame in frames], frames, tolerance)
    below = not report.reference_count and not report.candidate_count
    if below:
        more = [_scene(seed, *frames[0].shape[:2]) for seed in MORE_SCENES]
        frames = [*frames, *affordable(model, more)]
        candidates = [reference.candidates(frame) for frame in frames]
        scores = np.sort(np.concatenate([found.scores for found in candidates]))[::-1]
        above = scores[scores > (TELLING_SCORE if scores.max(initial=0.0) > TELLING_SCORE else 0.0)]
        if len(above):
            least = float(above[: CANDIDATES_PER_FRAME * len(frames)][-1])
            # Where scores are small, a difference of 0.001 would forgive everything.
            tolerance = Tolerance(least, max_score_difference=min(tolerance.max_score_difference, least / 10))
            lowered = least - 2 * tolerance.max_score_difference
            # What a graph computes may rest on the threshold inside it; then another one is made.
            graph = model if card.output.format == "candidates" else reference.graph_from(lowered)
            described = replace(card, output=replace(card.output, score_threshold=lowered))
            report = _compare(graph, described, candidates, frames, tolerance)
    return {
        "frames": report.frames,
        "detections": report.reference_count,
        "graph_detections": report.candidate_count,
        "found": report.found,
        "confirmed": report.confirmed,
        "worst_iou": report.worst_iou,
        "worst_score_difference": report.worst_score_difference,
        "least_score": tolerance.min_score,
        "max_score_difference": tolerance.max_score_difference,
        "below_threshold": below,
        "absent": report.absent,
    }


def require_agreement(
    agreement: dict[str, Any], reference: FrameworkReference, frames: Sequence[NDArray[np.uint8]], *, source: Path
) -> None:
    """Refuse a graph that gives other boxes than its framework for another reason than rounding.

    Where many boxes score alike, rounding decides which stay, and the framework does not agree with itself either
    once its weights are disturbed by as much: there a low figure is told, and nothing follows from it.

    Args:
        agreement: what :func:`measure` found.
        reference: the framework.
        frames: those that were given to :func:`measure`.
        source: what the graph was made of, for the message.

    Raises:
        ExportError: the graph agrees by far less than that.
    """
    shares = [agreement[name] for name in ("found", "confirmed") if agreement[name] is not None]
    share = min(shares, default=1.0)
    count = max(agreement["detections"], agreement["graph_detections"])
    if share >= DISAGREES or round((1 - share) * count) < MIN_UNEQUAL:
        return
    steady = _steadiness(agreement, reference, frames)
    if share < DISAGREES * steady:
        raise ExportError(
            f"the graph of {source} does not give the boxes of its framework: {share:.1%} of {count} are equal, "
            f"while the framework repeats {steady:.1%} of its own when its weights change by as much as rounding "
            "changes them; something in this detector is not as torchvision has it (a hook, a forward of its own, "
            "a value changed after it was made): save its state_dict and state its settings, or prove the graph "
            "with boxes of the training framework (--reference)"
        )


def _steadiness(
    agreement: dict[str, Any], reference: FrameworkReference, frames: Sequence[NDArray[np.uint8]]
) -> float:
    """Share of its boxes that the framework gives again after a disturbance; 0 where most scores are the same."""
    found: Callable[[NDArray[np.uint8]], Detections] = reference
    if agreement["below_threshold"]:
        found = reference.candidates
        frames = [*frames, *(_scene(seed, *frames[0].shape[:2]) for seed in MORE_SCENES)]
    tolerance = Tolerance(agreement["least_score"], max_score_difference=agreement["max_score_difference"])
    before = [found(frame) for frame in frames]
    scores = np.concatenate([each.scores[each.scores >= tolerance.min_score] for each in before])
    if len(np.unique(np.round(scores, 6))) * 2 < len(scores):
        return 0.0
    worst = 1.0
    for seed in range(2):
        with disturbed(reference.module, seed):
            after = [found(frame) for frame in frames]
        pairs = zip(before, after, strict=True)
        again = summarise([match_detections(first, second, tolerance) for first, second in pairs])
        worst = min(worst, 1.0 if again.share is None else again.share)
    return worst


@contextmanager
def disturbed(module: nn.Module, seed: int) -> Iterator[None]:
    """``module`` with every parameter off by about :data:`ROUNDING` of itself, and afterwards as it was."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    kept = [(parameter, parameter.detach().clone()) for parameter in module.parameters()]
    with torch.no_grad():
        try:
            for parameter, _ in kept:
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.mul_(1 + ROUNDING * noise)
            yield
        finally:
            for parameter, value in kept:
                parameter.copy_(value)


def _compare(
    model: onnx.ModelProto,
    card: ModelCard,
    expected: Sequence[Detections],
    frames: Sequence[NDArray[np.uint8]],
    tolerance: Tolerance,
) -> ParityReport:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    with opened(embed(copied, card)) as detector:
        return summarise(
            [
                match_detections(wanted, detector.detect(frame), tolerance)
                for wanted, frame in zip(expected, frames, strict=True)
            ]
        )


def note(parity: dict[str, Any], *, precision: str) -> str:
    """What :func:`measure` found, in a sentence. ``precision``: what is made of the float graph afterwards."""
    shares = [parity[name] for name in ("found", "confirmed") if parity[name] is not None]
    if not shares:
        return (
            "nothing could be compared with the framework: the network gives not one candidate on these frames; "
            "compare on frames of your own: edgedet parity"
        )
    if parity["found"] is None:
        return (
            f"the framework finds nothing on {parity['frames']} frames where the graph finds "
            f"{parity['graph_detections']}: run edgedet parity on frames of your own"
        )
    share = min(shares)
    what = "detections"
    why = ""
    if parity["below_threshold"]:
        what = f"candidates scoring {parity['least_score']:.2g} or more"
        why = (
            "; this is with a lower threshold, since no detection reaches the one asked for there: run edgedet "
            "parity on frames of your own"
        )
    limits = f"IoU 0.99, score {parity['max_score_difference']:.1g}"
    if precision != "fp32":
        limits += f"; in fp32, before {precision}"
    said = (
        f"{share:.1%} of {parity['detections']} {what} equal to the framework's on {parity['frames']} frames "
        f"({limits})"
    )
    if share >= EXPECTED:
        return said + why
    return f"only {said}{why or ': run edgedet parity on frames of your own'}"
