"""A ``.cfg`` and its ``.weights`` become a graph of the contract: found, read, written, and what was assumed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.artifacts.card import InputSpec, ResizeRule
from edgedet.errors import CheckpointError
from edgedet.files import file_sha256
from edgedet.onnx_graph.builder import GraphBuilder

from ..families.base import Exported, GraphOptions, output_spec
from ..families.image_input import add_image_input
from ..families.yolo import add_candidates_or_nms
from ..training.assumptions import Assumption
from .cfg import Section, read_cfg
from .cfg_layers import Reader
from .fork import Fork, ForkName, ResizeName, find_fork, require_shares, resizing
from .heads import Canvas, HeadWriter
from .layer_records import HEADS, Detection, Layer, Route, Yolo
from .names import find_names
from .onnx_nodes import NetworkWriter, begins_with_convolution
from .options import NETWORK_TRAINING
from .weights import Arrays, Header, read_weights, smallest_variances

SUFFIX = ".cfg"
MAX_LAYERS = 10_000
LARGEST_SIDE = 8192
"""Pixels of a network's input."""
LARGEST_LAYER = 2**29
"""Numbers that one layer gives: 2 GB."""

SCORES: dict[str, float] = {"pjreddie": 0.5, "alexeyab": 0.25}
"""Minimum scores of the test commands, by fork."""
IOU_THRESHOLD, MAX_DETECTIONS = 0.45, 300
V1_SCORE, V1_IOU = 0.2, 0.4
"""Those of ``darknet yolo test``."""

GREY = (127.5, 127.5, 127.5)
"""Darknet's border is 0.5."""

TINY_ANCHORS = ((10.0, 14.0), (23.0, 27.0), (37.0, 58.0), (81.0, 82.0), (135.0, 169.0), (344.0, 319.0))
VARIANCE_MATTERS = 1e-3
"""Below, the two ways of adding batch normalisation's epsilon differ by 0.3 % and more."""


@dataclass(frozen=True)
class Darknet:
    """What was read: layers and their numbers, whose program's way they are to be computed in, and class names.

    ``resize``: of frames. ``notes``: for the report.
    """

    cfg: Path
    weights: Path
    header: Header
    layers: tuple[Layer, ...]
    arrays: tuple[Arrays, ...]
    height: int
    width: int
    fork: Fork
    resize: ResizeName
    names: tuple[str, ...]
    assumed: tuple[Assumption, ...]
    notes: tuple[str, ...]

    @property
    def classes(self) -> int:
        """How many all heads have."""
        return _heads(self.layers)[0].kind.classes  # type: ignore[union-attr]

    @property
    def provenance(self) -> dict[str, Any]:
        """For the card."""
        version = ".".join(map(str, self.header.version))
        return {
            "darknet": {
                "weights": self.weights.name,
                "weights_sha256": file_sha256(self.weights),
                "version": version,
                "pictures_seen": self.header.seen,
                "fork": self.fork.name,
            }
        }


