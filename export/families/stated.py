"""Outputs that their user states (``--outputs``): read so, and run once, since a slip gives nonsense silently."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from edgedet.errors import ArtifactError
from edgedet.plausible import score_range, sums_to_one

from ..foreign import ForeignGraph
from .base import ForeignExport, ForeignFamily, GraphOptions
from .proof import Proof, proved
from .read_outputs import export_reading, numbers_of
from .reading import Reading, parse_reading
from .trial import observe

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
    _require_activation(foreign, reading)
    made, proof = proved(export, foreign, options)
    # Few boxes that a network chose may be anywhere; those of all anchors are everywhere.
    wrong = proof.faults if reading.nms == "done" else (*proof.faults, *proof.doubts)
    if wrong:
        raise ArtifactError(
            f"{foreign.path}: read as --outputs says, {'; '.join(wrong)}; it gives {_outputs(foreign)}"
        )
    return _with_notes(made, reading, proof)


def _require_activation(foreign: ForeignGraph, reading: Reading) -> None:
    """Run the graph: scores that pass a sigmoid twice, and a background among the classes, look like any others.

    Raises:
        ArtifactError: an activation of what is from 0 to 1 already, or a softmax with no background stated.
    """
    spread = 255.0 if reading.picture is None else max(reading.picture.std)
    frames = observe(foreign, scale=1 / 255 if spread > 2 else 1.0, colour="RGB")
    seen, said = numbers_of(reading.scores, frames[reading.scores.tensor]), reading.scores.text()
    within = score_range(seen) is None
    if reading.activation != "none" and within:
        raise ArtifactError(
            f"{foreign.path}: {said} is from 0 to 1 already on all pictures of a trial run, so that "
            f":{reading.activation} would squash it twice; say scores={said}:none"
        )
    alone = reading.background is None and reading.objectness is None and reading.labels is None
    if reading.activation != "none" or not alone or seen.ndim != 3:
        return
    rows = seen.transpose(0, 2, 1) if seen.shape[1] < seen.shape[2] else seen
    if sums_to_one(rows.reshape(-1, rows.shape[2])):
        raise ArtifactError(
            f"{foreign.path}: {said} sums to 1 in every box, as a softmax over classes and background does; say "
            f"which is the background: scores={said}:none+bg (the first) or :none+bg_last"
        )


def _with_notes(made: ForeignExport, reading: Reading, proof: Proof) -> ForeignExport:
    return replace(made, notes=(*made.notes, f"outputs read as stated: {reading.text()}; {proof.text()}"))


def _outputs(foreign: ForeignGraph) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in foreign.outputs.items())
