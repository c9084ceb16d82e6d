"""How long INT8 takes, and how much memory: this build beside another one, in turns.

    git worktree add --detach ../before COMMIT
    python benchmarks/int8_time.py --before ../before                   two rounds of every detector
    python benchmarks/int8_time.py --only ssdlite --effort quick        this build alone
    python benchmarks/int8_time.py --only ssdlite --pictures 0          without pictures

The TensorRT dialect, training pictures and no labels, the same defaults for every detector. Each run is a process
of its own. *INT8* is what lies between the finished float graph and the golden input: seconds waited, CPU seconds
of all threads (user and system, which hardly notice what else the machine does), and the largest memory of the
process so far. The *whole* command has PyTorch's import, the export and the golden input around it. mAP of the
held-out split, by this build's code whoever made the graph. For the untrained ResNet50-C4 nothing can be judged
(``--max-drop 1``). Needs the shared models and data (EDGEDET_SHARED, or ../shared).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("EDGEDET_SHARED") or REPOSITORY.parent / "shared")
PICTURES = 24
"""Calibration pictures."""
CHILD = """
import json, resource, sys, time
begun = time.monotonic()
from dataclasses import replace
from edgedet.export import finished_graph
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model

asked = json.loads(sys.argv[1])
found = {}

def now():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.monotonic(), used.ru_utime + used.ru_stime

def timed(*arguments, **options):
    seconds, cpu = now()
    result = reduce_precision(*arguments, **options)
    found["int8_s"], found["int8_cpu_s"] = (after - before for after, before in zip(now(), (seconds, cpu)))
    return result

class Listener:
    def __init__(self):
        self.marks, self.left = [], []
    def __call__(self, what, done=0, of=0):
        if not self.marks or self.marks[-1][0] != what:
            self.marks.append((what, round(time.monotonic() - begun, 3)))
    def expect(self, seconds):
        self.left.append((round(time.monotonic() - begun, 3), round(seconds, 3)))

reduce_precision, finished_graph._reduce_precision = finished_graph._reduce_precision, timed
options = {name: tuple(value) if isinstance(value, list) else value for name, value in asked["options"].items()}
listener = Listener()
report = export_model(asked["source"], asked["output"], ExportOptions(**options), progress=listener)
found |= {"whole_s": now()[0] - begun, "whole_cpu_s": now()[1], "stages": listener.marks, "left": listener.left}
found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
found["version"] = finished_graph.__file__
print("FOUND " + json.dumps(found))
"""
"""Runs in either build, so it names only what both have."""


@dataclass(frozen=True)
class Subject:
    """A detector. ``test`` None: it is untrained, and nothing of what it finds is judged."""

    source: str
    calibration: str
    test: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


COCO, BCCD = "data/coco128", "data/bccd"
SUBJECTS = {
    "ssdlite": Subject("models/ssdlite320_mobilenet_v3_large_bccd.pt", f"{BCCD}:train", f"{BCCD}:test"),
    "yolox_nano": Subject(
        "models/yolox_nano.onnx",
        f"{COCO}/instances_train2017.json",
        f"{COCO}/instances_val2017.json",
        {"family": "yolox", "conf": 0.001, "iou": 0.65, "max_detections": 300, "nms": "runtime"},
    ),
    "faster_rcnn": Subject("models/fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt", f"{BCCD}:train", f"{BCCD}:test"),
    "resnet50_c4": Subject("fasterrcnn_resnet50_c4", f"{BCCD}:train", None, {"proposals": 300, "max_drop": 1.0}),
}


def main() -> None:
    """Run every detector in turns, print the table, keep every figure as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout of another build, measured in turns with this one")
    parser.add_argument("--only", choices=list(SUBJECTS), action="append")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="0 calibrates on made ones")
    parser.add_argument("--effort", choices=("quick", "normal", "thorough"))
    parser.add_argument("--work", type=Path, default=Path("build/int8_time"), help="where graphs and figures go")
    arguments = parser.parse_args()
    arguments.work = arguments.work.resolve()  # the other build runs in its own folder
    arguments.work.mkdir(parents=True, exist_ok=True)
    builds = {"now": REPOSITORY} | ({"before": arguments.before.resolve()} if arguments.before else {})
    runs: list[dict[str, Any]] = []
    for name in arguments.only or SUBJECTS:
        for turn in range(arguments.rounds):
            for build, checkout in builds.items():
                found = measure(name, checkout, arguments.work / f"{name}-{build}.onnx", arguments)
                runs.append({"detector": name, "build": build, "round": turn} | found)
                told = {key: value for key, value in runs[-1].items() if key not in ("stages", "left", "version")}
                print(json.dumps(told), flush=True)
                (arguments.work / "runs.json").write_text(json.dumps(runs, indent=1))
    print_table(runs)


