"""Owners of artifacts, and a graph for them to sign."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.artifacts.seal import sealed
from edgedet.artifacts.signature_policy import VARIABLE
from edgedet.artifacts.signing_keys import make_keys
from tests.rectangle_detector import save_rectangle_graph


@pytest.fixture(autouse=True)
def nothing_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine that the tests run on requires."""
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
