"""Whose an artifact is: the right owner's is opened, everything else is refused before a runtime is loaded."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

pytest.importorskip("cryptography", reason="needs edgedet[signing]")

from edgedet import Detector
from edgedet.artifacts import signed_artifact
from edgedet.artifacts.engine_file import read_engine_header, read_plan, write_engine
from edgedet.artifacts.seal import sealed
from edgedet.artifacts.signature import Statement, parse, part_of, serialise, sign, signature_path
from edgedet.artifacts.signature_policy import VARIABLE, required_keys, requiring
from edgedet.artifacts.signed_artifact import read_verified
from edgedet.artifacts.signing_keys import make_keys, read_private_key, read_public_keys
from edgedet.cli import main
from edgedet.errors import ArtifactError, SignatureError, SigningKeyError, UsageError
from edgedet.opening import held_artifact, open_artifact, read_card
from edgedet.selftest import SELFTEST_GRAPH
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

PLAN = b"ptrt" + bytes(20) + bytes([10, 3, 0, 0]) + np.random.default_rng(0).bytes(500)
NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def nothing_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def owner(tmp_path: Path) -> Path:
    return keys(tmp_path / "owner")


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    return keys(tmp_path / "stranger")


def keys(name: Path, passphrase: bytes | None = None) -> Path:
    """The public key; the private one lies beside it."""
    private, public = make_keys(passphrase)
    name.with_suffix(".key").write_bytes(private)
    name.with_suffix(".pub").write_bytes(public)
    return name.with_suffix(".pub")


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "model.onnx"
    save_rectangle_graph(path)
    path.write_bytes(sealed(path.read_bytes()))
    return path


def signed(path: Path, owner: Path, *options: str) -> Path:
    assert main(["sign", str(path), "--key", str(owner.with_suffix(".key")), *options]) == 0
    return path


def says(signature: Path, change: Callable[[Any], None], owner: Path) -> None:
    """Change what the first signature of a file states, and sign that."""
    private = read_private_key(owner.with_suffix(".key"))
    (one, *_) = parse(signature.read_bytes(), "here")
    said = json.loads(one.statement)
    change(said)
    from edgedet.artifacts.signature import PREFIX, Signature

    statement = json.dumps(said).encode()
    signature.write_bytes(serialise([Signature(statement, one.key, private.sign(PREFIX + statement))]))


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


class TestKeys:
    def test_they_are_what_openssl_reads_and_writes(self, tmp_path: Path, graph: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("needs openssl")
        private, public = tmp_path / "o.key", tmp_path / "o.pub"
        for command in (
            ["genpkey", "-algorithm", "ed25519", "-out", str(private)],
            ["pkey", "-in", str(private), "-pubout", "-out", str(public)],
        ):
            subprocess.run(["openssl", *command], check=True, capture_output=True)
        signed(graph, public)
        Detector(graph, require_signature=public).close()
        # As docs/artifact-format.md has it.
        (one,) = parse(signature_path(graph).read_bytes(), "here")
        (tmp_path / "statement").write_bytes(b"edgedet artifact statement 1\n" + one.statement)
        (tmp_path / "signature").write_bytes(one.signature)
        done = subprocess.run(
            [
                "openssl",
                "pkeyutl",
                "-verify",
                "-pubin",
                "-inkey",
                str(public),
                "-rawin",
                "-in",
                "statement",
                "-sigfile",
                "signature",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Signature Verified Successfully" in done.stdout, done

    def test_keygen_writes_over_nothing_and_shows_the_private_key_to_nobody(
        self, tmp_path: Path, capsys: Any
    ) -> None:
        assert main(["keygen", str(tmp_path / "mine")]) == 0
        assert (tmp_path / "mine.key").stat().st_mode & 0o777 == 0o600
        before = (tmp_path / "mine.key").read_bytes()
        assert main(["keygen", str(tmp_path / "mine")]) == 2
        assert "a key is not written over" in capsys.readouterr().err
        (tmp_path / "mine.key").unlink()
        assert main(["keygen", str(tmp_path / "mine")]) == 2, "the public key is there still"
        assert not (tmp_path / "mine.key").exists() and before

    def test_a_locked_key_asks_for_its_passphrase(
        self, tmp_path: Path, graph: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EDGEDET_KEY_PASSPHRASE", "open, sesame")
        assert main(["keygen", str(tmp_path / "mine"), "--passphrase"]) == 0
        assert b"ENCRYPTED" in (tmp_path / "mine.key").read_bytes()
        command = ["sign", str(graph), "--key", str(tmp_path / "mine.key")]
        assert main(command) == 0
        monkeypatch.setenv("EDGEDET_KEY_PASSPHRASE", "open, barley")
        assert main(command) == 2
        assert "or the passphrase is another one" in capsys.readouterr().err
        monkeypatch.delenv("EDGEDET_KEY_PASSPHRASE")
        monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: PTH123, SIM115
        assert main(command) == 2
        assert "set EDGEDET_KEY_PASSPHRASE" in capsys.readouterr().err
        monkeypatch.setenv("EDGEDET_KEY_PASSPHRASE", "")
        assert main(["keygen", str(tmp_path / "other"), "--passphrase"]) == 2
        assert not (tmp_path / "other.key").exists()

    def test_the_wrong_file_in_a_key_s_place_is_named(self, graph: Path, owner: Path, capsys: Any) -> None:
        signed(graph, owner)
        with pytest.raises(
            SignatureError, match="is a private key, which must not lie where signatures are checked"
        ):
            Detector(graph, require_signature=owner.with_suffix(".key"))
        with pytest.raises(SignatureError, match="holds no public key"):
            Detector(graph, require_signature=graph)
        assert main(["sign", str(graph), "--key", str(owner)]) == 2
        assert "holds no private key" in capsys.readouterr().err

    def test_a_key_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        (tmp_path / "p.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        (tmp_path / "p.pub").write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        with pytest.raises(SigningKeyError, match="another kind; expected Ed25519"):
            read_private_key(tmp_path / "p.key")
        with pytest.raises(SigningKeyError, match="another kind; expected Ed25519"):
            read_public_keys(tmp_path / "p.pub")


class TestCommands:
    @pytest.mark.parametrize(
        "command", ["detect", "eval", "bench", "parity", "tune", "selftest", "doctor", "inspect"]
    )
    def test_every_command_that_opens_artifacts_has_the_option(
        self, command: str, graph: Path, owner: Path, tmp_path: Path, capsys: Any
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

    def test_the_option_reaches_child_processes(self, graph: Path, owner: Path, monkeypatch: Any) -> None:
        monkeypatch.setenv(VARIABLE, "/first.pub")
        with requiring(owner):
            assert os.environ[VARIABLE] == f"/first.pub{os.pathsep}{owner}"
        assert os.environ[VARIABLE] == "/first.pub"
        with pytest.raises(UsageError, match="separates paths"), requiring(Path(f"a{os.pathsep}b")):
            pass

    def test_export_runs_nothing_where_only_signed_artifacts_are_opened(
        self, graph: Path, owner: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("onnx")
        monkeypatch.setenv(VARIABLE, str(owner))
        assert main(["export", str(graph), "-o", str(graph.with_name("out.onnx"))]) == 2
        assert "this machine opens signed artifacts only" in capsys.readouterr().err

    def test_what_is_damaged_is_not_signed(self, graph: Path, owner: Path, capsys: Any) -> None:
        content = graph.read_bytes()
        graph.write_bytes(content[:900] + bytes([content[900] ^ 1]) + content[901:])
        assert main(["sign", str(graph), "--key", str(owner.with_suffix(".key"))]) == 2
        assert "is damaged" in capsys.readouterr().err
        assert not signature_path(graph).exists()

    def test_all_are_signed_or_none(self, graph: Path, owner: Path) -> None:
        missing = graph.with_name("missing.onnx")
        assert main(["sign", str(graph), str(missing), "--key", str(owner.with_suffix(".key"))]) == 2
        assert not signature_path(graph).exists()

    def test_signing_again_replaces_and_add_keeps_the_others(
        self, graph: Path, owner: Path, stranger: Path
    ) -> None:
        signed(graph, owner)
        signed(graph, stranger, "--add")
        signed(graph, owner, "--add", "--expires", "2999-01-01")
        assert len(parse(signature_path(graph).read_bytes(), "here")) == 2
        signed(graph, owner)
        assert len(parse(signature_path(graph).read_bytes(), "here")) == 1

    def test_a_day_that_is_over_is_refused(self, graph: Path, owner: Path, capsys: Any) -> None:
        command = ["sign", str(graph), "--key", str(owner.with_suffix(".key")), "--expires"]
        assert main([*command, "2020-01-01"]) == 2 and "is over" in capsys.readouterr().err
        assert main([*command, "tomorrow"]) == 2 and "is not a day" in capsys.readouterr().err
        assert main([*command, "9999-12-31"]) == 0

    def test_inspect_tells_of_signatures(self, graph: Path, owner: Path, capsys: Any) -> None:
        signed(graph, owner)
        capsys.readouterr()
        assert main(["inspect", str(graph), "--verify"]) == 0
        assert "1 in model.onnx.sig, not checked: --require-signature" in capsys.readouterr().out
        assert main(["inspect", str(graph), "--verify", "--require-signature", str(owner)]) == 0
        assert "signature   right" in capsys.readouterr().out

    def test_inspect_tells_what_can_be_told_without_the_key(self, graph: Path, owner: Path, capsys: Any) -> None:
        signed(graph, owner, "--expires", "2999-01-01")
        one = parse(signature_path(graph).read_bytes(), "here")[0]
        past = one.statement.replace(b"2999-01-01", b"2001-01-01")
        signature_path(graph).write_bytes(serialise([replace(one, statement=past)]))
        capsys.readouterr()
        assert main(["inspect", str(graph), "--verify"]) == 0
        assert "1 expired (2001-01-01" in capsys.readouterr().out
        other = one.statement.replace(b'"sha256": "', b'"sha256": "0')
        signature_path(graph).write_bytes(serialise([replace(one, statement=other)]))
        assert main(["inspect", str(graph), "--verify"]) == 2
        assert "speaks of other bytes than those of" in capsys.readouterr().err
