"""From a network's outputs to detections, one function for each output format of the model card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgedet.argument_checks import require_count, require_fraction
from edgedet.artifacts.card import ASSUMED_KEY, ModelCard
from edgedet.detections import Detections
from edgedet.errors import ArtifactError, UsageError
from edgedet.geometry import ResizeGeometry
from edgedet.nms import best_of_each_class, nms
from edgedet.outputs.metadata_faults import RANKED, TURNED, fault_of_anchors, fault_of_rows, most_are_turned

if TYPE_CHECKING:
    from edgedet.masks.base import Masks

Array = NDArray[Any]

ULTRALYTICS_CLASS_STEP = np.float32(7680)
"""Pixels by which Ultralytics moves boxes of different classes apart before NMS. At 80 classes float32 keeps 0.06
px out there, which decides between boxes at the threshold: without it, some detections differ from theirs."""

MASKS, KEYPOINTS = "masks", "keypoints"
"""Names of the outputs with those."""
COEFFICIENTS, PROTOTYPES = "coefficients", "prototypes"
"""Names of the outputs that masks are drawn of: a row for every detection, and what the rows are about."""
ROWS_OF_MASKS = {"in_boxes": (MASKS,), "prototypes": (COEFFICIENTS,)}
"""Outputs with a row for every detection, by how masks come."""


class Found(NamedTuple):
    """Boxes float32 [N, 4] in canvas pixels, scores float32 [N], labels int [N]; best first. ``data``: further
    arrays [N, ...] by name."""

    boxes: Array
    scores: Array
    labels: Array
    data: dict[str, Array] = {}  # noqa: RUF012 - a tuple's default, which nothing writes to

    def take(self, index: slice | NDArray[Any]) -> Found:
        """The same of some rows, in the order of ``index``: a slice, a mask or numbers."""
        return Found(
            self.boxes[index],
            self.scores[index],
            self.labels[index],
            {name: values[index] for name, values in self.data.items()},
        )


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of a detector: the caller's, else the card's.

    Attributes:
        score: minimum score of a detection, in [0, 1].
        iou: IoU in [0, 1] above which NMS drops the lower scoring of two boxes.
        max_detections: limit per frame.

    >>> from edgedet import Detector
    >>> Detector("model.onnx", conf=0.5).thresholds
    Thresholds(score=0.5, iou=0.5, max_detections=1)
    """

    score: float
    iou: float
    max_detections: int


def settle_thresholds(
    card: ModelCard, *, conf: float | None = None, iou: float | None = None, max_detections: int | None = None
) -> Thresholds:
    """The thresholds to use, after checking that the artifact can still honour them.

    Raises:
        UsageError: out of range, or beyond what NMS inside the graph has already thrown away.
    """
    output = card.output
    require_fraction("conf", conf)
    require_fraction("iou", iou)
    require_count("max_detections", max_detections)
    baked = output.format == "detections" or card.provenance.get("nms") == "graph"
    # What another tool suppresses, only that tool can export otherwise.
    theirs = output.format in RANKED
    if baked:
        if conf is not None and conf < output.score_threshold:
            raise UsageError(
                f"conf {conf:g} is below {output.score_threshold:g}, under which NMS inside this artifact drops "
                f"everything; export it "
                + (f"from Ultralytics with conf={conf:g}" if theirs else f"with --conf {conf:g} or --nms runtime")
            )
        if max_detections is not None and max_detections > output.max_detections:
            raise UsageError(
                f"max_detections {max_detections} is above {output.max_detections}, all that NMS inside this "
                "artifact keeps; export it "
                + (
                    f"from Ultralytics with max_det={max_detections}"
                    if theirs
                    else f"with --max-detections {max_detections}"
                )
            )
    if iou is not None and iou != output.iou_threshold:
        if card.provenance.get("nms") == "none" or (output.format in RANKED and not baked):
            raise UsageError(f"this detector works without NMS, iou {iou:g} would change nothing; leave it out")
        if baked:
            raise UsageError(
                f"NMS with IoU threshold {output.iou_threshold:g} is inside this artifact, iou {iou:g} comes too "
                "late; export it "
                + (f"from Ultralytics with iou={iou:g}" if theirs else f"with --iou {iou:g} or --nms runtime")
            )
    return Thresholds(
        output.score_threshold if conf is None else float(conf),
        output.iou_threshold if iou is None else float(iou),
        output.max_detections if max_detections is None else int(max_detections),
    )


