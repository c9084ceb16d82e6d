"""``python -m edgedet`` is the ``edgedet`` command."""

from __future__ import annotations

from edgedet.cli import command

if __name__ == "__main__":
    command()
