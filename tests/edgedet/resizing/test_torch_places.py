"""Resizing to PyTorch's last digits: what a transformer that ranks its proposals needs to make the same boxes."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.artifacts.card import InputSpec, ResizeRule
from edgedet.preprocess import Preprocessor
from edgedet.resizing.four_pixels import LARGEST_PLACE
from edgedet.resizing.torch_places import TorchResize

ROUNDINGS = 1e-4
"""Grey levels: three or four roundings of float32 at 255. OpenCV's places are 5e-3 away."""


def interpolated(frame: np.ndarray, target: tuple[int, int]) -> np.ndarray:
    """By PyTorch itself."""
    torch = pytest.importorskip("torch")
    # With a single thread it takes another kernel, whose places are rounded otherwise.
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    planes = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    try:
        found = torch.nn.functional.interpolate(planes, target, mode="bilinear", align_corners=False)[0]
    finally:
        torch.set_num_threads(threads)
    return np.asarray(found).transpose(1, 2, 0)


@pytest.mark.parametrize(
    ("source", "target"),
    [((480, 640), (384, 384)), ((425, 640), (384, 384)), ((333, 500), (384, 384)), ((33, 51), (90, 77)),
     ((1, 7), (5, 9)), ((7, 1), (9, 5)), ((40, 40), (40, 17))],
)  # fmt: skip
def test_pixels_are_those_of_pytorch(source: tuple[int, int], target: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*source, 3)).astype(np.uint8)
    found = np.zeros((*target, 3), np.float32)
    TorchResize(source, target)(frame, found)
    np.testing.assert_allclose(found, interpolated(frame, target), rtol=0, atol=ROUNDINGS)


def test_a_card_says_it() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (333, 500, 3)).astype(np.uint8)
    rule = ResizeRule("stretch", coordinates="half_pixel_float32")
    preprocessor = Preprocessor(InputSpec(96, 96, dtype="float32"), rule)
    preprocessor.prepare(frame)
    np.testing.assert_allclose(preprocessor.tensor[0], interpolated(frame, (96, 96)), rtol=0, atol=ROUNDINGS)


def test_frames_beyond_opencvs_tables() -> None:
    side = LARGEST_PLACE + 10
    frame = np.random.default_rng(0).integers(0, 256, (2, side, 3)).astype(np.uint8)
    found = np.zeros((2, 500, 3), np.float32)
    TorchResize((2, side), (2, 500))(frame, found)
    np.testing.assert_allclose(found, interpolated(frame, (2, 500)), rtol=0, atol=0.6)
