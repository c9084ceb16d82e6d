"""Outputs that their user states (``--outputs``): read so, and run once, since a slip gives nonsense silently."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from edgedet.errors import ArtifactError

from ..foreign import ForeignGraph
from .base import ForeignExport, ForeignFamily, GraphOptions
from .output_reading import Reading, parse_reading
from .outputs_to_contract import export_reading
from .reading_proof import Proof, proved
from .stated_box_form import require_form
from .stated_scores import require_scores
from .trial_evidence import Evidence

FAMILY = {"all": "ssd", "best": "yolo", "done": "detr"}
"""For the card, by who suppresses what."""


def stated_family(outputs: str) -> ForeignFamily:
    """The family of a graph whose outputs are read as ``outputs`` says.

    Raises:
        UsageError: words that are none of the grammar's.
    """
    return ForeignFamily("outputs", partial(_export, parse_reading(outputs)), with_metadata=True, inner_nms="any")


def stated_tensors(outputs: str) -> tuple[str, ...]:
    """Names of the tensors that ``outputs`` speaks of.

    Raises:
        UsageError: words that are none of the grammar's.
    """
    return tuple(dict.fromkeys(part.tensor for part in parse_reading(outputs).tensors()))


def _export(reading: Reading, foreign: ForeignGraph, options: GraphOptions, classes: int | None) -> ForeignExport:
    def export(each: GraphOptions) -> ForeignExport:
        return export_reading(
            foreign,
            reading,
            each,
            classes,
            family=FAMILY[reading.nms],  # type: ignore[arg-type]
            architecture="outputs as stated",
        )

    # Refuses outputs that are not there, in its own words.
    export(options)
    evidence = Evidence()
    require_scores(foreign, reading, evidence)
    made, proof = proved(export, foreign, options)
    # Few boxes that a network chose may be anywhere; those of all anchors are everywhere.
    wrong = proof.faults if reading.nms == "done" else (*proof.faults, *proof.doubts)
    if wrong:
        raise ArtifactError(
            f"{foreign.path}: read as --outputs says, {'; '.join(wrong)}; it gives {_outputs(foreign)}"
        )
    require_form(foreign, reading, options, evidence)
    return _with_notes(made, reading, proof, evidence)


def _with_notes(made: ForeignExport, reading: Reading, proof: Proof, evidence: Evidence) -> ForeignExport:
    said = "; ".join(filter(None, (f"outputs read as stated: {reading.text()}", proof.text(), evidence.text())))
    return replace(made, notes=(*made.notes, said))


def _outputs(foreign: ForeignGraph) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in foreign.outputs.items())
