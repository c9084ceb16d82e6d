"""How many pictures a second do `edgedet detect` and `edgedet eval` go through, beside the build before?

    python benchmarks/throughput.py [--before f532f52] [--shared ../shared] [--turns 3] [--pictures 200] [--nice]

A folder of JPEGs at 1080p (mosaics of photographs, quality 90, 0.5 to 0.9 MB each) by SSDLite, and `eval` of the
128 photographs of coco128's train2017 by YOLOX-Nano. Whole commands, in processes of their own, by turns with the
same of the other build, which is checked out from git. Start-up is timed on one picture, and left out of the
pictures per second. What the two print must be the same. Ends with 1 where a bar is missed: 1.6 times the pictures
per second of the folder, 1.4 times those of the evaluation.

CPU time is of all threads; half of it per picture is what two cores cannot go below. On a busy machine the clock
shows who else was there: --nice gives these processes the weight of eighty others (Linux, root).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgedet.export.options import ExportOptions  # noqa: E402
from edgedet.export.pipeline import export_model  # noqa: E402
from edgedet.machine.cores import available_cores  # noqa: E402
from edgedet.machine.hardware import describe_cpu  # noqa: E402
from edgedet.pictures.image_file import read_image  # noqa: E402

SIZE, TILES, QUALITY = (1920, 1080), 3, 90


@dataclass(frozen=True)
class Task:
    """``arguments``: of the command. ``one``: the same for one picture. ``pictures``: how many it goes through."""

    name: str
    arguments: list[str]
    one: list[str]
    pictures: int
    bar: float


@dataclass(frozen=True)
class Run:
    """``wall``, ``cpu``: seconds. ``peak``: bytes of memory. ``said``: digest of what was printed."""

    wall: float
    cpu: float
    peak: int
    said: str


def main() -> int:
    """Measure; 1 where a bar is missed or the builds differ, 2 where there are no detectors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="f532f52", help="commit of the build to compare with")
    parser.add_argument(
        "--shared", type=Path, default=Path(os.environ.get("EDGEDET_SHARED") or ROOT.parent / "shared")
    )
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--nice", action="store_true", help="with the weight of eighty other processes")
    arguments = parser.parse_args()
    if not (arguments.shared / "models").is_dir():
        print(f"no models/ in {arguments.shared}; point --shared to detectors and images", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        before = work / "before"
        subprocess.run(
            ["git", "-C", str(ROOT), "worktree", "add", "--quiet", "--detach", str(before), arguments.before],
            check=True,
        )
        try:
            tasks = prepare(work, arguments.shared, arguments.pictures)
            print(f"{describe_cpu().model}, {available_cores()} cores, load {os.getloadavg()[0]:.1f}")
            met = [measure(task, before, arguments.turns, nice=arguments.nice) for task in tasks]
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(before)], check=True)
    return 0 if all(met) else 1


def prepare(work: Path, shared: Path, pictures: int) -> list[Task]:
    """Export the detectors and draw the folder."""
    ssdlite, yolox = work / "ssdlite.onnx", work / "yolox.onnx"
    export_model(shared / "models/ssdlite320_mobilenet_v3_large_bccd.pt", ssdlite, ExportOptions())
    export_model(shared / "models/yolox_nano.onnx", yolox, ExportOptions(family="yolox", conf=0.001))
    photographs = sorted((shared / "data/coco128").rglob("*.jpg"))
    folder = work / "photos"
    folder.mkdir()
    draw(photographs, folder, pictures)
    one = work / "one"
    one.mkdir()
    (one / "000.jpg").write_bytes((folder / "000.jpg").read_bytes())
    dataset = str(shared / "data/coco128/instances_train2017.json")
    return [
        Task(
            "detect, SSDLite, 1080p",
            ["detect", str(ssdlite), str(folder)],
            ["detect", str(ssdlite), str(one)],
            pictures,
            1.6,
        ),
        Task(
            "eval, YOLOX-Nano, coco128",
            ["eval", str(yolox), dataset, "--json", "-"],
            ["eval", str(yolox), dataset, "--limit", "1", "--json", "-"],
            128,
            1.4,
        ),
    ]


