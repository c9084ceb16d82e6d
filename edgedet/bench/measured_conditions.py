"""Under what a benchmark was measured: machine, its state meanwhile, rules and frames, as ``schema.json`` has it.

Times in milliseconds, memory in bytes, power in watts, temperatures in degrees Celsius, unless named otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from edgedet.bench.json_dataclass import Record

ABSENT = frozenset({"absent"})
"""Results of earlier versions do not say why single figures are null."""


@dataclass(frozen=True)
class Processor(Record):
    """The CPU.

    Attributes:
        model: name of the processor.
        cores: number of cores the process may use.
        cores_of_machine: number of cores there are.
        quota: CPUs' worth of time a container may use; None for no limit.
        features: instruction sets that matter to networks.

    >>> from edgedet.bench import read_result
    >>> read_result("bench.json").machine.cpu.cores >= 1
    True
    """

    model: str
    cores: int
    cores_of_machine: int
    quota: float | None
    features: tuple[str, ...]


@dataclass(frozen=True)
class GraphicsCard(Record):
    """An NVIDIA GPU as its driver reports it.

    Attributes:
        name: name of the GPU.
        driver: version of the driver.
        compute_capability: such as ``8.7``; None where the driver does not tell.
        memory_mib: memory in MiB.

    >>> GraphicsCard("NVIDIA H200", "580.65", "9.0", 143771).to_json()["memory_mib"]
    143771
    """

    name: str
    driver: str
    compute_capability: str | None
    memory_mib: int


@dataclass(frozen=True)
class JetsonBoard(Record):
    """A Jetson.

    Attributes:
        model: name of the board.
        l4t: version of Jetson Linux.
        jetpack: version of JetPack; None where it is not known.
        power_mode: nvpmodel's name; None where it is not known.

    >>> JetsonBoard("Jetson Orin Nano", "36.4.3", "6.2", "15W").power_mode
    '15W'
    """

    model: str
    l4t: str
    jetpack: str | None
    power_mode: str | None


@dataclass(frozen=True)
class Clocks(Record):
    """Clock settings of the machine; None where they are not known.

    Attributes:
        governor: the kernel's for the CPU.
        cpu_max_mhz: highest CPU clock allowed.
        gpu_max_mhz: highest GPU clock allowed.
        pinned: whether lowest and highest clock are the same, as after ``jetson_clocks``.

    >>> Clocks("performance", 1510.0, 625.0, True).pinned
    True
    """

    governor: str | None
    cpu_max_mhz: float | None
    gpu_max_mhz: float | None
    pinned: bool | None


@dataclass(frozen=True)
class MeasuredMachine(Record):
    """The machine a benchmark ran on.

    Attributes:
        system: operating system.
        kernel: name and version.
        architecture: such as ``aarch64``.
        cpu: the processor.
        memory_total: bytes; None where not known.
        memory_available: bytes before measuring; None where not known.
        gpus: NVIDIA GPUs.
        jetson: the board; None on other machines.
        clocks: clock settings.

    >>> from edgedet.bench import read_result
    >>> read_result("bench.json").machine.architecture in ("x86_64", "aarch64", "arm64", "AMD64")
    True
    """

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
    """The machine while latency was measured; None where it does not tell.

    Attributes:
        cpu_mhz: ``min`` and ``max`` clock.
        gpu_mhz: ``min`` and ``max`` clock.
        temperatures: by sensor, ``min`` and ``max``.
        throttled: whether the machine slowed itself down.
        throttle_events: number of events by counter.
        others_cpu_share: share of the CPUs that other processes used, in [0, 1].
        absent: name of a figure that is None to the reason; None in results of earlier versions.

    >>> from edgedet.bench import read_result
    >>> during = read_result("bench.json").during
    >>> during.throttled is not None or during.why_missing("throttled") is not None
    True
    """

    optional: ClassVar[frozenset[str]] = ABSENT

    cpu_mhz: Mapping[str, float] | None
    gpu_mhz: Mapping[str, float] | None
    temperatures: Mapping[str, Mapping[str, float | None]]
    throttled: bool | None
    throttle_events: Mapping[str, int]
    others_cpu_share: float | None
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
class RulesFollowed(Record):
    """The :class:`Rules` of a measurement, in figures and in words.

    Attributes:
        warmup_frames: see :class:`Rules`.
        warmup_seconds: see :class:`Rules`.
        frames: see :class:`Rules`.
        seconds: see :class:`Rules`.
        max_seconds: see :class:`Rules`.
        half_width: see :class:`Rules`.
        block_seconds: see :class:`Rules`.
        turn_seconds: see :class:`Rules`; None in results of earlier versions.
        resume_frames: see :class:`Rules`; None in results of earlier versions.
        clipping: samples that were dropped (``none``).
        warmup_rule: when counting began, in words.
        stopping_rule: when measuring ended, in words.
        threads: CPU threads of each detector; None for the runtime's own choice.

    >>> from edgedet.bench import read_result
    >>> read_result("bench.json").rules.clipping
    'none'
    """

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
    """The frames of a measurement.

    Attributes:
        kind: where they are from.
        source: what was asked for.
        count: number of frames.
        sizes: (width, height) of every size that occurs.
        note: what to keep in mind about them; None for nothing.

    >>> from edgedet.bench import read_result
    >>> read_result("bench.json").frames.sizes
    ((96, 72),)
    """

    kind: Literal["dataset", "source", "synthetic"]
    source: str
    count: int
    sizes: tuple[tuple[int, int], ...]
    note: str | None
