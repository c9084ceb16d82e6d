"""The model card: everything a device needs to run an artifact, and what was measured when it was made."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from edgedet.artifacts.card_ranges import require_ranges
from edgedet.artifacts.keypoint_skeleton import Skeleton
from edgedet.errors import ArtifactError

CARD_VERSION = 1
METADATA_KEY = "edgedet"
ASSUMED_KEY = "assumed"
"""Key of a card's provenance: assumed settings, a list of texts."""
PROPOSALS, PROPOSAL_COUNT = "proposals", "proposal_count"
"""Names of the input tensors beside the images, of a network whose proposals come from outside."""

Precision = Literal["fp32", "fp16", "int8"]
Family = Literal[
    "ssd", "faster_rcnn", "yolo", "yolox", "detr", "nanodet", "fastestdet", "mmdet", "darknet", "fcn", "lraspp"
]
SEGMENTING = ("fcn", "lraspp")
"""Families that give a class for every pixel."""
Task = Literal["detection", "segmentation"]

FORMER_FAMILIES = {"rtdetr": "detr"}
"""Families as earlier versions named them on cards, and as they are named now."""


@dataclass(frozen=True)
class InputSpec:
    """The network's input tensor.

    The host always does the geometry (resizing); ``normalise`` says who does the arithmetic
    ``(pixel * scale - mean) / std``. Graphs made by edgedet do it themselves and take NHWC BGR pixels.

    Attributes:
        height: rows of the canvas in pixels.
        width: columns of the canvas in pixels.
        batch: images per run, fixed.
        name: name of the tensor.
        dtype: ``float32`` pixels (0..255, not rounded) where training interpolates in float
            (docs/decisions/001).
        layout: order of the axes.
        colour: channel order of the tensor.
        trained_colour: channel order the network saw in training.
        normalise: whether the graph or the host does the arithmetic.
        scale: factor of a pixel.
        mean: subtracted after ``scale``, in ``trained_colour`` order.
        std: divided by, in ``trained_colour`` order.
        proposals: P of a two-stage network whose proposals come from outside: it takes two tensors more,
            ``proposals`` float32 [N, P, 4] (x1, y1, x2, y2, canvas pixels) and ``proposal_count`` int32 [N]. None
            where the network makes its own, or has none.

    >>> spec = InputSpec(height=320, width=320)
    >>> spec.dtype, spec.layout, spec.colour
    ('uint8', 'NHWC', 'BGR')
    """

    height: int
    width: int
    batch: int = 1
    name: str = "images"
    dtype: Literal["uint8", "float32"] = "uint8"
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    colour: Literal["BGR", "RGB"] = "BGR"
    trained_colour: Literal["BGR", "RGB"] = "RGB"
    normalise: Literal["graph", "host"] = "graph"
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    proposals: int | None = None


@dataclass(frozen=True)
class ResizeRule:
    """How a frame is brought onto the input canvas; bilinear.

    Attributes:
        rule: ``letterbox``: one scale, ``min(canvas / frame)``. ``stretch``: each axis fills the canvas.
            ``shortest_side``: torchvision's rule (shortest side to ``min_size``, longest at most ``max_size``),
            shrunk further as a letterbox where the result does not fit the canvas. ``none``: the frame as it is
            (runtimes that do their own resizing).
        pad: colour around the picture, BGR, 0..255; rounded where the canvas is uint8.
        place: where the picture lies on the canvas.
        rounding: of the resized sides, to whole pixels. ``round``: halves to the even number, as Python does.
            ``half_up``: halves upwards, as MMCV does (``int(side + 0.5)``). ``divide``: a product of whole numbers
            over a whole number, as in Darknet's letterbox, which also takes boxes back by the exact half of the
            border, and in torchvision's presets, whose shortest side is ``min_size`` to the pixel.
        enlarge: whether frames smaller than the canvas are scaled up (letterbox only).
        min_size: shortest side in pixels (``shortest_side`` only).
        max_size: limit of the longest side in pixels (``shortest_side`` only).
        antialias: whether shrinking averages all pixels, as Pillow and torchvision do, in place of the four
            nearest ones.
        coordinates: where pixels lie. ``half_pixel``: at the centres of squares (OpenCV, Pillow, torchvision).
            ``half_pixel_float32``: there too, computed in float32 as PyTorch does (without antialiasing; RF-DETR).
            ``align_corners``: the outermost pixels of frame and canvas are the same places (Darknet).

    >>> ResizeRule("letterbox", place="center").pad
    (114.0, 114.0, 114.0)
    """

    rule: Literal["letterbox", "stretch", "shortest_side", "none"]
    pad: tuple[float, float, float] = (114.0, 114.0, 114.0)
    place: Literal["center", "top_left"] = "top_left"
    rounding: Literal["floor", "round", "half_up", "divide"] = "floor"
    enlarge: bool = True
    min_size: int | None = None
    max_size: int | None = None
    antialias: bool = False
    coordinates: Literal["half_pixel", "half_pixel_float32", "align_corners"] = "half_pixel"


