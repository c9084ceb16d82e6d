"""The last step of a detector on the GPU: candidates of a batch to detections, and only those come to the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgedet.artifacts.card import ModelCard
from edgedet.postprocess import ULTRALYTICS_CLASS_STEP, Postprocessor, Thresholds

from ..base import Array, TensorSpec
from .device import Cuda
from .kernels import Launcher, NmsKernels, Suppressed


class Suppression:
    """NMS behind an engine whose outputs are ``boxes`` [N, A, 4] and ``scores`` [N, A, C], or Ultralytics' one
    tensor [N, 4 + C, A]: those of ``outputs`` that :func:`sources` names.

    Gives what :class:`edgedet.postprocess.Postprocessor` gives. Should more candidates pass the threshold than the
    kernels have room for, the host does that image.
    """

    def __init__(
        self,
        cuda: Cuda,
        launcher: Launcher,
        card: ModelCard,
        thresholds: Thresholds,
        outputs: tuple[TensorSpec, ...],
    ) -> None:
        self._cuda = cuda
        self._thresholds = thresholds
        self.sources = sources(card, outputs)
        """Names of the engine's outputs that it reads."""
        self._host = Postprocessor(card, thresholds, self.sources)
        shape = next(tensor.shape for tensor in outputs if tensor.name == self.sources[-1])
        if card.output.format == "yolo_xywh":
            self._batch, columns, rows = shape[0], shape[1] - 4, shape[2]
            self._strides = (4 * shape[1] * rows,) * 2
            self._scores_at = 16 * rows
        else:
            self._batch, rows, columns = shape
            self._strides = (16 * rows, 4 * rows * columns)
            self._scores_at = 0
        self._kernels = NmsKernels(
            launcher,
            card.output,
            classes=len(card.names),
            rows=rows,
            columns=columns,
            class_step=float(ULTRALYTICS_CLASS_STEP) if card.family == "yolo" else 0.0,
        )
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

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None:
        """Kernels and copies into ``stream``; ``addresses``: of the engine's outputs, by name."""
        boxes, scores = addresses[self.sources[0]], addresses[self.sources[-1]] + self._scores_at
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

    def on_host(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """The same by the host, from the engine's own outputs, by name."""
        for array in self._results.values():
            array.fill(0)
        for image in range(self._batch):
            found = self._host.decode([outputs[name][image] for name in self.sources])
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


def sources(card: ModelCard, outputs: tuple[TensorSpec, ...]) -> tuple[str, ...]:
    """The outputs the kernels can finish: ``boxes`` and ``scores``, or the one foreign tensor; empty if none.

    Detections that are final already, further arrays of theirs, and types or sizes the kernels do not read, stay
    with the host.
    """
    found = {tensor.name: tensor for tensor in outputs}
    if card.output.data:
        return ()
    if card.output.format == "candidates":
        names: tuple[str, ...] = ("boxes", "scores")
    elif card.output.format == "yolo_xywh":
        # As edgedet.postprocess.Postprocessor: the first output is the detector's.
        names = (outputs[0].name,)
        if len(outputs[0].shape) != 3 or outputs[0].shape[1] != 4 + len(card.names):
            return ()
    else:
        return ()
    fit = all(name in found and found[name].dtype == np.float32 for name in names)
    return names if fit else ()
