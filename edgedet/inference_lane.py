"""One frame's way through a network: resizing, running, reading, with buffers that the next frame uses again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from numpy.typing import NDArray

from edgedet.artifacts.card import PROPOSAL_COUNT, InputSpec, ModelCard
from edgedet.errors import ProposalsError, UsageError
from edgedet.geometry import ResizeGeometry
from edgedet.machine.cores import available_cores
from edgedet.pictures.frames import Frame, is_on_gpu
from edgedet.preprocess import Preprocessor
from edgedet.runtimes.base import MayTakeProposals, RunsInLanes, Runtime, TakesGpuFrames

if TYPE_CHECKING:
    from edgedet.outside_proposals import ProposalInput

Result = TypeVar("Result")
Read_co = TypeVar("Read_co", covariant=True)
Proposer = Callable[[Any], Any]
"""From a frame to the proposals in it."""


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


class Reader(Protocol[Read_co]):
    """Makes a result of a network's outputs."""

    def __call__(self, outputs: dict[str, NDArray[Any]], place: ResizeGeometry, slot: int, /) -> Read_co:
        """Result of the frame that lies at ``place`` in batch place ``slot``; it keeps nothing of ``outputs``."""

    def nothing(self, frame_size: tuple[int, int], /) -> Read_co:
        """The result of a frame (height, width) in which there is nowhere to look."""


