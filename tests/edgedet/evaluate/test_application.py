"""Misses, false alarms and delays of clips whose truth is known, to the last digit."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet.cli.eval_lines import report_lines
from edgedet.datasets import ClipFrame, Dataset, read_dataset
from edgedet.detections import Detections
from edgedet.errors import DatasetError, OutputError, UsageError
from edgedet.evaluate import FalseAlarm, evaluate, save_false_alarms, write_false_alarms
from edgedet.evaluate.intervals import garwood_interval, rate, share
from edgedet.evaluate.working_point import wilson_interval
from edgedet.watching import AlertRule, Region
from tests.edgedet.evaluate.conftest import NAMES, make_record

pytest.importorskip("pycocotools", reason="needs pycocotools")

BOX = (10.0, 10.0, 40.0, 40.0)
AWAY = (60.0, 10.0, 90.0, 40.0)
Answer = Sequence[tuple[int, float, tuple[float, ...]]]
CAT: Answer = [(0, 0.9, BOX)]
WEAK: Answer = [(0, 0.4, BOX)]


class Scripted:
    """Frames in folders, each of a colour of its own, what is in them, and a detector that answers by rote."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._answers: list[Answer] = []

    def clip(self, name: str, truth: str, answers: Sequence[Answer]) -> list[Any]:
        """Frames ``0.png`` and so on; where ``truth`` has an ``x``, a cat is at :data:`BOX`."""
        (self._root / name).mkdir(parents=True)
        records = []
        for place, (letter, answer) in enumerate(zip(truth, answers, strict=True)):
            path = self._root / name / f"{place}.png"
            cv2.imwrite(str(path), np.full((80, 100, 3), len(self._answers), np.uint8))
            self._answers.append(answer)
            records.append(make_record(path, [(0, BOX)] if letter == "x" else []))
        return records

    def detect(self, frame: np.ndarray) -> Detections:
        said = self._answers[int(frame[0, 0, 0])]
        boxes = np.array([box for _, _, box in said], np.float32).reshape(-1, 4)
        scores = np.array([score for _, score, _ in said], np.float32)
        labels = np.array([label for label, _, _ in said], np.int32)
        return Detections(boxes, scores, labels, NAMES, (frame.shape[0], frame.shape[1]))


@pytest.fixture
def scripted(tmp_path: Path) -> Scripted:
    return Scripted(tmp_path)


def dataset_of(*clips: list[Any], kind: str = "coco") -> Dataset:
    return Dataset(NAMES, tuple(record for clip in clips for record in clip), kind, "made")


@pytest.fixture
def two_clips(scripted: Scripted) -> Dataset:
    """``a``: false box in 0 and 1, a cat from 3 on, found in 5. ``b``: a cat in 0 and 1 that is not found, one in 3
    that is, and a false box beside it."""
    nothing: Answer = []
    first = scripted.clip("a", "...xxx", [CAT, CAT, nothing, nothing, WEAK, CAT])
    beside: Answer = [*CAT, (0, 0.8, AWAY)]
    return dataset_of(first, scripted.clip("b", "xx.x", [nothing, WEAK, nothing, beside]))


def test_false_alarms_misses_and_delays_of_each_frame_by_itself(scripted: Scripted, two_clips: Dataset) -> None:
    result = evaluate(scripted.detect, two_clips, fps=10, threshold=0.5)
    clips = result.clips
    assert clips is not None and clips.by == "each frame by itself"
    assert (clips.clips, clips.frames, clips.seconds) == (2, 10, pytest.approx(1.0))
    # One row of two frames; the box beside a cat is a false box, but an alarm with a cat there is none.
    assert clips.false_alarms == rate([1, 0], [6 * 0.1 / 3600, 4 * 0.1 / 3600], unit="clip")
    assert clips.false_alarms.value == pytest.approx(3600)
    assert clips.missed == share([0, 1], [1, 2], unit="clip")
    assert clips.misses.value == pytest.approx(3600)
    assert (clips.delay.visits, clips.delay.found) == (3, 2)
    assert (clips.delay.p50, clips.delay.p90) == (pytest.approx(0.2), math.inf)


