"""Whether scores and class numbers are what ``--outputs`` says: held against what a trial run shows of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import ArtifactError
from edgedet.outputs.plausible_values import score_range, sums_to_one

from ..foreign import ForeignGraph
from .end_to_end_trial import counts_from_zero
from .output_reading import Part, Reading
from .outputs_to_contract import numbers_of
from .trial import observe
from .trial_evidence import Evidence

Array = NDArray[Any]

BACKGROUND_SHARE = 0.5
"""Mean probability of the background over all boxes, of a network that knows anything."""


def require_scores(foreign: ForeignGraph, reading: Reading, evidence: Evidence) -> None:
    """Run the graph: scores that pass a sigmoid twice, and a background among the classes, look like any others.

    What it shows, and what not, is added to ``evidence``.

    Raises:
        ArtifactError: an activation of what is from 0 to 1 already, a background that is not stated, or another.
    """
    spread = 255.0 if reading.picture is None else max(reading.picture.std)
    frames = observe(foreign, scale=1 / 255 if spread > 2 else 1.0, colour="RGB")
    seen = {part: numbers_of(part, frames[part.tensor]) for part in reading.tensors()}
    _require_unsquashed(foreign, reading.scores, reading.activation, seen, "scores")
    if reading.objectness is not None:
        _require_unsquashed(foreign, reading.objectness, reading.objectness_activation, seen, "objectness")
    if reading.background is None:
        _require_no_background(foreign, reading, seen[reading.scores])
    elif seen[reading.scores].ndim == 3:
        _require_background(foreign, reading, _rows(seen[reading.scores]), evidence)
    if reading.activation == "sigmoid" and reading.labels is None:
        evidence.unshown.append("whether a sigmoid or a softmax makes probabilities of the scores")
    if reading.labels is not None:
        zero = bool((seen[reading.labels] == 0).any())
        if reading.first_label == 0 and (zero or counts_from_zero(foreign.model, reading.labels.tensor)):
            evidence.shown.append("classes are counted from 0")
        else:
            evidence.unshown.append("whether classes are counted from 0 or from 1")


def _require_unsquashed(
    foreign: ForeignGraph, part: Part, activation: str, seen: dict[Part, Array], key: str
) -> None:
    if activation != "none" and score_range(seen[part]) is None:
        say = f"{key}={part.text()}" + (":none" if key == "scores" else "")
        raise ArtifactError(
            f"{foreign.path}: {part.text()} is from 0 to 1 already on all pictures of a trial run, so that "
            f":{activation} would squash it twice; say {say}"
        )


def _require_no_background(foreign: ForeignGraph, reading: Reading, scores: Array) -> None:
    """Judge ``scores`` [F, ., .] as the network gives them, of which none is said to be the background's.

    Raises:
        ArtifactError: one of them must be.
    """
    said = reading.scores.text()
    alone = reading.objectness is None and reading.labels is None
    if reading.activation == "softmax" and alone:
        raise ArtifactError(
            f"{foreign.path}: a softmax over the classes alone gives every box one of them; say which score is the "
            f"background's: scores={said}:softmax+bg (the first) or :softmax+bg_last"
        )
    if reading.activation == "softmax" and reading.labels is not None:
        raise ArtifactError(
            f"{foreign.path}: a softmax of one score a box is always 1; beside labels= say scores={said}:none or "
            ":sigmoid"
        )
    if reading.activation == "none" and alone and scores.ndim == 3 and sums_to_one(_rows(scores)):
        raise ArtifactError(
            f"{foreign.path}: {said} sums to 1 in every box, as a softmax over classes and background does; say "
            f"which is the background: scores={said}:none+bg (the first) or :none+bg_last"
        )


def _require_background(foreign: ForeignGraph, reading: Reading, scores: Array, evidence: Evidence) -> None:
    """Judge ``scores`` [R, C] as the network gives them, one of which is said to be the background's.

    Raises:
        ArtifactError: it stands at the other end.
    """
    if reading.activation == "softmax":
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores = powers / powers.sum(axis=1, keepdims=True)
    elif reading.activation == "sigmoid":
        scores = 1 / (1 + np.exp(-np.clip(scores, -60, 60)))
    means = scores.mean(axis=0)
    ends = {"first": means[0], "last": means[-1]}
    end, other = ("first", "last") if reading.background == "first" else ("last", "first")
    if ends[other] > BACKGROUND_SHARE > ends[end]:
        word = "+bg_last" if other == "last" else "+bg"
        said = reading.scores.text()
        raise ArtifactError(
            f"{foreign.path}: --outputs says that the {end} score of {said} is the background's, but on a trial "
            f"run nearly every box has the {other} one ({ends[other]:.0%} on average); say "
            f"scores={said}:{reading.activation}{word}"
        )
    if ends[end] > BACKGROUND_SHARE:
        evidence.shown.append(f"the {end} score is the background's")
    else:
        evidence.unshown.append("which score is the background's, if any (+bg and +bg_last fit alike)")


def _rows(scores: Array) -> Array:
    """[R, C] of ``scores`` [F, A, C], or [F, C, A] where there are fewer classes than boxes."""
    rows = scores.transpose(0, 2, 1) if scores.shape[1] < scores.shape[2] else scores
    return np.asarray(rows.reshape(-1, rows.shape[2]), np.float32)
