"""Constants that lie in files beside an ONNX file (external data): there, and whole, before they are read."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from edgedet.errors import ArtifactError

LARGEST = 2**31 - 1
"""Bytes: what protocol buffers can be, and so what a graph with all its constants inside can be."""


def require_weights_beside(model: onnx.ModelProto, path: Path) -> None:
    """Refuse a ``model``, read from ``path`` without its external data, whose data cannot be read.

    Raises:
        ArtifactError: a file that is missing, cut short or outside the folder, or more than one graph can hold.
    """
    total = 0
    for tensor in model.graph.initializer:
        if not uses_external_data(tensor):
            continue
        info = ExternalDataInfo(tensor)
        beside = path.parent / info.location
        if Path(info.location).is_absolute() or ".." in Path(info.location).parts:
            raise ArtifactError(
                f"{path} keeps its constant {tensor.name!r} in {info.location}, outside its own folder, which is "
                "not read; put the file beside it, or export it again"
            )
        if not beside.is_file():
            raise ArtifactError(
                f"{path} keeps its weights in a file of their own, {info.location}, which is not beside it; copy "
                "both into one folder (the name must stay)"
            )
        end = (info.offset or 0) + (info.length or 0)
        size = beside.stat().st_size
        if size < end:
            raise ArtifactError(
                f"{beside} has {size} bytes, but {path.name} expects {end} at least (constant {tensor.name!r}): it "
                "is cut short, or belongs to another graph; copy or export both again"
            )
        total += info.length or 0
    if total > LARGEST:
        raise ArtifactError(
            f"{path} has {total} bytes of weights beside it, and a graph holds {LARGEST} at most; edgedet cannot "
            "make one of it"
        )
