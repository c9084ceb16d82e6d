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
from edgedet.onnxruntime_import import onnxruntime, session_options
from edgedet.outputs.plausible_values import (
    BoxForm,
    anchor_places,
    follows,
    form_of,
    score_range,
    shown_form,
    sums_to_one,
    unit_of,
)
from edgedet.proof.golden_scene import golden_frame

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
UNSHOWN = "which a trial run does not show"
EQUAL_SHARE = 0.98
"""Minimum share of a converted graph's numbers that equal the file's: boxes of equal scores may be swapped."""


def picture_frames(height: int, width: int) -> list[NDArray[np.uint8]]:
    """Pictures BGR uint8 [H, W, 3] of the canvas's size: synthetic scenes, and noise."""
    scenes = [golden_frame(seed, height, width) for seed in SCENES]
    return [*scenes, np.random.default_rng(0).integers(0, 256, scenes[0].shape, np.uint8)]


def trial_frames(foreign: ForeignGraph) -> list[Array]:
    """Planes of pixels float32 [N, 3, H, W], 0..255: synthetic scenes, and noise."""
    scenes = picture_frames(foreign.height, foreign.width)
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
    pixels = foreign.pixels
    frames = [
        frame * np.float32(scale) if pixels is None or not pixels.counted else pixels.applied(frame)
        for frame in frames
    ]
    names = list(foreign.outputs)
    try:
        session = _session(foreign.model)
        found = [session.run(names, {"images": frame}) for frame in frames]
    except Exception as error:  # the bindings raise a dozen kinds
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{foreign.path}: ONNX Runtime cannot run this graph ({reason[:200]})") from error
    _require_same(foreign, names, frames[0], found[0])
    return {name: np.stack([run[index][0] for run in found]) for index, name in enumerate(names)}


def judged(
    foreign: ForeignGraph, layout: Layout, seen: Array, *, known: bool, form_stated: bool = False
) -> tuple[Layout, tuple[Assumption, ...]]:
    """``layout`` of all anchors put right by what was ``seen`` [F, ., .] of it, and what of it was nowhere said.

    ``known``: the file, or the user, says whose head it is. ``form_stated``: and what the four numbers of a box
    are, which untrained networks may well contradict.

    Raises:
        ArtifactError: numbers that no layout explains.
    """
    layout, of_scores = judged_scores(foreign, layout, seen)
    layout, of_boxes = _judged_boxes(foreign, layout, seen, known=known, form_stated=form_stated)
    return layout, (*of_scores, *of_boxes)


def judged_scores(foreign: ForeignGraph, layout: Layout, seen: Array) -> tuple[Layout, tuple[Assumption, ...]]:
    """The part of :func:`judged` that knows nothing of boxes.

    Raises:
        ArtifactError: neither probabilities nor logits, or a softmax whose background nothing tells.
    """
    scores = rows_of(foreign, layout, seen)[:, 4:]
    beyond = score_range(scores)
    if beyond is None:
        return _judged_sums(foreign, layout, scores)
    if beyond[0] >= 0:
        raise ArtifactError(
            f"{foreign.path} gives scores from {beyond[0]:.3g} to {beyond[1]:.3g}: neither probabilities (0 to 1) "
            "nor logits (below 0, too); export it again with scores from 0 to 1"
        )
    seen_as = f"logits, through a sigmoid (they range from {beyond[0]:.3g} to {beyond[1]:.3g})"
    return replace(layout, scores="logits"), (Assumption("scores", seen_as, "an export that gives probabilities"),)