def test_figures_by_image_have_intervals_by_clip(scripted: Scripted, two_clips: Dataset) -> None:
    rates = evaluate(scripted.detect, two_clips, fps=10, threshold=0.5).per_image
    # Frames with a cat: 3 of a, of which 1 is found; 3 of b, of which 1.
    assert rates.misses == share([2, 2], [3, 3], unit="clip")
    assert rates.false_alarms == share([2, 0], [3, 1], unit="clip")
    assert rates.missed_objects == rate([2, 2], [6, 4], unit="clip")
    assert rates.false_boxes == rate([2, 1], [6, 4], unit="clip")
    alone = evaluate(scripted.detect, two_clips, threshold=0.5)
    assert alone.clips is None and "--fps" in alone.no_clips
    assert alone.per_image.misses.interval == wilson_interval(4, 6) == alone.at.misses_range
    assert alone.per_image.false_boxes.method == "the wider of Garwood and a bootstrap of 10 images"
    # The frames of a clip say less than as many pictures of different places.
    assert rates.false_alarms.interval[1] - rates.false_alarms.interval[0] > (
        alone.at.false_alarms_range[1] - alone.at.false_alarms_range[0]
    )


def test_the_threshold_decides_what_is_found(scripted: Scripted, two_clips: Dataset) -> None:
    low = evaluate(scripted.detect, two_clips, fps=10, threshold=0.4).clips
    assert low is not None and (low.delay.found, low.delay.p50) == (3, pytest.approx(0.1))


def test_alerts_take_the_rule_and_the_working_point(scripted: Scripted, two_clips: Dataset) -> None:
    rule = AlertRule(("cat",), frames=(2, 3), conf=1.0)
    result = evaluate(scripted.detect, two_clips, fps=10, threshold=0.4, rules=[rule])
    alerts = result.alerts
    assert alerts is not None and alerts.by == "2/3 frames of one track"
    # In a the false box alerts in frame 1. It lasts, being seen again within the second, and hides the cat.
    assert (alerts.false_alarms.count, alerts.delay.visits, alerts.delay.found) == (1, 3, 1)
    # In b frames 1 and 3 make two of three: alerted in 3, where the second visit begins.
    assert alerts.delay.p50 == math.inf and alerts.delay.p90 == math.inf
    brief = replace(rule, frames=(1, 1), hold=0)
    once = evaluate(scripted.detect, two_clips, fps=10, threshold=0.5, rules=[brief]).alerts
    assert once is not None and (once.false_alarms.count, once.delay.found) == (1, 2)
    assert once.delay.p50 == pytest.approx(0.2)


def test_objects_with_marks_are_visits_of_their_own(scripted: Scripted) -> None:
    records = scripted.clip("a", "xxxx", [[], CAT, [], []])
    marked = [replace(record, instances=(mark,)) for record, mark in zip(records, "aabb", strict=True)]
    clips = evaluate(scripted.detect, dataset_of(marked), fps=2, threshold=0.5).clips
    assert clips is not None and (clips.delay.visits, clips.delay.found, clips.delay.p50) == (2, 1, 0.5)


def test_annotations_that_say_clip_and_rate_need_no_option(scripted: Scripted) -> None:
    records = scripted.clip("a", "xxxx", [[], [], CAT, CAT])
    placed = [replace(record, clip=ClipFrame("door", 3 * place, 30.0)) for place, record in enumerate(records)]
    clips = evaluate(scripted.detect, dataset_of(placed), threshold=0.5).clips
    assert clips is not None and (clips.seconds, clips.delay.p50) == (pytest.approx(0.4), pytest.approx(0.2))
    unrated = [replace(record, clip=ClipFrame("door", place)) for place, record in enumerate(records)]
    silent = evaluate(scripted.detect, dataset_of(unrated), threshold=0.5)
    assert silent.clips is None and "do not say how many make a second" in silent.no_clips


