"""Cells of a sweep as tasks of a cluster, each with a whole node to itself: it measures latency there."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgedet import __version__
from edgedet.cluster.session import Cluster
from edgedet.cluster.workers import last_line
from edgedet.errors import UsageError
from edgedet.files import atomic_path
from edgedet.sweep.runner import Request

Files = dict[str, bytes]
MAX_RETRIES = 3
"""Maximum number of times that a cell is begun again whose node went away."""
SECONDS_TO_UNWIND = 5
PATHS = ("eval", "calib", "guard", "frames")
"""Settings of a job that name data, which every node must have at the same place."""


class CellsOnNodes:
    """Runs requests of :mod:`edgedet.sweep.cell` on the nodes of ``cluster``; see
    :data:`edgedet.sweep.runner.CellsElsewhere`.

    A node gets the source's bytes, and gives the result, the artifact and the drawn pictures back.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._ray = cluster.ray
        self._cores = _cores_of_a_node(cluster)

    def __call__(self, requests: Sequence[Request]) -> Iterator[tuple[int, subprocess.CompletedProcess[str]]]:
        """Number of each request and how its process ended, as they end."""
        ray = self._ray
        task = ray.remote(num_cpus=self._cores, max_retries=MAX_RETRIES)(cell_elsewhere)
        sources: dict[str, Any] = {}
        waiting = {}
        for number, request in enumerate(requests):
            path = request["setting"]["source"]
            if path not in sources:
                sources[path] = ray.put(Path(path).read_bytes())
            waiting[task.remote(_with_full_paths(request), sources[path], __version__)] = number
        try:
            while waiting:
                (done,), _ = ray.wait(list(waiting), num_returns=1)
                number = waiting.pop(done)
                try:
                    code, words, files = ray.get(done)
                except ray.exceptions.RayError as error:
                    code, words, files = 1, last_line(error), {}
                _store(requests[number], files)
                yield number, subprocess.CompletedProcess([], code, "", words)
        finally:
            # They unwind, and leave nothing on their nodes.
            for left in waiting:
                ray.cancel(left)
            if waiting:
                ray.wait(list(waiting), num_returns=len(waiting), timeout=SECONDS_TO_UNWIND)


def cell_elsewhere(request: Request, source: bytes, version: str) -> tuple[int, str, Files]:
    """What a node does: the cell's process, in a folder of its own.

    Args:
        request: with the paths of the machine that asks.
        source: the bytes of the detector.
        version: of edgedet there.

    Returns:
        The process's exit code, what it said on standard error, and the files it made, by their place.
    """
    if version != __version__:
        return 2, f"the node has edgedet {__version__} and the sweep is run by {version}; install the same", {}
    with tempfile.TemporaryDirectory(prefix="edgedet-cell-") as scratch:
        folder = Path(scratch) / "out"
        for part in ("cells", "artifacts"):
            (folder / part).mkdir(parents=True)
        detector = Path(scratch) / Path(request["setting"]["source"]).name
        detector.write_bytes(source)
        asked = request | {
            "setting": request["setting"] | {"source": str(detector)},
            "folder": str(folder),
            "result": str(folder / "cells" / Path(request["result"]).name),
        }
        said = Path(scratch) / "request.json"
        said.write_text(json.dumps(asked))
        command = [sys.executable, "-m", "edgedet.sweep.cell", str(said)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
        made = {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
        # Sentences and results name the detector as it is called where the sweep is run.
        here, there = str(detector).encode(), str(request["setting"]["source"]).encode()
        named = {
            name: content.replace(here, there) if name.endswith(".json") else content
            for name, content in made.items()
        }
        return done.returncode, done.stderr.replace(str(detector), request["setting"]["source"]), named


def _store(request: Request, files: Files) -> None:
    """Write what a node made into the sweep's folder; the result last, since it says that the cell is finished."""
    folder = Path(request["folder"])
    for name in sorted(files, key=lambda name: name.startswith("cells/")):
        content = files[name]
        place = folder / name
        if name.startswith("cells/"):
            cell = json.loads(content)
            # Relative paths of the data, as they were given.
            cell["setting"], cell["job"] = request["setting"], request["job"]
            content = (json.dumps(cell, indent=1, allow_nan=False) + "\n").encode()
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(place) as temporary:
            temporary.write_bytes(content)


def _with_full_paths(request: Request) -> Request:
    job = dict(request["job"])
    for name in PATHS:
        if job[name] is not None and not Path(job[name]).is_absolute():
            job[name] = str(Path.cwd() / job[name])
    return request | {"job": job}


def _cores_of_a_node(cluster: Cluster) -> int:
    """Cores of the smallest node: a task that asks for so many has a node to itself, wherever all are alike.

    Raises:
        UsageError: nodes of different sizes, on which latencies would not compare.
    """
    nodes = [node["Resources"] for node in cluster.ray.nodes() if node["Alive"]]
    cores = sorted({int(resources["CPU"]) for resources in nodes if resources.get("CPU")})
    if len(cores) > 1:
        raise UsageError(
            f"the cluster's nodes have {cores[0]} to {cores[-1]} cores, and the latencies of a sweep must compare: "
            "give an address of nodes that are alike"
        )
    return cores[0]
