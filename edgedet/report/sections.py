"""Parts of the page, each a function from rows to HTML. Everything that comes from files is escaped."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from edgedet.bench.measured_latency import Stages
from edgedet.bench.measured_parts import BenchResult
from edgedet.evaluate.result import DrawnImage
from edgedet.missing_figures import NotMeasured
from edgedet.report.choose import Choice, pareto_front
from edgedet.report.collect import Collection, Row
from edgedet.report.columns import missing_figures, shown_columns
from edgedet.report.plot import SHAPES, colour_classes

STAGES = (("pre", "frame to tensor", "c5"), ("run", "network", "c0"), ("post", "outputs to detections", "c1"),
          ("between", "in between", "c6"))  # fmt: skip

WORST_IMAGES = 6


def choice_box(choice: Choice) -> str:
    """What to take, the runner-up, and why."""
    kind = "choice" if choice.chosen or not choice.budget.given else "choice none"
    title = (
        choice.chosen.name if choice.chosen else ("No budget given" if not choice.budget.given else "Nothing fits")
    )
    left_out = ""
    if choice.left_out and choice.budget.given:
        entries = "".join(f"<li>{escape(name)}: {escape(reason)}</li>" for name, reason in choice.left_out)
        left_out = (
            f"<details><summary>{len(choice.left_out)} could not be judged: not measured is not the same as good "
            f"enough</summary><ul>{entries}</ul></details>"
        )
    return f'<div class="{kind}"><strong>{escape(title)}</strong><p>{escape(choice.why)}</p>{left_out}</div>'


def legend(rows: Sequence[Row]) -> str:
    """Colours of architectures, shapes of precisions."""
    entries = [
        f'<li><span class="swatch {colour}"></span>{escape(name)}</li>'
        for name, colour in colour_classes(rows).items()
    ]
    marks = {"circle": "●", "square": "■", "diamond": "◆"}
    present = dict.fromkeys(row.precision for row in rows)
    entries += [f"<li>{marks[SHAPES.get(name, 'circle')]} {escape(name)}</li>" for name in present]
    return f'<ul class="legend">{"".join(entries)}</ul>'


def frontier(rows: Sequence[Row], choice: Choice) -> str:
    """The plot's numbers and whose they are."""
    percentile = choice.budget.percentile
    entries = "".join(
        f"<li>{escape(row.name)}: mAP {row.map or 0.0:.3f}, {percentile} {row.latency(percentile):.1f} ms</li>"
        for row in pareto_front(rows, percentile)
    )
    if not entries:
        return ""
    return f"<p>Nothing else is both faster and more accurate than these:</p><ol>{entries}</ol>"


def table(rows: Sequence[Row], choice: Choice) -> str:
    """All figures; a missing one says why when pointed at, and below the table."""
    columns = shown_columns(list(rows))
    heads = "".join(f'<th scope="col"{_text(column.form)}>{escape(column.title)}</th>' for column in columns)
    lines = []
    for row in rows:
        cells = []
        for column in columns:
            value = column.value(row)
            if value is None and column.missing is None:
                cells.append('<td data-value="">–</td>')
            elif value is None and column.missing is not None:
                reason = escape(column.missing(row), quote=True)
                cells.append(f'<td data-value=""><span class="missing" title="{reason}">n/m</span></td>')
            else:
                cells.append(
                    f'<td{_text(column.form)} data-value="{escape(_sorted_by(value), quote=True)}">'
                    f"{escape(column.text(row))}</td>"
                )
        mark = ' class="chosen"' if row is choice.chosen else ""
        lines.append(f"<tr{mark}>{''.join(cells)}</tr>")
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="All figures"><table class="sortable">'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _sorted_by(value: object) -> str:
    """As the page's script sorts it."""
    return "Infinity" if value == math.inf else str(value)


def _text(form: str) -> str:
    return "" if form else ' class="text"'


