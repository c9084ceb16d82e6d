"""The process that runs mutated cases, one after another, and the one that watches it.

A case that ends its process, takes more than ten seconds of CPU or more than 2 GiB of memory is a fault, as is an
error that is none of edgedet's, or a wrong answer.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10.0
WALL_SECONDS = 120.0
"""By the clock, on a machine that has much else to do; ``SECONDS`` are of CPU time."""
MEMORY = 2 << 30


@dataclass
class Result:
    """``outcomes``: subject to how often what came of it. ``faults``: (subject, seed, what). ``slowest``: CPU
    seconds of one case. ``largest``: bytes of memory at the most."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[tuple[str, int, str]] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0

    @property
    def count(self) -> int:
        """Number of cases."""
        return sum(sum(counts.values()) for counts in self.outcomes.values())


def run_cases(cases: Iterable[tuple[str, int]]) -> Result:
    """Run (subject, seed) in worker processes; one that dies is replaced."""
    result, worker = Result(), None
    with tempfile.TemporaryDirectory(prefix="edgedet-mutations-") as folder:
        try:
            for subject, seed in cases:
                worker = worker or _start(folder)
                what = _ask(worker, subject, seed, result)
                counts = result.outcomes.setdefault(subject, Counter())
                if what in ("error", "right", "stated"):
                    counts[what] += 1
                    continue
                counts["fault"] += 1
                result.faults.append((subject, seed, what))
                if worker.poll() is not None or what.startswith("hang"):
                    worker.kill()
                    worker.wait()
                    worker = None
        finally:
            if worker is not None:
                worker.kill()
                worker.wait()
    return result


def _start(folder: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, __file__, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def _ask(worker: subprocess.Popen[bytes], subject: str, seed: int, result: Result) -> str:
    assert worker.stdin is not None and worker.stdout is not None
    try:
        worker.stdin.write(f"{json.dumps([subject, seed])}\n".encode())
    except BrokenPipeError:
        return f"crash: the process ended before, {worker.wait()}"
    begun, answer = time.monotonic(), b""
    while not answer.endswith(b"\n"):
        ready, _, _ = select.select([worker.stdout], [], [], 1.0)
        if ready:
            piece = worker.stdout.read(65536)
            if not piece:
                return f"crash: exit code {worker.wait()}"
            answer += piece
        elif time.monotonic() - begun > WALL_SECONDS:
            return "hang"
    found = json.loads(answer)
    result.slowest = max(result.slowest, found["seconds"])
    result.largest = max(result.largest, found["memory"])
    if found["seconds"] > SECONDS:
        return f"slow: {found['seconds']:.1f} s"
    if found["memory"] > MEMORY:
        return f"memory: {found['memory'] >> 20} MiB"
    return str(found["what"])


def main(folder: str) -> None:
    """Read cases from standard input, run them, and answer each with a line."""
    faulthandler.enable()
    # A runaway allocation is to be an error of this process's, and not the machine's end.
    resource.setrlimit(resource.RLIMIT_DATA, (6 << 30, 6 << 30))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from tests.mutations.subjects import SUBJECTS

    made: dict[str, object] = {}
    for line in sys.stdin:
        subject, seed = json.loads(line)
        if subject not in made:
            made[subject] = SUBJECTS[subject]()
        place = Path(folder) / "case"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        _reset_peak()
        begun = time.process_time()
        try:
            what = made[subject](place, random.Random(f"{subject} {seed}"))  # type: ignore[operator]
        except Exception as error:  # what is to be found
            frames = traceback.extract_tb(error.__traceback__)
            own = [each for each in frames if f"{os.sep}mutations{os.sep}" not in each.filename]
            where = next((each for each in reversed(own) if str(ROOT) in each.filename), frames[-1])
            what = f"{type(error).__name__}: {str(error)[:200]} ({Path(where.filename).name}:{where.lineno})"
        seconds = time.process_time() - begun
        print(json.dumps({"what": what, "seconds": seconds, "memory": _peak()}), file=answers, flush=True)


def _reset_peak() -> None:
    with contextlib.suppress(OSError):  # without it the peak is of all cases so far
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(sys.argv[1])
