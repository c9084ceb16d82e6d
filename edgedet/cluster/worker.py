"""What a worker does with pictures: opens the artifact once, then reads and detects, batch by batch.

Whatever goes wrong is an answer, in the words of one machine. Only a worker that dies gives no answer, and Ray has
its pictures done again.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet import __version__
from edgedet.cluster.shipped import Shipped
from edgedet.detections import Detections
from edgedet.detector import Detector
from edgedet.errors import ClusterError, EdgedetError, FrameError, SourceError
from edgedet.pictures.image_file import read_image

Answer = Detections | tuple[str, str]
"""Detections of a picture, or the name of an error's class and its sentence."""


@dataclass(frozen=True)
class Order:
    """What workers are to open, and how.

    Attributes:
        artifact: its files.
        options: of :class:`edgedet.Detector`.
        version: of edgedet, where the order was given.
        description: of the detector there.
        device: kind of device it runs on there.
    """

    artifact: Shipped
    options: Mapping[str, Any]
    version: str
    description: str
    device: str


def open_order(order: Order) -> Detector:
    """The detector that was ordered.

    Raises:
        ClusterError: another version of edgedet or of the runtime, or another device.
    """
    if order.version != __version__:
        raise ClusterError(
            f"a worker has edgedet {__version__} and this machine {order.version}; install the same on all nodes"
        )
    with tempfile.TemporaryDirectory(prefix="edgedet-worker-") as folder:
        detector = Detector(order.artifact.unpack(Path(folder)), **order.options)
    if detector.description != order.description:
        found = detector.description
        detector.close()
        raise ClusterError(
            f"a worker runs the artifact with {found} and this machine with {order.description}; install the same "
            "on all nodes, or name a --runtime that all have"
        )
    return detector


class PictureWork:
    """Paths of pictures to packed answers; the detector stays open from one list of paths to the next.

    Args:
        order: an :class:`Order`, as a reference into Ray's store, in a list.
    """

    def __init__(self, order: Sequence[Any]) -> None:
        self._order = order
        self._detector: Detector | None = None

    def __call__(self, paths: Sequence[str]) -> bytes:
        """Pickled list of answers, one for each path."""
        try:
            if self._detector is None:
                import ray

                self._detector = open_order(ray.get(self._order[0]))
            found = answers(self._detector, paths)
        except EdgedetError as error:
            found = [_said(error)] * len(paths)
        return pickle.dumps(found, pickle.HIGHEST_PROTOCOL)


def answers(detector: Detector, paths: Sequence[str]) -> list[Answer]:
    """Detections of every picture, or why there are none; as many pictures at once as the artifact's batch."""
    found: list[Answer | None] = [None] * len(paths)
    batch = max(detector.card.input.batch, 1)
    waiting: list[tuple[int, Any]] = []
    for place, path in enumerate(paths):
        try:
            waiting.append((place, read_image(Path(path))))
        except SourceError as error:
            found[place] = _said(error)
        if len(waiting) == batch:
            _detect(detector, waiting, found)
            waiting = []
    if waiting:
        _detect(detector, waiting, found)
    return [answer for answer in found if answer is not None]


def _detect(detector: Detector, waiting: Sequence[tuple[int, Any]], found: list[Answer | None]) -> None:
    try:
        results = detector.detect_batch([frame for _, frame in waiting])
    except EdgedetError as error:
        if len(waiting) > 1 and isinstance(error, FrameError):
            for one in waiting:  # the others are not to blame
                _detect(detector, [one], found)
            return
        for place, _ in waiting:
            found[place] = _said(error)
        return
    for (place, _), result in zip(waiting, results, strict=True):
        found[place] = result


def _said(error: EdgedetError) -> tuple[str, str]:
    return type(error).__name__, str(error)
