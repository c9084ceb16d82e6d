"""A foreign network and a :class:`~.output_reading.Reading` of its outputs, to a graph of the contract."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from edgedet.artifacts.card import Family, InputSpec, ResizeRule
from edgedet.artifacts.class_lists import lists_of, without_background
from edgedet.artifacts.foreign_cards import CENTRED
from edgedet.errors import ArtifactError, CheckpointError, UsageError
from edgedet.onnx_graph.builder import GraphBuilder

from ..foreign import ForeignGraph, keep_outputs
from ..training.assumptions import Assumption
from .base import Exported, ForeignExport, GraphOptions
from .candidate_selection import Candidates, Thresholds, add_choice_of
from .network_input import add_network, picture_spec
from .output_reading import Part, Picture, Reading
from .output_rows import RowReader
from .trial import observe

UNSAID_PICTURE = Picture()
DEFAULTS = Thresholds()
RESIZE = {
    "stretch": ResizeRule("stretch"),
    "letterbox": CENTRED,
    "letterbox_top_left": ResizeRule("letterbox", pad=(114.0, 114.0, 114.0), place="top_left"),
}


def export_reading(
    foreign: ForeignGraph,
    reading: Reading,
    options: GraphOptions,
    classes: int | None,
    *,
    family: Family,
    architecture: str,
    thresholds: Thresholds = DEFAULTS,
) -> ForeignExport:
    """Put pixels in front of ``foreign``, and behind it what makes detections of its outputs, as ``reading`` says.

    Args:
        foreign: the graph.
        reading: what its outputs are.
        options: of the graph that is made.
        classes: how many are named, None where nobody names them.
        family: for the card.
        architecture: where the file names none.
        thresholds: the framework's own.

    Raises:
        UsageError: outputs that do not exist, options that a detector without NMS has no use for, or class numbers
            without names.
        ArtifactError: outputs whose shapes do not go together as they are read.
        CheckpointError: another number of classes than names.
    """
    graph, spec, read = _reader(foreign, reading, options, family)
    picture = reading.picture or UNSAID_PICTURE
    boxes, scores = read.boxes(), read.scores()
    kept = _objects(options.names, reading, scores.width)
    found = _count_classes(foreign, reading, scores.width, len(kept) or classes)
    _require_labels(foreign, reading, found)
    candidates = Candidates(boxes, scores.name, read.labels(), read.anchors, found)
    output = add_choice_of(graph, candidates, reading, options, thresholds, spec=spec)
    assumed = () if reading.picture is not None else _unsaid(foreign)
    return ForeignExport(
        Exported(graph.model(), spec, RESIZE[picture.resizing], output),
        family=family,
        architecture=architecture,
        classes=found,
        chosen=reading.nms == "done",
        names=kept,
        assumed=assumed,
        notes=foreign.notes,
    )


def add_rows(foreign: ForeignGraph, reading: Reading, options: GraphOptions) -> tuple[onnx.ModelProto, InputSpec]:
    """A graph whose outputs ``numbers`` [N, A, 4] and ``scores`` [N, A, C] are those of ``reading``, nothing done
    with them; see :meth:`~.output_rows.RowReader.numbers`.

    Raises:
        UsageError, ArtifactError: as :func:`export_reading`.
    """
    graph, spec, read = _reader(foreign, reading, options, "trial")
    scores = read.scores()
    rows = (spec.batch, read.anchors)
    graph.output(read.numbers(), "numbers", "float32", (*rows, 4))
    graph.output(scores.name, "scores", "float32", (*rows, scores.width))
    return graph.model(), spec


def _reader(
    foreign: ForeignGraph, reading: Reading, options: GraphOptions, name: str
) -> tuple[GraphBuilder, InputSpec, RowReader]:
    """A graph that begins with ``foreign``, and what reads its outputs."""
    require_outputs(foreign, reading)
    names = list(dict.fromkeys(part.tensor for part in reading.tensors()))
    shapes = [foreign.outputs[name] for name in names]
    picture = reading.picture or UNSAID_PICTURE
    spec = picture_spec(foreign, options, trained_colour=_network_colour(foreign, picture), **picture.settings())
    graph = GraphBuilder(name)
    network = onnx.ModelProto()
    network.CopyFrom(foreign.model)
    tensors = add_network(graph, keep_outputs(network, names), spec)
    given = dict(zip(names, zip(tensors, shapes, strict=True), strict=True))
    return graph, spec, RowReader(graph, foreign, reading, given)


def require_outputs(foreign: ForeignGraph, reading: Reading) -> None:
    """Check that what ``reading`` names is there.

    Raises:
        UsageError: an output that is not, with those that are, and their shapes.
    """
    for part in reading.tensors():
        if part.tensor not in foreign.outputs:
            there = ", ".join(f"{name} {list(shape)}" for name, shape in foreign.outputs.items())
            raise UsageError(f"{foreign.path} has no output {part.tensor!r}; it has {there}")


def _network_colour(foreign: ForeignGraph, picture: Picture) -> Literal["RGB", "BGR"]:
    """The channel order that the network takes: that of the file, or the other, where it turns channels round."""
    if foreign.pixels is None or not foreign.pixels.swapped:
        return picture.colour
    return "BGR" if picture.colour == "RGB" else "RGB"


def _unsaid(foreign: ForeignGraph) -> tuple[Assumption, ...]:
    by = "image= of --outputs"
    return (
        Assumption("colours", "RGB", by) if foreign.pixel_settings else Assumption("pixels", "RGB, 0 to 1", by),
        Assumption("resizing", "letterbox, the picture in the middle, padded with 114", by),
    )


def _objects(names: tuple[str, ...], reading: Reading, width: int) -> tuple[str, ...]:
    """``names`` without the background's, which lists of SSDs begin with."""
    objects = names[1:] if reading.background == "first" else names[:-1]
    if reading.background is None or len(names) != width + 1 or len(without_background(names)) != width:
        return names
    return objects if without_background(names) == objects else names


