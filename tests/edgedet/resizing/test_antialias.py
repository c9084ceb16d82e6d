"""Shrinking with antialiasing gives the bytes of torchvision, where the card's rule asks for it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from edgedet.artifacts.card import InputSpec, ResizeRule
from edgedet.preprocess import Preprocessor
from edgedet.proof.golden_scene import golden_frame
from edgedet.resizing import antialias
from edgedet.resizing.antialias import AntialiasedResize
from edgedet.resizing.antialias_integer_ratio import WholeSteps

SIZES = [
    ((480, 640), (128, 128)),
    ((1080, 1920), (640, 640)),
    ((90, 576), (64, 96)),  # six whole steps, whose weights have a bit more
    ((60, 250), (60, 50)),
    ((640, 586), (128, 112)),  # shrinks so far that float32 would round
    ((1500, 2000), (96, 96)),
    ((90, 70), (128, 128)),
    ((427, 640), (640, 640)),
    ((7, 300), (32, 32)),
]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_bytes_are_torchvisions(source: tuple[int, int], target: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    for frame in (noise(*source), golden_frame(3, *source)):
        planes = torch.from_numpy(frame).permute(2, 0, 1)
        expected = functional.resize(planes, list(target), antialias=True).permute(1, 2, 0).numpy()
        found = np.zeros((*target, 3), np.uint8)
        AntialiasedResize(source, target)(frame, found)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("step", [2, 3, 4, 5])
def test_the_smallest_of_whole_steps_are_torchvisions(step: int) -> None:
    """Some have no pixel that is away from both ends."""
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    for width in range(1, 12):
        frame = noise(2 * step, width * step)
        planes = torch.from_numpy(frame).permute(2, 0, 1)
        expected = functional.resize(planes, [2, width], antialias=True).permute(1, 2, 0).numpy()
        found = np.zeros((2, width, 3), np.uint8)
        AntialiasedResize(frame.shape[:2], (2, width))(frame, found)
        np.testing.assert_array_equal(found, expected, err_msg=str(width))


@pytest.mark.parametrize(("source", "target"), SIZES[:3])
def test_floats_are_not_rounded(source: tuple[int, int], target: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    frame = noise(*source)
    planes = torch.from_numpy(frame).permute(2, 0, 1).float()
    expected = functional.resize(planes, list(target), antialias=True).permute(1, 2, 0).numpy()
    found = np.zeros((*target, 3), np.float32)
    AntialiasedResize(source, target)(frame, found)
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize(("source", "target"), [*SIZES, ((50, 40), (1, 9)), ((9, 9), (2, 2))])
def test_a_second_thread_changes_nothing(
    source: tuple[int, int], target: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(antialias, "SHARED_BYTES", 1)
    alone, shared = AntialiasedResize(source, target), AntialiasedResize(source, target, threads=2)
    used, run = set(), antialias._Part.__call__

    def watched(part: antialias._Part, *frames: np.ndarray) -> None:
        used.add(threading.get_ident())
        run(part, *frames)

    monkeypatch.setattr(antialias._Part, "__call__", watched)
    for frame in (noise(*source), noise(*source).astype(np.float32)):
        for dtype in (np.uint8, np.float32):
            found, expected = np.zeros((*target, 3), dtype), np.ones((*target, 3), dtype)
            alone(frame, expected)
            used.clear()
            shared(frame, found)
            assert len(used) == min(target[0], 2)
            # Bands of rows end elsewhere, and products of matrices are summed in another order.
            np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4 if dtype == np.float32 else 0)


def test_whole_steps_give_what_products_give(monkeypatch: pytest.MonkeyPatch) -> None:
    for source, target in (((40, 400), (20, 100)), ((33, 330), (30, 66)), ((64, 192), (40, 96))):
        frame = noise(*source)
        for dtype in (np.uint8, np.float32):
            found, expected = np.zeros((*target, 3), dtype), np.zeros((*target, 3), dtype)
            quick = AntialiasedResize(source, target)
            assert isinstance(quick._parts[0]._columns, WholeSteps)
            quick(frame, found)
            with monkeypatch.context() as patch:
                patch.setattr(antialias, "WholeSteps", refuse)
                AntialiasedResize(source, target)(frame, expected)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 if dtype == np.float32 else 0)
            # Frames of floats go the other way, at any time.
            quick(frame.astype(np.float32), found)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 if dtype == np.float32 else 0)


def refuse(*_: object) -> None:
    raise ValueError("not here")


def test_the_rule_decides() -> None:
    # Stripes one pixel wide: their average is grey, single pixels are black or white.
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[:, ::2] = 255
    spec = InputSpec(height=12, width=12)
    plain, smooth = (Preprocessor(spec, ResizeRule("stretch", antialias=on)) for on in (False, True))
    plain.prepare(frame)
    smooth.prepare(frame)
    assert np.ptp(plain.tensor.astype(int)) > 60
    assert np.ptp(smooth.tensor.astype(int)) < 20 and abs(smooth.tensor.mean() - 127.5) < 2
    # Another size of frame takes other weights.
    smooth.prepare(np.full((40, 200, 3), 9, np.uint8))
    assert (smooth.tensor == 9).all()


def test_a_part_of_a_frame_goes_into_a_part_of_a_canvas() -> None:
    frame, canvas, alone = noise(150, 200), np.zeros((64, 64, 3), np.uint8), np.zeros((40, 60, 3), np.uint8)
    resize = AntialiasedResize((130, 180), (40, 60))
    resize(frame[10:140, 15:195], canvas[8:48, 2:62])
    resize(np.ascontiguousarray(frame[10:140, 15:195]), alone)
    np.testing.assert_array_equal(canvas[8:48, 2:62], alone)
    assert alone.std() > 5
    assert not canvas[:8].any()
    assert not canvas[48:].any()
