"""Artifacts with their signatures: read once, checked, and held as they were checked; and signed.

Nothing of an artifact is looked into before its owner's signature has been found to be right: first the signature,
then the digests of the files, then what is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgedet.artifacts.engine_file import sidecars
from edgedet.artifacts.engine_library import PLAN_STARTS
from edgedet.artifacts.external_data import require_inside
from edgedet.artifacts.file_signs import START
from edgedet.artifacts.held_artifact import Held, hold, hold_graph, hold_plan, outside_files
from edgedet.artifacts.ncnn_file import is_ncnn
from edgedet.artifacts.protobuf import DamagedError
from edgedet.artifacts.signature import (
    LARGEST,
    Part,
    Signature,
    Statement,
    parse,
    part_of,
    require_current,
    sign,
    signature_path,
    statement_of,
    statements_by,
)
from edgedet.errors import ArtifactError, SignatureError
from edgedet.files import read_regular

LARGEST_FILE = 1 << 36
TRIES = 3
"""How often an artifact is read again that is being replaced while it is read."""

Keys = Sequence[Sequence[Any]]
"""Public keys: of each group one must have signed."""


@dataclass(frozen=True)
class Verified:
    """An artifact whose signatures are right.

    Attributes:
        held: the artifact, as it was checked.
        statements: what was signed, one for each key that was asked for.
    """

    held: Held
    statements: tuple[Statement, ...]


def read_verified(path: str | Path, keys: Keys, *, now: datetime | None = None) -> Verified:
    """Read an artifact and the file of signatures beside it, once, and check every file.

    Args:
        path: graph or engine.
        keys: public keys.
        now: the time; None asks the clock.

    Raises:
        SignatureError: no signature, a wrong, an expired or a foreign one; or a file that it does not cover.
        ArtifactError: the artifact is missing or cannot be read.
    """
    path = Path(path)
    for last in (False,) * (TRIES - 1) + (True,):
        before = _identity(path)
        try:
            return _verify(path, _signatures(path), keys, now)
        except ArtifactError:
            # An artifact that is being replaced while it is read: both of its files have changed by now.
            if last or _identity(path) == before:
                raise
    raise AssertionError("the last try returns or raises")


def verify_bytes(
    content: bytes, signatures: bytes, keys: Keys, path: Path, *, graph: bool, now: datetime | None = None
) -> Verified:
    """Check an artifact of one file that is in memory.

    Args:
        content: its bytes.
        signatures: the content of its file of signatures.
        keys: public keys.
        path: for messages.
        graph: whether it is an ONNX file.
        now: the time; None asks the clock.

    Raises:
        SignatureError, ArtifactError: as :func:`read_verified`.
    """

    def read_part(part: Part) -> bytes | None:
        if part.role != "artifact":
            raise SignatureError(f"the signature of {path} is one of several files, and only one is held in memory")
        return content if part.holds(content) else None

    found = parse(signatures, f"the signature of {path}")
    statements = _chosen(found, keys, read_part, path, now)
    return Verified(hold(content, path, graph=graph), statements)


def read_to_sign(path: Path, *, graph: bool, signed: datetime, expires: datetime | None) -> tuple[bytes, Statement]:
    """An artifact's own file, and what is to be signed of it: all of its files, as they are now.

    Args:
        path: graph or engine.
        graph: whether it is an ONNX file.
        signed: now.
        expires: until when it is to hold; None for good.

    Raises:
        ArtifactError: a file of it is missing or cannot be read.
    """
    main = _read(path, path, LARGEST_FILE)
    parts = [part_of("artifact", path.name, main)]
    if main.startswith(PLAN_STARTS):
        beside = _description(path)
        parts.append(part_of("description", beside.name, _read(beside, path, LARGEST_FILE)))
    for name in outside_files(main, path) if graph else ():
        parts.append(part_of("data", name, _read(path.parent / name, path, LARGEST_FILE)))
    return main, Statement(tuple(parts), signed, expires)


def signatures_that_fit(path: Path, content: bytes, found: Sequence[Signature]) -> tuple[Signature, ...]:
    """Those of ``found`` that speak of an artifact with these bytes, whoever made them."""
    fitting = []
    for one in found:
        try:
            statement = statement_of(one.statement, str(path))
        except SignatureError:
            continue
        if statement.artifact.holds(content):
            fitting.append(one)
    return tuple(fitting)


def add_signature(statement: Statement, private: Any, *, kept: Sequence[Signature] = ()) -> tuple[Signature, ...]:
    """The signatures of an artifact with one more; an older one by the same key is replaced."""
    new = sign(statement, private)
    return (*(one for one in kept if one.key != new.key), new)


def _verify(path: Path, signatures: tuple[Signature, ...], keys: Keys, now: datetime | None) -> Verified:
    beside = str(signature_path(path))
    trusted = [statements_by(signatures, group, beside) for group in keys]
    # No more is read than the largest artifact that an owner of the keys signed.
    most = max(statement.artifact.size for statements in trusted for statement in statements)
    main = _read(path, path, most)
    contents: dict[str, bytes] = {}

    def read_part(part: Part) -> bytes | None:
        if part.role == "artifact":
            return main if part.holds(main) else None
        key = part.role if part.role == "description" else part.name
        if key not in contents:
            place = _description(path) if part.role == "description" else path.parent / _inside(part.name, beside)
            contents[key] = _read(place, path, part.size)
        return contents[key] if part.holds(contents[key]) else None

    statements = _chosen(signatures, keys, read_part, path, now)
    return Verified(_held(path, main, contents, statements), statements)


def _chosen(
    signatures: Sequence[Signature],
    keys: Keys,
    read_part: Callable[[Part], bytes | None],
    path: Path,
    now: datetime | None,
) -> tuple[Statement, ...]:
    """For each group of keys a statement that is right in everything."""
    where = str(signature_path(path))
    now = now or datetime.now(timezone.utc)
    chosen = []
    for group in keys:
        fitting = [each for each in statements_by(signatures, group, where) if read_part(each.artifact) is not None]
        if not fitting:
            raise SignatureError(
                f"{path} is not the file that was signed: its bytes are others than {where} speaks of; take it "
                "from its owner again"
            )
        reason: SignatureError | None = None
        for statement in fitting:
            try:
                require_current(statement, now, where)
                _require_parts(statement, read_part, path)
            except SignatureError as error:
                reason = reason or error
            else:
                chosen.append(statement)
                break
        else:
            assert reason is not None
            raise reason
    return tuple(chosen)


def _require_parts(statement: Statement, read_part: Callable[[Part], bytes | None], path: Path) -> None:
    for part in statement.parts[1:]:
        if read_part(part) is None:
            raise SignatureError(
                f"{part.name}, which belongs to {path}, is not the file that was signed; take it from its owner "
                "again"
            )


def _held(path: Path, main: bytes, contents: dict[str, bytes], statements: Sequence[Statement]) -> Held:
    """The artifact as one piece; every file that it is made of is one that each statement speaks of."""
    signed = [{part.name for part in each.parts if part.role == "data"} for each in statements]
    described = all(any(part.role == "description" for part in each.parts) for each in statements)
    if main.startswith(PLAN_STARTS):
        if not described:
            raise SignatureError(f"the signature of {path} does not cover its description; sign it again")
        return hold_plan(main, contents["description"], path)
    if main[4:5] == b"{" or is_ncnn(main[:START]):
        return hold(main, path, graph=False)
    wanted = outside_files(main, path)
    for name in wanted:
        if not all(name in names for names in signed):
            raise SignatureError(f"the signature of {path} does not cover {name}; sign it again (edgedet sign)")
    return hold_graph(main, contents, path) if wanted else hold(main, path, graph=True)


def _signatures(path: Path) -> tuple[Signature, ...]:
    beside = signature_path(path)
    try:
        content = read_regular(beside, LARGEST)
    except FileNotFoundError:
        if not path.exists():
            raise ArtifactError(f"no such file: {path}") from None
        raise SignatureError(
            f"{path} is not signed, and a signature is required: {beside.name} is not beside it; its owner makes "
            f"it with edgedet sign {path.name} --key KEY"
        ) from None
    except OSError as error:
        raise SignatureError(f"cannot read the signature {beside}: {error.strerror or error}") from error
    return parse(content, str(beside))


def _description(path: Path) -> Path:
    found = next((place for place in sidecars(path) if place.is_file()), None)
    if found is None:
        raise ArtifactError(
            f"{path} is a bare plan, and {sidecars(path)[0].name} is not beside it; keep them together"
        )
    return found


def _inside(name: str, where: str) -> str:
    try:
        return require_inside(name)
    except DamagedError as error:
        raise SignatureError(
            f"what was signed in {where} cannot be read ({error}); sign the artifact again"
        ) from None


def _read(place: Path, path: Path, most: int) -> bytes:
    """``most``: bytes; of a longer file a little more, which fits no digest."""
    try:
        return read_regular(place, most)
    except FileNotFoundError:
        of = "" if place == path else f", which belongs to {path}"
        raise ArtifactError(f"no such file: {place}{of}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise ArtifactError(f"cannot read {place}: {reason or error}") from error


def _identity(path: Path) -> tuple[object, ...]:
    """What changes when an artifact or its signatures are replaced."""
    found: list[object] = []
    for place in (path, signature_path(path)):
        try:
            status = place.stat()
            found += [status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size]
        except (OSError, ValueError):
            found.append(None)
    return tuple(found)
