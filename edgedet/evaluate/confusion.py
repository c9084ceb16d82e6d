"""What a detector calls the objects it finds: a table of classes by labels, and the order of names it points to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedet.box_overlap import overlap
from edgedet.datasets.dataset import ImageRecord
from edgedet.detections import Detections
from edgedet.evaluate.class_match import match_classes
from edgedet.evaluate.matching import MIN_IOU, counted_objects

NEARLY_ALL = 0.9
"""Minimum share of a class's found objects under one other name for the name, not the detector, to be wrong."""
ENOUGH_OBJECTS = 5
"""Minimum number of found objects of a class for a hint on its name."""


@dataclass(frozen=True)
class Relabelling:
    """The detector's label for each class of the dataset, by the objects found.

    ``labels``: class to label. ``evidence``: of those that have another label than their name says (or no name):
    class, label, objects called so, objects found. ``complete``: False where some classes have too few objects,
    and ``labels`` holds a guess for them.
    """

    labels: dict[int, int]
    evidence: tuple[tuple[int, int, int, int], ...]
    complete: bool


def confusion_table(
    records: Sequence[ImageRecord], found: Sequence[Detections], *, classes: int, labels: int
) -> NDArray[np.int64]:
    """Objects by class and by the label of the best box on them, int64 [classes, labels].

    A box lies on an object where they overlap by an IoU of 0.5, whatever its label. Objects without any are
    counted nowhere.
    """
    table = np.zeros((classes, labels), np.int64)
    for record, detections in zip(records, found, strict=True):
        if not len(detections):
            continue
        on_it = overlap(record.boxes, detections.boxes.astype(np.float64), over="union") >= MIN_IOU
        best = np.where(on_it, detections.scores[None], -1.0).argmax(axis=1)
        seen = on_it.any(axis=1) & counted_objects(record)
        np.add.at(table, (record.labels[seen], detections.labels[best[seen]]), 1)
    return table


def relabelling(table: NDArray[np.int64], own: Sequence[int | None]) -> Relabelling | None:
    """What the names should be, where the detector's labels are those of other classes; None where they are right.

    ``own``: by class, the label that has its name, None where no label has. Where any has, names only change
    places, and only where the whole is (nearly) a permutation: a class that is mistaken for another, which is
    found itself, has the right name all the same.
    """
    claims = _claims(table, own)
    named = [label is not None for label in own]
    if not any(named):
        return _named_anew(table, claims)
    claims = {kind: label for kind, label in claims.items() if named[kind] and label in own}
    moved = {kind: label for kind, label in claims.items() if label != own[kind]}
    in_circles = _circles(moved, own, table, claims)
    if len(in_circles) < len(moved) and (len(moved) < 2 or len(moved) * 2 < len(claims)):
        moved = {kind: moved[kind] for kind in in_circles}
    if not moved:
        return None
    labels = dict(moved)
    places = {label for label in own if label is not None}
    kinds = [kind for kind, label in enumerate(own) if label is not None and kind not in labels]
    for kind in kinds:
        label = own[kind]
        if label is not None and label not in labels.values():
            labels[kind] = label
    left = [kind for kind in kinds if kind not in labels]
    labels |= dict(zip(left, sorted(places - set(labels.values())), strict=True))
    return Relabelling(labels, _evidence(table, moved), complete=len(left) < 2)


def mistaken(table: NDArray[np.int64], own: Sequence[int | None]) -> tuple[tuple[int, int, int, int], ...]:
    """Classes most of whose objects have another class's label: class, label, objects called so, objects found."""
    rows = ((kind, int(row.argmax()), int(row.max()), int(row.sum())) for kind, row in enumerate(table) if row.size)
    return tuple(
        (kind, label, count, total)
        for kind, label, count, total in rows
        if total >= ENOUGH_OBJECTS
        and count * 2 > total
        and own[kind] is not None
        and label in own
        and label != own[kind]
    )


def called_otherwise(
    table: NDArray[np.int64], dataset_names: Sequence[str], detector_names: Sequence[str]
) -> tuple[str, ...]:
    """Classes that are (nearly) always found under another name, with the number of their objects.

    ``table``: int64 [classes, labels], of :func:`confusion_table`.
    """
    match = match_classes(dataset_names, detector_names).labels
    own = [match.index(kind) if kind in match else None for kind in range(len(dataset_names))]
    return tuple(
        f"{count:,} of {total:,} {dataset_names[kind]} that are found are called {detector_names[label]}"
        for kind, label, count, total in mistaken(table, own)
        if count >= NEARLY_ALL * total
    )


def _named_anew(table: NDArray[np.int64], claims: dict[int, int]) -> Relabelling | None:
    """Names for labels that have none."""
    if not claims:
        return None
    labels = dict(claims)
    kinds = [kind for kind in range(table.shape[0]) if kind not in labels]
    free = [label for label in range(table.shape[1]) if label not in labels.values()]
    if len(kinds) == 1 == len(free):
        labels[kinds.pop()] = free[0]
    return Relabelling(labels, _evidence(table, claims), complete=not kinds)


def _claims(table: NDArray[np.int64], own: Sequence[int | None]) -> dict[int, int]:
    """Class to the label that most of its objects have, no label twice."""
    claims: dict[int, tuple[float, int]] = {}
    for kind, row in enumerate(table):
        label = int(row.argmax()) if len(row) else 0
        if row.sum() < ENOUGH_OBJECTS or row[label] * 2 <= row.sum():
            continue
        # Who has a label by name keeps it; else the class that is called so the most.
        share = 2.0 if label == own[kind] else float(row[label] / row.sum())
        rival = next((other for other, (_, taken) in claims.items() if taken == label), None)
        if rival is None or claims[rival][0] < share:
            claims.pop(-1 if rival is None else rival, None)
            claims[kind] = (share, label)
    return {kind: label for kind, (_, label) in claims.items()}


def _circles(
    moved: dict[int, int], own: Sequence[int | None], table: NDArray[np.int64], claims: dict[int, int]
) -> set[int]:
    """The classes of ``moved`` that have exchanged labels among themselves.

    A class of which too little is found may close a circle, where that little has the label that is left rather
    than its own.
    """
    owner = {label: kind for kind, label in enumerate(own) if label is not None}
    found: set[int] = set()
    for start in moved:
        path, kind = [start], owner[moved[start]]
        while kind in moved and kind not in path:
            path.append(kind)
            kind = owner[moved[kind]]
        closed = kind not in claims and table[kind, own[start]] > table[kind, own[kind]]
        if kind == start or closed:
            found.update(path)
    return found


def _evidence(table: NDArray[np.int64], claims: dict[int, int]) -> tuple[tuple[int, int, int, int], ...]:
    return tuple(
        (kind, label, int(table[kind, label]), int(table[kind].sum())) for kind, label in sorted(claims.items())
    )
