"""Signatures of artifacts: one small file beside each, ``model.onnx.sig`` for ``model.onnx``.

What is signed is a statement in JSON: size and SHA-256 of every file of the artifact, when it was signed, and until
when that holds. The file of signatures may hold several, by different keys or of different artifacts: while an
artifact is being replaced, those of the old and of the new one lie there together, so that no moment is without the
right one (docs/decisions/011). docs/artifact-format.md has the format.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal, get_args

from edgedet.artifacts.signing_keys import is_signed_by, key_name
from edgedet.errors import SignatureError

SUFFIX = ".sig"
PREFIX = b"edgedet artifact statement 1\n"
"""Bytes in front of a statement when it is signed: the same key may sign other things."""

FILE_KEY = "edgedet_signatures"
VERSION = 1
LARGEST = 1 << 20
"""Maximum size in bytes of a file of signatures."""
MAX_SIGNATURES = 64
"""Maximum number of signatures in it."""

CLOCK = timedelta(days=1)
"""How far behind the day of signing a clock may be before it is taken for wrong."""

Role = Literal["artifact", "description", "data"]
TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Part:
    """One file of an artifact.

    Attributes:
        role: ``artifact``: the file itself. ``description``: the JSON beside a bare plan. ``data``: weights of a
            graph.
        name: of the file; of ``data``, as the graph states it. The others are found by the artifact's own name.
        size: in bytes.
        sha256: its digest, hexadecimal.
    """

    role: Role
    name: str
    size: int
    sha256: str

    def holds(self, content: bytes) -> bool:
        """Whether ``content`` is that file."""
        return len(content) == self.size and hashlib.sha256(content).hexdigest() == self.sha256


@dataclass(frozen=True)
class Statement:
    """What an owner says of an artifact.

    Attributes:
        parts: its files, the artifact first.
        signed: when, UTC.
        expires: until when it holds; None for good.
    """

    parts: tuple[Part, ...]
    signed: datetime
    expires: datetime | None = None

    def serialised(self) -> bytes:
        """The JSON that is signed."""
        return json.dumps(
            {
                "version": VERSION,
                "parts": [
                    {"role": part.role, "name": part.name, "bytes": part.size, "sha256": part.sha256}
                    for part in self.parts
                ],
                "signed": self.signed.strftime(TIME),
                "expires": None if self.expires is None else self.expires.strftime(TIME),
            }
        ).encode("ascii")

    @property
    def artifact(self) -> Part:
        """The artifact's own file."""
        return self.parts[0]


@dataclass(frozen=True)
class Signature:
    """A statement and who made it.

    Attributes:
        statement: its JSON, as it was signed.
        key: name of the key (:func:`key_name`), for people: nothing is believed for it.
        signature: 64 bytes.
    """

    statement: bytes
    key: str
    signature: bytes


def part_of(role: Role, name: str, content: bytes) -> Part:
    """What a statement says of a file."""
    return Part(role, name, len(content), hashlib.sha256(content).hexdigest())


def sign(statement: Statement, private: Any) -> Signature:
    """Sign with an owner's key (:func:`edgedet.artifacts.signing_keys.read_private_key`)."""
    said = statement.serialised()
    return Signature(said, key_name(private.public_key()), private.sign(PREFIX + said))


def signature_path(path: str | Path) -> Path:
    """Path of the signatures of an artifact.

    >>> signature_path("models/camera.onnx").name
    'camera.onnx.sig'
    """
    path = Path(path)
    return path.with_name(path.name + SUFFIX)


def serialise(signatures: Sequence[Signature]) -> bytes:
    """A file of signatures."""
    entries = [
        {
            "statement": base64.b64encode(one.statement).decode("ascii"),
            "key": one.key,
            "signature": base64.b64encode(one.signature).decode("ascii"),
        }
        for one in signatures
    ]
    return (json.dumps({FILE_KEY: VERSION, "signatures": entries}, indent=1) + "\n").encode("ascii")