def measure(name: str, checkout: Path, output: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One run of one build, and the mAP of what it made."""
    subject = SUBJECTS[name]
    source = SHARED / subject.source if subject.test else untrained(subject.source, arguments.work)
    options = subject.options | {"precision": "int8", "target": "tensorrt"}
    options["frame_size"] = (640, 480)
    if subject.options.get("family"):
        options["classes"] = list(dataset(subject.calibration).names)
    if arguments.pictures:
        options["calib"] = str(pictures(subject.calibration, arguments.pictures, arguments.work))
    if arguments.effort:
        options["effort"] = arguments.effort
    for kept in output.parent.glob(f".{output.stem}.int8-cache/*"):
        kept.unlink()
    asked = json.dumps({"source": str(source), "output": str(output), "options": options})
    # Compiled files are kept, as where people install it.
    environment = os.environ | {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": ""}
    begun = time.monotonic()
    # What the child runs is found in its own checkout, not where this program was started.
    done = subprocess.run(
        [sys.executable, "-c", CHILD, asked],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    answer = next((line for line in done.stdout.splitlines() if line.startswith("FOUND ")), None)
    if answer is None:
        return {"failed": done.stderr.strip().splitlines()[-1:], "whole_s": time.monotonic() - begun}
    found: dict[str, Any] = json.loads(answer.removeprefix("FOUND "))
    if not Path(found["version"]).resolve().is_relative_to(checkout):
        raise SystemExit(f"{checkout} was asked for, and {found['version']} ran")
    if subject.test:
        found["map"] = accuracy(output, subject.test)
    return found


def untrained(arch: str, work: Path) -> Path:
    """A detector of that architecture with seeded random weights, as a checkpoint."""
    import torch

    from edgedet.export.families.torchvision_architectures import build

    path = (work / f"{arch}.pt").resolve()
    if not path.exists():
        torch.manual_seed(0)
        state = build(arch, 4).state_dict()
        torch.save({"arch": arch, "num_classes": 4, "classes": ["a", "b", "c"], "state_dict": state}, path)
    return path


def dataset(name: str) -> Any:
    """A dataset below the shared folder."""
    from edgedet.datasets import read_dataset

    return read_dataset(str(SHARED / name))


def pictures(name: str, count: int, work: Path) -> Path:
    """A folder with the first pictures of a dataset."""
    folder = work.resolve() / f"{Path(name.partition(':')[0]).parts[1]}-{count}"
    folder.mkdir(exist_ok=True)
    for image in dataset(name).images[:count]:
        if not (folder / image.path.name).exists():
            (folder / image.path.name).symlink_to(image.path.resolve())
    return folder


def accuracy(path: Path, test: str) -> float:
    """mAP of an artifact on the held-out split."""
    from edgedet.detector import Detector
    from edgedet.evaluate.coco import evaluate_coco

    with Detector(path) as detector:
        return float(evaluate_coco(detector, dataset(test)).map)


def print_table(runs: list[dict[str, Any]]) -> None:
    """Markdown: medians over the rounds."""
    print("\n| detector | build | INT8, s | INT8, CPU s | whole, s | whole, CPU s | peak, MB | mAP |")
    print("|---|---|---|---|---|---|---|---|")
    for name, build in dict.fromkeys((run["detector"], run["build"]) for run in runs):
        some = [run for run in runs if (run["detector"], run["build"]) == (name, build) and "failed" not in run]
        if not some:
            print(f"| {name} | {build} | failed | | | | | |")
            continue
        keys = ("int8_s", "int8_cpu_s", "whole_s", "whole_cpu_s")
        cells = [f"{median(run[key] for run in some):.1f}" for key in keys]
        cells += [f"{max(run['peak_mb'] for run in some):.0f}", f"{some[-1].get('map', float('nan')):.4f}"]
        print(f"| {name} | {build} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