def draw(photographs: list[Path], folder: Path, count: int) -> None:
    """Mosaics of photographs, each pixel as some camera saw it."""
    width, height = SIZE[0] // TILES, SIZE[1] // TILES
    tiles = [image[:height, :width] for image in map(read_image, photographs)]
    tiles = [tile for tile in tiles if tile.shape[:2] == (height, width)]
    rng = np.random.default_rng(0)
    for number in range(count):
        chosen = rng.choice(len(tiles), TILES * TILES, replace=False)
        rows = [np.hstack([tiles[i] for i in chosen[row * TILES : (row + 1) * TILES]]) for row in range(TILES)]
        cv2.imwrite(str(folder / f"{number:03}.jpg"), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def measure(task: Task, before: Path, turns: int, *, nice: bool) -> bool:
    """Both builds by turns; prints a line for each, and whether the bar is met."""
    builds = {"before": before, "now": ROOT}
    starts: dict[str, list[Run]] = {build: [] for build in builds}
    runs: dict[str, list[Run]] = {build: [] for build in builds}
    for turn in range(turns + 1):
        for build in sorted(builds, reverse=bool(turn % 2)):
            start, run = (command(words, builds[build], nice=nice) for words in (task.one, task.arguments))
            if turn:  # the first fills caches
                starts[build].append(start)
                runs[build].append(run)
    print(f"\n{task.name}: {task.pictures} pictures, medians of {turns} turns")
    rates = {}
    for build in builds:
        start, wall, cpu = (
            float(np.median([getattr(run, field) for run in of]))
            for of, field in ((starts[build], "wall"), (runs[build], "wall"), (runs[build], "cpu"))
        )
        start_cpu = float(np.median([run.cpu for run in starts[build]]))
        more = task.pictures - 1
        rates[build] = more / (wall - start)
        print(
            f"  {build:7} {rates[build]:6.1f} pictures/s  {(wall - start) / more * 1e3:6.1f} ms of the clock, "
            f"{(cpu - start_cpu) / more * 1e3:6.1f} ms of CPU each; command {wall:.2f} s, start-up {start:.2f} s, "
            f"peak {max(run.peak for run in runs[build]) / 2**20:.0f} MiB"
        )
    same = len({run.said for of in runs.values() for run in of}) == 1
    ratio = rates["now"] / rates["before"]
    met = same and ratio >= task.bar
    output, verdict = "the same" if same else "NOT THE SAME", "met" if met else "NOT MET"
    print(f"  output {output}; {ratio:.2f} x the pictures per second, at least {task.bar:g} ({verdict})")
    return met


def command(words: list[str], build: Path, *, nice: bool) -> Run:
    """Run ``edgedet`` of a build in a process of its own."""
    with tempfile.TemporaryFile() as out:
        begin = time.perf_counter()
        heavy = ["sh", "-c", 'echo -20 > /proc/self/autogroup; exec "$@"', "sh"] if nice else []
        process = subprocess.Popen(
            [*heavy, sys.executable, "-m", "edgedet", *words],
            cwd=build,
            env=os.environ | {"PYTHONPATH": str(build)},
            stdout=out,
            stderr=subprocess.DEVNULL,
            start_new_session=nice,
        )
        peaks: list[int] = []
        watcher = threading.Thread(target=_watch, args=(process.pid, peaks))
        watcher.start()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"edgedet {' '.join(words)} of {build} ended with {process.returncode}")
        out.seek(0)
        said = b"\n".join(line for line in out.read().splitlines() if b'"runtime"' not in line)
    return Run(wall, used.ru_utime + used.ru_stime, max(peaks, default=0), hashlib.sha256(said).hexdigest())


def _watch(process: int, peaks: list[int]) -> None:
    """Peak memory as long as it runs; what a parent is told is at least its own, which a child begins as."""
    status = Path(f"/proc/{process}/status")
    with contextlib.suppress(OSError):
        while peak := re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE):
            peaks.append(int(peak[1]) * 1024)
            time.sleep(0.02)


if __name__ == "__main__":
    raise SystemExit(main())
