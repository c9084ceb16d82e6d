"""The detector: open an artifact, pass frames, get detections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import ModelCard
from edgedet.detections import Detections
from edgedet.errors import FrameError, UsageError
from edgedet.geometry import ResizeGeometry
from edgedet.machine.hardware import available_cores
from edgedet.opening import open_artifact
from edgedet.pictures.frames import Frame, Unreadable, is_on_gpu
from edgedet.pictures.sources import Source, open_source
from edgedet.postprocess import Postprocessor, settle_thresholds
from edgedet.preprocess import Preprocessor
from edgedet.runtimes.base import SuppressesOnDevice, TakesGpuFrames


@dataclass(frozen=True)
class Timing:
    """Milliseconds of the last call's stages: frame to tensor, network, outputs to detections."""

    pre: float
    run: float
    post: float

    @property
    def total(self) -> float:
        """All stages together."""
        return self.pre + self.run + self.post


class Detector:
    """A trained detector, ready to run.

    Opens graphs (``.onnx``), engines (``.trt``, ``.engine``) and, for comparisons, checkpoints (``.pt``).
    Everything it needs to know is in the artifact.

    ``runtime``: ``auto``, ``onnxruntime``, ``onnxruntime:cpu``, ``onnxruntime:cuda``, ``tensorrt`` or ``torch``.
    ``conf``, ``iou``, ``max_detections``: replace the artifact's own thresholds, where it can still honour them.
    ``threads``: CPU threads for the network, None for the runtime's choice; with 1, large float frames are resized
    without a second one, too. ``selftest``: replay the artifact's golden input first, and refuse to go on when it
    no longer gives what it gave at export.

    Calls from several threads are safe and run one after another; for parallel work open one each.

    Raises:
        ArtifactError: the file is missing, damaged, or tells nothing about what it detects.
        RuntimeUnavailableError: what would run it is not installed or does not work here.
        UsageError: options out of range or beyond what the artifact can honour.
        SelftestError: the golden input gives something else, or shows nothing.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        runtime: str = "auto",
        conf: float | None = None,
        iou: float | None = None,
        max_detections: int | None = None,
        threads: int | None = None,
        selftest: bool = False,
    ) -> None:
        self.card: ModelCard
        self.card, self._runtime = open_artifact(path, runtime=runtime, threads=threads)
        self.path = Path(path)
        try:
            thresholds = settle_thresholds(self.card, conf=conf, iou=iou, max_detections=max_detections)
            self._preprocess = Preprocessor(self.card.input, self.card.resize, threads=threads or available_cores())
            opened = self._runtime
            described = opened.suppress(thresholds) if isinstance(opened, SuppressesOnDevice) else self.card
            names = tuple(tensor.name for tensor in self._runtime.outputs)
            self._postprocess = Postprocessor(described, thresholds, names)
        except Exception:
            self._runtime.close()
            raise
        self.thresholds = thresholds
        self.last_timing = Timing(0.0, 0.0, 0.0)
        self._lock = threading.Lock()
        self._closed = False
        if selftest:
            from edgedet.proof.golden import require_golden

            try:
                require_golden(self, conf=conf)
            except Exception:
                self.close()
                raise

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, by label."""
        return self.card.names

    @property
    def device(self) -> Literal["cpu", "gpu"]:
        """Where the network runs."""
        return self._runtime.device

    @property
    def description(self) -> str:
        """What runs it and where."""
        return self._runtime.description

    def detect(self, frame: NDArray[Any]) -> Detections:
        """Find objects in one frame.

        ``frame``: uint8 [H, W, 3] BGR of any size, as OpenCV reads it; also grey [H, W] or [H, W, 1], BGRA
        [H, W, 4], and float frames with values 0..255; arrays of other libraries by DLPack. It is only read. With
        an engine also uint8 [H, W, 3] BGR on the GPU: anything with ``__dlpack__`` or ``__cuda_array_interface__``
        (PyTorch, CuPy, JAX, Numba, PyCUDA).

        Raises:
            FrameError: not an image.
        """
        return self._detect([frame])[0]

    def detect_batch(self, frames: Sequence[NDArray[Any]]) -> list[Detections]:
        """Find objects in several frames, which may differ in size; as many at once as the artifact's batch.

        Raises:
            FrameError: one of them is not an image.
        """
        batch = self.card.input.batch
        found: list[Detections] = []
        stages = np.zeros(3)
        for start in range(0, len(frames), batch):
            found += self._detect(frames[start : start + batch])
            stages += (self.last_timing.pre, self.last_timing.run, self.last_timing.post)
        self.last_timing = Timing(*stages.tolist())
        return found

    def stream(
        self, source: Source, *, unreadable: Callable[[Unreadable], None] | None = None
    ) -> Iterator[tuple[Frame, Detections]]:
        """Go through an image, folder, glob, video, camera or iterable of frames (see :func:`open_source`).

        Yields every frame with what was found in it. ``unreadable`` is told of every image or frame that cannot be
        read, or is no frame, and of a source that ends early; the rest goes on. Without it the first one raises.

        Raises:
            SourceError: the source cannot be opened, or breaks.
            SourceEndedError: it ends early.
            FrameError: one of the caller's own frames is not an image.
        """
        with open_source(source, unreadable=unreadable) as frames:
            for frame in frames:
                try:
                    found = self.detect(frame.image)
                except FrameError as error:
                    if unreadable is None:
                        raise
                    unreadable(Unreadable(frame.name, frame.index, str(error)))
                    continue
                yield frame, found

    def warmup(self, runs: int = 3) -> None:
        """Run a few empty frames, so that the first real one meets allocated memory and a warm processor."""
        frame = np.full((self.card.input.height or 480, self.card.input.width or 640, 3), 114, np.uint8)
        for _ in range(runs):
            self.detect(frame)

    def close(self) -> None:
        """Release the runtime; calling twice is harmless."""
        with self._lock:
            self._closed = True
            self._runtime.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        size = f"{self.card.input.width}x{self.card.input.height}"
        return (
            f"Detector({self.path.name}: {self.card.architecture} {size} {self.card.precision}, {self.description})"
        )

    def _detect(self, frames: Sequence[NDArray[Any]]) -> list[Detections]:
        """At most as many frames as the batch has places; unused places keep what they held."""
        with self._lock:
            if self._closed:
                raise UsageError(f"the detector of {self.path} is closed; open it again")
            begin = time.perf_counter()
            if any(map(is_on_gpu, frames)):
                places = self._place_on_gpu(frames)
                inputs = {}
            else:
                places = [self._preprocess.prepare(frame, slot) for slot, frame in enumerate(frames)]
                inputs = {self.card.input.name: self._preprocess.tensor}
            prepared = time.perf_counter()
            outputs = self._runtime.run(inputs)
            done = time.perf_counter()
            found = [self._postprocess(outputs, place, slot) for slot, place in enumerate(places)]
            end = time.perf_counter()
            self.last_timing = Timing((prepared - begin) * 1e3, (done - prepared) * 1e3, (end - done) * 1e3)
            return found

    def _place_on_gpu(self, frames: Sequence[Any]) -> list[ResizeGeometry]:
        runtime = self._runtime
        if not isinstance(runtime, TakesGpuFrames):
            raise UsageError(
                f"frames on the GPU need an engine, and {self.path.name} runs by {self.description}; copy them "
                "to the host, or build an engine: edgedet export -o model.trt"
            )
        if not all(map(is_on_gpu, frames)):
            raise UsageError("some frames are on the GPU and some are not; pass all of a batch from one place")
        return [runtime.place_frame(frame, slot) for slot, frame in enumerate(frames)]
