"""Rows aside: what an evaluation keeps per detection, so that its memory does not grow with the dataset.

The first few hundred thousand stay in memory: boxes come from pictures, and nothing of those is written unasked
where it need not be. Only a large dataset's go to a file, which has no name and vanishes with the process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 1 << 16
IN_MEMORY = 16 << 20
"""Bytes of a table that stay in memory."""


class RowStore:
    """An append-only table of one structured dtype, in memory, or in a temporary file that vanishes with the "
    "store."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (lives as long as the store)
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows; they must be of the store's dtype."""
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(rows, self._dtype).tobytes())
        self._rows += len(rows)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Every row, in order, in blocks."""
        size = BLOCK_ROWS * self._dtype.itemsize
        for offset in range(0, self._rows * self._dtype.itemsize, size):
            self._file.seek(offset)
            yield np.frombuffer(self._file.read(size), self._dtype)

    def where(self, field: str, value: int) -> NDArray[Any]:
        """The rows whose ``field`` is ``value``, in order."""
        parts = [block[block[field] == value] for block in self.blocks()]
        return np.concatenate(parts) if parts else np.zeros(0, self._dtype)

    def all(self) -> NDArray[Any]:
        """Every row at once."""
        parts = list(self.blocks())
        return np.concatenate(parts) if parts else np.zeros(0, self._dtype)
