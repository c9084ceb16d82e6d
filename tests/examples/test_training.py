"""Training on pictures: outlines move with their boxes; weights of another architecture are taken if they fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgedet.datasets import read_dataset
from edgedet.export.families.torchvision_architectures import build
from examples.render import write_dataset
from examples.training.negatives import MIN_NEGATIVES, learn_from_empty
from examples.training.pictures import Picture, Pictures, mirrored, read, shrunk, vary, zoomed
from examples.training.start import start_from


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scenes with outlines."""
    return write_dataset(tmp_path_factory.mktemp("scenes"), 6, seed=0, size=(320, 240), outlines=True)


@pytest.fixture
def picture() -> Picture:
    """A square and a bar, filled on the picture as in their masks."""
    masks = np.zeros((2, 120, 160), np.uint8)
    masks[0, 20:60, 30:70] = 1
    masks[1, 70:110, 100:130] = 1
    image = np.repeat((masks.max(0) * 200)[:, :, None], 3, axis=2)
    boxes = np.array([[30, 20, 70, 60], [100, 70, 130, 110]], np.float32)
    return Picture(image, boxes, np.array([0, 1]), masks)


def bounds(mask: np.ndarray) -> np.ndarray:
    """Edges of the pixels that are set."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def require_together(picture: Picture, tolerance: float) -> None:
    """Masks fill their boxes, and are where the picture is bright."""
    assert picture.masks is not None and len(picture.masks) == len(picture.boxes) == len(picture.labels)
    assert picture.masks.shape[1:] == picture.image.shape[:2]
    for box, mask in zip(picture.boxes, picture.masks, strict=True):
        np.testing.assert_allclose(bounds(mask), box, atol=tolerance)
    bright = picture.image[:, :, 1] > 100
    np.testing.assert_array_less(np.mean(bright != picture.masks.max(0)), 0.02)


def test_masks_move_with_their_boxes(picture: Picture) -> None:
    require_together(picture, 0)
    flipped = mirrored(picture)
    require_together(flipped, 0)
    assert flipped.boxes[0].tolist() == [90, 20, 130, 60]
    require_together(shrunk(picture, 0.5), 0.01)
    matrix = np.array([[1.3, 0, -20], [0, 1.2, -10]], np.float32)
    moved = zoomed(picture, matrix, 1.25, [0, 0, 0])
    require_together(moved, 1)
    np.testing.assert_allclose(moved.boxes[0], [19, 14, 71, 62])


def test_an_object_that_leaves_the_picture_takes_its_mask_along(picture: Picture) -> None:
    matrix = np.array([[1, 0, -95], [0, 1, 0]], np.float32)
    left = zoomed(picture, matrix, 1.0, [0, 0, 0])
    assert left.labels.tolist() == [1]
    require_together(left, 1)


def test_random_variation_keeps_masks_in_their_boxes(dataset: Path) -> None:
    images = [image for image in read_dataset(dataset, outlines=True).images if len(image)]
    seen = 0
    for seed in range(12):
        varied = vary(np.random.default_rng(seed), read(images[seed % len(images)], outlines=True))
        assert varied.masks is not None
        for box, mask in zip(varied.boxes, varied.masks, strict=True):
            # The box of what has left the picture in part is that of the whole object, cut off.
            left, top, right, bottom = bounds(mask) - box + [2, 2, -2, -2]
            assert min(left, top) >= 0 >= max(right, bottom)
            seen += 1
    assert seen > 8


def test_variation_of_boxes_is_the_same_with_masks_and_without(picture: Picture) -> None:
    for seed in range(8):
        with_masks = vary(np.random.default_rng(seed), picture)
        without = vary(np.random.default_rng(seed), replace(picture, masks=None))
        np.testing.assert_array_equal(with_masks.boxes, without.boxes)
        np.testing.assert_array_equal(with_masks.image, without.image)


def test_targets_are_those_of_torchvision(dataset: Path) -> None:
    images = [image for image in read_dataset(dataset, outlines=True).images if len(image)]
    torch.manual_seed(0)  # by which pictures vary: in some no object is left
    image, target = Pictures(images, 128, outlines=True)[0]
    assert image.shape[0] == 3 and image.shape[1:] == target["masks"].shape[1:]
    assert target["masks"].dtype == torch.uint8 and set(target["masks"].unique().tolist()) == {0, 1}
    assert len(target["masks"]) == len(target["boxes"]) == len(target["labels"])
    assert target["labels"].min() >= 1 and min(image.shape[1:]) == 160
    assert "masks" not in Pictures(images, 128)[0][1]


class Named(torch.nn.Module):
    """Tensors of these names and shapes, all zero."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.shapes = shapes
        self.held = {name: torch.zeros(shape) for name, shape in shapes.items()}

    def state_dict(self) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """What it holds."""
        return self.held

    def load_state_dict(self, state: dict[str, torch.Tensor], strict: bool = True) -> None:  # type: ignore[override]
        """Take what comes."""
        assert not strict
        self.held |= state


