"""One trial of an artifact, in a process of its own.

An engine that ends its process, or never comes to an end, must not take the installation with it. The process
prints one JSON object: ``proved`` and what was ``said``, or an ``error``.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from edgedet.errors import EdgedetError, SelftestError

START = (
    "import sys; sys.path[:] = sys.argv[2:]; from edgedet.install.trial import main; sys.exit(main(sys.argv[1]))"
)
"""The program. It looks for modules where this process does: ``-m`` would look in the current folder first."""


@dataclass(frozen=True)
class Trial:
    """What came of it. ``proved``: whether detections could be compared with those of the export."""

    proved: bool
    said: str


def try_artifact(path: Path, *, seconds: float) -> Trial:
    """Open an artifact and replay its golden input, in a process of its own.

    What is required of signatures holds there too.

    Raises:
        SelftestError: it cannot be opened here, gives other detections than at export, ends its process, or is not
            done in ``seconds``.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", START, str(path), *sys.path],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SelftestError(f"the self-test was not done in {seconds:g} s; --timeout gives it longer") from None
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise SelftestError(f"the self-test ended without a word: {_how(done.returncode)}") from None
    if "error" in found:
        raise SelftestError(str(found["error"]))
    return Trial(bool(found["proved"]), str(found["said"]))


def main(artifact: str) -> int:
    """Open, replay, print."""
    from edgedet.task_dispatch import open_by_task, require_golden_of

    try:
        with open_by_task(artifact) as detector:
            if detector.card.golden is None:
                detector.warmup(1)
                result = {"proved": False, "said": "it ran, and its card holds no golden input to compare with"}
            else:
                report = require_golden_of(detector, unproved="accept")
                result = {"proved": report.telling, "said": f"{report}; {detector.description}"}
    except EdgedetError as error:
        result = {"error": str(error)}
    print(json.dumps(result))
    return 0


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"
