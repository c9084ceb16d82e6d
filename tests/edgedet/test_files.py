"""Whole files or none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edgedet.errors import OutputError
from edgedet.files import atomic_path, file_sha256, require_writable_parent


def test_a_finished_file_takes_its_place_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "new folder" / "graph.onnx") as partial:
        partial.write_bytes(b"whole")
        assert partial.suffix == ".onnx"
        assert not (tmp_path / "new folder" / "graph.onnx").exists()
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["graph.onnx"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_what_was_there_survives_an_interrupted_write(tmp_path: Path, stop: type[BaseException]) -> None:
    target = tmp_path / "graph.onnx"
    target.write_bytes(b"before")
    with pytest.raises(stop), atomic_path(target) as partial:
        partial.write_bytes(b"hal")
        raise stop
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_cannot_be_made_inside_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot create the folder"):
        require_writable_parent(tmp_path / "file" / "graph.onnx")


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder; give the name of a file"):
        require_writable_parent(tmp_path)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc, where not even root can write")
def test_writability_is_tried_not_asked() -> None:
    with pytest.raises(OutputError, match="not writable"):
        require_writable_parent("/proc/graph.onnx")


def test_trying_leaves_nothing_behind(tmp_path: Path) -> None:
    require_writable_parent(tmp_path / "graph.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_digest_is_of_the_whole_file(tmp_path: Path) -> None:
    """Longer than the pieces it is read in, and of another length than a multiple of them."""
    data = bytes(range(256)) * 5000 + b"end"
    (tmp_path / "file").write_bytes(data)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(data).hexdigest()
