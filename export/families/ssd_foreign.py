"""SSDs of other tools than torchvision, from their ONNX files: pytorch-ssd (which jetson-inference trains with),
TensorFlow's Object Detection API and TFLite.

Their outputs differ in names, in what comes first of x and y, and in where the background stands, which a trial run
shows or nothing does; the reading that follows is any other's (:mod:`.output_reading`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import ArtifactError
from edgedet.outputs.plausible_values import follows, score_range, shown_form, sums_to_one, unit_of

from ..adoption.nms_inside import HEAD
from ..foreign import ForeignGraph
from ..training.assumptions import Assumption
from .base import ForeignExport, ForeignFamily, GraphOptions
from .candidate_selection import Thresholds
from .default_boxes import SETS, set_of
from .output_reading import Activation, Background, BoxWords, Part, Picture, Reading, Unit
from .outputs_to_contract import export_reading
from .reading_proof import proved
from .trial import FOLLOWING, UNRELATED, observe

Array = NDArray[Any]

PYTORCH_SSD = Thresholds(conf=0.01, iou=0.45, detections=200, per_class=200)
"""Thresholds of pytorch-ssd's predictor: every class's best 200 above 0.01."""
TENSORFLOW = Thresholds(conf=0.3, iou=0.6, detections=100)
"""Thresholds of the Object Detection API's configurations, with the score from which its demo shows boxes."""
MOBILENET = Picture("RGB", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0), "stretch")
VGG = Picture("RGB", (123.0, 117.0, 104.0), (1.0, 1.0, 1.0), "stretch")
STATED_BY = "image= of --outputs"
BACKGROUND_SHARE = 0.5
"""Mean probability of the background over all boxes, of a network that knows anything."""
CLEARER = 2.0
"""By this factor the coordinate that runs along rows varies less than the other where rows are averaged."""
USUAL = 0.9
"""Share of the boxes, the smallest, whose numbers show whether they are pixels."""
WINDOW = 20
"""A moving average over one in so many of all boxes runs over whole rows of a feature map."""


class _Seen(NamedTuple):
    """Two outputs, as a trial run gave them: boxes float [F, A, 4], scores float [F, A, C]."""

    boxes: Part
    scores: Part
    box_rows: Array
    score_rows: Array


def export(foreign: ForeignGraph, options: GraphOptions, classes: int | None) -> ForeignExport:
    """The graph of an SSD, and what was assumed.

    Raises:
        ArtifactError: outputs that are no SSD's, or whose numbers do not show how they are read.
        CheckpointError: another number of classes than names.
    """
    reading, assumed, thresholds = read(foreign)

    def make(each: GraphOptions) -> ForeignExport:
        return export_reading(
            foreign, reading, each, classes, family="ssd", architecture="ssd", thresholds=thresholds
        )

    made, proof = proved(make, foreign, options)
    if proof.faults:
        raise ArtifactError(f"{foreign.path}: read as {reading.text()}, {'; '.join(proof.faults)}")
    return replace(made, assumed=(*assumed, *made.assumed), notes=(*made.notes, f"read as {reading.text()}"))


def read(foreign: ForeignGraph) -> tuple[Reading, tuple[Assumption, ...], Thresholds]:
    """How the outputs are read, what of it was said nowhere, and the framework's thresholds.

    Raises:
        ArtifactError: outputs that are no SSD's, or whose numbers do not show how they are read.
    """
    seen = _seen(foreign)
    if HEAD in foreign.outputs:
        return _tensorflow(foreign, seen)
    boxes, unit, of_boxes = _box_form(foreign, seen)
    activation, background, of_scores = _score_form(foreign, seen)
    if boxes == "offsets" and activation == "none":
        raise ArtifactError(
            f"{foreign.path}: {seen.boxes.text()} do not lie where default boxes do, though the softmax is inside "
            f'the graph; state how they are read: --outputs "{_suggestion(seen)}"'
        )
    anchors = seen.box_rows.shape[1]
    default = set_of(foreign.height, anchors) if foreign.height == foreign.width else None
    picture = VGG if default == "ssd300" else MOBILENET
    reading = Reading(
        seen.boxes,
        boxes,
        unit,
        seen.scores,
        activation,
        background,
        priors=default if boxes == "offsets" else None,
        picture=picture,
    )
    trained = "VGG-16" if picture is VGG else "MobileNet and SqueezeNet"
    said = Assumption("pixels", f"{picture.text()}, as pytorch-ssd trains {trained}", STATED_BY)
    return reading, (said, *of_boxes, *of_scores), PYTORCH_SSD


