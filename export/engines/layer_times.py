"""How long every layer of a fresh engine takes, measured by TensorRT's profiler on the machine that built it.

Counting layers says little: one convolution may take longer than fifty of its neighbours. A profiled run takes
longer as a whole than a plain one, so only the shares are worth something, not the sum.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedet.errors import EdgedetError, ExportError

from ...runtimes.cuda.device import Cuda
from ...runtimes.tensorrt_log import CapturedLog, errors_of
from .inspected_precision import EnginePrecision

WARMUP = 5
MAX_RUNS = 50
SECONDS = 1.0
"""Time for measuring, after the warm-up; at least one run is always measured."""


@dataclass(frozen=True)
class LayerTimes:
    """``layers``: name to milliseconds, the median of ``runs``. ``missing``: why there are none, else empty."""

    layers: dict[str, float]
    runs: int
    missing: str = ""

    def by_precision(self, precision: EnginePrecision) -> dict[str, Any]:
        """JSON-ready, for the model card: the share of time spent in each precision and in conversions."""
        total = sum(self.layers.values())
        if self.missing or total <= 0:
            return {"missing": self.missing or "TensorRT reported no time at all"}
        spent: dict[str, float] = defaultdict(float)
        for name, milliseconds in self.layers.items():
            spent[precision.kinds.get(name, "unknown")] += milliseconds
        ordered = sorted(spent.items(), key=lambda item: -item[1])
        return {
            "share": {kind: round(value / total, 4) for kind, value in ordered},
            "profiled_ms": round(total, 4),
            "runs": self.runs,
        }


def measure_layers(trt: Any, log: CapturedLog, engine: Any, cuda: Cuda | None) -> LayerTimes:
    """Run ``engine`` on random pixels with a profiler attached, for about a second.

    ``cuda``: the device it was built on. What keeps it from being measured is told in ``missing``: the engine is
    as good as before.
    """
    if cuda is None:
        return LayerTimes({}, 0, "no CUDA device was at hand")
    try:
        runs = _profile(trt, log, engine, cuda)
    except EdgedetError as error:
        return LayerTimes({}, 0, " ".join(str(error).split()))
    names = list(dict.fromkeys(name for run in runs for name in run))
    layers = {name: statistics.median(run.get(name, 0.0) for run in runs) for name in names}
    return LayerTimes(layers, len(runs))


def make_profiler(trt: Any) -> Any:
    """A ``trt.IProfiler`` that adds up the milliseconds of every layer in ``.times``."""

    class Profiler(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times: dict[str, float] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            # Called from C++. A layer that runs twice reports twice.
            self.times[layer_name] = self.times.get(layer_name, 0.0) + ms

    return Profiler()


def _profile(trt: Any, log: CapturedLog, engine: Any, cuda: Cuda) -> list[dict[str, float]]:
    # What runs engines imports OpenCV, which a build without a GPU has no use for.
    from ...runtimes.tensorrt import DTYPES

    cuda.use()
    stream = cuda.stream()
    memory: list[int] = []
    context = engine.create_execution_context()
    try:
        if context is None:
            raise ExportError(f"TensorRT has no memory to run the engine: {errors_of(log)}")
        profiler = make_profiler(trt)
        context.profiler = profiler
        random = np.random.default_rng(0)
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            shape, kind = tuple(engine.get_tensor_shape(name)), engine.get_tensor_dtype(name).name
            if kind not in DTYPES or any(size < 0 for size in shape):
                raise ExportError(f"tensor {name} is {kind} {list(shape)}, expected a fixed size and a common type")
            # Not zeros: they save power, and clocks rise.
            values: Any = random.integers(0, 256, shape).astype(DTYPES[kind])
            memory.append(cuda.allocate(values.nbytes))
            if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                cuda.upload(memory[-1], values, stream)
                cuda.synchronise(stream)
            if not context.set_tensor_address(name, memory[-1]):
                raise ExportError(f"TensorRT refuses a buffer for {name}: {errors_of(log)}")
        runs: list[dict[str, float]] = []
        begin = 0.0
        for index in range(WARMUP + MAX_RUNS):
            if index == WARMUP:
                begin = time.monotonic()
            elif index > WARMUP and time.monotonic() - begin > SECONDS:
                break
            profiler.times = {}
            # With a profiler attached the call waits for the end and reports before it returns.
            if not context.execute_async_v3(stream):
                raise ExportError(f"TensorRT cannot run the engine: {errors_of(log) or 'it gives no reason'}")
            cuda.synchronise(stream)
            if index >= WARMUP:
                runs.append(profiler.times)
        return runs
    finally:
        # The context first: it may still refer to the memory.
        context = None
        for address in memory:
            cuda.free(address)
        cuda.destroy_stream(stream)
