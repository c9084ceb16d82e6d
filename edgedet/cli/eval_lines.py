"""What ``edgedet eval`` prints for people."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgedet.evaluate.application_figures import ClipFigures
    from edgedet.evaluate.evaluation import Evaluation
    from edgedet.evaluate.intervals import Rate
    from edgedet.evaluate.working_point import WorkingPoint

LOW_ENOUGH = 0.05
"""Highest score threshold under which published average precisions are measured (torchvision's two-stage ones)."""
CLASSES_SHOWN = 25
PROBLEMS_SHOWN = 5
HINTS_SHOWN = 3
FOLDERS_SHOWN = 25
NO_GAPS = {"false_alarm_rate", "false_alarm_threshold", "clips", "alerts"}
"""Figures that are absent because nobody asked for them."""


def report_lines(evaluation: Evaluation, lowest_score: float) -> Iterator[str]:
    """The report for people; ``lowest_score``: the detector's own threshold."""
    coco = evaluation.coco
    yield evaluation.dataset
    if evaluation.problems:
        count = len(evaluation.problems)
        yield f"left out, cannot be read: {count} picture{'s' * (count != 1)}, with the objects there"
        yield from (f"  {problem.reason}" for problem in evaluation.problems[:PROBLEMS_SHOWN])
        if len(evaluation.problems) > PROBLEMS_SHOWN:
            yield f"  and {len(evaluation.problems) - PROBLEMS_SHOWN} more (--json has them all)"
    if coco.left_out:
        yield f"left out, the detector does not know them: {', '.join(coco.left_out)}"
    if evaluation.hints:
        more = f"; and {len(evaluation.hints) - HINTS_SHOWN} more classes" * (len(evaluation.hints) > HINTS_SHOWN)
        yield f"names that have changed places? {'; '.join(evaluation.hints[:HINTS_SHOWN])}{more}"
    yield ""
    yield (
        f"COCO    mAP {_figure(coco.map)}   AP50 {_figure(coco.ap50)}   AP75 {_figure(coco.ap75)}   "
        f"AR1 {_figure(coco.ar1)}   AR10 {_figure(coco.ar10)}   AR100 {_figure(coco.ar100)}"
    )
    if (masks := evaluation.masks) is not None:
        yield (
            f"masks   mAP {_figure(masks.map)}   AP50 {_figure(masks.ap50)}   AP75 {_figure(masks.ap75)}   "
            f"AR1 {_figure(masks.ar1)}   AR10 {_figure(masks.ar10)}   AR100 {_figure(masks.ar100)}"
        )
    elif evaluation.no_masks:
        yield f"masks   not judged: {evaluation.no_masks}"
    if (points := evaluation.keypoints) is not None:
        yield (
            f"points  mAP {_figure(points.map)}   AP50 {_figure(points.ap50)}   AP75 {_figure(points.ap75)}   "
            f"AR20 {_figure(points.ar20)}   medium {_figure(points.ap_medium)}   large {_figure(points.ap_large)}"
        )
    elif evaluation.no_keypoints:
        yield f"points  not judged: {evaluation.no_keypoints}"
    yield (
        f"VOC     11-point {_figure(evaluation.voc_11_point)}   area {_figure(evaluation.voc_area)}   "
        f"ranked (scikit-learn) {_figure(evaluation.ranked)}   at IoU 0.5"
    )
    if lowest_score > LOW_ENOUGH:
        yield (
            f"        the artifact reports no score below {lowest_score:g}, which cuts these figures short; to "
            "compare with published ones, export with --conf 0.001"
        )
    yield ""
    yield "size     objects    mAP     AR"
    for size in ("small", "medium", "large"):
        ap, ar = getattr(coco, f"ap_{size}"), getattr(coco, f"ar_{size}")
        yield f"{size:8} {coco.objects_by_size[size]:7,}  {_figure(ap)}  {_figure(ar)}"
    yield ""
    yield from _class_table(evaluation)
    if _has_gaps(evaluation):
        yield "-: not measured, the dataset has no such object"
    yield ""
    yield from _point_lines(evaluation)


def _has_gaps(evaluation: Evaluation) -> bool:
    data = evaluation.to_dict()
    rows = (data, data["voc"], data["ranked"], *data["per_class"], *data["per_class_at_iou_50"])
    return any(row["absent"].keys() - NO_GAPS for row in rows)


def _class_table(evaluation: Evaluation) -> Iterator[str]:
    width = min(max(len(name) for name in (*evaluation.names, "class")), 24)
    yield f"{'class':{width}}  objects    mAP   AP50  small medium  large  VOC07  VOC10 ranked"
    rows = sorted(zip(evaluation.coco.per_class, evaluation.classes, strict=True), key=lambda row: -row[0].objects)
    for coco, at_half in rows[:CLASSES_SHOWN]:
        figures = [coco.ap, coco.ap50, coco.ap_small, coco.ap_medium, coco.ap_large]
        figures += [at_half.voc_11_point, at_half.voc_area, at_half.ranked]
        yield f"{coco.name[:width]:{width}}  {coco.objects:7,}  " + "  ".join(_figure(value) for value in figures)
    if len(rows) > CLASSES_SHOWN:
        yield f"and {len(rows) - CLASSES_SHOWN} more classes (--json has them all)"


def _point_lines(evaluation: Evaluation) -> Iterator[str]:
    from edgedet.evaluate.absence_reasons import OF_POINT

    at = evaluation.at
    yield f"boxes scoring at least {at.threshold:g} ({evaluation.chosen_by}):"
    figures = "   ".join(
        f"{title} {_figure(value)}" if not math.isnan(value) else f"{title} not measured ({OF_POINT[key]})"
        for title, key, value in (
            ("precision", "precision", at.precision),
            ("recall", "recall", at.recall),
            ("F1", "f1", at.f1),
        )
    )
    yield f"  {figures}   ({at.true:,} right, {at.false:,} false, {at.missed_objects:,} objects missed)"
    rates = evaluation.per_image
    if at.images_with_objects:
        yield f"  misses        {_share(rates.misses, 'images with objects')}"
    else:
        yield f"  misses        not measured: {OF_POINT['misses']}"
    if at.images_without_objects:
        yield f"  false alarms  {_share(rates.false_alarms, 'object-free images')}"
    else:
        yield "  false alarms  not measured: no object-free images (--negatives DIR)"
    yield (
        f"  by image      {_rate(rates.missed_objects)} missed objects, {_rate(rates.false_boxes)} false boxes of "
        f"{rates.false_boxes.of:,.0f} images"
    )
    if evaluation.alarm_threshold is not None:
        yield _recommendation(evaluation, at)
    if evaluation.negatives:
        yield ""
        yield from _folder_table(evaluation)
    for by_hour in (evaluation.clips, evaluation.alerts):
        if by_hour is not None:
            yield ""
            yield from _clip_lines(by_hour)


def _folder_table(evaluation: Evaluation) -> Iterator[str]:
    groups = sorted(evaluation.negatives, key=lambda group: (-group.false_alarms.value, group.name))
    width = min(max(len(name) for name in (*(group.name for group in groups), "negatives")), 32)
    yield f"{'negatives':{width}}   images   with a box   95 % interval"
    for group in groups[:FOLDERS_SHOWN]:
        figure = group.false_alarms
        low, high = figure.interval
        yield (
            f"{group.name[:width]:{width}}  {figure.of:7,.0f}  {figure.count:5,} {figure.value:6.1%}   "
            f"{low:.1%} to {high:.1%}"
        )
    if len(groups) > FOLDERS_SHOWN:
        yield f"and {len(groups) - FOLDERS_SHOWN} more folders (--json has them all)"


def _clip_lines(figures: ClipFigures) -> Iterator[str]:
    delay = figures.delay
    yield (
        f"by hour of video, {figures.by} ({figures.clips:,} clip{'s' * (figures.clips != 1)}, "
        f"{figures.frames:,} frames, {_span(figures.seconds)}):"
    )
    yield f"  false alarms  {_hourly(figures.false_alarms)}"
    if not delay.visits:
        yield "  misses        not measured: no object comes into view in the clips"
        return
    yield f"  misses        {_share(figures.missed, 'visits')}; {_hourly(figures.misses)}"
    yield (
        f"  delay         p50 {_seconds(delay.p50, delay.p50_interval)}   p90 "
        f"{_seconds(delay.p90, delay.p90_interval)}   from the first frame that shows an object"
    )


def _span(seconds: float) -> str:
    return (
        f"{seconds:.1f} s"
        if seconds < 600
        else f"{seconds / 60:.1f} min"
        if seconds < 36000
        else f"{seconds / 3600:.1f} h"
    )


def _hourly(figure: Rate) -> str:
    low, high = figure.interval
    return f"{figure.value:.2f} an hour (95 % interval {low:.2f} to {high:.2f}; {figure.count:,} of them)"


def _rate(figure: Rate) -> str:
    low, high = figure.interval
    return f"{figure.value:.3f} ({low:.3f} to {high:.3f})"


def _seconds(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    spread = (
        f"{_second(low)} or more"
        if math.isinf(high) and not math.isinf(low)
        else f"{_second(low)} to {_second(high)}"
    )
    return f"{_second(value)} ({spread})"


def _second(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.2f} s"


def _recommendation(evaluation: Evaluation, at: WorkingPoint) -> str:
    assert evaluation.alarm_rate is not None and evaluation.alarm_threshold is not None
    if math.isnan(evaluation.alarm_threshold):
        return f"  no threshold for {evaluation.alarm_rate:.2%} false alarms: {evaluation.no_alarm_threshold}"
    return (
        f"  recommended   --conf {evaluation.alarm_threshold:g} keeps false alarms at {evaluation.alarm_rate:.2%} "
        f"or less of these {at.images_without_objects:,} images"
    )


def _share(figure: Rate, what: str) -> str:
    low, high = figure.interval
    return f"{figure.value:.1%} of {figure.of:,.0f} {what} (95 % interval {low:.1%} to {high:.1%})"


def _figure(value: float) -> str:
    return "    -" if math.isnan(value) else f"{value:5.3f}"
