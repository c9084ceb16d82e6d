"""Run the cells of a sweep one after another, skipping those whose results are already there."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgedet.errors import OutputError, UsageError
from edgedet.files import file_sha256
from edgedet.sweep.cell import KIND, failure, write_cell
from edgedet.sweep.grid import Job, Setting, cell_key

STDERR_LINES = 3
"""Number of a crashed cell's last lines that go into its reason."""

CellRunner = Callable[[Path], subprocess.CompletedProcess[str]]
Request = dict[str, Any]
"""What :mod:`edgedet.sweep.cell` is asked for, JSON-ready."""
CellsElsewhere = Callable[[Sequence[Request]], Iterator[tuple[int, subprocess.CompletedProcess[str]]]]
"""Runs cells, several at a time: gives the number of each request as it is finished, in any order, and how it
ended. The files it made lie where the request says."""


@dataclass(frozen=True)
class SweepSummary:
    """``done``, ``failed``: cells of this grid in all; ``fresh``: those measured by this run."""

    done: int
    failed: int
    fresh: int


def run_sweep(
    settings: Sequence[Setting],
    job: Job,
    folder: str | Path,
    *,
    failed: Literal["keep", "retry"] = "keep",
    progress: Callable[[str, int, int | None], None] | None = None,
    told: Callable[[dict[str, Any]], None] | None = None,
    run: CellRunner | None = None,
    elsewhere: CellsElsewhere | None = None,
) -> SweepSummary:
    """Measure every cell that has no result yet in ``folder/cells``.

    A result is written when its cell is finished and never before, so that this may be killed and started again
    at any time. ``failed``: what to do with cells that failed last time. ``told`` hears each fresh result. ``run``:
    how a cell's process is run, one after another; ``elsewhere``: how all of them are, on other machines.

    Raises:
        UsageError: a source that is not there.
        OutputError: the folder cannot be written.
    """
    folder = Path(folder)
    for part in ("cells", "artifacts"):
        try:
            (folder / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot create the folder {folder / part}: {error.strerror or error}") from error
    keys = _keys(settings, job)
    results = {key: folder / "cells" / f"{key}.json" for key in keys}
    waiting = [key for key in keys if _status(results[key]) in ((None, "failed") if failed == "retry" else (None,))]
    requests = [
        {
            "key": key,
            "setting": dataclasses.asdict(keys[key]),
            "job": dataclasses.asdict(job),
            "folder": str(folder.resolve()),
            "result": str(results[key].resolve()),
        }
        for key in waiting
    ]
    for key in waiting:
        results[key].unlink(missing_ok=True)
    running = elsewhere(requests) if elsewhere is not None else _one_by_one(requests, run or _in_process)
    for count in range(len(waiting)):
        if progress is not None:
            what = "cells," if elsewhere is not None else f"cell {keys[waiting[count]].label},"
            progress(what, count, len(waiting))
        number, done = next(running)
        key = waiting[number]
        if _status(results[key]) is None:
            write_cell(results[key], key, keys[key], job, failure(_last_words(done)))
        if told is not None:
            told(json.loads(results[key].read_text()))
    statuses = [_status(path) for path in results.values()]
    return SweepSummary(statuses.count("done"), statuses.count("failed"), len(waiting))


def _keys(settings: Sequence[Setting], job: Job) -> dict[str, Setting]:
    digests: dict[str, str] = {}
    for source in dict.fromkeys(setting.source for setting in settings):
        if not Path(source).is_file():
            raise UsageError(f"no such file: {source}; expected a checkpoint or an ONNX file to sweep over")
        digests[source] = file_sha256(source)
    return {cell_key(setting, job, digests[setting.source]): setting for setting in settings}


def _status(path: Path) -> str | None:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    status = data.get("status") if isinstance(data, dict) and data.get("kind") == KIND else None
    return status if status in ("done", "failed") else None


def _one_by_one(
    requests: Sequence[Request], run: CellRunner
) -> Iterator[tuple[int, subprocess.CompletedProcess[str]]]:
    for number, request in enumerate(requests):
        yield number, _run(request, run)


def _run(request: Request, run: CellRunner) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory(prefix="edgedet-sweep-") as scratch:
        path = Path(scratch) / "request.json"
        path.write_text(json.dumps(request))
        return run(path)


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    words = done.stderr.strip().splitlines()[-STDERR_LINES:] or ["it said nothing"]
    ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return f"the cell's process ended with {ended}: {' '.join(words)}"


def _in_process(request: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgedet.sweep.cell", str(request)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, errors="replace", env=dict(os.environ)
    )
