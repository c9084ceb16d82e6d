"""Artifacts signed by ``edgedet sign``, and signatures that say something else than it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgedet.artifacts.signature import parse, serialise
from edgedet.artifacts.signing_keys import read_private_key
from edgedet.cli import main


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