def _tensorflow(foreign: ForeignGraph, seen: _Seen) -> tuple[Reading, tuple[Assumption, ...], Thresholds]:
    """Boxes and scores as an NMS inside took them."""
    boxes, unit, of_boxes = _box_form(foreign, seen)
    inner = foreign.nms
    assert inner is not None
    reading = Reading(
        seen.boxes,
        boxes,
        unit,
        seen.scores,
        nms="all" if inner.labels == "all" else "best",
        picture=Picture("RGB", (127.5,) * 3, (127.5,) * 3, "stretch"),
    )
    thresholds = Thresholds(
        inner.score,
        inner.iou,
        inner.most or TENSORFLOW.detections,
    )
    pixels = "RGB" if foreign.pixel_settings else "rgb-127.5/127.5"
    said = Assumption("pixels", f"{pixels}, stretched, as TensorFlow's SSDs are trained", STATED_BY)
    return reading, (said, *of_boxes), thresholds


def _seen(foreign: ForeignGraph) -> _Seen:
    """Which outputs are boxes and scores, by their numbers first, then by their names."""
    given = {name: _rows(value) for name, value in observe(foreign, scale=1 / 128, colour="RGB").items()}
    for name, rows in given.items():
        if rows is not None and not np.isfinite(rows).all():
            raise ArtifactError(
                f"{foreign.path} gives values that are not finite in {name}, on pictures as any other"
            )
    if HEAD in given:
        rows = given[HEAD]
        assert rows is not None
        return _Seen(Part(HEAD, 0, 4), Part(HEAD, 4), rows[..., :4], rows[..., 4:])
    found = [
        _Seen(Part(first), Part(second), boxes, scores)
        for first, boxes in given.items()
        for second, scores in given.items()
        if first != second and boxes is not None and scores is not None
        if boxes.shape[2] == 4 and boxes.shape[1] == scores.shape[1] and boxes.shape[1] > 0 and scores.shape[2] > 1
    ]
    fitting = [each for each in found if sums_to_one(_flat(each.score_rows)) and not _one_sum(each.box_rows)]
    if not fitting:
        # Logits of three classes and background are four numbers, as a box is.
        shown = [each for each in found if _background(_softmax(_flat(each.score_rows))) is not None]
        fitting = shown if len(shown) == 1 else []
    if not fitting:
        named = [each for each in found if "score" in each.scores.tensor or "conf" in each.scores.tensor]
        fitting = named or found
    if len(fitting) != 1:
        raise ArtifactError(
            f"{foreign.path}: its outputs {foreign.outputs} are not an SSD's; expected boxes [N, A, 4] beside "
            "scores [N, A, 1 + classes]"
        )
    return fitting[0]


def _rows(value: Array) -> Array | None:
    """[F, A, D] of an output of all frames, or None where it has another shape."""
    if value.ndim == 4 and value.shape[2] == 1:
        value = value[:, :, 0]
    return value.astype(np.float32) if value.ndim == 3 else None


def _flat(rows: Array) -> Array:
    return rows.reshape(-1, rows.shape[-1])


def _one_sum(rows: Array) -> bool:
    return sums_to_one(_flat(rows))


def _score_form(foreign: ForeignGraph, seen: _Seen) -> tuple[Activation, Background | None, tuple[Assumption, ...]]:
    """What makes probabilities of the scores, and which of them is the background's."""
    scores = _flat(seen.score_rows)
    activation: Activation = "none"
    if not sums_to_one(scores):
        beyond = score_range(scores)
        if beyond is None or beyond[0] >= 0:
            raise ArtifactError(
                f"{foreign.path}: {seen.scores.tensor} is no softmax over classes and background, as SSDs of "
                f'pytorch-ssd give it; state how it is read: --outputs "{_suggestion(seen)}"'
            )
        activation, scores = "softmax", _softmax(scores)
    means, likely = scores.mean(axis=0), _background(scores)
    if likely is not None:
        if likely not in (0, len(means) - 1):
            raise ArtifactError(
                f"{foreign.path}: {seen.scores.tensor} gives its number {likely} of {len(means)} "
                "to nearly every box, "
                "which is neither the first nor the last, where backgrounds are; its weights are no detector's"
            )
        return activation, "last" if likely else "first", ()
    if not _is_named(foreign):
        raise ArtifactError(
            f"{foreign.path}: a trial run does not show which of {len(means)} scores is the background's, as "
            f'that of a trained network does; state it: --outputs "{_suggestion(seen)}", or +bg_last'
        )
    said = Assumption("background", f"the first of {len(means)} scores, as pytorch-ssd has it", "--outputs")
    return activation, "first", (said,)