def stage_bars(rows: Sequence[Row]) -> str:
    """Stages of a frame's time; one scale for all bars unless the slowest would leave nothing of the others."""
    timed = [(row, row.artifact.stages) for row in rows if row.artifact and row.latency("p50") is not None]
    if not timed:
        return ""
    lengths = [sum(max(0.0, getattr(stages, stage)) for stage, _, _ in STAGES) for _, stages in timed]
    shared = max(lengths) <= 8 * min(lengths)
    parts = []
    for (row, stages), length in sorted(zip(timed, lengths, strict=True), key=lambda pair: pair[1]):
        whole = (max(lengths) if shared else length) or 1.0
        spans = "".join(
            f'<span class="{colour}" style="width:{100 * max(0.0, getattr(stages, stage)) / whole:.3f}%" '
            f'title="{words}: {getattr(stages, stage):.2f} ms"></span>'
            for stage, words, colour in STAGES
        )
        parts.append(
            f'<span class="name">{escape(row.name)}</span><span class="bar">{spans}</span>'
            f'<span class="value">{row.latency("p50"):.2f} ms</span>'
        )
    entries = "".join(f'<li><span class="swatch {colour}"></span>{words}</li>' for _, words, colour in STAGES)
    scale = "" if shared else " Each bar is the whole of its own frame: the times differ too much for one scale."
    return (
        f'<ul class="legend">{entries}</ul><div class="bars">{"".join(parts)}</div>'
        f"<p><small>Medians.{scale} Reading and decoding a frame, before the latency begins: "
        f"{escape(_captures(timed))}.</small></p>"
    )


def _captures(timed: Sequence[tuple[Row, Stages]]) -> str:
    """How long frames took to read: every figure and every reason, and whose they are where they differ."""
    said: dict[str, list[str]] = {}
    for row, stages in timed:
        capture = stages.capture
        words = f"not measured, {capture.reason}" if isinstance(capture, NotMeasured) else f"{capture:.2f} ms"
        said.setdefault(words, []).append(row.name)
    if len(said) == 1:
        return next(iter(said))
    return "; ".join(f"{words} ({', '.join(names)})" for words, names in said.items())


