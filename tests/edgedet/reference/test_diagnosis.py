"""What differs from boxes made elsewhere is told apart: names, scores, places, colours, readings of the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgedet.detections import Detections
from edgedet.reference.compare import Comparison, compare
from edgedet.reference.diagnosis import EVERYTHING, Finding, diagnose, summary
from edgedet.reference.pictures import Reference, ReferencePicture

NAMES = ("cat", "dog", "emu")
SIZE = (400, 600)
Change = Callable[[Detections], Detections]


def scene(seed: int) -> Detections:
    """Twelve boxes in a grid of places, none near the edge, of all classes."""
    random = np.random.default_rng(seed)
    corner = np.stack([np.arange(12) % 4 * 130 + 30, np.arange(12) // 4 * 110 + 30], 1) + random.uniform(
        0, 20, (12, 2)
    )
    sides = random.uniform(40, 70, (12, 2))
    found = np.concatenate([corner, corner + sides], 1).astype(np.float32)
    scores = np.sort(random.uniform(0.3, 0.95, 12))[::-1].astype(np.float32)
    return Detections(found, scores, np.arange(12) % 3, NAMES, SIZE)


def judged(
    tmp_path: Path, change: Change, read: Change = lambda found: found, coloured: bool = False
) -> list[Finding]:
    """The scenes as the truth, and each with ``change`` made to it as what is found."""
    pictures = []
    for seed in range(4):
        path = tmp_path / f"{seed}.png"
        image = np.zeros((*SIZE, 3), np.uint8)
        image[0, 0] = (10, seed, 200)
        cv2.imwrite(str(path), image)
        truth = read(scene(seed))
        box = truth.boxes.astype(np.float64)
        pictures.append(
            ReferencePicture(
                path.name, path, SIZE[::-1], box, truth.scores.astype(np.float64), truth.labels.astype(int)
            )
        )
    reference = Reference(tmp_path / "boxes.json", NAMES, tuple(pictures))

    def detect(image: NDArray[np.uint8]) -> Detections:
        found = scene(int(image[0, 0, 1]))
        return found if coloured and image[0, 0, 0] == 200 else change(found)

    comparison: Comparison = compare(reference, NAMES, detect)
    assert not comparison.agrees
    return diagnose(comparison, detect)


def scaled(x: float, y: float, dx: float = 0, dy: float = 0) -> Change:
    return lambda found: replace(found, boxes=found.boxes * np.float32([x, y, x, y]) + np.float32([dx, dy, dx, dy]))


def grown(x: float, y: float) -> Change:
    def change(found: Detections) -> Detections:
        centre, side = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2, found.boxes[:, 2:] - found.boxes[:, :2]
        half = side / 2 * np.float32([x, y])
        return replace(found, boxes=np.concatenate([centre - half, centre + half], 1))

    return change


@pytest.mark.parametrize(
    ("change", "words", "suspects"),
    [
        (
            lambda f: replace(f, labels=(f.labels + 1) % 3),
            "'cat' is 'dog' here.*counted from another",
            ("class names",),
        ),
        (
            lambda f: replace(f, labels=np.array([1, 0, 2])[f.labels]),
            "'cat' is 'dog' here, 'dog' is 'cat' here",
            ("class names",),
        ),
        (
            lambda f: replace(f, scores=f.scores - 0.05),
            r"other scores \(scores lower by 0.05 on the median",
            ("mean/std", "colour"),
        ),
        (scaled(1, 1, 7, -4), r"shifted by \+7\.0 pixels across and -4\.0 down", ("input size",)),
        (scaled(1.08, 0.9), r"scaled by 1\.08 across and 0\.9 down", ("input size",)),
        (
            grown(1.2, 1.1),
            r"1\.2 times as wide and 1\.1 times as high here, about the same centres",
            ("box weights",),
        ),
    ],
)
def test_one_cause_is_named_and_explains_everything(
    change: Change, words: str, suspects: tuple[str, ...], tmp_path: Path
) -> None:
    import re

    first = judged(tmp_path, change)[0]
    assert re.search(words, first.text), first.text
    assert first.share > 0.95 and first.suspects[: len(suspects)] == suspects


def test_red_and_blue_swapped_are_found_by_trying(tmp_path: Path) -> None:
    findings = judged(tmp_path, lambda f: replace(f[:6], scores=f.scores[:6] * np.float32(0.5)), coloured=True)
    assert findings[0].text.startswith("red and blue are swapped") and findings[0].share == 1.0
    assert findings[0].suspects == ("colour",)


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda b: np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], 1), "corners x1, y1, x2, y2"),
        (lambda b: b + np.tile((b[:, 2:] - b[:, :2]) / 2, 2), "the centre, width and height"),
        (lambda b: b[:, [1, 0, 3, 2]], "y, x, height, width"),
    ],
)
def test_a_file_that_means_something_else(
    read: Callable[[NDArray[np.float32]], NDArray[np.float32]], words: str, tmp_path: Path
) -> None:
    findings = judged(tmp_path, lambda f: f, lambda f: replace(f, boxes=read(f.boxes)))
    assert words in findings[0].text and "mend the file" in findings[0].text and findings[0].share > 0.95


def test_boxes_off_with_the_very_same_scores_point_past_the_network(tmp_path: Path) -> None:
    random = np.random.default_rng(5)

    def jittered(found: Detections) -> Detections:
        return replace(found, boxes=found.boxes + random.uniform(-8, 8, found.boxes.shape).astype(np.float32))

    (only,) = judged(tmp_path, jittered)
    assert "the very same scores" in only.text and only.suspects[:2] == ("default boxes", "anchors")


def test_what_nothing_explains_is_described(tmp_path: Path) -> None:
    (only,) = judged(tmp_path, lambda f: f[:0])
    assert only.text == "no box is at the place of another: 48 of 48 are missing here, 0 are here alone"
    assert only.suspects == EVERYTHING


def test_rare_classes_that_changed_places_are_the_first_thing_said(tmp_path: Path) -> None:
    """Where the share is reached all the same."""
    pictures = tuple(
        ReferencePicture(
            str(index),
            tmp_path / "0.png",
            SIZE[::-1],
            found.boxes.astype(float),
            found.scores.astype(float),
            labels,
        )
        for index in range(30)
        for found, labels in [(scene(index), np.where(index == 0, np.arange(12) % 3, 0) * np.ones(12, int))]
    )
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((*SIZE, 3), np.uint8))
    # On the first picture two boxes each are of the rare classes, which are each other's here.
    first = pictures[0].classes.copy()
    first[6:] = 0
    pictures = (replace(pictures[0], classes=first), *pictures[1:])
    numbers = iter(range(30))

    def detect(image: NDArray[np.uint8]) -> Detections:
        index = next(numbers)
        return replace(scene(index), labels=np.array([0, 2, 1])[pictures[index].classes])

    comparison = compare(Reference(tmp_path / "boxes.json", NAMES, pictures), NAMES, detect)
    assert comparison.share >= comparison.required and not comparison.agrees
    first_said = diagnose(comparison)[0]
    assert first_said.text == "classes are swapped: 'dog' is 'emu' here, 'emu' is 'dog' here"
    assert first_said.suspects == ("class names", "background")


def test_the_summary_says_how_much_a_cause_explains() -> None:
    findings = [Finding("a", 0.99, ()), Finding("b", 0.5, ()), Finding("c", 0.4, ())]
    assert summary(findings, 0.1) == "a; 99% would agree but for that. Or b; 50% would agree but for that"