@dataclass(frozen=True)
class KeypointSpec:
    """How the keypoints of objects come, and what they are.

    J keypoints for each detection.

    Attributes:
        form: what one more output ``keypoints`` holds. ``points``: float32 [N, K, J, 3] (of ``candidates``
            [N, A, J, 3]), x and y in canvas pixels, and a score. ``heatmaps``: float32 [N, K, J, h, w] of the
            format ``detections``, logits of h x w cells over every box (Keypoint R-CNN before its last doubling);
            the host doubles them, enlarges them to the box and takes the highest place, whose logit is the score.
        skeleton: names of the J keypoints, and which are joined.

    >>> from edgedet.artifacts.keypoint_skeleton import Skeleton
    >>> KeypointSpec("points", Skeleton(("head", "tail"))).form
    'points'
    """

    form: Literal["points", "heatmaps"]
    skeleton: Skeleton


@dataclass(frozen=True)
class OutputSpec:
    """The network's outputs, and how they become detections.

    N images, A candidates, K detections, C classes. Boxes are absolute pixels of the input canvas, except those of
    ``rtdetr_rows``.

    Attributes:
        format: ``detections``: boxes [N, K, 4], scores [N, K], labels int32 [N, K], count int32 [N]; NMS done in
            the graph, or not needed (``provenance["nms"] == "none"``).
            ``candidates``: boxes [N, A, 4] decoded, scores [N, A, C]; the host or the runtime does NMS.
            ``yolo_xywh``: one foreign tensor [N, 4 + C, A] (Ultralytics): cx, cy, w, h in canvas pixels, scores.
            ``yolo_objectness``: one foreign tensor [N, A, 5 + C] (YOLOv5, YOLOv7): cx, cy, w, h, objectness, class
            scores to be multiplied by it.
            ``yolo_end2end``: one foreign tensor [N, K, 6] (Ultralytics' NMS-free heads): x1, y1, x2, y2, score,
            label.
            ``rtdetr_rows``: the same of Ultralytics' RT-DETR: cx, cy, w, h as shares of the canvas, score, label.
            ``class_logits``: no boxes: one output ``logits`` float32 [N, C, h, w], the scores of every class in a
            grid of places that covers the canvas; stretched over it bilinearly as PyTorch does, the largest is the
            class of a pixel. The four numbers below mean nothing then.
        score_threshold: minimum score of a detection, in [0, 1].
        iou_threshold: IoU of NMS, in [0, 1].
        max_detections: limit per image.
        candidates_per_class: number of the best of each class that enter NMS (torchvision SSD's
            ``topk_candidates``); None lets all enter.
        label_mode: ``best``: a box carries only its highest scoring class (YOLO).
        box_layout: ``per_class``: every class has its own box, scores are [N, A, 1], and candidate ``a`` is of
            class ``a % C``.
        min_box_side: minimum width and height in canvas pixels; smaller boxes are dropped before NMS.
        data: names of further outputs with a row for every row of boxes ([N, K, ...] or [N, A, ...]), which follow
            the detections; for ``detections`` and ``candidates`` only.
        masks: how the outlines of objects come, None where there are none. ``in_boxes``: one more output ``masks``
            float32 [N, K, h, w] of the format ``detections``: the probability of h x w cells over every box to be
            the object's (Mask R-CNN). ``prototypes``: two more, ``coefficients`` float32 with M numbers for every
            row of boxes, and ``prototypes`` float32 [N, M, h, w] over the canvas: their product, interpolated to
            the canvas, is above 0 where the object is, within its box (Ultralytics).
        keypoints: how the keypoints of objects come, None where there are none.

    >>> OutputSpec("candidates", score_threshold=0.05, iou_threshold=0.5, max_detections=100).label_mode
    'all'
    """

    format: Literal[
        "detections", "candidates", "yolo_xywh", "yolo_objectness", "yolo_end2end", "rtdetr_rows", "class_logits"
    ]
    score_threshold: float
    iou_threshold: float
    max_detections: int
    candidates_per_class: int | None = None
    label_mode: Literal["all", "best"] = "all"
    box_layout: Literal["shared", "per_class"] = "shared"
    min_box_side: float = 0.0
    data: tuple[str, ...] = ()
    masks: Literal["in_boxes", "prototypes"] | None = None
    keypoints: KeypointSpec | None = None


