"""Two detectors as one: the second looks at the crops of what the first found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgedet.argument_checks import require_count, require_margin
from edgedet.crops import crop_windows, join_crops
from edgedet.detections import Detections
from edgedet.detector import Detector
from edgedet.errors import UsageError
from edgedet.inference_lane import Timing
from edgedet.masks.canvas_masks import CanvasMasks
from edgedet.pictures.frames import Frame, Unreadable, as_bgr, is_on_gpu
from edgedet.pictures.live.fault import Fault
from edgedet.pictures.live.settings import LiveSettings
from edgedet.pictures.sources import FrameSource, Source
from edgedet.postprocess import Thresholds
from edgedet.streaming.pace import Limits
from edgedet.streaming.stream import Stream, start_stream


class Cascade:
    """A detector on the crops of another one: persons, then the hands of each.

    It detects, streams and is measured as a :class:`Detector` is. As a context manager it closes both.

    Args:
        first: detector of the frame, or the path of its artifact.
        second: detector of the crops, likewise. The crops of a frame run as many at once as its batch has places.
        classes: names of the first's classes that are looked into; None takes all.
        margin: how far a crop reaches beyond its box on each side, as a share of the box's sides, 0 to 10.
        most: crops of a frame, the best first; None for all that the first finds. The others are not looked into.

    Raises:
        UsageError: a class that the first does not know, a margin or number out of range, or a second detector
            whose proposals come from outside.
        ArtifactError, RuntimeUnavailableError: a path whose artifact cannot be opened.

    Attributes:
        first: the first detector.
        second: the second.
        last_timing: of both and of the cropping together: ``run`` of the networks, ``post`` with joining the crops.

    >>> import cv2
    >>> with Cascade("model.onnx", "yolo.onnx", classes=("green",), margin=0.5) as cascade:
    ...     found = cascade.detect(cv2.imread("frame.png"))
    >>> found.names, found.data["within"].round().tolist()
    (('blue', 'green', 'red'), [[24.0, 18.0, 60.0, 54.0]])
    """

    def __init__(
        self,
        first: Detector | str | Path,
        second: Detector | str | Path,
        *,
        classes: Sequence[str] | None = None,
        margin: float = 0.1,
        most: int | None = None,
    ) -> None:
        if isinstance(classes, str):
            raise UsageError(f"classes is {classes!r}, expected a list of names such as [{classes!r}]")
        if classes is not None and not isinstance(classes, Iterable):
            raise UsageError(f"classes is {classes!r}, expected a list of names")
        named = None if classes is None else tuple(classes)  # a generator gives its names once
        require_margin("margin", margin)
        require_count("most", most)
        self._margin = float(margin)
        self._most = most
        opened: list[Detector] = []
        try:
            for each in (first, second):
                if isinstance(each, Detector):
                    opened.append(each)
                else:
                    opened.append(Detector(each))
            self.first, self.second = opened
            if self.second.card.input.proposals is not None:
                raise UsageError(
                    f"{self.second.path} takes proposals from outside, and nobody has any for crops: take an "
                    "ordinary artifact as the second"
                )
            self._labels = labels_of(self.first, named)
        except BaseException:
            for each, given in zip(opened, (first, second), strict=False):
                if not isinstance(given, Detector):
                    each.close()
            raise
        self.last_timing = Timing(0.0, 0.0, 0.0)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names of what is found: the second's."""
        return self.second.names

    @property
    def path(self) -> Path:
        """File of the first artifact."""
        return self.first.path

    @property
    def thresholds(self) -> Thresholds:
        """Thresholds of what is found: the second's."""
        return self.second.thresholds

    @property
    def device(self) -> Literal["cpu", "gpu"]:
        """Device that the first network runs on."""
        return self.first.device

    @property
    def description(self) -> str:
        """Runtimes of both."""
        return f"{self.first.description}; then {self.second.description}"

    def detect(self, frame: NDArray[Any]) -> Detections:
        """Find what the second detector looks for, in what the first one finds.

        Args:
            frame: as :meth:`Detector.detect` takes it, on the host.

        Returns:
            Objects of the second, best first and each once, with boxes in pixels of ``frame``. Their ``data`` says
            in what each was found: ``within`` (float32 [N, 4], the first's box), ``within_score`` (float32 [N]) and
            ``within_label`` (int32 [N]).

        Raises:
            FrameError: not an image.
            UsageError: a detector is closed, or the frame is on the GPU.
        """
        return self.detect_both(frame)[1]

    def detect_both(self, frame: NDArray[Any]) -> tuple[Detections, Detections]:
        """The same, with what the first detector found.

        Args:
            frame: as :meth:`detect` takes it.

        Returns:
            What the first found, of all its classes, and what the second did.

        Raises:
            FrameError, UsageError: as :meth:`detect`.
        """
        if is_on_gpu(frame):
            raise UsageError("a cascade cuts its crops out of frames on the host; copy this one from the GPU")
        outer = self.first.detect(frame)
        first = self.first.last_timing
        begin = time.perf_counter()
        chosen = outer[np.isin(outer.labels, self._labels)][: self._most]
        if not len(chosen):
            self.last_timing = first
            return outer, self._nothing(outer.frame_size)
        pixels = as_bgr(frame)
        windows = crop_windows(chosen.boxes, pixels.shape[0], pixels.shape[1], self._margin)
        cutting = (time.perf_counter() - begin) * 1e3
        found: list[Detections] = []
        stages = np.zeros(3)
        # Cut as they are needed: all crops at once may take as many whole frames as the first finds objects.
        batch = self.second.card.input.batch
        for start in range(0, len(windows), batch):
            begin = time.perf_counter()
            some = windows[start : start + batch].tolist()
            crops = [np.ascontiguousarray(pixels[y1:y2, x1:x2]) for x1, y1, x2, y2 in some]
            cutting += (time.perf_counter() - begin) * 1e3
            found += self.second.detect_batch(crops)
            timing = self.second.last_timing
            stages += (timing.pre, timing.run, timing.post)
        second = Timing(*stages.tolist())
        begin = time.perf_counter()
        settled = self.second.thresholds
        joined = join_crops(found, windows, chosen, iou=settled.iou, max_detections=settled.max_detections)
        joining = (time.perf_counter() - begin) * 1e3
        self.last_timing = Timing(
            first.pre + cutting + second.pre, first.run + second.run, first.post + second.post + joining
        )
        return outer, joined

    def detect_batch(self, frames: Sequence[NDArray[Any]]) -> list[Detections]:
        """Find objects in several frames, one after another; the crops of each are batched.

        Args:
            frames: as :meth:`detect` takes them.

        Returns:
            One :class:`Detections` per frame, in order.

        Raises:
            FrameError, UsageError: as :meth:`detect`.
        """
        found = []
        stages = np.zeros(3)
        for frame in frames:
            found.append(self.detect(frame))
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
        """Find objects in every frame of a source; frames are read while the ones before are worked on.

        Args:
            source: as :meth:`Detector.stream` takes it.
            max_fps: likewise, and so are the others.
            duty: share of the time that the detectors may run.
            unreadable: called for what cannot be read.
            fault: called for what goes wrong with a camera or stream and is mended.
            live: how cameras and streams are read.

        Returns:
            Iterator over frames with their detections.

        Raises:
            SourceError, FrameError, UsageError: as :meth:`Detector.stream`.
        """
        limits = Limits(max_fps, duty)
        return start_stream(
            source, _Work(self), self._delivered, limits=limits, unreadable=unreadable, fault=fault, live=live
        )

    def warmup(self, runs: int = 3) -> None:
        """Run empty frames through both.

        Args:
            runs: number of frames.
        """
        self.first.warmup(runs)
        self.second.warmup(runs)

    def close(self) -> None:
        """Release both detectors; calling twice is harmless."""
        self.first.close()
        self.second.close()

    def __enter__(self) -> Cascade:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Cascade({self.first!r}, {self.second!r})"

    def _nothing(self, frame_size: tuple[int, int]) -> Detections:
        nothing = Detections.empty(self.second.names, frame_size)
        data = {
            "within": np.zeros((0, 4), np.float32),
            "within_score": np.zeros(0, np.float32),
            "within_label": np.zeros(0, np.int32),
        }
        masks = CanvasMasks((), frame_size) if self.second.card.output.masks else None
        keypoints = skeleton = None
        if (spec := self.second.card.output.keypoints) is not None:
            skeleton = spec.skeleton
            keypoints = np.zeros((0, len(skeleton.names), 3), np.float32)
        return Detections(
            nothing.boxes,
            nothing.scores,
            nothing.labels,
            nothing.names,
            frame_size,
            data,
            masks,
            keypoints,
            skeleton,
        )

    def _delivered(self, result: tuple[Detections, Timing]) -> Detections:
        found, self.last_timing = result
        return found


