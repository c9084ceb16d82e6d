"""The prepared folder: pieces that can be carried one by one, each file whole and undamaged or not used."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from gpu_day.inputs import Graph, Inputs, read_inputs, write_inputs
from gpu_day.outcome import NotHereError

from edgedet.errors import ArtifactError, UsageError

GRAPH = Graph("a-fp16", "a", "ssd", "fp16", "a.onnx", 3)


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    """Five bytes, twenty-five, and none; a piece holds ten."""
    made = {"a.onnx": b"12345", "large.onnx": bytes(range(25)), "empty": b"", "b.onnx": b"abc"}
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in made}


@pytest.fixture
def inputs(tmp_path: Path, sources: dict[str, Path]) -> Inputs:
    folder = tmp_path / "inputs"
    folder.mkdir()
    empty = Inputs(folder, "0.1.0", "today", "tensorrt", (GRAPH,), {}, {}, {"b-fp32": "no torch"}, {})
    return write_inputs(empty, sources, piece_bytes=10)


def test_no_piece_is_larger_than_was_said_and_the_first_is_filled_first(inputs: Inputs) -> None:
    sizes = {
        piece.name: sum(file.stat().st_size for file in piece.iterdir()) for piece in inputs.folder.glob("piece-*")
    }
    assert max(sizes.values()) <= 10 and sizes["piece-1"] == 10
    assert inputs.files["large.onnx"]["parts"] == [
        "piece-2/large.onnx.1",
        "piece-3/large.onnx.2",
        "piece-1/large.onnx.3",
    ]


def test_every_file_comes_back_whole(inputs: Inputs, sources: dict[str, Path], tmp_path: Path) -> None:
    for name, source in sources.items():
        for _ in range(2):
            assert inputs.fetch(name, tmp_path / "work").read_bytes() == source.read_bytes()


def test_what_was_written_is_what_is_read(inputs: Inputs) -> None:
    again = read_inputs(inputs.folder)
    assert again == inputs and again.graph("a-fp16") == GRAPH and again.left_out == {"b-fp32": "no torch"}


def test_a_missing_piece_is_named(inputs: Inputs, tmp_path: Path) -> None:
    for file in (inputs.folder / "piece-3").iterdir():
        file.unlink()
    with pytest.raises(NotHereError, match=r"large.onnx is not here: .* lacks piece-3"):
        inputs.fetch("large.onnx", tmp_path / "work")
    assert inputs.fetch("a.onnx", tmp_path / "work").read_bytes() == b"12345"


@pytest.mark.parametrize("damage", [b"1234x", b"1234", b"123456"])
def test_a_damaged_file_is_never_used(inputs: Inputs, tmp_path: Path, damage: bytes) -> None:
    (inputs.folder / "piece-1" / "a.onnx").write_bytes(damage)
    with pytest.raises(ArtifactError, match=r"a.onnx is not what was prepared: .* expected 5 with sha256"):
        inputs.fetch("a.onnx", tmp_path / "work")


def test_pictures_are_unpacked_once_and_whole(tmp_path: Path) -> None:
    archive, folder = tmp_path / "cells.zip", tmp_path / "inputs"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("pictures/1.jpg", b"picture")
        packed.writestr("labels.json", "{}")
    folder.mkdir()
    pictures = {"cells": {"file": "cells.zip", "labels": "labels.json"}}
    inputs = write_inputs(
        Inputs(folder, "0", "today", "tensorrt", (), pictures, {}, {}, {}), {"cells.zip": archive}, piece_bytes=1000
    )
    unpacked = inputs.unpack("cells", tmp_path / "work")
    assert (unpacked / "labels.json").read_text() == "{}" and (unpacked / "pictures" / "1.jpg").is_file()
    (folder / "piece-1" / "cells.zip").unlink()
    assert inputs.unpack("cells", tmp_path / "work") == unpacked


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "holds no inputs.json; prepare it on a machine with edgedet's exporter"),
        ("{", "cannot be read"),
        ("[]", "is None, expected"),
        ({"kind": "edgedet-gpu-inputs", "version": 2}, r"is \('edgedet-gpu-inputs', 2\), expected"),
        ({"kind": "edgedet-gpu-inputs", "version": 1}, "is damaged"),
        ({"kind": "edgedet-gpu-inputs", "version": 1, "graphs": [{"name": "a"}]}, "is damaged"),
    ],
)
def test_what_is_no_preparation_is_refused(tmp_path: Path, content: Any, why: str) -> None:
    if content is not None:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "inputs.json").write_text(text)
    with pytest.raises(UsageError, match=why):
        read_inputs(tmp_path)
