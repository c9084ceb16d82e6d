"""What the machine was doing while it was measured: clocks, temperatures, throttling, and who else was busy.

Everything is read from ``/proc`` and ``/sys`` under a root path; what a machine does not offer is left empty.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgedet.missing_figures import explained

GPU_DEVFREQ = ("gpu", "ga10b", "gv11b", "gp10b", "gm20b")
"""Parts of the names Jetsons give their GPU in /sys/class/devfreq (Orin: 17000000.gpu, Xavier: 17000000.gv11b)."""

OVERCURRENT = {"oc1": "undervoltage", "oc2": "average overcurrent", "oc3": "instantaneous overcurrent"}
"""Jetson Orin's counters in hwmon ``soctherm_oc`` (Jetson Linux Developer Guide, "OC Event")."""

UNKNOWN = {
    "throttled": "this machine has no counters to tell",
    "others_cpu_share": "this machine does not count its CPU time, or too little of it went by",
}
"""Why what :func:`summarise_states` tells may be None."""

QUIET_SHARE = 0.05
"""Other processes using more of the machine's CPUs than this disturb a measurement."""


@dataclass(frozen=True)
class MachineState:
    """One look at the machine. Clocks in MHz, temperatures in °C, CPU time in seconds summed over all CPUs."""

    cpu_mhz: tuple[float, ...] = ()
    gpu_mhz: float | None = None
    temperatures: dict[str, float] = field(default_factory=dict)
    throttle_events: dict[str, int] = field(default_factory=dict)
    """Counters that only grow; growth during a run means that it was throttled."""
    cpu_busy: float | None = None
    """CPU time used by everything since boot, stolen time (other virtual machines) included."""
    own_busy: float = 0.0
    """CPU time used by this process."""
    cpu_total: float | None = None
    """CPU time there was since boot."""


def read_state(root: Path = Path("/")) -> MachineState:
    """Look once; about a millisecond."""
    busy, total = _cpu_time(root)
    own = os.times()
    return MachineState(
        cpu_mhz=_cpu_mhz(root),
        gpu_mhz=_gpu_mhz(root, "cur_freq"),
        temperatures=_temperatures(root),
        throttle_events=_throttle_events(root),
        cpu_busy=busy,
        own_busy=own.user + own.system,
        cpu_total=total,
    )


def others_share(before: MachineState, after: MachineState) -> float | None:
    """Share of the machine's CPU time that went to other processes between two looks, or None if unknown."""
    if before.cpu_busy is None or after.cpu_busy is None or before.cpu_total is None or after.cpu_total is None:
        return None
    total = after.cpu_total - before.cpu_total
    if total <= 0:
        return None
    others = (after.cpu_busy - before.cpu_busy) - (after.own_busy - before.own_busy)
    return min(1.0, max(0.0, others / total))


def summarise_states(states: Sequence[MachineState], root: Path = Path("/")) -> dict[str, Any]:
    """What changed over a run: clocks and temperatures as ranges, throttling as yes, no or unknown with why."""
    first, last = states[0], states[-1]
    mhz = [mhz for state in states for mhz in state.cpu_mhz]
    gpu = [state.gpu_mhz for state in states if state.gpu_mhz is not None]
    zones = sorted({zone for state in states for zone in state.temperatures})
    events = {
        name: count - first.throttle_events.get(name, 0)
        for name, count in last.throttle_events.items()
        if count > first.throttle_events.get(name, 0)
    }
    share = others_share(first, last)
    figures = {
        "cpu_mhz": {"min": min(mhz), "max": max(mhz)} if mhz else None,
        "gpu_mhz": {"min": min(gpu), "max": max(gpu)} if gpu else None,
        "temperatures": {
            zone: {
                "first": first.temperatures.get(zone),
                "max": max(state.temperatures[zone] for state in states if zone in state.temperatures),
            }
            for zone in zones
        },
        "throttled": None if not last.throttle_events else bool(events),
        "throttle_events": events,
        "others_cpu_share": None if share is None else round(share, 4),
    }
    return explained(figures, UNKNOWN, otherwise="this machine does not tell")


def describe_clocks(root: Path = Path("/")) -> dict[str, Any]:
    """What decides the clocks: governor, limits, and whether they are pinned (what jetson_clocks does)."""
    policies = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq"))
    governors = sorted({_text(policy / "scaling_governor") for policy in policies} - {""})
    lows = [_number(policy / "scaling_min_freq") for policy in policies]
    highs = [_number(policy / "scaling_max_freq") for policy in policies]
    gpu_low, gpu_high = _gpu_mhz(root, "min_freq"), _gpu_mhz(root, "max_freq")
    known = [(low, high) for low, high in zip(lows, highs, strict=True) if low is not None and high is not None]
    pinned = [low == high for low, high in known]
    if gpu_low is not None and gpu_high is not None:
        pinned.append(gpu_low == gpu_high)
    return {
        "governor": ", ".join(governors) or None,
        "cpu_max_mhz": max((high / 1e3 for _, high in known), default=None),
        "gpu_max_mhz": gpu_high,
        "pinned": all(pinned) if pinned else None,
    }


def _cpu_time(root: Path) -> tuple[float | None, float | None]:
    fields = _text(root / "proc/stat").split("\n", 1)[0].split()
    if len(fields) < 9 or fields[0] != "cpu":
        return None, None
    # user nice system idle iowait irq softirq steal; guest time is already part of user.
    ticks = [int(value) for value in fields[1:9]]
    per_second = os.sysconf("SC_CLK_TCK")
    total = sum(ticks)
    return (total - ticks[3] - ticks[4]) / per_second, total / per_second


def _cpu_mhz(root: Path) -> tuple[float, ...]:
    found = [
        _number(path) for path in sorted((root / "sys/devices/system/cpu").glob("cpu*/cpufreq/scaling_cur_freq"))
    ]
    if found:
        return tuple(value / 1e3 for value in found if value is not None)
    lines = [line for line in _text(root / "proc/cpuinfo").splitlines() if line.startswith("cpu MHz")]
    return tuple(float(line.split(":")[1]) for line in lines)


def _gpu_mhz(root: Path, name: str) -> float | None:
    for device in sorted((root / "sys/class/devfreq").glob("*")):
        if any(part in device.name for part in GPU_DEVFREQ):
            value = _number(device / name)
            if value is not None:
                return value / 1e6
    return None


def _temperatures(root: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        value = _number(zone / "temp")  # a powered-off Jetson zone answers EAGAIN
        if value is not None and -40 < value / 1e3 < 150:
            found[_text(zone / "type") or zone.name] = value / 1e3
    return found


def _throttle_events(root: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for monitor in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        for key, meaning in OVERCURRENT.items():
            count = _number(monitor / f"{key}_event_cnt")
            if count is not None:
                found[meaning] = found.get(meaning, 0) + int(count)
    for name in ("core", "package"):
        counts = [
            _number(path)
            for path in (root / "sys/devices/system/cpu").glob(f"cpu*/thermal_throttle/{name}_throttle_count")
        ]
        if counts:
            found[f"{name} too hot"] = int(sum(count for count in counts if count is not None))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip("\0\n ")
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    text = _text(path)
    try:
        return float(text)
    except ValueError:
        return None
