"""The whole suite on one or several artifacts: one result object."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgedet import __version__
from edgedet.bench.cold import measure_cold_start
from edgedet.bench.duty_cycle import duty_cycle_seconds, measure_duty_cycle
from edgedet.bench.frames import FrameSet
from edgedet.bench.latency import Rules, Series, measure_latency
from edgedet.bench.measured_parts import BenchResult
from edgedet.bench.opened_artifacts import opened_to_measure
from edgedet.bench.reference_workload import Reference, reference_for
from edgedet.bench.result import KIND, VERSION
from edgedet.bench.single_stream import measure_single_stream
from edgedet.bench.throughput import measure_batches, measure_streams
from edgedet.cascade import Cascade
from edgedet.detector import Detector
from edgedet.errors import UsageError
from edgedet.files import file_sha256
from edgedet.machine.hardware import describe_machine
from edgedet.machine.power import PowerLog, energy_summary, find_meter, mean_watts
from edgedet.machine.state import MachineState, describe_clocks, summarise_states
from edgedet.missing_figures import not_measured
from edgedet.task_dispatch import TimedSegmenter

Measured = Detector | Cascade | TimedSegmenter

IDLE_SECONDS = 2.0
"""Time for measuring idle power before the work."""


@dataclass(frozen=True)
class BenchOptions:
    """What to measure.

    Attributes:
        rules: when measuring latency begins and ends.
        runtime: as :class:`edgedet.Detector` takes it.
        threads: CPU threads of each detector; None leaves the choice to the runtime.
        batches: batch sizes of the throughput; empty leaves it out.
        streams: numbers of streams at once; empty leaves them out.
        load_seconds: time for each batch size and each number of streams.
        cold_starts: number of fresh processes; 0 leaves out cold start and memory.
        duty_cycle: frames per second at which the price of idling is measured; None leaves it out.
        single_stream: the float graph that MLPerf's single stream is judged by; None leaves it out.
        then: an artifact that looks into the crops of what each of the measured ones finds: both are timed as one.
            Goes with no ``single_stream``.
        crops: further arguments of :class:`edgedet.Cascade` by name, and ``conf``, the least score in the crops.

    >>> BenchOptions(threads=2, streams=()).cold_starts
    3
    """

    rules: Rules = field(default_factory=Rules)
    runtime: str = "auto"
    threads: int | None = None
    batches: tuple[int, ...] = (1, 4)
    streams: tuple[int, ...] = (1, 2)
    load_seconds: float = 3.0
    cold_starts: int = 3
    duty_cycle: float | None = None
    single_stream: str | Path | None = None
    then: str | Path | None = None
    crops: Mapping[str, Any] = field(default_factory=dict)

    @property
    def max_seconds(self) -> float:
        """Limit of the time for each artifact, by the clock; opening it comes on top, cold starts above all, and so
        do the queries of the single stream, which are a number and not a time."""
        loads = self.load_seconds * (len(self.batches) + len(self.streams))
        loads += duty_cycle_seconds(self.duty_cycle) if self.duty_cycle else 0
        return self.rules.max_warmup_seconds + self.rules.max_seconds + loads


def run_bench(
    paths: Sequence[str | Path],
    frames: FrameSet,
    options: BenchOptions,
    *,
    names: Sequence[str] | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
    root: Path = Path("/"),
) -> BenchResult:
    """Measure artifacts on the same frames, in turns.

    Args:
        paths: graphs and engines.
        frames: what to detect on; see :func:`load_frames`.
        options: what to measure.
        names: what to call the artifacts in the result; None takes file names, numbered where two are alike.
        progress: called with (stage, done, of); ``of`` is None where the end is not known.
        root: root of the file system that describes the machine.

    Returns:
        Everything that was measured, as ``edgedet bench --json`` writes it.

    Raises:
        UsageError: no artifact, or two of one name.
        ArtifactError, RuntimeUnavailableError: an artifact cannot be opened.

    >>> rules = Rules(warmup_frames=1, warmup_seconds=0, frames=10, seconds=0.05, max_seconds=0.1)
    >>> from edgedet.bench import load_frames
    >>> quick = BenchOptions(rules, batches=(), streams=(), cold_starts=0)
    >>> result = run_bench(["model.onnx"], load_frames("photos"), quick)
    >>> result.artifacts[0].latency.frames >= 10, result.artifacts[0].cold
    (True, NotMeasured(reason='left out on request (--cold-starts 0)'))
    """
    if not paths:
        raise UsageError("no artifact was given; expected at least one graph or engine to measure")
    if options.then is not None and options.single_stream is not None:
        raise UsageError(
            "the single stream is judged by one float graph, and two artifacts run here: leave one out"
        )
    called = list(names) if names is not None else _names(paths, options.then)
    if len(set(called)) != len(called):
        raise UsageError(f"two artifacts are called {_twice(called)}; give each a name of its own")
    machine = describe_machine(root)
    tell = progress or (lambda stage, done, total: None)
    settings: dict[str, Any] = {"runtime": options.runtime, "threads": options.threads}
    if options.then is not None:
        settings |= {"then": str(options.then), "crops": dict(options.crops)}
    cold = []
    for index, path in enumerate(paths):
        tell("starting cold", index, len(paths))
        cold.append(_cold(path, frames, settings, options.cold_starts))
    with ExitStack() as stack:
        detectors: list[Measured] = []
        for path in paths:
            detectors.append(opened_to_measure(path, **settings))
            stack.callback(detectors[-1].close)
        # Before minutes of measuring, not after them.
        _require_judge(options, detectors)
        reference = reference_for([detector.device for detector in detectors], options.threads)
        series, states, energy = _latency(
            detectors, frames, options.rules, reference=reference, progress=progress, root=root
        )
        batches = []
        for index, detector in enumerate(detectors):
            tell("measuring throughput", index, len(detectors))
            batches.append(_batches(detector, frames, options))
        asked = [_asked_for(detector, frames, options, tell) for detector in detectors]
        entries = [
            _identity(path, name, detector) for path, name, detector in zip(paths, called, detectors, strict=True)
        ]
    for index, path in enumerate(paths):
        tell("measuring several streams", index, len(paths))
        entries[index] |= {
            "cold": cold[index][0],
            "memory": cold[index][1],
            "latency": series[index].describe(),
            "stages": series[index].describe_stages(frames.capture_ms),
            "detections": _spread(series[index].detections),
            "throughput": batches[index],
            "streams": _streams(path, frames, options, settings, machine.cpu.cores),
            "energy": energy[index],
            **asked[index],
        }
        if options.then is not None:
            entries[index]["then"] = str(options.then)
    result = {
        "kind": KIND,
        "version": VERSION,
        "edgedet": __version__,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": asdict(machine) | {"clocks": describe_clocks(root)},
        "during": summarise_states(states, root),
        "rules": options.rules.describe() | {"threads": options.threads},
        "frames": frames.describe(),
        "artifacts": entries,
    }
    # Through JSON, so that the object and what is read back are equal.
    return BenchResult.from_json(json.loads(json.dumps(result, allow_nan=False)))


def _names(paths: Sequence[str | Path], then: str | Path | None = None) -> list[str]:
    plain = [Path(path).name + ("" if then is None else f" then {Path(then).name}") for path in paths]
    return [
        f"{name}#{plain[: index + 1].count(name)}" if plain.count(name) > 1 else name
        for index, name in enumerate(plain)
    ]


def _twice(names: Sequence[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def _identity(path: str | Path, name: str, detector: Measured) -> dict[str, Any]:
    card = (detector.first if isinstance(detector, Cascade) else detector).card
    return {
        "name": name,
        "path": str(path),
        "sha256": file_sha256(path),
        "bytes": Path(path).stat().st_size,
        "family": card.family,
        "architecture": card.architecture,
        "precision": card.precision,
        "input": [card.input.height, card.input.width],
        "classes": len(card.names),
        "runtime": detector.description + _given(card.input.proposals),
    }


def _given(proposals: int | None) -> str:
    return "" if proposals is None else f", {proposals} strewn proposals"


def _cold(
    path: str | Path, frames: FrameSet, settings: dict[str, Any], starts: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    if not starts:
        skipped = not_measured("left out on request (--cold-starts 0)")
        return skipped, skipped
    return measure_cold_start(path, frames.frames, settings, starts=starts)


def _latency(
    detectors: Sequence[Measured],
    frames: FrameSet,
    rules: Rules,
    *,
    reference: Reference,
    progress: Callable[[str, int, int | None], None] | None,
    root: Path,
) -> tuple[list[Series], list[MachineState], list[dict[str, Any]]]:
    def measure() -> tuple[list[Series], list[MachineState]]:
        return measure_latency(detectors, frames.frames, rules, reference=reference, progress=progress, root=root)

    meter, no_meter = find_meter(root)
    if meter is None:
        series, states = measure()
        return series, states, [not_measured(no_meter)] * len(detectors)
    with PowerLog(meter) as log:
        idle_begin = log.clock()
        time.sleep(IDLE_SECONDS)
        idle_end = log.clock()
        offset = log.clock() - time.perf_counter()
        begin = time.perf_counter()
        series, states = measure()
        end = log.clock()
    idle = mean_watts(log.readings, idle_begin, idle_end)
    if len(detectors) > 1:
        reason = "several artifacts took turns, and power follows too slowly to be told apart; bench one alone"
        return series, states, [not_measured(reason)] * len(detectors)
    its = series[0]
    # Warm-up is over when the first block begins; frames, counted or not, cover nearly all of the time after it.
    first = begin + offset + its.warmup["seconds"]
    watts = mean_watts(log.readings, first, end)
    return series, states, [energy_summary(meter, watts, idle, its.seconds, len(its.samples))]


def _batches(detector: Measured, frames: FrameSet, options: BenchOptions) -> Any:
    if not options.batches:
        return not_measured("left out on request (--batches none)")
    return measure_batches(detector, frames.frames, options.batches, seconds=options.load_seconds)


def _asked_for(
    detector: Measured,
    frames: FrameSet,
    options: BenchOptions,
    tell: Callable[[str, int, int | None], None],
) -> dict[str, Any]:
    """What is measured on request alone."""
    found: dict[str, Any] = {}
    if options.duty_cycle:
        tell("measuring the duty cycle", 0, None)
        found["duty_cycle"] = measure_duty_cycle(detector, frames.frames, options.duty_cycle)
    if options.single_stream is not None:
        tell("measuring the single stream", 0, None)
        assert isinstance(detector, Detector), "looked at before"
        with opened_to_measure(options.single_stream, threads=options.threads) as floats:
            assert isinstance(floats, Detector), "looked at before"
            reference = [floats.detect(frame) for frame in frames.frames]
        found["single_stream"] = measure_single_stream(detector, frames.frames, reference)
    return found


def _require_judge(options: BenchOptions, detectors: Sequence[Measured]) -> None:
    """Check that the float graph of a single stream can judge every artifact, where one is asked for."""
    if options.single_stream is None:
        return
    for detector in detectors:
        if isinstance(detector, TimedSegmenter):
            raise UsageError(
                f"the single stream is judged by boxes, and {detector.path} is a segmenter: leave it out; edgedet "
                "parity compares it with its float graph"
            )
    with opened_to_measure(options.single_stream, threads=options.threads) as floats:
        for detector in detectors:
            _require_float(floats, detector)


def _require_float(floats: Measured, detector: Measured) -> None:
    """Only a float graph of the same classes can say what was lost."""
    assert isinstance(detector, Detector), "no crops are looked into here"
    if not isinstance(floats, Detector):
        raise UsageError(f"--single-stream {floats.path} is no detector; give the fp32 graph of {detector.path}")
    if floats.card.precision != "fp32":
        raise UsageError(
            f"{floats.path} is {floats.card.precision}, and accuracy is judged by the fp32 graph; give that"
        )
    if floats.names != detector.names:
        raise UsageError(
            f"{floats.path} and {detector.path} do not detect the same classes; give the fp32 graph of the same"
        )
    for what in ("masks", "keypoints"):
        if (getattr(floats.card.output, what) is None) != (getattr(detector.card.output, what) is None):
            raise UsageError(
                f"of {floats.path} and {detector.path} one gives {what} and one does not; give the fp32 graph of "
                "the same"
            )


def _streams(
    path: str | Path, frames: FrameSet, options: BenchOptions, settings: dict[str, Any], cores: int
) -> Any:
    if not options.streams:
        return not_measured("left out on request (--streams none)")
    return measure_streams(
        lambda threads: opened_to_measure(path, **settings | {"threads": options.threads or threads}),
        frames.frames,
        options.streams,
        cores=options.threads or cores,
        seconds=options.load_seconds,
    )


def _spread(counts: Sequence[int]) -> dict[str, Any]:
    import numpy as np

    return {"min": min(counts), "median": float(np.median(counts)), "max": max(counts)}
