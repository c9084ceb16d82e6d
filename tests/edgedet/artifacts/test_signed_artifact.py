"""Every file of a signed artifact is covered and read once: what was checked is what is loaded."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("cryptography", reason="needs edgedet[signing]")

from edgedet import Detector
from edgedet.artifacts import signed_artifact
from edgedet.artifacts.engine_file import read_engine_header, read_plan, write_engine
from edgedet.artifacts.signature import signature_path
from edgedet.artifacts.signed_artifact import read_verified
from edgedet.artifacts.signing_keys import read_public_keys
from edgedet.errors import ArtifactError, SignatureError, UsageError
from edgedet.opening import held_artifact, read_card
from edgedet.selftest import SELFTEST_GRAPH
from tests.edgedet.artifacts.signing import says, signed
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

PLAN = b"ptrt" + bytes(20) + bytes([10, 3, 0, 0]) + np.random.default_rng(0).bytes(500)


def external_graph(folder: Path) -> Path:
    """A graph whose weights lie in two files."""
    folder.mkdir(parents=True)
    path = folder / "model.onnx"
    save_rectangle_graph(path)
    onnx.save(
        onnx.load(str(path)),
        str(path),
        save_as_external_data=True,
        all_tensors_to_one_file=False,
        size_threshold=100,
    )
    assert len(list(folder.iterdir())) == 3
    return path


@pytest.mark.parametrize("runtime", ["onnxruntime:cpu", "openvino"])
def test_every_file_of_a_graph_is_covered_and_comes_from_what_was_read(
    tmp_path: Path, owner: Path, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    path = signed(external_graph(tmp_path / "x"), owner)
    frame = frame_with_rectangle(64, 64, (10, 10, 30, 30))
    with Detector(path, runtime="onnxruntime:cpu") as detector:
        expected = detector.detect(frame)
    data = next(each for each in path.parent.iterdir() if each.suffix not in (".onnx", ".sig"))
    whole = data.read_bytes()
    # From another folder, in which a file of the same name would be found by a runtime that looks for one.
    monkeypatch.chdir(tmp_path)
    (tmp_path / data.name).write_bytes(bytes(len(whole)))
    with Detector(path, runtime=runtime, require_signature=owner) as detector:
        np.testing.assert_array_equal(detector.detect(frame).boxes, expected.boxes)
    data.write_bytes(whole[:-1] + b"\1")
    with pytest.raises(SignatureError, match=f"{data.name}, which belongs to .* is not the file that was signed"):
        Detector(path, runtime=runtime, require_signature=owner)
    data.unlink()
    with pytest.raises(ArtifactError, match=f"no such file: .*{data.name}, which belongs to"):
        Detector(path, runtime=runtime, require_signature=owner)


def test_a_file_that_the_statement_does_not_name_is_not_covered(tmp_path: Path, owner: Path) -> None:
    path = signed(external_graph(tmp_path / "x"), owner)
    says(signature_path(path), lambda said: said["parts"].pop(), owner)
    with pytest.raises(SignatureError, match="does not cover"):
        Detector(path, require_signature=owner)


def test_a_statement_cannot_name_files_elsewhere(tmp_path: Path, owner: Path) -> None:
    path = signed(external_graph(tmp_path / "x"), owner)
    says(signature_path(path), lambda said: said["parts"][-1].update(name="../../etc/passwd"), owner)
    with pytest.raises(SignatureError, match="no place in the file's own folder"):
        Detector(path, require_signature=owner)


@pytest.mark.parametrize("container", ["file", "plan"])
def test_every_file_of_an_engine_is_covered(tmp_path: Path, owner: Path, container: Any) -> None:
    path = tmp_path / ("e.trt" if container == "file" else "e.plan")
    write_engine(path, read_card(SELFTEST_GRAPH), PLAN, container=container)
    signed(path, owner)
    held = held_artifact(path, require_signature=owner)
    assert held is not None
    assert read_plan(read_engine_header(path, held.content)) == PLAN
    assert read_card(path, held.content) == read_card(path)
    for part in (path, path.with_suffix(".json")):
        if part.exists():
            whole = part.read_bytes()
            part.write_bytes(whole[:-9] + b" " + whole[-8:])
            with pytest.raises(SignatureError, match="not the file that was signed"):
                held_artifact(path, require_signature=owner)
            part.write_bytes(whole)


def test_what_was_checked_is_what_is_loaded(graph: Path, owner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file changes as soon as it has been read: the network that runs is the one that was signed."""
    signed(graph, owner)
    whole, real = graph.read_bytes(), signed_artifact.read_regular

    def read_and_replace(path: Path, most: int) -> bytes:
        content = real(path, most)
        if path == graph:
            graph.write_bytes(b"no network at all")
        return content

    monkeypatch.setattr(signed_artifact, "read_regular", read_and_replace)
    for runtime in ("onnxruntime:cpu", "openvino"):
        if runtime == "openvino":
            pytest.importorskip("openvino")
        graph.write_bytes(whole)
        with Detector(graph, runtime=runtime, require_signature=owner) as detector:
            assert len(detector.detect(frame_with_rectangle(64, 64, (10, 10, 30, 30)))) == 1
        assert graph.read_bytes() == b"no network at all"


def test_an_artifact_that_is_replaced_while_it_is_read_is_read_again(
    graph: Path, owner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signatures of the old one were read, then both files were replaced by the new ones."""
    new = signed(Path(shutil.copy(SELFTEST_GRAPH, graph.parent / "new.onnx")), owner)
    signed(graph, owner)
    real, reads = signed_artifact.read_regular, []

    def read(path: Path, most: int) -> bytes:
        content = real(path, most)
        reads.append(path)
        if len(reads) == 1:
            new.replace(graph)
            signature_path(new).replace(signature_path(graph))
        return content

    monkeypatch.setattr(signed_artifact, "read_regular", read)
    found = read_verified(graph, [read_public_keys(owner)])
    assert found.held.content == SELFTEST_GRAPH.read_bytes() and len(reads) == 4


def test_a_large_file_in_the_artifact_s_place_is_not_read(graph: Path, owner: Path) -> None:
    signed(graph, owner)
    with graph.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(SignatureError, match="is not the file that was signed"):
        Detector(graph, require_signature=owner)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
@pytest.mark.parametrize("which", ["artifact", "signature", "key"])
def test_a_pipe_in_a_file_s_place_stops_nothing(which: str, graph: Path, owner: Path) -> None:
    signed(graph, owner)
    place = {"artifact": graph, "signature": signature_path(graph), "key": owner}[which]
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(ArtifactError, match="not a regular file"):
        Detector(graph, require_signature=owner)


def test_in_memory_a_signature_must_be_given(graph: Path, owner: Path) -> None:
    signed(graph, owner)
    with pytest.raises(SignatureError, match=r"pass the content of its \.sig file"):
        Detector(graph.read_bytes(), require_signature=owner)
    with pytest.raises(UsageError, match="lies beside it"):
        Detector(graph, require_signature=owner, signature=b"")
    with pytest.raises(SignatureError, match="one of several files, and only one is held"):
        path = signed(external_graph(graph.parent / "x"), owner)
        Detector(path.read_bytes(), require_signature=owner, signature=signature_path(path).read_bytes())