class Postprocessor:
    """Turns outputs into :class:`Detections`.

    What another tool's file says of itself is held against the numbers of the first frame that tells something, and
    never again.

    Raises:
        ArtifactError: at the first call, outputs that are not what the card says.
    """

    def __init__(self, card: ModelCard, thresholds: Thresholds, outputs: tuple[str, ...]) -> None:
        wanted = {
            "detections": ("boxes", "scores", "labels", "count"),
            "candidates": ("boxes", "scores"),
        }.get(card.output.format, outputs[:1])
        if card.output.data and card.output.format not in ("detections", "candidates"):
            raise ArtifactError(
                f"the card has further outputs ({', '.join(card.output.data)}) of the format {card.output.format}, "
                "which holds none; export it again"
            )
        # Rows of masks and keypoints follow the detections as all further arrays do.
        self._further = (
            *card.output.data,
            *ROWS_OF_MASKS.get(card.output.masks or "", ()),
            *((KEYPOINTS,) if card.output.keypoints else ()),
        )
        wanted = (*wanted, *self._further)
        promised = (*wanted, *((PROTOTYPES,) if card.output.masks == "prototypes" else ()))
        missing = [name for name in promised if name not in outputs]
        if missing:
            raise ArtifactError(
                f"the card promises outputs {', '.join(promised)}, the artifact has {', '.join(outputs)}; "
                "export it again"
            )
        self._card = card
        self._thresholds = thresholds
        self._outputs = wanted
        self._decode: Callable[[list[Array]], Found] = {
            "detections": self._detections,
            "candidates": self._candidates,
            "yolo_xywh": self._yolo_xywh,
            "yolo_objectness": self._yolo_objectness,
            "yolo_end2end": self._ranked,
            "rtdetr_rows": self._ranked,
        }[card.output.format]
        ours = card.output.format in ("detections", "candidates")
        assumed = card.provenance.get(ASSUMED_KEY, ())
        self._form_assumed = isinstance(assumed, list | tuple) and any(
            str(value).startswith("boxes: ") for value in assumed
        )
        self.decode: Callable[[list[Array]], Found] = self._decode if ours else self._decode_unproved

    def __call__(self, outputs: dict[str, Array], geometry: ResizeGeometry, slot: int = 0) -> Detections:
        """Detections of the frame in batch place ``slot``, in frame pixels, clipped to the frame, best first."""
        found = self.decode([outputs[name][slot] for name in self._outputs])
        if self._card.output.masks == "prototypes":
            found = self._drawn(found, outputs[PROTOTYPES][slot], geometry)
        canvas_boxes = found.boxes
        found = found._replace(boxes=geometry.to_frame(found.boxes))
        # What lies wholly in the padding, or has no extent, is no box of this frame.
        real = (found.boxes[:, 2] > found.boxes[:, 0]) & (found.boxes[:, 3] > found.boxes[:, 1])
        if not real.all():
            if self._form_assumed and most_are_turned(found.boxes, found.scores):
                raise ArtifactError(
                    f"{TURNED}; it is not this network's card, or boxes were taken for corners that "
                    "are none: export it again"
                )
            found = found.take(real)
            canvas_boxes = canvas_boxes[real]
        labels = found.labels
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self._card.names):
            raise ArtifactError(
                f"the network gave the class number {labels.max()}, the card names {len(self._card.names)} classes "
                "(counted from 0): it is not this network's card; export it again"
            )
        frame_size = (geometry.frame_height, geometry.frame_width)
        # The runtime's buffers are filled anew at the next run.
        data = {name: values.copy() for name, values in found.data.items()}
        # Detectors without masks or keypoints do not load what draws them.
        masks: Masks | None = None
        if self._card.output.masks == "in_boxes":
            from edgedet.masks.box_masks import BoxMasks

            masks = BoxMasks(data.pop(MASKS), found.boxes, frame_size)
        elif self._card.output.masks == "prototypes":
            from edgedet.masks.canvas_masks import CanvasMasks

            masks = CanvasMasks(tuple(data.pop(MASKS)), frame_size)
        keypoints = skeleton = None
        if (spec := self._card.output.keypoints) is not None:
            skeleton = spec.skeleton
            keypoints = data.pop(KEYPOINTS)
            if spec.form == "heatmaps":
                keypoints = _of_heatmaps(keypoints, canvas_boxes, len(skeleton.names))
            keypoints = _points(keypoints, len(skeleton.names))
            keypoints[..., :2] = geometry.points_to_frame(keypoints[..., :2])
        return Detections(
            found.boxes,
            np.clip(found.scores, 0, 1),
            labels.astype(np.int32),
            self._card.names,
            frame_size,
            data,
            masks,
            keypoints,
            skeleton,
        )

    def _drawn(self, found: Found, prototypes: Array, geometry: ResizeGeometry) -> Found:
        """The same with ``masks`` in place of coefficients, and without what has no pixel: Ultralytics' ``predict``
        leaves that out, too."""
        from edgedet.masks.canvas_masks import draw_prototypes

        data = dict(found.data)
        canvas = (self._card.input.height, self._card.input.width)
        data[MASKS] = draw_prototypes(data.pop(COEFFICIENTS), prototypes, found.boxes, canvas, geometry)
        drawn = np.array([each.bits.any() for each in data[MASKS]], np.bool_)
        return found._replace(data=data).take(drawn)

    def nothing(self, frame_size: tuple[int, int]) -> Detections:
        """What a frame (height, width) gives in which there is nowhere to look."""
        return Detections.empty(self._card.names, frame_size)

    def _data(self, values: list[Array]) -> dict[str, Array]:
        """Further arrays by name: the last of the outputs."""
        names = self._further
        return dict(zip(names, values[len(values) - len(names) :], strict=True))

    def _detections(self, values: list[Array]) -> Found:
        boxes, scores, labels, count = values[:4]
        size = int(count.item())  # [N], or [N, 1] in a folder for DeepStream
        if size and self._thresholds.score > self._card.output.score_threshold:
            # Best first, so those above the threshold are a prefix.
            size = int(np.count_nonzero(scores[:size] > self._thresholds.score))
        size = min(size, self._thresholds.max_detections)
        return Found(boxes, scores, labels, self._data(values)).take(slice(size))

    def _candidates(self, values: list[Array]) -> Found:
        boxes, scores = values[:2]
        output = self._card.output
        threshold = self._thresholds.score
        if output.box_layout == "per_class":
            rows = np.flatnonzero(scores[:, 0] > threshold)
            labels, chosen = rows % len(self._card.names), scores[rows, 0]
        elif output.label_mode == "best":
            rows = np.flatnonzero(scores.max(axis=1) > threshold)
            labels = scores[rows].argmax(axis=1)
            chosen = scores[rows, labels]
        else:
            rows, labels = np.nonzero(scores > threshold)
            chosen = scores[rows, labels]
        data = {name: array[rows] for name, array in self._data(values).items()}
        return self._suppress(Found(boxes[rows], chosen, labels, data))

    def _decode_unproved(self, values: list[Array]) -> Found:
        (prediction,) = values
        if self._card.output.format in RANKED:
            fault, told = fault_of_rows(prediction, self._card)
        else:
            fault, told = fault_of_anchors(prediction, self._card), True
        if fault:
            raise ArtifactError(
                f"the outputs are not what this file's metadata says: {fault}; edgedet export looks at what comes "
                "out and corrects or names it"
            )
        if told:
            self.decode = self._decode
        return self._decode(values)

    def _yolo_xywh(self, values: list[Array]) -> Found:
        (prediction,) = values
        scores = prediction[4:]
        rows = np.flatnonzero(scores.max(axis=0) > self._thresholds.score)
        columns = scores[:, rows]
        labels = columns.argmax(axis=0)
        chosen = columns[labels, np.arange(len(rows))]
        return self._suppress(Found(_corners(prediction[:4, rows].T), chosen, labels))

    def _yolo_objectness(self, values: list[Array]) -> Found:
        (prediction,) = values
        # No product is above its factors.
        rows = prediction[prediction[:, 4] > self._thresholds.score]
        scores = rows[:, 5:] * rows[:, 4:5]
        labels = scores.argmax(axis=1)
        chosen = scores[np.arange(len(rows)), labels]
        kept = chosen > self._thresholds.score
        return self._suppress(Found(_corners(rows[kept, :4]), chosen[kept], labels[kept]))

    def _ranked(self, values: list[Array]) -> Found:
        (rows,) = values
        rows = rows[np.isfinite(rows).all(axis=1) & (rows[:, 4] > self._thresholds.score)]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")][: self._thresholds.max_detections]
        boxes = rows[:, :4]
        if self._card.output.format == "rtdetr_rows":
            canvas = self._card.input
            boxes = _corners(boxes) * np.array([canvas.width, canvas.height] * 2, np.float32)
        return Found(boxes, rows[:, 4], rows[:, 5].astype(np.int32))

    def _suppress(self, found: Found) -> Found:
        output = self._card.output
        if output.min_box_side > 0 and len(found.boxes):
            found = found.take((found.boxes[:, 2:] - found.boxes[:, :2]).min(axis=1) >= output.min_box_side)
        if output.candidates_per_class is not None and len(found.boxes) > output.candidates_per_class:
            found = found.take(best_of_each_class(found.scores, found.labels, output.candidates_per_class))
        apart = found.boxes
        if self._card.family == "yolo":
            apart = apart + (found.labels * ULTRALYTICS_CLASS_STEP).astype(np.float32)[:, None]
        keep = nms(
            apart,
            found.scores,
            found.labels,
            iou_threshold=self._thresholds.iou,
            max_detections=self._thresholds.max_detections,
        )
        return found.take(keep)