def precision_drops(rows: Sequence[Row]) -> str:
    """What lower precision cost and bought, beside its fp32 twin."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        setting = row.setting
        key = (row.architecture, row.size, setting.get("source"), setting.get("proposals"), setting.get("conf"))
        groups.setdefault(key, []).append(row)
    lines, unpaired = [], []
    for group in groups.values():
        bases = [row for row in group if row.precision == "fp32"]
        lower = [row for row in group if row.precision != "fp32"]
        if len(bases) == 1:
            lines += [_drop_line(bases[0], row) for row in lower]
        elif bases and lower:
            unpaired.append(
                f"which of {', '.join(row.name for row in bases)} is the fp32 of "
                f"{', '.join(row.name for row in lower)} is not known"
            )
    aside = "".join(f"<p>Not measured: {escape(words)}.</p>" for words in unpaired)
    if not lines:
        return aside or "<p>Not measured: no artifact is there both in fp32 and in a lower precision.</p>"
    heads = "".join(
        f'<th scope="col"{mark}>{title}</th>'
        for title, mark in (
            ("artifact", ' class="text"'), ("mAP fp32", ""), ("mAP", ""), ("change", ""),
            ("p50 fp32 ms", ""), ("p50 ms", ""), ("times as fast", ""), ("file", ""),
        )
    )  # fmt: skip
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Cost of precision">'
        '<table class="sortable"><thead>'
        f"<tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>{aside}"
    )


def _drop_line(base: Row, row: Row) -> str:
    cells = [f'<td class="text">{escape(row.name)}</td>']
    cells += [_cell(base.map, ".3f"), _cell(row.map, ".3f")]
    change = None if base.map is None or row.map is None else row.map - base.map
    cells.append(_cell(change, "+.3f", "" if change is None or abs(change) < 0.0005 else _tone(change > 0)))
    before, after = base.latency("p50"), row.latency("p50")
    cells += [_cell(before, ".2f"), _cell(after, ".2f")]
    speed = before / after if before and after else None
    cells.append(_cell(speed, ".2f", "" if speed is None else _tone(speed >= 1)))
    cells.append(_cell(row.bytes / base.bytes if row.bytes and base.bytes else None, ".0%"))
    return f"<tr>{''.join(cells)}</tr>"


def _tone(good: bool) -> str:
    return ' class="better"' if good else ' class="worse"'


def _cell(value: float | None, form: str, tone: str = "") -> str:
    if value is None:
        return '<td data-value=""><span class="missing" title="one of the two was not measured">n/m</span></td>'
    return f'<td{tone} data-value="{value!r}">{format(value, form)}</td>'


def worst_images(row: Row | None) -> str:
    """The pictures the chosen artifact did worst on, inside the page."""
    entries = [] if row is None else row.accuracy.worst
    figures = [figure for entry in entries[:WORST_IMAGES] if (figure := _figure(entry))]
    if not figures:
        if entries:
            return f"<p>Drawn, but not found here any more: {escape(entries[0].drawn)}.</p>"
        return "<p>No drawn images are among the files (a sweep with --eval draws those with errors).</p>"
    assert row is not None
    return f'<p>{escape(row.name)}:</p><div class="gallery">{"".join(figures)}</div>'


def _figure(entry: DrawnImage) -> str:
    path = Path(entry.drawn)
    try:
        data = base64.b64encode(path.read_bytes()).decode()
    except OSError:
        return ""
    caption = escape(path.name if entry.caption is None else entry.caption)
    image = f'<img alt="{caption}" src="data:image/jpeg;base64,{data}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def not_measured(collection: Collection) -> str:
    """Everything that is missing, with its reason; failures too."""
    rows = list(collection.rows)
    grouped = missing_figures(rows, shown_columns(rows))
    for row in rows:
        for what, key in (("throttling", "throttled"), ("what other processes used", "others_cpu_share")):
            if row.run is not None and getattr(row.run.during, key) is None:
                reason = row.run.during.why_missing(key) or "this machine has no counters to tell"
                grouped.setdefault(f"{what}: {reason}", []).append(row.name)
    total = len(collection.rows)
    entries = [
        f"<li>{escape(reason)} ({'all' if len(names) == total else escape(', '.join(names))})</li>"
        for reason, names in grouped.items()
    ]
    entries += [f"<li>{escape(each.name)} failed: {escape(each.reason)}</li>" for each in collection.failures]
    return f"<ul>{''.join(entries)}</ul>" if entries else "<p>Everything in the table was measured.</p>"


def machines(rows: Sequence[Row]) -> Iterator[str]:
    """Each machine the rows were measured on, once."""
    seen: set[str] = set()
    for row in rows:
        if row.run is None or row.artifact is None:
            continue
        facts = _machine_facts(row.run, row.artifact.runtime)
        if facts not in seen:
            seen.add(facts)
            yield f'<dl class="facts">{facts}</dl>'


def _machine_facts(run: BenchResult, runtime: str) -> str:
    machine, cpu, jetson = run.machine, run.machine.cpu, run.machine.jetson
    clocks = machine.clocks
    memory = machine.memory_total
    facts = [
        (
            "processor",
            f"{cpu.model}, {cpu.cores} cores ({', '.join(cpu.features) or 'no known features'})",
        ),
        ("GPU", ", ".join(f"{gpu.name} (driver {gpu.driver})" for gpu in machine.gpus) or "none"),
        ("memory", "unknown" if memory is None else f"{memory / 2**30:.1f} GiB"),
        ("system", f"{machine.system}, {machine.kernel}"),
        ("governor", f"{clocks.governor or 'unknown'}; clocks pinned: {_yes(clocks.pinned)}"),
        ("runtime", runtime),
        ("frames", f"{run.frames.count} from {Path(run.frames.source).name}"),
    ]
    if jetson:
        facts.insert(0, ("device", f"{jetson.model}, L4T {jetson.l4t}, mode {jetson.power_mode or 'unknown'}"))
    if run.frames.note:
        facts.append(("note", run.frames.note))
    facts += [
        ("warm-up", run.rules.warmup_rule),
        ("stopping", run.rules.stopping_rule),
        ("outliers", "all kept"),
    ]
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[value]
