"""Which family a foreign graph is of, where neither it nor its user says: read so, proved, and only then believed.

Names and shapes say which families may be tried (:mod:`edgedet.artifacts.foreign_outputs`); what each makes of the
graph is run on sample pictures (:mod:`.proof`). One reading that stands is taken, and reported. None, or several,
are refused, with those that fit and the option that chooses.
"""

from __future__ import annotations

from typing import NamedTuple

from edgedet.artifacts.foreign_outputs import Facts, Outputs, recognise_all
from edgedet.errors import ArtifactError, CheckpointError, EdgedetError, UsageError

from ..foreign import ForeignGraph
from . import foreign_family
from .base import ForeignFamily, GraphOptions
from .reading_proof import TRIAL, Proof, for_trial, prove

TENSORFLOW = ("detection_boxes", "TFLite_Detection_PostProcess", "StatefulPartitionedCall")
"""What the outputs' names begin with of graphs that tf2onnx writes of TensorFlow's detectors."""

BEFORE_NMS = ("yolo", "ssd", "yolo-nas", "damo-yolo", "pp-yoloe", "rtmdet", "mmdet")
"""Families of files whose NMS takes every class for itself: boxes and scores of all look the same to a trial run,
while each was trained on other pixels, or on pictures resized in another way."""


class _Tried(NamedTuple):
    """One family's reading. ``fault``: why it cannot be, empty where it stands; ``proof``: what was seen;
    ``error``: what was raised."""

    family: ForeignFamily
    fault: str
    proof: Proof | None = None
    error: EdgedetError | None = None


def recognised_family(foreign: ForeignGraph, names: tuple[str, ...]) -> tuple[ForeignFamily, tuple[str, ...]]:
    """The family of ``foreign``, and by what it was recognised, for the report.

    Args:
        foreign: a graph without metadata of a known tool.
        names: of classes that its user gave, empty where nobody did.

    Raises:
        UsageError: shapes alone do not decide, or several readings stand.
        ArtifactError: it is of no known family, or none of the readings gives boxes.
    """
    readings = (_before_nms(foreign),) if _is_cut(foreign) else recognise_all(facts_of(foreign, len(names) or None))
    if not readings:
        raise UsageError(
            f"{foreign.path} does not say what its outputs mean, and they are of no known family; state it: "
            f'--outputs "{_blank(foreign)} (docs/checkpoints.md has the grammar)'
        )
    if not readings[0].families:
        raise ArtifactError(f"{foreign.path} does not say what its outputs mean; {readings[0].hint(foreign.path)}")
    found, *others = readings
    if not _may_be_tried(found, names) and found.shown:
        raise UsageError(
            f"{foreign.path} does not say what its outputs mean; add --family ({found.hint(foreign.path)})"
        )
    if not found.shown:
        raise UsageError(
            f"{foreign.path} does not say what its outputs mean, and a trial run cannot tell {found.what}, whose "
            f"pixels differ; add --family ({found.hint(foreign.path)}), or --outputs"
        )
    tried = [_try(foreign, family, found, names) for family in found.families]
    standing = [each for each in tried if not each.fault]
    if len(standing) == 1:
        return standing[0].family, (_sentence(found, standing[0], tried),)
    if standing:
        stated = " or ".join(f"--family {each.family.name}" for each in standing)
        raise UsageError(
            f"{foreign.path} does not say what its outputs mean, and a trial run does not decide: it looks like "
            f"{found.what}; state which: {stated}"
        )
    for other in others:
        # Names may lie; what they name is no detector's, and shapes speak for another.
        again = [_try(foreign, family, other, names) for family in other.families if _may_be_tried(other, names)]
        standing = [each for each in again if not each.fault]
        if len(standing) == 1:
            return standing[0].family, (_sentence(other, standing[0], [*tried, *again]),)
    if len(tried) == 1 and tried[0].error is not None:
        raise tried[0].error
    faults = "; ".join(f"as {each.family.name}, {each.fault}" for each in tried)
    raise ArtifactError(f"{foreign.path} looks like {found.what}, but cannot be read so: {faults}")


def _may_be_tried(found: Outputs, names: tuple[str, ...]) -> bool:
    """Whether nothing but a trial run is needed to believe a reading."""
    return found.shown and (found.counted or found.named or bool(names))


def _blank(foreign: ForeignGraph) -> str:
    """A form to fill in for ``--outputs``, with the graph's own names and shapes."""
    there = {name: list(shape) for name, shape in foreign.outputs.items()}
    boxes = next((name for name, shape in there.items() if len(there) > 1 and 4 in shape[1:]), None)
    if boxes is None:
        names = ", ".join(f"{name} {shape}" for name, shape in there.items())
        return f'boxes=OUTPUT[0:4]:FORM@UNIT, scores=OUTPUT[4:]:ACTIVATION", of {names}'
    others = " or ".join(f"{name} {shape}" for name, shape in there.items() if name != boxes)
    return f'boxes={boxes}:FORM@UNIT, scores=OUTPUT:ACTIVATION", of {others}'


def _is_cut(foreign: ForeignGraph) -> bool:
    return foreign.nms is not None and foreign.nms.joined


def _before_nms(foreign: ForeignGraph) -> Outputs:
    """What a graph is whose NMS was cut out, by the names of what came behind it."""
    if any(name.startswith(TENSORFLOW) for name in foreign.gave):
        return Outputs(
            "a detector of TensorFlow's Object Detection API or TFLite (boxes and scores as its NMS took them)",
            ("ssd",),
            named=True,
            counted=True,
        )
    together = foreign.nms is not None and foreign.nms.apart == 0
    if together:
        return Outputs("a detector with NMS inside (boxes and scores as it took them)", ("yolo",), counted=True)
    return Outputs(
        "a detector with NMS inside (boxes and scores as it took them; yolo: Ultralytics', YOLOv5, YOLOv6, YOLOv7)",
        BEFORE_NMS,
        counted=True,
        shown=False,
    )


def facts_of(foreign: ForeignGraph, classes: int | None) -> Facts:
    """What is known of an opened graph before it is run."""
    image = (foreign.batch, 3, foreign.height, foreign.width)
    return Facts(foreign.outputs, {"images": image}, classes)


def _try(foreign: ForeignGraph, name: str, found: Outputs, names: tuple[str, ...]) -> _Tried:
    family = foreign_family(name)
    try:
        made = family.export(for_trial(foreign), GraphOptions(**TRIAL, names=names), len(names) or None)
        proof = prove(made.exported, foreign.path)
    except (ArtifactError, CheckpointError) as error:
        return _Tried(family, str(error).removeprefix(str(foreign.path)).strip(" :"), error=error)
    fault = "; ".join(proof.faults)
    if not fault and not found.named:
        fault = "; ".join(proof.doubts)
    return _Tried(family, fault, proof)


def _sentence(found: Outputs, taken: _Tried, tried: list[_Tried]) -> str:
    assert taken.proof is not None
    by = "names" if found.named else "shapes"
    others = [f"not {each.family.name} ({each.fault})" for each in tried if each is not taken]
    parts = [f"recognised as --family {taken.family.name} by its outputs' {by}, which are {found.what}"]
    parts += [taken.proof.text(), *others]
    return "; ".join(parts)
