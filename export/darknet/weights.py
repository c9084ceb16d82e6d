"""The numbers of a Darknet ``.weights``: a header of three or four counts, then float32 without any names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.file_signs import START, what_it_is
from edgedet.errors import CheckpointError

from .layer_records import Connected, Layer

Arrays = dict[str, NDArray[np.float32]]

LARGEST_VERSION = 1000
"""Maximum of version numbers that mean no more than they say: above, weights of connected layers are transposed."""
LARGEST_GRAPH = 2**31 - 2**24
"""Bytes of numbers that an ONNX file has room for."""


@dataclass(frozen=True)
class Header:
    """``version``: major, minor, revision of the trainer; ``seen``: pictures it had seen; ``bytes``: its length."""

    version: tuple[int, int, int]
    seen: int
    bytes: int

    @property
    def transposed(self) -> bool:
        """Whether the weights of connected layers are stored column by column."""
        return max(self.version[:2]) > LARGEST_VERSION


def read_weights(path: Path, layers: Sequence[Layer]) -> tuple[Header, list[Arrays]]:
    """The numbers of every layer, by the names of its parameters.

    Raises:
        CheckpointError: not there, something else, of another length than the layers need, or not finite.
    """
    total = 4 * sum(layer.numbers for layer in layers)
    cfg = layers[0].section.path
    if total > LARGEST_GRAPH:
        raise CheckpointError(
            f"{cfg} describes {total} bytes of weights, and an ONNX file has {LARGEST_GRAPH} at most; is a number "
            "in it too large?"
        )
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(START)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    header = _header(path, start, size - total)
    _require_length(path, layers, size, header.bytes)
    numbers = np.memmap(path, "<f4", "r", offset=header.bytes, shape=(total // 4,))
    found, place = [], 0
    for layer in layers:
        arrays: Arrays = {}
        for name, shape in layer.parameters:
            count = math.prod(shape)
            array = np.asarray(numbers[place : place + count], np.float32)
            if name == "weights" and header.transposed and isinstance(layer.kind, Connected):
                array = array.reshape(shape[::-1]).T
            arrays[name] = array.reshape(shape)
            place += count
            if not np.isfinite(array).all():
                raise CheckpointError(
                    f"{layer.section.where}: its {name} in {path} are not all finite numbers; the file is damaged, "
                    "or is of another .cfg"
                )
        if "variance" in arrays and (arrays["variance"] < 0).any():
            raise CheckpointError(
                f"{layer.section.where}: its variances in {path} are not all positive; the file is of another .cfg"
            )
        found.append(arrays)
    return header, found


def _header(path: Path, start: bytes, beside: int) -> Header:
    """``beside``: bytes of the file that are no numbers of layers, by the .cfg."""
    what = what_it_is(start)
    if not start:
        raise CheckpointError(f"{path} is empty; expected a Darknet .weights file")
    if len(start) < 16 or (what is not None and "Darknet" not in what):
        raise CheckpointError(f"{path} is {what or 'too short'}; expected a Darknet .weights file")
    major, minor, revision = (int(number) for number in np.frombuffer(start, "<i4", 3))
    if min(major, minor, revision) < 0:
        raise CheckpointError(
            f"{path} begins with the version {major}.{minor}.{revision}; expected a Darknet .weights file"
        )
    wide = major * 10 + minor >= 2
    if max(major, minor) >= LARGEST_VERSION:
        # pjreddie's Darknet takes 32 bits here, AlexeyAB's 64: the length tells.
        wide = beside == 20
    length = 20 if wide else 16
    seen = int.from_bytes(start[12:length], "little")
    return Header((major, minor, revision), seen, length)


def _require_length(path: Path, layers: Sequence[Layer], size: int, header: int) -> None:
    """Name the layer where the file ends, or what is left after the last."""
    wanted = header
    for layer in layers:
        wanted += 4 * layer.numbers
        if wanted > size:
            end = max(other.section.index for other in layers if other.numbers)
            raise CheckpointError(
                f"{layer.section.where}: {path} ends in its weights, {size} bytes long where {wanted} are needed "
                f"up to here (the last layer with weights is {end}); it is cut short, or of another .cfg: with "
                "other classes, or of a backbone to start training from"
            )
    if wanted < size:
        last = [layer for layer in layers if layer.numbers][-1:]
        after = f"after {last[0].section.where}" if last else "and the .cfg has no weights"
        raise CheckpointError(
            f"{path} has {size - wanted} bytes left {after}; it is of another .cfg, with more layers, filters or "
            "classes"
        )


def smallest_variances(layers: Sequence[Layer], arrays: Sequence[Arrays]) -> Iterator[tuple[Layer, float]]:
    """Smallest variance of every layer with batch normalisation."""
    for layer, found in zip(layers, arrays, strict=True):
        if "variance" in found:
            yield layer, float(found["variance"].min())
