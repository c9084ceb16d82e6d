"""The contract between the detector and whatever executes its artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import PROPOSAL_COUNT, PROPOSALS, InputSpec, ModelCard
from edgedet.errors import ArtifactError

if TYPE_CHECKING:
    from edgedet.geometry import ResizeGeometry
    from edgedet.postprocess import Thresholds

Array = NDArray[Any]

LARGEST_OUTPUT = 1 << 30
"""Maximum size of an output in bytes: the candidates of a whole batch are a hundredth of it."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of an artifact.

    Attributes:
        name: name in the graph or engine.
        shape: sizes of the axes; -1 for one that is not fixed.
        dtype: NumPy's.

    >>> TensorSpec("images", (1, 64, 64, 3), np.dtype(np.uint8)).shape
    (1, 64, 64, 3)
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def detection_outputs(
    limit: int, *, masks: tuple[int, int] | None = None, keypoints: int | None = None
) -> tuple[TensorSpec, ...]:
    """What comes out of a framework's own inference on one image, as the format ``detections`` has it.

    ``masks``: (height, width) of the bitmaps where there are some; ``keypoints``: how many, likewise.
    """
    bitmaps = () if masks is None else (TensorSpec("masks", (1, limit, *masks), np.dtype(np.float32)),)
    points = () if keypoints is None else (TensorSpec("keypoints", (1, limit, keypoints, 3), np.dtype(np.float32)),)
    return (
        TensorSpec("boxes", (1, limit, 4), np.dtype(np.float32)),
        TensorSpec("scores", (1, limit), np.dtype(np.float32)),
        TensorSpec("labels", (1, limit), np.dtype(np.int32)),
        TensorSpec("count", (1,), np.dtype(np.int32)),
        *bitmaps,
        *points,
    )


class Runtime(Protocol):
    """An opened artifact: tensors in, tensors out; it knows nothing of detection.

    A runtime owns its output buffers: arrays returned by :meth:`run` are valid until the next :meth:`run`. One
    runtime serves one thread at a time. A new runtime is a module with ``open(path, *, card, threads, device)`` and
    an entry of :data:`edgedet.runtimes.RUNTIMES`.

    Attributes:
        card: model card of the artifact.
        inputs: input tensors.
        outputs: output tensors.
        device: where the network runs.
        description: runtime, version and device, such as
            ``onnxruntime 1.31.0 CPUExecutionProvider, 2 threads``.

    >>> from edgedet.opening import open_artifact
    >>> card, runtime = open_artifact("model.onnx")
    >>> found = runtime.run({"images": np.zeros((1, 64, 64, 3), np.uint8)})
    >>> found["boxes"].shape, found["count"].tolist()
    ((1, 1, 4), [0])
    >>> runtime.close()
    """

    card: ModelCard
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    device: Literal["cpu", "gpu"]
    description: str

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Execute once.

        Args:
            inputs: by name, C-contiguous, of the shapes and dtypes of :attr:`inputs`.

        Returns:
            Outputs by name, of the shapes and dtypes of :attr:`outputs`.
        """

    def close(self) -> None:
        """Release everything; calling twice is harmless."""


@runtime_checkable
class RunsInLanes(Protocol):
    """A runtime whose network several threads can run at the same time, each on a core of its own.

    Its module's ``open`` takes ``lanes``, and its entry of the table says so.
    """

    def another_lane(self) -> Runtime:
        """The same network for one thread more, with buffers of its own; shares what was loaded.

        As many can be used at once as ``open`` was told, with this one.
        """


@runtime_checkable
class SuppressesOnDevice(Protocol):
    """A runtime that can do non-maximum suppression where the network runs."""

    def suppress(self, thresholds: Thresholds) -> ModelCard:
        """Finish on the device what the artifact leaves open. Comes before the first ``run``.

        Returns:
            The card of what ``run`` gives from now on; the artifact's own where nothing changes.
        """


@runtime_checkable
class TakesGpuFrames(Protocol):
    """A runtime that resizes frames on the GPU, so that they never visit the host."""

    def place_frame(self, frame: Any, slot: int) -> ResizeGeometry:
        """Resize a frame that is on the GPU, uint8 [H, W, 3] BGR, into batch place ``slot`` of the input.

        ``run({})`` follows.

        Raises:
            FrameError: not a frame.
        """


@runtime_checkable
class MayTakeProposals(Protocol):
    """A framework's own two-stage inference, which makes its proposals unless some are given as inputs
    ``proposals`` [1, P, 4] and ``proposal_count`` [1], in pixels of the frame.

    ``takes_proposals``: whether it is of two stages.
    """

    takes_proposals: bool


def threads_in_words(threads: int | None, lanes: int = 1) -> str:
    """How a runtime's description tells its CPU threads.

    >>> threads_in_words(None), threads_in_words(2), threads_in_words(None, lanes=2)
    ('default threads', '2 threads', '2 lanes of 1 thread')
    """
    if lanes > 1:
        return f"{lanes} lanes of 1 thread"
    return f"{'default' if threads is None else threads} threads"


def input_shape(spec: InputSpec) -> tuple[int, int, int, int]:
    """The input tensor's shape, as the card describes it."""
    if spec.layout == "NCHW":
        return spec.batch, 3, spec.height, spec.width
    return spec.batch, spec.height, spec.width, 3


def expected_inputs(spec: InputSpec) -> tuple[TensorSpec, ...]:
    """All input tensors of an artifact, as the card describes them."""
    images = TensorSpec(spec.name, input_shape(spec), np.dtype(spec.dtype))
    if spec.proposals is None:
        return (images,)
    return (
        images,
        TensorSpec(PROPOSALS, (spec.batch, spec.proposals, 4), np.dtype(np.float32)),
        TensorSpec(PROPOSAL_COUNT, (spec.batch,), np.dtype(np.int32)),
    )


def require_outputs(path: Path, outputs: Sequence[TensorSpec]) -> None:
    """Check that there can be memory for what an artifact says that it gives: a damaged size takes it all.

    Raises:
        ArtifactError: outputs of more than :data:`LARGEST_OUTPUT` bytes.
    """
    for tensor in outputs:
        size = tensor.dtype.itemsize
        for side in tensor.shape:
            size *= max(int(side), 0)
        if size > LARGEST_OUTPUT:
            raise ArtifactError(
                f"{path} gives {tensor.name} {tensor.dtype} {list(tensor.shape)}, which is {size} bytes, more than "
                "any detector does; export it again"
            )


def require_input(path: Path, spec: InputSpec, inputs: Sequence[TensorSpec], *, remedy: str) -> None:
    """Hold an artifact's inputs against its card. Sizes of -1 fit any.

    Raises:
        ArtifactError: other inputs, another shape or dtype.
    """
    expected = expected_inputs(spec)
    own = {tensor.name: tensor for tensor in inputs}
    if own.keys() != {tensor.name for tensor in expected} or not all(
        _fits(own[wanted.name], wanted) for wanted in expected
    ):
        raise ArtifactError(f"{path} takes {_listed(inputs)}, its card says {_listed(expected)}; {remedy}")


def _listed(tensors: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{tensor.name} {tensor.dtype} {list(tensor.shape)}" for tensor in tensors) or "nothing"


def _fits(own: TensorSpec, wanted: TensorSpec) -> bool:
    return (
        own.dtype == wanted.dtype
        and len(own.shape) == len(wanted.shape)
        and all(size in (-1, side) for size, side in zip(own.shape, wanted.shape, strict=True))
    )
