"""The Pareto plot as PNG, for documents that take no HTML (matplotlib, from the extra ``report``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgedet.errors import MissingDependencyError
from edgedet.files import atomic_path
from edgedet.report.choose import Budget, pareto_front
from edgedet.report.collect import Row

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b58900", "#56b4e9", "#666666", "#882255")
MARKERS = {"fp32": "o", "fp16": "s", "int8": "D"}


def write_png(rows: Sequence[Row], budget: Budget, path: str | Path) -> None:
    """Draw accuracy against latency; rows without accuracy stand on the foot of the plot, hollow.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullFormatter
    except ImportError as error:
        raise MissingDependencyError("the PNG needs matplotlib: pip install 'edgedet[report]'") from error
    percentile = budget.percentile
    timed = [row for row in rows if row.latency(percentile) is not None]
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = list(dict.fromkeys(row.architecture for row in timed))
    scores = [row.map for row in timed if row.map is not None]
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    foot = max(0.0, low - 0.12 * (high - low or 0.1))
    drawn: set[tuple[str, str]] = set()
    for row in timed:
        kind = (row.architecture, row.precision)
        colour = COLOURS[names.index(row.architecture) % len(COLOURS)]
        axes.plot(
            row.latency(percentile) or 0.0,
            foot if row.map is None else row.map,
            MARKERS.get(row.precision, "o"),
            color=colour,
            markerfacecolor="none" if row.map is None else colour,
            label=None if kind in drawn else f"{row.architecture}, {row.precision}",
        )
        drawn.add(kind)
    front = pareto_front(timed, percentile)
    if front:
        axes.step(
            [row.latency(percentile) or 0.0 for row in front],
            [row.map or 0.0 for row in front],
            where="post",
            color="0.4",
            linewidth=1,
            zorder=0,
        )
    times = [row.latency(percentile) or 0.0 for row in timed]
    if times and max(times) > 8 * min(times):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    if budget.milliseconds is not None:
        axes.axvline(
            budget.milliseconds, color="#b3261e", linestyle="--", label=f"budget {budget.milliseconds:g} ms"
        )
    axes.set_xlabel(f"{percentile} latency, frame to detections (ms)")
    axes.set_ylabel("mAP (hollow: accuracy not measured)" if len(scores) < len(timed) else "mAP")
    axes.grid(alpha=0.3)
    if not timed:
        axes.text(0.5, 0.5, f"no {percentile} latency was measured", transform=axes.transAxes, ha="center")
    if timed:
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
