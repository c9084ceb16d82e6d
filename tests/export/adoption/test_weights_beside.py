"""Weights in files of their own: read, and missed by name."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgedet.errors import ArtifactError
from edgedet.export.foreign import read_graph
from edgedet.export.pipeline import export_model
from tests.export.foreign_heads import ULTRALYTICS, Head, save_head


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = save_head(tmp_path / "net.onnx", Head(), ULTRALYTICS)
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=True, location="net.data", size_threshold=64)
    return path


def test_weights_beside_the_file_are_read(source: Path, tmp_path: Path) -> None:
    report = export_model(source, tmp_path / "out.onnx")
    assert report.bytes > (tmp_path / "net.data").stat().st_size


def test_a_missing_file_is_named(source: Path) -> None:
    (source.parent / "net.data").unlink()
    with pytest.raises(ArtifactError, match=r"a file of their own, net.data, which is not beside it"):
        read_graph(source)


def test_a_cut_file_is_named(source: Path) -> None:
    beside = source.parent / "net.data"
    beside.write_bytes(beside.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"net.data has \d+ bytes, but net.onnx expects \d+ at least"):
        read_graph(source)


@pytest.mark.parametrize("place", ["../net.data", "/tmp/net.data"])
def test_files_elsewhere_are_not_read(source: Path, place: str) -> None:
    model = onnx.load(str(source), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = place
    source.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="outside its own folder, which is not read"):
        read_graph(source)
