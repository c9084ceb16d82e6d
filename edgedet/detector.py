"""The detector: open an artifact, pass frames, get detections."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgedet.argument_checks import require_count
from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.held_artifact import MEMORY
from edgedet.detections import Detections
from edgedet.errors import UsageError
from edgedet.inference_lane import Lane, LaneWork, Proposer, Timing, asked_proposals, open_lanes
from edgedet.opening import MAX_THREADS, open_artifact
from edgedet.postprocess import Postprocessor, Thresholds, settle_thresholds
from edgedet.runtimes.base import Runtime, SuppressesOnDevice

if TYPE_CHECKING:
    from edgedet.pictures.frames import Unreadable
    from edgedet.pictures.live.fault import Fault
    from edgedet.pictures.live.settings import LiveSettings
    from edgedet.pictures.sources import FrameSource, Source
    from edgedet.streaming.stream import Stream


class Detector:
    """A trained detector, ready to run.

    Calls from several threads are safe and run one after another; for parallel work open one detector per thread.
    As a context manager it closes itself.

    Args:
        path: graph (``.onnx``), engine (``.trt``, ``.engine``, ``.plan``, ``.rtx``), file for ncnn (``.ncnn``) or,
            for comparisons, checkpoint (``.pt``). The artifact holds every setting. Or the bytes of an artifact
            that is one file, such as an encrypted store gives them: nothing of them is written to a disk.
        runtime: ``auto``, ``onnxruntime``, ``onnxruntime:cpu``, ``onnxruntime:cuda``, ``openvino``, ``ncnn``,
            ``tensorrt``, ``tensorrt-rtx`` or ``torch``. ``auto`` is what ``edgedet tune`` found to be the quickest
            for the artifact here, else the first that is installed.
        conf: score threshold in [0, 1] in place of the artifact's own.
        iou: IoU threshold of NMS in [0, 1] in place of the artifact's own.
        max_detections: limit per frame in place of the artifact's own.
        threads: CPU threads of the network; None leaves the choice to the runtime. With 1, large frames
            are shrunk without aliasing on one thread as well.
        lanes: number of frames to work on at the same time, for throughput: :meth:`stream` and evaluations then
            read and detect on so many threads, and the network has one thread for each frame in place of all for
            one. A runtime that cannot do that (GPUs, ncnn, PyTorch) has one lane all the same, and ``threads``.
        selftest: whether to replay the artifact's golden input first, and to refuse an artifact that no longer
            gives what it gave at export.
        require_signature: a file of public keys (:doc:`signing`), of which one must have signed the artifact. The
            environment variable ``EDGEDET_REQUIRE_SIGNATURE`` names one for all programs of a machine; both must be
            satisfied.
        signature: for an artifact in memory, the content of its ``.sig`` file.

    Raises:
        SignatureError: a signature is required, and is missing, wrong, expired or by another key; no runtime was
            loaded.
        ArtifactError: the file is missing, damaged, or does not describe what it detects.
        RuntimeUnavailableError: the runtime is not installed or does not work here.
        TaskError: the artifact is a segmenter.
        UsageError: options out of range or beyond what the artifact can honour, or more or fewer ``threads``
            than lanes.
        SelftestError: the golden input gives something else, or shows nothing.

    Attributes:
        card: model card of the artifact.
        path: file of the artifact; ``<memory>`` where it was given as bytes.
        thresholds: thresholds in use.
        lanes: what can detect at the same time, each with a ``detect`` of its own for one thread.
        last_timing: stages of the last :meth:`detect`, or all of the last :meth:`detect_batch`.
        proposer: of an artifact whose proposals come from outside, a function that gives them for every frame that
            comes without: frame to numbers [N, 4], x1, y1, x2, y2 in its pixels. None at first. Its time is part of
            ``last_timing.pre``.

    >>> import cv2
    >>> with Detector("model.onnx", conf=0.4) as detector:
    ...     for box, score, label, name in detector.detect(cv2.imread("frame.png")):
    ...         print(name, score, box.round().tolist())
    green 0.875 [24.0, 18.0, 60.0, 54.0]
    """

    def __init__(
        self,
        path: str | Path | bytes,
        *,
        runtime: str = "auto",
        conf: float | None = None,
        iou: float | None = None,
        max_detections: int | None = None,
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
            task="detection",
        )
        self.path = MEMORY if isinstance(path, bytes | bytearray | memoryview) else Path(path)
        self.last_timing = Timing(0.0, 0.0, 0.0)
        self._proposer: Proposer | None = None
        try:
            self.thresholds = settle_thresholds(self.card, conf=conf, iou=iou, max_detections=max_detections)
        except Exception:
            self._runtime.close()
            raise
        self.lanes: tuple[Lane[Detections], ...] = open_lanes(
            self.path,
            self.card,
            self._runtime,
            lambda runtime: detection_reader(runtime, self.card, self.thresholds),
            lanes=lanes,
            threads=threads,
        )
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

    @property
    def proposer(self) -> Proposer | None:
        """What is asked for the proposals of frames that come without; None where nothing is.

        Raises:
            UsageError: (set) no function, or the artifact takes no proposals.
        """
        return self._proposer

    @proposer.setter
    def proposer(self, proposer: Proposer | None) -> None:
        if proposer is not None:
            if not callable(proposer):
                raise UsageError(
                    f"the proposer is {proposer!r:.80}, expected a function from a frame to its boxes; those of "
                    "one frame go to detect(frame, proposals=boxes)"
                )
            self.lanes[0].require_takes_proposals()
        self._proposer = proposer

    def detect(self, frame: NDArray[Any], proposals: Any = None) -> Detections:
        """Find objects in one frame.

        Args:
            frame: uint8 [H, W, 3] BGR of any size, as OpenCV reads it; also grey [H, W] or [H, W, 1], BGRA
                [H, W, 4], and float frames with values 0..255; arrays of other libraries by DLPack. It is only
                read. With an engine also uint8 [H, W, 3] BGR on the GPU: anything with ``__dlpack__`` or
                ``__cuda_array_interface__`` (PyTorch, CuPy, JAX, Numba, PyCUDA).
            proposals: numbers [N, 4], x1, y1, x2, y2 in pixels of ``frame``, clipped to it: where to look, for an
                artifact whose proposals come from outside (``card.input.proposals`` of them at most), and for none
                other but a checkpoint of two stages. None asks :attr:`proposer`.

        Returns:
            Objects, best first, with boxes in pixels of ``frame``.

        Raises:
            FrameError: not an image.
            ProposalsError: proposals that cannot be boxes of the frame, or too many; or the proposer gives None.
            UsageError: the detector is closed, or runs on the CPU and the frame is on the GPU; proposals are
                missing, or the artifact takes none.
        """
        return self._detect([frame], None if proposals is None else [proposals])[0]

    def detect_batch(
        self, frames: Sequence[NDArray[Any]], proposals: Sequence[Any] | None = None
    ) -> list[Detections]:
        """Find objects in several frames, as many at once as the artifact's batch.

        Args:
            frames: as :meth:`detect` takes them; sizes may differ.
            proposals: for each frame, as :meth:`detect` takes them; None asks :attr:`proposer`.

        Returns:
            One :class:`Detections` per frame, in order.

        Raises:
            FrameError: one of the frames is not an image.
            ProposalsError: as :meth:`detect`.
            UsageError: as :meth:`detect`; some frames are on the GPU and some are not; or proposals are of another
                number of frames.
        """
        batch = self.card.input.batch
        found: list[Detections] = []
        stages = np.zeros(3)
        if proposals is not None:
            given = len(proposals) if hasattr(proposals, "__len__") else type(proposals).__name__
            if given != len(frames):
                raise UsageError(f"{len(frames)} frames and proposals of {given}: expected those of each frame")
        for start in range(0, len(frames), batch):
            chosen = slice(start, start + batch)
            found += self._detect(frames[chosen], None if proposals is None else proposals[chosen])
            stages += (self.last_timing.pre, self.last_timing.run, self.last_timing.post)
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
    ) -> Stream[Detections]:
        """Find objects in every frame of a source, or in the newest frames of cameras and streams.

        Frames are read, prepared and run at the same time, each by a thread of its own, while the caller works on
        the result before; results come in order. With several lanes, pictures and the files of videos are worked on
        from reading to detections by one thread for each lane, where neither ``max_fps`` nor ``duty`` limits them
        and no :attr:`proposer` is asked, which sees the frames in order.
        Arrays of the caller's are run one by one, in the caller's thread.

        Args:
            source: image, folder, glob pattern, video, camera, stream, list of cameras and streams, or iterable of
                frames (see :func:`open_source`); or a source that is open.
            max_fps: frames per second at most. Recorded frames are all given, only slower.
            duty: share of the time, above 0 and up to 1, that the detector may run: it rests after each frame.
            unreadable: called for every image or frame that cannot be read, or is no frame, and for a source that
                ends early; the other frames follow. None raises at the first.
            fault: called for everything that goes wrong with a camera or stream and is mended.
            live: how cameras and streams are read.

        Returns:
            Iterator over frames with their detections. It can be closed, and tells how it goes (``stats``).

        Raises:
            SourceError: the source cannot be opened, or breaks (while iterating, as all that follow).
            SourceEndedError: the source ends early, and ``unreadable`` is None.
            FrameError: a frame is not an image, and ``unreadable`` is None.
            UsageError: ``max_fps`` or ``duty`` out of range (at once).

        >>> with Detector("model.onnx") as detector:
        ...     for frame, detections in detector.stream("photos/0[01].png"):
        ...         print(frame.name, len(detections))
        photos/00.png 1
        photos/01.png 1
        """
        # Sources and streams are a fourth of what importing the detector would take.
        from edgedet.streaming.pace import Limits
        from edgedet.streaming.stream import start_stream

        return start_stream(
            source,
            LaneWork(self.lanes[0], self._proposer),
            self._delivered,
            lanes=self.lanes if self._proposer is None else self.lanes[:1],
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
        height, width = self.card.input.height or 480, self.card.input.width or 640
        frame = np.full((height, width, 3), 114, np.uint8)
        # A proposer may remember the frames that it saw.
        proposals = None if self.card.input.proposals is None else [[0, 0, width, height]]
        for _ in range(runs):
            self.detect(frame, proposals)

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

    def _detect(self, frames: Sequence[NDArray[Any]], proposals: Sequence[Any] | None = None) -> list[Detections]:
        asked = 0.0
        if proposals is None and self._proposer is not None:
            begin = time.perf_counter()
            proposals = [asked_proposals(self._proposer, frame) for frame in frames]
            asked = (time.perf_counter() - begin) * 1e3
        found, timing = self.lanes[0].detect_timed(frames, proposals)
        self.last_timing = replace(timing, pre=timing.pre + asked) if asked else timing
        return found

    def _delivered(self, result: tuple[Detections, Timing]) -> Detections:
        found, self.last_timing = result
        return found


def detection_reader(runtime: Runtime, card: ModelCard, thresholds: Thresholds) -> Postprocessor:
    """What makes detections of the outputs of ``runtime``, which suppresses duplicates itself where it can.

    Raises:
        UsageError: thresholds that the artifact cannot honour.
    """
    described = runtime.suppress(thresholds) if isinstance(runtime, SuppressesOnDevice) else card
    return Postprocessor(described, thresholds, tuple(tensor.name for tensor in runtime.outputs))
