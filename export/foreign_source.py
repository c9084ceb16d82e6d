"""From another tool's ONNX graph, and what was asked for, to a float graph and its card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edgedet.errors import UsageError

from .built_graph import BuiltGraph, card_of, graph_options, invented_names
from .checkpoints.class_names import renamed_note, require_same_order
from .families import foreign_family, yolo
from .families.base import ForeignFamily
from .families.reading_proof import require_places
from .families.recognition import recognised_family
from .families.stated_outputs import stated_family
from .foreign import ForeignGraph
from .options import ExportOptions
from .request_checks import require_label_mode


def from_foreign(foreign: ForeignGraph, source: Path, options: ExportOptions) -> BuiltGraph:
    if options.proposals is not None:
        raise UsageError("--proposals is for Faster R-CNN; one-stage detectors have no region proposals")
    if options.outside_proposals is not None:
        raise UsageError(
            f"--outside-proposals is for checkpoints of Faster R-CNN, whose second stage stands apart; {source} is "
            "an ONNX file"
        )
    for name, value in (("arch", options.arch), ("detector", options.detector)):
        if value is not None:
            raise UsageError(f"--{name} is for checkpoints; {source} is an ONNX file")
    if options.batch != foreign.batch:
        raise UsageError(
            f"{source} was exported for batch {foreign.batch}, --batch asks for {options.batch}; the batch of a "
            "foreign graph cannot be changed: export it anew from its training framework"
        )
    require_same_order(options.classes or (), yolo.class_names(foreign), source)
    names = options.classes or yolo.class_names(foreign)
    renamed = renamed_note(names, yolo.class_names(foreign))
    family, why = _foreign_family(foreign, options, names)
    family.require_inner_nms(foreign)
    asked = replace(graph_options(options), names=names)
    if options.family is not None and not yolo.is_known(foreign):
        require_places(family, foreign, replace(asked, iou=None), len(names) or None)
    found = family.export(foreign, asked, len(names) or None)
    require_label_mode(options, found.exported.output, source)
    assumed = found.assumed
    names = found.names or names
    if not names:
        names, invented = invented_names(found.classes)
        assumed = (*assumed, invented)
    architecture = (foreign.metadata.get("description") or found.architecture).strip()
    card = card_of(found.exported, found.family, architecture, names)
    said: dict[str, Any] = {"nms": "none"} if found.chosen else {}
    licence = foreign.metadata.get("license")
    if licence:
        said |= {"licence": licence, "author": foreign.metadata.get("author", "")}
    return BuiltGraph(
        found.exported.model,
        replace(card, provenance=card.provenance | said),
        "an ONNX graph is all that comes from it; edgedet eval judges the result on labelled images",
        notes=(*why, *found.notes, *renamed),
        assumed=assumed,
    )


def _foreign_family(
    foreign: ForeignGraph, options: ExportOptions, names: tuple[str, ...]
) -> tuple[ForeignFamily, tuple[str, ...]]:
    """The family of a foreign graph, and, where nobody said it, by what it was recognised."""
    if options.outputs is not None:
        return stated_family(options.outputs), ()
    if yolo.is_known(foreign):
        family = foreign_family(options.family or yolo.YOLO.name)
        if not family.with_metadata:
            raise UsageError(
                f"{foreign.path} carries the metadata of Ultralytics or YOLOv5, --family says {family.name}; leave "
                "--family out"
            )
        return family, ()
    if options.family is not None:
        return foreign_family(options.family), ()
    return recognised_family(foreign, names)
