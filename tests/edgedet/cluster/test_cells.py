"""A cell that another node measured lies in the sweep's folder as if it had been measured here."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgedet import __version__
from edgedet.bench.latency import Rules
from edgedet.cluster.cells import CellsOnNodes, cell_elsewhere
from edgedet.cluster.session import Cluster
from edgedet.errors import UsageError
from edgedet.sweep.grid import Job, Setting
from edgedet.sweep.runner import run_sweep


class Tasks:
    """Ray's tasks as far as cells need them, in this process."""

    __version__ = "2"
    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self, *cores: int) -> None:
        self.cores = cores
        self.asked: list[dict[str, Any]] = []
        self._pool = ThreadPoolExecutor(1)

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": float(cores)}} for cores in self.cores]

    def put(self, value: bytes) -> bytes:
        return value

    def remote(self, **options: Any) -> Any:
        self.asked.append(options)
        return lambda function: SimpleNamespace(remote=lambda *given: self._pool.submit(function, *given))

    def wait(self, futures: list[Future[Any]], num_returns: int) -> tuple[list[Future[Any]], list[Future[Any]]]:
        futures[-1].exception()  # the last one first
        return [futures[-1]], futures[:-1]

    def get(self, future: Future[Any]) -> Any:
        return future.result()


def cells(*cores: int) -> CellsOnNodes:
    return CellsOnNodes(Cluster(Tasks(*cores), workers=sum(cores), fixed=False))


SETTINGS = [Setting("model.onnx"), Setting("model.onnx", conf=0.5)]
JOB = Job(rules=Rules(warmup_frames=1, warmup_seconds=0, frames=2, seconds=0.01, max_seconds=1), cold_starts=0)


def test_a_failed_cell_says_why_and_names_the_source_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    summary = run_sweep(SETTINGS, JOB, "out", elsewhere=cells(2, 2))
    assert (summary.done, summary.failed, summary.fresh) == (0, 2, 2)
    for path in (tmp_path / "out/cells").iterdir():
        cell = json.loads(path.read_text())
        assert cell["status"] == "failed"
        assert cell["reason"].startswith("model.onnx")
        assert cell["setting"]["source"] == "model.onnx"
    assert run_sweep(SETTINGS, JOB, "out", elsewhere=cells(2, 2)).fresh == 0


def test_another_version_measures_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = {"key": "k", "setting": {"source": "model.onnx"}, "job": {}, "folder": "", "result": "k.json"}
    code, words, files = cell_elsewhere(request, b"", "9.9")
    assert (code, files) == (2, {})
    assert words == f"the node has edgedet {__version__} and the sweep is run by 9.9; install the same"


def test_a_cell_has_a_node_to_itself(tmp_path: Path) -> None:
    tasks = Tasks(4, 4)
    list(CellsOnNodes(Cluster(tasks, workers=8, fixed=False))([]))
    assert tasks.asked == [{"num_cpus": 4, "max_retries": 3}]


def test_nodes_of_different_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"have 2 to 8 cores, and the latencies of a sweep must compare"):
        cells(2, 8)
