"""The contract between the detector and whatever executes its artifact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import ModelCard

Array = NDArray[Any]


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: name, static shape, dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def detection_outputs(limit: int) -> tuple[TensorSpec, ...]:
    """What comes out of a framework's own inference on one image, as the format ``detections`` has it."""
    return (
        TensorSpec("boxes", (1, limit, 4), np.dtype(np.float32)),
        TensorSpec("scores", (1, limit), np.dtype(np.float32)),
        TensorSpec("labels", (1, limit), np.dtype(np.int32)),
        TensorSpec("count", (1,), np.dtype(np.int32)),
    )


class Runtime(Protocol):
    """An opened artifact. Knows nothing of detection: tensors in, tensors out.

    A runtime owns its output buffers: arrays returned by ``run`` are valid until the next ``run``.
    One runtime serves one thread at a time.
    """

    card: ModelCard
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    description: str
    """What runs it and where, e.g. ``onnxruntime 1.31.0 CPUExecutionProvider, 2 threads``."""

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Execute once; inputs must match ``inputs`` in shape and dtype and be C-contiguous."""

    def close(self) -> None:
        """Release everything; calling twice is harmless."""
