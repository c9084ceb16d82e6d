"""Calibration frames: a dataset's images through exactly the pre-processing that the device will do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from edgedet.calibration.ledger import digest_of
from edgedet.calibration.network import Array
from edgedet.card import ModelCard
from edgedet.datasets import Dataset
from edgedet.errors import CalibrationError, SourceError
from edgedet.preprocess import Preprocessor
from edgedet.sources import read_image

MOST_IMAGES = 500
"""Of larger sets, so many images evenly spaced are used: ranges settle long before."""
FEWEST_IMAGES = 2
FEW_IMAGES = 16
KEPT_BYTES = 512 * 2**20
"""Prepared frames are kept in memory up to here, and prepared anew at every pass beyond."""
SMALLEST_SIDE = 16
"""Pixels; anything smaller is a thumbnail or an accident, and would be blown up to noise-free blurs."""


class CalibrationFrames(Sequence[Array]):
    """The prepared input tensors of a dataset's images, made by :class:`edgedet.preprocess.Preprocessor`.

    Item ``i`` is a whole input of the graph ([N, H, W, 3] or as the card says); with a batch larger than one it
    holds as many images, the last one filled up from the front. ``warnings`` says what was left out, and why.

    Raises:
        CalibrationError: no usable image, only one, or all of them one picture.
    """

    def __init__(self, dataset: Dataset, card: ModelCard) -> None:
        self.warnings: list[str] = []
        self._preprocess = Preprocessor(card.input, card.resize)
        self._batch = card.input.batch
        usable = []
        small = 0
        for image in dataset.images:
            if min(image.width, image.height) < SMALLEST_SIDE:
                self.warnings.append(
                    f"{image.path}: {image.width}x{image.height} pixels, too small to calibrate on; left out"
                )
                continue
            small += image.width * 2 < card.input.width and image.height * 2 < card.input.height
            usable.append(image.path)
        if len(usable) > MOST_IMAGES:
            step = len(usable) / MOST_IMAGES
            usable = [usable[int(i * step)] for i in range(MOST_IMAGES)]
        self._paths = usable
        self._kept: dict[int, Array] = {}
        self._bytes = 0
        self._check(dataset, small, card)

    def _check(self, dataset: Dataset, small: int, card: ModelCard) -> None:
        count = len(self._paths)
        if count < FEWEST_IMAGES:
            raise CalibrationError(
                f"{dataset.source} has {count} usable calibration image{'s' * (count != 1)}: ranges taken from a "
                f"single image clip every other one; give at least {FEW_IMAGES}, better 100 or more, like those "
                "the device will see"
            )
        if count < FEW_IMAGES:
            self.warnings.append(
                f"only {count} calibration images: ranges may be too narrow for what the device will see; give at "
                f"least {FEW_IMAGES}, better 100 or more"
            )
        if small * 2 > count:
            self.warnings.append(
                f"{small} of {count} calibration images are less than half the network's "
                f"{card.input.width}x{card.input.height} pixels: enlarged pictures are smoother than camera "
                "frames; calibrate on frames of the size the device will see"
            )
        first, last = self[0], self[len(self) - 1]
        if len(self) > 1 and len({digest_of(first), digest_of(self[len(self) // 2]), digest_of(last)}) == 1:
            raise CalibrationError(
                f"{dataset.source}: the calibration images are all one picture; give different ones, like those "
                "the device will see"
            )

    @property
    def images(self) -> int:
        """Number of images in use."""
        return len(self._paths)

    def __len__(self) -> int:
        return (len(self._paths) + self._batch - 1) // self._batch

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> list[Array]: ...
    def __getitem__(self, index: int | slice) -> Array | list[Array]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        if index not in self._kept:
            tensor = self._make(index)
            if self._bytes + tensor.nbytes > KEPT_BYTES:
                return tensor
            self._kept[index] = tensor
            self._bytes += tensor.nbytes
        return self._kept[index]

    def _make(self, index: int) -> Array:
        for slot in range(self._batch):
            path = self._paths[(index * self._batch + slot) % len(self._paths)]
            try:
                frame = read_image(path)
            except SourceError as error:
                raise CalibrationError(f"calibration image {path}: {error}") from error
            self._preprocess.prepare(frame, slot)
        return self._preprocess.tensor.copy()
