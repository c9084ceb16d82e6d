"""The seal of a graph: the digest of everything in its file but the seal itself.

ONNX Runtime opens a file in which one bit of one weight has changed, and finds other boxes without a word. So a
graph that edgedet writes ends with one more entry of ``metadata_props``: the key ``edgedet.sha256`` and, as 64
hexadecimal digits, the SHA-256 of all other bytes of the file. The card says ``"sealed": true``, so that a file
that lost its seal is told from one that never had any. Files without either open as before: older ones, and those
of other tools.

A seal is no signature. Whoever changes a file on purpose writes another seal (:mod:`edgedet.artifacts.signature`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgedet.artifacts import onnx_fields as proto
from edgedet.artifacts.card import METADATA_KEY
from edgedet.artifacts.held_artifact import MEMORY
from edgedet.artifacts.onnx_file import mapped_onnx
from edgedet.artifacts.protobuf import Content, DamagedError, fields, record, records, text
from edgedet.errors import DamagedArtifactError

SEAL_KEY = "edgedet.sha256"
CLAIM = "sealed"
"""Key of a card whose file has a seal."""

AGAIN = (
    "copy or export it again; where another tool changed it on purpose: edgedet inspect {name} --seal NEW.onnx, "
    "then edgedet selftest NEW.onnx"
)


@dataclass(frozen=True)
class _Parts:
    """Places of the seal and the card in a file, and what they say. ``seals``, ``cards``: first byte of the entry,
    the byte after it, its value."""

    seals: tuple[tuple[int, int, str], ...]
    cards: tuple[tuple[int, int, str], ...]

    @property
    def claims(self) -> bool:
        return any(_claims(card) for _, _, card in self.cards)


def sealed(content: bytes) -> bytes:
    """An ONNX file with its seal, and with the card's word that it has one.

    Args:
        content: a serialised ``ModelProto``; a seal that it has is replaced.

    Raises:
        DamagedError: not an ONNX file.
    """
    parts = _parts(content)
    pieces, position = [], 0
    changes = [(begin, end, b"") for begin, end, _ in parts.seals]
    changes += [(begin, end, _entry(METADATA_KEY, _claiming(card))) for begin, end, card in parts.cards]
    for begin, end, instead in sorted(changes):
        pieces += [content[position:begin], instead]
        position = end
    body = b"".join([*pieces, content[position:]])
    return body + _entry(SEAL_KEY, hashlib.sha256(body).hexdigest())


def require_seal(path: str | Path, content: bytes | None = None) -> bool:
    """Check an ONNX file against its seal; whether it has one.

    Args:
        path: the file.
        content: its bytes, where they are at hand.

    Raises:
        DamagedArtifactError: the file is not what was sealed, or lost its seal.
        ArtifactError: not an ONNX file.
    """
    path = Path(path)
    with mapped_onnx(path, content) as whole:
        parts = _parts(whole)
        again = "take it from where it came again" if path == MEMORY else AGAIN.format(name=path)
        if not parts.seals:
            if parts.claims:
                raise DamagedArtifactError(
                    f"{path} is damaged: the digest that its card speaks of is not there; {again}"
                )
            return False
        if len(parts.seals) > 1:
            raise DamagedArtifactError(
                f"{path} is damaged: it states {len(parts.seals)} digests of itself; {again}"
            )
        begin, end, stated = parts.seals[0]
        found = _digest(whole, ((0, begin), (end, len(whole))))
    if found != stated:
        said = f"{stated[:12]}…" if re.fullmatch("[0-9a-f]{64}", stated) else "something else"
        raise DamagedArtifactError(
            f"{path} is damaged, or changed since edgedet wrote it: its sha256 is {found[:12]}…, it states {said}; "
            f"{again}"
        )
    return True


def _parts(content: Content) -> _Parts:
    seals, cards = [], []
    for field, begin, start, end in records(content, 0, len(content)):
        if field != proto.MODEL_METADATA or start == begin:
            continue
        entry = {
            number: text(content, *value)
            for number, value in fields(content, start, end)
            if not isinstance(value, int)
        }
        key, value = entry.get(proto.METADATA_KEY, ""), entry.get(proto.METADATA_VALUE, "")
        if key == SEAL_KEY:
            seals.append((begin, end, value))
        elif key == METADATA_KEY:
            cards.append((begin, end, value))
    return _Parts(tuple(seals), tuple(cards))


def _claims(card: str) -> bool:
    try:
        stated = json.loads(card)
    except (ValueError, RecursionError):
        return False
    return isinstance(stated, dict) and stated.get(CLAIM) is True


def _claiming(card: str) -> str:
    if _claims(card):
        return card
    inside = card.rstrip()
    if not inside.endswith("}"):
        raise DamagedError("its card is no JSON object")
    return f'{inside[:-1]}, "{CLAIM}": true}}'


def _entry(key: str, value: str) -> bytes:
    pair = record(proto.METADATA_KEY, key.encode()) + record(proto.METADATA_VALUE, value.encode())
    return record(proto.MODEL_METADATA, pair)


def _digest(content: Content, ranges: Iterable[tuple[int, int]]) -> str:
    digest = hashlib.sha256()
    # Released one by one: a map with a view of it left cannot be closed.
    with memoryview(content) as view:
        for begin, end in ranges:
            with view[begin:end] as piece:
                digest.update(piece)
    return digest.hexdigest()
