"""The container of an engine: 4 bytes length (little-endian), JSON, plan; or a bare plan and its JSON beside it."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.engine_library import (
    LIBRARIES,
    TENSORRT,
    EngineLibrary,
    library_of_name,
    library_of_plan,
)
from edgedet.errors import ArtifactError, DamagedArtifactError
from edgedet.files import atomic_path

Container = Literal["file", "plan"]

SMALLEST_PLAN = 64
"""Minimum size of a plan in bytes: its header alone."""

HEADER_SEAL = "sealed"
"""Key of a description with the SHA-256 of itself, in which zeros stand for that digest; and, of ``engine``, the
word that it has one."""

NO_DIGEST = b"0" * 64

MAX_HEADER = 16 * 2**20
"""Maximum length of the header; a larger one means that this is another kind of file."""


@dataclass(frozen=True)
class EngineFile:
    """``header``: the JSON object in front of the plan or beside it. ``plan_offset``: where the plan starts;
    ``plan_start``: its first bytes; ``content``: the file, where it is held in memory."""

    path: Path
    header: dict[str, Any]
    plan_offset: int
    plan_start: bytes
    content: bytes | None = field(default=None, repr=False)

    @property
    def facts(self) -> dict[str, Any]:
        """What the header says of the build; empty where it says nothing."""
        stated = self.header.get("engine")
        return stated if isinstance(stated, dict) else {}


def read_engine_header(path: str | Path, content: bytes | None = None) -> EngineFile:
    """Find an engine's description; the plan itself is not read.

    ``content``: the file, where it is held in memory; a container then, since nothing lies beside it.

    Raises:
        ArtifactError: no container, and no ``.json`` beside a bare plan; or a damaged description.
    """
    path = Path(path)
    with io.BytesIO(content) if content is not None else path.open("rb") as file:
        start = file.read(5)
        size = int.from_bytes(start[:4], "little")
        if start[4:5] == b"{" and 2 <= size <= MAX_HEADER:
            text = start[4:5] + file.read(size - 1)
            if len(text) < size:
                raise ArtifactError(f"{path} breaks off inside its header; copy it again or build it again")
            return EngineFile(path, _object(text, path), 4 + size, file.read(SMALLEST_PLAN), content)
    beside = None if content is not None else next((place for place in sidecars(path) if place.is_file()), None)
    if beside is None:
        library = library_of_plan(start) or library_of_name(path) or TENSORRT
        raise ArtifactError(
            f"{path} is a bare {library.title} plan without a description: "
            f"{sidecars(path)[0].name} is not beside it; "
            "keep the two files together, or build the engine with edgedet export"
        )
    return EngineFile(path, _object(beside.read_bytes(), beside), 0, start)


def library_of(engine: EngineFile) -> EngineLibrary:
    """The library an engine is for: by its plan's first bytes, else by its card, else by its name.

    Raises:
        ArtifactError: they contradict each other, as where a file was renamed.
    """
    named = library_of_name(engine.path)
    stated = engine.facts.get("library")
    carded = next((library for library in LIBRARIES if library.name == stated), None)
    found = library_of_plan(engine.plan_start) or carded or named or TENSORRT
    if carded not in (None, found):
        assert carded is not None
        raise ArtifactError(
            f"the plan in {engine.path} is of {found.title}, its card is of an engine for {carded.title}; copy or "
            "build it again"
        )
    if named not in (None, found):
        assert named is not None
        raise ArtifactError(
            f"{engine.path} is named as an engine for {named.title}, and holds one for {found.title}: name it "
            f"{engine.path.with_suffix(found.suffixes[0]).name} to run it there, or build one from its .onnx file "
            f"(edgedet export MODEL.onnx -o {engine.path.name})"
        )
    return found


def sidecars(path: Path) -> tuple[Path, Path]:
    """Places of the JSON of a bare plan: ``model.json`` or ``model.plan.json``."""
    return path.with_suffix(".json"), path.with_name(path.name + ".json")


def _object(text: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"the description of the engine in {path} is not JSON ({error}); build it again"
        ) from error
    if not isinstance(value, dict):
        raise ArtifactError(f"the description of the engine in {path} is no JSON object; build it again")
    _require_header_seal(text, value, path)
    return value


def _require_header_seal(text: bytes, value: dict[str, Any], path: Path) -> None:
    """A changed threshold or class name is a wrong result; the plan has a digest of its own."""
    stated, facts = value.get(HEADER_SEAL), value.get("engine")
    if stated is None and not (isinstance(facts, dict) and facts.get(HEADER_SEAL) is True):
        return
    digits = str(stated).encode("utf-8", "replace")
    if (
        len(digits) != len(NO_DIGEST)
        or text.count(digits) != 1
        or hashlib.sha256(text.replace(digits, NO_DIGEST)).hexdigest().encode() != digits
    ):
        raise DamagedArtifactError(
            f"the description of the engine in {path} is damaged, or changed since edgedet wrote it: its sha256 is "
            f"not the one it states; copy or build it again, or take {HEADER_SEAL!r} out of it to use it as it is"
        )


def description(card: ModelCard) -> bytes:
    """What stands in front of a plan or beside it: the card, and last the digest of this very text, in which zeros
    stand for it."""
    card = replace(card, engine={**(card.engine or {}), HEADER_SEAL: True})
    text = f'{card.to_json()[:-1]}, "{HEADER_SEAL}": "'.encode("ascii")
    end = b'"}'
    return text + hashlib.sha256(text + NO_DIGEST + end).hexdigest().encode() + end


def write_engine(
    path: Path, card: ModelCard, plan: bytes | memoryview, *, container: Container = "file"
) -> ModelCard:
    """Write an engine whole or not at all, and return its card, on which the plan's sha256 now stands.

    ``container``: ``file`` puts the card in front of the plan; ``plan`` writes the bare plan (for Triton, trtexec)
    and the card beside it, as ``path`` with ``.json``.

    Raises:
        OutputError: the file cannot be written.
    """
    digest = hashlib.sha256(plan).hexdigest()
    card = replace(card, engine={**(card.engine or {}), "plan_sha256": digest, HEADER_SEAL: True})
    text = description(card)
    if container == "plan":
        with atomic_path(sidecars(path)[0]) as beside, atomic_path(path) as temporary:
            beside.write_bytes(text)
            temporary.write_bytes(plan)
        return card
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(4, "little"))
        file.write(text)
        file.write(plan)
    return card


def read_plan(engine: EngineFile) -> bytes:
    """The plan itself, checked against the sha256 on its card where there is one.

    Raises:
        ArtifactError: cut off, or not the plan the card was written for.
    """
    if engine.content is not None:
        plan = engine.content[engine.plan_offset :]
    else:
        with engine.path.open("rb") as file:
            file.seek(engine.plan_offset)
            plan = file.read()
    if len(plan) < SMALLEST_PLAN:
        raise ArtifactError(
            f"{engine.path} holds {len(plan)} bytes of a plan, too few for any; copy or build it again"
        )
    expected = engine.facts.get("plan_sha256")
    found = hashlib.sha256(plan).hexdigest()
    if expected is not None and expected != found:
        raise DamagedArtifactError(
            f"the plan in {engine.path} is damaged: sha256 is {found[:12]}…, its card says {str(expected)[:12]}…; "
            "copy or build it again"
        )
    return plan


def plan_version(plan: bytes | memoryview) -> str | None:
    """``major.minor.patch`` of the library that wrote a plan, None where the plan does not say.

    Bytes 24 to 26 of the header hold it, in TensorRT's plans and in those of TensorRT-RTX; NVIDIA does not document
    this (NVIDIA/TensorRT issue 3073), so a plan of another layout says nothing rather than something wrong.

    >>> plan_version(b"ptrt" + bytes(20) + bytes([10, 3, 0]) + bytes(40))
    '10.3.0'
    """
    library = library_of_plan(plan)
    if library is None or len(plan) < SMALLEST_PLAN:
        return None
    major, minor, patch = plan[24:27]
    return f"{major}.{minor}.{patch}" if major in library.majors else None
