"""Datasets: one module per format, one :class:`Dataset`, one function that recognises what is there."""

from __future__ import annotations

from edgedet.datasets.dataset import Dataset, ImageRecord, Problem
from edgedet.datasets.read import read_dataset

__all__ = ["Dataset", "ImageRecord", "Problem", "read_dataset"]