def _of_heatmaps(logits: Array, boxes: Array, count: int) -> Array:
    """Keypoints [n, J, 3] in canvas pixels.

    Raises:
        ArtifactError: heatmaps of another number, or not finite.
    """
    if logits.ndim != 4 or logits.shape[1] != count:
        raise ArtifactError(
            f"the network gave heatmaps {list(logits.shape)}, the card names {count} keypoints: expected "
            f"[{len(boxes)}, {count}, h, w]; export it again"
        )
    if not np.isfinite(logits).all():
        raise ArtifactError("the network gave heatmaps that hold NaN or infinity; export it again")
    from edgedet.outputs.keypoint_heatmaps import find_keypoints

    return find_keypoints(logits.astype(np.float32, copy=False), boxes)


def _points(keypoints: Array, count: int) -> Array:
    """``keypoints`` of the detections, held against the card's number of names.

    Raises:
        ArtifactError: of another shape, or not finite.
    """
    if keypoints.shape[1:] != (count, 3):
        raise ArtifactError(
            f"the network gave keypoints {list(keypoints.shape)}, the card names {count}: expected "
            f"[{len(keypoints)}, {count}, 3]; export it again"
        )
    if not np.isfinite(keypoints).all():
        raise ArtifactError("the network gave keypoints that are NaN or infinite; export it again")
    return keypoints.astype(np.float32)


def _corners(boxes: Array) -> Array:
    """Centres and sizes [N, 4] to corners [N, 4]."""
    centres, halves = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)
