"""One frame's way through a detector: resizing, network, boxes, with buffers that the next frame uses again."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgedet.artifacts.card import ModelCard
from edgedet.detections import Detections
from edgedet.errors import UsageError
from edgedet.geometry import ResizeGeometry
from edgedet.pictures.frames import is_on_gpu
from edgedet.postprocess import Postprocessor, Thresholds
from edgedet.preprocess import Preprocessor
from edgedet.runtimes.base import Runtime, SuppressesOnDevice, TakesGpuFrames


@dataclass(frozen=True)
class Timing:
    """How long the stages of one call took, in milliseconds.

    Attributes:
        pre: frame to input tensor.
        run: network.
        post: outputs to detections.

    >>> Timing(pre=0.4, run=8.0, post=0.1).total
    8.5
    """

    pre: float
    run: float
    post: float

    @property
    def total(self) -> float:
        """All stages together."""
        return self.pre + self.run + self.post


class Lane:
    """A network that one thread runs at a time, with what comes before and after it. Calls wait for one another.

    ``threads``: CPU threads for resizing. Several lanes of one detector share what their runtimes loaded.

    Raises:
        UsageError: thresholds that the artifact cannot honour.
    """

    def __init__(
        self, path: Path, card: ModelCard, runtime: Runtime, thresholds: Thresholds, *, threads: int
    ) -> None:
        self.path = path
        self.card = card
        self.runtime = runtime
        self.threads = threads
        self._preprocess = Preprocessor(card.input, card.resize, threads=threads)
        described = runtime.suppress(thresholds) if isinstance(runtime, SuppressesOnDevice) else card
        names = tuple(tensor.name for tensor in runtime.outputs)
        self._postprocess = Postprocessor(described, thresholds, names)
        self._lock = threading.Lock()
        self._closed = False

    def detect(self, frame: NDArray[Any]) -> Detections:
        """As :meth:`edgedet.Detector.detect`."""
        return self.detect_timed([frame])[0][0]

    def detect_timed(self, frames: Sequence[NDArray[Any]]) -> tuple[list[Detections], Timing]:
        """Detections in at most as many frames as the batch has places; unused places keep what they held."""
        with self._lock:
            self._require_open()
            begin = time.perf_counter()
            if any(map(is_on_gpu, frames)):
                places = self._place_on_gpu(frames)
                inputs = {}
            else:
                places = [self._preprocess.prepare(frame, slot) for slot, frame in enumerate(frames)]
                inputs = {self.card.input.name: self._preprocess.tensor}
            prepared = time.perf_counter()
            found, timing = self._run(inputs, places)
            return found, replace(timing, pre=(prepared - begin) * 1e3)

    def run_prepared(self, tensor: NDArray[Any], place: ResizeGeometry) -> tuple[Detections, Timing]:
        """Detections in one frame that a :class:`edgedet.preprocess.Preprocessor` has put into ``tensor`` already;
        ``pre`` of its timing is 0."""
        with self._lock:
            self._require_open()
            (found,), timing = self._run({self.card.input.name: tensor}, [place])
            return found, timing

    def close(self) -> None:
        """Release the runtime once nobody runs it; calling twice is harmless."""
        with self._lock:
            self._closed = True
            self.runtime.close()

    def _run(
        self, inputs: dict[str, NDArray[Any]], places: Sequence[ResizeGeometry]
    ) -> tuple[list[Detections], Timing]:
        """The network and what follows it. Needs the lock."""
        begin = time.perf_counter()
        outputs = self.runtime.run(inputs)
        done = time.perf_counter()
        found = [self._postprocess(outputs, place, slot) for slot, place in enumerate(places)]
        return found, Timing(0.0, (done - begin) * 1e3, (time.perf_counter() - done) * 1e3)

    def _require_open(self) -> None:
        if self._closed:
            raise UsageError(f"the detector of {self.path} is closed; open it again")

    def _place_on_gpu(self, frames: Sequence[Any]) -> list[ResizeGeometry]:
        runtime = self.runtime
        if not isinstance(runtime, TakesGpuFrames):
            raise UsageError(
                f"frames on the GPU need an engine, and {self.path.name} runs by {runtime.description}; copy them "
                "to the host, or build an engine: edgedet export -o model.trt"
            )
        if not all(map(is_on_gpu, frames)):
            raise UsageError("some frames are on the GPU and some are not; pass all of a batch from one place")
        return [runtime.place_frame(frame, slot) for slot, frame in enumerate(frames)]
