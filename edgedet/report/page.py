"""The report as one page: plot, tables and pictures, nothing fetched."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Sequence
from html import escape
from typing import Any

from edgedet import __version__
from edgedet.report import sections
from edgedet.report.choose import Choice
from edgedet.report.collect import Collection, Row
from edgedet.report.html_document import html_document
from edgedet.report.int8_section import sensitivity
from edgedet.report.plot import NARROW, pareto_svg


def html_page(collection: Collection, choice: Choice, *, title: str, command: Sequence[str]) -> str:
    """The whole page. ``command``: what made it, shown under "how to reproduce"."""
    rows = collection.rows
    disturbed = [row.name for row in rows if row.disturbed]
    warning = ""
    if disturbed:
        warning = (
            f"<p>Other processes were busy while {len(disturbed)} of {len(rows)} were measured: their tails are "
            "the machine's as much as their own.</p>"
        )
    body = f"""<p class="soft">{len(rows)} artifacts, {len(collection.failures)} failed; edgedet {__version__},
{datetime.date.today().isoformat()}</p>
{sections.choice_box(choice)}
<h2>Accuracy against latency</h2>
{pareto_svg(rows, choice.budget, choice.chosen)}
{pareto_svg(rows, choice.budget, choice.chosen, width=NARROW)}
{sections.legend(rows)}
{sections.frontier(rows, choice)}
{warning}
<h2>All figures</h2>
{sections.table(rows, choice)}
<p><small>n/m: not measured; point at it for the reason, or see below. A column's head sorts by it.</small></p>
<h2>Where the time goes</h2>
{sections.stage_bars(rows) or "<p>Not measured: no benchmark is among the files.</p>"}
<h2>What precision costs</h2>
{sections.precision_drops(rows)}
<h2>Sensitivity to int8</h2>
{sensitivity(rows)}
<h2>Worst images</h2>
{sections.worst_images(_shown_worst(collection, choice))}
<h2>Not measured</h2>
{sections.not_measured(collection)}
<h2>How to reproduce</h2>
{"".join(sections.machines(rows))}
<pre>{escape(_commands(rows, command))}</pre>"""
    return html_document(title, body)


def _shown_worst(collection: Collection, choice: Choice) -> Row | None:
    """The choice, else the most accurate row that has pictures."""
    if choice.chosen is not None and choice.chosen.accuracy.worst:
        return choice.chosen
    drawn = [row for row in collection.rows if row.accuracy.worst]
    return max(drawn, key=lambda row: row.map or 0.0, default=None)


def _commands(rows: Sequence[Row], command: Sequence[str]) -> str:
    lines = []
    for row in rows:
        if row.artifact is not None and row.run is not None and not row.setting:
            frames = row.run.frames.source if row.run.frames.kind != "synthetic" else None
            words = ["edgedet", "bench", row.artifact.path, *(["--frames", frames] if frames else [])]
            lines.append(f"{shlex.join(words)}   # sha256 {row.sha256[:16]}")
    jobs: dict[str, list[Row]] = {}
    for row in rows:
        if row.setting:
            jobs.setdefault(repr(row.setting["job"]), []).append(row)
    lines += [shlex.join(_sweep_command(group)) for group in jobs.values()]
    lines.append(shlex.join(command))
    return "\n".join(lines)


def _sweep_command(rows: Sequence[Row]) -> list[str]:
    """The grid that these rows are cells of."""
    settings = [row.setting for row in rows]
    job = settings[0]["job"]

    def values(name: str) -> list[str]:
        found = sorted({_value(setting[name]) for setting in settings if setting[name] is not None}, key=_by_size)
        return [f"--{name}", ",".join(found)] if found else []

    words = ["edgedet", "sweep", *_sources(settings, "trained")]
    words += [word for name in ("imgsz", "proposals", "precision", "conf") for word in values(name)]
    for name in ("eval", "calib", "guard", "frames", "arch", "threads"):
        if job[name] is not None:
            words += [f"--{name}", str(job[name])]
    for name, joint in (("classes", ","), ("frame_size", "x")):
        if job[name] is not None:
            words += [f"--{name.replace('_', '-')}", joint.join(map(str, job[name]))]
    untrained = _sources(settings, "untrained")
    return words + ["-o", "sweep/"] + (["--untrained", *untrained] if untrained else [])


def _by_size(text: str) -> tuple[int, str]:
    """Numbers in their order: 4 before 50 before 150."""
    return len(text), text


def _sources(settings: Sequence[dict[str, Any]], weights: str) -> list[str]:
    return list(dict.fromkeys(setting["source"] for setting in settings if setting["weights"] == weights))


def _value(value: Any) -> str:
    return (
        "x".join(map(str, value))
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
