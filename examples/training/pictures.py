"""Pictures as torchvision's detectors learn from them: varied at random, with their boxes and outlines."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from edgedet.datasets.dataset import ImageRecord
from edgedet.datasets.outlines import outline_pixels
from edgedet.pictures.image_file import read_image

Target = dict[str, torch.Tensor]
Sample = tuple[torch.Tensor, Target]


@dataclass(frozen=True)
class Picture:
    """``image``: uint8 [H, W, 3] BGR. ``boxes``: float32 [N, 4], x1, y1, x2, y2. ``labels``: int64 [N].
    ``masks``: uint8 [N, H, W], 1 on the pixels of each object; None where they are not learnt."""

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None

    def keep(self, chosen: np.ndarray) -> Picture:
        """The same picture with some of its objects, bool [N]."""
        masks = None if self.masks is None else self.masks[chosen]
        return replace(self, boxes=self.boxes[chosen], labels=self.labels[chosen], masks=masks)


class Pictures(Dataset[Sample]):
    """Images as float32 [3, H, W] RGB in 0..1 at the training size's resolution, randomly varied."""

    def __init__(self, images: list[ImageRecord], size: int, *, vary: bool = True, outlines: bool = False) -> None:
        self.images, self.size, self.vary, self.outlines = images, size, vary, outlines

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        picture = read(self.images[index], outlines=self.outlines)
        if self.vary:
            picture = vary(np.random.default_rng(torch.randint(1 << 31, ()).item()), picture)
        # Resize early: the model would do it anyway, but on float images four times as large.
        scale = min(1.0, self.size * 1.25 / min(picture.image.shape[:2]))
        if scale < 1:
            picture = shrunk(picture, scale)
        tensor = torch.from_numpy(picture.image[:, :, ::-1].copy()).permute(2, 0, 1).float() / 255
        target = {"boxes": torch.from_numpy(picture.boxes), "labels": torch.from_numpy(picture.labels) + 1}
        if picture.masks is not None:
            target["masks"] = torch.from_numpy(np.ascontiguousarray(picture.masks))
        return tensor, target


def read(record: ImageRecord, *, outlines: bool) -> Picture:
    """A picture of a dataset as it is on disk."""
    image = read_image(record.path)
    masks = None
    if outlines:
        size = (record.height, record.width)
        drawn = [outline_pixels(outline, size) for outline in record.outlines or ()]
        masks = np.array(drawn, np.uint8).reshape(-1, *size)
    return Picture(image, record.boxes.astype(np.float32), record.labels.astype(np.int64), masks)


def shrunk(picture: Picture, scale: float) -> Picture:
    """The whole picture in another size."""
    height, width = picture.image.shape[:2]
    image = cv2.resize(picture.image, None, fx=scale, fy=scale)
    boxes = picture.boxes * np.array([image.shape[1] / width, image.shape[0] / height] * 2, np.float32)
    masks = picture.masks
    if masks is not None:
        size = (image.shape[1], image.shape[0])
        # Half of a new pixel or more is the object's.
        shares = [cv2.resize(mask * 255, size, interpolation=cv2.INTER_AREA) for mask in masks]
        masks = np.array([share >= 128 for share in shares], np.uint8).reshape(-1, *size[::-1])
    return replace(picture, image=image, boxes=boxes, masks=masks)


def vary(rng: np.random.Generator, picture: Picture) -> Picture:
    """Mirror, zoom in or out, and change light and colour; objects that lose most of their area go."""
    height, width = picture.image.shape[:2]
    if rng.random() < 0.5:
        picture = mirrored(picture)
    if rng.random() < 0.7:
        zoom = float(np.exp(rng.uniform(np.log(0.7), np.log(1.7))))
        aspect = float(np.exp(rng.uniform(-0.15, 0.15)))
        matrix = np.array([[zoom * aspect, 0, 0], [0, zoom / aspect, 0]], np.float32)
        room = np.array([width - width * zoom * aspect, height - height * zoom / aspect])
        matrix[:, 2] = room * rng.uniform(0, 1, 2)
        picture = zoomed(picture, matrix, zoom, rng.integers(0, 256, 3).tolist())
    image = picture.image
    if rng.random() < 0.6:
        gain, shift = rng.uniform(0.7, 1.3), rng.uniform(-25, 25)
        tint = rng.normal(1, 0.06, 3)
        table = np.clip(np.arange(256)[:, None] * gain * tint + shift, 0, 255).astype(np.uint8)[None]
        image = cv2.LUT(np.ascontiguousarray(image), table)
    return replace(picture, image=np.ascontiguousarray(image), boxes=picture.boxes.astype(np.float32))


def mirrored(picture: Picture) -> Picture:
    """Left is right."""
    width = picture.image.shape[1]
    boxes = picture.boxes * [-1, 1, -1, 1] + [width, 0, width, 0]
    masks = None if picture.masks is None else picture.masks[:, :, ::-1]
    return replace(picture, image=picture.image[:, ::-1], boxes=boxes[:, [2, 1, 0, 3]], masks=masks)


def zoomed(picture: Picture, matrix: np.ndarray, zoom: float, fill: list[int]) -> Picture:
    """Stretched and moved by ``matrix`` [2, 3] within a picture of the same size; ``fill`` where nothing comes.

    An object stays whose box keeps a third of its area, ``zoom`` squared times what it was, and 6 pixels each way.
    """
    height, width = picture.image.shape[:2]
    size = (width, height)
    image = cv2.warpAffine(picture.image, matrix, size, flags=cv2.INTER_LINEAR, borderValue=fill)
    boxes = picture.boxes
    before = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) * zoom**2
    moved = boxes.copy()
    moved[:, 0::2] = boxes[:, 0::2] * matrix[0, 0] + matrix[0, 2]
    moved[:, 1::2] = boxes[:, 1::2] * matrix[1, 1] + matrix[1, 2]
    boxes = np.clip(moved, 0, [width, height, width, height])
    masks = picture.masks
    if masks is not None:
        warped = [cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST) for mask in masks]
        masks = np.array(warped, np.uint8).reshape(-1, height, width)
    sides = boxes[:, 2:] - boxes[:, :2]
    kept = (sides.prod(1) > 0.35 * before) & (sides.min(1) > 6)
    return replace(picture, image=image, boxes=boxes, masks=masks).keep(kept)
