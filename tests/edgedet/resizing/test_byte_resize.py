"""Bytes of resized frames, on processors for which OpenCV has code of its own."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from edgedet.artifacts.card import InputSpec, ResizeRule
from edgedet.preprocess import Preprocessor
from edgedet.resizing import byte_resize
from edgedet.resizing.byte_resize import GENERAL, ByteResize

SIZES = [((480, 640), (312, 416)), ((1080, 1920), (234, 416)), ((300, 277), (700, 500)), ((64, 64), (32, 32))]
RESIZE = cv2.resize


def frame(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8)


def as_on_arm(pixels: Any, *arguments: Any, dst: Any = None, **options: Any) -> Any:
    """OpenCV's code for arm64, in so far as it rounds otherwise with up to four channels, areas excepted."""
    found = RESIZE(pixels, *arguments, **options)
    if pixels.dtype == np.uint8 and pixels.shape[2] < GENERAL and not options:
        found = found ^ 1
    if dst is None:
        return found
    np.copyto(dst, found)
    return dst


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_general_code_gives_the_bytes_of_three_channels(source: tuple[int, int], target: tuple[int, int]) -> None:
    """Where OpenCV has general code alone, and so wherever a framework was trained."""
    resize = ByteResize(source, target)
    resize.general = True
    pixels, content = frame(*source), np.zeros((*target, 3), np.uint8)
    resize(pixels, content)
    if not byte_resize.OWN_CODE:
        assert np.array_equal(content, RESIZE(pixels, target[::-1]))


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_code_that_rounds_otherwise_is_left(
    source: tuple[int, int], target: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, content = frame(*source), np.zeros((*target, 3), np.uint8)
    expected = np.zeros_like(content)
    ByteResize(source, target)(pixels, expected)
    monkeypatch.setattr(cv2, "resize", as_on_arm)
    resize = ByteResize(source, target)
    resize(pixels, content)
    assert resize.general and np.array_equal(content, expected)


@pytest.mark.skipif(byte_resize.OWN_CODE, reason="only where OpenCV has general code alone")
def test_code_that_rounds_alike_is_kept() -> None:
    assert not ByteResize((480, 640), (312, 416)).general


def test_a_frame_becomes_the_same_tensor_where_opencv_rounds_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = InputSpec(416, 416)
    pixels = frame(480, 640)
    here = Preprocessor(spec, ResizeRule("letterbox"))
    here.prepare(pixels)
    monkeypatch.setattr(cv2, "resize", as_on_arm)
    monkeypatch.setattr("edgedet.preprocess.OWN_CODE", True)
    there = Preprocessor(spec, ResizeRule("letterbox"))
    there.prepare(pixels)
    assert np.array_equal(here.tensor, there.tensor)
    monkeypatch.setattr("edgedet.preprocess.OWN_CODE", False)
    other = Preprocessor(spec, ResizeRule("letterbox"))
    other.prepare(pixels)
    assert not np.array_equal(here.tensor, other.tensor), "the double stands for nothing"
