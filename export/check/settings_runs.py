"""One trained detector run under one set of settings after another, on the same pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgedet.datasets.dataset import ImageRecord
from edgedet.detections import Detections
from edgedet.detector import Detector
from edgedet.errors import DatasetError, SourceError
from edgedet.pictures.image_file import read_image

from ..checkpoints.trained import TrainedDetector, rebuilt
from ..training.settings import NOTHING_STATED, TrainingSettings
from ..training.torchvision import settings_of

KEPT_BYTES = 256 << 20
"""Bytes of decoded pictures kept in memory; every variant needs them again."""


class Variants(Protocol):
    """A detector that can be run under other settings than its own."""

    names: tuple[str, ...]
    own: TrainingSettings
    """Its settings, stated or assumed: all that it has."""

    def detect(self, settings: TrainingSettings, images: Sequence[int]) -> list[Detections]:
        """What it finds in these images (numbers) with ``settings`` in place of its own.

        Raises:
            CheckpointError: its tensors do not fit them.
        """
        ...


class Frames:
    """The pictures of ``records`` by number; as many as fit stay decoded."""

    def __init__(self, records: Sequence[ImageRecord]) -> None:
        self._records = records
        self._kept: dict[int, NDArray[np.uint8]] = {}
        self._room = KEPT_BYTES

    def __getitem__(self, number: int) -> NDArray[np.uint8]:
        """uint8 [H, W, 3], BGR.

        Raises:
            DatasetError: it cannot be decoded.
        """
        if number in self._kept:
            return self._kept[number]
        path = self._records[number].path
        try:
            frame = read_image(path)
        except SourceError as error:
            raise DatasetError(f"{error}; or take it out of the dataset") from error
        if frame.nbytes <= self._room:
            self._kept[number] = frame
            self._room -= frame.nbytes
        return frame


class TrainedVariants:
    """A checkpoint's detector."""

    def __init__(self, trained: TrainedDetector, frames: Frames) -> None:
        self.names = trained.checkpoint.names
        self.own = complete_settings(trained)
        self._trained = trained
        self._frames = frames
        self._built: tuple[TrainingSettings, nn.Module] = (NOTHING_STATED, trained.module)
        self._workers = ThreadPoolExecutor(_cores(), initializer=torch.set_num_threads, initargs=(1,))

    def detect(self, settings: TrainingSettings, images: Sequence[int]) -> list[Detections]:
        """See :class:`Variants`."""
        if self._built[0] != settings:
            self._built = (settings, self._module(settings))
        module = self._built[1]
        # A whole module takes what it is given: its mean is in the order of its channels already.
        swapped = self._trained.checkpoint.module is not None and settings.colour == "BGR"
        return list(self._workers.map(lambda number: self._one(module, self._frames[number], swapped), images))

    def _module(self, settings: TrainingSettings) -> nn.Module:
        checkpoint = self._trained.checkpoint
        if settings == NOTHING_STATED or checkpoint.module is not None:
            return self._trained.module
        stated = self._trained.stated
        if stated.norm_eps is None:
            # Frozen norms are given one that torchvision's own constructor does not have.
            stated = replace(stated, norm_eps=self.own.norm_eps)
        return rebuilt(checkpoint, settings.over(stated))

    def _one(self, module: nn.Module, frame: NDArray[np.uint8], swapped: bool) -> Detections:
        image = torch.from_numpy(frame if swapped else np.ascontiguousarray(frame[..., ::-1]))
        with torch.inference_mode():
            (found,) = module([image.permute(2, 0, 1).float().div(255)])
        boxes, scores, labels = (found[name].numpy() for name in ("boxes", "scores", "labels"))
        # Numbers that a wrong scale lets overflow are no boxes.
        sound = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
        return Detections(
            boxes[sound],
            scores[sound],
            labels[sound].astype(np.int32) - 1,
            names=self.names,
            frame_size=(frame.shape[0], frame.shape[1]),
        )

    def close(self) -> None:
        """Let the threads go."""
        self._workers.shutdown()


class FixedVariant:
    """A graph or an engine, in which nothing can be set any more."""

    def __init__(self, detector: Detector, frames: Frames) -> None:
        self.names = detector.card.names
        self.own = NOTHING_STATED
        self._detector = detector
        self._frames = frames

    def detect(self, settings: TrainingSettings, images: Sequence[int]) -> list[Detections]:
        """See :class:`Variants`."""
        return [self._detector.detect(self._frames[number]) for number in images]


@contextmanager
def variants_of(trained: TrainedDetector, records: Sequence[ImageRecord]) -> Iterator[TrainedVariants]:
    """The variants of a checkpoint, torch's threads as they were afterwards."""
    before = torch.get_num_threads()
    variants = TrainedVariants(trained, Frames(records))
    try:
        yield variants
    finally:
        variants.close()
        torch.set_num_threads(before)


def complete_settings(trained: TrainedDetector) -> TrainingSettings:
    """Every setting of a detector, stated or assumed, in the terms they are stated in."""
    has = settings_of(trained.module)
    own: dict[str, Any] = {"colour": "RGB"}
    if trained.stated.colour == "BGR" and trained.checkpoint.module is None:
        # In the module they are in the order of RGB.
        own |= {name: getattr(has, name)[::-1] for name in ("image_mean", "image_std")}
    return trained.stated.over(replace(has, **own))


def _cores() -> int:
    """One thread an image: on several, the many small layers of such networks mostly wait for each other."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(available, 4))
