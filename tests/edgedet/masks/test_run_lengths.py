"""Run lengths against the COCO API's own."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.masks.run_lengths import coco_rle, decompressed, from_run_lengths, run_lengths


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("place", [(0, 0, 9, 7), (2, 1, 5, 4), (0, 3, 9, 4), (4, 0, 5, 7), (8, 6, 1, 1)])
def test_any_region_of_a_frame(share: float, place: tuple[int, int, int, int]) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    left, top, width, height = place
    generator = np.random.default_rng(int(share * 100))
    for _ in range(20):
        region = generator.uniform(size=(height, width)) < share
        frame = np.zeros((7, 9), np.uint8, order="F")
        frame[top : top + height, left : left + width] = region
        theirs = coco.encode(frame)
        assert coco_rle(region, left, top, (7, 9)) == {"size": [7, 9], "counts": theirs["counts"].decode()}
        assert run_lengths(region, left, top, (7, 9)).sum() == 63


def test_long_runs_take_several_characters() -> None:
    coco = pytest.importorskip("pycocotools.mask")
    frame = np.zeros((1080, 1920), np.uint8, order="F")
    frame[400:900, 300:1700] = 1
    ours = coco_rle(frame[400:900, 300:1700].astype(bool), 300, 400, frame.shape)
    assert ours["counts"] == coco.encode(frame)["counts"].decode()


def test_there_and_back() -> None:
    generator = np.random.default_rng(5)
    for share in (0.0, 0.01, 0.5, 1.0):
        region = generator.uniform(size=(28, 31)) < share
        counts = decompressed(coco_rle(region, 0, 0, region.shape)["counts"])
        np.testing.assert_array_equal(from_run_lengths(counts, (28, 31)), region)
    with pytest.raises(ValueError, match="expected 28 x 30"):
        from_run_lengths(counts, (28, 30))


@pytest.mark.parametrize("text", ["a", "0\x00", "\u00e9", "P" * 20])
def test_damaged_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        decompressed(text)
