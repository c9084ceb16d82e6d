"""The ``edgedet`` command as a process; also ``python -m edgedet``."""

from __future__ import annotations

import sys
from typing import NoReturn


def command() -> NoReturn:
    """Load the command line and run it. Whoever interrupts the loading is told as whoever interrupts the work."""
    try:
        from edgedet.cli import command as run
    except KeyboardInterrupt:
        print("edgedet: interrupted", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    command()