def parse(content: bytes, where: str) -> tuple[Signature, ...]:
    """The signatures in a file; ``where`` names it.

    Raises:
        SignatureError: it is none.
    """
    broken = f"{where} is no file of signatures"
    if len(content) > LARGEST:
        raise SignatureError(f"{broken}: {len(content)} bytes are too many; sign the artifact again (edgedet sign)")
    try:
        found = json.loads(content)
        if not isinstance(found, dict) or found.get(FILE_KEY) != VERSION:
            raise ValueError(f"expected an object with {FILE_KEY!r}: {VERSION}")
        entries = found["signatures"]
        if not isinstance(entries, list) or len(entries) > MAX_SIGNATURES:
            raise ValueError(f"expected a list of at most {MAX_SIGNATURES} signatures")
        return tuple(
            Signature(
                base64.b64decode(entry["statement"], validate=True),
                str(entry.get("key", "")),
                base64.b64decode(entry["signature"], validate=True),
            )
            for entry in entries
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        said = " ".join(str(error).split())[:100]
        raise SignatureError(f"{broken} ({said}); sign the artifact again (edgedet sign)") from None


def statements_by(signatures: Sequence[Signature], keys: Sequence[Any], where: str) -> tuple[Statement, ...]:
    """The statements that the owner of one of ``keys`` signed.

    Raises:
        SignatureError: there is none, or it is of a newer edgedet.
    """
    own = [one.statement for one in signatures if any(_fits(one, key) for key in keys)]
    if not own:
        named = {key_name(key) for key in keys} & {one.key for one in signatures}
        if named:
            raise SignatureError(
                f"the signature in {where} that says to be by the key {', '.join(sorted(named))} is wrong: it or "
                "what it speaks of was changed, or another key made it; take the artifact and its signature from "
                "its owner again"
            )
        there = ", ".join(sorted({_plain(one.key) for one in signatures})) or "none"
        expected = ", ".join(map(key_name, keys))
        raise SignatureError(
            f"{where} holds no signature by the key that is required ({expected}); it holds: {there}. Sign the "
            "artifact with that key (edgedet sign), or take it from its owner again"
        )
    return tuple(statement_of(said, where) for said in own)


def require_current(statement: Statement, now: datetime, where: str) -> None:
    """Check that a statement holds today.

    Raises:
        SignatureError: it has expired, or the clock here is of no use for telling.
    """
    if statement.expires is None:
        return
    if now > statement.expires:
        raise SignatureError(
            f"the signature in {where} expired on {statement.expires.strftime(TIME)}, and it is "
            f"{now.strftime(TIME)} here; sign the artifact again (edgedet sign), or set the clock where it is wrong"
        )
    if now < statement.signed - CLOCK:
        raise SignatureError(
            f"the signature in {where} holds until {statement.expires.strftime(TIME)}, which cannot be told here: "
            f"the clock says {now.strftime(TIME)}, before it was made ({statement.signed.strftime(TIME)}); set it"
        )


def statement_of(said: bytes, where: str) -> Statement:
    """A statement from its JSON; whether it was signed is another question.

    Raises:
        SignatureError: it is none, or one of a newer edgedet.
    """
    try:
        found = json.loads(said)
        if found["version"] != VERSION:
            raise SignatureError(
                f"the signature in {where} is of version {found['version']!r}, this edgedet reads {VERSION}; "
                "update edgedet"
            )
        parts = tuple(
            Part(part["role"], str(part["name"]), int(part["bytes"]), str(part["sha256"]))
            for part in found["parts"]
        )
        roles = [part.role for part in parts]
        if roles[:1] != ["artifact"] or roles.count("artifact") > 1 or roles.count("description") > 1:
            raise ValueError("its files are no artifact's")
        if set(roles) - set(get_args(Role)):
            raise ValueError(f"it speaks of {roles}")
        expires = found["expires"]
        return Statement(parts, _time(found["signed"]), None if expires is None else _time(expires))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SignatureError(
            f"what was signed in {where} cannot be read ({error}); sign the artifact again"
        ) from None


def _fits(signature: Signature, key: Any) -> bool:
    return len(signature.signature) == 64 and is_signed_by(key, signature.signature, PREFIX + signature.statement)


def _time(text: str) -> datetime:
    return datetime.strptime(text, TIME).replace(tzinfo=timezone.utc)


def _plain(name: str) -> str:
    return "".join(letter for letter in name if letter.isalnum())[:16] or "?"
