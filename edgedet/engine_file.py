"""The container of an engine: 4 bytes length (little-endian), JSON, plan; or a bare plan and its JSON beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.errors import ArtifactError

MAX_HEADER = 16 * 2**20
"""No metadata is that long; a larger length means that this is no such file."""


@dataclass(frozen=True)
class EngineFile:
    """``header``: the JSON object in front of the plan or beside it. ``plan_offset``: where the plan starts."""

    path: Path
    header: dict[str, Any]
    plan_offset: int


def read_engine_header(path: str | Path) -> EngineFile:
    """Find an engine's description; the plan itself is not read.

    Raises:
        ArtifactError: no container, and no ``.json`` beside a bare plan.
    """
    path = Path(path)
    with path.open("rb") as file:
        start = file.read(5)
        size = int.from_bytes(start[:4], "little")
        if start[4:5] == b"{" and 2 <= size <= MAX_HEADER:
            text = start[4:5] + file.read(size - 1)
            if len(text) < size:
                raise ArtifactError(f"{path} breaks off inside its header; copy it again or build it again")
            return EngineFile(path, _object(text, path), 4 + size)
    beside = next((place for place in sidecars(path) if place.is_file()), None)
    if beside is None:
        raise ArtifactError(
            f"{path} is a bare TensorRT plan without a description: {sidecars(path)[0].name} is not beside it; "
            "keep the two files together, or build the engine with edgedet export"
        )
    return EngineFile(path, _object(beside.read_bytes(), beside), 0)


def sidecars(path: Path) -> tuple[Path, Path]:
    """Where the JSON of a bare plan may lie: ``model.json`` or ``model.plan.json``."""
    return path.with_suffix(".json"), path.with_name(path.name + ".json")


def _object(text: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ArtifactError(
            f"the description of the engine in {path} is not JSON ({error}); build it again"
        ) from error
    if not isinstance(value, dict):
        raise ArtifactError(f"the description of the engine in {path} is no JSON object; build it again")
    return value
