"""A detector under one set of settings after another, each only as long as it may still win."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgedet.datasets.dataset import Dataset
from edgedet.detections import Detections
from edgedet.errors import CheckpointError, DatasetError
from edgedet.evaluate.class_match import match_classes, relabel
from edgedet.evaluate.confusion import Relabelling, confusion_table, mistaken, relabelling
from edgedet.evaluate.detection_pass import Progress, require_labels
from edgedet.evaluate.paired import CLEARLY, Matched, match, may_win, mean_average_precision

from ..training.settings import TrainingSettings
from .settings_runs import Variants

USUAL_IMAGES = 64
MIN_IMAGES = 8
"""Minimum number of pictures: resampling fewer tells nothing."""
STAGES = (8, 16)
"""Numbers of pictures after which a value may be given up."""


def chosen_images(dataset: Dataset, limit: int) -> Dataset:
    """At most ``limit`` pictures with objects, spread evenly, of which the first few are spread evenly too.

    Raises:
        DatasetError: no labels, or too few pictures with objects to tell anything.
    """
    require_labels(dataset)
    full = [record for record in dataset.images if not record.crowd.all()]
    if min(len(full), limit) < MIN_IMAGES:
        what = f"{len(full)} images with objects" if len(full) < MIN_IMAGES else f"a limit of {limit} images"
        raise DatasetError(
            f"{dataset.source}: {what} cannot tell one setting from another; {MIN_IMAGES} are the least, "
            f"{USUAL_IMAGES} the usual number"
        )
    order = _spread(range(len(full)), min(limit, len(full)))
    for stage in sorted(STAGES, reverse=True):
        first = _spread(order, min(stage, len(order)))
        order = [*first, *(place for place in order if place not in first)]
    return replace(dataset, images=tuple(full[place] for place in order))


def _spread(values: Sequence[int], count: int) -> list[int]:
    return [values[place * len(values) // count] for place in range(count)]


@dataclass
class Measured:
    """What was found in the first pictures under ``settings``, its labels read as ``names``."""

    settings: TrainingSettings
    names: tuple[str, ...]
    found: list[Detections] = field(default_factory=list)
    matched: Matched = field(default_factory=lambda: match([], [], classes=0))
    stopped: bool = False
    """It could not win any more, and has not seen all pictures."""

    @property
    def map(self) -> float:
        """COCO's mAP on the pictures it has seen."""
        return float(mean_average_precision(self.matched)[0])

    @property
    def figure(self) -> float | None:
        """:attr:`map`; None where no box of any known class was found, which is no figure at all."""
        return None if not self.matched.detections or math.isnan(self.map) else self.map


class Trials:
    """Runs and remembers. ``named``: whether somebody named the classes; labels without names are given those of
    the objects that they lie on, wherever that serves."""

    def __init__(self, variants: Variants, dataset: Dataset, *, named: bool, progress: Progress) -> None:
        self.dataset = dataset
        self._variants = variants
        self.named = named
        self._progress = progress
        self._measured: dict[TrainingSettings, Measured | str] = {}
        self._done = self._planned = 0

    def plan(self, settings: Sequence[TrainingSettings]) -> None:
        """These will be measured next; for the time that is left."""
        new = [entry for entry in settings if entry not in self._measured]
        self._planned = self._done + len(new) * len(self.dataset)

    def measure(
        self, settings: TrainingSettings, names: tuple[str, ...], against: Measured | None = None
    ) -> Measured | str:
        """``settings`` on all pictures, or on as many as show that it will not be better than ``against``; a text
        that says why, where the tensors do not fit."""
        result = self._measured.get(settings) or Measured(settings, names)
        self._measured[settings] = result
        if isinstance(result, str):
            return result
        result.names = names
        stops = [stage for stage in (*STAGES, len(self.dataset)) if stage <= len(self.dataset)]
        try:
            self._continue(result, stops, against)
        except CheckpointError as error:
            self._planned -= len(self.dataset) - len(result.found)
            self._measured[settings] = str(error)
            return str(error)
        return result

    def _continue(self, result: Measured, stops: Sequence[int], against: Measured | None) -> None:
        if result.found:
            self.judge(result)
        for stop in stops:
            seen = len(result.found)
            if seen >= stop:
                continue
            if seen and against is not None and _cannot_win(result, against):
                self._planned -= len(self.dataset) - seen
                result.stopped = True
                return
            result.found += self._variants.detect(result.settings, range(seen, stop))
            self._done += stop - seen
            self._progress("checking", self._done, max(self._done, self._planned))
            self.judge(result)
        result.stopped = False

    def judge(self, result: Measured) -> None:
        """Match what was found."""
        result.matched = self._match(result.found, result.names)
        if self.named:
            return
        anew = self.order(result.found, self._variants.names)
        if anew is not None:
            names = self.names_by(anew, self._variants.names)
            matched = self._match(result.found, names)
            if mean_average_precision(matched)[0] > result.map:
                result.names, result.matched = names, matched

    def renamed(self, result: Measured, names: tuple[str, ...]) -> Measured:
        """The same detections under other names."""
        return replace(result, names=names, matched=self._match(result.found, names))

    def _match(self, found: Sequence[Detections], names: tuple[str, ...]) -> Matched:
        named = [relabel(replace(detections, names=names), self.dataset.names) for detections in found]
        return match(self.dataset.images[: len(found)], named, classes=len(self.dataset.names))

    def order(self, found: Sequence[Detections], names: tuple[str, ...]) -> Relabelling | None:
        """What the labels really are, where that is not what ``names`` say."""
        places = self._places(names) if self.named else [None] * len(self.dataset.names)
        return relabelling(self._table(found, names), places)

    def mistaken(self, result: Measured) -> tuple[tuple[int, int, int, int], ...]:
        """Classes that are called others; see :func:`edgedet.evaluate.confusion.mistaken`."""
        return mistaken(self._table(result.found, result.names), self._places(result.names))

    def _table(self, found: Sequence[Detections], names: tuple[str, ...]) -> NDArray[np.int64]:
        images = self.dataset.images[: len(found)]
        return confusion_table(images, found, classes=len(self.dataset.names), labels=len(names))

    def _places(self, names: tuple[str, ...]) -> list[int | None]:
        """By class of the dataset, the label that has its name."""
        places: list[int | None] = [None] * len(self.dataset.names)
        for label, kind in enumerate(match_classes(self.dataset.names, names).labels):
            if kind >= 0:
                places[kind] = label
        return places

    def names_by(self, order: Relabelling, names: tuple[str, ...]) -> tuple[str, ...]:
        """``names`` in the order found; a class that ``names`` know keeps their spelling."""
        changed = list(names)
        spelt = dict(zip(match_classes(self.dataset.names, names).labels, names, strict=True))
        for kind, label in order.labels.items():
            changed[label] = spelt.get(kind, self.dataset.names[kind])
        return tuple(changed)


def _cannot_win(result: Measured, against: Measured) -> bool:
    """Whether so few pictures show already that ``result`` will not be clearly better."""
    images = len(result.found)
    theirs = against.matched.first(images)
    if images < STAGES[-1]:
        return result.map < float(mean_average_precision(theirs)[0]) / 2
    return result.map < CLEARLY or not may_win(theirs, result.matched)
