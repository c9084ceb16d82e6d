"""Whether a signature is required: the caller says so, or the machine does for every program on it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

pytest.importorskip("cryptography", reason="needs edgedet[signing]")

from edgedet import Detector
from edgedet.artifacts.signature_policy import VARIABLE, required_keys, requiring
from edgedet.cli import main
from edgedet.errors import SignatureError, UsageError
from edgedet.opening import open_artifact
from edgedet.selftest import SELFTEST_GRAPH
from tests.edgedet.artifacts.signing import signed
from tests.rectangle_detector import frame_with_rectangle


def test_the_environment_binds_every_program_and_comes_on_top(
    graph: Path, owner: Path, stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(owner))
    for opening in (Detector, open_artifact, lambda path: Detector(path.read_bytes())):
        with pytest.raises(SignatureError):
            opening(graph)
    signed(graph, owner)
    Detector(graph).close()
    with pytest.raises(SignatureError, match="no signature by the key that is required"):
        Detector(graph, require_signature=stranger)
    signed(graph, stranger, "--add")
    Detector(graph, require_signature=stranger).close()
    signed(graph, stranger)
    with pytest.raises(SignatureError):
        Detector(graph, require_signature=stranger)


@pytest.mark.parametrize("value", ["", os.pathsep, "/nowhere/owner.pub"])
def test_a_slip_in_the_environment_opens_nothing(
    value: str, graph: Path, owner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed(graph, owner)
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(SignatureError, match=r"expected the path|cannot be used: cannot read the key"):
        Detector(graph)


def test_without_the_package_nothing_is_opened(graph: Path, owner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgedet.errors import MissingDependencyError

    signed(graph, owner)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgedet\[signing\]'"):
        Detector(graph, require_signature=owner)


def test_what_came_with_the_program_is_as_good_as_the_program(
    owner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(owner))
    assert required_keys(SELFTEST_GRAPH) == ()
    Detector(SELFTEST_GRAPH).close()
    (tmp_path / "copy.onnx").write_bytes(SELFTEST_GRAPH.read_bytes())
    with pytest.raises(SignatureError):
        Detector(tmp_path / "copy.onnx")


@pytest.mark.parametrize("command", ["detect", "eval", "bench", "parity", "tune", "selftest", "doctor", "inspect"])
def test_every_command_that_opens_artifacts_has_the_option(
    command: str, graph: Path, owner: Path, tmp_path: Path, capsys: Any
) -> None:
    """An artifact that nobody signed is refused; the environment is as it was afterwards."""
    picture, model = str(tmp_path / "frame.png"), str(graph)
    cv2.imwrite(picture, frame_with_rectangle(64, 64, (10, 10, 30, 30)))
    (tmp_path / "annotation.txt").write_text("frame.png,10,10,30,30,green\n")
    arguments = {
        "detect": [model, picture],
        "eval": [model, str(tmp_path / "annotation.txt")],
        "bench": [model],
        "parity": [model, model, "--frames", picture],
    }.get(command, [model])
    code = main([command, *arguments, "--require-signature", str(owner)])
    out, err = capsys.readouterr()
    assert code == (1 if command in ("doctor", "selftest") else 2), err
    assert "is not signed, and a signature is required" in out + err
    assert VARIABLE not in os.environ


def test_the_option_reaches_child_processes(graph: Path, owner: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv(VARIABLE, "/first.pub")
    with requiring(owner):
        assert os.environ[VARIABLE] == f"/first.pub{os.pathsep}{owner}"
    assert os.environ[VARIABLE] == "/first.pub"
    with pytest.raises(UsageError, match="separates paths"), requiring(Path(f"a{os.pathsep}b")):
        pass


def test_export_runs_nothing_where_only_signed_artifacts_are_opened(
    graph: Path, owner: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    monkeypatch.setenv(VARIABLE, str(owner))
    assert main(["export", str(graph), "-o", str(graph.with_name("out.onnx"))]) == 2
    assert "this machine opens signed artifacts only" in capsys.readouterr().err