def test_negatives_by_folder_and_by_hour(scripted: Scripted, tmp_path: Path) -> None:
    labelled = dataset_of(scripted.clip("set", "x", [CAT]))
    scripted.clip("free/phones/one", "....", [CAT, CAT, [], [(1, 0.7, AWAY), (1, 0.6, BOX)]])
    scripted.clip("free/phones/two", "..", [[], []])
    scripted.clip("free/rooms", "...", [[], [], WEAK])
    negatives = read_dataset(tmp_path / "free")
    result = evaluate(scripted.detect, labelled, negatives=negatives, threshold=0.5)
    assert [(group.name, group.false_alarms) for group in result.negatives] == [
        ("phones", share([3], [6], unit="image")),
        ("rooms", share([0], [3], unit="image")),
    ]
    assert result.negatives[1].false_alarms.interval == wilson_interval(0, 3)
    assert result.false_alarms == (
        FalseAlarm(0, str(tmp_path / "free/phones/one/0.png"), "phones", pytest.approx(0.9), 1),
        FalseAlarm(1, str(tmp_path / "free/phones/one/1.png"), "phones", pytest.approx(0.9), 1),
        FalseAlarm(3, str(tmp_path / "free/phones/one/3.png"), "phones", pytest.approx(0.7), 2),
    )
    assert result.per_image.false_boxes == rate([1, 1, 2] + [0] * 7, [1] * 10, unit="image")
    assert result.clips is None
    rule = AlertRule(("cat",), frames=(2, 2), conf=1.0)
    filmed = evaluate(scripted.detect, labelled, negatives=negatives, threshold=0.5, negatives_fps=1, rules=[rule])
    # A row of two frames of cats, and one frame of dogs.
    assert filmed.clips is not None and filmed.clips.false_alarms == rate(
        [2, 0, 0], [4 / 3600, 2 / 3600, 3 / 3600], unit="clip"
    )
    assert filmed.clips.delay.visits == 0 and math.isnan(filmed.clips.missed.value)
    assert filmed.alerts is not None and filmed.alerts.false_alarms.count == 1
    assert filmed.negatives[0].false_alarms == share([3, 0], [4, 2], unit="clip")


def test_pictures_in_no_sub_folder_are_a_group_too(scripted: Scripted, tmp_path: Path) -> None:
    labelled = dataset_of(scripted.clip("set", "x", [CAT]))
    scripted.clip("free", ".", [CAT])
    scripted.clip("free/rooms", ".", [[]])
    result = evaluate(scripted.detect, labelled, negatives=read_dataset(tmp_path / "free"), threshold=0.5)
    assert [(group.name, group.false_alarms.count) for group in result.negatives] == [(".", 1), ("rooms", 0)]
    assert result.false_alarms[0].caption == "false alarm: 0.90, 1 box"


def test_false_alarms_are_drawn_and_written_to_be_trained_on(scripted: Scripted, tmp_path: Path) -> None:
    labelled = dataset_of(scripted.clip("set", "x", [CAT]))
    scripted.clip("free/a", "..", [WEAK, CAT])
    scripted.clip("free/b", "..", [[], CAT])
    negatives = read_dataset(tmp_path / "free")
    result = evaluate(scripted.detect, labelled, negatives=negatives, threshold=0.5)
    drawn = save_false_alarms(scripted.detect, negatives, result, tmp_path / "worst", count=1)
    assert {number: path.name for number, path in drawn.items()} == {1: "negative_01_1.jpg"}
    picture, original = cv2.imread(str(drawn[1])), cv2.imread(str(negatives.images[1].path))
    assert picture.shape[1] == original.shape[1] and (np.abs(picture[-80:].astype(int) - original).max() > 100)
    assert write_false_alarms(negatives, result.false_alarms, tmp_path / "hard", names=NAMES) == 2
    hard = read_dataset(tmp_path / "hard")
    assert (hard.format, hard.names, len(hard), hard.box_count) == ("coco", NAMES, 2, 0)
    for record, number in zip(hard.images, (1, 3), strict=True):
        assert record.path.read_bytes() == negatives.images[number].path.read_bytes()
    written = sorted(path.name for path in (tmp_path / "hard").rglob("*") if path.is_file())
    assert written == ["1.png", "b_1.png", "instances_train.json"]
    assert [
        entry["name"] for entry in json.loads((tmp_path / "hard/instances_train.json").read_text())["categories"]
    ] == list(NAMES)
    with pytest.raises(OutputError, match="exists already"):
        write_false_alarms(negatives, result.false_alarms, tmp_path / "hard", names=NAMES)
    with pytest.raises(DatasetError, match="no picture raised a false alarm"):
        write_false_alarms(negatives, [], tmp_path / "none", names=NAMES)
    assert not (tmp_path / "none").exists()


