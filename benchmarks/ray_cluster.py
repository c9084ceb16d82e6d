"""What Ray keeps and what it costs, on this machine alone.

    python benchmarks/ray_cluster.py ssdlite.onnx bccd:test
    python benchmarks/ray_cluster.py ssdlite.onnx bccd:test --also yolox.onnx labels.json

Two workers of a local cluster (``--ray local``) against one machine: the same mAP; every picture once, in order,
while workers are killed at random moments; memory over many pictures (links to the same files); the time of a
picture, after start-up, in turns: waited for, and of all processors (which hardly depends on what else the machine
does). The start is waited for, too. Needs ``edgedet[ray]`` and Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from edgedet import Detector
from edgedet.cluster.detector import MAX_PICTURES_AT_ONCE, ClusterDetector
from edgedet.cluster.session import Cluster, open_cluster
from edgedet.datasets import read_dataset
from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.evaluate.detection_pass import run_over
from edgedet.evaluate.evaluation import evaluate
from edgedet.machine.hardware import describe_cpu

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
WARM = 2 * 4 * MAX_PICTURES_AT_ONCE
"""Answers that are not counted: until then, the workers have opened the artifact."""


def main() -> int:
    """Measure; 1 where a result is not that of one machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact")
    parser.add_argument("dataset")
    parser.add_argument("--also", nargs=2, action="append", default=[], metavar=("ARTIFACT", "DATASET"))
    parser.add_argument("--kills", type=int, default=20, help="how many workers are killed (20)")
    parser.add_argument(
        "--images", type=int, default=20_000, help="pictures of the run that watches memory (20000)"
    )
    parser.add_argument("--timed", type=int, default=2_000, help="pictures of the runs whose time counts (2000)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    dataset = read_dataset(arguments.dataset)
    wrong = False
    print(json.dumps({"cpu": describe_cpu().model, "load": os.getloadavg()[0]}), flush=True)
    begun = time.monotonic()
    with open_cluster("local", workers=2) as cluster:
        print(json.dumps({"start_seconds": round(time.monotonic() - begun, 1)}), flush=True)
        for artifact, labels in [(arguments.artifact, arguments.dataset), *arguments.also]:
            wrong |= report("map", same_figures(cluster, artifact, read_dataset(labels)))
        if arguments.kills:
            wrong |= report("killed", killed(cluster, arguments.artifact, dataset, arguments.kills))
        if arguments.timed:
            report("time", times(cluster, arguments.artifact, dataset, arguments.timed))
        if arguments.images:
            report("memory", memory(cluster, arguments.artifact, dataset, arguments.images))
    return int(wrong)


def report(part: str, figures: dict[str, Any]) -> bool:
    """Print a line; whether something in it is not as on one machine."""
    print(json.dumps({part: figures}), flush=True)
    return figures.get("same") is False


def same_figures(cluster: Cluster, artifact: str, dataset: Dataset) -> dict[str, Any]:
    """mAP, and whether every other figure is the same, too."""
    with Detector(artifact, lanes=2) as alone, ClusterDetector(cluster, artifact) as many:
        one = evaluate(alone, dataset)
        begun = time.monotonic()
        other = evaluate(many, dataset)
    return {
        "artifact": Path(artifact).name,
        "images": len(dataset),
        "serial": one.coco.map,
        "ray": other.coco.map,
        "difference": abs(one.coco.map - other.coco.map),
        "same": json.dumps(one.to_dict()) == json.dumps(other.to_dict()),
        "seconds": round(time.monotonic() - begun, 1),
    }


def killed(cluster: Cluster, artifact: str, dataset: Dataset, kills: int) -> dict[str, Any]:
    """Answers while workers are killed, as often as asked for: pictures go on until then."""
    stop = threading.Event()
    done = 0

    def kill() -> None:
        nonlocal done
        while done < kills and not stop.is_set():
            stop.wait(random.uniform(0.2, 3))
            workers = [process for process in below(os.getpid()) if "ray::Worker" in name_of(process)]
            if workers and not stop.is_set():
                os.kill(random.choice(workers), signal.SIGKILL)
                done += 1

    killer = threading.Thread(target=kill)
    with Detector(artifact) as alone, ClusterDetector(cluster, artifact) as many:
        expected = [found.to_dict() for _, _, found in run_over(alone, dataset)]
        killer.start()
        rounds = pictures = 0
        same = True
        while done < kills:
            rounds += 1
            found = [answer.to_dict() for answer in many.detect_files([each.path for each in dataset.images] * 4)]  # type: ignore[union-attr]
            pictures += len(found)
            same &= found == expected * 4
        stop.set()
        killer.join()
    return {"kills": done, "runs": rounds, "pictures": pictures, "same": same}


def times(cluster: Cluster, artifact: str, dataset: Dataset, count: int) -> dict[str, Any]:
    """Milliseconds per picture of both, in turns: waited for, and of all processors."""
    records = repeated(dataset, WARM + count)
    turns: dict[str, list[tuple[float, float]]] = {"serial": [], "ray": []}
    for name in ("serial", "ray", "ray", "serial", "serial", "ray"):
        detector: Any = Detector(artifact, lanes=2) if name == "serial" else ClusterDetector(cluster, artifact)
        with detector:
            results = run_over(detector, records)
            for _ in islice(results, WARM):
                pass
            # Workers of the turn before may still be ending, and their time goes with them.
            counted = time.process_time if name == "serial" else cpu_seconds
            begun, worked = time.monotonic(), counted()
            seen = sum(1 for _ in results)
            turns[name].append(((time.monotonic() - begun) / seen * 1e3, (counted() - worked) / seen * 1e3))
    figures: dict[str, Any] = {"pictures": count}
    for place, what in enumerate(("waited", "processors")):
        each = {name: [round(turn[place], 3) for turn in values] for name, values in turns.items()}
        figures[what] = each | {"ratio": round(median(each["ray"]) / median(each["serial"]), 3)}
    return figures


def memory(cluster: Cluster, artifact: str, dataset: Dataset, count: int) -> dict[str, Any]:
    """Megabytes of this process and of all below it, in the course of the run."""
    with tempfile.TemporaryDirectory(prefix="edgedet-many-") as folder:
        paths = []
        for number, record in enumerate(repeated(dataset, count).images):
            link = Path(folder) / f"{number:06}{record.path.suffix}"
            link.symlink_to(record.path.resolve())
            paths.append(link)
        course = []
        with ClusterDetector(cluster, artifact) as many:
            for number, _ in enumerate(many.detect_files(paths)):
                if number % max(count // 10, 1) == count // 20:
                    course.append((own_megabytes(os.getpid()), sum(map(own_megabytes, below(os.getpid())))))
    return {"pictures": count, "megabytes": [{"here": here, "others": others} for here, others in course]}


def repeated(dataset: Dataset, count: int) -> Dataset:
    """The data set's pictures, again and again."""
    from dataclasses import replace

    images: Sequence[ImageRecord] = dataset.images
    return replace(dataset, images=tuple(images[number % len(images)] for number in range(count)))


def below(process: int) -> list[int]:
    """All processes that descend from one."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue

    def descends(child: int) -> Iterator[int]:
        while child in parents:
            child = parents[child]
            yield child

    return [child for child in parents if process in descends(child)]


def name_of(process: int) -> str:
    """Its command line, which Ray writes the worker's class into."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def cpu_seconds() -> float:
    """User and system time of this process and of all that descend from it, those that ended among them."""
    return sum(_ticks(process) for process in (os.getpid(), *below(os.getpid()))) / TICKS


def _ticks(process: int) -> int:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))


def own_megabytes(process: int) -> int:
    """Resident memory that is not a file's or shared."""
    try:
        resident, shared = map(int, Path(f"/proc/{process}/statm").read_text().split()[1:3])
    except OSError:
        return 0
    return (resident - shared) * PAGE // 2**20


if __name__ == "__main__":
    sys.exit(main())
