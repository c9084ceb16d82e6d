"""Rows come back as they went in, from memory and from a file."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.evaluate import row_store
from edgedet.evaluate.row_store import RowStore

ROW = np.dtype([("label", "<i4"), ("score", "<f4")])


@pytest.mark.parametrize("in_memory", [row_store.IN_MEMORY, 40])
def test_rows_come_back_in_order_across_blocks(monkeypatch: pytest.MonkeyPatch, in_memory: int) -> None:
    monkeypatch.setattr(row_store, "BLOCK_ROWS", 4)
    monkeypatch.setattr(row_store, "IN_MEMORY", in_memory)
    store = RowStore(ROW)
    rows = np.zeros(11, ROW)
    rows["label"], rows["score"] = np.arange(11) % 3, np.arange(11) / 11
    for part in (rows[:1], rows[1:6], rows[6:9], rows[9:]):
        next(store.blocks(), None)  # a reader that stopped half-way must not be written over
        store.append(part)
        assert np.array_equal(store.all(), rows[: len(store)])  # reading does not disturb writing
    assert np.array_equal(store.where("label", 2), rows[rows["label"] == 2])


def test_an_empty_store_has_rows_of_its_dtype() -> None:
    store = RowStore(ROW)
    assert (len(store), store.all().dtype, store.where("label", 0).dtype) == (0, ROW, ROW)