def test_weights_are_taken_by_name_and_shape_also_from_ssdlites_backbone() -> None:
    fpn = Named(
        {
            "backbone.body.0.0.weight": (16, 3),
            "backbone.body.13.block.0.0.weight": (672, 112),
            "backbone.body.13.block.3.0.weight": (160, 672),
            "backbone.body.14.block.0.0.weight": (8, 4),
            "backbone.body.16.0.weight": (5, 4),
            "rpn.head.weight": (3, 3),
        }
    )
    taken = start_from(
        fpn,
        {
            "backbone.features.0.0.0.weight": torch.ones(16, 3, dtype=torch.float16),
            "backbone.features.0.13.0.weight": torch.full((672, 112), 2.0),
            # Of a reduced tail.
            "backbone.features.1.0.3.0.weight": torch.ones(80, 672),
            "backbone.features.1.1.block.0.0.weight": torch.full((8, 4), 3.0),
            "backbone.features.1.3.0.weight": torch.full((5, 4), 4.0),
            "rpn.head.weight": torch.full((3, 3), 5.0),
            "head.weight": torch.ones(2),
        },
    )
    assert taken == set(fpn.shapes) - {"backbone.body.13.block.3.0.weight"}
    assert [float(tensor.max()) for tensor in fpn.held.values()] == [1, 2, 0, 3, 4, 5]
    assert fpn.held["backbone.body.0.0.weight"].dtype == torch.float32


def test_ssdlites_backbone_fits_a_mask_rcnns() -> None:
    from edgedet.export.families.torchvision_architectures import build

    with torch.device("meta"):  # names and shapes alone
        names = build("ssdlite320_mobilenet_v3_large", 3).state_dict()
        model = build("maskrcnn_mobilenet_v3_large_fpn", 3)
    taken = start_from(model, names)
    body = {name for name in model.state_dict() if name.startswith("backbone.body.")}
    tail = {name for name in body if int(name.split(".")[2]) >= 13}
    assert body - tail <= taken and {"backbone.body.13.block.1.0.weight"} <= taken


@pytest.mark.parametrize("over_batch", [False, True])
def test_pictures_without_objects_teach_an_ssd(over_batch: bool) -> None:
    """torchvision 0.29.1's own loss of such a picture is 0 (findings/torchvision-ssd-empty-pictures.sh)."""
    torch.manual_seed(0)
    model: Any = build("ssdlite320_mobilenet_v3_large", 3).train()
    if over_batch:
        learn_from_empty(model)
    pictures = [torch.rand(3, 320, 320) for _ in range(2)]
    empty = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)} for _ in pictures]
    assert (float(model(pictures, empty)["classification"].detach()) > 0) == over_batch


def test_hard_negatives_are_the_batch_s() -> None:
    """Three default boxes for each with an object, wherever in the batch they are, and some of every picture."""
    model: Any = build("ssdlite320_mobilenet_v3_large", 3)
    learn_from_empty(model)
    count = 400
    anchors = torch.tensor([[0.0, 0, 10, 10]]).repeat(count, 1)
    matched = torch.full((3, count), -1)
    matched[0, :20] = 0
    targets = [
        {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([2])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    logits = torch.zeros(3, count, 3)
    logits[1, :, 1] = torch.linspace(1, 3, count)
    logits.requires_grad_()
    heads = {"bbox_regression": torch.zeros(3, count, 4), "cls_logits": logits}
    loss = model.compute_loss(targets, heads, [anchors] * 3, list(matched))["classification"]
    loss.backward()
    learnt = logits.grad.abs().sum(2) > 0
    assert learnt.sum(1).tolist() == [20 + MIN_NEGATIVES, 3 * 20, MIN_NEGATIVES]
    assert learnt[0, :20].all() and learnt[1, -60:].all()
    expected = torch.nn.functional.cross_entropy(
        logits[learnt], torch.tensor([2] * 20 + [0] * (2 * MIN_NEGATIVES + 60)), reduction="sum"
    )
    torch.testing.assert_close(loss, expected / 20)
