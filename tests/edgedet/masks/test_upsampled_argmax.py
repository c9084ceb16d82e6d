"""The class of every pixel is that of PyTorch's stretched scores, though only a few of them are stretched."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from edgedet.errors import ArtifactError
from edgedet.masks import upsampled_argmax as module
from edgedet.masks.class_map_reader import to_frame
from edgedet.masks.upsampled_argmax import upsampled_argmax

torch = pytest.importorskip("torch", reason="needs edgedet[export]")


def smooth(classes: int, height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """Scores that change slowly from place to place, some classes far below the others."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, classes, height, width, generator=generator)
    noise = torch.nn.functional.avg_pool2d(noise, 5, 1, 2) if min(height, width) > 5 else noise
    levels = torch.linspace(-3, 0, classes)[None, :, None, None]
    return (noise + levels)[0].numpy()


def stretched(logits: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    tensor = torch.from_numpy(logits)[None]
    return torch.nn.functional.interpolate(tensor, canvas, mode="bilinear", align_corners=False)[0].numpy()


@pytest.mark.parametrize(
    ("grid", "canvas"),
    [((33, 44), (260, 347)), ((65, 87), (520, 693)), ((1, 1), (9, 7)), ((1, 5), (16, 40)), ((12, 16), (12, 16))],
)
def test_labels_are_those_of_all_stretched_scores(grid: tuple[int, int], canvas: tuple[int, int]) -> None:
    logits = smooth(21, *grid)
    expected = stretched(logits, canvas)
    whole = slice(0, canvas[0]), slice(0, canvas[1])
    labels, none = upsampled_argmax(logits, canvas, rows=whole[0], columns=whole[1])
    assert none is None and labels.dtype == np.uint8
    assert (labels == expected.argmax(axis=0)).mean() > 1 - 1e-4
    _, shares = upsampled_argmax(logits, canvas, rows=whole[0], columns=whole[1], shares=True)
    assert shares is not None
    softmax = np.exp(expected - expected.max(axis=0)).sum(axis=0)
    np.testing.assert_allclose(shares, 1 / softmax, atol=1e-4)


def test_a_part_of_the_canvas_is_that_part_of_the_whole() -> None:
    logits, canvas = smooth(5, 10, 20), (80, 160)
    whole, _ = upsampled_argmax(logits, canvas, rows=slice(0, 80), columns=slice(0, 160))
    part, _ = upsampled_argmax(logits, canvas, rows=slice(3, 50), columns=slice(7, 99))
    np.testing.assert_array_equal(part, whole[3:50, 7:99])


def test_classes_that_cannot_win_are_left_out_and_those_that_win_between_places_are_not() -> None:
    # Between two places, the third class is the best, and it is at neither of them.
    logits = np.float32([[[4, 0]], [[0, 4]], [[3, 3]], [[-9, -9]]])
    assert module._contenders(logits).tolist() == [0, 1, 2]
    labels, _ = upsampled_argmax(logits, (1, 40), rows=slice(0, 1), columns=slice(0, 40))
    assert labels[0, [0, 20, 39]].tolist() == [0, 2, 1]


def test_more_than_256_classes_have_labels_of_their_own() -> None:
    logits = np.zeros((300, 2, 2), np.float32)
    logits[299] = 1
    labels, _ = upsampled_argmax(logits, (4, 4), rows=slice(0, 4), columns=slice(0, 4))
    assert labels.dtype == np.uint16 and (labels == 299).all()


@pytest.mark.parametrize("grid", [(2, 2), (4, 4)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(grid: tuple[int, int], value: float) -> None:
    logits = np.zeros((3, *grid), np.float32)
    logits[1, 0, 1] = value
    with pytest.raises(ArtifactError, match="no finite numbers"):
        upsampled_argmax(logits, (4, 4), rows=slice(0, 4), columns=slice(0, 4))


@pytest.mark.parametrize("size", [(37, 53), (7, 11), (20, 30), (41, 19)])
def test_a_frames_pixel_takes_the_class_that_its_centre_lies_in(size: tuple[int, int]) -> None:
    labels = np.random.default_rng(1).integers(0, 200, (20, 30)).astype(np.uint8)
    rows, columns = (
        [int((place + Fraction(1, 2)) * source / target) for place in range(target)]
        for source, target in zip((20, 30), size, strict=True)
    )
    np.testing.assert_array_equal(to_frame(labels, size), labels[rows][:, columns])
    # PyTorch's are these, but for its rounding.
    tensor = torch.from_numpy(labels)[None, None].float()
    theirs = torch.nn.functional.interpolate(tensor, size, mode="nearest-exact")[0, 0].numpy()
    assert (to_frame(labels, size) == theirs).mean() > 0.75
