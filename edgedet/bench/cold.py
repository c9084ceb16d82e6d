"""Cold start and memory, each measured in fresh processes: what a device does after it is switched on."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from edgedet.bench.frames import Frame
from edgedet.files import unnamed_file
from edgedet.missing_figures import explained, not_measured

NO_STATUS = "/proc/self/status is not there"
STARTS = 3
TIMEOUT_SECONDS = 900
FRAMES_IN_MEMORY = 8
STAGES = (("interpreter", "spawned", "started"), ("import", "started", "imported"),
          ("open", "prepared", "opened"), ("first_frame", "opened", "first_frame"))  # fmt: skip


def measure_cold_start(
    artifact: str | Path, frames: Sequence[Frame], options: dict[str, Any], *, starts: int = STARTS
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Start ``starts`` processes one after another; returns the results' ``cold`` and ``memory`` sections.

    ``options``: keyword arguments of :class:`edgedet.Detector`. Times are medians, in milliseconds; files are in
    the page cache, since only root could drop it. Memory is the highest of all starts, in bytes.
    """
    with unnamed_file() as stored:
        np.savez(stored, *frames[:FRAMES_IN_MEMORY])
        stored.flush()
        runs = []
        for _ in range(starts):
            run = _start(artifact, stored, options)
            if "not_measured" in run:
                return run, run
            runs.append(run)
    return _summarise(runs)


def _start(artifact: str | Path, frames: BinaryIO, options: dict[str, Any]) -> dict[str, Any]:
    """``frames``: pictures as NumPy stores them, in a file without a name, which the process inherits."""
    frames.seek(0)
    command = [sys.executable, "-m", "edgedet.bench.first_frame", str(artifact), json.dumps(options)]
    spawned = time.clock_gettime(time.CLOCK_MONOTONIC)
    try:
        done = subprocess.run(
            command,
            stdin=frames,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
            env=dict(os.environ),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return not_measured(f"the process for the cold start failed: {error}")
    lines = done.stdout.strip().splitlines() or ["{}"]
    try:
        answer: dict[str, Any] = json.loads(lines[-1])
    except ValueError:
        answer = {}
    if done.returncode != 0 or "moments" not in answer:
        reason = answer.get("error") or (done.stderr.strip().splitlines() or ["no message"])[-1]
        return not_measured(f"the process for the cold start ended with {done.returncode}: {reason}")
    answer["moments"]["spawned"] = spawned
    return answer


def _summarise(runs: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    stages = {
        name: [(run["moments"][end] - run["moments"][begin]) * 1e3 for run in runs] for name, begin, end in STAGES
    }
    totals = [sum(values) for values in zip(*stages.values(), strict=True)]
    cold = {name: round(statistics.median(values), 3) for name, values in stages.items()}
    cold |= {
        "total": round(statistics.median(totals), 3),
        "worst_total": round(max(totals), 3),
        "starts": len(runs),
        "page_cache": "warm",
    }
    peaks = [run["peak"] for run in runs]
    device = runs[-1]["device"]
    if isinstance(device, int):
        device = max(run["device"] for run in runs)
    memory = {
        "peak_rss": not_measured(NO_STATUS) if None in peaks else max(peaks),
        "rss_after_import": runs[0]["memory"]["imported"],
        "rss_after_open": runs[0]["memory"]["opened"],
        "device": device,
    }
    return cold, explained(memory, {}, otherwise=NO_STATUS)
