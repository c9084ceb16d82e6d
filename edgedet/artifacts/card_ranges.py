"""Numbers on a card that cannot be: told when it is read, since what comes of them is a wrong box or no memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgedet.errors import ArtifactError

if TYPE_CHECKING:
    from edgedet.artifacts.card import ModelCard

LONGEST_SIDE = 16384
"""Maximum side of a canvas in pixels."""
MAX_PROPOSALS = 1 << 16
"""Maximum number of proposals per image: a hundred times what any two-stage detector takes."""
LARGEST_INPUT = 1 << 31
"""Maximum size of the input tensor in bytes."""


def require_ranges(card: ModelCard) -> None:
    """Check every number of a card against docs/artifact-format.md.

    Raises:
        ArtifactError: naming the first that cannot be, and what was expected.
    """
    for name, value, fits, expected in _numbers(card):
        if not fits:
            raise ArtifactError(
                f"model card: card.{name} is {value!r}, expected {expected}; export the model again"
            )


def _numbers(card: ModelCard) -> Iterator[tuple[str, object, bool, str]]:
    spec, rule, output = card.input, card.resize, card.output
    least = 0 if rule.rule == "none" else 1
    for name, side in (("height", spec.height), ("width", spec.width)):
        yield f"input.{name}", side, least <= side <= LONGEST_SIDE, f"{least} to {LONGEST_SIDE} pixels"
    size = spec.batch * spec.height * spec.width * 3 * (1 if spec.dtype == "uint8" else 4)
    fits = spec.batch >= 1 and size <= LARGEST_INPUT
    yield "input.batch", spec.batch, fits, f"1 or more, and an input of {LARGEST_INPUT} bytes at most"
    yield "input.scale", spec.scale, spec.scale > 0, "a number above 0"
    yield "input.std", spec.std, min(spec.std) > 0, "numbers above 0"
    given = spec.proposals
    yield "input.proposals", given, given is None or 1 <= given <= MAX_PROPOSALS, f"1 to {MAX_PROPOSALS}"
    yield "resize.pad", rule.pad, all(0 <= value <= 255 for value in rule.pad), "numbers from 0 to 255"
    for name, given in (("min_size", rule.min_size), ("max_size", rule.max_size)):
        needed = rule.rule == "shortest_side"
        fits = not needed if given is None else 1 <= given <= LONGEST_SIDE
        yield f"resize.{name}", given, fits, f"1 to {LONGEST_SIDE} pixels"
    for name, share in (("score_threshold", output.score_threshold), ("iou_threshold", output.iou_threshold)):
        yield f"output.{name}", share, 0 <= share <= 1, "a number from 0 to 1"
    yield "output.max_detections", output.max_detections, output.max_detections >= 1, "1 or more"
    best = output.candidates_per_class
    yield "output.candidates_per_class", best, best is None or best >= 1, "1 or more"
    yield "output.min_box_side", output.min_box_side, output.min_box_side >= 0, "0 or more"
    if output.masks is not None:
        formats = ("detections",) if output.masks == "in_boxes" else ("detections", "candidates")
        known = f"such masks of the format {' or '.join(formats)} only"
        yield "output.masks", output.masks, output.format in formats, known
        taken = sorted({"masks", "coefficients", "prototypes"}.intersection(output.data))
        yield "output.data", list(output.data), not taken, f"no data called {''.join(taken[:1])} beside masks"
    if (keypoints := output.keypoints) is not None:
        formats = ("detections",) if keypoints.form == "heatmaps" else ("detections", "candidates")
        expected = (
            f"{keypoints.form} of the {'formats' if len(formats) > 1 else 'format'} {' and '.join(formats)} only"
        )
        yield "output.keypoints", keypoints.form, output.format in formats, expected
        own = "keypoints" not in output.data
        yield "output.data", list(output.data), own, "no data called keypoints beside keypoints"
