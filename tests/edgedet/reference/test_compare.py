"""When a detector agrees with boxes made elsewhere: scores, limits, rare classes, single pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgedet.detections import Detections
from edgedet.errors import ReferenceBoxesError
from edgedet.proof.parity import ELSEWHERE, Tolerance
from edgedet.reference.compare import Comparison, Request, compare
from edgedet.reference.pictures import Reference, ReferencePicture

NAMES = ("cat", "dog", "emu")
USUAL = Request()
Row = tuple[float, int]
"""Score and label; every box of a picture has a place of its own."""


def boxes(count: int) -> NDArray[np.float64]:
    x, y = np.arange(count) % 10 * 60.0, np.arange(count) // 10 * 60.0
    return np.stack([x, y, x + 50, y + 40], 1)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """One picture stands for all: its first pixel says which one it is."""
    cv2.imwrite(str(tmp_path / "p.png"), np.zeros((600, 600, 3), np.uint8))
    (tmp_path / "boxes.json").write_text("{}")
    return tmp_path / "p.png"


def judged(
    picture: Path,
    there: Sequence[Sequence[Row]],
    here: Sequence[Sequence[Row]],
    request: Request = USUAL,
    threshold: float | None = None,
) -> Comparison:
    def of(index: int, rows: Sequence[Row]) -> ReferencePicture:
        scores, labels = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], np.intp)
        return ReferencePicture(f"{index}.png", picture, (600, 600), boxes(len(rows)), scores, labels)

    pictures = tuple(of(index, rows) for index, rows in enumerate(there))
    answers = iter(here)

    def detect(image: NDArray[np.uint8]) -> Detections:
        rows = next(answers)
        scores = np.array([row[0] for row in rows], np.float32)
        labels = np.array([row[1] for row in rows], np.int32)
        kept = scores >= request.floor
        return Detections(boxes(len(rows))[kept].astype(np.float32), scores[kept], labels[kept], NAMES, (600, 600))

    return compare(Reference(picture.with_name("boxes.json"), NAMES, pictures, threshold), NAMES, detect, request)


def test_equal_boxes_agree_and_the_facts_say_what_was_compared(picture: Path) -> None:
    found = judged(picture, [[(0.9, 0), (0.5, 1)], []], [[(0.9, 0), (0.505, 1)], []])
    facts = found.facts()
    assert found.agrees and found.share == 1.0
    assert (facts["frames"], facts["detections"], facts["found"], facts["confirmed"]) == (2, 2, 1.0, 1.0)
    assert (facts["least_score"], facts["min_iou"], facts["required"], facts["classes_unseen"]) == (
        0.5,
        0.97,
        0.97,
        ["emu"],
    )
    assert (
        "100.0% of 2 boxes as in boxes.json on 2 pictures" in found.text()
        and "the lowest in boxes.json" in found.text()
    )
    assert any("nothing is said of emu" in caveat for caveat in found.caveats())
    assert any("more than rounding" in caveat for caveat in found.caveats())


def test_boxes_on_a_picture_where_the_reference_has_none_are_inventions(picture: Path) -> None:
    found = judged(picture, [[(0.9, 0)], []], [[(0.9, 0)], [(0.95, 0)]])
    assert found.report.confirmed == 0.5 and not found.agrees


def test_scores_below_either_threshold_are_not_compared(picture: Path) -> None:
    """There they begin at 0.4; what is here alone below that, or by a rounding above, is no invention."""
    there = [[(0.9, 0), (0.4, 0)]]
    found = judged(picture, there, [[(0.9, 0), (0.4, 0), (0.3, 0), (0.405, 0)]])
    assert found.agrees and found.tolerance.min_score == 0.4
    assert not judged(picture, there, [[(0.9, 0), (0.4, 0), (0.45, 0)]]).agrees
    # Here they begin at 0.5: what is there below that is not missing.
    found = judged(picture, there, [[(0.9, 0), (0.4, 0)]], Request(floor=0.5))
    assert found.agrees and found.tolerance.min_score == 0.51 and "detector's own threshold" in found.floor_is
    # Stated lower than the lowest there is: then 0.3 here alone is invented.
    assert not judged(picture, there, [[(0.9, 0), (0.4, 0), (0.3, 0)]], threshold=0.2).agrees


def test_nothing_compared_is_no_agreement(picture: Path) -> None:
    found = judged(picture, [[(0.3, 0)]], [[(0.3, 0)]], Request(floor=0.5))
    assert found.boxes == 0 and not found.agrees and found.share == 0.0
    assert "nothing was compared: neither" in found.text() and found.median_score_difference is None


def test_two_rare_classes_swapped_are_seen_whatever_the_share(picture: Path) -> None:
    common = [(0.9 - 0.005 * i, 0) for i in range(80)]
    found = judged(picture, [[*common, (0.45, 1), (0.43, 2)]], [[*common, (0.45, 2), (0.43, 1)]])
    assert found.share >= found.required and not found.agrees
    assert found.swapped == (("dog", "emu"), ("emu", "dog"))
    found = judged(picture, [[*common, (0.45, 1), (0.44, 1)]], [[*common, (0.45, 2), (0.44, 2)]])
    assert found.share >= found.required and found.swapped == (("dog", "emu"),)
    # A single one may be a near tie.
    found = judged(picture, [[*common, (0.45, 1)]], [[*common, (0.45, 2)]])
    assert found.agrees and not found.swapped
    # One box that is another class's, where the class agrees elsewhere, may be one too.
    found = judged(picture, [[*common, (0.45, 1), (0.43, 1)]], [[*common, (0.45, 2), (0.43, 1)]])
    assert found.agrees and not found.swapped


def test_a_picture_on_which_nothing_agrees_is_seen_whatever_the_share(picture: Path) -> None:
    common = [(0.9, 0)] * 90
    found = judged(picture, [common, common[1:], [(0.8, 0)] * 5], [common, common[1:], [(0.6, 0)] * 5])
    assert found.share >= found.required and not found.agrees and found.silent == ("2.png",)


def test_where_the_number_of_boxes_was_limited_the_last_ones_do_not_count(picture: Path) -> None:
    falling = [(0.9 - 0.01 * i, 0) for i in range(70)]
    found = judged(picture, [falling[:60], falling[:60]], [falling, falling])
    assert found.agrees and found.pairs[0].limits.there == pytest.approx(0.9 - 0.59)
    assert not judged(picture, [falling[:60], falling[:60]], [[(0.95, 0), *falling[1:]], [(0.95, 0)] * 5]).agrees
    # A limit of the detector's own.
    found = judged(picture, [falling, falling[:3]], [falling[:40], falling[:3]], Request(max_detections=40))
    assert found.agrees and found.report.reference_count == 43


def test_the_tolerance_asked_for_decides(picture: Path) -> None:
    there, here = [[(0.9, 0)] * 5], [[(0.8, 0)] * 5]
    assert not judged(picture, there, here).agrees
    assert judged(picture, there, here, Request(replace(ELSEWHERE, max_score_difference=0.2))).agrees
    assert judged(picture, there, there, Request(Tolerance())).agrees


def test_classes_that_are_not_the_detectors_are_refused_before_anything_runs(picture: Path) -> None:
    one = ReferencePicture("p", picture, (600, 600), boxes(1), np.array([0.5]), np.array([0]))
    reference = Reference(picture.with_name("boxes.json"), ("gnu",), (one,))
    with pytest.raises(ReferenceBoxesError, match="1 boxes of 'gnu'"):
        compare(reference, NAMES, lambda image: pytest.fail("ran"))