class _Work:
    """A cascade's stages for a stream; see :class:`edgedet.streaming.pipeline.Work`."""

    def __init__(self, cascade: Cascade) -> None:
        self._cascade = cascade

    def prepare(self, frame: Frame, buffer: int) -> Any:
        """Nothing that could be done ahead: the crops are not known."""
        if not is_on_gpu(frame.image):
            as_bgr(frame.image)  # a frame that is no image is told of at its place
        return frame.image

    def run(self, prepared: Any) -> tuple[Detections, Timing]:
        """Detect."""
        found = self._cascade.detect(prepared)
        return found, self._cascade.last_timing


def labels_of(detector: Detector, classes: Sequence[str] | None) -> NDArray[np.intp]:
    """Labels of a detector's classes by name; None for all.

    Raises:
        UsageError: a name it does not know, or none at all.
    """
    if classes is None:
        return np.arange(len(detector.names))
    unknown = [name for name in classes if name not in detector.names]
    if unknown or not classes:
        known = ", ".join(detector.names[:8]) + (", ..." if len(detector.names) > 8 else "")
        what = f"{unknown[0]!r} is none of the classes" if unknown else "no classes to look into; these are those"
        raise UsageError(f"{what} of {detector.path}: {known}")
    return np.array([detector.names.index(name) for name in classes], np.intp)
