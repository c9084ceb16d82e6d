"""What is accepted as a frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgedet.errors import FrameError
from edgedet.pictures.frames import as_bgr, is_on_gpu

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)


def test_a_plain_frame_is_not_copied() -> None:
    assert np.shares_memory(as_bgr(COLOURS), COLOURS)


def test_a_cropped_view_is_not_copied() -> None:
    assert np.shares_memory(as_bgr(COLOURS[1:4, 1:3]), COLOURS)


@pytest.mark.parametrize("view", [COLOURS[::-1], COLOURS[:, ::2], COLOURS[:, :, ::-1], COLOURS.transpose(1, 0, 2)])
def test_views_with_gaps_or_backwards_become_contiguous_and_keep_their_values(view: Any) -> None:
    pixels = as_bgr(view)
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, view)


@pytest.mark.parametrize("grey", [COLOURS[:, :, 0], COLOURS[:, :, :1]])
def test_grey_is_repeated(grey: Any) -> None:
    np.testing.assert_array_equal(as_bgr(grey), np.repeat(COLOURS[:, :, :1], 3, axis=2))


def test_alpha_is_dropped() -> None:
    with_alpha = np.dstack([COLOURS, np.full((6, 5), 7, np.uint8)])
    np.testing.assert_array_equal(as_bgr(with_alpha), COLOURS)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_pixels_of_0_to_255(dtype: Any) -> None:
    pixels = as_bgr(COLOURS.astype(dtype))
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, COLOURS)


def test_a_black_float_frame_is_no_normalised_one() -> None:
    assert as_bgr(np.zeros((2, 2, 3), np.float32)).max() == 0


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, "cv2.imread gives None"),
        ([[1, 2], [3, 4]], "a list"),
        (np.zeros((3, 20, 30), np.uint8), r"\[C, H, W\]: frame.transpose"),
        (np.zeros((2, 20, 30, 3), np.uint8), "detect_batch"),
        (np.zeros((20, 30, 2), np.uint8), r"shape \[20, 30, 2\]"),
        (np.zeros((0, 30, 3), np.uint8), "no pixels"),
        (np.zeros(12, np.uint8), r"shape \[12\]"),
        (np.zeros((4, 4, 3), np.uint16), "frame >> 8"),
        (np.zeros((4, 4, 3), np.int32), "dtype is int32"),
        (np.zeros((4, 4, 3), bool), "dtype is bool"),
        (np.full((4, 4, 3), 0.5, np.float32), "multiply it by 255"),
        (np.full((4, 4, 3), 300.0), "300"),
        (np.full((4, 4, 3), -1.0), "-1"),
        (np.full((4, 4, 3), np.nan), "nan"),
        (np.full((4, 4, 3), np.inf), "inf"),
    ],
)
def test_anything_else_is_refused_and_told_what_is_accepted(frame: Any, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        as_bgr(frame)
    with pytest.raises(FrameError, match=r"uint8 \[H, W, 3\] BGR"):
        as_bgr(frame)


def test_a_pil_image_is_refused_because_its_channels_are_the_other_way_round() -> None:
    image = pytest.importorskip("PIL.Image").new("RGB", (4, 4))
    with pytest.raises(FrameError, match="PIL image, which is RGB"):
        as_bgr(image)


class ByDlpack:
    """An array that shows nothing but DLPack."""

    def __init__(self, array: Any, device: int | None = None) -> None:
        self._array, self._kind = array, device

    def __dlpack__(self, **named: Any) -> Any:
        return self._array.__dlpack__(**named)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__() if self._kind is None else (self._kind, 0)


def test_other_libraries_arrays_are_taken_where_they_are() -> None:
    assert np.shares_memory(as_bgr(ByDlpack(COLOURS)), COLOURS)
    np.testing.assert_array_equal(as_bgr(ByDlpack(COLOURS[:, :, 0])), np.repeat(COLOURS[:, :, :1], 3, axis=2))
    np.testing.assert_array_equal(as_bgr(ByDlpack(COLOURS[::-1])), COLOURS[::-1])


def test_torch_tensors_on_the_cpu_are_frames() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(COLOURS.copy())
    assert np.shares_memory(as_bgr(tensor), tensor.numpy())
    np.testing.assert_array_equal(as_bgr(tensor.float()), COLOURS)
    assert not is_on_gpu(tensor)
    for wrong, said in (
        (tensor.permute(2, 0, 1), r"\[C, H, W\]: frame.transpose"),
        (tensor.float().requires_grad_(), "NumPy cannot take .*grad"),
        (tensor.to(torch.bfloat16), "a torch tensor that NumPy cannot take"),
        (torch.empty(4, 4, 3, dtype=torch.uint8, device="meta"), "a torch tensor"),
    ):
        with pytest.raises(FrameError, match=said):
            as_bgr(wrong)


@pytest.mark.parametrize(
    ("device", "where"), [(2, "an NVIDIA GPU"), (8, "a Metal device"), (10, "an AMD GPU"), (99, "DLPack device 99")]
)
def test_arrays_elsewhere_are_refused_by_the_cpu(device: int, where: str) -> None:
    with pytest.raises(FrameError, match=f"on {where}; copy it to the host"):
        as_bgr(ByDlpack(COLOURS, device))
    assert is_on_gpu(ByDlpack(COLOURS, device)) == (device == 2)