def open_darknet(
    cfg: Path,
    *,
    weights: Path | None,
    imgsz: tuple[int, int] | None,
    fork: ForkName | None,
    resize: ResizeName | None,
) -> Darknet:
    """Read a network and its weights.

    Args:
        cfg: of the network.
        weights: None for STEM.weights beside it, or the only ``.weights`` there.
        imgsz: (height, width) in place of the ``.cfg``'s.
        fork: whose way; None for what the ``.cfg`` shows.
        resize: of frames; None for that program's way.

    Raises:
        CheckpointError: files that are not there or something else, layers or options that edgedet does not know,
            weights that do not fit.
    """
    network, sections = read_cfg(cfg)
    if len(sections) > MAX_LAYERS:
        raise CheckpointError(f"{cfg} has {len(sections)} layers, expected {MAX_LAYERS} at most")
    height, width = _size(network, imgsz)
    known = find_fork(network, sections, fork)
    reader = Reader((3, height, width))
    for section in sections:
        layer = reader.read(section)
        if layer.gives[0] * layer.gives[1] * layer.gives[2] > LARGEST_LAYER:
            section.refuse(f"would give {' x '.join(map(str, layer.gives))} numbers; is a number too large?")
    layers = tuple(reader.layers)
    heads = _require_heads(cfg, layers)
    require_shares(known, layers)
    weights = _find_weights(cfg, weights)
    header, arrays = read_weights(weights, layers)
    way, unsaid = resizing(known, network, layers, resize)
    names, note = find_names(cfg, heads[0].kind.classes)  # type: ignore[union-attr]
    assumed = [] if unsaid is None else [unsaid]
    if not known.why:
        said = f"{known.title}, since the .cfg has nothing that only AlexeyAB's reads"
        assumed.insert(0, Assumption("program", said, "--darknet"))
    assumed.extend(_unsaid_epsilon(known, layers, arrays))
    if any(isinstance(head.kind, Yolo) and head.kind.nms_kind != "default" for head in heads):
        said = "by IoU, as detect_image of AlexeyAB's darknet.py; its test command compares DIoU, which keeps more"
        assumed.append(Assumption("NMS", said, "nothing, for Darknet"))
    why = f" ({known.why})" if known.why else ""
    seen = f"version {'.'.join(map(str, header.version))}, {header.seen} pictures seen"
    notes = [f"{cfg.name} with {weights.name} ({seen}), computed as {known.title}{why}", *_head_notes(layers)]
    return Darknet(
        cfg=cfg,
        weights=weights,
        header=header,
        layers=layers,
        arrays=tuple(arrays),
        height=height,
        width=width,
        fork=known,
        resize=way,
        names=names,
        assumed=tuple(assumed),
        notes=(*notes, note) if note else tuple(notes),
    )


def export(source: Darknet, options: GraphOptions) -> Exported:
    """The graph: pixels in front, NMS behind."""
    spec = InputSpec(
        height=source.height,
        width=source.width,
        batch=options.batch,
        # Darknet keeps the fractions that resizing gives.
        dtype=options.input_dtype or "float32",
        scale=1 / 255,
    )
    first = any(isinstance(layer.kind, Detection) for layer in source.layers)
    conf, iou = (V1_SCORE, V1_IOU) if first else (SCORES[source.fork.name], IOU_THRESHOLD)
    output = output_spec(options, conf, iou, MAX_DETECTIONS)
    graph = GraphBuilder("darknet")
    # Neither scale nor order of colours costs anything in the first convolution's weights.
    image = add_image_input(graph, dataclasses.replace(spec, scale=1.0))
    direct = begins_with_convolution(source.layers)
    writer = NetworkWriter(graph, image, batch=options.batch, fork=source.fork, direct=direct)
    canvas = Canvas(options.batch, source.height, source.width)
    found = []
    for layer, arrays in zip(source.layers, source.arrays, strict=True):
        tensor = writer.add(layer, arrays)
        if isinstance(layer.kind, HEADS):
            found.append(HeadWriter(graph, layer, canvas).decode(tensor))
    boxes, scores = found[0].boxes, found[0].scores
    if len(found) > 1:
        boxes = graph.op("Concat", *(head.boxes for head in found), name="decode/boxes", axis=1)
        scores = graph.op("Concat", *(head.scores for head in found), name="decode/scores", axis=2)
    add_candidates_or_nms(
        graph,
        boxes,
        scores,
        output,
        spec=spec,
        anchors=sum(head.anchors for head in found),
        classes=source.classes,
        nms=options.nms,
    )
    if source.resize == "letterbox":
        resize = ResizeRule("letterbox", GREY, "center", "divide", coordinates="align_corners")
    else:
        resize = ResizeRule("stretch", coordinates="align_corners")
    return Exported(graph.model(), spec, resize, output, source.provenance)


def _size(network: Section, imgsz: tuple[int, int] | None) -> tuple[int, int]:
    network.require(
        ("height", "width", "channels", "letter_box"), NETWORK_TRAINING, {"time_steps": 1.0, "hidden": 0.0}
    )
    height, width = imgsz or (network.integer("height", least=1), network.integer("width", least=1))
    if max(height, width) > LARGEST_SIDE:
        network.refuse(f"its input is {height}x{width}, expected {LARGEST_SIDE} at most each way")
    channels = network.integer("channels", least=1)
    if channels != 3:
        network.refuse(f"has channels={channels}; edgedet exports detectors of colour pictures, channels=3")
    return height, width


