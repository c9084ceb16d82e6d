"""Make a pair of keys: NAME.key signs artifacts and stays with you, NAME.pub goes onto every device.

Ed25519 in PEM files, as OpenSSL writes them. A key that is there is never written over.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

EXAMPLES = """\
examples:
  edgedet keygen owner                        -> owner.key, owner.pub
  edgedet keygen owner --passphrase           the private key is locked
  edgedet sign model.onnx --key owner.key
  edgedet detect model.onnx photo.jpg --require-signature owner.pub
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``edgedet keygen``."""
    parser.add_argument("name", metavar="NAME", type=Path, help="files to write, without .key and .pub")
    parser.add_argument(
        "--passphrase",
        action="store_true",
        help="lock the private key; asked for on the terminal, or taken from EDGEDET_KEY_PASSPHRASE",
    )


def run(arguments: argparse.Namespace) -> int:
    """Make both files."""
    from edgedet.artifacts.signing_keys import key_name, make_keys, read_public_keys
    from edgedet.cli.passphrase import new_passphrase
    from edgedet.errors import OutputError
    from edgedet.files import require_writable_parent

    private_path, public_path = (arguments.name.with_name(arguments.name.name + end) for end in (".key", ".pub"))
    for path in (private_path, public_path):
        require_writable_parent(path)
        if os.path.lexists(path):
            raise OutputError(f"{path} is there already, and a key is not written over; choose another name")
    private, public = make_keys(new_passphrase() if arguments.passphrase else None)
    written: list[Path] = []
    try:
        # The public one last: a private key without it can make it again, not the other way round.
        for path, content, mode in ((private_path, private, 0o600), (public_path, public, 0o644)):
            write_new(path, content, mode)
            written.append(path)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    print(f"{public_path}: key {key_name(read_public_keys(public_path)[0])}")
    print(f"{private_path} signs: keep it off the devices, and keep a copy of it", file=sys.stderr)
    return 0


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that must not be there yet, readable for whom ``mode`` says from its first moment on.

    Raises:
        OSError: it is there, or cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 (the descriptor has the mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