def test_a_frame_that_cannot_be_read_is_no_time_that_was_looked_at(scripted: Scripted) -> None:
    records = scripted.clip("a", "xxxx", [[], [], CAT, CAT])
    records[1].path.write_bytes(records[1].path.read_bytes()[:60])
    result = evaluate(scripted.detect, dataset_of(records), fps=10, threshold=0.5)
    assert len(result.problems) == 1 and result.clips is not None
    assert (result.clips.frames, result.clips.seconds) == (3, pytest.approx(0.3))
    # The others keep their times.
    assert result.clips.delay.p50 == pytest.approx(0.2)


def test_json_says_why_a_figure_is_not_there(scripted: Scripted, two_clips: Dataset) -> None:
    rule = AlertRule(("dog",), frames=(1, 1), conf=1.0)
    result = evaluate(scripted.detect, two_clips, fps=10, threshold=0.5, rules=[rule])
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    delay = data["clips"]["delay"]
    assert delay["p90"] is None and delay["absent"]["p90"] == "without end: 1 of 3 visits are never found"
    assert data["clips"]["false_alarms_per_hour"]["interval"][1] == pytest.approx(garwood_interval(1)[1] * 3600)
    assert data["alerts"]["delay"]["absent"]["p50"] == "no object comes into view in the clips"
    assert data["alerts"]["visits_missed"]["value"] is None
    assert data["per_image"]["false_boxes"]["count"] == 3 and "clips" not in data["absent"]
    still = evaluate(scripted.detect, two_clips, threshold=0.5).to_dict()
    assert still["clips"] is None and "--fps N" in still["absent"]["clips"] and still["alerts"] is None


def test_people_are_told_of_clips_folders_and_alerts(
    scripted: Scripted, two_clips: Dataset, tmp_path: Path
) -> None:
    scripted.clip("free/rooms", "..", [CAT, []])
    rule = AlertRule(("cat",), frames=(1, 1), hold=0, conf=1.0)
    result = evaluate(
        scripted.detect,
        two_clips,
        negatives=read_dataset(tmp_path / "free"),
        fps=10,
        threshold=0.5,
        rules=[rule],
    )
    text = "\n".join(report_lines(result, 0.0))
    assert "rooms            2      1  50.0%   9.5% to 90.5%" in text
    assert "by hour of video, each frame by itself (2 clips, 10 frames, 1.0 s):" in text
    assert "3600.00 an hour" in text and "33.3% of 3 visits" in text and "p90 never" in text
    assert "by hour of video, 1/1 frames of one track, hold 0 s (2 clips" in text
    assert "by image      0.400 (" in text


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"rules": [AlertRule(("cat",))]}, UsageError, "an alert is about clips, and the pictures are not said"),
        ({"negatives_fps": 3}, UsageError, "--negatives-fps is about --negatives"),
        ({"fps": 10, "rules": [AlertRule(("ufo",))]}, UsageError, "no alert of 'ufo' can be judged"),
        ({"fps": 10, "rules": [AlertRule(("cat",))] * 2}, UsageError, "two rules are called 'cat'"),
        ({"fps": -1}, DatasetError, "--fps is -1"),
        (
            {"fps": 10, "rules": [AlertRule(("cat",), region=Region.parse("0,0,640,480"))]},
            UsageError,
            "the region reaches to 640,480",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused(
    scripted: Scripted, two_clips: Dataset, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    seen: list[Any] = []

    def detect(frame: np.ndarray) -> Detections:
        seen.append(frame)
        return scripted.detect(frame)

    with pytest.raises(error, match=words):
        evaluate(detect, two_clips, **options)
    assert len(seen) <= 1
