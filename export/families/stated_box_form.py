"""Whether the four numbers of a box are what ``--outputs`` says: held against what a trial run shows of them."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.foreign_outputs import MAX_ROWS
from edgedet.errors import ArtifactError
from edgedet.onnxruntime_import import onnxruntime, session_options
from edgedet.outputs.plausible_values import MIN_ROWS, BoxForm, anchor_places, shown_form

from ..foreign import ForeignGraph
from .anchor_locations import Rows, Sight, as_logits, look
from .base import GraphOptions
from .default_boxes import SETS, set_of
from .end_to_end_trial import clearly_corners, clearly_inside
from .output_reading import Reading
from .output_rows import FORMS
from .outputs_to_contract import add_rows
from .trial import picture_frames
from .trial_evidence import Evidence

Array = NDArray[Any]

WORDS: dict[BoxForm, str] = {"corners": "xyxy", "centre": "cxcywh", "top_left": "xywh"}
PLACES: dict[BoxForm, str] = {
    "corners": "the numbers are two corners",
    "centre": "the first two numbers are the centre",
    "top_left": "the first two numbers are the top left corner",
}
LOOKED_AT = 2
"""So many of the trial pictures are changed strip by strip."""
ORDERS = {"x": "x comes before y", "y": "y comes before x"}
FAR = {True: "the last two numbers are the far corner", False: "the last two numbers are a width and a height"}


def require_form(foreign: ForeignGraph, reading: Reading, options: GraphOptions, evidence: Evidence) -> None:
    """Hold the form of boxes that ``reading`` states against a trial run, and add to ``evidence``.

    Raises:
        ArtifactError: the numbers are of another form, which is named.
    """
    rows, boxes = _trial(foreign, reading, options)
    pictures = picture_frames(foreign.height, foreign.width)
    sight = look(rows, pictures[:LOOKED_AT])
    order = _order(foreign, reading, sight, evidence)
    if reading.box_words.startswith("offsets"):
        evidence.unshown.append("whether x or y comes first of the offsets (offsets and offsets_yx fit alike)")
        return
    seen = np.stack([boxes(picture) for picture in pictures])
    if order == "y":
        seen = seen[..., [1, 0, 3, 2]]
    if reading.unit == "unit":
        seen = seen * np.array([foreign.width, foreign.height] * 2, np.float32)
    _form(foreign, reading, sight, seen, evidence)


def _trial(foreign: ForeignGraph, reading: Reading, options: GraphOptions) -> tuple[Rows, Rows]:
    """What runs the network on a picture: to numbers of boxes beside logits of scores, or to the first alone."""
    model, spec = add_rows(foreign, reading, options)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), session_options(None), providers=["CPUExecutionProvider"]
    )

    def run(picture: NDArray[np.uint8]) -> tuple[Array, Array]:
        batch = np.repeat(picture[None], spec.batch, axis=0).astype(spec.dtype)
        numbers, scores = session.run(["numbers", "scores"], {spec.name: batch})
        return numbers[0], scores[0]

    def rows(picture: NDArray[np.uint8]) -> Array:
        numbers, scores = run(picture)
        return np.concatenate([numbers.astype(np.float64), as_logits(scores)], axis=1)

    return rows, lambda picture: run(picture)[0]


def _order(foreign: ForeignGraph, reading: Reading, sight: Sight | None, evidence: Evidence) -> str:
    """Which axis comes first.

    Raises:
        ArtifactError: not the one that is stated.
    """
    stated = "y" if reading.box_words == "yxyx" else "x"
    found = None if sight is None else sight.first_axis
    if sight is None or found is None:
        evidence.unshown.append("whether x or y comes first")
        return stated
    if found == stated:
        evidence.shown.append(ORDERS[found])
        return stated
    if reading.box_words.startswith("offsets"):
        raise ArtifactError(
            f"{foreign.path}: the default boxes priors={reading.priors} have y first (cy, cx, h, w), as a trial "
            "run shows; --outputs expects cx, cy, w, h"
        )
    corners = FORMS[reading.box_words] == "corners" if sight.far_corner is None else sight.far_corner
    advice = {"x": "xyxy" if corners else "cxcywh or xywh", "y": "yxyx" if corners else ""}[found]
    say = f"say {advice}" if advice else "export it with x before y, or as corners"
    _refuse(foreign, reading, ORDERS[found], say)


def _form(foreign: ForeignGraph, reading: Reading, sight: Sight | None, boxes: Array, evidence: Evidence) -> None:
    """Judge ``boxes`` [F, A, 4], x first, in pixels.

    Raises:
        ArtifactError: the statement is of another form.
    """
    stated, far = FORMS[reading.box_words], None if sight is None else sight.far_corner
    if far is not None and far != (stated == "corners"):
        say = "say xyxy" if far else "say cxcywh (a centre) or xywh (a corner)"
        _refuse(foreign, reading, FAR[far], say)
    form = _told(foreign, boxes, chosen=_are_chosen(sight, boxes.shape[1]))
    if far is False and form == "corners":
        form = None
    if form not in (None, stated) and (far is None or stated != "corners"):
        _refuse(foreign, reading, PLACES[form], f"say {WORDS[form]}")
    if stated == "corners":
        known = far is not None or form is not None
        (evidence.shown if known else evidence.unshown).append(FAR[True] if known else f"whether {FAR[True]}")
    elif form is not None:
        evidence.shown.append(PLACES[form])
    else:
        evidence.unshown.append("whether they are centres or top left corners (cxcywh and xywh fit alike)")


def _are_chosen(sight: Sight | None, rows: int) -> bool:
    """Whether boxes are a choice of the network's, which cover no canvas."""
    if sight is None or sight.first_axis is None:
        return rows <= MAX_ROWS
    return sight.chosen


def _told(foreign: ForeignGraph, boxes: Array, *, chosen: bool) -> BoxForm | None:
    """The form that ``boxes`` [F, A, 4] show."""
    height, width = foreign.height, foreign.width
    pictures, rows, _ = boxes.shape
    boxes = boxes.reshape(-1, 4)
    if chosen:
        boxes = boxes[boxes.any(axis=1)]
        if len(boxes) < MIN_ROWS:
            return None
        return "corners" if clearly_corners(boxes, height, width) else clearly_inside(boxes, height, width)
    places = anchor_places(height, width, rows)
    default = set_of(height, rows) if height == width else None
    if places is None and default is not None:
        places = (SETS[default].boxes()[:, :2] * np.array([width, height])).astype(np.float32)
    return shown_form(boxes, height, width, None if places is None else np.tile(places, (pictures, 1)))


def _refuse(foreign: ForeignGraph, reading: Reading, what: str, say: str) -> NoReturn:
    raise ArtifactError(
        f"{foreign.path}: --outputs says {reading.boxes.text()}:{reading.box_words}, but {what} in its boxes, as a "
        f"trial run shows; {say}"
    )
