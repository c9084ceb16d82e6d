"""Calibration frames: pictures through exactly the pre-processing that the device will do."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import overload

import onnx

from edgedet.artifacts.card import ModelCard
from edgedet.datasets import Dataset
from edgedet.errors import CalibrationError, SourceError
from edgedet.onnx_graph.network import Array
from edgedet.prefetch import in_order, threads_beside
from edgedet.preprocess import Preprocessor

from .effort import spread
from .pictures import Picture, Pictures, different, of_dataset

MAX_IMAGES = 500
"""Maximum number of images, evenly spaced in larger sets: ranges settle long before."""
MIN_IMAGES = 2
FEW_IMAGES = 16
KEPT_BYTES = 512 * 2**20
"""Prepared frames are kept in memory up to here, and prepared anew at every pass beyond."""
SMALLEST_SIDE = 16
"""Pixels; anything smaller is a thumbnail or an accident, and would be blown up to noise-free blurs."""


class Sample(Sequence[Array]):
    """Evenly spread frames of a set, which are taken from it when they are asked for: nothing is held here."""

    def __init__(self, frames: Sequence[Array], wanted: int) -> None:
        self._frames = frames
        self._places = spread(len(frames), wanted)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> list[Array]: ...
    def __getitem__(self, index: int | slice) -> Array | list[Array]:
        if isinstance(index, slice):
            return [self._frames[place] for place in self._places[index]]
        return self._frames[self._places[index]]


class CalibrationFrames(Sequence[Array]):
    """The prepared input tensors of pictures or of a dataset's, made by :class:`edgedet.preprocess.Preprocessor`.

    Item ``i`` is a whole input of the graph, of the card's dtype (uint8 or float32), [N, H, W, 3], or [N, 3, H, W]
    where the card's layout is NCHW; with a batch larger than one it holds as many images, the last one filled up
    from the front. Of more than 500 images, so many evenly spaced ones are used.

    Args:
        images: a dataset, whose labels are not looked at, or what :func:`pictures_of` gives.
        card: model card of the graph, which says how pictures are prepared.

    Attributes:
        warnings: sentences for the user: what was left out, and why, and what is wrong with the rest.

    Raises:
        CalibrationError: no usable image, only one, or all of them one picture.

    >>> from edgedet import Detector
    >>> from edgedet.calibration import pictures_of
    >>> frames = CalibrationFrames(pictures_of("photos/*.png"), Detector("tiny.onnx").card)
    >>> frames.images, len(frames), frames[0].shape, frames[0].dtype
    (12, 12, (1, 32, 32, 3), dtype('uint8'))
    >>> frames.warnings
    ['only 12 calibration images: ranges may be too narrow for what the device will see; give at least 16, ...']
    """

    def __init__(self, images: Dataset | Pictures, card: ModelCard) -> None:
        pictures = of_dataset(images) if isinstance(images, Dataset) else images
        self.warnings: list[str] = list(pictures.notes)
        self._left_out: list[str] = []
        self._preprocess = Preprocessor(card.input, card.resize)
        self._batch = card.input.batch
        chosen = list(pictures.pictures)
        if len(chosen) > MAX_IMAGES:
            step = len(chosen) / MAX_IMAGES
            chosen = [chosen[int(i * step)] for i in range(MAX_IMAGES)]
        self._pictures: list[Picture] = []
        self._kept: dict[int, Array] = {}
        self._bytes = 0
        self._making = threading.Lock()
        with closing(in_order(chosen, [_decoded] * threads_beside())) as decoded:
            seen = {self._take(picture, frame) for picture, frame in zip(chosen, decoded, strict=True)} - {None}
        self._check(pictures.source, len(seen), card)

    def _take(self, picture: Picture, frame: Array | SourceError) -> int | None:
        """Use a picture if it can be; gives a number that differs between different ones."""
        if isinstance(frame, SourceError):
            self._leave_out(f"{frame}; left out")
            return None
        height, width = frame.shape[:2]
        if min(width, height) < SMALLEST_SIDE:
            self._leave_out(f"{picture.name}: {width}x{height} pixels, too small to calibrate on; left out")
            return None
        if self._batch == 1:
            self._preprocess.prepare(frame, 0)
            self._keep(len(self._pictures), self._preprocess.tensor.copy())
        self._pictures.append(replace(picture, width=width, height=height))
        return different(frame)

    def _leave_out(self, reason: str) -> None:
        self._left_out.append(reason)
        self.warnings.append(reason)

    def _check(self, source: str, seen: int, card: ModelCard) -> None:
        count = len(self._pictures)
        if count < MIN_IMAGES:
            more = f" (and {len(self._left_out) - 1} more)" if len(self._left_out) > 1 else ""
            left_out = f"; {self._left_out[0]}{more}" if self._left_out else ""
            raise CalibrationError(
                f"{source} has {count} usable calibration image{'s' * (count != 1)}: ranges taken from a "
                f"single image clip every other one; give at least {FEW_IMAGES}, better 100 or more, like those "
                f"the device will see{left_out}"
            )
        if seen < MIN_IMAGES:
            raise CalibrationError(
                f"{source}: the calibration images are all one picture; give different ones, like those "
                "the device will see"
            )
        if seen < FEW_IMAGES:
            self.warnings.append(
                f"only {seen} {'different ' if seen < count else ''}calibration images: ranges may be too narrow "
                f"for what the device will see; give at least {FEW_IMAGES}, better 100 or more"
            )
        small = sum(
            picture.width * 2 < card.input.width and picture.height * 2 < card.input.height
            for picture in self._pictures
        )
        if small * 2 > count:
            self.warnings.append(
                f"{small} of {count} calibration images are less than half the network's "
                f"{card.input.width}x{card.input.height} pixels: enlarged pictures are smoother than camera "
                "frames; calibrate on frames of the size the device will see"
            )

    @property
    def images(self) -> int:
        """Number of images in use."""
        return len(self._pictures)

    def __len__(self) -> int:
        return (len(self._pictures) + self._batch - 1) // self._batch

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> list[Array]: ...
    def __getitem__(self, index: int | slice) -> Array | list[Array]:
        """One prepared input by number, several by slice.

        Args:
            index: number, also from the end, or slice.

        Returns:
            An array of the graph's input shape and dtype, or a list of them.

        Raises:
            IndexError: a number outside.
            CalibrationError: an image that could be read before, and no longer can.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        # Whoever runs frames in lanes takes them there, with one place to prepare them in.
        with self._making:
            return self._keep(index, self._make(index))

    def _keep(self, index: int, tensor: Array) -> Array:
        if self._bytes + tensor.nbytes <= KEPT_BYTES:
            self._kept[index] = tensor
            self._bytes += tensor.nbytes
        return tensor

    def _make(self, index: int) -> Array:
        for slot in range(self._batch):
            picture = self._pictures[(index * self._batch + slot) % len(self._pictures)]
            try:
                frame = picture.read()
            except SourceError as error:
                raise CalibrationError(f"a calibration image can no longer be read: {error}") from error
            self._preprocess.prepare(frame, slot)
        return self._preprocess.tensor.copy()


def _decoded(picture: Picture) -> Array | SourceError:
    """Its pixels, or why there are none."""
    try:
        return picture.read()
    except SourceError as error:
        return error


def check_frames(model: onnx.ModelProto, frames: Sequence[Array]) -> None:
    """Compare the first frame with the graph's input.

    Raises:
        CalibrationError: no frames, or shape or dtype differ.
    """
    if not len(frames):
        raise CalibrationError("no calibration frames; give images like those the device will see")
    constants = {constant.name for constant in model.graph.initializer}
    value = next(value for value in model.graph.input if value.name not in constants)
    shape = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    first = frames[0]
    agrees = len(shape) == first.ndim and all(s in (0, n) for s, n in zip(shape, first.shape, strict=True))
    if not agrees or first.dtype != dtype:
        raise CalibrationError(
            f"calibration frames are {first.dtype} {list(first.shape)}, the graph takes {dtype} {list(shape)}; "
            "prepare them with the model card's own pre-processing"
        )


TAKEN_BY_THREADS = (list, tuple, CalibrationFrames)
"""Sequences of frames that several threads may take from at a time."""
