"""Datasets: one module per format, one :class:`Dataset`, one function that recognises what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedet.lazy_names import lazy_names
from edgedet.uninstalled_rooms import require_this_version

if TYPE_CHECKING:
    from edgedet.datasets.dataset import ClipFrame, Dataset, ImageRecord, Problem
    from edgedet.datasets.map_dataset import MapDataset, MapRecord, read_map_dataset
    from edgedet.datasets.read import read_dataset

__version__ = "0.1.0"
# Here for the whole wheel: evaluations, references, sweeps and reports read datasets.
require_this_version("edgedet-report", __version__)

__all__ = [
    "ClipFrame",
    "Dataset",
    "ImageRecord",
    "MapDataset",
    "MapRecord",
    "Problem",
    "read_dataset",
    "read_map_dataset",
]

# Lazy, so that help can list the formats without NumPy.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ClipFrame": "edgedet.datasets.dataset",
        "Dataset": "edgedet.datasets.dataset",
        "ImageRecord": "edgedet.datasets.dataset",
        "MapDataset": "edgedet.datasets.map_dataset",
        "MapRecord": "edgedet.datasets.map_dataset",
        "Problem": "edgedet.datasets.dataset",
        "read_dataset": "edgedet.datasets.read",
        "read_map_dataset": "edgedet.datasets.map_dataset",
    },
)