def _heads(layers: Sequence[Layer]) -> list[Layer]:
    return [layer for layer in layers if isinstance(layer.kind, HEADS)]


def _require_heads(cfg: Path, layers: Sequence[Layer]) -> list[Layer]:
    heads = _heads(layers)
    if not heads:
        raise CheckpointError(
            f"{cfg} has no [yolo], [region] or [detection]; it is no detector, or is cut short after layer "
            f"{layers[-1].section.index}"
        )
    if not isinstance(layers[-1].kind, HEADS):
        layers[-1].section.refuse("is the last layer, and no head; the .cfg is cut short")
    for head in heads[1:]:
        if head.kind.classes != heads[0].kind.classes:  # type: ignore[union-attr]
            head.section.refuse(
                f"has other classes than layer {heads[0].section.index}; all heads need the same number"
            )
        if type(head.kind) is not type(heads[0].kind):
            head.section.refuse(f"is another head than layer {heads[0].section.index}; expected one kind")
    return heads


def _find_weights(cfg: Path, given: Path | None) -> Path:
    if given is not None:
        if not given.is_file():
            raise CheckpointError(f"no such file: {given} (--weights)")
        return given
    own = cfg.with_suffix(".weights")
    if own.is_file():
        return own
    others = sorted(cfg.parent.glob("*.weights"))
    if len(others) == 1:
        return others[0]
    there = f"; beside it there are {', '.join(other.name for other in others[:5])}" if others else ""
    raise CheckpointError(f"no {own.name} beside {cfg}{there}; say where the weights are: --weights FILE")


def _unsaid_epsilon(fork: Fork, layers: Sequence[Layer], arrays: Sequence[Arrays]) -> list[Assumption]:
    """Assumption made where variances are so small that the forks, and pjreddie's own GPU code, differ."""
    if fork.name == "alexeyab":
        return []
    small = [layer.section.index for layer, least in smallest_variances(layers, arrays) if least < VARIANCE_MATTERS]
    if not small:
        return []
    said = (
        f"epsilon outside of the root, as pjreddie's CPU program (variances below {VARIANCE_MATTERS:g} in layer "
        f"{small[0]}{' and others' if len(small) > 1 else ''}); its GPU code and AlexeyAB's have it inside"
    )
    return [Assumption("batch normalisation", said, "--darknet alexeyab")]


def _head_notes(layers: Sequence[Layer]) -> list[str]:
    """Which anchors each head has: two .cfg of one name differ in that alone, and the weights do not tell."""
    masks, heads = [], _heads(layers)
    for head in heads:
        kind = head.kind
        if isinstance(kind, Yolo):
            _, rows, columns = head.takes[0]
            masks.append(f"{','.join(map(str, kind.mask))} at {rows}x{columns}")
    if not masks:
        return []
    notes = [f"anchors of its heads (mask): {'; '.join(masks)}"]
    last = heads[-1].kind
    assert isinstance(last, Yolo)
    listed = [float(number) for pair in TINY_ANCHORS for number in pair]
    # YOLOv4-tiny has the same anchors, and one .cfg; it is known by its routes to half of the channels.
    grouped = any(isinstance(layer.kind, Route) and layer.kind.groups > 1 for layer in layers)
    if (
        len(heads) == 2
        and not grouped
        and list(heads[-1].section.numbers("anchors")) == listed
        and last.mask in TINY_MASKS
    ):
        other = TINY_MASKS[1 - TINY_MASKS.index(last.mask)]
        notes.append(
            f"there are two yolov3-tiny.cfg, and this one's second head has mask {','.join(map(str, last.mask))}; "
            f"with weights trained with {','.join(map(str, other))}, which the weights do not tell, its boxes "
            "would have wrong sizes"
        )
    return notes


TINY_MASKS = [(0, 1, 2), (1, 2, 3)]
