"""The container for ncnn: an archive anybody can unpack, and nothing that is damaged passes for whole."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from edgedet.artifacts.ncnn_file import CARD, PARAM, WEIGHTS, read_ncnn, read_ncnn_header, read_ncnn_layers
from edgedet.errors import ArtifactError
from edgedet.opening import artifact_kind, read_card
from tests import colour_detector
from tests.colour_detector import save_colour_file


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    save_colour_file(tmp_path / "a.ncnn")
    return tmp_path / "a.ncnn"


def rewritten(path: Path, **changed: bytes | None) -> None:
    """The archive with members exchanged (``card``, ``param``, ``weights``), or left out where None."""
    names = {"card": CARD, "param": PARAM, "weights": WEIGHTS}
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in names.values()}
    content |= {names[key]: value for key, value in changed.items()}  # type: ignore[dict-item]
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            if value is not None:
                archive.writestr(name, value)


def test_what_was_written_is_read_and_unpacks_as_ncnn_wants_it(path: Path) -> None:
    content = read_ncnn(path)
    assert content.card == colour_detector.card() and read_card(path) == content.card
    assert content.outputs == {"boxes": (1, 4), "scores": (1, 3)}
    assert (content.param, content.weights) == (colour_detector.PARAM, colour_detector.WEIGHTS)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["edgedet.json", "model.ncnn.param", "model.ncnn.bin"]
        assert archive.testzip() is None
    assert read_ncnn_layers(path) == {"Input": 1, "Pooling": 1, "Reshape": 1, "BinaryOp": 1, "MemoryData": 1}


def test_the_same_content_gives_the_same_bytes(path: Path) -> None:
    other = path.with_name("b.ncnn")
    save_colour_file(other)
    assert path.read_bytes() == other.read_bytes()


def test_it_is_known_by_its_first_bytes_whatever_it_is_called(path: Path) -> None:
    other = path.rename(path.with_suffix(".pt"))
    assert artifact_kind(other) == "ncnn"
    with zipfile.ZipFile(path.with_name("archive.pt"), "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    assert artifact_kind(path.with_name("archive.pt")) == "checkpoint"
    path.write_bytes(b"something else")
    with pytest.raises(ArtifactError, match=r"a.ncnn is not what edgedet writes for ncnn"):
        artifact_kind(path)


def test_every_byte_that_is_lost_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    for size in (100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ArtifactError, match=r"a.ncnn is damaged|lacks"):
            read_ncnn(path)


def test_every_byte_of_the_contents_that_changed_is_noticed(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    for mark in (b'"yolox"', b"Pooling", colour_detector.WEIGHTS):
        damaged = bytearray(whole)
        damaged[whole.index(mark) + 3] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"a.ncnn is damaged \(Bad CRC-32"):
            read_ncnn(path)


def test_what_is_missing_or_wrong_inside_is_named(path: Path) -> None:
    card = json.loads(colour_detector.card().to_json())
    rewritten(path, weights=None)
    with pytest.raises(ArtifactError, match=r"a.ncnn lacks model.ncnn.bin; copy or export it again"):
        read_ncnn(path)
    save_colour_file(path)
    rewritten(path, card=b"{")
    with pytest.raises(ArtifactError, match=r"edgedet.json in .*a.ncnn is not JSON"):
        read_ncnn_header(path)
    rewritten(path, card=b"[]")
    with pytest.raises(ArtifactError, match="no JSON object"):
        read_ncnn_header(path)
    for facts in (None, {}, {"outputs": {}}, {"outputs": {"boxes": [0]}}, {"outputs": {"boxes": ["4"]}}):
        rewritten(path, card=json.dumps(card | {"ncnn": facts}).encode())
        with pytest.raises(
            ArtifactError, match=r"does not say what its network gives \(ncnn.outputs in edgedet.json\)"
        ):
            read_ncnn(path)
    rewritten(path, param=b"\xff\xfe")
    with pytest.raises(ArtifactError, match=r"model.ncnn.param in .* is not text"):
        read_ncnn_layers(path)


def test_a_compressed_one_is_refused(path: Path) -> None:
    """It could grow to any size."""
    content = read_ncnn(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CARD, content.card.to_json())
    with pytest.raises(ArtifactError, match=r"edgedet.json in .* is compressed or encrypted, expected it as it is"):
        read_ncnn(path)
