"""The table as CSV for spreadsheets and as Markdown for repositories."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from edgedet.report.choose import Choice, pareto_front
from edgedet.report.collect import Collection, Row
from edgedet.report.columns import COLUMNS, missing_figures, shown_columns

MARKDOWN_COLUMNS = (
    "name",
    "size",
    "precision",
    "proposals",
    "map",
    "ap50",
    "misses",
    "false_alarms",
    "false_alarms_per_hour",
    "delay_p90_s",
    "p50_ms",
    "p90_ms",
    "p95_ms",
    "file_mb",
)


def csv_text(rows: Sequence[Row]) -> str:
    """Every column, full precision; what was not measured is an empty field."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*(column.key for column in COLUMNS), "not_measured"])
    for row in rows:
        values = [column.value(row) for column in COLUMNS]
        reasons = [
            f"{column.key}: {column.missing(row)}"
            for column, value in zip(COLUMNS, values, strict=True)
            if value is None and column.missing is not None
        ]
        writer.writerow([*("" if value is None else value for value in values), "; ".join(reasons)])
    return stream.getvalue()


def markdown_text(collection: Collection, choice: Choice) -> str:
    """Choice, table and failures; rows on the frontier are bold."""
    rows = list(collection.rows)
    front = {row.name for row in pareto_front(rows, choice.budget.percentile)}
    columns = [column for column in shown_columns(rows) if column.key in MARKDOWN_COLUMNS]
    lines = [choice.why, ""]
    lines.append("| " + " | ".join(column.title for column in columns) + " |")
    lines.append("|" + "|".join("---" if column.form == "" else "---:" for column in columns) + "|")
    for row in rows:
        cells = [
            column.text(row).replace("|", "\\|") or ("not measured" if column.missing else "–")
            for column in columns
        ]
        if row.name in front:
            cells[0] = f"**{cells[0]}**"
        lines.append("| " + " | ".join(cells) + " |")
    reasons = missing_figures(rows, [*columns, *(column for column in COLUMNS if column.key == "watts")])
    lines += ["", "Bold: no other row is both faster and more accurate.", ""]
    if reasons:
        lines += ["Not measured:", "", *(f"- {reason}" for reason in reasons), ""]
    if collection.failures:
        lines += ["Failed:", "", *(f"- {failure.name}: {failure.reason}" for failure in collection.failures), ""]
    return "\n".join(lines)
