"""Counters, gauges and histograms, and their text as Prometheus reads it.

The format is a few lines (https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4); a package
for it would be one more on every device.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of a histogram of seconds."""

Labels = tuple[tuple[str, str], ...]


@dataclass
class _Histogram:
    counts: list[int]
    total: float = 0.0


@dataclass
class Metric:
    """One family: its name without suffix, what it means, and a value for each set of labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    buckets: Sequence[float] = SECONDS
    values: dict[Labels, float] = field(default_factory=dict)
    histograms: dict[Labels, _Histogram] = field(default_factory=dict)


class Metrics:
    """Families by name. Every method may be called from any thread.

    >>> metrics = Metrics()
    >>> metrics.declare("frames_total", "counter", "Frames.")
    >>> metrics.add("frames_total", 2, source="camera 0")
    >>> print(metrics.text().splitlines()[-1])
    frames_total{source="camera 0"} 2
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._families: dict[str, Metric] = {}

    def declare(self, name: str, kind: Literal["counter", "gauge", "histogram"], meaning: str) -> None:
        """A family that will have values."""
        self._families[name] = Metric(name, kind, meaning)

    def add(self, name: str, value: float = 1, /, **labels: str) -> None:
        """Count ``value`` more."""
        with self._lock:
            values = self._families[name].values
            key = _key(labels)
            values[key] = values.get(key, 0) + value

    def put(self, name: str, value: float, /, **labels: str) -> None:
        """It is ``value`` now."""
        with self._lock:
            self._families[name].values[_key(labels)] = value

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """One more value of a histogram."""
        with self._lock:
            family = self._families[name]
            histogram = family.histograms.setdefault(_key(labels), _Histogram([0] * (len(family.buckets) + 1)))
            histogram.counts[bisect.bisect_left(family.buckets, value)] += 1
            histogram.total += value

    def current(self) -> list[tuple[str, str, str, dict[Labels, float]]]:
        """Name, kind, meaning and values of every counter and gauge."""
        with self._lock:
            return [
                (one.name, one.kind, one.meaning, dict(one.values))
                for one in self._families.values()
                if one.kind != "histogram"
            ]

    def text(self) -> str:
        """All of them, as Prometheus reads it."""
        with self._lock:
            lines = []
            for family in self._families.values():
                if not family.values and not family.histograms:
                    continue
                lines += [f"# HELP {family.name} {family.meaning}", f"# TYPE {family.name} {family.kind}"]
                lines += [f"{family.name}{_shown(key)} {_number(value)}" for key, value in family.values.items()]
                for key, histogram in family.histograms.items():
                    below = 0
                    for bound, count in zip([*family.buckets, None], histogram.counts, strict=True):
                        below += count
                        bucket = (*key, ("le", "+Inf" if bound is None else _number(bound)))
                        lines.append(f"{family.name}_bucket{_shown(bucket)} {below}")
                    lines.append(f"{family.name}_sum{_shown(key)} {_number(histogram.total)}")
                    lines.append(f"{family.name}_count{_shown(key)} {below}")
            return "\n".join(lines) + "\n"


def _key(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _shown(labels: Labels) -> str:
    escaped = [
        f'{name}="{value}"'.replace("\n", r"\n")
        for name, value in ((name, value.replace("\\", r"\\").replace('"', r"\"")) for name, value in labels)
    ]
    return "{" + ",".join(escaped) + "}" if escaped else ""


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
