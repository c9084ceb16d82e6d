"""What nvinfer does to a frame that the card would have done otherwise: in pixels, and in detections.

nvinfer resizes bilinearly from the four nearest pixels to bytes, cuts the content's size down to whole pixels, pads
with black, and enlarges what is smaller than the canvas (``get_converted_buffer`` of DeepStream's gstnvinfer.cpp).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx

from edgedet.artifacts.card import ModelCard, ResizeRule
from edgedet.errors import UsageError
from edgedet.geometry import ResizeGeometry, plan_resize
from edgedet.proof.golden_scene import FRAME_HEIGHT, FRAME_WIDTH, golden_frame
from edgedet.proof.parity import Tolerance, match_detections

from ..embedded_card import embed, opened

BLACK = (0.0, 0.0, 0.0)
Frame = tuple[int, int]
"""Width and height in pixels."""
USUAL_FRAMES = ((1920, 1080), (1280, 720), (640, 480))
"""Frames of which the differences are written down where none is named."""
SEEDS = range(12)
"""Scenes that are tried."""
SAME_BOX = Tolerance(min_score=0.05, min_iou=0.9, max_score_difference=1.0)
"""Boxes this near each other are of one object, and not neighbours that took each other's place."""


@dataclass(frozen=True)
class Difference:
    """Detections in one frame, prepared as the card says and as nvinfer does.

    ``expected``: those of the card; ``found``: how many of them nvinfer's has too (IoU of 0.9 or more); ``extra``:
    what it has besides. ``worst_score``, ``worst_corner`` (frame pixels) of the pairs; None without any.
    """

    height: int
    width: int
    expected: int
    found: int
    extra: int
    worst_score: float | None
    worst_corner: float | None

    def __str__(self) -> str:
        if not self.expected and not self.extra:
            return f"not compared: nothing is found in the golden frame ({self.width}x{self.height})"
        said = f"{self.found} of {self.expected} detections of the golden frame ({self.width}x{self.height})"
        if self.extra:
            said += f", and {self.extra} more"
        if self.worst_score is None or self.worst_corner is None:
            return said
        corner = f"corners by up to {self.worst_corner:.1f} pixels"
        return f"{said}; scores differ by up to {self.worst_score:.3f}, {corner}"


def nvinfer_rule(card: ModelCard, frame: Frame | None = None) -> ResizeRule:
    """The nearest that nvinfer can do to what the card says.

    Args:
        card: of the network.
        frame: (width, height) of all frames, where it is known: if the card lets them fill the canvas, stretching
            them is exact, where nvinfer's way of keeping proportions may leave a line out.

    Raises:
        UsageError: nothing is near.
    """
    resize, canvas = card.resize, card.input
    if resize.rule == "none":
        raise UsageError("nvinfer resizes every frame to one size, and this network takes frames as they are")
    fills = resize.rule == "stretch"
    if frame is not None and not fills:
        at = plan_resize(resize, frame[1], frame[0], canvas.height, canvas.width)
        fills = (at.width, at.height) == (canvas.width, canvas.height)
    return ResizeRule("stretch" if fills else "letterbox", pad=BLACK, place=resize.place)


def nvinfer_geometry(rule: ResizeRule, width: int, height: int, card: ModelCard) -> ResizeGeometry:
    """Place that nvinfer gives a frame of ``width`` x ``height``; boxes go back by the ratios of the sizes.

    >>> from edgedet.opening import read_card
    >>> card = read_card("model.onnx")
    >>> nvinfer_geometry(ResizeRule("letterbox", place="center"), 640, 360, card)
    ResizeGeometry(frame_height=360, frame_width=640, height=..., scale_x=..., scale_y=...)
    """
    found = plan_resize(rule, height, width, card.input.height, card.input.width)
    return replace(found, scale_x=found.width / width, scale_y=found.height / height)