def _judged_sums(foreign: ForeignGraph, layout: Layout, scores: Array) -> tuple[Layout, tuple[Assumption, ...]]:
    if not sums_to_one(scores):
        return layout, ()
    count = scores.shape[1]
    of_softmax = f"{foreign.path} gives {count} scores for every box, which sum to 1: a softmax over classes and "
    if not layout.objectness:
        raise ArtifactError(
            f"{of_softmax}background, yet all {count} are named as classes; export it again without the "
            "background, or as [N, anchors, 5 + classes] with only the classes named"
        )
    means = scores.mean(axis=0)
    background = int(means.argmax())
    # Most anchors hold nothing, which only a trained network knows.
    if background not in (0, count - 1) or means[background] <= 0.5:
        raise ArtifactError(
            f"{of_softmax}background, which a trial run cannot distinguish from the classes; export it again "
            "without the background"
        )
    place: Literal["first", "last"] = "last" if background else "first"
    said = Assumption(
        "background",
        f"the {place} of {count} scores, which sum to 1 (no objectness)",
        "an export that leaves the background out",
    )
    return replace(layout, objectness=False, background=place), (said,)


def _judged_boxes(
    foreign: ForeignGraph, layout: Layout, seen: Array, *, known: bool, form_stated: bool
) -> tuple[Layout, tuple[Assumption, ...]]:
    assumed = []
    boxes = rows_of(foreign, layout, seen)[:, :4]
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
            f"{foreign.path} gives boxes that do not depend on their anchors' places: offsets within cells, whose "
            "decoding the file does not state; export it again with decoded boxes"
        )
    if form_stated:
        return layout, tuple(assumed)
    size = (foreign.height, foreign.width)
    shown = shown_form(boxes, *size, tiled)
    form = shown or form_of(boxes, *size, tiled) or layout.form
    # What is known to write centres at these places says so, unless they contradict it.
    stated = shown is not None or (known and places is not None)
    if form != layout.form or not stated:
        seen_as = f"{FORMS[form]}, {'as a trial run shows' if shown else UNSHOWN}"
        assumed.append(Assumption("boxes", seen_as, "an export that gives cx, cy, w, h"))
    return replace(layout, form=form), tuple(assumed)


def rows_of(foreign: ForeignGraph, layout: Layout, seen: Array) -> Array:
    """Every anchor's numbers, of all frames: float32 [R, D]."""
    rows = seen.transpose(0, 2, 1) if layout.order == "columns" else seen
    return finite(foreign, rows.reshape(-1, rows.shape[-1]).astype(np.float32))


def finite(foreign: ForeignGraph, values: Array) -> Array:
    """``values`` of a trial run, if all of them are numbers.

    Raises:
        ArtifactError: some are not.
    """
    if not np.isfinite(values).all():
        raise ArtifactError(
            f"{foreign.path} gives values that are not finite, on pictures as any other; export it again in full "
            "precision, from weights that are whole"
        )
    return values


def is_decoded(foreign: ForeignGraph, seen: Array) -> bool:
    """Whether YOLOX's output ``seen`` [F, A, 5 + C] is boxes already, and not offsets within cells.

    Decoded centres lie where their cells do; offsets know nothing of their place.

    Raises:
        ArtifactError: the numbers show neither.
    """
    places = anchor_places(foreign.height, foreign.width, seen.shape[1])
    assert places is not None
    # A few centres far beyond the canvas, as an untrained network gives, would hide how all others follow.
    canvas = np.array([foreign.width, foreign.height], np.float32)
    follow = [follows(frame[:, :2].clip(0, canvas), places) for frame in seen]
    if min(follow) >= FOLLOWING:
        return True
    if max(follow) <= UNRELATED:
        return False
    raise ArtifactError(
        f"{foreign.path} has YOLOX's shape, but a trial run does not show whether its boxes are decoded (they "
        f"follow their cells by {min(follow):.2f} to {max(follow):.2f}, expected below {UNRELATED} or above "
        f"{FOLLOWING}); export it again without --decode_in_inference, or, if it is YOLOv6, say --family yolov5"
    )


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
    """Share of equal numbers in two outputs. Boxes of equal scores may come in another order."""
    if not first.size:
        return 1.0
    ours, theirs = (np.sort(value.reshape(len(value), -1), axis=1) for value in (first, second))
    return float(np.isclose(ours, theirs, rtol=1e-3, atol=1e-3, equal_nan=True).mean())
