"""Fixed work, timed beside whatever is measured: it tells a slower machine from a slower artifact."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

GRAPH = Path(__file__).with_name("reference_workload.onnx")
"""A small convolutional network, written by ``export/workload_graph.py``."""

SORTING = "sorting 100,000 numbers, one thread"


@dataclass(frozen=True)
class Reference:
    """``work`` always does the same; ``name`` says what, and equal names mean equal work."""

    name: str
    work: Callable[[], object]
    warmup: int = 0
    """Number of uncounted runs: the caches are full of another program's data."""
    repeats: int = 1

    def milliseconds(self, clock: Callable[[], float] = time.perf_counter) -> float:
        """How long the work takes now: the median of its repeats."""
        times = []
        for step in range(self.warmup + self.repeats):
            begin = clock()
            self.work()
            if step >= self.warmup:
                times.append(clock() - begin)
        return round(float(np.median(times)) * 1e3, 4)


def sorting() -> Reference:
    """For whatever runs elsewhere than on the CPU: follows the machine's clocks, and little else."""
    numbers = (np.arange(100_000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).astype(np.float64)
    return Reference(SORTING, lambda: np.sort(numbers))


def network(threads: int | None) -> Reference:
    """A small network on ONNX Runtime's CPU provider: follows whatever slows detectors there.

    Busy neighbours on the host, slower memory, slower traffic between cores: over eight minutes on a restless
    machine, detectors' times per 15 s spread by 10 to 15 %, and divided by this network's time by 2 to 4 %.
    """
    from edgedet.onnxruntime_import import onnxruntime

    content = GRAPH.read_bytes()
    # Set here and not where detectors get theirs: a change of those is to be seen, not divided out.
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    feeds = {tensor.name: np.ones(tensor.shape, np.float32) for tensor in session.get_inputs()}
    count = "default" if threads is None else threads
    name = (
        f"small convolutional network {hashlib.sha256(content).hexdigest()[:8]}, "
        f"onnxruntime {onnxruntime.__version__}, {count} threads"
    )
    return Reference(name, lambda: session.run(None, feeds), warmup=1, repeats=5)


def reference_for(devices: Sequence[str], threads: int | None) -> Reference:
    """The work that is most like what runs on the ``devices`` (``cpu`` or ``gpu``) of the detectors measured."""
    return network(threads) if all(device == "cpu" for device in devices) else sorting()
