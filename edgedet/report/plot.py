"""Accuracy against latency as inline SVG: follows the page's colours, needs no script and no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from edgedet.report.choose import Budget, pareto_front
from edgedet.report.collect import Row

HEIGHT = 420
WIDE, NARROW = 720, 380
"""Widths of the drawing on a desk and on a phone; letters must stay legible on both."""
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 24, 84
"""Room for the axes, and at the foot for rows whose accuracy was not measured."""
UNMEASURED = HEIGHT - BOTTOM + 44
"""Height of the strip."""

SHAPES = {"fp32": "circle", "fp16": "square", "int8": "diamond"}


def colour_classes(rows: Sequence[Row]) -> dict[str, str]:
    """Architecture to the CSS class of its colour, in the order of appearance; eight, then they repeat."""
    names = dict.fromkeys(row.architecture for row in rows)
    return {name: f"c{index % 8}" for index, name in enumerate(names)}


def pareto_svg(rows: Sequence[Row], budget: Budget, chosen: Row | None, *, width: int = WIDE) -> str:
    """The plot; rows without latency are left out of it."""
    percentile = budget.percentile
    timed = [row for row in rows if row.latency(percentile) is not None]
    if not timed:
        reasons = "; ".join(dict.fromkeys(row.why_missing("latency", percentile) for row in rows))
        return f"<p>No {percentile} latency was measured: {escape(reasons)}.</p>"
    scale = _Scale(timed, budget, width)
    parts = [
        f'<svg class="plot {"wide" if width == WIDE else "narrow"}" viewBox="0 0 {width} {HEIGHT}" role="img" '
        f'aria-label="Accuracy against latency, {len(timed)} artifacts">'
    ]
    parts += scale.axes()
    front = pareto_front(timed, percentile)
    parts += _front(front, scale)
    if budget.milliseconds is not None:
        x = scale.x(budget.milliseconds)
        parts.append(f'<line class="budget" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}"/>')
        side = "end" if x > width / 2 else "start"
        shift = -6 if side == "end" else 6
        parts.append(
            f'<text class="budget" x="{x + shift:.1f}" y="{TOP + 12}" text-anchor="{side}">'
            f"budget {budget.milliseconds:g} ms</text>"
        )
    colours = colour_classes(rows)
    missing = [row for row in timed if row.map is None]
    if missing:
        y = UNMEASURED
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4}" text-anchor="end">no mAP</text>')
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y}" x2="{width - RIGHT}" y2="{y}"/>')
    for row in timed:
        colour = colours[row.architecture]
        parts.append(_point(row, scale.place(row), colour, scale, is_chosen=row is chosen))
    parts += _numbers(front, scale)
    parts.append("</svg>")
    return "".join(parts)


class _Scale:
    """From milliseconds and mAP to the drawing's units; latency is logarithmic where it spans much."""

    def __init__(self, rows: Sequence[Row], budget: Budget, width: int) -> None:
        self.width = width
        self.percentile = budget.percentile
        times = [row.latency(budget.percentile) or 0.0 for row in rows]
        times += [budget.milliseconds] if budget.milliseconds is not None else []
        self.logarithmic = max(times) > 8 * max(min(times), 1e-6)
        if self.logarithmic:
            self.low, self.high = math.log10(min(times) * 0.8), math.log10(max(times) * 1.25)
        else:
            self.low, self.high = 0.0, max(times) * 1.1
        scores = [row.map for row in rows if row.map is not None]
        top = max(scores, default=1.0)
        bottom = min(scores, default=0.0)
        step = _nice((top - bottom or top or 1.0) / 4)
        self.bottom = max(0.0, math.floor(bottom / step - 0.5) * step)
        self.top = min(1.0, math.ceil(top / step + 0.25) * step)
        self.step = step

    def x(self, milliseconds: float) -> float:
        value = math.log10(max(milliseconds, 1e-6)) if self.logarithmic else milliseconds
        return LEFT + (value - self.low) / (self.high - self.low) * (self.width - LEFT - RIGHT)

    def y(self, score: float) -> float:
        return TOP + (self.top - score) / (self.top - self.bottom) * (HEIGHT - TOP - BOTTOM)

    def place(self, row: Row) -> tuple[float, float]:
        """Place of a row on the drawing; without accuracy, on the strip at the foot."""
        return self.x(row.latency(self.percentile) or 0.0), UNMEASURED if row.map is None else self.y(row.map)

    def axes(self) -> list[str]:
        parts = []
        score = self.bottom
        while score <= self.top + 1e-9:
            y = self.y(score)
            parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{self.width - RIGHT}" y2="{y:.1f}"/>')
            parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{score:.2f}</text>')
            score += self.step
        foot = HEIGHT - BOTTOM
        for value in self.ticks():
            x = self.x(value)
            parts.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{foot}"/>')
            parts.append(f'<text class="tick" x="{x:.1f}" y="{foot + 18}" text-anchor="middle">{value:g}</text>')
        kind = ", logarithmic" if self.logarithmic else ""
        parts.append(
            f'<text class="axis" x="{(LEFT + self.width - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
            f"{self.percentile} latency, frame to detections (ms{kind})</text>"
        )
        middle = (TOP + foot) / 2
        parts.append(
            f'<text class="axis" transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">mAP</text>'
        )
        return parts

    def ticks(self) -> list[float]:
        if not self.logarithmic:
            step = _nice(self.high / 6)
            return [step * index for index in range(int(self.high / step) + 1)]
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        values = [lead * 10.0**decade for decade in decades for lead in (1, 2, 5)]
        return [value for value in values if self.low <= math.log10(value) <= self.high]


def _nice(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(lead * power for lead in (1, 2, 5, 10) if lead * power >= value * (1 - 1e-9))


def _front(front: Sequence[Row], scale: _Scale) -> list[str]:
    # A step, not a slope: nothing lies between two artifacts.
    places = [scale.place(row) for row in front]
    if not places:
        return []
    path = f"M{places[0][0]:.1f} {places[0][1]:.1f}"
    for x, y in places[1:]:
        path += f"H{x:.1f}V{y:.1f}"
    return [f'<path class="front" d="{path}H{scale.width - RIGHT}"/>']


def _point(row: Row, place: tuple[float, float], colour: str, scale: _Scale, *, is_chosen: bool) -> str:
    x, y = place
    score = "not measured" if row.map is None else f"{row.map:.3f}"
    title = f"{row.name}: mAP {score}, {scale.percentile} {row.latency(scale.percentile) or 0.0:.2f} ms"
    shape = {
        "square": f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>',
        "diamond": f'<path d="M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z"/>',
    }.get(SHAPES.get(row.precision, ""), f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5"/>')
    ring = f'<circle class="chosen" cx="{x:.1f}" cy="{y:.1f}" r="11"/>' if is_chosen else ""
    return f'<g class="point {colour}"><title>{escape(title)}</title>{shape}{ring}</g>'


def _numbers(front: Sequence[Row], scale: _Scale) -> list[str]:
    """The frontier's rows carry numbers: names would not fit on a phone, and the list below has them."""
    places = [scale.place(row) for row in front]
    return [
        f'<text class="label" x="{x:.1f}" y="{y - 14:.1f}" text-anchor="middle">{number}</text>'
        for number, (x, y) in enumerate(places, 1)
    ]