@dataclass(frozen=True)
class ModelCard:
    """Everything a device needs to run an artifact: one JSON object inside it (docs/artifact-format.md).

    Attributes:
        family: kind of detector.
        architecture: name of the network.
        names: class names, by label; of a segmenter with the background, where its network has a class for it.
        input: the input tensor.
        resize: from frame to input canvas.
        output: the outputs, and how they become detections.
        precision: of the weights and activations.
        provenance: checkpoint sha256, tool versions, export options, calibration set digest and size.
        measured: parity, accuracy before and after, nodes kept in high precision with the reason.
        engine: engines only: TensorRT version, compute capability, device, CUDA and driver, build options, plan
            sha256.
        golden: seed of a synthetic frame, and the detections it gave at export.
        version: of the card's format.

    >>> from edgedet import Detector
    >>> card = Detector("model.onnx").card
    >>> card.names, card.output.format
    (('blue', 'green', 'red'), 'detections')
    """

    family: Family
    architecture: str
    names: tuple[str, ...]
    input: InputSpec
    resize: ResizeRule
    output: OutputSpec
    precision: Precision = "fp32"
    provenance: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] | None = None
    golden: dict[str, Any] | None = None
    version: int = CARD_VERSION

    @property
    def task(self) -> Task:
        """What the artifact is for, as its outputs say it: boxes, or a class for every pixel."""
        return "segmentation" if self.output.format == "class_logits" else "detection"

    def to_json(self, indent: int | None = None) -> str:
        """The card as JSON.

        Args:
            indent: spaces per level; None writes one line.

        Returns:
            ASCII text of one object. ``input.proposals``, ``output.masks`` and ``output.keypoints`` stand in it
            only where there are some, so that the cards of all other detectors are those of earlier versions, byte
            for byte.
        """
        values = dataclasses.asdict(self)
        for part, name in (("input", "proposals"), ("output", "masks"), ("output", "keypoints")):
            if values[part][name] is None:
                del values[part][name]
        return json.dumps(values, indent=indent, ensure_ascii=True)

    @staticmethod
    def from_json(text: str) -> ModelCard:
        """Read a card.

        Args:
            text: what :meth:`to_json` gives; unknown fields are ignored.

        Returns:
            The card, every field checked.

        Raises:
            ArtifactError: not JSON, a field missing, of the wrong kind or out of its range, or made by a newer
                edgedet.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"the model card is not valid JSON ({error}); export the model again") from error
        if not isinstance(data, dict):
            raise ArtifactError(f"the model card is a {type(data).__name__}, expected an object; export again")
        version = data.get("version")
        if not isinstance(version, int) or version > CARD_VERSION:
            raise ArtifactError(
                f"the model card has version {version!r}, this edgedet reads up to {CARD_VERSION}; update edgedet"
            )
        if isinstance(data.get("family"), str):
            data["family"] = FORMER_FAMILIES.get(data["family"], data["family"])
        card: ModelCard = _build(ModelCard, data, "card")
        require_ranges(card)
        return card


def _build(kind: type, data: Any, where: str) -> Any:
    """Build the dataclass ``kind`` from parsed JSON, checking every field; unknown fields are ignored."""
    if not isinstance(data, dict):
        raise ArtifactError(f"model card: {where} is {data!r}, expected an object; export the model again")
    hints = get_type_hints(kind)
    values = {}
    for spec in dataclasses.fields(kind):
        if spec.name in data:
            values[spec.name] = _coerce(hints[spec.name], data[spec.name], f"{where}.{spec.name}")
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise ArtifactError(f"model card: {where}.{spec.name} is missing; export the model again")
    try:
        return kind(**values)
    except ValueError as error:
        raise ArtifactError(f"model card: {where}: {error}; export the model again") from error


def _coerce(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    arguments = get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, where)
    if origin is Literal:
        if value in arguments:
            return value
        raise ArtifactError(f"model card: {where} is {value!r}, expected one of {', '.join(map(str, arguments))}")
    if type(None) in arguments:
        return None if value is None else _coerce(arguments[0], value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple) or (arguments[-1] is not Ellipsis and len(value) != len(arguments)):
            raise ArtifactError(f"model card: {where} is {value!r}, expected a list like {hint}")
        return tuple(_coerce(arguments[0], item, where) for item in value)
    expected: Any = origin or hint
    if expected is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # a whole number that is larger than any other
            number = math.inf
        if not math.isfinite(number):
            raise ArtifactError(f"model card: {where} is {str(value)[:40]}, expected a finite number")
        return number
    if expected is int and isinstance(value, bool):
        expected = None
    if expected is None or not isinstance(value, expected):
        raise ArtifactError(f"model card: {where} is {value!r}, expected {getattr(hint, '__name__', hint)}")
    return value
