"""MLPerf's single stream in kind: the percentile is a sample, and a detector that lost accuracy is not valid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgedet.artifacts.keypoint_skeleton import Skeleton
from edgedet.bench.single_stream import MIN_QUERIES, measure_single_stream
from edgedet.detections import Detections
from edgedet.masks.box_masks import BoxMasks

FRAMES = [np.full((90, 90, 3), index, np.uint8) for index in range(12)]


def found(shift: float = 0, *, score: float = 0.9) -> Detections:
    return Detections([[10 + shift, 10, 40 + shift, 40]], [score], [0], ("cat",), (90, 90))


class Clocked:
    """Takes as many milliseconds as it has been asked before, and finds ``answer``; in ``blind`` frames nothing."""

    def __init__(self, answer: Detections, blind: int = 0) -> None:
        self.answer, self.blind = answer, blind
        self.now, self.calls = 0.0, 0

    def detect(self, frame: Any) -> Detections:
        self.calls += 1
        self.now += self.calls / 1e3
        return Detections.empty(("cat",), (90, 90)) if int(frame[0, 0, 0]) < self.blind else self.answer

    def measure(self, reference: Detections, queries: int = MIN_QUERIES) -> dict[str, Any]:
        return measure_single_stream(
            self, FRAMES, [reference] * len(FRAMES), queries=queries, clock=lambda: self.now
        )


def test_nine_of_ten_samples_are_not_above_the_percentile() -> None:
    result = Clocked(found()).measure(found(), queries=10)
    # Twelve answers for the gate come first: the ten queries take 13 to 22 ms.
    assert (result["p90"], result["queries"]) == (21, 10)
    assert result["seconds"] == pytest.approx(sum(range(13, 23)) / 1e3, abs=1e-3)


def test_a_thousand_queries_at_least_are_asked_by_default() -> None:
    detector = Clocked(found())
    assert detector.measure(found())["queries"] == 1024 and detector.calls == 1024 + len(FRAMES)


@pytest.mark.parametrize(
    ("detector", "valid"),
    [
        (Clocked(found()), True),
        (Clocked(found(1)), True),
        (Clocked(found(40)), False),
        (Clocked(found(), 1), False),
    ],
)
def test_what_finds_other_things_than_the_float_graph_is_not_valid(detector: Clocked, valid: bool) -> None:
    result = detector.measure(found(), queries=2)
    assert result["valid"] is valid and (result["agreement"] >= 0.99) is valid


def test_where_the_float_graph_is_sure_of_nothing_nobody_can_tell() -> None:
    result = Clocked(found()).measure(found(score=0.1), queries=2)
    assert (result["valid"], result["agreement"]) == (None, None)


def test_masks_and_keypoints_must_be_found_again_too() -> None:
    box = np.array([[10, 10, 40, 40]], np.float32)

    def with_parts(absent: int = 0, aside: float = 0) -> Detections:
        cells = np.ones((1, 28, 28), np.float32)
        cells[:, absent : absent + 20 * (absent > 0)] = 0
        points = np.array([[[20 + aside, 20, 1]]], np.float32)
        masks = BoxMasks(cells, box, (90, 90))
        return Detections(
            box, [0.9], [0], ("cat",), (90, 90), masks=masks, keypoints=points, skeleton=Skeleton(("nose",), ())
        )

    assert Clocked(with_parts()).measure(with_parts(), queries=2)["valid"] is True
    assert Clocked(with_parts(absent=1)).measure(with_parts(), queries=2)["valid"] is False
    assert Clocked(with_parts(aside=30)).measure(with_parts(), queries=2)["valid"] is False
