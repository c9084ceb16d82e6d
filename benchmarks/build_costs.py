"""What does a detector cost beside the build before: bytes, memory, time of a frame, time to import?

    python benchmarks/build_costs.py --before fe2420f^ [--shared ../shared] [--turns 60]

fe2420f brought masks, and the detectors here have none: SSDLite (examples/sample) and YOLOX-Nano, each exported by
both builds. The frame is a photograph at 1080p, on one thread. Time is CPU time of the processes, taken by turns in
two of them that live side by side. Whoever else is on the machine only adds to it (caches, threads of one core), so
what is compared is the tenth part of the turns that took least; the spread is two deviations of that over turns
drawn anew. Memory is the peak of whole processes, by turns. Ends with 1 where something grew by more than 1 %.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 1.01
FRAMES = 6
"""Frames in a turn."""

EXPORT = """
import sys
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
source, out, family = sys.argv[1:]
export_model(source, out, ExportOptions(family=family or None))
"""

NETWORK = """
import sys, onnx
model = onnx.load(sys.argv[1])
del model.metadata_props[:]
print(len(model.SerializeToString()), len(model.graph.node))
"""

IMPORT = """
import sys, time
begin = time.process_time()
import edgedet
edgedet.Detector
print(time.process_time() - begin, *(name for name in sys.modules if name.startswith("edgedet")))
"""

DETECTING = """
import os, sys, time, cv2
from edgedet import Detector
from edgedet.pictures.image_file import read_image
cv2.setNumThreads(1)
frame = read_image(sys.argv[2])
with Detector(sys.argv[1], threads=1) as detector:
    found = [detector.detect(frame) for _ in range(10)]
    print(len(found[-1]), flush=True)
    for line in sys.stdin:
        begin = time.process_time()
        for _ in range(int(line)):
            detector.detect(frame)
        print(time.process_time() - begin, flush=True)
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")))
"""


@dataclass(frozen=True)
class Figure:
    """``ratio``: ``now`` over ``before``, each of the turns that took least; ``spread``: what it may be off by."""

    what: str
    now: float
    before: float
    ratio: float
    spread: float = 0.0

    @property
    def met(self) -> bool:
        """Whether no more than a hundredth came on top."""
        return self.ratio <= LIMIT

    def __str__(self) -> str:
        spread = f" +- {self.spread:.4f}" if self.spread else ""
        verdict = "met" if self.met else "NOT MET"
        return f"{self.what:<46} {self.before:12.6g} {self.now:12.6g}  {self.ratio:.4f}{spread}  {verdict}"


def main() -> int:
    """Measure; 1 where something grew by more than a hundredth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="fe2420f^", help="commit, or checkout, of the build to compare with")
    parser.add_argument(
        "--shared", type=Path, default=Path(os.environ.get("EDGEDET_SHARED") or ROOT.parent / "shared")
    )
    parser.add_argument("--turns", type=int, default=60, help=f"of {FRAMES} frames each")
    parser.add_argument("--processes", type=int, default=7, help="of each build, for memory and imports")
    arguments = parser.parse_args()
    detectors = {"SSDLite": (ROOT / "examples/sample/camera_phone_ssdlite320.pt", "")}
    yolox = arguments.shared / "models/yolox_nano.onnx"
    if yolox.is_file():
        detectors["YOLOX-Nano"] = (yolox, "yolox")
    else:
        print(f"YOLOX-Nano: not measured, there is no {yolox}; point --shared to detectors and images")
    model = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    print(f"{model.split(': ')[1]}, load {os.getloadavg()[0]:.1f}")
    print(f"{'':<46} {'before':>12} {'now':>12}  ratio")
    met = True
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        builds = {"before": stack.enter_context(checkout(arguments.before, folder)), "now": ROOT}
        for tree in builds.values():
            if not Path(run(tree, "import edgedet; print(edgedet.__file__)")[0]).is_relative_to(tree):
                raise SystemExit(f"Python does not take the package of {tree}; start this without PYTHONSAFEPATH")
        frame = draw(folder / "frame.png", arguments.shared)
        for figure in measured(detectors, builds, frame, folder, arguments):
            print(figure, flush=True)
            met = met and figure.met
    return 0 if met else 1


