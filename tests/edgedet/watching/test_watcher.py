"""When alerts begin and end."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from edgedet.detections import Detections
from edgedet.errors import UsageError
from edgedet.pictures.frames import Frame
from edgedet.watching import AlertEvent, AlertRule, Region, Watcher

NAMES = ("camera", "phone", "cup")
BOX = (100, 100, 160, 150)
Row = tuple[tuple[float, float, float, float], float, int]


class Play:
    """Frames at ten a second, each with detections of its own."""

    def __init__(self, *rules: AlertRule) -> None:
        self.watcher = Watcher(rules, NAMES)
        self.index = 0
        self.size = (480, 640)
        self.events: list[AlertEvent] = []

    def show(self, *rows: Row, times: int = 1, source: str = "camera 0") -> list[AlertEvent]:
        """``times`` frames with these detections; the events of them."""
        told = []
        for _ in range(times):
            frame = Frame(
                np.zeros((480, 640, 3), np.uint8),
                f"{source} #{self.index}",
                self.index,
                captured=self.index / 10,
                source=source,
            )
            detections = Detections(
                np.array([row[0] for row in rows], np.float32),
                np.array([row[1] for row in rows], np.float32),
                np.array([row[2] for row in rows], np.int32),
                NAMES,
                self.size,
            )
            told += self.watcher.update(frame, detections)[1]
            self.index += 1
        self.events += told
        return told


def there(score: float = 0.9, label: int = 0, box: tuple[float, float, float, float] = BOX) -> Row:
    return (box, score, label)


def kinds(events: list[AlertEvent]) -> list[tuple[str, int]]:
    return [(event.event, event.index) for event in events]


def test_it_begins_with_the_nth_of_m_frames_and_ends_when_it_was_gone_for_a_while() -> None:
    play = Play(AlertRule(("camera",), frames=(3, 5), hold=1.0))
    assert play.show(there()) == play.show() == play.show(there()) == play.show() == []
    (begin,) = play.show(there(0.8))
    assert (begin.event, begin.index, begin.seen, begin.name, begin.track) == ("begin", 4, 3, "camera", 1)
    assert begin.score == pytest.approx(0.9) and begin.box == BOX
    assert play.show(times=9) == []
    (end,) = play.show()
    assert (end.event, end.index, end.reason, end.alert) == ("end", 14, "gone", begin.alert)
    assert end.seconds == pytest.approx(0.4)
    # The frames of before the end count for no further beginning.
    assert play.show(there(), times=2) == [] and kinds(play.show(there())) == [("begin", 17)]
    assert play.events[-1].alert == 2


def test_fewer_than_n_of_m_are_no_alert() -> None:
    play = Play(AlertRule(("camera",), frames=(3, 5)))
    for _ in range(10):
        play.show(there(), times=2)
        play.show(times=3)
    assert play.events == []


def test_a_single_frame_can_be_enough() -> None:
    assert kinds(Play(AlertRule(("camera",), frames=(1, 1))).show(there())) == [("begin", 0)]


def test_mistakes_at_a_new_place_in_each_frame_are_no_alert_unless_any_place_counts() -> None:
    places = [(x, 40, x + 40, 80) for x in (10, 500, 200, 400, 100, 300)]
    for evidence, expected in (("track", []), ("class", [("begin", 2)])):
        play = Play(AlertRule(("camera",), evidence=evidence))  # type: ignore[arg-type]
        for place in places:
            play.show(there(box=place))
        assert kinds(play.events) == expected


def test_weaker_detections_keep_it_alive_and_begin_nothing() -> None:
    play = Play(AlertRule(("camera",), frames=(2, 3), conf=0.6, keep_conf=0.3, hold=0.5))
    assert play.show(there(0.5), times=20) == []
    assert kinds(play.show(there(0.7), times=2)) == [("begin", 21)]
    assert play.show(there(0.35), times=30) == []
    assert kinds(play.show(there(0.25), times=10)) == [("end", 56)]
    assert play.events[-1].score == pytest.approx(0.7) and play.events[-1].seen == 32


def test_something_else_that_is_unsure_keeps_nothing_alive() -> None:
    play = Play(AlertRule(("camera",), frames=(2, 3), conf=0.6, keep_conf=0.3, hold=0.5))
    other = there(0.4, box=(400, 300, 460, 350))
    assert kinds(play.show(there(), other, times=2)) == [("begin", 1)]
    assert kinds(play.show(other, times=10)) == [("end", 6)]


def test_what_stays_in_view_hides_nothing_that_comes() -> None:
    play = Play(AlertRule(("camera",), frames=(2, 3), conf=0.6, hold=0.5))
    other = there(box=(400, 300, 460, 350))
    (first,) = play.show(there(), times=5)
    (second,) = play.show(there(), other, times=5)
    assert (first.alert, second.alert) == (1, 2) and second.box == (400, 300, 460, 350)
    assert second.track != first.track and play.watcher.active == 2
    # Each ends by itself.
    (end,) = play.show(other, times=10)
    assert (end.event, end.alert, end.seen) == ("end", 1, 10)
    (end,) = play.show(times=10)
    assert (end.event, end.alert, end.seen, play.watcher.active) == ("end", 2, 15, 0)


def test_two_that_come_together_have_an_alert_each_and_one_of_a_class() -> None:
    both = (there(), there(0.8, box=(400, 300, 460, 350)))
    play = Play(AlertRule(("camera",), frames=(2, 3)))
    assert [(event.event, event.alert) for event in play.show(*both, times=9)] == [("begin", 1), ("begin", 2)]
    play = Play(AlertRule(("camera",), frames=(2, 3), evidence="class"))
    assert [(event.event, event.score) for event in play.show(*both, times=9)] == [("begin", pytest.approx(0.9))]


def test_an_object_whose_track_was_lost_keeps_its_alert() -> None:
    play = Play(AlertRule(("camera",), frames=(3, 5), hold=3))
    play.show(there(), times=5)
    play.watcher._sources["camera 0"].tracker.forget()
    near = there(box=(110, 105, 170, 155))
    assert play.show(near, times=10) == []
    assert play.watcher.active == 1


def test_an_object_that_jumps_keeps_its_alert_and_one_that_comes_beside_it_has_its_own() -> None:
    play = Play(AlertRule(("camera",), frames=(3, 5), hold=3))
    far = there(box=(400, 300, 460, 350))
    assert kinds(play.show(there(), times=5)) == [("begin", 2)]
    # A head turns: all is elsewhere at once.
    assert play.show(far, times=10) == []
    assert play.watcher.active == 1
    # The same, but it flickers: what comes was there while it was.
    play = Play(AlertRule(("camera",), frames=(3, 5), hold=3))
    play.show(there(), times=5)
    events = play.show(far) + play.show(there(), far) + play.show(far, times=3)
    assert [(event.event, event.alert) for event in events] == [("begin", 2)]


def test_classes_of_a_group_count_together_and_others_not_at_all() -> None:
    play = Play(AlertRule(("camera", "phone"), frames=(3, 5), evidence="class"))
    assert play.show(there(label=2), times=20) == []
    play.show(there(label=0), there(label=2, box=(0, 0, 50, 50)))
    play.show(there(label=1))
    assert kinds(play.show(there(label=0))) == [("begin", 22)]


def test_small_ones_do_not_count() -> None:
    for least, size, expected in ((40, 39, False), (40, 41, True), (0.1, 63, False), (0.1, 65, True)):
        play = Play(AlertRule(("camera",), frames=(1, 1), min_size=least))
        assert bool(play.show(there(box=(100, 100, 100 + size, 120)))) is expected


def test_centres_outside_the_region_do_not_count() -> None:
    for region in ("0.5,0,1,1", "320,0,640,480", "0.5,0 1,0 1,1 0.5,1"):
        play = Play(AlertRule(("camera",), frames=(1, 1), region=Region.parse(region)))
        assert play.show(there(box=(280, 100, 350, 200))) == []
        assert kinds(play.show(there(box=(290, 100, 360, 200)))) == [("begin", 1)]


def test_a_region_for_other_frames_is_an_error() -> None:
    play = Play(AlertRule(("camera",), region=Region.parse("0,0,1920,1080")))
    with pytest.raises(UsageError, match="reaches to 1920,1080, and the frame has 640x480"):
        play.show()


def test_a_size_that_no_rule_is_meant_for_silences_its_source_alone_until_it_fits() -> None:
    told: list[tuple[str, str]] = []
    play = Play(AlertRule(("camera",), frames=(1, 2), region=Region.parse("0,0,640,480")))
    play.watcher = Watcher(
        [*play.watcher.rules, AlertRule(("phone",), frames=(1, 2), min_size=400)],
        NAMES,
        misfit=lambda source, reason: told.append((source, reason)),
    )
    for source in ("a", "b"):
        play.show(there(), there(label=1, box=(0, 0, 450, 50)), source=source)
    play.size = (240, 320)
    ends = play.show(there(), source="a", times=5)
    assert [(end.event, end.reason, end.source, end.rule) for end in ends] == [
        ("end", "lost", "a", "camera"),
        ("end", "lost", "a", "phone"),
    ]
    assert [source for source, _ in told] == ["a", "a"]
    assert "reaches to 640,480, and the frame has 320x240" in told[0][1] and "400 pixels" in told[1][1]
    with pytest.raises(UsageError, match="reaches to"):
        play.show(source="c")
    play.size = (480, 640)
    assert play.show(there(), source="b") == [] and play.watcher.active == 2
    assert [one.event for one in play.show(there(), source="a")] == ["begin"]
    play.size = (240, 320)
    play.show(source="a")
    assert len(told) == 4


def test_sources_of_too_few_frames_are_known() -> None:
    play = Play(AlertRule(("camera",), frames=(3, 5)), AlertRule(("phone",), frames=(2, 2)))
    play.show(source="a")
    play.show(source="b", times=2)
    assert play.watcher.too_short() == {"a": 1}


def test_sources_are_apart() -> None:
    play = Play(AlertRule(("camera",), frames=(2, 2)))
    assert play.show(there(), source="a") == play.show(there(), source="b") == []
    (a,), (b,) = play.show(there(), source="a"), play.show(there(), source="b")
    assert (a.source, b.source) == ("a", "b") and a.track != b.track and (a.alert, b.alert) == (1, 2)
    assert play.watcher.active == 2


def test_rules_are_apart() -> None:
    play = Play(AlertRule(("camera",), frames=(1, 1)), AlertRule(("phone",), frames=(2, 2)))
    events = play.show(there(), there(label=1, box=(300, 300, 350, 350)), times=2)
    assert [(event.rule, event.index) for event in events] == [("camera", 0), ("phone", 1)]


def test_a_source_that_breaks_ends_its_alerts_and_begins_anew() -> None:
    play = Play(AlertRule(("camera",), frames=(2, 3)))
    play.show(there(), times=2)
    play.show(there(), times=2, source="b")
    (end,) = play.watcher.lost("camera 0")
    assert (end.event, end.reason, end.source, end.age) == ("end", "lost", "camera 0", None)
    assert play.watcher.lost("camera 0") == play.watcher.lost("never seen") == []
    assert play.show(there()) == []
    assert kinds(play.show(there())) == [("begin", 5)] and play.events[-1].track == 3
    assert [event.reason for event in play.watcher.finish()] == ["stopped", "stopped"]
    assert play.watcher.active == 0


def test_files_go_by_their_own_time() -> None:
    watcher = Watcher([AlertRule(("camera",), frames=(2, 2), hold=1.0)], NAMES, clock="time")
    events = []
    for index in range(40):
        shown = [(*BOX, 0.9, 0)] if 5 <= index < 10 else []
        table = np.array(shown, np.float32).reshape(-1, 6)
        detections = Detections(table[:, :4], table[:, 4], table[:, 5], NAMES, (480, 640))  # type: ignore[arg-type]
        frame = Frame(np.zeros((1, 1, 3), np.uint8), "clip", index, time=index / 10)
        events += watcher.update(frame, detections)[1]
    begin, end = events
    assert (begin.at, end.at) == (pytest.approx(0.6), pytest.approx(1.9))
    assert begin.delay == pytest.approx(100) and end.seconds == pytest.approx(0.4)


def test_the_line_of_json_is_as_documented() -> None:
    play = Play(AlertRule(("camera",), frames=(1, 1), hold=0))
    begin, end = (json.loads(event.to_json()) for event in play.show(there()) + play.show())
    assert list(begin) == [
        *("schema", "event", "alert", "rule", "source", "class", "track", "score", "box", "frame_size", "index"),
        *("at", "time", "age", "seen", "delay"),
    ]
    assert list(end) == [*list(begin)[:-1], "seconds", "reason"]
    assert begin["schema"] == "edgedet.alert/1" and begin["time"].endswith("Z") and begin["age"] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frames": (6, 5)}, "frames are 6/5, expected N/M"),
        ({"frames": (0, 5)}, "frames are 0/5"),
        ({"conf": 1.2}, "conf is 1.2"),
        ({"conf": 0.4, "keep_conf": 0.5}, "keep_conf is 0.5, expected a score from 0 to conf, 0.4"),
        ({"hold": -1}, "hold is -1"),
        ({"min_size": float("nan")}, "min_size is nan"),
        ({"evidence": "luck"}, "evidence is 'luck', expected track or class"),
        ({"classes": ()}, "names no class"),
        ({"classes": None}, "classes is None, expected names in a tuple"),
        ({"classes": (1,)}, "a class is 1, expected its name"),
        ({"frames": 3}, r"frames is 3, expected \(N, M\), such as"),
        ({"frames": (1, 2, 3)}, r"frames is \(1, 2, 3\), expected"),
        ({"region": "0,0,1,1"}, r"expected a Region, such as Region.parse\('0,0,1,1'\)"),
        ({"region": (0, 0, 1, 1)}, "expected a Region"),
        ({"classes": "camera"}, r"expected names in a tuple, such as \('camera',\)"),
    ],
)
def test_rules_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        AlertRule(**({"classes": ("camera",)} | options))


def test_classes_that_the_detector_does_not_know_are_named_with_near_ones() -> None:
    with pytest.raises(UsageError, match="no class 'camara'; did you mean camera"):
        Watcher([AlertRule(("camara",))], NAMES)
    with pytest.raises(UsageError, match="no class 'zebra'; it knows camera, phone, cup"):
        Watcher([AlertRule(("zebra",))], NAMES)
    with pytest.raises(UsageError, match="two rules are called 'cup'"):
        Watcher([AlertRule(("cup",)), AlertRule(("cup",), conf=0.9)], NAMES)
    with pytest.raises(UsageError, match="no rule"):
        Watcher([])


class TestRegion:
    def test_a_polygon_holds_what_is_inside(self) -> None:
        # An L: the upper right quarter is missing.
        shape = Region.parse("0,0 0.5,0 0.5,0.5 1,0.5 1,1 0,1")
        centres = np.array([[25, 25], [75, 25], [25, 75], [75, 75]])
        boxes = np.concatenate([centres - 2, centres + 2], axis=1)
        assert shape.contains(boxes, (100, 100)).tolist() == [True, False, True, True]
        assert shape.contains(np.zeros((0, 4)), (100, 100)).shape == (0,)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "not understood"),
            ("a,b,c,d", "not understood"),
            ("0,0,1", "not understood"),
            ("0,0 1,1", "2 points has no inside"),
            ("0.5,0,0.2,1", "is no rectangle"),
            ("0,0 0.5,0.5 1,1", "has no area"),
            ("-1,0,1,1", "a corner at -1"),
            ("0,0,nan,1", "is no rectangle"),
            ("0,0 inf,0 0,5", "a corner at inf"),
            ("0.5,0,1.2,1", "a corner at 0.5 and one at 1.2; expected shares of the frame"),
            ("0,0,33.5,100", "a corner at 33.5 and one at 100; expected .* whole pixels"),
            ("0,0,2,1", "the region is 2x1 pixels, too narrow"),
        ],
    )
    def test_what_is_none_is_refused(self, text: str, words: str) -> None:
        with pytest.raises(UsageError, match=words):
            Region.parse(text)
