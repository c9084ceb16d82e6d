"""Files that a failing card, a tool or somebody changed: an error of edgedet's or the right answer, each time?

    python benchmarks/mutations.py                        10,000 artifacts and 5,000 inputs
    python benchmarks/mutations.py --artifacts 500 --inputs 0
    python benchmarks/mutations.py --only graph --seed 4711 --artifacts 1      one case again

Artifacts: graphs with their seal, and damage that was sealed; cards; engines; signatures; graphs of another tool,
which state no digest. Inputs: pictures, videos, annotations, boxes made elsewhere. Each is opened and run in a
worker process, and judged there (tests/mutations/subjects.py says how). A fault is anything but an error
of edgedet's or an answer that is right: of a file without a digest, one that can be. So are a process that ends,
ten seconds of CPU, and 2 GiB.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

WORDS = {"error": "an error", "right": "the right answer", "stated": "an answer that can be", "fault": "FAULT"}


def main() -> int:
    """Run the cases, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts", type=int, default=10_000, metavar="N", help="mutated artifacts (10,000)")
    parser.add_argument(
        "--inputs", type=int, default=5_000, metavar="N", help="mutated pictures, videos, annotations"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first case of each subject")
    parser.add_argument("--only", metavar="SUBJECT", help="one subject")
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.mutations.subjects import SHARES
    from tests.mutations.worker import run_cases

    counts: dict[str, int] = {}
    for kind, number in (("artifact", arguments.artifacts), ("input", arguments.inputs)):
        counts |= shared_out(SHARES[kind], number, arguments.only)
    print(f"{'mutated':24}{'cases':>7}  what came of them, CPU seconds of the slowest, MiB of the largest")
    faults = total = 0
    for subject, number in counts.items():
        begun = time.monotonic()
        result = run_cases(_cases(subject, number, arguments.seed))
        told = ", ".join(f"{WORDS[what]} {count}" for what, count in sorted(result.outcomes[subject].items()))
        print(
            f"{subject:24}{result.count:7,}  {told}; {result.slowest:.1f} s, {result.largest >> 20} MiB "
            f"({time.monotonic() - begun:.0f} s in all)",
            flush=True,
        )
        for name, seed, what in result.faults:
            print(f"  FAULT {name} --seed {seed}: {what}", flush=True)
        faults += len(result.faults)
        total += result.count
    print(f"{total:,} cases, {faults} faults")
    return 1 if faults else 0


def shared_out(shares: dict[str, int], number: int, only: str | None) -> dict[str, int]:
    """How many cases each subject has of ``number``."""
    chosen = {name: share for name, share in shares.items() if only in (None, name)}
    whole = sum(chosen.values())
    counts = {name: number * share // whole for name, share in chosen.items()}
    for name in list(counts)[: number - sum(counts.values())]:
        counts[name] += 1
    return {name: count for name, count in counts.items() if count}


def _cases(subject: str, number: int, first: int) -> Iterator[tuple[str, int]]:
    yield from ((subject, seed) for seed in range(first, first + number))


if __name__ == "__main__":
    sys.exit(main())
