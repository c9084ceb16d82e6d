"""The last step of a detector on the GPU: candidates of a batch to detections, and only those come to the host."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgedet.card import ModelCard
from edgedet.postprocess import Postprocessor, Thresholds
from edgedet.runtimes.base import Array, TensorSpec
from edgedet.runtimes.cuda.device import Cuda
from edgedet.runtimes.cuda.kernels import Launcher, NmsKernels, Suppressed


class Suppression:
    """NMS behind an engine whose outputs are ``boxes`` [N, A, 4] and ``scores`` [N, A, C].

    Gives what :class:`edgedet.postprocess.Postprocessor` gives. Should more candidates pass the threshold than the
    kernels have room for, the host does that image.
    """

    def __init__(
        self, cuda: Cuda, launcher: Launcher, card: ModelCard, thresholds: Thresholds, scores: TensorSpec
    ) -> None:
        self._cuda = cuda
        self._host = Postprocessor(card, thresholds, ("boxes", "scores"))
        self._thresholds = thresholds
        self._batch, rows, columns = scores.shape
        self._strides = (16 * rows, 4 * rows * columns)
        self._kernels = NmsKernels(launcher, card.output, classes=len(card.names), rows=rows, columns=columns)
        wanted = thresholds.max_detections
        # One stretch of memory for all images, so that one copy brings each kind of result to the host.
        self._places = {
            name: launcher.allocate(size * self._batch)
            for name, size in (
                ("boxes", 16 * wanted),
                ("scores", 4 * wanted),
                ("labels", 4 * wanted),
                ("counters", 8),
            )
        }
        self._kept = launcher.allocate(4 * wanted)
        shapes = {"boxes": ((wanted, 4), np.float32), "scores": ((wanted,), np.float32),
                  "labels": ((wanted,), np.int32), "counters": ((2,), np.int32)}  # fmt: skip
        self._results = {name: cuda.pinned((self._batch, *shape), kind) for name, (shape, kind) in shapes.items()}
        self.card = replace(
            card,
            output=replace(
                card.output, format="detections", score_threshold=thresholds.score, max_detections=wanted
            ),
        )
        """Describes what comes out."""
        self.outputs = (
            *(
                TensorSpec(name, self._results[name].shape, self._results[name].dtype)
                for name in ("boxes", "scores", "labels")
            ),
            TensorSpec("count", (self._batch,), np.dtype(np.int32)),
        )

    def enqueue(self, boxes: int, scores: int, stream: int) -> None:
        """Kernels and copies into ``stream``; ``boxes``, ``scores``: addresses of the engine's outputs."""
        wanted = self._thresholds.max_detections
        for image in range(self._batch):
            result = Suppressed(
                self._places["boxes"] + 16 * wanted * image,
                self._places["scores"] + 4 * wanted * image,
                self._places["labels"] + 4 * wanted * image,
                self._places["counters"] + 8 * image,
            )
            self._kernels(
                boxes + self._strides[0] * image,
                scores + self._strides[1] * image,
                result,
                self._kept,
                score=self._thresholds.score,
                iou=self._thresholds.iou,
                wanted=wanted,
            )
        for name, array in self._results.items():
            self._cuda.download(array, self._places[name], stream)

    @property
    def overflowed(self) -> bool:
        """Whether an image of the last run had more candidates than there is room for."""
        return bool((self._results["counters"][:, 0] > self._kernels.capacity).any())

    def results(self) -> dict[str, Array]:
        """The last run's detections, after the stream was waited for."""
        return {name: self._results[name] for name in ("boxes", "scores", "labels")} | {
            "count": self._results["counters"][:, 1]
        }

    def on_host(self, boxes: Array, scores: Array) -> dict[str, Array]:
        """The same from the engine's own outputs, by the host."""
        for array in self._results.values():
            array.fill(0)
        for image in range(self._batch):
            found = self._host.decode([boxes[image], scores[image]])
            count = len(found.scores)
            self._results["boxes"][image, :count] = found.boxes
            self._results["scores"][image, :count] = found.scores
            self._results["labels"][image, :count] = found.labels
            self._results["counters"][image, 1] = count
        return self.results()

    def close(self) -> None:
        """Release the host's side; the launcher owns the rest."""
        for array in self._results.values():
            self._cuda.unpin(array)
        self._results = {}
