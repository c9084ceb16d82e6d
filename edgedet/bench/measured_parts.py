"""What a benchmark measured, part by part as ``schema.json`` describes it.

Times in milliseconds, memory in bytes, power in watts, temperatures in degrees Celsius, unless named otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from edgedet.bench.json_dataclass import Record
from edgedet.bench.measured_conditions import ABSENT, During, FramesUsed, MeasuredMachine, RulesFollowed
from edgedet.bench.measured_latency import Latency, Stages
from edgedet.missing_figures import NotMeasured


@dataclass(frozen=True)
class ColdStart(Record):
    """From the start of a process to the first detections: medians over fresh processes.

    Attributes:
        interpreter: start of Python.
        import_: ``import edgedet``; ``import`` in the file.
        open: opening the artifact.
        first_frame: the first :meth:`edgedet.Detector.detect`.
        total: all of it.
        worst_total: the longest of all starts.
        starts: number of processes.
        page_cache: whether files were in the system's cache (``warm``).

    >>> from edgedet.bench import read_result
    >>> cold = read_result("bench.json").artifacts[0].cold
    >>> cold.starts, cold.page_cache
    (1, 'warm')
    """

    interpreter: float
    import_: float
    open: float
    first_frame: float
    total: float
    worst_total: float
    starts: int
    page_cache: str


@dataclass(frozen=True)
class Memory(Record):
    """The highest of all cold starts.

    Attributes:
        peak_rss: resident memory at its peak.
        rss_after_import: resident memory after ``import edgedet``; None where not known.
        rss_after_open: resident memory after opening the artifact; None where not known.
        device: memory of the GPU.
        absent: name of a figure that is None to the reason; None in results of earlier versions.

    >>> from edgedet.bench import read_result
    >>> memory = read_result("bench.json").artifacts[0].memory
    >>> "peak_rss" in memory.to_json()
    True
    """

    optional: ClassVar[frozenset[str]] = ABSENT

    peak_rss: int | NotMeasured
    rss_after_import: int | None
    rss_after_open: int | None
    device: int | NotMeasured
    absent: Mapping[str, str] | None = None


@dataclass(frozen=True)
class DetectionCounts(Record):
    """Objects found per frame: post-processing costs more where there are many.

    Attributes:
        min: fewest.
        median: median.
        max: most.

    >>> from edgedet.bench import read_result
    >>> read_result("bench.json").artifacts[0].detections.max
    1
    """

    min: int
    median: float
    max: int


@dataclass(frozen=True)
class BatchRate(Record):
    """Throughput of :meth:`edgedet.Detector.detect_batch`.

    Attributes:
        batch: number of frames per call.
        frames: number of frames that were counted.
        frames_per_second: rate.

    >>> from edgedet.bench import read_result
    >>> [rate.batch for rate in read_result("bench.json").artifacts[0].throughput]
    [1]
    """

    batch: int
    frames: int
    frames_per_second: float


@dataclass(frozen=True)
class StreamRate(Record):
    """Several streams at once, one detector and thread each. None where too few frames ran for a figure.

    Attributes:
        streams: number of streams.
        threads_each: CPU threads of each detector.
        frames_per_second: of all streams together.
        frames: number of frames that were counted.
        p50: median latency of a frame.
        p95: 95th percentile.
        max: longest.
        absent: name of a figure that is None to the reason; None in results of earlier versions.

    >>> from edgedet.bench import read_result
    >>> [rate.streams for rate in read_result("bench.json").artifacts[0].streams]
    [1]
    """

    optional: ClassVar[frozenset[str]] = ABSENT

    streams: int
    threads_each: int
    frames_per_second: float
    frames: int
    p50: float | None
    p95: float | None
    max: float | None
    absent: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Energy(Record):
    """Power while latency was measured.

    Attributes:
        source: the meter.
        covers: what the meter measures.
        watts: by rail; ``total`` where the rails' sum is known to be the whole.
        idle_watts: the same before the work.
        joules_per_frame: energy per frame; None where there is no ``total``.
        absent: name of a figure that is None to the reason; None in results of earlier versions.

    >>> energy = Energy("INA3221", "the board", {"total": 8.0}, {"total": 4.5}, 0.12, {})
    >>> energy.joules_per_frame, energy.why_missing("joules_per_frame")
    (0.12, None)
    """

    optional: ClassVar[frozenset[str]] = ABSENT

    source: str
    covers: str
    watts: Mapping[str, float]
    idle_watts: Mapping[str, float]
    joules_per_frame: float | None
    absent: Mapping[str, str] | None = None

    def why_missing(self, name: str) -> str | None:
        """Reason for a figure that is None.

        Args:
            name: of the figure.

        Returns:
            One sentence; None where the result does not say.
        """
        return (self.absent or {}).get(name)


@dataclass(frozen=True)
class DutyCycle(Record):
    """CPU time of a frame at a camera's rate and back to back, of all threads of the process.

    Attributes:
        frames_per_second: the camera's.
        frames: number of frames at that rate; as many back to back.
        cpu_ms: per frame at that rate, the time between frames included.
        closed_loop_cpu_ms: per frame back to back.
        ratio: the first by the second; well above 1, threads look for work while there is none.

    >>> DutyCycle(frames_per_second=5.0, frames=50, cpu_ms=14.7, closed_loop_cpu_ms=14.0, ratio=1.05).ratio
    1.05
    """

    frames_per_second: float
    frames: int
    cpu_ms: float
    closed_loop_cpu_ms: float
    ratio: float


@dataclass(frozen=True)
class SingleStream(Record):
    """MLPerf's single stream in kind: queries one after another, and a gate on accuracy.

    Attributes:
        queries: number of frames, one after another.
        seconds: time for all of them.
        p90: 90th percentile of the latency, a sample that was measured.
        agreement: average precision at IoU 0.5 with the float graph's confident detections as ground truth; None
            where it has none.
        required: least agreement of a valid figure.
        valid: whether it is reached; None where nobody can tell.

    >>> SingleStream(queries=1024, seconds=8.2, p90=8.1, agreement=0.998, required=0.99, valid=True).valid
    True
    """

    queries: int
    seconds: float
    p90: float
    agreement: float | None
    required: float
    valid: bool | None


@dataclass(frozen=True)
class MeasuredArtifact(Record):
    """One graph or engine, and what was measured of it.

    Attributes:
        name: what it is called in the result.
        path: the file.
        sha256: digest of the file.
        bytes: size of the file.
        family: kind of detector.
        architecture: name of the network.
        precision: of the weights and activations.
        input: (height, width) of the input canvas.
        classes: number of classes.
        runtime: runtime, version and device.
        cold: cold start.
        memory: of cold starts.
        latency: single frames.
        stages: parts of the latency.
        detections: objects per frame.
        throughput: by batch size.
        streams: by number of streams.
        energy: power and energy.
        duty_cycle: the price of idling; None where nobody asked.
        single_stream: MLPerf's single stream; None where nobody asked.
        then: file of the artifact that looked into the crops of this one; None where it was measured alone.

    >>> from edgedet.bench import read_result
    >>> artifact = read_result("bench.json").artifacts[0]
    >>> artifact.name, artifact.precision, artifact.input
    ('model.onnx', 'fp32', (64, 64))
    """

    optional: ClassVar[frozenset[str]] = frozenset({"duty_cycle", "single_stream", "then"})

    name: str
    path: str
    sha256: str
    bytes: int
    family: str
    architecture: str
    precision: Literal["fp32", "fp16", "int8"]
    input: tuple[int, int]
    classes: int
    runtime: str
    cold: ColdStart | NotMeasured
    memory: Memory | NotMeasured
    latency: Latency
    stages: Stages
    detections: DetectionCounts
    throughput: tuple[BatchRate, ...] | NotMeasured
    streams: tuple[StreamRate, ...] | NotMeasured
    energy: Energy | NotMeasured
    duty_cycle: DutyCycle | NotMeasured | None = None
    single_stream: SingleStream | NotMeasured | None = None
    then: str | None = None


@dataclass(frozen=True)
class BenchResult(Record):
    """Everything a benchmark measured: the result file as an object.

    Attributes:
        kind: ``edgedet-bench``.
        version: of the file's format.
        edgedet: version that measured.
        created: time in UTC, ISO 8601.
        machine: what it ran on.
        during: the machine while latency was measured.
        rules: when measuring began and ended.
        frames: what was detected on.
        artifacts: one entry per graph or engine.

    >>> from edgedet.bench import read_result
    >>> [artifact.name for artifact in read_result("bench.json").artifacts]
    ['model.onnx', 'slow.onnx']
    """

    kind: str
    version: int
    edgedet: str
    created: str
    machine: MeasuredMachine
    during: During
    rules: RulesFollowed
    frames: FramesUsed
    artifacts: tuple[MeasuredArtifact, ...]
