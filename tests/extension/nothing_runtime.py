"""A runtime that finds nothing: all a runtime has to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.onnx_file import read_onnx
from edgedet.runtimes.base import Array, TensorSpec, require_input


def open(path: Path, *, card: ModelCard, threads: int | None = None, device: str | None = None) -> NothingRuntime:
    """Open a graph. ``threads`` and ``device`` mean nothing to it."""
    return NothingRuntime(path, card)


class NothingRuntime:
    """See :class:`edgedet.runtimes.base.Runtime`."""

    device = "cpu"
    description = "nothing 1.0"

    def __init__(self, path: Path, card: ModelCard) -> None:
        file = read_onnx(path)
        self.card = card
        self.inputs = tuple(TensorSpec(t.name, tuple(t.shape), np.dtype(t.dtype)) for t in file.inputs)
        self.outputs = tuple(TensorSpec(t.name, tuple(t.shape), np.dtype(t.dtype)) for t in file.outputs)
        require_input(path, card.input, self.inputs, remedy="export it again")

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Zeros."""
        return {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in self.outputs}

    def close(self) -> None:
        """Nothing to release."""