def placing_lines(card: ModelCard, frame: Frame | None = None) -> list[str]:
    """Rows of a table: frame, the card's content and place, nvinfer's; of ``frame``, else of usual ones."""
    rows = []
    for ours, theirs in _placed(card, frame):
        cells = [f"{each.width}x{each.height} at ({each.left}, {each.top})" for each in (ours, theirs)]
        rows.append(f"| {ours.frame_width}x{ours.frame_height} | {cells[0]} | {cells[1]} |")
    return rows


def _placed(card: ModelCard, frame: Frame | None) -> list[tuple[ResizeGeometry, ResizeGeometry]]:
    """Places that the card gives frames, each with the one that nvinfer gives it."""
    rule, spec = nvinfer_rule(card, frame), card.input
    return [
        (
            plan_resize(card.resize, height, width, spec.height, spec.width),
            nvinfer_geometry(rule, width, height, card),
        )
        for width, height in (USUAL_FRAMES if frame is None else (frame,))
    ]


def differences(card: ModelCard, frame: Frame | None = None) -> list[str]:
    """Sentences on what nvinfer does otherwise than the card says; none where it does the same."""
    resize, spec = card.resize, card.input
    placed = _placed(card, frame)
    said = []
    if spec.dtype == "float32" and spec.normalise == "graph":
        said.append("pixels are rounded to whole grey levels after resizing; training kept their fractions")
    if resize.antialias:
        said.append(
            "shrinking mixes the four nearest pixels (scaling-filter=1); training averaged all of them "
            "(antialias), which a frame of more than twice the network's size shows most"
        )
    if resize.coordinates == "align_corners":
        said.append(
            "pixels lie up to half a pixel otherwise: the network was trained on frames whose corners stay where "
            "they are (align_corners)"
        )
    padded = any((at.width, at.height) != (spec.width, spec.height) for _, at in placed)
    if padded and resize.pad != BLACK:
        colour = ", ".join(f"{value:g}" for value in resize.pad)
        said.append(f"the border is black; training's was ({colour}) in B, G, R")
    side, width, height = max(
        (max(abs(a.width - b.width), abs(a.height - b.height)), a.frame_width, a.frame_height) for a, b in placed
    )
    if side:
        said.append(f"the content's sides differ by up to {side} pixels ({width}x{height})")
    moved = max(abs(a.width / a.scale_x - a.frame_width) for a, _ in placed)
    moved = max(moved, *(abs(a.height / a.scale_y - a.frame_height) for a, _ in placed))
    if moved >= 0.05:
        said.append(f"boxes go back by the ratio of the sizes, which moves them by up to {moved:.1f} frame pixels")
    if not resize.enlarge:
        said.append(f"frames smaller than {spec.width}x{spec.height} are enlarged; training left them as they were")
    return said


def measured_difference(model: onnx.ModelProto, card: ModelCard, frame: Frame | None = None) -> Difference:
    """A golden frame through the graph twice, on ONNX Runtime: prepared as the card says, and as nvinfer does.

    The first scene in which something is found, beginning with the card's own; of the size of ``frame``, where it
    is known.
    """
    spec = card.input
    if spec.normalise == "graph":  # bytes, as floats
        spec = replace(spec, normalise="host", scale=1.0, mean=BLACK, std=(1.0, 1.0, 1.0))
    width, height = frame or (FRAME_WIDTH, FRAME_HEIGHT)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with (
        opened(embed(copy, card)) as ours,
        opened(embed(copy, replace(card, resize=nvinfer_rule(card, frame), input=spec))) as theirs,
    ):
        for seed in dict.fromkeys([int((card.golden or {}).get("seed", 0)), *SEEDS]):
            picture = golden_frame(seed, height, width)
            expected, found = ours.detect(picture), theirs.detect(picture)
            if len(expected) or len(found):
                break
    parity = match_detections(expected, found, SAME_BOX)
    pairs = len(parity.pairs)
    return Difference(
        height,
        width,
        parity.reference_count,
        parity.reference_count - len(parity.missing),
        len(parity.extra),
        float(parity.score_differences.max()) if pairs else None,
        float(parity.corner_differences.max()) if pairs else None,
    )
