"""The model card: everything a device needs to run an artifact, and what was measured when it was made."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from edgedet.errors import ArtifactError

CARD_VERSION = 1
METADATA_KEY = "edgedet"
ASSUMED_KEY = "assumed"
"""In a card's provenance: what nothing said and was taken for granted, as a list of texts."""

Precision = Literal["fp32", "fp16", "int8"]
Family = Literal["ssd", "faster_rcnn", "yolo", "yolox", "detr"]


@dataclass(frozen=True)
class InputSpec:
    """What the network's input tensor holds.

    The host always does the geometry (resizing); ``normalise`` says who does the arithmetic
    ``(pixel * scale - mean) / std``. Graphs made by edgedet do it themselves and take NHWC BGR pixels.
    """

    height: int
    width: int
    batch: int = 1
    name: str = "images"
    dtype: Literal["uint8", "float32"] = "uint8"
    """``float32`` pixels (0..255, not rounded) where training interpolates in float; see docs/decisions/001."""
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    colour: Literal["BGR", "RGB"] = "BGR"
    """Channel order of the input tensor (not of what the network saw in training: that is ``trained_colour``)."""
    trained_colour: Literal["BGR", "RGB"] = "RGB"
    normalise: Literal["graph", "host"] = "graph"
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """In ``trained_colour`` order, after ``scale``."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class ResizeRule:
    """How a frame is brought onto the input canvas; bilinear, half-pixel centres.

    ``letterbox``: one scale, ``min(canvas / frame)``. ``stretch``: each axis fills the canvas.
    ``shortest_side``: torchvision's rule (shortest side to ``min_size``, longest at most ``max_size``),
    shrunk further as a letterbox where the result does not fit the canvas. ``none``: the frame as it is
    (runtimes that do their own resizing).
    """

    rule: Literal["letterbox", "stretch", "shortest_side", "none"]
    pad: tuple[float, float, float] = (114.0, 114.0, 114.0)
    """BGR, 0..255; rounded where the canvas is uint8."""
    place: Literal["center", "top_left"] = "top_left"
    rounding: Literal["floor", "round"] = "floor"
    enlarge: bool = True
    """Whether frames smaller than the canvas are scaled up (letterbox only)."""
    min_size: int | None = None
    max_size: int | None = None
    antialias: bool = False
    """Whether shrinking averages all pixels, as Pillow and torchvision do, in place of the four nearest ones."""


@dataclass(frozen=True)
class OutputSpec:
    """What comes out, and how it becomes detections.

    ``format``:
      ``detections``: boxes [N, K, 4], scores [N, K], labels int32 [N, K], count int32 [N]; NMS done in the graph,
      or not needed (``provenance["nms"] == "none"``).
      ``candidates``: boxes [N, A, 4] decoded, scores [N, A, C]; the host or runtime does NMS. With
      ``box_layout == "per_class"`` every class has its own box: scores are [N, A, 1] and candidate ``a`` is of
      class ``a % num_classes``.
      ``yolo_xywh``: one foreign tensor [N, 4 + C, A] (Ultralytics), cx, cy, w, h in canvas pixels, then scores.
      ``yolo_objectness``: one foreign tensor [N, A, 5 + C] (YOLOv5, YOLOv7), cx, cy, w, h, then objectness, then
      class scores to be multiplied by it.
      ``yolo_end2end``: one foreign tensor [N, K, 6]: x1, y1, x2, y2, score, label (Ultralytics, NMS-free heads).
      ``rtdetr_rows``: the same of Ultralytics' RT-DETR: cx, cy, w, h as shares of the canvas, score, label.
    Boxes are absolute pixels of the input canvas, except the last.
    """

    format: Literal["detections", "candidates", "yolo_xywh", "yolo_objectness", "yolo_end2end", "rtdetr_rows"]
    score_threshold: float
    iou_threshold: float
    max_detections: int
    candidates_per_class: int | None = None
    """Only the best so many of each class enter NMS (torchvision SSD's ``topk_candidates``)."""
    label_mode: Literal["all", "best"] = "all"
    """``best``: a box may only carry its highest scoring class (YOLO)."""
    box_layout: Literal["shared", "per_class"] = "shared"
    min_box_side: float = 0.0
    """Boxes whose width or height is below this many canvas pixels are dropped before NMS."""
    data: tuple[str, ...] = ()
    """Further outputs with a row for every row of ``boxes`` ([N, K, ...] or [N, A, ...], one per detection or
    candidate), which follow the detections under their names; only of ``detections`` and ``candidates``."""


@dataclass(frozen=True)
class ModelCard:
    """One JSON object that makes an artifact self-describing (DESIGN: contracts)."""

    family: Family
    architecture: str
    names: tuple[str, ...]
    input: InputSpec
    resize: ResizeRule
    output: OutputSpec
    precision: Precision = "fp32"
    provenance: dict[str, Any] = field(default_factory=dict)
    """Checkpoint sha256, tool versions, export options, calibration set digest and size."""
    measured: dict[str, Any] = field(default_factory=dict)
    """Parity, accuracy before/after, which nodes stayed high precision and why."""
    engine: dict[str, Any] | None = None
    """Engines only: TensorRT version, compute capability, device, CUDA and driver, build options, plan sha256."""
    golden: dict[str, Any] | None = None
    """Seed of a synthetic frame and the detections it gave at export."""
    version: int = CARD_VERSION

    def to_json(self, indent: int | None = None) -> str:
        """The card as a JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=indent, ensure_ascii=True)

    @staticmethod
    def from_json(text: str) -> ModelCard:
        """Read a card.

        Raises:
            ArtifactError: not JSON, a field missing or of the wrong kind, or made by a newer edgedet.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ArtifactError(f"the model card is not valid JSON ({error}); export the model again") from error
        if not isinstance(data, dict):
            raise ArtifactError(f"the model card is a {type(data).__name__}, expected an object; export again")
        version = data.get("version")
        if not isinstance(version, int) or version > CARD_VERSION:
            raise ArtifactError(
                f"the model card has version {version!r}, this edgedet reads up to {CARD_VERSION}; update edgedet"
            )
        card: ModelCard = _build(ModelCard, data, "card")
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
    return kind(**values)


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
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if expected is int and isinstance(value, bool):
        expected = None
    if expected is None or not isinstance(value, expected):
        raise ArtifactError(f"model card: {where} is {value!r}, expected {getattr(hint, '__name__', hint)}")
    return value
