"""Facts about the machine that explain a speed or a failure: system, CPU, memory, GPU, Jetson. Runs no network."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgedet.machine.cores import available_cores

CPU_FEATURES = (
    "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8",
    "asimd", "asimdhp", "asimddp", "i8mm", "sve",
)  # fmt: skip
"""Instruction sets that decide how fast a detector runs, as /proc/cpuinfo spells them (asimd is NEON)."""

INT8_FEATURES = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
"""Those with integer dot products; without one of them, INT8 may be no faster than FP32 on this CPU."""

ARM_PARTS = {
    "0xd03": "Cortex-A53", "0xd04": "Cortex-A35", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76", "0xd0c": "Neoverse-N1", "0xd0d": "Cortex-A77",
    "0xd41": "Cortex-A78", "0xd42": "Cortex-A78AE", "0xd49": "Neoverse-N2", "0xd4f": "Neoverse-V2",
    "0x004": "Carmel",
}  # fmt: skip
"""`CPU part` of /proc/cpuinfo to the core's name (Arm's MIDR_EL1; Carmel is NVIDIA's Xavier)."""


@dataclass(frozen=True)
class Cpu:
    """``cores``: usable by this process. ``quota``: CPUs' worth of time a container may use, None if unlimited."""

    model: str
    cores: int
    cores_of_machine: int
    quota: float | None
    features: tuple[str, ...]

    @property
    def has_int8_dot_product(self) -> bool:
        """Whether INT8 has instructions of its own here."""
        return any(feature in INT8_FEATURES for feature in self.features)


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU as its driver reports it; ``memory_mib`` is 0 where it shares the machine's memory.

    ``compute_capability`` is None where nvidia-smi does not tell it, which on Jetsons fills in few fields.
    """

    name: str
    driver: str
    compute_capability: str | None
    memory_mib: int


@dataclass(frozen=True)
class Jetson:
    """``l4t``: release of Jetson Linux, or ``unknown``. ``power_mode``: nvpmodel's; it decides every clock."""

    model: str
    l4t: str
    jetpack: str | None
    power_mode: str | None


@dataclass(frozen=True)
class Machine:
    """What :func:`describe_machine` found. Memory in bytes, a container's limit where that is lower."""

    system: str
    kernel: str
    architecture: str
    cpu: Cpu
    memory_total: int | None
    memory_available: int | None
    gpus: tuple[Gpu, ...]
    jetson: Jetson | None


def describe_machine(root: Path = Path("/")) -> Machine:
    """Look around; ``root`` is where ``/proc`` and ``/etc`` are found. What cannot be known is None or empty."""
    total, available = memory(root)
    return Machine(
        system=_system(root),
        kernel=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        cpu=describe_cpu(root),
        memory_total=total,
        memory_available=available,
        gpus=_gpus(),
        jetson=_jetson(root),
    )


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace").strip("\0\n ")
    except OSError:
        return ""


def _answer(*command: str) -> str:
    """What a command prints, or nothing where it is absent, fails or hangs."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, errors="replace")
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _system(root: Path) -> str:
    named = re.search(r'^PRETTY_NAME="?([^"\n]+)', _read(root / "etc/os-release"), re.MULTILINE)
    return named.group(1) if named else platform.platform(terse=True)


def describe_cpu(root: Path = Path("/")) -> Cpu:
    """The CPU, from files alone."""
    text = _read(root / "proc/cpuinfo")
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    parts = dict.fromkeys(re.findall(r"^CPU part\s*:\s*(\S+)", text, re.MULTILINE))
    model = (
        fields.get("model name")
        or " + ".join(ARM_PARTS.get(part, f"Arm part {part}") for part in parts)
        or _answer("sysctl", "-n", "machdep.cpu.brand_string")
        or platform.processor()
        or "unknown"
    )
    flags = set((fields.get("flags") or fields.get("features") or "").split())
    return Cpu(
        model=model,
        cores=available_cores(),
        cores_of_machine=os.cpu_count() or 1,
        quota=_cpu_quota(root),
        features=tuple(feature for feature in CPU_FEATURES if feature in flags),
    )


def _cpu_quota(root: Path) -> float | None:
    allowed = _read(root / "sys/fs/cgroup/cpu.max").split()
    if len(allowed) == 2 and allowed[0].isdigit() and allowed[1].isdigit() and int(allowed[1]):
        return int(allowed[0]) / int(allowed[1])
    return None


def memory(root: Path = Path("/")) -> tuple[int | None, int | None]:
    """Bytes of memory, and how many of them are free; a container's limit where that is lower. Takes no time."""
    sizes = {
        name: int(kib) * 1024
        for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", _read(root / "proc/meminfo"), re.MULTILINE)
    }
    total, available = sizes.get("MemTotal"), sizes.get("MemAvailable")
    limit = _read(root / "sys/fs/cgroup/memory.max")
    if limit.isdigit() and (total is None or int(limit) < total):
        total = int(limit)
        used = _read(root / "sys/fs/cgroup/memory.current")
        left = total - int(used) if used.isdigit() else total
        available = left if available is None else min(left, available)
    return total, available


def _gpus() -> tuple[Gpu, ...]:
    rows = _answer(
        "nvidia-smi", "--query-gpu=name,driver_version,compute_cap,memory.total", "--format=csv,noheader,nounits"
    )
    found = []
    for row in rows.splitlines():
        values = [value.strip() for value in row.split(",")]
        if len(values) == 4:
            name, driver, capability, memory = values
            told = capability if re.fullmatch(r"\d+\.\d+", capability) else None
            found.append(Gpu(name, driver, told, int(memory) if memory.isdigit() else 0))
    return tuple(found)


def _jetson(root: Path) -> Jetson | None:
    from edgedet.machine.jetpack import recognise  # tables of every Jetson, not loaded with this module

    board = recognise(root)
    if board is None:
        return None
    # "NV Power Mode: MAXN_SUPER\n2"
    mode = re.search(r"Power Mode:\s*(\S+)", _answer("nvpmodel", "-q"))
    return Jetson(
        model=board.model or "unknown Jetson",
        l4t=board.l4t or "unknown",
        jetpack=board.jetpack,
        power_mode=mode.group(1) if mode else None,
    )
