"""One object over many frames: boxes joined to tracks, as ByteTrack does it.

Y. Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022; the filter of
A. Bewley et al., "Simple Online and Realtime Tracking", ICIP 2016; boxes with a margin, so that small things that
move fast still overlap, of F. Yang et al., "Hard to Track Objects with Irregular Motions and Similar Appearances?
Make It Easier by Buffering the Matching Space", WACV 2023. docs/decisions/013 says why it is our own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgedet.box_overlap import overlap
from edgedet.detections import Detections
from edgedet.errors import UsageError
from edgedet.watching.assignment import assign
from edgedet.watching.motion import Motion

TRACK = "track"
"""Name of the track ids in ``Detections.data``."""
NO_TRACK = -1
MARGIN = 0.3
"""Share of its sides by which a box is widened on each side before it is held against another."""
MIN_IOU = 0.2
"""Minimum IoU of widened boxes, for detections that may begin a track."""
MIN_IOU_WEAK = 0.3
"""The same for weaker ones, which only go on with a track that was there a frame ago."""


class Tracker:
    """Gives each object of one source a number that stays. A track is of one class.

    Args:
        start: a detection with at least this score begins a track; weaker ones only go on with one.
        weakest: minimum score of those; below ``start``.
        patience: seconds that an object may be hidden and keep its number.
        numbers: where numbers come from; trackers that share it give none twice.

    Raises:
        UsageError: ``start`` or ``weakest`` outside [0, 1], or ``patience`` not above 0.

    >>> tracker = Tracker(start=0.5)
    >>> found = Detections([[0, 0, 40, 40], [90, 90, 99, 99]], [0.9, 0.2], [1, 0], ("cup", "phone"), (100, 100))
    >>> tracker.update(found, 10.0).data["track"].tolist()
    [1, -1]
    >>> moved = Detections([[4, 0, 44, 40]], [0.3], [1], ("cup", "phone"), (100, 100))
    >>> tracker.update(moved, 10.1).data["track"].tolist()
    [1]
    """

    def __init__(
        self,
        *,
        start: float = 0.5,
        weakest: float = 0.1,
        patience: float = 1.0,
        numbers: Iterator[int] | None = None,
    ) -> None:
        for name, score in (("start", start), ("weakest", weakest)):
            if not 0 <= score <= 1:
                raise UsageError(f"{name} is {score!r}, expected a score from 0 to 1")
        if not 0 < patience < math.inf:
            raise UsageError(f"patience is {patience!r}, expected seconds above 0")
        self._start = start
        self._weakest = weakest
        self._patience = patience
        self._numbers = numbers or itertools.count(1)
        self.forget()

    def forget(self) -> None:
        """End all tracks, as when the source was away."""
        self._motion = Motion()
        self._ids = np.zeros(0, np.int64)
        self._labels = np.zeros(0, np.int32)
        self._seen = np.zeros(0)
        self._now = -math.inf

    def update(self, detections: Detections, time: float) -> Detections:
        """Join the detections of the next frame to tracks.

        Args:
            detections: of one frame. What has track ids already keeps them.
            time: of the frame, in seconds from any beginning. Frames may be left out.

        Returns:
            The same with track ids, int64 [N], in ``data["track"]``; -1 for what is too weak to begin a track.
        """
        if TRACK in detections.data:
            return detections
        before = self._now
        if not 0 <= time - before <= self._patience:
            # A clock that was set back, or a pause in which anything may have moved.
            self.forget()
            before = time
        self._now = time
        self._motion.pass_time(time - before)
        self._keep(time - self._seen <= self._patience)
        ids = np.full(len(detections), NO_TRACK, np.int64)
        strong = detections.scores >= np.float32(self._start)
        free = np.ones(len(self._ids), bool)
        self._join(detections, ids, free, strong, MIN_IOU)
        # A weak detection is taken for an object only where one was a moment ago.
        free &= self._seen == before
        weak = ~strong & (detections.scores >= np.float32(self._weakest))
        self._join(detections, ids, free, weak, MIN_IOU_WEAK)
        new = np.flatnonzero(strong & (ids == NO_TRACK))
        ids[new] = [next(self._numbers) for _ in new]
        self._motion.add(detections.boxes[new])
        self._ids = np.concatenate([self._ids, ids[new]])
        self._labels = np.concatenate([self._labels, detections.labels[new]])
        self._seen = np.concatenate([self._seen, np.full(len(new), time)])
        return replace(detections, data={**detections.data, TRACK: ids})

    def _join(
        self,
        detections: Detections,
        ids: NDArray[np.int64],
        free: NDArray[np.bool_],
        which: NDArray[np.bool_],
        least: float,
    ) -> None:
        """Give the free tracks to detections ``which``; neither ``ids`` nor ``free`` has them any more."""
        tracks, boxes = np.flatnonzero(free), np.flatnonzero(which)
        if not len(tracks) or not len(boxes):
            return
        gains = overlap(_widened(self._motion.boxes[tracks]), _widened(detections.boxes[boxes]), over="union")
        same = self._labels[tracks][:, None] == detections.labels[boxes]
        pairs = assign(np.where(same & (gains >= least), gains, 0.0))
        if not pairs:
            return
        rows, columns = (np.array(side) for side in zip(*pairs, strict=True))
        joined, found = tracks[rows], boxes[columns]
        ids[found] = self._ids[joined]
        self._motion.correct(joined, detections.boxes[found])
        self._seen[joined] = self._now
        free[joined] = False

    def _keep(self, which: NDArray[np.bool_]) -> None:
        self._motion.keep(which)
        self._ids, self._labels, self._seen = self._ids[which], self._labels[which], self._seen[which]


def _widened(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    boxes = np.asarray(boxes, np.float64)
    margin = MARGIN * (boxes[:, 2:] - boxes[:, :2])
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)
