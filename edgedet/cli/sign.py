"""Sign artifacts with a key of yours: devices that ask for your signature open them, and nothing else.

An engine is code, and so is not opened unless you know whose it is. The signature lies beside the artifact
(model.onnx.sig), covers every file of it, and leaves the artifact as it is. It says nothing of files that were
right
before: an older artifact that you signed stays signed, until the signature expires.
"""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

EXAMPLES = """\
examples:
  edgedet keygen owner
  edgedet sign model.onnx model.trt --key owner.key
  edgedet sign model.trt --key owner.key --expires 2027-12-31
  edgedet sign model.trt --key second.key --add          a signature beside those that are there
  edgedet inspect model.trt --verify --require-signature owner.pub
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``edgedet sign``."""
    parser.add_argument("artifacts", metavar="ARTIFACT", type=Path, nargs="+", help="graphs or engines")
    parser.add_argument("--key", metavar="KEY", type=Path, required=True, help="your private key (edgedet keygen)")
    parser.add_argument(
        "--expires", metavar="DAY", type=end_of_day, help="last day on which it holds, YYYY-MM-DD (for good)"
    )
    parser.add_argument("--add", action="store_true", help="keep signatures of this artifact by other keys")


def run(arguments: argparse.Namespace) -> int:
    """Sign all of them, or none that cannot be."""
    from edgedet.artifacts.signature import signature_path
    from edgedet.artifacts.signing_keys import is_locked, key_name, read_private_key
    from edgedet.cli.passphrase import passphrase_of
    from edgedet.errors import UsageError

    now = datetime.now(timezone.utc).replace(microsecond=0)
    if arguments.expires is not None and arguments.expires < now:
        raise UsageError(f"--expires {arguments.expires:%Y-%m-%d} is over; give a day to come")
    passphrase = passphrase_of(arguments.key) if is_locked(arguments.key) else None
    private = read_private_key(arguments.key, passphrase)
    ready = [_signed(path, private, now, arguments.expires, add=arguments.add) for path in arguments.artifacts]
    for path, content, parts in ready:
        beside = signature_path(path)
        _write(beside, content)
        until = f", until {arguments.expires:%Y-%m-%d}" if arguments.expires is not None else ""
        print(f"{beside}: {', '.join(parts)}, by key {key_name(private.public_key())}{until}")
    if arguments.expires is None:
        print("it holds for good; --expires ends it", file=sys.stderr)
    return 0


def end_of_day(text: str) -> datetime:
    """The last second of a day, UTC.

    >>> end_of_day("2027-12-31").isoformat()
    '2027-12-31T23:59:59+00:00'
    """
    try:
        day = datetime.strptime(text, "%Y-%m-%d")
        return day.replace(hour=23, minute=59, second=59, tzinfo=timezone.utc)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day, such as 2027-12-31") from error


def _signed(
    path: Path, private: Any, now: datetime, expires: datetime | None, *, add: bool
) -> tuple[Path, bytes, list[str]]:
    """The content of an artifact's file of signatures, and the files that it covers."""
    from edgedet.artifacts.engine_library import PLAN_STARTS
    from edgedet.artifacts.signature import LARGEST, parse, serialise, signature_path
    from edgedet.artifacts.signed_artifact import add_signature, read_to_sign, signatures_that_fit
    from edgedet.artifacts.wholeness import require_whole
    from edgedet.errors import UsageError
    from edgedet.files import read_regular
    from edgedet.opening import artifact_kind, read_card

    kind = artifact_kind(path)
    if kind == "checkpoint":
        raise UsageError(f"{path} is a checkpoint, which devices do not open; export it, and sign what comes out")
    main, statement = read_to_sign(path, graph=kind == "graph", signed=now, expires=expires)
    # What is no whole artifact is not signed: its owner would find out on the devices.
    content = None if main.startswith(PLAN_STARTS) else main
    read_card(path, content)
    require_whole(path, kind, content)
    kept: tuple[Any, ...] = ()
    beside = signature_path(path)
    if add and beside.exists():
        kept = signatures_that_fit(path, main, parse(read_regular(beside, LARGEST), str(beside)))
    content = serialise(add_signature(statement, private, kept=kept))
    return path, content, [part.name for part in statement.parts]


def _write(path: Path, content: bytes) -> None:
    from edgedet.files import atomic_path, sync

    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
        sync(temporary)
