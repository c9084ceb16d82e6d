"""Frames as sources give them; what else may be passed as one, and how it becomes BGR pixels."""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import FrameError, SourceEndedError, SourceError


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a source; ``np.asarray(frame)`` is its image.

    Attributes:
        image: uint8 [H, W, 3] BGR; the caller's own arrays as they are.
        name: path, or source and number.
        index: place in the source, from 0; damaged frames keep theirs.
        time: seconds since the first frame by the time stamps of the video, stream or camera; None without any.
        captured: when this process got it, in seconds of ``time.monotonic()``. Where the driver of a camera tells
            when the picture was taken, it is that.
        source: where it comes from: the name of the folder, video, camera or stream; tells several apart.
        dropped: number of frames of a live source that gave way to newer ones, from its start to this frame.

    >>> frame = Frame(np.zeros((48, 64, 3), np.uint8), "camera 0 #0", 0, source="camera 0")
    >>> np.asarray(frame).shape, frame.dropped
    ((48, 64, 3), 0)
    """

    image: NDArray[Any]
    name: str
    index: int
    time: float | None = None
    captured: float = field(default_factory=clock.monotonic)
    source: str = ""
    dropped: int = 0

    @property
    def age(self) -> float:
        """Seconds since it was captured."""
        return clock.monotonic() - self.captured

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        array = np.asarray(self.image, dtype)
        return array.copy() if copy else array


@dataclass(frozen=True)
class Unreadable:
    """An image of a folder or a frame of a video that cannot be read, or the early end of a source.

    Attributes:
        name: path, or source and number.
        index: place in the source, from 0.
        reason: why it cannot be read, one sentence.
        ends: whether the source has ended with it, too early.

    >>> from edgedet import open_source
    >>> lost: list[Unreadable] = []
    >>> with open_source(["frame.png", "gone.png"], unreadable=lost.append) as frames:
    ...     len(list(frames)), lost[0].name
    (1, 'gone.png')
    """

    name: str
    index: int
    reason: str
    ends: bool = False


def tell(lost: Unreadable, unreadable: Callable[[Unreadable], None] | None) -> None:
    """Tell ``unreadable`` of a frame that cannot be read.

    Raises:
        SourceError: there is nobody to tell it to.
        SourceEndedError: the same, and the source has ended with it.
    """
    if unreadable is None:
        raise (SourceEndedError if lost.ends else SourceError)(lost.reason)
    unreadable(lost)


ACCEPTED = (
    "expected a NumPy array as OpenCV reads it: uint8 [H, W, 3] BGR; also [H, W] or [H, W, 1] grey, "
    "[H, W, 4] BGRA, or float16/32/64 with values 0..255; or an array with __dlpack__ of the same kind"
)

CUDA, CUDA_MANAGED = 2, 13
DEVICES = {
    1: "the host", CUDA: "an NVIDIA GPU", 3: "the host", 4: "an OpenCL device", 7: "a Vulkan device",
    8: "a Metal device", 10: "an AMD GPU", 11: "the host", CUDA_MANAGED: "an NVIDIA GPU", 14: "a oneAPI device",
}  # fmt: skip
"""DLPack's DLDeviceType, in words (https://dmlc.github.io/dlpack/latest/c_api.html)."""


def is_on_gpu(frame: Any) -> bool:
    """Whether a frame lies in the memory of an NVIDIA GPU, as far as it says so itself."""
    if isinstance(frame, np.ndarray):
        return False
    kind = _device(frame)
    return kind in (CUDA, CUDA_MANAGED) if kind is not None else hasattr(frame, "__cuda_array_interface__")


def as_bgr(frame: Any) -> NDArray[Any]:
    """Check a frame and give its pixels as uint8 or float32 [H, W, 3], BGR, 0..255; copies only where it must.

    Grey is repeated to three channels, alpha is dropped. Float frames hold the same 0..255 as uint8 ones. Arrays of
    other libraries come by DLPack, without a copy.

    Raises:
        FrameError: anything else, saying what is accepted.
    """
    if not isinstance(frame, np.ndarray):
        frame = _array(frame)
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
        hint = ""
        if frame.dtype == np.uint16:
            hint = f"; 16-bit cameras: {to_8_bits_hint(int(frame.min()), int(frame.max()))}"
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


def spread_over_16_bits(low: int, high: int) -> bool:
    """Whether the upper 8 of 16 bits show what a picture with values from ``low`` to ``high`` holds.

    Not where cameras put 10 to 14 bits in 16, and not where thermal ones count hundredths of a kelvin: either would
    be all but one shade.

    >>> spread_over_16_bits(0, 65535), spread_over_16_bits(0, 4095), spread_over_16_bits(29000, 31500)
    (True, False, False)
    """
    return high == 0 or (high >= 1 << 14 and (high == low or high - low >= 1 << 12))


def to_8_bits_hint(low: int, high: int) -> str:
    """How to bring values of 16 bits to 8.

    >>> to_8_bits_hint(0, 4095)
    'convert it to 8 bits as the training pictures were, for example (frame >> 4).astype(np.uint8)'
    """
    shift = max(high.bit_length() - 8, 0) if high else 8
    how = f"(frame >> {shift}).astype(np.uint8)" if shift else "frame.astype(np.uint8)"
    if high >= 1 << 14 and not spread_over_16_bits(low, high):
        how = f"((frame - {low}) * (255 / {high - low})).astype(np.uint8)"
    return f"convert it to 8 bits as the training pictures were, for example {how}"


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


def _device(frame: Any) -> int | None:
    """DLPack's number for where a frame lies, None where it does not tell."""
    tell = getattr(frame, "__dlpack_device__", None)
    if tell is None:
        return None
    try:
        return int(tell()[0])
    except Exception:  # tensors without memory (PyTorch's meta device) refuse
        return None


def _array(frame: Any) -> NDArray[Any]:
    """A frame of another library, seen by NumPy where it lies."""
    kind = _device(frame)
    if kind is None or not hasattr(frame, "__dlpack__"):
        raise FrameError(f"the frame is {_describe(frame)}; {ACCEPTED}")
    where = DEVICES.get(kind, f"DLPack device {kind}")
    if where != "the host":
        raise FrameError(f"the frame is {_describe(frame)} on {where}; copy it to the host; {ACCEPTED}")
    try:
        return np.from_dlpack(frame)
    except Exception as error:  # every library refuses with kinds of its own
        reason = " ".join(str(error).split())
        raise FrameError(
            f"the frame is {_describe(frame)} that NumPy cannot take ({reason}); {ACCEPTED}"
        ) from error


def _describe(frame: Any) -> str:
    if frame is None:
        return "None (cv2.imread gives None for a file it cannot read)"
    kind = type(frame)
    if kind.__module__.startswith("PIL."):
        return "a PIL image, which is RGB: pass np.asarray(image.convert('RGB'))[:, :, ::-1]"
    if kind.__module__.startswith("torch"):
        return "a torch tensor"
    return f"a {kind.__name__}"
