"""A trial run of a head that makes its choice itself: what its rows [N, K, 6] are, and how much of it they show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgedet.artifacts.foreign_cards import HEADS, RTDETR_HEAD
from edgedet.errors import ArtifactError
from edgedet.onnx_graph.network import Network
from edgedet.outputs.plausible_values import (
    ALL,
    MIN_ROWS,
    BoxForm,
    are_corners,
    ordered_share,
    score_range,
    unit_of,
)

from ..foreign import ForeignGraph
from ..training.assumptions import Assumption
from .head_layout import Layout
from .trial import FORMS, UNSHOWN, rows_of

Array = NDArray[Any]

METADATA = "metadata that names the head"
LAST_QUARTER, MIN_BESIDE = 0.75, 4
"""So many rows that begin in the last quarter of the canvas and are in order, as all others, are corners: with a
size in place of the far corner they would reach beyond it by an eighth of its side, or more."""
PASSED_ON = (
    "Cast", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Identity", "Transpose", "GatherElements", "GatherND",
    "Gather", "Slice", "Split", "Concat",
)  # fmt: skip
"""Operators that move class numbers and change none."""
FIRST_IS_ZERO = ("ArgMax", "TopK", "Mod")
"""Operators whose results count from 0."""


def judged_chosen(
    foreign: ForeignGraph, layout: Layout, seen: Array, output: str
) -> tuple[Layout, tuple[Assumption, ...]]:
    """``layout`` put right by what was ``seen`` [F, K, 6] of ``output``, and what of it nothing says or shows.

    Raises:
        ArtifactError: numbers that are no box, score and class number.
    """
    everything = rows_of(foreign, layout, seen)
    rows = everything[everything[:, :4].any(axis=1)]
    _require_scores_and_labels(foreign, layout, rows)
    # Such a head always gives its best boxes, however bad: what pads with zeros is none.
    stated = foreign.metadata.get("head") in (*HEADS, RTDETR_HEAD) and len(rows) == len(everything)
    layout, of_unit = _judged_unit(layout, rows, stated)
    boxes = rows[:, :4]
    if layout.unit == "shares":
        boxes = boxes * np.array([foreign.width, foreign.height] * 2, np.float32)
    layout, of_form = _judged_form(foreign, layout, boxes, stated)
    assumed = [*of_unit, *of_form]
    if not len(rows):
        order = f"box, score and class number, in this order, {UNSHOWN} (it gives no box)"
        assumed.append(Assumption("rows", order, METADATA))
    if not (rows[:, 5] == 0).any() and not counts_from_zero(foreign.model, output, further=layout.further > 0):
        assumed.append(
            Assumption(
                "class numbers",
                "counted from 0, though a trial run gives none of it",
                "an export that takes them from ArgMax or TopK unchanged",
            )
        )
    return layout, tuple(assumed)


def counts_from_zero(model: onnx.ModelProto, output: str, *, further: bool = False) -> bool:
    """Whether the last of the numbers along the last axis of ``output`` is a class number as the graph chose it.

    What is computed with it on the way, such as 1 added to it, leaves that open. ``further``: other numbers follow
    it, which are joined to it at some place.
    """
    network = Network(model)
    made_by = network.producer
    constants = set(network.constants) | {
        node.output[0] for node in network.graph.node if node.op_type == "Constant"
    }

    def chosen(tensor: str) -> bool:
        while tensor in made_by:
            node = made_by[tensor]
            if node.op_type in FIRST_IS_ZERO:
                return True
            if node.op_type == "Sub" and not constants.intersection(node.input):
                # Ultralytics' RT-DETR: index - index // classes * classes.
                return node.input[0] in made_by and made_by[node.input[0]].op_type == "TopK"
            if node.op_type not in PASSED_ON:
                return False
            if node.op_type == "Concat":
                if further and len(node.input) > 1 and chosen(node.input[-2]):
                    return True
                tensor = node.input[-1]
            else:
                tensor = node.input[0]
        return False

    return chosen(output)


def _require_scores_and_labels(foreign: ForeignGraph, layout: Layout, rows: Array) -> None:
    beyond = score_range(rows[:, 4])
    labels = rows[:, 5]
    if beyond is not None or np.abs(labels - np.round(labels)).max(initial=0.0) > 1e-3:
        first = ", ".join(f"{value:.4g}" for value in rows[0])
        raise ArtifactError(
            f"{foreign.path} gives six numbers per box, such as {first}, expected box, score from 0 to 1 and class "
            "number in this order; export it again that way, or without NMS"
        )
    if labels.max(initial=0.0) >= layout.classes or labels.min(initial=0.0) < 0:
        raise ArtifactError(
            f"{foreign.path} gives the class number {labels.max():g}, but names {layout.classes} classes (counted "
            "from 0); give all names with --classes"
        )


def _judged_unit(layout: Layout, rows: Array, stated: bool) -> tuple[Layout, list[Assumption]]:
    unit = unit_of(rows[:, :4], chosen=True)
    if unit is None:
        return layout, [] if stated else [Assumption("boxes", f"{_named(layout.unit)}, {UNSHOWN}", METADATA)]
    if unit == layout.unit:
        return layout, []
    seen_as = f"{_named(unit)} (up to {np.abs(rows[:, :4]).max():.4g})"
    return replace(layout, unit=unit), [Assumption("boxes", seen_as, METADATA)]


def _named(unit: str) -> str:
    return unit if unit == "pixels" else "shares of the canvas"


def _judged_form(
    foreign: ForeignGraph, layout: Layout, boxes: Array, stated: bool
) -> tuple[Layout, list[Assumption]]:
    """``boxes`` [R, 4] in canvas pixels."""
    ordered = ordered_share(boxes)
    corners = clearly_corners(boxes, foreign.height, foreign.width)
    form: BoxForm
    if len(boxes) < MIN_ROWS:
        form, why = layout.form, UNSHOWN if len(boxes) == 0 else f"{UNSHOWN} (it gives {len(boxes)} boxes)"
        told = False
    elif corners or ordered >= ALL:
        # All corners are in order; of centres and sizes, few are.
        form, told = "corners", corners
        why = "as a trial run shows" if corners else UNSHOWN
    elif ordered <= 0.5:
        inside = clearly_inside(boxes, foreign.height, foreign.width)
        form = inside or ("centre" if layout.form == "corners" else layout.form)
        told = inside is not None
        why = (
            "since such boxes stay within the canvas"
            if told
            else f"{UNSHOWN} (they are no corners, but may be {FORMS['top_left']})"
        )
    elif layout.form == "corners":
        raise ArtifactError(
            f"{foreign.path} gives boxes of which {ordered:.0%} have x1 < x2 and y1 < y2: too few for corners, "
            "too many for centres with sizes; export it again with corners (x1, y1, x2, y2), or without NMS"
        )
    else:
        form, told, why = layout.form, False, UNSHOWN
    if form == layout.form and (told or stated):
        return layout, []
    return replace(layout, form=form), [Assumption("boxes", f"{FORMS[form]}, {why}", METADATA)]


def clearly_corners(boxes: Array, height: int, width: int) -> bool:
    """Whether ``boxes`` [R, 4] that a network chose show that they are corners."""
    canvas = np.array([width, height], np.float32)
    beside = int((boxes[:, :2] > LAST_QUARTER * canvas).any(axis=1).sum())
    return are_corners(boxes) or (ordered_share(boxes) >= ALL and beside >= MIN_BESIDE)


def clearly_inside(boxes: Array, height: int, width: int) -> BoxForm | None:
    """Whether ``boxes`` [R, 4] with sizes leave the canvas by far less as centres, or as top left corners."""
    limit = np.array([width, height], np.float32)

    def beyond(low: Array) -> float:
        high = low + boxes[:, 2:]
        return float((np.maximum(-low, 0) + np.maximum(high - limit, 0)).mean(axis=0).max() / limit.max())

    centred, cornered = beyond(boxes[:, :2] - boxes[:, 2:] / 2), beyond(boxes[:, :2])
    if max(centred, cornered) < 0.02:
        return None
    if centred < 0.25 * cornered:
        return "centre"
    return "top_left" if cornered < 0.25 * centred else None
