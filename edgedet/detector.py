"""The detector: open an artifact, pass frames, get detections."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import ModelCard
from edgedet.detections import Detections
from edgedet.errors import UsageError
from edgedet.lane import Lane, Timing
from edgedet.machine.hardware import available_cores
from edgedet.opening import MAX_THREADS, open_artifact
from edgedet.pictures.frames import Frame, Unreadable
from edgedet.pictures.sources import FrameSource, Source, open_source
from edgedet.postprocess import settle_thresholds
from edgedet.runtimes.base import RunsInLanes, Runtime
from edgedet.settings import require_count
from edgedet.streaming import detect_frames


class Detector:
    """A trained detector, ready to run.

    Calls from several threads are safe and run one after another; for parallel work open one detector per thread.
    As a context manager it closes itself.

    Args:
        path: graph (``.onnx``), engine (``.trt``, ``.engine``, ``.plan``, ``.rtx``) or, for comparisons, checkpoint
            (``.pt``). The artifact holds every setting.
        runtime: ``auto``, ``onnxruntime``, ``onnxruntime:cpu``, ``onnxruntime:cuda``, ``openvino``, ``tensorrt``,
            ``tensorrt-rtx`` or ``torch``. ``auto`` is what ``edgedet tune`` found to be the quickest for the
            artifact here, else the first that is installed.
        conf: score threshold in [0, 1] in place of the artifact's own.
        iou: IoU threshold of NMS in [0, 1] in place of the artifact's own.
        max_detections: limit per frame in place of the artifact's own.
        threads: CPU threads of the network; None leaves the choice to the runtime. With 1, large float frames are
            resized on one thread as well.
        lanes: number of frames to work on at the same time, for throughput: :meth:`stream` and evaluations then
            read and detect on so many threads, and the network has one thread for each frame in place of all for
            one. A runtime that cannot do that (GPUs, PyTorch) has one lane all the same, and ``threads``.
        selftest: whether to replay the artifact's golden input first, and to refuse an artifact that no longer
            gives what it gave at export.

    Raises:
        ArtifactError: the file is missing, damaged, or does not describe what it detects.
        RuntimeUnavailableError: the runtime is not installed or does not work here.
        UsageError: options out of range or beyond what the artifact can honour, or more or fewer ``threads``
            than lanes.
        SelftestError: the golden input gives something else, or shows nothing.

    Attributes:
        card: model card of the artifact.
        path: file of the artifact.
        thresholds: thresholds in use.
        lanes: what can detect at the same time, each with a ``detect`` of its own for one thread.
        last_timing: stages of the last :meth:`detect`, or all of the last :meth:`detect_batch`.

    >>> import cv2
    >>> with Detector("model.onnx", conf=0.4) as detector:
    ...     for box, score, label, name in detector.detect(cv2.imread("frame.png")):
    ...         print(name, score, box.round().tolist())
    green 0.875 [24.0, 18.0, 60.0, 54.0]
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
        lanes: int = 1,
        selftest: bool = False,
    ) -> None:
        require_count("lanes", lanes, most=MAX_THREADS)
        if lanes != 1 and threads not in (None, lanes):
            raise UsageError(
                f"{lanes} lanes and {threads} threads: a lane has one thread; leave either of them out"
            )
        self.card: ModelCard
        self.card, self._runtime = open_artifact(path, runtime=runtime, threads=threads, lanes=lanes)
        self.path = Path(path)
        self.last_timing = Timing(0.0, 0.0, 0.0)
        opened: list[Runtime] = [self._runtime]
        try:
            self.thresholds = settle_thresholds(self.card, conf=conf, iou=iou, max_detections=max_detections)
            if isinstance(self._runtime, RunsInLanes) and self._runtime.device == "cpu":
                opened += [self._runtime.another_lane() for _ in range(lanes - 1)]
            resizing = (threads or available_cores()) if len(opened) == 1 else 1
            self.lanes = tuple(
                Lane(self.path, self.card, each, self.thresholds, threads=resizing) for each in opened
            )
        except Exception:
            for each in opened:
                each.close()
            raise
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
        """Kind of device that the network runs on."""
        return self._runtime.device

    @property
    def description(self) -> str:
        """Runtime, its version and where it runs."""
        return self._runtime.description

    def detect(self, frame: NDArray[Any]) -> Detections:
        """Find objects in one frame.

        Args:
            frame: uint8 [H, W, 3] BGR of any size, as OpenCV reads it; also grey [H, W] or [H, W, 1], BGRA
                [H, W, 4], and float frames with values 0..255; arrays of other libraries by DLPack. It is only
                read. With an engine also uint8 [H, W, 3] BGR on the GPU: anything with ``__dlpack__`` or
                ``__cuda_array_interface__`` (PyTorch, CuPy, JAX, Numba, PyCUDA).

        Returns:
            Objects, best first, with boxes in pixels of ``frame``.

        Raises:
            FrameError: not an image.
            UsageError: the detector is closed, or runs on the CPU and the frame is on the GPU.
        """
        return self._detect([frame])[0]

    def detect_batch(self, frames: Sequence[NDArray[Any]]) -> list[Detections]:
        """Find objects in several frames, as many at once as the artifact's batch.

        Args:
            frames: as :meth:`detect` takes them; sizes may differ.

        Returns:
            One :class:`Detections` per frame, in order.

        Raises:
            FrameError: one of the frames is not an image.
            UsageError: as :meth:`detect`; or some frames are on the GPU and some are not.
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
        self, source: Source | FrameSource, *, unreadable: Callable[[Unreadable], None] | None = None
    ) -> Generator[tuple[Frame, Detections], None, None]:
        """Find objects in every frame of a source.

        Args:
            source: image, folder, glob pattern, video, camera or iterable of frames (see :func:`open_source`); or
                what that opened. Pictures and video files are read ahead, on one thread for each lane or, with one
                lane, for each further core, three at most; cameras and the caller's own frames are not.
            unreadable: called for every image or frame that cannot be read, or is no frame, and for a source that
                ends early; the other frames follow. None raises at the first.

        Yields:
            Each frame with its detections.

        Raises:
            SourceError: the source cannot be opened, or breaks.
            SourceEndedError: the source ends early, and ``unreadable`` is None.
            FrameError: one of the caller's own frames is not an image, and ``unreadable`` is None.
        """
        opened = source if isinstance(source, FrameSource) else open_source(source, unreadable=unreadable)
        with opened as frames, closing(detect_frames(self.lanes, frames, unreadable)) as results:
            for frame, found, timing in results:
                self.last_timing = timing
                yield frame, found

    def warmup(self, runs: int = 3) -> None:
        """Run empty frames, so that the first real one meets allocated memory and a warm processor.

        Args:
            runs: number of frames.
        """
        frame = np.full((self.card.input.height or 480, self.card.input.width or 640, 3), 114, np.uint8)
        for _ in range(runs):
            self.detect(frame)

    def close(self) -> None:
        """Release the runtime; calling twice is harmless."""
        for lane in self.lanes:
            lane.close()

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
        found, self.last_timing = self.lanes[0].detect_timed(frames)
        return found
