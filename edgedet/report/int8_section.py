"""The page's part on int8: what every layer cost alone, what was given back, and what judged it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from edgedet.report.collect import Row

SENSITIVE_LAYERS = 12


def sensitivity(rows: Sequence[Row]) -> str:
    """What int8 was worth layer by layer: agreement lost alone, and what was given back and why."""
    parts: list[str] = []
    for row in rows:
        report = row.measured.get("int8")
        if not isinstance(report, dict):
            continue
        kept: dict[str, str] = report.get("kept_float") or {}
        body = _loss_bars(report.get("losses") or {}, (report.get("absent") or {}).get("losses"))
        body += _kept_list(kept)
        state = "" if parts else " open"
        summary = escape(f"{row.name}: {_int8_summary(row, report)}")
        parts.append(f"<details{state}><summary>{summary}</summary>{body}</details>")
    cardless = [row.name for row in rows if row.precision == "int8" and "int8" not in row.measured]
    if cardless:
        parts.append(
            f"<p>Not among the files for {escape(', '.join(cardless))}: what was measured at its export is on its "
            "card (edgedet inspect), which only a sweep's results carry.</p>"
        )
    return "".join(parts) or "<p>Not measured: none of the artifacts is int8.</p>"


def _int8_summary(row: Row, report: dict[str, Any]) -> str:
    share = report.get("macs_int8")
    layers = f"{report.get('layers_int8', '?')} of {report.get('layers', '?')} layers in int8"
    if row.left_in_float:
        layers += ", all was left in float"
    elif share is not None:
        layers += f", {share:.0%} of the multiply-adds"
    before, after = report.get("before"), report.get("after")
    judge = f"judged by {report.get('judge', 'nobody')}"
    if before is not None and after is not None:
        judge += f" at export ({before:.3f} in fp32, {after:.3f} so)"
    elif reason := (report.get("absent") or {}).get("before"):
        judge = f"not judged: {reason}"
    return f"{layers}; calibrated on {report.get('images', '?')} images; {judge}"


def _loss_bars(losses: dict[str, float | None], reason: str | None) -> str:
    known = [(name, loss) for name, loss in losses.items() if loss is not None]
    if not known:
        return f"<p><small>Not measured layer by layer: {escape(reason)}.</small></p>" if reason else ""
    worst = sorted(known, key=lambda entry: -entry[1])[:SENSITIVE_LAYERS]
    most = max(loss for _, loss in worst) or 1.0
    bars = "".join(
        f'<span class="name">{escape(name)}</span><span class="bar">'
        f'<span class="c1" style="width:{100 * max(0.0, loss) / most:.2f}%"></span></span>'
        f'<span class="value">{loss:.2%}</span>'
        for name, loss in worst
    )
    return f'<p><small>Agreement lost by each alone, worst first</small></p><div class="bars">{bars}</div>'


def _kept_list(kept: dict[str, str]) -> str:
    if not kept:
        return "<p><small>Nothing was given back.</small></p>"
    reasons: dict[str, list[str]] = {}
    for name, reason in kept.items():
        reasons.setdefault(reason, []).append(name)
    entries = "".join(
        f"<li>{escape(reason)}: {len(names)} ({escape(', '.join(names[:4]))}{', …' if len(names) > 4 else ''})</li>"
        for reason, names in sorted(reasons.items(), key=lambda entry: -len(entry[1]))
    )
    return f"<details><summary>{len(kept)} kept in float</summary><ul>{entries}</ul></details>"
