"""Whether an artifact is what was written and signed, in words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgedet.artifacts.held_artifact import Held
from edgedet.runtimes import Kind

NO_DIGEST = "it states none (an older edgedet or another tool wrote it), so damage to it cannot be told"


@dataclass(frozen=True)
class Verified:
    """What was found, where nothing is wrong.

    Attributes:
        whole: whether the artifact states a digest of itself, which was right.
        digest: what it covers, or why there is none.
        signed: whether a signature was asked for, and found right.
        signature: what is known of it.
    """

    whole: bool
    digest: str
    signed: bool
    signature: str

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"digest      {self.digest}"
        yield f"signature   {self.signature}"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def verify(path: Path, kind: Kind, held: Held | None) -> Verified:
    """Check an artifact's digest, and tell of its signature.

    Args:
        path: the artifact.
        kind: what it is.
        held: what was read and checked where a signature is required.

    Raises:
        ArtifactError: it is damaged.
        SignatureError: its signatures are of another file.
    """
    from edgedet.artifacts.engine_library import PLAN_STARTS
    from edgedet.artifacts.wholeness import require_whole

    content = None
    if held is not None:
        content = held.content if held.main.startswith(PLAN_STARTS) else held.main
    covered = require_whole(path, kind, content)
    signature = "right: by a key that is required here" if held is not None else _unchecked(path, content)
    return Verified(bool(covered), covered or NO_DIGEST, held is not None, signature)


def seal_anew(path: Path, kind: str, output: Path) -> None:
    """Write a graph with a digest of what it is now.

    Raises:
        UsageError: no graph. OutputError: cannot be written.
    """
    from edgedet.artifacts.seal import sealed
    from edgedet.errors import UsageError
    from edgedet.files import atomic_path

    if kind != "graph":
        raise UsageError(f"--seal is for graphs, and {path} is a {kind}; leave it out")
    content = sealed(path.read_bytes())
    with atomic_path(output) as temporary:
        temporary.write_bytes(content)


def _unchecked(path: Path, content: bytes | None) -> str:
    """What can be told of signatures without the key of whoever made them."""
    from edgedet.artifacts.signature import LARGEST, TIME, parse, signature_path, statement_of
    from edgedet.artifacts.signed_artifact import signatures_that_fit
    from edgedet.errors import SignatureError
    from edgedet.files import read_regular

    beside = signature_path(path)
    stated = None
    with contextlib.suppress(OSError):
        stated = read_regular(beside, LARGEST)
    if stated is None:
        return "none"
    try:
        found = parse(stated, str(beside))
    except SignatureError as error:
        return str(error)
    fitting = signatures_that_fit(path, path.read_bytes() if content is None else content, found)
    if not fitting:
        raise SignatureError(
            f"{beside} speaks of other bytes than those of {path}; take both from their owner again, or sign the "
            "artifact (edgedet sign)"
        )
    now = datetime.now(timezone.utc)
    ends = [statement_of(one.statement, str(beside)).expires for one in fitting]
    past = [end for end in ends if end is not None and end < now]
    expired = f", {len(past)} expired ({max(past).strftime(TIME)})" if past else ""
    return (
        f"{len(fitting)} in {beside.name}{expired}, not checked: --require-signature PUBKEY says whose it must be"
    )
