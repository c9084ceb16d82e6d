"""How long single frames took: every sample, the figures made of them, and the stages, as ``schema.json`` has it.

Times in milliseconds, unless named otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edgedet.bench.json_dataclass import Record
from edgedet.bench.reference_workload import SORTING
from edgedet.missing_figures import NotMeasured


@dataclass(frozen=True)
class Block(Record):
    """Consecutive frames of one artifact.

    Attributes:
        begin_s: start of the block, in seconds since measuring began.
        samples_ms: latency of every frame.
        turn: number of the round; every artifact has one block in it.
        reference_ms: time of the reference work just before the block, which tells the machine's speed then.
        others_cpu_share: share of the CPUs that other processes used; None where not known, which is not 0.

    >>> from edgedet.bench import read_result
    >>> min(read_result("bench.json").artifacts[0].latency.blocks[0].samples_ms) > 0
    True
    """

    begin_s: float
    samples_ms: tuple[float, ...]
    turn: int
    reference_ms: float
    others_cpu_share: float | None


@dataclass(frozen=True)
class Latency(Record):
    """From a decoded frame to detections, one frame after another. None where too few frames ran for a figure.

    Attributes:
        frames: number of counted frames.
        p50: median.
        p90: 90th percentile.
        p95: 95th percentile.
        p99: 99th percentile.
        mean: mean.
        min: shortest.
        max: longest.
        jitter: mean absolute difference of consecutive frames.
        absent: name of a figure that is None to the reason; None in results of earlier versions.
        p50_interval: 99 % interval of the median.
        settled: whether that interval became as narrow as the rules ask.
        seconds: time of all counted frames.
        warmup: frames before counting began, and how long they took.
        reference: name of the reference work; None in results of earlier versions.
        blocks: every sample, in blocks of consecutive frames.

    >>> from edgedet.bench import read_result
    >>> latency = read_result("bench.json").artifacts[0].latency
    >>> latency.min <= latency.p50 <= latency.max, latency.frames >= 20
    (True, True)
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
    blocks: tuple[Block, ...]

    @property
    def reference_work(self) -> str:
        """Name of the reference work that ``reference_ms`` of the blocks times."""
        return SORTING if self.reference is None else self.reference

    def why_missing(self, name: str) -> str | None:
        """Reason for a figure that is None.

        Args:
            name: of the figure.

        Returns:
            One sentence; None where the result does not say.
        """
        return (self.absent or {}).get(name)


@dataclass(frozen=True)
class Stages(Record):
    """Medians of a frame's stages.

    Attributes:
        pre: frame to input tensor.
        run: network.
        post: outputs to detections.
        between: part of the latency that belongs to no stage.
        capture: reading and decoding the frame, which is no part of the latency.

    >>> from edgedet.bench import read_result
    >>> stages = read_result("bench.json").artifacts[0].stages
    >>> stages.run > 0
    True
    """

    pre: float
    run: float
    post: float
    between: float
    capture: float | NotMeasured
