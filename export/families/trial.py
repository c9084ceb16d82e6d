"""A trial run of a foreign graph: what its outputs are is seen in the numbers, not taken from its shape.

Two networks with outputs of the same shape may give pixels or shares of the canvas, centres or corners,
probabilities or logits. Taken for one another, they give nonsense without an error. A few frames tell them apart,
trained or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from edgedet.errors import ArtifactError
from edgedet.onnx_runtime import onnxruntime, session_options
from edgedet.plausible import FEWEST_ROWS, BoxForm, anchor_places, follows, form_of, score_range, unit_of
from edgedet.proof.golden import golden_frame

from ..foreign import ForeignGraph
from ..training.assumptions import Assumption
from .head_layout import Layout

Array = NDArray[Any]

SCENES = (1, 3, 5)
"""Seeds of the synthetic frames; one of noise joins them."""
FOLLOWING, UNRELATED = 0.9, 0.5
"""Correlation with the anchors' places: of decoded boxes above, of offsets within a cell below."""
FORMS: dict[BoxForm, str] = {
    "corners": "corners x1, y1, x2, y2",
    "top_left": "top left corners and sizes",
    "centre": "centres and sizes",
}
EQUAL_SHARE = 0.98
"""Of a converted graph's numbers that must equal the file's: of boxes with equal scores, others may be chosen."""


def trial_frames(foreign: ForeignGraph) -> list[Array]:
    """Planes of pixels float32 [N, 3, H, W], 0..255: synthetic scenes, and noise."""
    scenes = [golden_frame(seed, foreign.height, foreign.width) for seed in SCENES]
    scenes.append(np.random.default_rng(0).integers(0, 256, scenes[0].shape, np.uint8))
    planes = [scene.transpose(2, 0, 1)[None].astype(np.float32) for scene in scenes]
    return [np.ascontiguousarray(np.repeat(plane, foreign.batch, axis=0)) for plane in planes]


def observe(foreign: ForeignGraph, *, scale: float, colour: Literal["RGB", "BGR"]) -> dict[str, Array]:
    """Outputs [frames, ...] of the first image of the batch, for pixels times ``scale``.

    The graph as it was read runs beside it on one frame: what was made of it must give the same.

    Raises:
        ArtifactError: it does not run, or gives something else than the file it was read from.
    """
    frames = trial_frames(foreign)
    if colour == "RGB":
        frames = [np.ascontiguousarray(frame[:, ::-1]) for frame in frames]
    frames = [frame * np.float32(scale) for frame in frames]
    names = list(foreign.outputs)
    try:
        session = _session(foreign.model)
        found = [session.run(names, {"images": frame}) for frame in frames]
    except Exception as error:  # the bindings raise a dozen kinds
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{foreign.path}: ONNX Runtime cannot run this graph ({reason[:200]})") from error
    _require_same(foreign, names, frames[0], found[0])
    return {name: np.stack([run[index][0] for run in found]) for index, name in enumerate(names)}


def judged(foreign: ForeignGraph, layout: Layout, seen: Array) -> tuple[Layout, tuple[Assumption, ...]]:
    """``layout`` put right by what was ``seen`` [F, ., .] of the output, and what of it was nowhere said.

    Raises:
        ArtifactError: numbers that no layout explains.
    """
    if layout.order == "ranked":
        return _judged_ranked(foreign, layout, _rows(foreign, layout, seen))
    layout, of_scores = judged_scores(foreign, layout, seen)
    layout, of_boxes = _judged_boxes(foreign, layout, seen)
    return layout, (*of_scores, *of_boxes)


def judged_scores(foreign: ForeignGraph, layout: Layout, seen: Array) -> tuple[Layout, tuple[Assumption, ...]]:
    """The part of :func:`judged` that knows nothing of boxes.

    Raises:
        ArtifactError: neither probabilities nor logits.
    """
    beyond = score_range(_rows(foreign, layout, seen)[:, 4:])
    if beyond is None:
        return layout, ()
    if beyond[0] >= 0:
        raise ArtifactError(
            f"{foreign.path} gives scores from {beyond[0]:.3g} to {beyond[1]:.3g}: neither probabilities (0 to 1) "
            "nor logits (below 0, too); export it again with scores from 0 to 1"
        )
    seen_as = f"logits, through a sigmoid (they range from {beyond[0]:.3g} to {beyond[1]:.3g})"
    return replace(layout, scores="logits"), (Assumption("scores", seen_as, "an export that gives probabilities"),)