def _box_form(foreign: ForeignGraph, seen: _Seen) -> tuple[BoxWords, Unit, tuple[Assumption, ...]]:
    """Form and unit of the boxes."""
    boxes = _flat(seen.box_rows)
    # An untrained network's largest boxes are many times the canvas.
    most = boxes[np.abs(boxes).max(axis=1) <= np.quantile(np.abs(boxes).max(axis=1), USUAL)]
    unit: Unit = "input" if unit_of(most) == "pixels" else "unit"
    if foreign.nms is not None and foreign.nms.form == "centre":
        return "cxcywh", unit, ()
    anchors = seen.box_rows.shape[1]
    known = set_of(foreign.height, anchors) if foreign.height == foreign.width else None
    if known is not None:
        words = _by_default_boxes(boxes, np.tile(SETS[known].boxes()[:, :2], (len(seen.box_rows), 1)))
        if words is not None:
            return words, "unit" if words == "offsets" else unit, ()
    # Of a form it matters not whether x comes first.
    form = shown_form(boxes * _to_pixels(foreign, unit), foreign.height, foreign.width)
    if form == "centre":
        return "cxcywh", unit, ()
    if form == "corners":
        order, said = _axis_order((seen.box_rows[..., :2] + seen.box_rows[..., 2:]) / 2)
        return ("yxyx" if order == "yx" else "xyxy"), unit, said
    raise ArtifactError(
        f"{foreign.path}: a trial run does not show what the four numbers of {seen.boxes.text()} are, and "
        f"they are no offsets from default boxes that edgedet knows ({anchors} boxes for "
        f"{foreign.height}x{foreign.width}); "
        f'state it: --outputs "{_suggestion(seen)}"'
    )


def _by_default_boxes(boxes: Array, centres: Array) -> BoxWords | None:
    """What ``boxes`` [R, 4] are, whose default boxes have ``centres`` [R, 2]; None where nothing shows."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    readings: dict[BoxWords, Array] = {"xyxy": middles, "yxyx": middles[:, ::-1], "cxcywh": boxes[:, :2]}
    found = {words: follows(places, centres) for words, places in readings.items()}
    best = max(found, key=lambda words: found[words])
    if max(map(abs, found.values())) <= UNRELATED and float(np.ptp(boxes)) > 0:
        return "offsets"
    others = max(value for words, value in found.items() if words != best)
    return best if found[best] >= FOLLOWING and others < found[best] - 0.05 else None


def _axis_order(middles: Array) -> tuple[str, tuple[Assumption, ...]]:
    """Whether x or y comes first of ``middles`` [F, A, 2]: feature maps are written row by row."""
    path = middles.mean(axis=0)
    width = max(len(path) // WINDOW, 2)
    kernel = np.ones(width) / width
    slow = [
        np.var(np.convolve(path[:, axis], kernel, mode="valid")) / max(np.var(path[:, axis]), 1e-9)
        for axis in (0, 1)
    ]
    if slow[1] > CLEARER * slow[0]:
        return "xy", ()
    if slow[0] > CLEARER * slow[1]:
        return "yx", ()
    return "xy", (Assumption("boxes", "x before y, which a trial run does not show", "--outputs"),)


def _to_pixels(foreign: ForeignGraph, unit: str) -> Array:
    return np.array([foreign.width, foreign.height] * 2 if unit == "unit" else [1] * 4, np.float32)


def _softmax(rows: Array) -> Array:
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _background(scores: Array) -> int | None:
    """Which of the probabilities [R, C] nearly every box has, None where it is none."""
    means = scores.mean(axis=0)
    return int(means.argmax()) if means.max() > BACKGROUND_SHARE else None


def _is_named(foreign: ForeignGraph) -> bool:
    return {"scores", "boxes"} <= set(foreign.outputs)


def _suggestion(seen: _Seen) -> str:
    picture = MOBILENET.text()
    return f"boxes={seen.boxes.text()}:xyxy@unit, scores={seen.scores.text()}:none+bg, image={picture}"


SSD_FILES = ForeignFamily("ssd", export, inner_nms="by_class")
