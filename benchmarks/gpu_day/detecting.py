"""What ``detect`` costs: its wall time beside the bare network's GPU time, in turns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgedet import Detector
from edgedet.artifacts.engine_library import EngineLibrary
from edgedet.errors import ArtifactError
from edgedet.proof.golden_scene import golden_frame
from edgedet.runtimes.base import Array
from edgedet.runtimes.tensorrt import TensorRTRuntime
from gpu_day.bars import Bar, medians, wall
from gpu_day.engines import require_engine
from gpu_day.inputs import Graph, Inputs
from gpu_day.kernels import HEIGHT, WIDTH, FrameOnGpu
from gpu_day.library import require_gpu
from gpu_day.outcome import Report
from gpu_day.pictures import first_picture

BURST = 10
"""Runs between two events: the host queues ahead, so that the GPU does not wait for it and only its work counts."""


def bars(name: str) -> list[Bar]:
    """Those of one engine."""
    return [
        Bar(f"end-to-end of {name}, 1080p frame on the {where} (against the network alone)", "times", 1.15)
        for where in ("host", "GPU")
    ]


def measure(report: Report, inputs: Inputs, graph: Graph, work: Path, library: EngineLibrary) -> None:
    """The engine of a prepared graph, on a picture of its own kind blown up to 1080p: NMS has as much to do as in
    earnest."""

    def frame() -> Array:
        import cv2

        if graph.pictures is None:
            return golden_frame(1, HEIGHT, WIDTH)
        return cv2.resize(first_picture(inputs, graph, work), (WIDTH, HEIGHT))

    def engine() -> Path:
        return require_engine(work, graph.name, library)

    _measure(report, graph.name, engine, frame)


def measure_given(report: Report, path: Path) -> None:
    """An engine the user built, on a synthetic frame."""
    _measure(report, path.name, lambda: path, lambda: golden_frame(1, HEIGHT, WIDTH))


def _measure(report: Report, name: str, engine: Any, frame: Any) -> None:
    def work() -> Iterator[Bar]:
        require_gpu()
        yield from end_to_end(engine(), frame(), name, report)

    report.measure(bars(name), work)


class Network:
    """The network of an open engine and nothing else, no copies, no NMS: GPU time by CUDA events."""

    def __init__(self, runtime: TensorRTRuntime) -> None:
        assert runtime._stream is not None
        self._cuda, self._context, self._stream = runtime._cuda, runtime._context, runtime._stream
        self._begin, self._end = (self._cuda._call("cudaEventCreate") for _ in range(2))
        self._graph: Any = None
        # As detect() does it: kernel by kernel, small networks wait for the host, which would flatter the ratio.
        if runtime._graph is not None:
            self._cuda.begin_capture(self._stream)
            try:
                self._enqueue()
            finally:
                self._graph = self._cuda.end_capture(self._stream)

    def milliseconds(self) -> float:
        """Time of one run, the mean of BURST in a row."""
        self._cuda._call("cudaEventRecord", self._begin, self._stream)
        for _ in range(BURST):
            if self._graph is not None:
                self._cuda.launch(self._graph, self._stream)
            else:
                self._enqueue()
        self._cuda._call("cudaEventRecord", self._end, self._stream)
        self._cuda._call("cudaEventSynchronize", self._end)
        return float(self._cuda._call("cudaEventElapsedTime", self._begin, self._end)) / BURST

    def close(self) -> None:
        """Release graph and events."""
        if self._graph is not None:
            self._cuda.destroy_graph(self._graph)
        for event in (self._begin, self._end):
            self._cuda._call("cudaEventDestroy", event)

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream):
            raise ArtifactError("TensorRT failed while running the engine")


def end_to_end(path: Path, frame: Array, name: str, report: Report) -> Iterator[Bar]:
    """detect(), wall time, beside the bare network, GPU time, in turns; ``report`` gets the stages."""
    on_host, on_gpu = bars(name)
    with ExitStack() as stack:
        detector = stack.enter_context(Detector(path))
        detector.warmup()
        runtime = detector._runtime
        if not isinstance(runtime, TensorRTRuntime):
            raise ArtifactError(f"{path.name} is run by {detector.description}, expected an engine on the GPU")
        network = Network(runtime)
        stack.callback(network.close)
        cuda, stages = runtime._cuda, []

        def detect() -> None:
            detector.detect(frame)
            stages.append(detector.last_timing)

        total, compute = medians(wall(detect), network.milliseconds)
        middle = sorted(stages, key=lambda stage: stage.total)[len(stages) // 2]
        report.figure("stages", {"runtime": detector.description, "network_ms": compute}
                      | {f"{part}_ms": getattr(middle, part) for part in ("pre", "run", "post")})  # fmt: skip
        yield replace(on_host, measured=total, reference=compute)
        address = cuda.allocate(frame.nbytes)
        stack.callback(cuda.free, address)
        assert runtime._stream is not None
        resident = FrameOnGpu(cuda, address, frame, runtime._stream)
        total, compute = medians(wall(lambda: detector.detect(resident)), network.milliseconds)
        yield replace(on_gpu, measured=total, reference=compute)
