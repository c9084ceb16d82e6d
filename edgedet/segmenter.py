"""The segmenter: open an artifact, pass frames, get the class of every pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgedet.argument_checks import require_count
from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.held_artifact import MEMORY
from edgedet.errors import UsageError
from edgedet.inference_lane import Lane, LaneWork, Timing, open_lanes
from edgedet.masks.class_map import ClassMap
from edgedet.masks.class_map_reader import ClassMapReader
from edgedet.opening import MAX_THREADS, open_artifact
from edgedet.pictures.frames import Unreadable
from edgedet.pictures.live.fault import Fault
from edgedet.pictures.live.settings import LiveSettings
from edgedet.pictures.sources import FrameSource, Source
from edgedet.runtimes.base import Runtime
from edgedet.streaming.pace import Limits
from edgedet.streaming.stream import Stream, start_stream


class Segmenter:
    """A trained network for semantic segmentation, ready to run.

    Calls from several threads are safe and run one after another. As a context manager it closes itself.

    Args:
        path: graph (``.onnx``), engine (``.trt``, ``.engine``, ``.plan``, ``.rtx``) or, for comparisons, checkpoint
            (``.pt``); or the bytes of an artifact that is one file. The artifact holds every setting.
        runtime: as :class:`edgedet.Detector` takes it.
        scores: whether each map says how sure the network is of each pixel (:attr:`ClassMap.scores`); it takes
            several times as long to read the outputs then.
        threads: CPU threads of the network; None leaves the choice to the runtime.
        lanes: number of frames to work on at the same time, for throughput, as :class:`edgedet.Detector` has it.
        selftest: whether to replay the artifact's golden input first, and to refuse an artifact that no longer
            gives what it gave at export.
        require_signature: a file of public keys (:doc:`signing`), of which one must have signed the artifact.
        signature: for an artifact in memory, the content of its ``.sig`` file.

    Raises:
        SignatureError: a signature is required, and is missing, wrong, expired or by another key; no runtime was
            loaded.
        ArtifactError: the file is missing, damaged, or does not describe what it gives.
        RuntimeUnavailableError: the runtime is not installed or does not work here.
        TaskError: the artifact is a detector.
        UsageError: options out of range; or more or fewer ``threads`` than lanes.
        SelftestError: the golden input gives something else.

    Attributes:
        card: model card of the artifact.
        path: file of the artifact; ``<memory>`` where it was given as bytes.
        lanes: what can segment at the same time.
        last_timing: stages of the last :meth:`segment`, or all of the last :meth:`segment_batch`.

    >>> import cv2
    >>> with Segmenter("segmenter.onnx") as segmenter:
    ...     found = segmenter.segment(cv2.imread("frame.png"))
    >>> found.labels.shape, found.labels.dtype.name, found.names
    ((72, 96), 'uint8', ('background', 'blue', 'green', 'red'))
    """

    def __init__(
        self,
        path: str | Path | bytes,
        *,
        runtime: str = "auto",
        scores: bool = False,
        threads: int | None = None,
        lanes: int = 1,
        selftest: bool = False,
        require_signature: str | Path | None = None,
        signature: bytes | None = None,
    ) -> None:
        require_count("lanes", lanes, most=MAX_THREADS)
        if lanes != 1 and threads not in (None, lanes):
            raise UsageError(
                f"{lanes} lanes and {threads} threads: a lane has one thread; leave either of them out"
            )
        self.card: ModelCard
        self.card, self._runtime = open_artifact(
            path,
            runtime=runtime,
            threads=threads,
            lanes=lanes,
            require_signature=require_signature,
            signature=signature,
            task="segmentation",
        )
        self.path = MEMORY if isinstance(path, bytes | bytearray | memoryview) else Path(path)
        self.last_timing = Timing(0.0, 0.0, 0.0)

        def reader(opened: Runtime) -> ClassMapReader:
            return ClassMapReader(self.card, [tensor.name for tensor in opened.outputs], scores=scores)

        self.lanes: tuple[Lane[ClassMap], ...] = open_lanes(
            self.path, self.card, self._runtime, reader, lanes=lanes, threads=threads
        )
        if selftest:
            from edgedet.proof.golden_map import require_golden_map

            try:
                require_golden_map(self)
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

    def segment(self, frame: NDArray[Any]) -> ClassMap:
        """Say of every pixel of a frame what it belongs to.

        Args:
            frame: uint8 [H, W, 3] BGR of any size, as OpenCV reads it, and all else that
                :meth:`edgedet.Detector.detect` takes. It is only read.

        Returns:
            The class of each pixel, at the size of ``frame``.

        Raises:
            FrameError: not an image.
            UsageError: the segmenter is closed, or runs on the CPU and the frame is on the GPU.
        """
        found, self.last_timing = self.lanes[0].detect_timed([frame])
        return found[0]

    def segment_batch(self, frames: Sequence[NDArray[Any]]) -> list[ClassMap]:
        """Segment several frames, as many at once as the artifact's batch.

        Args:
            frames: as :meth:`segment` takes them; sizes may differ.

        Returns:
            One :class:`ClassMap` per frame, in order.

        Raises:
            FrameError: one of the frames is not an image.
            UsageError: as :meth:`segment`; or some frames are on the GPU and some are not.
        """
        batch = self.card.input.batch
        found: list[ClassMap] = []
        stages = np.zeros(3)
        for start in range(0, len(frames), batch):
            some, timing = self.lanes[0].detect_timed(frames[start : start + batch])
            found += some
            stages += (timing.pre, timing.run, timing.post)
        self.last_timing = Timing(*stages.tolist())
        return found

    def stream(
        self,
        source: Source | FrameSource,
        *,
        max_fps: float | None = None,
        duty: float = 1.0,
        unreadable: Callable[[Unreadable], None] | None = None,
        fault: Callable[[Fault], None] | None = None,
        live: LiveSettings | None = None,
    ) -> Stream[ClassMap]:
        """Segment every frame of a source, or the newest frames of cameras and streams.

        Args:
            source: image, folder, glob pattern, video, camera, stream, list of cameras and streams, or iterable of
                frames (see :func:`open_source`); or a source that is open.
            max_fps: frames per second at most.
            duty: share of the time, above 0 and up to 1, that the segmenter may run.
            unreadable: called for every image or frame that cannot be read, or is no frame, and for a source that
                ends early; None raises at the first.
            fault: called for everything that goes wrong with a camera or stream and is mended.
            live: how cameras and streams are read.

        Returns:
            Iterator over frames with their class maps, as :meth:`edgedet.Detector.stream` gives one.

        Raises:
            SourceError: the source cannot be opened, or breaks (while iterating, as all that follow).
            SourceEndedError: the source ends early, and ``unreadable`` is None.
            FrameError: a frame is not an image, and ``unreadable`` is None.
            UsageError: ``max_fps`` or ``duty`` out of range (at once).

        >>> with Segmenter("segmenter.onnx") as segmenter:
        ...     for frame, found in segmenter.stream("photos/0[01].png"):
        ...         print(frame.name, found.frame_size)
        photos/00.png (72, 96)
        photos/01.png (72, 96)
        """
        return start_stream(
            source,
            LaneWork(self.lanes[0]),
            self._delivered,
            lanes=self.lanes,
            limits=Limits(max_fps, duty),
            unreadable=unreadable,
            fault=fault,
            live=live,
        )

    def warmup(self, runs: int = 3) -> None:
        """Run empty frames, so that the first real one meets allocated memory and a warm processor.

        Args:
            runs: number of frames.
        """
        frame = np.full((self.card.input.height or 480, self.card.input.width or 640, 3), 114, np.uint8)
        for _ in range(runs):
            self.segment(frame)

    def close(self) -> None:
        """Release the runtime; calling twice is harmless."""
        for lane in self.lanes:
            lane.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        size = f"{self.card.input.width}x{self.card.input.height}"
        return (
            f"Segmenter({self.path.name}: {self.card.architecture} {size} {self.card.precision}, "
            f"{self.description})"
        )

    def _delivered(self, result: tuple[ClassMap, Timing]) -> ClassMap:
        found, self.last_timing = result
        return found
