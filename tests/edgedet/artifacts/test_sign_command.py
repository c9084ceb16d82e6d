"""``edgedet sign`` signs what is whole, all of it or nothing; ``edgedet inspect`` tells of signatures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="needs edgedet[signing]")

from edgedet.artifacts.signature import parse, serialise, signature_path
from edgedet.cli import main
from tests.edgedet.artifacts.signing import signed


def test_what_is_damaged_is_not_signed(graph: Path, owner: Path, capsys: Any) -> None:
    content = graph.read_bytes()
    graph.write_bytes(content[:900] + bytes([content[900] ^ 1]) + content[901:])
    assert main(["sign", str(graph), "--key", str(owner.with_suffix(".key"))]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert not signature_path(graph).exists()


def test_all_are_signed_or_none(graph: Path, owner: Path) -> None:
    missing = graph.with_name("missing.onnx")
    assert main(["sign", str(graph), str(missing), "--key", str(owner.with_suffix(".key"))]) == 2
    assert not signature_path(graph).exists()


def test_signing_again_replaces_and_add_keeps_the_others(graph: Path, owner: Path, stranger: Path) -> None:
    signed(graph, owner)
    signed(graph, stranger, "--add")
    signed(graph, owner, "--add", "--expires", "2999-01-01")
    assert len(parse(signature_path(graph).read_bytes(), "here")) == 2
    signed(graph, owner)
    assert len(parse(signature_path(graph).read_bytes(), "here")) == 1


def test_a_day_that_is_over_is_refused(graph: Path, owner: Path, capsys: Any) -> None:
    command = ["sign", str(graph), "--key", str(owner.with_suffix(".key")), "--expires"]
    assert main([*command, "2020-01-01"]) == 2 and "is over" in capsys.readouterr().err
    assert main([*command, "tomorrow"]) == 2 and "is not a day" in capsys.readouterr().err
    assert main([*command, "9999-12-31"]) == 0


def test_inspect_tells_of_signatures(graph: Path, owner: Path, capsys: Any) -> None:
    signed(graph, owner)
    capsys.readouterr()
    assert main(["inspect", str(graph), "--verify"]) == 0
    assert "1 in model.onnx.sig, not checked: --require-signature" in capsys.readouterr().out
    assert main(["inspect", str(graph), "--verify", "--require-signature", str(owner)]) == 0
    assert "signature   right" in capsys.readouterr().out


def test_inspect_tells_what_can_be_told_without_the_key(graph: Path, owner: Path, capsys: Any) -> None:
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
