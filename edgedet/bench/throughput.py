"""Throughput: frames waiting in memory, taken in batches by one detector or by several at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from edgedet.bench.frames import Frame
from edgedet.bench.statistics import summarise
from edgedet.missing_figures import explained


class Batching(Protocol):
    """A detector that takes one frame or several."""

    def detect(self, frame: Frame) -> Any:
        """Detections of one frame."""

    def detect_batch(self, frames: Sequence[Frame]) -> Any:
        """Detections of each frame."""

    def close(self) -> None:
        """Release everything."""


def measure_batches(
    detector: Batching,
    frames: Sequence[Frame],
    sizes: Sequence[int],
    *,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[dict[str, Any]]:
    """Frames per second by the number of frames handed over at once; ``seconds`` for each, after one to warm."""
    results = []
    for size in sizes:
        batch = [frames[index % len(frames)] for index in range(size)]
        detector.detect_batch(batch)
        done, begin = 0, clock()
        while clock() - begin < seconds or not done:
            batch = [frames[(done + index) % len(frames)] for index in range(size)]
            detector.detect_batch(batch)
            done += size
        spent = clock() - begin
        results.append({"batch": size, "frames": done, "frames_per_second": round(done / spent, 3)})
    return results


def measure_streams(
    open_detector: Callable[[int], Batching],
    frames: Sequence[Frame],
    counts: Sequence[int],
    *,
    cores: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[dict[str, Any]]:
    """Several streams at once, a thread and a detector for each, which share the cores evenly.

    ``open_detector(threads)`` opens one. Rates add up over all streams; latencies are those of single frames.
    """
    results = []
    for count in counts:
        threads = max(1, cores // count)
        detectors = [open_detector(threads) for _ in range(count)]
        try:
            results.append(
                {"streams": count, "threads_each": threads} | _run_together(detectors, frames, seconds, clock)
            )
        finally:
            for detector in detectors:
                detector.close()
    return results


def _run_together(
    detectors: Sequence[Batching], frames: Sequence[Frame], seconds: float, clock: Callable[[], float]
) -> dict[str, Any]:
    samples: list[list[float]] = [[] for _ in detectors]
    spans: list[float] = [0.0] * len(detectors)
    failures: list[BaseException] = []
    start = threading.Barrier(len(detectors))

    def work(index: int) -> None:
        try:
            detectors[index].detect(frames[0])
            start.wait()
            begin = moment = clock()
            while moment - begin < seconds or not samples[index]:
                frame = frames[(index * 5 + len(samples[index])) % len(frames)]
                before = clock()
                detectors[index].detect(frame)
                moment = clock()
                samples[index].append((moment - before) * 1e3)
            spans[index] = moment - begin
        except threading.BrokenBarrierError:
            return
        except BaseException as error:  # handed to the caller's thread
            failures.append(error)
            start.abort()

    workers = [threading.Thread(target=work, args=(index,)) for index in range(len(detectors))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    together = summarise([sample for stream in samples for sample in stream])
    rate = sum(len(stream) / span for stream, span in zip(samples, spans, strict=True))
    return {"frames_per_second": round(rate, 3)} | explained(
        {key: together[key] for key in ("frames", "p50", "p95", "max")},
        together["absent"],
        otherwise="not measured",
    )
