"""What a benchmark measured, part by part as ``schema.json`` describes it.

Times in milliseconds, memory in bytes, power in watts, temperatures in degrees Celsius, unless named otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from edgedet.absent import NotMeasured
from edgedet.bench.json_record import Record
from edgedet.bench.reference import SORTING

ABSENT = frozenset({"absent"})
"""Results of earlier versions do not say why single figures are null."""


@dataclass(frozen=True)
class Processor(Record):
    """``cores``: usable by the process. ``quota``: CPUs' worth of time a container may use, None if unlimited."""

    model: str
    cores: int
    cores_of_machine: int
    quota: float | None
    features: tuple[str, ...]


@dataclass(frozen=True)
class GraphicsCard(Record):
    """An NVIDIA GPU as its driver reports it."""

    name: str
    driver: str
    compute_capability: str | None
    memory_mib: int


@dataclass(frozen=True)
class JetsonBoard(Record):
    """``power_mode``: nvpmodel's."""

    model: str
    l4t: str
    jetpack: str | None
    power_mode: str | None


@dataclass(frozen=True)
class Clocks(Record):
    """``pinned``: lowest and highest clock are the same, as after jetson_clocks; None where that is not known."""

    governor: str | None
    cpu_max_mhz: float | None
    gpu_max_mhz: float | None
    pinned: bool | None


@dataclass(frozen=True)
class MeasuredMachine(Record):
    """What the benchmark ran on. ``jetson``: None on other machines."""

    system: str
    kernel: str
    architecture: str
    cpu: Processor
    memory_total: int | None
    memory_available: int | None
    gpus: tuple[GraphicsCard, ...]
    jetson: JetsonBoard | None
    clocks: Clocks


@dataclass(frozen=True)
class During(Record):
    """The machine while latency was measured. ``throttled``: None where it has no counters to tell."""

    optional: ClassVar[frozenset[str]] = ABSENT

    cpu_mhz: Mapping[str, float] | None
    gpu_mhz: Mapping[str, float] | None
    temperatures: Mapping[str, Mapping[str, float | None]]
    throttled: bool | None
    throttle_events: Mapping[str, int]
    others_cpu_share: float | None
    absent: Mapping[str, str] | None = None

    def why_missing(self, name: str) -> str | None:
        """Why a figure is None; None where the result does not say."""
        return (self.absent or {}).get(name)


@dataclass(frozen=True)
class RulesFollowed(Record):
    """When measuring began and ended, in figures and in words. ``threads``: None for the runtime's own choice."""

    optional: ClassVar[frozenset[str]] = frozenset({"turn_seconds", "resume_frames"})

    warmup_frames: int
    warmup_seconds: float
    frames: int
    seconds: float
    max_seconds: float
    half_width: float
    block_seconds: float
    turn_seconds: float | None
    resume_frames: int | None
    clipping: str
    warmup_rule: str
    stopping_rule: str
    threads: int | None


@dataclass(frozen=True)
class FramesUsed(Record):
    """``sizes``: width and height of every size that occurs."""

    kind: Literal["dataset", "source", "synthetic"]
    source: str
    count: int
    sizes: tuple[tuple[int, int], ...]
    note: str | None


@dataclass(frozen=True)
class ColdStart(Record):
    """Medians over ``starts`` fresh processes."""

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
    """The highest of all starts."""

    optional: ClassVar[frozenset[str]] = ABSENT

    peak_rss: int | NotMeasured
    rss_after_import: int | None
    rss_after_open: int | None
    device: int | NotMeasured
    absent: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Block(Record):
    """Consecutive frames. ``reference_ms``: the reference work just before them, the machine's speed then.

    ``others_cpu_share``: None where it is not known, which is not the same as 0.
    """

    begin_s: float
    samples_ms: tuple[float, ...]
    turn: int
    reference_ms: float
    others_cpu_share: float | None


@dataclass(frozen=True)
class Latency(Record):
    """From a decoded frame to detections, one after another. None: too few frames ran for it; ``absent`` says so.

    ``jitter``: mean absolute difference of consecutive frames. ``settled``: whether the median's interval became
    as narrow as the rules ask.
    """

    optional: ClassVar[frozenset[str]] = frozenset({"absent", "reference"})

    frames: int
    p50: float
    p90: float | None
    p95: float | None
    p99: float | None
    mean: float
    min: float
    max: float
    jitter: float | None
    absent: Mapping[str, str] | None
    p50_interval: tuple[float, float] | None
    settled: bool
    seconds: float
    warmup: Mapping[str, Any]
    reference: str | None
    """None in results of earlier versions."""
    blocks: tuple[Block, ...]

    @property
    def reference_work(self) -> str:
        """The fixed work that blocks' ``reference_ms`` times."""
        return SORTING if self.reference is None else self.reference

    def why_missing(self, name: str) -> str | None:
        """Why a figure is None; None where the result does not say."""
        return (self.absent or {}).get(name)


@dataclass(frozen=True)
class Stages(Record):
    """Medians. ``capture`` (reading and decoding) is apart from the latency; ``between`` belongs to no stage."""

    pre: float
    run: float
    post: float
    between: float
    capture: float | NotMeasured


@dataclass(frozen=True)
class DetectionCounts(Record):
    """Objects found in a frame."""

    min: int
    median: float
    max: int


@dataclass(frozen=True)
class BatchRate(Record):
    """Frames per second by the number of frames handed over at once."""

    batch: int
    frames: int
    frames_per_second: float


@dataclass(frozen=True)
class StreamRate(Record):
    """Frames per second of several streams together, and single frames' latencies."""

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
    """``watts``, ``idle_watts``: by rail; ``total`` where the rails' sum is known to be the whole."""

    optional: ClassVar[frozenset[str]] = ABSENT

    source: str
    covers: str
    watts: Mapping[str, float]
    idle_watts: Mapping[str, float]
    joules_per_frame: float | None
    absent: Mapping[str, str] | None = None

    def why_missing(self, name: str) -> str | None:
        """Why a figure is None; None where the result does not say."""
        return (self.absent or {}).get(name)


@dataclass(frozen=True)
class MeasuredArtifact(Record):
    """One graph or engine. ``input``: height, width."""

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


@dataclass(frozen=True)
class BenchResult(Record):
    """A benchmark's result file."""

    kind: str
    version: int
    edgedet: str
    created: str
    machine: MeasuredMachine
    during: During
    rules: RulesFollowed
    frames: FramesUsed
    artifacts: tuple[MeasuredArtifact, ...]
