"""``--require-signature``, the same of every command that opens artifacts."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager
from pathlib import Path


def add_signature_option(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument(
        "--require-signature",
        metavar="PUBKEY",
        type=Path,
        help="open an artifact only where the owner of a key in PUBKEY signed it (edgedet sign); "
        "EDGEDET_REQUIRE_SIGNATURE says so for a whole machine",
    )


def required_by(arguments: argparse.Namespace) -> AbstractContextManager[None]:
    """A block in which what the command opens must be signed as it was asked for; its child processes included."""
    from edgedet.artifacts.signature_policy import requiring

    return requiring(getattr(arguments, "require_signature", None))
