"""Prepared inputs as pictures, and back: what is drawn on them reaches the network as a camera's pixels would."""

from __future__ import annotations

import numpy as np

from edgedet.artifacts.card import InputSpec
from edgedet.onnx_graph.network import Array
from edgedet.preprocess import normalisation


class Canvas:
    """Turns inputs of one network into pictures float32 [N, H, W, 3] BGR of 0 to 255, and back."""

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec
        self._offset, self._divisor = normalisation(spec)

    def pictures(self, tensor: Array) -> Array:
        """The pictures in a prepared input, one per place of the batch."""
        pixels = tensor.transpose(0, 2, 3, 1) if self._spec.layout == "NCHW" else tensor
        pixels = pixels.astype(np.float32)
        if self._spec.normalise == "host":
            pixels = pixels * self._divisor + self._offset
        return np.ascontiguousarray(pixels[..., ::-1] if self._spec.colour == "RGB" else pixels)

    def tensor(self, pictures: Array) -> Array:
        """The prepared input that holds ``pictures``; pixels are rounded as a camera's are."""
        pixels = np.rint(np.clip(pictures, 0, 255)).astype(np.float32)
        pixels = pixels[..., ::-1] if self._spec.colour == "RGB" else pixels
        if self._spec.normalise == "host":
            pixels = (pixels - self._offset) / self._divisor
        pixels = pixels.transpose(0, 3, 1, 2) if self._spec.layout == "NCHW" else pixels
        return np.ascontiguousarray(pixels, np.dtype(self._spec.dtype))