def measured(
    detectors: dict[str, tuple[Path, str]],
    builds: dict[str, Path],
    frame: Path,
    folder: Path,
    arguments: argparse.Namespace,
) -> Iterator[Figure]:
    """Every figure, as it is known."""
    yield from imports(builds, arguments.processes)
    for name, (source, family) in detectors.items():
        artifacts = {build: folder / f"{name}-{build}.onnx" for build in builds}
        for build, tree in builds.items():
            run(tree, EXPORT, str(source.resolve()), str(artifacts[build]), family)
        networks = {build: run(ROOT, NETWORK, str(artifacts[build])) for build in builds}
        for place, what in enumerate(("bytes of the network", "operators")):
            yield figure(f"{name}: {what}", {build: [float(words[place])] for build, words in networks.items()})
        sizes = {build: [float(path.stat().st_size)] for build, path in artifacts.items()}
        yield figure(f"{name}: bytes of the file, with its card", sizes)
        peaks: dict[str, list[float]] = {build: [] for build in builds}
        for build in in_turns(builds, arguments.processes):
            peaks[build].append(float(run(builds[build], DETECTING, str(artifacts[build]), str(frame))[-1]))
        yield figure(f"{name}: peak memory, KiB", peaks)
        yield frame_time(name, builds, artifacts, frame, arguments.turns)


def imports(builds: dict[str, Path], processes: int) -> Iterator[Figure]:
    """What ``from edgedet import Detector`` takes; the first of all compiles, and is left out."""
    taken: dict[str, list[float]] = {build: [] for build in builds}
    modules: dict[str, set[str]] = {}
    for build in in_turns(builds, 1 + 3 * processes):
        seconds, *loaded = run(builds[build], IMPORT)
        taken[build].append(float(seconds) * 1e3)
        modules[build] = set(loaded)
    yield figure("import, ms of CPU", {build: values[1:] for build, values in taken.items()})
    print(
        f"  modules that it did not load before: {', '.join(sorted(modules['now'] - modules['before'])) or 'none'}"
    )


def frame_time(name: str, builds: dict[str, Path], artifacts: dict[str, Path], frame: Path, turns: int) -> Figure:
    """CPU milliseconds of ``detect``, in a process for each build, by turns."""
    with ExitStack() as stack:
        children = {}
        for build, tree in builds.items():
            child = subprocess.Popen(
                [sys.executable, "-c", DETECTING, str(artifacts[build]), str(frame)],
                cwd=tree,
                env=environment(tree),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(child.wait)
            stack.callback(child.stdin.close)
            children[build] = child
        found = {build: int(child.stdout.readline()) for build, child in children.items()}
        if len(set(found.values())) > 1:
            raise SystemExit(f"{name}: other detections than before: {found}")
        taken: dict[str, list[float]] = {build: [] for build in builds}
        for build in in_turns(builds, turns):
            child = children[build]
            print(FRAMES, file=child.stdin, flush=True)
            taken[build].append(float(child.stdout.readline()) * 1e3 / FRAMES)
    return figure(f"{name}: detect at 1080p, ms of CPU", taken)


def in_turns(builds: dict[str, Path], turns: int) -> Iterator[str]:
    """Names of builds: all of them in each turn, the other one first every time."""
    for turn in range(turns):
        yield from sorted(builds, reverse=bool(turn % 2))


def figure(what: str, values: dict[str, list[float]]) -> Figure:
    """The ratio of what two builds took in the turns that took least."""
    now, before = np.array(values["now"]), np.array(values["before"])
    spread = 0.0
    if len(now) > 1:
        draws = np.random.default_rng(0).integers(0, len(now), (500, len(now)))
        spread = float(2 * np.std([least(now[rows]) / least(before[rows]) for rows in draws]))
    return Figure(what, least(now), least(before), least(now) / least(before), spread)


def least(values: np.ndarray) -> float:
    """The mean of the lowest tenth."""
    return float(np.sort(values)[: max(len(values) // 10, 1)].mean())


def run(tree: Path, code: str, *arguments: str) -> list[str]:
    """Words that code prints with the package of ``tree``, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tree,
        env=environment(tree),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.split()


def environment(tree: Path) -> dict[str, str]:
    """Python finds the package of ``tree``, its working folder, before any other, and keeps what it compiles."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(tree), "EDGEDET_SPINNING": "0", "OMP_NUM_THREADS": "1"}


@contextmanager
def checkout(before: str, folder: Path) -> Iterator[Path]:
    """The tree of a commit for as long as it is needed, or a checkout that is there."""
    if Path(before).is_dir():
        yield Path(before).resolve()
        return
    tree = folder / "before"

    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(ROOT), *words], check=True)

    git("worktree", "add", "--quiet", "--detach", str(tree), before)
    try:
        yield tree
    finally:
        git("worktree", "remove", "--force", str(tree))


def draw(path: Path, shared: Path) -> Path:
    """A photograph at 1080p, or a scene where there is none."""
    import cv2

    sys.path.insert(0, str(ROOT))
    photographs = sorted((shared / "data/coco128").rglob("*.jpg"))
    if photographs:
        from edgedet.pictures.image_file import read_image

        image = read_image(photographs[0])
    else:
        from examples.scenes.scene import render_scene

        image = render_scene(1).image
    cv2.imwrite(str(path), cv2.resize(image, (1920, 1080), interpolation=cv2.INTER_CUBIC))
    return path


if __name__ == "__main__":
    sys.exit(main())
