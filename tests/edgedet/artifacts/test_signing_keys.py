"""Keys are those of OpenSSL, stay with their owner, and the wrong file in a key's place is named."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="needs edgedet[signing]")

from edgedet import Detector
from edgedet.artifacts.signature import parse, signature_path
from edgedet.artifacts.signing_keys import read_private_key, read_public_keys
from edgedet.cli import main
from edgedet.errors import SignatureError, SigningKeyError
from tests.edgedet.artifacts.signing import signed


def test_they_are_what_openssl_reads_and_writes(tmp_path: Path, graph: Path) -> None:
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


def test_keygen_writes_over_nothing_and_shows_the_private_key_to_nobody(tmp_path: Path, capsys: Any) -> None:
    assert main(["keygen", str(tmp_path / "mine")]) == 0
    assert (tmp_path / "mine.key").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "mine.key").read_bytes()
    assert main(["keygen", str(tmp_path / "mine")]) == 2
    assert "a key is not written over" in capsys.readouterr().err
    (tmp_path / "mine.key").unlink()
    assert main(["keygen", str(tmp_path / "mine")]) == 2, "the public key is there still"
    assert not (tmp_path / "mine.key").exists() and before


def test_a_locked_key_asks_for_its_passphrase(
    tmp_path: Path, graph: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
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


def test_the_wrong_file_in_a_key_s_place_is_named(graph: Path, owner: Path, capsys: Any) -> None:
    signed(graph, owner)
    with pytest.raises(SignatureError, match="is a private key, which must not lie where signatures are checked"):
        Detector(graph, require_signature=owner.with_suffix(".key"))
    with pytest.raises(SignatureError, match="holds no public key"):
        Detector(graph, require_signature=graph)
    assert main(["sign", str(graph), "--key", str(owner)]) == 2
    assert "holds no private key" in capsys.readouterr().err


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "p.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (tmp_path / "p.pub").write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(SigningKeyError, match="another kind; expected Ed25519"):
        read_private_key(tmp_path / "p.key")
    with pytest.raises(SigningKeyError, match="another kind; expected Ed25519"):
        read_public_keys(tmp_path / "p.pub")
