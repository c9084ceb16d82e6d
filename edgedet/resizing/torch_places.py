"""Bilinear interpolation without antialiasing as PyTorch computes it, places in float32 included."""

from __future__ import annotations

import numpy as np

from edgedet.resizing.four_pixels import FourPixelResize, Taps


class TorchResize(FourPixelResize):
    """Half-pixel centres, at the places that PyTorch's CPU kernel computes in float32; for one pair of sizes.

    ``source``, ``target``: (height, width). OpenCV rounds the exact place to float32, PyTorch rounds the scale
    and every step: some thousandths of a grey level. A transformer that gives its proposals, in the order of their
    scores, to queries that differ makes other boxes of that where two scores are as near to each other.

    >>> import numpy as np
    >>> result = np.zeros((1, 2, 3), np.float32)
    >>> TorchResize((1, 4), (1, 2))(np.repeat(np.uint8([[[0], [80], [160], [240]]]), 3, axis=2), result)
    >>> result[0, :, 0].tolist()
    [40.0, 200.0]
    """

    def __init__(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        super().__init__(source, target, *(taps(*sides) for sides in zip(source, target, strict=True)))


def taps(source: int, target: int) -> Taps:
    """Taps of PyTorch's resize along one axis of ``source`` pixels for ``target`` ones.

    ``area_pixel_compute_source_index`` of ATen/native/UpSample.h, rounded after each step.
    That is the kernel of more than one thread. With one, PyTorch takes another, whose multiplication and addition
    are fused and rounded once.
    """
    half = np.float32(0.5)
    scale = np.float32(source) / np.float32(target)
    places = np.maximum(scale * (np.arange(target, dtype=np.float32) + half) - half, np.float32(0))
    first = np.minimum(places.astype(np.intp), source - 1)
    share = places - first.astype(np.float32)
    return (first, np.float32(1) - share), (np.minimum(first + 1, source - 1), share)
