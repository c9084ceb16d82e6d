"""Datasets: one module per format, one :class:`Dataset`, one function that recognises what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Dataset", "ImageRecord", "Problem", "read_dataset"]

if TYPE_CHECKING:
    from edgedet.datasets.dataset import Dataset, ImageRecord, Problem
    from edgedet.datasets.read import read_dataset

_HOMES = {
    "Dataset": "edgedet.datasets.dataset",
    "ImageRecord": "edgedet.datasets.dataset",
    "Problem": "edgedet.datasets.dataset",
    "read_dataset": "edgedet.datasets.read",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that help can list the formats without NumPy.
    if name not in _HOMES:
        raise AttributeError(f"module 'edgedet.datasets' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
