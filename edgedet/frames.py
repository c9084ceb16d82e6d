"""What may be passed as a frame, and how it becomes BGR pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import FrameError

ACCEPTED = (
    "expected a NumPy array as OpenCV reads it: uint8 [H, W, 3] BGR; also [H, W] or [H, W, 1] grey, "
    "[H, W, 4] BGRA, or float16/32/64 with values 0..255"
)


def as_bgr(frame: Any) -> NDArray[Any]:
    """Check a frame and give its pixels as uint8 or float32 [H, W, 3], BGR, 0..255; copies only where it must.

    Grey is repeated to three channels, alpha is dropped. Float frames hold the same 0..255 as uint8 ones.

    Raises:
        FrameError: anything else, saying what is accepted.
    """
    if not isinstance(frame, np.ndarray):
        raise FrameError(f"the frame is {_describe(frame)}; {ACCEPTED}")
    if frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] not in (1, 3, 4)):
        hint = ""
        if frame.ndim == 3 and frame.shape[0] in (1, 3, 4):
            hint = "; this looks like [C, H, W]: frame.transpose(1, 2, 0)"
        elif frame.ndim == 4:
            hint = "; for several frames call detect_batch"
        raise FrameError(f"the frame has shape {list(frame.shape)}; {ACCEPTED}{hint}")
    if frame.size == 0:
        raise FrameError(f"the frame has shape {list(frame.shape)}, no pixels at all; {ACCEPTED}")
    if frame.dtype.kind == "f":
        frame = _checked_float(frame)
    elif frame.dtype != np.uint8:
        hint = "; 16-bit cameras: (frame >> 8).astype(np.uint8)" if frame.dtype == np.uint16 else ""
        raise FrameError(f"the frame's dtype is {frame.dtype}; {ACCEPTED}{hint}")
    if frame.ndim == 2:
        frame = frame[:, :, None]
    if frame.shape[2] == 1:
        return np.repeat(frame, 3, axis=2)
    if frame.shape[2] == 4:
        return np.ascontiguousarray(frame[:, :, :3])
    # OpenCV takes padded rows (a cropped view) as they are, but neither gaps between pixels nor negative strides.
    item = frame.itemsize
    if frame.strides[2] == item and frame.strides[1] == 3 * item and frame.strides[0] >= frame.shape[1] * 3 * item:
        return frame
    return np.ascontiguousarray(frame)


def _checked_float(frame: NDArray[Any]) -> NDArray[np.float32]:
    low, high = float(frame.min()), float(frame.max())
    if not (low >= 0 and high <= 255):  # also false for NaN
        raise FrameError(f"the frame is {frame.dtype} with values from {low:g} to {high:g}; {ACCEPTED}")
    if 0 < high <= 1:
        raise FrameError(
            f"the frame is {frame.dtype} with values up to {high:g}, it looks normalised to 0..1; "
            f"{ACCEPTED}; multiply it by 255"
        )
    return frame.astype(np.float32, copy=False)


def _describe(frame: Any) -> str:
    if frame is None:
        return "None (cv2.imread gives None for a file it cannot read)"
    kind = type(frame)
    if kind.__module__.startswith("PIL."):
        return "a PIL image, which is RGB: pass np.asarray(image.convert('RGB'))[:, :, ::-1]"
    if kind.__module__.startswith("torch"):
        return "a torch tensor: pass tensor.permute(1, 2, 0).cpu().numpy(), channels in BGR order, values 0..255"
    return f"a {kind.__name__}"
