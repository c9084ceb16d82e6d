"""A short training of networks by their repositories' own losses, on rendered scenes, on a CPU."""

from __future__ import annotations

import inspect
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.datasets import read_dataset
from edgedet.pictures.image_file import read_image

BATCH = 8
WARM_UP = 0.05
"""Share of the steps in which the rate grows to its peak."""
TOLD = 100
"""Steps from one line about the loss to the next."""


@dataclass(frozen=True)
class Scenes:
    """``images``: RGB uint8 [N, 3, S, S]. ``boxes``: of each, float32 [n, 4], centre and size as shares of the
    side. ``labels``: of each, int64 [n]."""

    images: np.ndarray
    boxes: list[np.ndarray]
    labels: list[np.ndarray]


Loss = Callable[[Any, list[np.ndarray], list[np.ndarray]], Any]
"""(images float32 [B, 3, S, S] in 0..1, boxes and labels of each as in :class:`Scenes`) to what is made small."""


@dataclass(frozen=True)
class Course:
    """``steps`` of AdamW up to a ``rate``, which falls like half a cosine; gradients no longer than ``clip``."""

    steps: int
    rate: float
    clip: float


def read_scenes(data: Path, split: str) -> Scenes:
    """Those of a ``data.yaml``, into memory."""
    dataset = read_dataset(f"{data}:{split}")
    images, boxes, labels = [], [], []
    for record in dataset.images:
        picture = read_image(record.path)
        height, width = picture.shape[:2]
        corners = np.asarray(record.boxes, np.float32).reshape(-1, 4) / np.float32([width, height, width, height])
        images.append(picture[:, :, ::-1].transpose(2, 0, 1))
        boxes.append(
            np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
        )
        labels.append(np.asarray(record.labels, np.int64))
    return Scenes(np.stack(images), boxes, labels)


def train(network: Any, loss: Loss, scenes: Scenes, course: Course, *, seed: int = 0) -> None:
    """Train a torch module, in place."""
    import torch

    network.train()
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=course.rate)
    begun, recent = time.monotonic(), []
    for step, chosen in enumerate(_batches(len(scenes.images), course.steps, seed)):
        for group in optimizer.param_groups:
            group["lr"] = course.rate * _share(step / course.steps)
        images = torch.from_numpy(scenes.images[chosen]).float() / 255
        value = loss(images, [scenes.boxes[i] for i in chosen], [scenes.labels[i] for i in chosen])
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), course.clip)
        optimizer.step()
        recent.append(float(value.detach()))
        if step % TOLD == TOLD - 1:
            left = (time.monotonic() - begun) / (step + 1) * (course.steps - step - 1)
            print(f"step {step + 1}: loss {np.mean(recent):.3f}, {left:.0f} s left", file=sys.stderr, flush=True)
            recent.clear()
    network.eval()


def _batches(count: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    rng, left = np.random.default_rng(seed), np.zeros(0, int)
    for _ in range(steps):
        if len(left) < BATCH:
            left = rng.permutation(count)
        chosen, left = left[:BATCH], left[BATCH:]
        yield chosen


def _share(passed: float) -> float:
    """Of the peak rate."""
    if passed < WARM_UP:
        return passed / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (passed - WARM_UP) / (1 - WARM_UP)))


def rows_of_targets(boxes: list[np.ndarray], labels: list[np.ndarray]) -> Any:
    """Targets as YOLOs take them: float32 [n, 6] of picture, class, centre and size."""
    import torch

    rows = [
        np.column_stack([np.full(len(own), number), classes, own])
        for number, (own, classes) in enumerate(zip(boxes, labels, strict=True))
    ]
    return torch.from_numpy(np.concatenate(rows).astype(np.float32))


def anchor_loss(network: Any) -> Loss:
    """YOLOv5's and YOLOv7's, by the repository that is on the path."""
    from utils.loss import ComputeLoss

    network.hyp = {
        "box": 0.05, "cls": 0.5, "cls_pw": 1.0, "obj": 1.0, "obj_pw": 1.0, "anchor_t": 4.0, "fl_gamma": 0.0,
        "label_smoothing": 0.0,
    }  # fmt: skip
    network.gr = 1.0
    compute = ComputeLoss(network)

    def loss(images: Any, boxes: list[np.ndarray], labels: list[np.ndarray]) -> Any:
        return compute(network(images), rows_of_targets(boxes, labels))[0].sum()

    return loss


def matching_loss(network: Any, criterion: Any) -> Loss:
    """DETRs': a criterion that matches queries to objects."""
    import torch

    # Some criteria change with the epoch; RT-DETR's first takes none.
    told = {"epoch": 0, "step": 0, "global_step": 0, "epoch_step": 1}
    passed = told if "kwargs" in inspect.signature(criterion.forward).parameters else {}

    def loss(images: Any, boxes: list[np.ndarray], labels: list[np.ndarray]) -> Any:
        targets = [
            {"boxes": torch.from_numpy(own), "labels": torch.from_numpy(classes)}
            for own, classes in zip(boxes, labels, strict=True)
        ]
        return sum(criterion(network(images, targets=targets), targets, **passed).values())

    return loss