def _judged_boxes(foreign: ForeignGraph, layout: Layout, seen: Array) -> tuple[Layout, tuple[Assumption, ...]]:
    assumed = []
    boxes = _rows(foreign, layout, seen)[:, :4]
    unit = unit_of(boxes)
    if unit != "pixels" and layout.unit == "pixels":
        largest = f"{np.abs(boxes).max():.3g}"
        seen_as = f"pixels, though none of a trial run is above {largest}"
        if unit == "shares":
            layout = replace(layout, unit="shares")
            seen_as = f"shares of the canvas (none is above {largest})"
        assumed.append(Assumption("boxes", seen_as, "an export that gives pixels"))
    if layout.unit == "shares":
        boxes = boxes * np.array([foreign.width, foreign.height] * 2, np.float32)
    places = anchor_places(foreign.height, foreign.width, layout.anchors(seen.shape))
    tiled = None if places is None else np.tile(places, (len(seen), 1))
    if unit == "shares" and tiled is not None and follows(boxes[:, :2], tiled) <= UNRELATED:
        raise ArtifactError(
            f"{foreign.path} gives boxes that know nothing of their anchors' places: offsets within cells, which "
            "nothing in the file says how to decode; export it again with decoded boxes"
        )
    form = form_of(boxes, foreign.height, foreign.width, tiled)
    if form is not None and form != layout.form:
        layout = replace(layout, form=form)
        assumed.append(
            Assumption("boxes", f"{FORMS[form]}, as a trial run shows", "an export that gives cx, cy, w, h")
        )
    return layout, tuple(assumed)


def _rows(foreign: ForeignGraph, layout: Layout, seen: Array) -> Array:
    """Every anchor's numbers, of all frames: float32 [R, D]."""
    rows = seen.transpose(0, 2, 1) if layout.order == "columns" else seen
    rows = rows.reshape(-1, rows.shape[-1]).astype(np.float32)
    if not np.isfinite(rows).all():
        raise ArtifactError(
            f"{foreign.path} gives values that are not finite, on pictures as any other; export it again in full "
            "precision, from weights that are whole"
        )
    return rows


def is_decoded(foreign: ForeignGraph, seen: Array) -> bool:
    """Whether YOLOX's output ``seen`` [F, A, 5 + C] is boxes already, and not offsets within cells.

    Decoded centres lie where their cells do; offsets know nothing of their place.

    Raises:
        ArtifactError: the numbers show neither.
    """
    places = anchor_places(foreign.height, foreign.width, seen.shape[1])
    assert places is not None
    follow = [follows(frame[:, :2], places) for frame in seen]
    if min(follow) >= FOLLOWING:
        return True
    if max(follow) <= UNRELATED:
        return False
    raise ArtifactError(
        f"{foreign.path} has YOLOX's shape, but a trial run does not show whether its boxes are decoded (they "
        f"follow their cells by {min(follow):.2f} to {max(follow):.2f}, expected below {UNRELATED} or above "
        f"{FOLLOWING}); export it again without --decode_in_inference, or, if it is YOLOv6, say --family yolov5"
    )


def _judged_ranked(foreign: ForeignGraph, layout: Layout, rows: Array) -> tuple[Layout, tuple[Assumption, ...]]:
    rows = rows[rows[:, :4].any(axis=1)]
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
    assumed = []
    unit = unit_of(rows[:, :4], chosen=True)
    if unit is not None and unit != layout.unit:
        layout = replace(layout, unit=unit)
        seen_as = f"{unit if unit == 'pixels' else 'shares of the canvas'} (up to {np.abs(rows[:, :4]).max():.4g})"
        assumed.append(Assumption("boxes", seen_as, "metadata that names the head"))
    if len(rows) >= FEWEST_ROWS:
        ordered = ((rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])).mean()
        # All corners are in order; of centres and sizes, few are.
        if 0.5 < ordered < 0.98 and layout.form == "corners":
            raise ArtifactError(
                f"{foreign.path} gives boxes of which {ordered:.0%} have x1 < x2 and y1 < y2: too few for corners, "
                "too many for centres with sizes; export it again with corners (x1, y1, x2, y2), or without NMS"
            )
        form: BoxForm = "centre" if ordered <= 0.5 else "corners" if ordered >= 0.98 else layout.form
        if form != layout.form:
            layout = replace(layout, form=form)
            assumed.append(
                Assumption("boxes", f"{FORMS[form]}, as a trial run shows", "metadata that names the head")
            )
    return layout, tuple(assumed)


def _session(model: onnx.ModelProto) -> Any:
    options = session_options(None)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _require_same(foreign: ForeignGraph, names: Sequence[str], frame: Array, found: Sequence[Array]) -> None:
    """Hold the converted graph against the file."""
    try:
        expected = _session(foreign.original).run(list(names), {"images": frame})
    except Exception:  # What this runtime cannot run at all (an opset too new for it) has nothing to compare with.
        return
    for name, ours, theirs in zip(names, found, expected, strict=True):
        share = _equal_share(ours, theirs) if ours.shape == theirs.shape else 0.0
        if share < EQUAL_SHARE:
            raise ArtifactError(
                f"{foreign.path}: brought to edgedet's opset, its output {name} is not what the file gives "
                f"({share:.0%} of the numbers agree); export it again with opset 17"
            )


def _equal_share(first: Array, second: Array) -> float:
    """Of the numbers of two outputs. Boxes of equal scores may come in another order."""
    if not first.size:
        return 1.0
    ours, theirs = (np.sort(value.reshape(len(value), -1), axis=1) for value in (first, second))
    return float(np.isclose(ours, theirs, rtol=1e-3, atol=1e-3, equal_nan=True).mean())
