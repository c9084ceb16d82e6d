"""Whose an artifact is: the right owner's is opened, everything else is refused before a runtime is loaded."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="needs edgedet[signing]")

from edgedet import Detector
from edgedet.artifacts.seal import sealed
from edgedet.artifacts.signature import Statement, part_of, serialise, sign, signature_path
from edgedet.artifacts.signature_policy import VARIABLE
from edgedet.artifacts.signed_artifact import read_verified
from edgedet.artifacts.signing_keys import read_private_key, read_public_keys
from edgedet.cli import main
from edgedet.errors import ArtifactError, SignatureError, UsageError
from edgedet.selftest import SELFTEST_GRAPH
from tests.edgedet.artifacts.signing import says, signed
from tests.rectangle_detector import frame_with_rectangle

NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)


def test_a_signed_artifact_is_opened_and_detects(graph: Path, owner: Path) -> None:
    signed(graph, owner)
    with Detector(graph, require_signature=owner) as detector:
        assert len(detector.detect(frame_with_rectangle(64, 64, (10, 10, 30, 30)))) == 1
    with Detector(
        graph.read_bytes(), require_signature=owner, signature=signature_path(graph).read_bytes()
    ) as detector:
        assert len(detector.detect(frame_with_rectangle(64, 64, (10, 10, 30, 30)))) == 1


REFUSALS: dict[str, tuple[Callable[[Path, Path, Path], Any], str]] = {
    "missing": (
        lambda graph, owner, stranger: signature_path(graph).unlink(),
        r"is not signed, and a signature is req",
    ),
    "foreign": (
        lambda graph, owner, stranger: signed(graph, stranger),
        r"no signature by the key that is required",
    ),
    "of other bytes": (
        lambda graph, owner, stranger: graph.write_bytes(sealed(graph.read_bytes() + b"\x32\0")),
        r"is not the file that was signed",
    ),
    "of another artifact": (
        lambda graph, owner, stranger: shutil.copy(
            signature_path(signed(Path(shutil.copy(SELFTEST_GRAPH, graph.parent / "other.onnx")), owner)),
            signature_path(graph),
        ),
        r"is not the file that was signed",
    ),
    "expired": (
        lambda graph, owner, stranger: says(
            signature_path(graph), lambda said: said.update(expires="2026-01-01T00:00:00Z"), owner
        ),
        r"expired on 2026-01-01T00:00:00Z, and it is ",
    ),
    "cut off": (
        lambda graph, owner, stranger: signature_path(graph).write_bytes(signature_path(graph).read_bytes()[:-20]),
        r"is no file of signatures",
    ),
    "of a newer version": (
        lambda graph, owner, stranger: says(signature_path(graph), lambda said: said.update(version=2), owner),
        r"is of version 2, this edgedet reads 1; update",
    ),
    "of nothing": (
        lambda graph, owner, stranger: says(signature_path(graph), lambda said: said.update(parts=[]), owner),
        r"what was signed in .* cannot be read",
    ),
    "by a text that names the key": (
        lambda graph, owner, stranger: signature_path(graph).write_text(
            json.dumps(
                {
                    "edgedet_signatures": 1,
                    "signatures": [
                        {**json.loads(signature_path(graph).read_text())["signatures"][0]}
                        | {"signature": base64.b64encode(bytes(64)).decode()}
                    ],
                }
            )
        ),
        r"says to be by the key [0-9a-f]+ is wrong",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_any_other_signature_is_refused(what: str, graph: Path, owner: Path, stranger: Path) -> None:
    signed(graph, owner)
    change, words = REFUSALS[what]
    change(graph, owner, stranger)
    with pytest.raises(SignatureError, match=words):
        Detector(graph, require_signature=owner)


@pytest.mark.parametrize("what", ["missing", "foreign", "of other bytes", "expired", "cut off"])
def test_no_runtime_is_loaded_for_one_that_is_refused(what: str, graph: Path, owner: Path, stranger: Path) -> None:
    """By the command, told by the environment, in a process of its own: not even onnxruntime is imported."""
    signed(graph, owner)
    REFUSALS[what][0](graph, owner, stranger)
    program = (
        "import sys; from edgedet.errors import SignatureError\n"
        "from edgedet import Detector\n"
        "try: Detector(sys.argv[1])\n"
        "except SignatureError as error: print(type(error).__name__, error.exit_code)\n"
        "print(*(name for name in ('onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx_bindings', 'torch', 'onnx')"
        " if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(graph)],
        env=os.environ | {VARIABLE: str(owner)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["SignatureError", "2"]


def test_owners_change_keys(graph: Path, owner: Path, stranger: Path, tmp_path: Path) -> None:
    """A file of public keys holds the old and the new one, until the last device has it."""
    both = tmp_path / "both.pub"
    both.write_bytes(b"# of 2026\n" + owner.read_bytes() + b"# of 2027\n" + stranger.read_bytes())
    for one in (owner, stranger):
        signed(graph, one)
        Detector(graph, require_signature=both).close()


def test_a_clock_that_was_never_set_is_told(graph: Path, owner: Path) -> None:
    """A board without a battery wakes in 1970; what expires cannot be judged there, what does not can."""
    signed(graph, owner, "--expires", "2999-01-01")
    groups = [read_public_keys(owner)]
    past = datetime(1970, 1, 1, tzinfo=timezone.utc)
    with pytest.raises(SignatureError, match="the clock says 1970-01-01T00:00:00Z, before it was made"):
        read_verified(graph, groups, now=past)
    with pytest.raises(SignatureError, match="expired on 2999-01-01T23:59:59Z"):
        read_verified(graph, groups, now=datetime(2999, 1, 2, tzinfo=timezone.utc))
    read_verified(graph, groups, now=datetime.now(timezone.utc) - timedelta(hours=23))
    signed(graph, owner)
    read_verified(graph, groups, now=past)


def test_a_checkpoint_is_no_artifact_to_sign_or_to_trust(tmp_path: Path, owner: Path, capsys: Any) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"PK" + bytes(200))
    assert main(["sign", str(path), "--key", str(owner.with_suffix(".key"))]) == 2
    assert "is a checkpoint, which devices do not open" in capsys.readouterr().err
    with pytest.raises(SignatureError):
        Detector(path, require_signature=owner)
    statement = Statement((part_of("artifact", "model.pt", path.read_bytes()),), NOW)
    private = read_private_key(owner.with_suffix(".key"))
    signature_path(path).write_bytes(serialise([sign(statement, private)]))
    with pytest.raises((ArtifactError, UsageError)):
        Detector(path, require_signature=owner)
