"""The table's columns: one list for the page, the CSV and the Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from edgedet.bench.measured_parts import ColdStart, Memory
from edgedet.budget_limits import LIMITS
from edgedet.evaluate.application_result import BY_IMAGE
from edgedet.missing_figures import NotMeasured
from edgedet.report.collect import Row

Figure = str | float | int | None


@dataclass(frozen=True)
class Column:
    """``key``: of the CSV. ``title``: with the unit, for people. ``value``: None where it was not measured."""

    key: str
    title: str
    value: Callable[[Row], Figure]
    form: str = ""
    """Format of numbers; empty for text."""
    missing: Callable[[Row], str] | None = lambda row: "not part of the files given"
    """Why there is no figure; None where there need not be one (a one-stage detector has no proposals)."""
    kind: str = ""
    """What it is a figure of, where several columns are missing for one reason; the title where empty."""
    optional: bool = False
    """Whether it is left out where no row has it, and nothing is said of it."""

    def text(self, row: Row) -> str:
        """The figure for people; empty where it was not measured."""
        value = self.value(row)
        if value is None:
            return ""
        return "never" if value == math.inf else format(value, self.form)


def _latency(percentile: str) -> Column:
    return Column(
        f"{percentile}_ms",
        f"{percentile} ms",
        lambda row: row.latency(percentile),
        ".2f",
        lambda row: row.why_missing("latency", percentile),
        "latency",
    )


def _accuracy(key: Literal["map", "ap50"], title: str) -> Column:
    return Column(
        key,
        title,
        lambda row: row.accuracy.map if key == "map" else row.accuracy.ap50,
        ".3f",
        lambda row: row.why_missing("accuracy", key),
        "accuracy",
    )


def _application(key: str, title: str, form: str) -> Column:
    return Column(
        _KEYS.get(key, key),
        title,
        lambda row: row.accuracy.figure(key).value,
        form,
        lambda row: row.accuracy.figure(key).reason,
        "misses and false alarms" if key in BY_IMAGE else "figures by hour of video",
        optional=True,
    )


_KEYS = {
    "missed_objects": "missed_objects_per_image",
    "false_boxes": "false_boxes_per_image",
    "delay_p50": "delay_p50_s",
    "delay_p90": "delay_p90_s",
}
"""Keys of the CSV, with the unit."""


def _alarms_by(row: Row) -> Figure:
    return None if row.accuracy.application is None else row.accuracy.application.by


def _cold(row: Row) -> ColdStart | NotMeasured | None:
    return None if row.artifact is None else row.artifact.cold


def _cold_total(row: Row) -> Figure:
    cold = _cold(row)
    return float(cold.total) if isinstance(cold, ColdStart) else None


def _bytes(row: Row, key: Literal["peak_rss", "device"]) -> int | NotMeasured | None:
    memory = None if row.artifact is None else row.artifact.memory
    if not isinstance(memory, Memory):
        return memory
    return memory.peak_rss if key == "peak_rss" else memory.device


def _memory(key: str, title: str, of: Literal["peak_rss", "device"], kind: str) -> Column:
    def value(row: Row) -> Figure:
        count = _bytes(row, of)
        return None if count is None or isinstance(count, NotMeasured) else float(count) / 2**20

    return Column(key, title, value, ".0f", lambda row: _why(row, _bytes(row, of)), kind)


def _why(row: Row, found: object) -> str:
    """Why the benchmark has no figure; ``found``: what it has in its place."""
    if isinstance(found, NotMeasured):
        return found.reason
    return "the benchmark does not tell" if row.artifact else row.why_missing("latency")


def _joules(row: Row) -> Figure:
    joules = None if row.energy is None else row.energy.joules_per_frame
    return None if joules is None else float(joules) * 1e3


COLUMNS: tuple[Column, ...] = (
    Column("name", "artifact", lambda row: row.name),
    _accuracy("map", "mAP"),
    _accuracy("ap50", "AP50"),
    *(_application(limit.key, limit.title, limit.form) for limit in LIMITS[:-1]),
    _application("delay_p50", "delay p50 s", ".2f"),
    _application("delay_p90", "delay p90 s", ".2f"),
    Column("alarms_by", "alarms by", _alarms_by, missing=None),
    _latency("p50"),
    _latency("p90"),
    _latency("p95"),
    _latency("p99"),
    _latency("max"),
    Column(
        "jitter_ms",
        "jitter ms",
        lambda row: row.latency("jitter"),
        ".2f",
        lambda row: row.why_missing("latency", "jitter"),
        "latency",
    ),
    Column("size", "input", lambda row: None if row.size is None else f"{row.size[0]}×{row.size[1]}"),
    Column(
        "precision",
        "precision",
        lambda row: f"{row.precision}, left in float" if row.left_in_float else row.precision,
    ),
    Column("proposals", "proposals", lambda row: row.setting.get("proposals"), "d", None),
    Column("conf", "conf", lambda row: row.setting.get("conf"), "g", None),
    Column(
        "cold_ms",
        "cold start ms",
        _cold_total,
        ".0f",
        lambda row: _why(row, _cold(row)),
        "cold start",
    ),
    _memory("rss_mib", "host MiB", "peak_rss", "host memory"),
    _memory("device_mib", "device MiB", "device", "device memory"),
    Column("watts", "W", lambda row: row.watts, ".2f", lambda row: row.why_missing("watts"), "power"),
    Column("millijoules", "mJ/frame", _joules, ".1f", lambda row: row.why_missing("watts"), "power"),
    Column("file_mb", "file MB", lambda row: None if row.bytes is None else row.bytes / 1e6, ".1f"),
    Column("architecture", "architecture", lambda row: row.architecture),
)


def shown_columns(rows: list[Row]) -> list[Column]:
    """Columns that say something: an axis that was not swept is left out, a figure that is missing is not."""
    return [
        column
        for column in COLUMNS
        if (column.missing and not column.optional) or any(column.value(row) is not None for row in rows)
    ]


def missing_figures(rows: Sequence[Row], columns: Sequence[Column]) -> dict[str, list[str]]:
    """What is not in the table and why, as text, and the names of the rows that lack it."""
    found: dict[str, list[str]] = {}
    for row in rows:
        lacking = [column for column in columns if column.missing is not None and column.value(row) is None]
        texts = [f"{column.kind or column.title}: {column.missing(row)}" for column in lacking if column.missing]
        for text in dict.fromkeys(texts):
            found.setdefault(text, []).append(row.name)
    return found
