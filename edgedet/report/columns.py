"""The table's columns: one list for the page, the CSV and the Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgedet.bench.result import reason_missing
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

    def text(self, row: Row) -> str:
        """The figure for people; empty where it was not measured."""
        value = self.value(row)
        return "" if value is None else format(value, self.form)


def _latency(percentile: str) -> Column:
    return Column(
        f"{percentile}_ms",
        f"{percentile} ms",
        lambda row: row.latency(percentile),
        ".2f",
        lambda row: row.why_missing("latency", percentile),
        "latency",
    )


def _accuracy(key: str, title: str) -> Column:
    return Column(
        key,
        title,
        lambda row: row.accuracy.get(key),
        ".3f",
        lambda row: row.why_missing("accuracy", key),
        "accuracy",
    )


def _part(section: str, key: str) -> Any:
    def value(row: Row) -> Any:
        return row.artifact.get(section, {}).get(key)

    return value


def _number(value: Any) -> float | None:
    return None if value is None or isinstance(value, dict) else float(value)


def _mebibytes(section: str, key: str) -> Callable[[Row], Figure]:
    def value(row: Row) -> Figure:
        count = _number(_part(section, key)(row))
        return None if count is None else count / 2**20

    return value


def _why(section: str, key: str | None = None) -> Callable[[Row], str]:
    def reason(row: Row) -> str:
        whole = row.artifact.get(section)
        part = whole.get(key) if isinstance(whole, dict) and key is not None else None
        said = reason_missing(whole) or reason_missing(part)
        return said or ("the benchmark does not tell" if row.artifact else row.why_missing("latency"))

    return reason


def _joules(row: Row) -> Figure:
    joules = _number(_part("energy", "joules_per_frame")(row))
    return None if joules is None else joules * 1e3


COLUMNS: tuple[Column, ...] = (
    Column("name", "artifact", lambda row: row.name),
    _accuracy("map", "mAP"),
    _accuracy("ap50", "AP50"),
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
        lambda row: _number(_part("cold", "total")(row)),
        ".0f",
        _why("cold"),
        "cold start",
    ),
    Column(
        "rss_mib", "host MiB", _mebibytes("memory", "peak_rss"), ".0f", _why("memory", "peak_rss"), "host memory"
    ),
    Column(
        "device_mib", "device MiB", _mebibytes("memory", "device"), ".0f", _why("memory", "device"), "device memory"
    ),
    Column("watts", "W", lambda row: row.watts, ".2f", lambda row: row.why_missing("watts"), "power"),
    Column("millijoules", "mJ/frame", _joules, ".1f", lambda row: row.why_missing("watts"), "power"),
    Column("file_mb", "file MB", lambda row: None if row.bytes is None else row.bytes / 1e6, ".1f"),
    Column("architecture", "architecture", lambda row: row.architecture),
)


def shown_columns(rows: list[Row]) -> list[Column]:
    """Columns that say something: an axis that was not swept is left out, a figure that is missing is not."""
    return [column for column in COLUMNS if column.missing or any(column.value(row) is not None for row in rows)]


def missing_figures(rows: Sequence[Row], columns: Sequence[Column]) -> dict[str, list[str]]:
    """What is not in the table and why, as text, and the names of the rows that lack it."""
    found: dict[str, list[str]] = {}
    for row in rows:
        lacking = [column for column in columns if column.missing is not None and column.value(row) is None]
        texts = [f"{column.kind or column.title}: {column.missing(row)}" for column in lacking if column.missing]
        for text in dict.fromkeys(texts):
            found.setdefault(text, []).append(row.name)
    return found
