"""Electrical power: a Jetson's INA3221 monitors read through hwmon, an NVIDIA board through NVML.

Rails are found by their labels, never by number: which chip becomes ``hwmon3`` changes between boots and boards.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from edgedet.missing_figures import explained

TOTALS: tuple[tuple[str, ...], ...] = (
    ("VDD_IN",),
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
)
"""Rails whose sum is the whole module: Orin Nano and NX have one; AGX Orin has three, and its VDDQ rail is fed from
VIN_SYS_5V0 and must not be counted twice (Jetson Linux Developer Guide, "Software-Based Power Consumption")."""

INTERVAL_SECONDS = 0.1
CHANNELS = (1, 2, 3)
"""INA3221 has three; hwmon's further inputs are its shunt voltages."""


class PowerMeter(Protocol):
    """Something that says how much power flows now."""

    @property
    def source(self) -> str:
        """What is read."""

    @property
    def covers(self) -> str:
        """What the figure includes, for the reader of the result."""

    def read(self) -> dict[str, float]:
        """Watts by rail; ``total`` where the rails' sum is known to be the whole."""


@dataclass(frozen=True)
class Rail:
    """One monitored supply: voltage in mV, current in mA."""

    label: str
    voltage: Path
    current: Path

    def watts(self) -> float | None:
        """Power now, or None while the monitor does not answer."""
        try:
            return int(self.voltage.read_text()) * int(self.current.read_text()) / 1e6
        except (OSError, ValueError):
            return None


@dataclass(frozen=True)
class Ina3221:
    """The power monitors of a Jetson."""

    rails: tuple[Rail, ...]
    source: str = "INA3221"

    @property
    def covers(self) -> str:
        """The rails that make up the total."""
        total = self._total_rails()
        return f"the module ({' + '.join(total)})" if total else "single rails only; their sum is not the module"

    def read(self) -> dict[str, float]:
        """Watts by label."""
        watts = {rail.label: value for rail in self.rails if (value := rail.watts()) is not None}
        total = self._total_rails()
        if total and all(label in watts for label in total):
            watts["total"] = sum(watts[label] for label in total)
        return watts

    def _total_rails(self) -> tuple[str, ...]:
        labels = {rail.label for rail in self.rails}
        return next((total for total in TOTALS if labels.issuperset(total)), ())


class Nvml:
    """An NVIDIA board through its driver; the package ``nvidia-ml-py`` is loaded when this is made."""

    source = "NVML"
    covers = "the GPU board alone, without the host"

    def __init__(self, index: int = 0) -> None:
        import pynvml

        self._nvml = pynvml
        pynvml.nvmlInit()
        self._device = pynvml.nvmlDeviceGetHandleByIndex(index)
        pynvml.nvmlDeviceGetPowerUsage(self._device)

    def read(self) -> dict[str, float]:
        """Watts the board draws."""
        return {"total": self._nvml.nvmlDeviceGetPowerUsage(self._device) / 1e3}


def find_rails(root: Path = Path("/")) -> tuple[Rail, ...]:
    """Every labelled INA3221 channel under ``root``."""
    rails = []
    for monitor in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        try:
            if (monitor / "name").read_text().strip() != "ina3221":
                continue
        except OSError:
            continue
        for channel in CHANNELS:
            label, current = monitor / f"in{channel}_label", monitor / f"curr{channel}_input"
            if label.is_file() and current.is_file():
                rails.append(Rail(label.read_text().strip(), monitor / f"in{channel}_input", current))
    return tuple(rails)


def find_meter(root: Path = Path("/")) -> tuple[PowerMeter | None, str]:
    """The machine's power meter, or None and the reason."""
    rails = find_rails(root)
    if rails:
        return Ina3221(rails), ""
    try:
        return Nvml(), ""
    except ImportError:
        return None, "no INA3221 monitor under /sys/class/hwmon, and nvidia-ml-py is not installed"
    except Exception as error:  # NVML has no common base that can be named without it
        return None, f"no INA3221 monitor under /sys/class/hwmon, and NVML says: {error}"


@dataclass
class PowerLog:
    """Readings over time while it is entered; a thread reads every ``interval`` seconds."""

    meter: PowerMeter
    interval: float = INTERVAL_SECONDS
    clock: Callable[[], float] = time.monotonic
    readings: list[tuple[float, dict[str, float]]] = field(default_factory=list)

    def __enter__(self) -> PowerLog:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="power", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while True:
            self._read()
            if self._stop.wait(self.interval):
                self._read()
                return

    def _read(self) -> None:
        try:
            watts = self.meter.read()
        except Exception:  # whatever the driver raises: a meter that fails has read nothing
            watts = {}
        self.readings.append((self.clock(), watts))


def mean_watts(readings: Sequence[tuple[float, dict[str, float]]], begin: float, end: float) -> dict[str, float]:
    """Mean power by rail between two moments (trapezoids; the readings nearest outside count at the edges).

    A rail that was not read from beginning to end is left out: what it did when nobody looked is not known.

    >>> mean_watts([(0.0, {"total": 4.0}), (1.0, {"total": 6.0}), (2.0, {"total": 6.0})], 0.0, 2.0)
    {'total': 5.5}
    """
    import numpy as np

    times = np.array([moment for moment, _ in readings])
    names = sorted({name for _, watts in readings for name in watts})
    inside = times[(times > begin) & (times < end)]
    grid = np.concatenate([[begin], inside, [end]])
    mean: dict[str, float] = {}
    for name in names:
        values = np.array([watts.get(name, np.nan) for _, watts in readings])
        known = ~np.isnan(values)
        if not _covers(times[known], begin, end):
            continue
        curve = np.interp(grid, times[known], values[known])
        area = float(((curve[1:] + curve[:-1]) / 2 * np.diff(grid)).sum())
        mean[name] = round(area / (end - begin), 4) if end > begin else float(curve[0])
    return mean


def _covers(times: Any, begin: float, end: float) -> bool:
    """Whether a rail's readings reach over a stretch of time, give or take a tenth of it or a few readings."""
    slack = max((end - begin) / 10, 5 * INTERVAL_SECONDS)
    return bool(times.min() <= begin + slack and times.max() >= end - slack)


def energy_summary(
    meter: PowerMeter, watts: dict[str, float], idle: dict[str, float], seconds: float, frames: int
) -> dict[str, Any]:
    """Power and energy of a stretch of work: joules per frame need a rail that is the whole, read all the while."""
    total = watts.get("total")
    if not watts:
        why = f"{meter.source} gave no reading during all of the work"
    elif total is None:
        why = f"no total ({meter.covers})"
    else:
        why = "no frame was counted"
    figures = {
        "source": meter.source,
        "covers": meter.covers,
        "watts": watts,
        "idle_watts": idle,
        "joules_per_frame": None if total is None or not frames else round(total * seconds / frames, 6),
    }
    return explained(figures, {}, otherwise=why)
