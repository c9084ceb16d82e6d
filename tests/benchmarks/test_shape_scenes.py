"""Scenes that networks are trained on: their labels are what is drawn, and a seed gives them again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.shape_scenes import SHAPES, scene, write_scenes
from edgedet.datasets import read_dataset
from edgedet.pictures.image_file import read_image

SIDE = 160


def test_a_box_holds_its_shape_and_nothing_of_it_lies_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    # On black without grain, what differs from the ground is the shape.
    monkeypatch.setattr("benchmarks.shape_scenes._ground", lambda rng, side: np.zeros((side, side, 3)))
    monkeypatch.setattr("benchmarks.shape_scenes.MOST", 1)
    for seed in range(12):
        picture, [(label, (x, y, width, height))] = scene(np.random.default_rng(seed), SIDE)
        rows, columns = np.nonzero(picture.sum(axis=2))
        assert 0 <= label < len(SHAPES)
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        drawn = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        np.testing.assert_allclose(np.array(box) * SIDE, drawn, atol=1)


def test_edgedet_reads_every_split_and_no_picture_is_in_two(tmp_path: Path) -> None:
    data = write_scenes(tmp_path / "first", {"train": 3, "val": 2, "test": 2}, side=SIDE, seed=5)
    seen = []
    for split, count in {"train": 3, "val": 2, "test": 2}.items():
        dataset = read_dataset(f"{data}:{split}")
        assert dataset.names == SHAPES and len(dataset.images) == count
        assert all(len(image.boxes) for image in dataset.images)
        seen += [read_image(image.path).tobytes() for image in dataset.images]
    assert len(set(seen)) == len(seen)


def test_a_seed_gives_its_scenes_again_and_another_seed_others(tmp_path: Path) -> None:
    for folder, seed in (("first", 5), ("again", 5), ("other", 6)):
        write_scenes(tmp_path / folder, {"test": 2}, side=SIDE, seed=seed)
    first, again, other = (
        [path.read_bytes() for path in sorted((tmp_path / folder).rglob("*.[pt][nx][gt]"))]
        for folder in ("first", "again", "other")
    )
    assert len(first) == 4 and first == again and first != other