class Lane(Generic[Result]):
    """A network that one thread runs at a time, with what comes before and after it. Calls wait for one another.

    ``read``: makes results of outputs. ``threads``: CPU threads for resizing. Several lanes of one artifact share
    what their runtimes loaded.
    """

    def __init__(
        self, path: Path, card: ModelCard, runtime: Runtime, read: Reader[Result], *, threads: int
    ) -> None:
        self.path = path
        self.card = card
        self.runtime = runtime
        self.threads = threads
        self._preprocess = Preprocessor(card.input, card.resize, threads=threads)
        self._read = read
        self._proposals = None if card.input.proposals is None else _proposal_input(card.input)
        self._lock = threading.Lock()
        self._closed = False

    def detect(self, frame: NDArray[Any]) -> Result:
        """As :meth:`edgedet.Detector.detect` and :meth:`edgedet.Segmenter.segment`."""
        return self.detect_timed([frame])[0][0]

    def detect_timed(
        self, frames: Sequence[NDArray[Any]], proposals: Sequence[Any] | None = None
    ) -> tuple[list[Result], Timing]:
        """Results of at most as many frames as the batch has places; unused places keep what they held.

        ``proposals``: of every frame, for a network that takes them from outside.
        """
        with self._lock:
            self._require_open()
            self._require_fitting(proposals)
            begin = time.perf_counter()
            if any(map(is_on_gpu, frames)):
                places = self._place_on_gpu(frames)
                inputs = {}
            else:
                places = [self._preprocess.prepare(frame, slot) for slot, frame in enumerate(frames)]
                inputs = {self.card.input.name: self._preprocess.tensor}
            given = self._place_proposals(proposals, places)
            prepared = time.perf_counter()
            found, timing = self._run(inputs, places, given)
            return found, replace(timing, pre=(prepared - begin) * 1e3)

    def run_prepared(
        self, tensor: NDArray[Any], place: ResizeGeometry, proposals: Any = None
    ) -> tuple[Result, Timing]:
        """The result of one frame that a :class:`edgedet.preprocess.Preprocessor` has put into ``tensor`` already;
        ``pre`` of its timing is 0. ``proposals``: of the frame, for a network that takes them from outside."""
        with self._lock:
            self._require_open()
            each = None if proposals is None else [proposals]
            self._require_fitting(each)
            given = self._place_proposals(each, [place])
            (found,), timing = self._run({self.card.input.name: tensor}, [place], given)
            return found, timing

    def close(self) -> None:
        """Release the runtime once nobody runs it; calling twice is harmless."""
        with self._lock:
            self._closed = True
            self.runtime.close()

    def _run(
        self,
        inputs: dict[str, NDArray[Any]],
        places: Sequence[ResizeGeometry],
        proposals: dict[str, NDArray[Any]] | None = None,
    ) -> tuple[list[Result], Timing]:
        """The network and what follows it. Needs the lock.

        Where no frame has a proposal there is nothing to find, and the network is not run.
        """
        begin = time.perf_counter()
        if proposals is not None:
            if not proposals[PROPOSAL_COUNT].any():
                sizes = [(place.frame_height, place.frame_width) for place in places]
                return [self._read.nothing(size) for size in sizes], Timing(0.0, 0.0, 0.0)
            inputs = inputs | proposals
        outputs = self.runtime.run(inputs)
        done = time.perf_counter()
        found = [self._read(outputs, place, slot) for slot, place in enumerate(places)]
        return found, Timing(0.0, (done - begin) * 1e3, (time.perf_counter() - done) * 1e3)

    def _require_open(self) -> None:
        if self._closed:
            what = "segmenter" if self.card.task == "segmentation" else "detector"
            raise UsageError(f"the {what} of {self.path} is closed; open it again")

    def _require_fitting(self, proposals: Sequence[Any] | None) -> None:
        """Proposals where the network takes them, and nowhere else.

        Raises:
            UsageError: they are missing, or nobody asks for them.
        """
        if self._proposals is not None and (proposals is None or any(boxes is None for boxes in proposals)):
            raise UsageError(
                f"{self.path.name} makes no proposals of its own: pass those of the frame, detect(frame, "
                f"proposals=boxes), float32 [N, 4] in its pixels, {self.card.input.proposals} at most; or "
                "let it ask: detector.proposer, a function from a frame to its boxes, [] where there are none"
            )
        if proposals is not None:
            self.require_takes_proposals()

    def require_takes_proposals(self) -> None:
        """Check that proposals from outside are of use here.

        Raises:
            UsageError: the network makes its own, or none.
        """
        takes = isinstance(self.runtime, MayTakeProposals) and self.runtime.takes_proposals
        if self._proposals is None and not takes:
            raise UsageError(
                f"{self.path.name} takes no proposals from outside: leave them out, or export it with "
                "--outside-proposals (Faster R-CNN)"
            )

    def _place_proposals(
        self, proposals: Sequence[Any] | None, places: Sequence[ResizeGeometry]
    ) -> dict[str, NDArray[Any]] | None:
        """The input tensors that hold the proposals of every frame; None where there are none."""
        if proposals is None:
            return None
        given = self._proposals
        if given is None:  # the framework's own inference, which is one frame and takes any number
            from edgedet.outside_proposals import box_array

            given = _proposal_input(replace(self.card.input, proposals=box_array(proposals[0]).size // 4 + 1))
        for slot, (boxes, place) in enumerate(zip(proposals, places, strict=True)):
            given.place(boxes, place, slot)
        for slot in range(len(places), self.card.input.batch):
            given.leave_empty(slot)
        return given.tensors

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


def open_lanes(
    path: Path,
    card: ModelCard,
    runtime: Runtime,
    read: Callable[[Runtime], Reader[Result]],
    *,
    lanes: int,
    threads: int | None,
) -> tuple[Lane[Result], ...]:
    """As many lanes as were asked for, where the runtime has several, else one; all are closed if one fails.

    Args:
        path: of the artifact, for messages.
        card: its model card.
        runtime: opened for ``lanes``; the first one's.
        read: makes what reads the outputs of each lane's runtime.
        lanes: how many frames are worked on at the same time.
        threads: CPU threads of the network, which resizing has, too, where there is one lane.

    Raises:
        UsageError: what ``read`` refuses.
    """
    opened: list[Runtime] = [runtime]
    try:
        if isinstance(runtime, RunsInLanes) and runtime.device == "cpu":
            opened += [runtime.another_lane() for _ in range(lanes - 1)]
        resizing = (threads or available_cores()) if len(opened) == 1 else 1
        return tuple(Lane(path, card, each, read(each), threads=resizing) for each in opened)
    except Exception:
        for each in opened:
            each.close()
        raise


class PreparedFrame(NamedTuple):
    """A frame on its way: the input tensor and where the frame lies in it, or the frame itself."""

    frame: Any
    tensor: NDArray[Any] | None
    place: ResizeGeometry | None
    milliseconds: float
    proposals: Any = None


class LaneWork(Generic[Result]):
    """A lane's stages for a stream, with input tensors of its own; see
    :class:`edgedet.streaming.pipeline.Work`.

    ``proposer``: from a frame to the proposals in it; None where there is none."""

    def __init__(self, lane: Lane[Result], proposer: Proposer | None = None) -> None:
        self._lane = lane
        self._proposer = proposer
        self._preprocessors: dict[int, Preprocessor] = {}

    def prepare(self, frame: Frame, buffer: int) -> PreparedFrame:
        """Make the network's input."""
        begin = time.perf_counter()
        proposals = None if self._proposer is None else asked_proposals(self._proposer, frame.image)
        if is_on_gpu(frame.image):
            # It goes into the engine's only input, which may be in use: that is done when it runs.
            return PreparedFrame(frame.image, None, None, 0.0, proposals)
        preprocessor = self._preprocessors.get(buffer)
        if preprocessor is None:
            card = self._lane.card
            preprocessor = Preprocessor(card.input, card.resize, threads=self._lane.threads)
            self._preprocessors[buffer] = preprocessor
        place = preprocessor.prepare(frame.image)
        return PreparedFrame(None, preprocessor.tensor, place, (time.perf_counter() - begin) * 1e3, proposals)

    def run(self, prepared: PreparedFrame) -> tuple[Result, Timing]:
        """The result, and how long it took."""
        if prepared.tensor is None or prepared.place is None:
            given = None if prepared.proposals is None else [prepared.proposals]
            (found,), timing = self._lane.detect_timed([prepared.frame], given)
            return found, timing
        found, timing = self._lane.run_prepared(prepared.tensor, prepared.place, prepared.proposals)
        return found, replace(timing, pre=prepared.milliseconds)


def asked_proposals(proposer: Proposer, frame: Any) -> Any:
    """What ``proposer`` gives for a frame.

    Raises:
        ProposalsError: nothing, which is not the same as no boxes.
    """
    boxes = proposer(frame)
    if boxes is None:
        raise ProposalsError("the proposer gave None for a frame: expected its boxes, [] where there are none")
    return boxes


def _proposal_input(spec: InputSpec) -> ProposalInput:
    # Loaded by detectors that take proposals, not by all.
    from edgedet.outside_proposals import ProposalInput

    return ProposalInput(spec)
