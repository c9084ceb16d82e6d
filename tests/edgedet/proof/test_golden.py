"""The golden input: the same frame everywhere, and a replay that notices what changed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet import Detector
from edgedet.artifacts.card import ModelCard
from edgedet.detections import Detections
from edgedet.errors import ArtifactError, SelftestError
from edgedet.proof.golden import record, replay, require_golden
from edgedet.proof.golden_scene import golden_frame
from tests.rectangle_detector import save_rectangle_graph


class Scripted:
    """A detector that finds what it is told to."""

    def __init__(self, card: ModelCard, boxes: Any, scores: Any) -> None:
        self.card = card
        self.boxes, self.scores = np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32)

    def detect(self, frame: np.ndarray) -> Detections:
        height, width = frame.shape[:2]
        labels = np.zeros(len(self.scores), np.int32)
        return Detections(self.boxes, self.scores, labels, self.card.names, (height, width))


BOXES = [[10, 10, 110, 110], [200, 50, 300, 250], [400, 300, 500, 400]]
SCORES = [0.9, 0.7, 0.5]


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    card = save_rectangle_graph(tmp_path / "model.onnx")
    card = replace(card, output=replace(card.output, max_detections=100))
    return replace(card, golden=record(Scripted(card, BOXES, SCORES), seeds=[5]))


def test_the_frame_is_the_same_on_every_machine() -> None:
    """The digests hold on any NumPy: integer arithmetic only."""
    assert golden_frame(3).shape == (480, 640, 3)
    digests = [hashlib.sha256(golden_frame(seed, 48, 64).tobytes()).hexdigest()[:16] for seed in (0, 1, 7)]
    assert digests == DIGESTS
    # More rows than get their grain at once, and no multiple of them.
    assert hashlib.sha256(golden_frame(7, 150, 64).tobytes()).hexdigest()[:16] == "718b153e4b9a710c"
    assert len({golden_frame(seed).tobytes() for seed in range(12)}) == 12


DIGESTS = ["e1c6131ceffd0dd4", "7cef8cbbb27b8de6", "4e7e08bd8a46bb93"]


def test_the_most_telling_scene_is_kept(card: ModelCard) -> None:
    assert card.golden is not None
    assert card.golden["seed"] == 5 and card.golden["scores"] == pytest.approx(SCORES)
    with pytest.raises(ValueError, match="no seeds"):
        record(Scripted(card, BOXES, SCORES), seeds=[])


def test_the_same_detections_pass(card: ModelCard) -> None:
    report = replay(Scripted(card, BOXES, SCORES))
    assert report.passed and report.expected == report.found == 3
    assert "3 agree" in str(report)


@pytest.mark.parametrize(
    ("boxes", "scores"),
    [
        ([], []),
        (BOXES[:2], SCORES[:2]),
        ([*BOXES, [0, 300, 80, 400]], [*SCORES, 0.95]),
        ([[10, 10, 110, 90], *BOXES[1:]], SCORES),
        (BOXES, [0.9, 0.6, 0.5]),
    ],
    ids=["nothing", "one missing", "one invented", "a box moved", "a score changed"],
)
def test_other_detections_fail(card: ModelCard, boxes: Any, scores: Any) -> None:
    with pytest.raises(SelftestError, match=r"self-test failed: .* build the engine again here"):
        require_golden(Scripted(card, boxes, scores))


def test_precision_decides_what_may_differ(card: ModelCard) -> None:
    shifted = [value + 0.02 for value in SCORES]
    assert not replay(Scripted(card, BOXES, shifted)).passed
    assert replay(Scripted(replace(card, precision="fp16"), BOXES, shifted)).passed


class Fickle(Scripted):
    """Finds its last box on some frames only: those of ``seeds``, to the last grey level."""

    def __init__(self, card: ModelCard, boxes: Any, scores: Any, seeds: tuple[int, ...]) -> None:
        super().__init__(card, boxes, scores)
        self.frames = [golden_frame(seed).tobytes() for seed in seeds]

    def detect(self, frame: np.ndarray) -> Detections:
        found = super().detect(frame)
        return found if frame.tobytes() in self.frames else found[: len(found) - 1]


def test_what_a_grey_level_changes_is_not_asked_of_another_machine(card: ModelCard) -> None:
    golden = record(Fickle(card, BOXES, SCORES, (5,)), seeds=[5])
    assert golden["steadiness"] == pytest.approx(2 / 3, abs=1e-3)
    unsteady = replace(card, golden=golden)
    report = replay(Scripted(unsteady, BOXES[:2], SCORES[:2]))
    assert report.passed and "67% would do" in str(report)
    assert not replay(Scripted(unsteady, BOXES[:1], SCORES[:1])).passed


def test_a_steady_scene_is_preferred(card: ModelCard) -> None:
    class OfTwo(Fickle):
        def detect(self, frame: np.ndarray) -> Detections:
            return super().detect(frame) if frame.tobytes() in self.frames else Scripted.detect(self, frame)[:2]

    assert record(OfTwo(card, BOXES, SCORES, (5,)), seeds=[5, 6])["seed"] == 6
    assert record(Scripted(card, BOXES, SCORES), seeds=[5, 6])["seed"] == 5


def test_more_scenes_are_tried_where_nothing_is_found(card: ModelCard) -> None:
    class OnlyThirty(Scripted):
        def detect(self, frame: np.ndarray) -> Detections:
            near = np.abs(frame.astype(int) - golden_frame(30)).max() <= 1
            return super().detect(frame) if near else super().detect(frame)[:0]

    golden = record(OnlyThirty(card, BOXES, SCORES))
    assert (golden["seed"], len(golden["boxes"]), golden["steadiness"]) == (30, 3, 1.0)
    empty = record(Scripted(card, [], []), seeds=[5])
    assert (empty["seed"], empty["boxes"], empty["steadiness"]) == (5, [], None)
    assert "can be compared" in empty["absent"]["steadiness"]


@pytest.mark.parametrize("count", [5, 12])
def test_of_a_steady_scene_every_detection_is_asked_for(card: ModelCard, count: int) -> None:
    boxes = [[40 * i, 10, 40 * i + 30, 200] for i in range(count)]
    scores = [0.95 - 0.05 * i for i in range(count)]
    card = replace(card, golden=record(Scripted(card, boxes, scores), seeds=[5]))
    assert replay(Scripted(card, boxes, scores)).passed
    for wrong in ((boxes[1:], scores[1:]), ([*boxes, [0, 300, 80, 400]], [*scores, 0.99])):
        assert not replay(Scripted(card, *wrong)).passed
    moved = [[0, 0, 300, 400], *boxes[1:]]
    assert not replay(Scripted(card, moved, scores)).passed


def test_an_unsteady_scene_is_no_proof_and_an_empty_one_is_taken_instead(card: ModelCard) -> None:
    class Chaos(Scripted):
        """Finds everything on scene 5, elsewhere on every other frame it sees."""

        def detect(self, frame: np.ndarray) -> Detections:
            found = super().detect(frame)
            return found if frame.tobytes() == golden_frame(5).tobytes() else found[:0]

    golden = record(Chaos(card, BOXES, SCORES), seeds=[5, 6])
    assert (golden["seed"], golden["boxes"], golden["steadiness"]) == (6, [], None)
    quiet = replace(card, golden=golden)
    assert replay(Scripted(quiet, [], [])).passed
    assert not replay(Scripted(quiet, BOXES, SCORES)).passed, "what invents boxes is found out"
    # Without such a scene something is asked for all the same.
    only = replace(card, golden=record(Chaos(card, BOXES, SCORES), seeds=[5]))
    assert only.golden is not None and only.golden["steadiness"] == 0.0
    assert not replay(Scripted(only, [], [])).passed
    assert not replay(Scripted(only, [[0, 300, 80, 400]] * 9, [0.9] * 9)).passed


def test_what_lies_near_the_threshold_decides_nothing(card: ModelCard) -> None:
    assert replay(Scripted(card, [*BOXES, [0, 300, 80, 400]], [*SCORES, 0.251])).passed
    assert replay(Scripted(card, BOXES[:2], SCORES[:2]), conf=0.6).passed


def test_artifacts_without_golden_input_say_so(card: ModelCard) -> None:
    with pytest.raises(ArtifactError, match="no golden input"):
        replay(Scripted(replace(card, golden=None), BOXES, SCORES))
    with pytest.raises(ArtifactError, match="golden input is broken"):
        replay(Scripted(replace(card, golden={"seed": 1, "height": 48, "width": 64}), BOXES, SCORES))
    for wrong in (
        {"seed": "x"},
        {"seed": float("inf")},
        {"height": None},
        {"height": -3},
        {"steadiness": []},
        {"steadiness": -1},
        {"steadiness": float("nan")},
        {"labels": [2**31]},
    ):
        with pytest.raises(ArtifactError, match="golden input is broken"):
            replay(Scripted(replace(card, golden={**(card.golden or {}), **wrong}), BOXES, SCORES))


def test_a_detector_can_insist_on_it(tmp_path: Path) -> None:
    save_rectangle_graph(tmp_path / "model.onnx")
    with pytest.raises(ArtifactError, match="no golden input"):
        Detector(tmp_path / "model.onnx", selftest=True)


def test_a_golden_frame_without_anything_in_it_says_how_little_it_shows(card: ModelCard) -> None:
    empty = Scripted(card, [], [])
    report = replay(Scripted(replace(card, golden=record(empty, seeds=[5])), [], []))
    assert report.passed
    assert "it ran, which is all this shows; see edgedet parity" in str(report)
    assert not report.telling


def test_a_scene_in_which_nothing_is_found_proves_nothing(card: ModelCard) -> None:
    quiet = replace(card, golden=record(Scripted(card, [], []), seeds=[5]))
    with pytest.raises(SelftestError, match=r"proves nothing: golden frame 5 .*edgedet parity"):
        require_golden(Scripted(quiet, [], []))
    assert not require_golden(Scripted(quiet, [], []), unproved="accept").telling
    with pytest.raises(SelftestError, match="self-test failed"):
        require_golden(Scripted(quiet, BOXES, SCORES), unproved="accept")


def test_a_lone_detection_that_was_the_last_to_be_kept_is_no_proof(card: ModelCard) -> None:
    """Which one that is, is a matter of rounding; a scene with something to compare is preferred."""
    one = replace(card, output=replace(card.output, max_detections=1))
    golden = record(Scripted(one, BOXES[:1], SCORES[:1]), seeds=[5])
    assert (golden["truncated"], golden["steadiness"]) == (True, None)
    with pytest.raises(SelftestError, match="proves nothing"):
        require_golden(Scripted(replace(one, golden=golden), BOXES[:1], SCORES[:1]))

    class Either(Scripted):
        """On scene 6 two boxes, of which one can be compared; elsewhere a single sure one."""

        def detect(self, frame: np.ndarray) -> Detections:
            near = np.abs(frame.astype(int) - golden_frame(6)).max() <= 1
            return super().detect(frame)[1:] if near else super().detect(frame)[:1]

    two = Either(one, BOXES, [0.95, 0.5, 0.4])
    assert record(two, seeds=[5, 6])["seed"] == 6


def test_a_threshold_above_every_golden_score_leaves_nothing_to_prove(card: ModelCard) -> None:
    with pytest.raises(SelftestError, match=r"proves nothing.*scores of 0\.95 or more"):
        require_golden(Scripted(card, [], []), conf=0.95)
