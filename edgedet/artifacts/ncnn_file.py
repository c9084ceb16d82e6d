"""The container of a detector for ncnn: a ZIP archive, nothing compressed, of the card and ncnn's own two files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from edgedet.artifacts.card import ModelCard
from edgedet.errors import ArtifactError
from edgedet.files import atomic_path

SUFFIX = ".ncnn"
CARD, PARAM, WEIGHTS = "edgedet.json", "model.ncnn.param", "model.ncnn.bin"
"""Names of the members, in this order."""
FACTS_KEY = "ncnn"
"""Key in ``edgedet.json`` of what belongs to this form and not to the card."""
MAX_TEXT = 16 * 2**20
"""Maximum length of the card and of the ``.param``."""

_LOCAL_HEADER = 30
_NAME_LENGTH = slice(26, 28)


@dataclass(frozen=True)
class NcnnFile:
    """What is in a file.

    Attributes:
        card: the card.
        outputs: sizes of the network's outputs, by name, without the images.
        param: the text of the layers.
        weights: the bytes of the weights.
    """

    card: ModelCard
    outputs: dict[str, tuple[int, ...]]
    param: str
    weights: bytes


def is_ncnn(start: bytes) -> bool:
    """Whether a file that begins with ``start`` is such an archive.

    >>> is_ncnn(b"PK\\x03\\x04" + bytes(22) + b"\\x0c\\x00\\x00\\x00" + b"edgedet.json"), is_ncnn(b"PK\\x03\\x04")
    (True, False)
    """
    length = int.from_bytes(start[_NAME_LENGTH], "little")
    name = start[_LOCAL_HEADER : _LOCAL_HEADER + length]
    return start.startswith(b"PK\x03\x04") and name == CARD.encode()


def write_ncnn(path: Path, card: ModelCard, facts: Mapping[str, Any], *, param: str, weights: bytes) -> None:
    """Write a file whole or not at all; the same content gives the same bytes.

    Args:
        path: the file.
        card: the card.
        facts: what stands under ``ncnn`` beside it; ``outputs`` among them.
        param: the text of the layers.
        weights: the bytes of the weights.

    Raises:
        OutputError: the file cannot be written.
    """
    from zipfile import ZIP_STORED, ZipFile, ZipInfo

    text = json.dumps({**json.loads(card.to_json()), FACTS_KEY: dict(facts)}, ensure_ascii=True)
    with atomic_path(path) as temporary, ZipFile(temporary, "w", ZIP_STORED) as archive:
        for name, content in ((CARD, text.encode("ascii")), (PARAM, param.encode("ascii")), (WEIGHTS, weights)):
            member = ZipInfo(name)
            member.create_system = 3  # else that of this machine
            archive.writestr(member, content)


def read_ncnn_header(path: Path, content: bytes | None = None) -> dict[str, Any]:
    """The card as JSON, with the key ``ncnn`` beside its own; the weights are not read.

    ``content``: the file's bytes, where they are at hand.

    Raises:
        ArtifactError: damaged, or not such a file.
    """
    with _file(path, content) as file:
        return _header(path, _text(path, file, CARD))


def read_ncnn(path: Path, content: bytes | None = None) -> NcnnFile:
    """Everything in a file, checked against the sums that the archive holds.

    ``content``: the file's bytes, where they are at hand.

    Raises:
        ArtifactError: damaged, or not such a file.
    """
    with _file(path, content) as file:
        header = _header(path, _text(path, file, CARD))
        param = _text(path, file, PARAM)
        weights = _member(path, file, WEIGHTS, None)
    return NcnnFile(ModelCard.from_json(json.dumps(header)), _outputs(path, header), param, weights)


def read_ncnn_layers(path: Path, content: bytes | None = None) -> dict[str, int]:
    """How many layers of each kind a file holds; the weights are not read.

    ``content``: the file's bytes, where they are at hand.

    Raises:
        ArtifactError: damaged, or not such a file.
    """
    with _file(path, content) as file:
        return layer_kinds(_text(path, file, PARAM))


def layer_kinds(param: str) -> dict[str, int]:
    """How many layers of each kind the text of a ``.param`` names, the commonest first.

    >>> layer_kinds("7767517\\n2 2\\nInput in 0 1 a 0=4\\nReLU r 1 1 a b\\n")
    {'Input': 1, 'ReLU': 1}
    """
    return dict(Counter(line.split()[0] for line in param.splitlines()[2:] if line.strip()).most_common())


def _file(path: Path, content: bytes | None) -> IO[bytes]:
    return path.open("rb") if content is None else BytesIO(content)


def _outputs(path: Path, header: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    facts = header.get(FACTS_KEY)
    stated = facts.get("outputs") if isinstance(facts, dict) else None
    sizes = list(stated.values()) if isinstance(stated, dict) else []
    if not sizes or not all(
        isinstance(each, list) and each and all(type(size) is int and size > 0 for size in each) for each in sizes
    ):
        raise ArtifactError(f"{path} does not say what its network gives (ncnn.outputs in {CARD}); export it again")
    assert isinstance(stated, dict)
    return {str(name): tuple(each) for name, each in stated.items()}


def _header(path: Path, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ArtifactError(f"{CARD} in {path} is not JSON ({error}); export it again") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{CARD} in {path} is no JSON object; export it again")
    return value


def _text(path: Path, file: IO[bytes], name: str) -> str:
    try:
        return _member(path, file, name, MAX_TEXT).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{name} in {path} is not text ({error.reason}); copy or export it again") from error


def _member(path: Path, file: IO[bytes], name: str, most: int | None) -> bytes:
    from zipfile import ZIP_STORED, BadZipFile, ZipFile

    try:
        with ZipFile(file) as archive:
            info = archive.getinfo(name)
            if info.compress_type != ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
                raise ArtifactError(
                    f"{name} in {path} is compressed or encrypted, expected it as it is (zip -0); export it again"
                )
            if most is not None and info.file_size > most:
                raise ArtifactError(f"{name} in {path} has {info.file_size} bytes, expected at most {most}")
            return archive.read(info)
    except KeyError:
        raise ArtifactError(f"{path} lacks {name}; copy or export it again") from None
    except (BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ArtifactError(f"{path} is damaged ({error}); copy or export it again") from error
