"""What checking costs: opening an artifact with its digest, from memory, and with its signature.

    python benchmarks/integrity.py model.onnx          a graph that edgedet wrote
    python benchmarks/integrity.py model.onnx --rounds 50

CPU time of opening, every way in turns in one process, after one opening that is not counted; medians, and their
ratios to the graph without a digest. The peak of memory is of a process of its own for each way.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

WAYS = ("without a digest", "with its digest", "from memory", "signed")


def main() -> int:
    """Open, in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path, help="a graph that edgedet wrote")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="openings of each kind (20)")
    parser.add_argument("--once", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        _ways(arguments.folder)[arguments.once]()
        print(json.dumps(_peak()))
        return 0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        _prepare(arguments.artifact, folder)
        ways = _ways(folder)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for way in ways.values():
            way()
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                begun = time.process_time()
                way()
                times[name].append((time.process_time() - begun) * 1e3)
        peaks = {name: _peak_of(name, arguments.artifact, folder) for name in ways}
    first = statistics.median(times[WAYS[0]])
    size = arguments.artifact.stat().st_size
    print(f"{arguments.artifact.name}, {size / 1e6:.2f} MB, {arguments.rounds} openings each, CPU time")
    for name, taken in times.items():
        middle = statistics.median(taken)
        print(f"{name:18}{middle:8.1f} ms {middle / first:6.2f} x, peak {peaks[name] / 1e6:.0f} MB")
    return 0


def _prepare(artifact: Path, folder: Path) -> None:
    import contextlib
    import io

    from edgedet.cli import main as edgedet
    from edgedet.opening import read_card

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.mutations.changed_artifacts import graph_with_card

    content = artifact.read_bytes()
    (folder / "sealed.onnx").write_bytes(content)
    (folder / "bare.onnx").write_bytes(graph_with_card(content, read_card(artifact).to_json()))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert edgedet(["keygen", str(folder / "owner")]) == 0
        assert edgedet(["sign", str(folder / "sealed.onnx"), "--key", str(folder / "owner.key")]) == 0


def _ways(folder: Path) -> dict[str, Callable[[], None]]:
    from edgedet import Detector

    def opening(**options: object) -> Callable[[], None]:
        def once() -> None:
            path = folder / str(options.get("name", "sealed.onnx"))
            artifact = path.read_bytes() if options.get("memory") else path
            key = folder / "owner.pub" if options.get("signed") else None
            Detector(artifact, runtime="onnxruntime:cpu", threads=1, require_signature=key).close()

        return once

    found = (opening(name="bare.onnx"), opening(), opening(memory=True), opening(signed=True))
    return dict(zip(WAYS, found, strict=True))


def _peak_of(name: str, artifact: Path, folder: Path) -> int:
    done = subprocess.run(
        [sys.executable, __file__, str(artifact), "--once", name, "--folder", str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(json.loads(done.stdout))


def _peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
