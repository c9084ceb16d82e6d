"""Alerts over clips whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgedet.datasets import ImageRecord
from edgedet.detections import Detections
from edgedet.evaluate.alert_figures import ClipAlerts, clip_alerts, describe, rule_at
from edgedet.watching import AlertRule, Region
from tests.edgedet.evaluate.conftest import NAMES, make_record

BOX = (10.0, 10.0, 40.0, 40.0)
SMALL = (60.0, 10.0, 64.0, 14.0)
RULE = AlertRule(("cat",), frames=(2, 3), hold=0.2)
Shown = Sequence[tuple[float, float, float, float]]


def seen(boxes: Shown, *, score: float = 0.9, label: int = 0) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(count, score, np.float32),
        np.full(count, label, np.int32),
        NAMES,
        (80, 100),
    )


def there(boxes: Shown, *, label: int = 0, difficult: bool = False) -> ImageRecord:
    marks = range(len(boxes)) if difficult else ()
    return make_record(Path("made"), [(label, box) for box in boxes], difficult=marks)


def alerts(found: str, truth: str, rule: AlertRule = RULE) -> ClipAlerts:
    """One letter a frame, ten a second: ``x`` the box, ``s`` the small one, ``d`` a difficult object, ``.``
    nothing, ``-`` a frame of the negatives."""
    boxes = {"x": [BOX], "s": [SMALL], "d": [BOX], ".": [], "-": []}
    return clip_alerts(
        [rule],
        NAMES,
        [seen(boxes[each]) for each in found],
        [None if each == "-" else there(boxes[each], difficult=each == "d") for each in truth],
        [place / 10 for place in range(len(found))],
    )


def approximately(found: ClipAlerts, false: int, *delays: float) -> bool:
    return found.false == false and np.allclose(found.delays, delays, equal_nan=False)


def test_an_alert_comes_with_the_second_of_three_frames() -> None:
    assert approximately(alerts("...x.x..", "..xxxx.."), 0, 0.3)
    assert approximately(alerts("...x....", "..xxxx.."), 0, math.inf)


def test_an_alert_with_nothing_there_is_false_and_so_is_one_that_comes_too_late() -> None:
    assert approximately(alerts("xx......", "--------"), 1)
    assert approximately(alerts("...xx...", "..xx...."), 1, math.inf)
    # Two of them, with a pause that ends the first.
    assert approximately(alerts("xx.....xx", "---------"), 2)


def test_an_alert_that_was_right_and_lasts_is_at_once_about_the_next_visit_and_a_false_one_hides_it() -> None:
    assert approximately(alerts("xxxxx", "xx.xx"), 0, 0.1, 0.0)
    assert approximately(alerts("xxxxxx", "...xxx"), 1, math.inf)


def test_what_a_rule_is_not_about_is_neither_a_visit_nor_makes_an_alert_false() -> None:
    large = AlertRule(("cat",), frames=(1, 1), min_size=10)
    # A box too large on an object too small: the thing is there.
    assert approximately(alerts(".x..", ".s..", large), 0)
    inside = AlertRule(("cat",), frames=(1, 1), region=Region.parse("0,0,0.5,1"))
    assert approximately(alerts(".x..", ".x..", inside), 0, 0.0)
    assert approximately(alerts("....", ".s..", inside), 0)
    # Difficult objects need not be found, and are there.
    assert approximately(alerts(".xx.", ".dd."), 0)


def test_classes_have_alerts_of_their_own() -> None:
    rules = [AlertRule(("cat",), frames=(1, 1)), AlertRule(("dog",), frames=(1, 1))]
    found = [seen([BOX], label=1), seen([BOX], label=1)]
    truth = [there([BOX]), there([BOX])]
    assert approximately(clip_alerts(rules, NAMES, found, truth, [0.0, 0.1]), 1, math.inf)
    either = [AlertRule(("cat", "dog"), frames=(1, 1))]
    assert approximately(clip_alerts(either, NAMES, found, truth, [0.0, 0.1]), 0, 0.0)


def test_the_working_point_begins_an_alert() -> None:
    assert rule_at(RULE, 0.3).conf == 0.3 and rule_at(RULE, 0.3).keep_conf is None
    kept = AlertRule(("cat",), conf=1.0, keep_conf=0.6)
    assert (rule_at(kept, 0.8).keep_conf, rule_at(kept, 0.5).keep_conf) == (0.6, 0.5)


def test_a_rule_in_words() -> None:
    rule = AlertRule(
        ("cat",),
        frames=(1, 2),
        min_size=8,
        region=Region.parse("0,0,1,0.5"),
        evidence="class",
        hold=2,
        keep_conf=0.2,
    )
    words = "1/2 frames of the class, size from 8, in the region, kept by 0.2, hold 2 s"
    assert describe([rule]) == words