def _count_classes(foreign: ForeignGraph, reading: Reading, width: int, classes: int | None) -> int:
    if reading.labels is not None:
        if classes is None:
            raise UsageError(
                f"{foreign.path} gives class numbers without saying how many there are; add --classes NAMES"
            )
        return classes
    if classes is not None and classes != width:
        lists = lists_of(width)
        hint = f"; --classes {' or '.join(lists)} has {width}" if lists else ""
        background = ", and its background" if reading.background is not None else ""
        raise CheckpointError(
            f"{foreign.path} has {width} classes ({reading.scores.text()}{background}), but {classes} names were "
            f"given; one name per class{hint}"
        )
    return width


def _require_labels(foreign: ForeignGraph, reading: Reading, classes: int) -> None:
    """Run the graph: class numbers that are none, or one too many, would be lost, or named after others.

    Raises:
        ArtifactError: it gives such numbers.
    """
    if reading.labels is None:
        return
    seen = observe(foreign, scale=1 / 255, colour="RGB")
    labels, scores = (numbers_of(part, seen[part.tensor]).reshape(-1) for part in (reading.labels, reading.scores))
    found = labels[(scores > 0) & (labels >= 0)] if labels.shape == scores.shape else labels
    if not len(found):
        return
    where, first = f"{foreign.path}: {reading.labels.text()}", reading.first_label
    if np.abs(found - np.round(found)).max() > 1e-3:
        raise ArtifactError(f"{where} gives {found[0]:.4g}, which is no class number")
    if found.min() < first:
        raise ArtifactError(f"{where} gives class number 0: its classes are not counted from 1 (:from1)")
    if found.max() >= first + classes:
        raise ArtifactError(
            f"{where} gives the class number {found.max():g}, but {classes} classes counted from {first} are "
            "named: give all names with --classes, or count from 1 (:from1)"
        )


def numbers_of(part: Part, seen: NDArray[Any]) -> NDArray[Any]:
    """What of ``seen`` [F, ...] ``part`` is."""
    axis = 1 if seen.ndim == 3 and seen.shape[1] < seen.shape[2] else -1
    stop = seen.shape[axis] if part.stop is None else part.stop
    return np.take(seen, range(part.start, stop), axis) if part.start or part.stop is not None else seen
