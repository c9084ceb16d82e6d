"""An artifact held in memory: read once, so that what was checked is what is loaded.

A file can change between a check and a load, and an engine is code. What is held here does not change any more. The
files of an artifact that has several become one: weights come inside the graph, the description in front of the
plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgedet.artifacts.engine_file import MAX_HEADER
from edgedet.artifacts.engine_library import PLAN_STARTS
from edgedet.artifacts.external_data import external_files, with_data_inside
from edgedet.artifacts.protobuf import DamagedError
from edgedet.errors import ArtifactError

MEMORY = Path("<memory>")
"""The path of an artifact that no file was named for."""


@dataclass(frozen=True)
class Held:
    """An artifact in memory.

    Attributes:
        path: the file it was read from, or :data:`MEMORY`.
        main: the bytes of that file.
        content: the whole artifact as one file: ``main`` where there are no others.
    """

    path: Path
    main: bytes
    content: bytes


def hold(content: bytes, path: Path = MEMORY, *, graph: bool) -> Held:
    """Hold an artifact of one file.

    Args:
        content: its bytes.
        path: for messages.
        graph: whether it is an ONNX file.

    Raises:
        ArtifactError: parts of it lie in other files; or it is to be an ONNX file and is none.
    """
    if content.startswith(PLAN_STARTS):
        raise ArtifactError(
            f"{path} is a bare plan, whose description is another file; hold an engine with its card in front "
            "(edgedet export -o ENGINE.trt)"
        )
    outside = outside_files(content, path) if graph else ()
    if outside:
        raise ArtifactError(
            f"the weights of {path} lie in other files ({', '.join(outside[:3])}); save the graph with its weights "
            "inside (onnx.save without save_as_external_data)"
        )
    return Held(path, content, content)


def outside_files(content: bytes, path: Path) -> tuple[str, ...]:
    """Names of the files in which weights of a graph lie.

    Raises:
        ArtifactError: not an ONNX file, or a name that leads out of its folder.
    """
    try:
        return external_files(content)
    except DamagedError as error:
        raise ArtifactError(f"{path} is not a complete ONNX file ({error}); copy or export it again") from None


def hold_plan(plan: bytes, description: bytes, path: Path) -> Held:
    """Hold a bare plan and the JSON beside it.

    Raises:
        ArtifactError: the description is too long for one.
    """
    if len(description) > MAX_HEADER:
        raise ArtifactError(f"the description of {path} is of {len(description)} bytes; build the engine again")
    return Held(path, plan, len(description).to_bytes(4, "little") + description + plan)


def hold_graph(content: bytes, data: Mapping[str, bytes], path: Path) -> Held:
    """Hold an ONNX file and the files in which its weights lie, by the names that it states.

    Raises:
        ArtifactError: they do not belong together.
    """
    try:
        return Held(path, content, with_data_inside(content, data))
    except DamagedError as error:
        raise ArtifactError(f"{path} cannot be put together ({error}); copy or export it again") from None
