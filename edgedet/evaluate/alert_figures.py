"""What an alert rule makes of the detections of clips: alerts that are right, alerts that are false, and when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgedet.datasets.dataset import ImageRecord
from edgedet.detections import Detections
from edgedet.evaluate.detection_delay import runs
from edgedet.evaluate.matching import counted_objects
from edgedet.pictures.frames import Frame
from edgedet.watching.rule import AlertRule
from edgedet.watching.watcher import Watcher

BLANK = np.zeros((1, 1, 3), np.uint8)
"""A watcher looks at no pixels."""


@dataclass(frozen=True)
class ClipAlerts:
    """Alerts of one clip. ``false``: number of those that began while no object of their classes was there.
    ``delays``: seconds from each visit's first frame to its alert, infinite without one."""

    false: int
    delays: tuple[float, ...]


def rule_at(rule: AlertRule, threshold: float) -> AlertRule:
    """The rule with a detector's working point as the score that begins an alert."""
    keep = None if rule.keep_conf is None else min(rule.keep_conf, threshold)
    return replace(rule, conf=threshold, keep_conf=keep)


def describe(rules: Sequence[AlertRule]) -> str:
    """What an alert takes, the classes apart, for people.

    >>> describe([AlertRule(("cat",), frames=(3, 5)), AlertRule(("dog",), frames=(3, 5), min_size=0.1)])
    '3/5 frames of one track; 3/5 frames of one track, size from 0.1'
    """
    return "; ".join(dict.fromkeys(_words(rule) for rule in rules))


def _words(rule: AlertRule) -> str:
    needed, looked = rule.frames
    words = [f"{needed}/{looked} frames of {'one track' if rule.evidence == 'track' else 'the class'}"]
    if rule.min_size:
        words.append(f"size from {rule.min_size:g}")
    if rule.region is not None:
        words.append("in the region")
    if rule.keep_conf is not None:
        words.append(f"kept by {rule.keep_conf:g}")
    if rule.hold != 1.0:
        words.append(f"hold {rule.hold:g} s")
    return ", ".join(words)


def clip_alerts(
    rules: Sequence[AlertRule],
    names: tuple[str, ...],
    found: Sequence[Detections],
    truth: Sequence[ImageRecord | None],
    times: Sequence[float],
) -> ClipAlerts:
    """Run rules over one clip.

    An alert is false where none of the rule's classes is there when it begins, wherever in the picture. A visit is
    as long as frame after frame shows something the rule is about: of its classes, and where it says so, of its
    size and in its region. It is alerted of by the alert that begins in it, or at once where one that was right
    still lasts; a false one that lasts hides it.

    Args:
        rules: with the scores they are to be run with.
        names: class names of ``found`` and ``truth``.
        found: detections of each frame.
        truth: record of each frame; None for one without objects.
        times: of the frames, in seconds.
    """
    begins: dict[str, list[int]] = {rule.label: [] for rule in rules}
    lasting: dict[str, list[int]] = {rule.label: [-1] * len(found) for rule in rules}
    begun: dict[str, int] = {}
    watcher = Watcher(rules, names, clock="time")
    for place, detections in enumerate(found):
        frame = Frame(BLANK, "clip", place, time=times[place], source="clip")
        for event in watcher.update(frame, detections)[1]:
            if event.event == "begin":
                begins[event.rule].append(place)
                begun[event.rule] = place
            else:
                begun.pop(event.rule, None)
        for label, since in begun.items():
            lasting[label][place] = since
    false, delays = 0, []
    for rule in rules:
        there, wanted = _there(rule, names, truth)
        false += sum(not there[place] for place in begins[rule.label])
        for first, last in runs(np.flatnonzero(wanted).tolist()):
            since = lasting[rule.label][first]
            if 0 <= since < first and there[since]:
                delays.append(0.0)
                continue
            told = [place for place in begins[rule.label] if first <= place <= last]
            delays.append(times[told[0]] - times[first] if told else math.inf)
    return ClipAlerts(false, tuple(delays))


def _there(
    rule: AlertRule, names: tuple[str, ...], truth: Sequence[ImageRecord | None]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """By frame, whether any object of the rule's classes is there, and whether one that it is to alert of is."""
    labels = [label for label, name in enumerate(names) if name in rule.classes]
    there, wanted = np.zeros(len(truth), np.bool_), np.zeros(len(truth), np.bool_)
    for place, record in enumerate(truth):
        if record is None or not len(record):
            continue
        there[place] = bool(np.isin(record.labels, labels).any())
        counted = record.keep(counted_objects(record))
        objects = Detections(
            counted.boxes.astype(np.float32),
            np.ones(len(counted), np.float32),
            counted.labels,
            names,
            (record.height, record.width),
        )
        wanted[place] = bool(rule.matching(objects).any())
    return there, wanted
