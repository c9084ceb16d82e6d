"""Made pictures: the same every time, prepared as a camera's are, and answered more strongly than by chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from types import ModuleType

import numpy as np
import pytest

from edgedet.artifacts.card import InputSpec
from edgedet.calibration.drawn_objects import GENES, Placed, changed, draw, random_things
from edgedet.calibration.executor import GraphRunner
from edgedet.calibration.input_pictures import Canvas
from edgedet.calibration.stimuli import ANSWERS_COUNTED, OVER, stimuli
from edgedet.calibration.weak_boxes import WeakReader
from edgedet.detections import Detections


def test_pictures_are_answered_more_strongly_the_more_they_are_bred(tiny: ModuleType) -> None:
    run, reader = GraphRunner(tiny.tiny_detector(), threads=1), WeakReader(tiny.card(), ["boxes", "scores"])
    rounds: list[float] = []

    def answers(tensors: Sequence[np.ndarray]) -> Iterator[Detections]:
        found = list(reader(run, tensors))
        rounds.append(float(np.mean([one.scores.max() for one in found])))
        return iter(found)

    empty = [np.full((1, 32, 32, 3), 20, np.uint8)]
    made = stimuli(tiny.card(), empty, answers, count=4)
    again = stimuli(tiny.card(), empty, answers, count=4)
    assert all((one == other).all() for one, other in zip(made, again, strict=True))
    assert all(one.dtype == np.uint8 and one.shape == empty[0].shape for one in made)
    assert not (empty[0] != 20).any(), "frames are only read"
    strength = np.mean([found.scores.max() for found in reader(run, made)])
    assert strength > 1.2 * rounds[0]


def test_pictures_with_the_strongest_answers_are_kept_in_the_order_of_drawing(tiny: ModuleType) -> None:
    strengths, count = [0.3, 0.9, 0.2, 0.8, 0.5, 0.7, 0.1, 0.6], 4
    assert len(strengths) == OVER * count
    asked: list[list[np.ndarray]] = []

    def answers(tensors: Sequence[np.ndarray]) -> Iterator[Detections]:
        asked.append(list(tensors))
        for strength in islice(cycle(strengths), len(tensors)):
            # The weaker the strongest, the stronger the many others: those are not counted.
            scores = np.repeat(np.float32([strength, (1 - strength) / 10]), [ANSWERS_COUNTED, 40])
            boxes = np.tile(np.float32([2, 2, 30, 30]), (len(scores), 1))
            yield Detections(boxes, scores, np.zeros(len(scores), np.int32), tiny.NAMES, (32, 32))

    made = stimuli(tiny.card(), tiny.frames(2), answers, count=count)
    drawn = asked[-1]
    assert [next(i for i, one in enumerate(drawn) if one is picture) for picture in made] == [1, 3, 5, 7]


def test_a_network_that_answers_nothing_gets_pictures_all_the_same(tiny: ModuleType) -> None:
    nothing = Detections.empty(("light", "dark"), (32, 32))
    made = stimuli(tiny.card(), tiny.frames(2), lambda tensors: iter([nothing] * len(tensors)), count=3)
    assert len(made) == 3


def test_every_place_of_a_batch_is_drawn_on(tiny: ModuleType) -> None:
    frames = [np.full((2, 32, 32, 3), 20, np.uint8)]
    nothing = Detections.empty(("light", "dark"), (32, 32))
    made = stimuli(tiny.card(batch=2), frames, lambda tensors: iter([nothing] * (2 * len(tensors))), count=2)
    assert all((picture != 20).any() for tensor in made for picture in tensor)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("colour", ["BGR", "RGB"])
@pytest.mark.parametrize("normalise", ["graph", "host"])
def test_a_prepared_input_becomes_a_picture_and_back(layout: str, colour: str, normalise: str) -> None:
    spec = InputSpec(
        4, 6, 2, dtype="float32", layout=layout, colour=colour, normalise=normalise,
        scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4),
    )  # type: ignore[arg-type]  # fmt: skip
    pictures = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3)).astype(np.float32)
    canvas = Canvas(spec)
    tensor = canvas.tensor(pictures)
    assert tensor.shape == ((2, 3, 4, 6) if layout == "NCHW" else (2, 4, 6, 3)) and tensor.dtype == np.float32
    np.testing.assert_allclose(canvas.pictures(tensor), pictures, atol=1e-3)
    if normalise == "host":
        red = tensor[0, 0 if colour == "RGB" else 2, 0, 0] if layout == "NCHW" else None
        if red is not None:
            assert red == pytest.approx((pictures[0, 0, 0, 2] / 255 - 0.5) / 0.2, abs=1e-4)


def test_pixels_are_rounded_and_never_beyond_black_and_white() -> None:
    pictures = np.float32([-3, 19.4, 19.6, 254.6, 300, 127]).reshape(1, 1, 2, 3)
    assert Canvas(InputSpec(1, 2)).tensor(pictures).reshape(-1).tolist() == [0, 19, 20, 255, 255, 127]


def test_things_stay_inside_their_box_and_children_inside_their_bounds() -> None:
    rng = np.random.default_rng(1)
    for genes in random_things(rng, 40):
        placed = Placed(genes, *rng.uniform(0, 1, 2).tolist())
        picture = np.full((60, 80, 3), 128, np.float32)
        draw(picture, placed, rng)
        x1, y1, x2, y2 = placed.box(60, 80)
        touched = (picture != 128).any(axis=2)
        touched[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = False
        assert not touched.any() and picture.min() >= 0 and picture.max() <= 255
        child = changed(rng, genes)
        assert child.shape == (len(GENES),) and child.min() >= 0 and child.max() <= 1
