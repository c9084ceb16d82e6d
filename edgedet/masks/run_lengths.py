"""COCO's run lengths: how long an object's pixels are absent and there by turns, column by column."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

OFFSET = 48
"""The first character of compressed counts."""


def coco_rle(region: NDArray[np.bool_], left: int, top: int, frame_size: tuple[int, int]) -> dict[str, Any]:
    """Compressed run lengths of an object whose pixels all lie in ``region`` [h, w] of a frame (height, width).

    >>> coco_rle(np.ones((2, 1), np.bool_), 1, 0, (2, 3))
    {'size': [2, 3], 'counts': '222'}
    """
    return {"size": list(frame_size), "counts": compressed(run_lengths(region, left, top, frame_size))}


def run_lengths(region: NDArray[np.bool_], left: int, top: int, frame_size: tuple[int, int]) -> NDArray[np.int64]:
    """Lengths of runs of the frame's pixels, column by column: absent first, which may be 0."""
    height, width = frame_size
    # A row of nothing at both ends of each column, so that runs begin and end in it.
    columns = np.pad(region.T.astype(np.int8), ((0, 0), (1, 1)))
    change = np.diff(columns, axis=1)
    column, row = np.nonzero(change == 1)
    begins = (column + left) * height + row + top
    column, row = np.nonzero(change == -1)
    ends = (column + left) * height + row + top
    # Runs to the frame's lower edge go on at the upper one of the next column.
    apart = begins[1:] != ends[:-1]
    begins = begins[np.concatenate([[True], apart])] if len(begins) else begins
    ends = ends[np.concatenate([apart, [True]])] if len(ends) else ends
    edges = np.stack([begins, ends], axis=1).ravel()
    counts = np.diff(edges, prepend=0, append=height * width)
    # Nothing follows a run that reaches the frame's end.
    return counts[:-1] if len(counts) > 1 and counts[-1] == 0 else counts


def compressed(counts: NDArray[np.int64]) -> str:
    """Counts as text: differences to the count two before, five bits a character, least first (``rleToString`` of
    the COCO API)."""
    text: list[str] = []
    for place, count in enumerate(counts.tolist()):
        value = count - int(counts[place - 2]) if place > 2 else count
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            text.append(chr((bits | 0x20 if more else bits) + OFFSET))
    return "".join(text)


def decompressed(text: str) -> NDArray[np.int64]:
    """Counts from the text that :func:`compressed` makes.

    Raises:
        ValueError: the text is no such.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - OFFSET
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError(f"{character!r} in run lengths, which is none of theirs")
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift or min(counts, default=0) < 0:
        raise ValueError("run lengths that are cut off or negative")
    return np.array(counts, np.int64)


def from_run_lengths(counts: NDArray[np.int64], frame_size: tuple[int, int]) -> NDArray[np.bool_]:
    """A whole frame bool [H, W] of an object's run lengths.

    Raises:
        ValueError: they are of another number of pixels.
    """
    height, width = frame_size
    if int(counts.sum()) != height * width:
        raise ValueError(f"run lengths of {int(counts.sum())} pixels, expected {height} x {width}")
    there = np.arange(len(counts)) % 2 == 1
    return np.repeat(there, counts).reshape(width, height).T
