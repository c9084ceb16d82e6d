"""Misses and false alarms by image and by hour, delay to detection, at the working point."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.datasets.clips import Clip
from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.detections import Detections
from edgedet.evaluate.alert_figures import clip_alerts, describe, rule_at
from edgedet.evaluate.application_figures import EACH_FRAME, ClipFigures, ImageRates
from edgedet.evaluate.collector import Collector
from edgedet.evaluate.detection_delay import delay_of, delays_of_objects, runs
from edgedet.evaluate.footage import Footage
from edgedet.evaluate.intervals import rate, share
from edgedet.evaluate.matching import State
from edgedet.evaluate.negatives import FalseAlarm, NegativeGroup, group_names
from edgedet.evaluate.row_store import RowStore
from edgedet.watching.rule import AlertRule


@dataclass(frozen=True)
class _Recording:
    """What could be read of a clip, by the collector's numbers of images."""

    images: tuple[int, ...]
    times: tuple[float, ...]
    step: float

    @property
    def hours(self) -> float:
        return len(self.images) * self.step / 3600


class Application:
    """The figures of one pass at one threshold.

    Args:
        collector: what the pass left.
        dataset: judged, with the labels of the collector.
        negatives: object-free pictures from elsewhere.
        footage: clips of both.
        threshold: of the working point.
    """

    def __init__(
        self,
        collector: Collector,
        dataset: Dataset,
        negatives: Dataset | None,
        footage: Footage,
        threshold: float,
    ) -> None:
        self._collector = collector
        self._dataset = dataset
        self._negatives = negatives
        self._threshold = threshold
        count = len(collector.numbers)
        here = {number: image for image, number in enumerate(collector.numbers)}
        there = {number: count + place for place, number in enumerate(collector.negatives)}
        self._recordings = (*_recordings(footage.dataset, here), *_recordings(footage.negatives, there))
        self._kept = _at_least(collector.rows, threshold)
        self._strays = _at_least(collector.strays, threshold)
        # Images of one clip are one unit, others are one each.
        units = np.arange(len(collector.top))
        for recording in self._recordings:
            units[list(recording.images)] = recording.images[0]
        _, self._units = np.unique(units, return_inverse=True)
        alone = len(collector.top) - sum(len(recording.images) for recording in self._recordings)
        self._unit = "clip" if not alone else "clip or image" if self._recordings else "image"

    def image_rates(self) -> ImageRates:
        """How often by image."""
        collector, count = self._collector, len(self._collector.numbers)
        top = np.array(collector.top, np.float32)
        with_box = top >= np.float32(self._threshold)
        to_find, empty = np.array(collector.to_find, np.int64), np.array(collector.empty, np.bool_)
        mine = np.arange(len(top)) < count
        true = np.bincount(self._kept["image"][self._kept["state"] == State.TRUE], minlength=len(top))
        false = np.bincount(self._kept["image"][self._kept["state"] == State.FALSE], minlength=len(top))
        false += np.bincount(self._strays["image"], minlength=len(top))
        return ImageRates(
            misses=share(self._by_unit((to_find > 0) & ~with_box), self._by_unit(to_find > 0), unit=self._unit),
            false_alarms=share(self._by_unit(empty & with_box), self._by_unit(empty), unit=self._unit),
            missed_objects=rate(self._by_unit((to_find - true) * mine), self._by_unit(mine), unit=self._unit),
            false_boxes=rate(self._by_unit(false), self._by_unit(np.ones(len(top))), unit=self._unit),
        )

    def negative_groups(self) -> tuple[NegativeGroup, ...]:
        """The folders of the negatives, by their names."""
        if self._negatives is None or not self._collector.negatives:
            return ()
        first = len(self._collector.numbers)
        named = group_names(self._negatives)
        names = [named[number] for number in self._collector.negatives]
        top = np.array(self._collector.top[first:], np.float32)
        with_box = top >= np.float32(self._threshold)
        found = []
        for name in sorted(set(names)):
            mine = np.array([each == name for each in names])
            _, units = np.unique(self._units[first:][mine], return_inverse=True)
            false = np.bincount(units, with_box[mine]).astype(np.int64)
            in_clips = len(set(units.tolist())) < mine.sum()
            found.append(
                NegativeGroup(name, share(false, np.bincount(units), unit="clip" if in_clips else "image"))
            )
        return tuple(found)

    def false_alarms(self) -> tuple[FalseAlarm, ...]:
        """The negatives with a box, the surest first."""
        if self._negatives is None:
            return ()
        first = len(self._collector.numbers)
        named = group_names(self._negatives)
        found = []
        images, boxes = np.unique(self._strays["image"], return_counts=True)
        for image, count in zip(images.tolist(), boxes.tolist(), strict=True):
            number = self._collector.negatives[image - first]
            path = str(self._negatives.images[number].path)
            found.append(FalseAlarm(number, path, named[number], self._collector.top[image], count))
        return tuple(sorted(found, key=lambda alarm: (-alarm.score, alarm.number)))

    def clip_figures(self) -> ClipFigures | None:
        """Each frame by itself; None without clips."""
        if not self._recordings or self._collector.found is None:
            return None
        objects = self._collector.found.all()
        detections = np.concatenate([self._kept[["image", "label"]], self._strays[["image", "label"]]])
        false, delays = [], []
        by_clip = zip(self._recordings, self._by_recording(objects), self._by_recording(detections), strict=True)
        for recording, mine, boxes in by_clip:
            place = {image: place for place, image in enumerate(recording.images)}
            there = set(zip(mine["image"].tolist(), mine["label"].tolist(), strict=True))
            alarms = set(zip(boxes["image"].tolist(), boxes["label"].tolist(), strict=True)) - there
            by_label: dict[int, list[int]] = {}
            for image, label in alarms:
                by_label.setdefault(label, []).append(place[image])
            false.append(sum(len(runs(places)) for places in by_label.values()))
            sightings = [
                (place[image], label, self._mark(image, row), np.float32(score) >= np.float32(self._threshold))
                for image, row, label, score, counted in mine.tolist()
                if counted
            ]
            delays.append(delays_of_objects(sightings, recording.times))
        return self._figures(EACH_FRAME, false, delays)

    def alert_figures(self, rules: Sequence[AlertRule]) -> ClipFigures | None:
        """With alert rules at the threshold; None without clips or rules."""
        if not self._recordings or not rules or self._collector.boxes is None:
            return None
        rules = [rule_at(rule, self._threshold) for rule in rules]
        boxes = _at_least(self._collector.boxes, min(rule.lowest for rule in rules))
        starts = np.searchsorted(boxes["image"], np.arange(len(self._collector.top) + 1))
        false, delays = [], []
        for recording in self._recordings:
            records = [self._record(image) for image in recording.images]
            found = [
                Detections(rows["box"], rows["score"], rows["label"], self._collector.names, size)
                for image, (record, size) in zip(recording.images, records, strict=True)
                for rows in (boxes[starts[image] : starts[image + 1]],)
            ]
            truth = [record for record, _ in records]
            alerts = clip_alerts(rules, self._collector.names, found, truth, recording.times)
            false.append(alerts.false)
            delays.append(list(alerts.delays))
        return self._figures(describe(rules), false, delays)

    def _figures(self, by: str, false: list[int], delays: list[list[float]]) -> ClipFigures:
        hours = [recording.hours for recording in self._recordings]
        missed = [sum(map(math.isinf, each)) for each in delays]
        return ClipFigures(
            by=by,
            clips=len(self._recordings),
            frames=sum(len(recording.images) for recording in self._recordings),
            seconds=math.fsum(len(recording.images) * recording.step for recording in self._recordings),
            false_alarms=rate(false, hours, unit="clip"),
            missed=share(missed, [len(each) for each in delays], unit="clip"),
            misses=rate(missed, hours, unit="clip"),
            delay=delay_of(delays),
        )

    def _by_recording(self, rows: NDArray[Any]) -> list[NDArray[Any]]:
        """Rows with an ``image``, clip by clip; those of no clip are left out."""
        clip = np.full(len(self._collector.top), -1)
        for number, recording in enumerate(self._recordings):
            clip[list(recording.images)] = number
        of_row = clip[rows["image"]]
        order = np.argsort(of_row, kind="stable")
        ends = np.searchsorted(of_row[order], np.arange(len(self._recordings) + 1))
        return [rows[order[first:last]] for first, last in itertools.pairwise(ends)]

    def _by_unit(self, values: NDArray[Any]) -> NDArray[np.int64]:
        return np.bincount(self._units, values).astype(np.int64)

    def _mark(self, image: int, row: int) -> Any:
        marks = self._dataset.images[self._collector.numbers[image]].instances
        return None if marks is None else marks[row]

    def _record(self, image: int) -> tuple[ImageRecord | None, tuple[int, int]]:
        """Record of an image of the dataset, None for a negative, and the height and width of either."""
        numbers = self._collector.numbers
        if image < len(numbers):
            record = self._dataset.images[numbers[image]]
            return record, (record.height, record.width)
        assert self._negatives is not None
        negative = self._negatives.images[self._collector.negatives[image - len(numbers)]]
        return None, (negative.height, negative.width)


def _recordings(clips: Iterable[Clip], images: dict[int, int]) -> list[_Recording]:
    """What could be read of the clips."""
    found = []
    for clip in clips:
        read = [
            (images[number], time) for number, time in zip(clip.images, clip.times, strict=True) if number in images
        ]
        if read:
            found.append(_Recording(tuple(image for image, _ in read), tuple(time for _, time in read), clip.step))
    return found


def _at_least(store: RowStore, threshold: float) -> NDArray[Any]:
    parts = [block[block["score"] >= np.float32(threshold)] for block in store.blocks()]
    return np.concatenate(parts) if parts else store.all()
