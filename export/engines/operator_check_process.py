"""The operator check of a graph's file, in a process of its own.

What the onnx package takes (25 MB) would stay until the process ends, and on a small board the builder needs it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgedet.errors import ArtifactError, ExportError

REFUSED = 3
"""Exit code of the check's process where the graph is refused, with the reason on its output."""


def require_parsable_file(source: Path, versions: Sequence[str]) -> None:
    """Insist on a file that becomes an engine (:func:`edgedet.export.engines.operators.require_parsable`).

    Args:
        source: an ONNX file.
        versions: keys of :data:`edgedet.export.engines.parser_versions.VERSIONS`.

    Raises:
        ArtifactError: naming the nodes and what to do about them.
        ExportError: the check itself did not end well.
    """
    command = [sys.executable, "-m", "edgedet.export.engines.operator_check_process", str(source), *versions]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == REFUSED:
        raise ArtifactError(done.stdout.strip())
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it gives no reason"])[-1]
        raise ExportError(f"{source} could not be checked before the build: {said}")


def main(source: str, *versions: str) -> int:
    """The check itself."""
    import onnx

    from .operators import require_parsable

    try:
        require_parsable(onnx.load(source), versions, where=source)
    except ArtifactError as error:
        print(error)
        return REFUSED
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
