"""Train any torchvision architecture edgedet exports, on any dataset it reads.

    python examples/train.py --data build/scenes/instances_scenes.json --out build/sample.pt
    python examples/train.py --data voc_root:train --arch fasterrcnn_mobilenet_v3_large_320_fpn --out build/voc.pt

From scratch, or from --init's backbone and heads. The result is a checkpoint that `edgedet export` understands:
the moving average of the weights, as float16 with --half. A run that was killed goes on with --resume.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from edgedet.datasets import read_dataset
from edgedet.datasets.dataset import ImageRecord
from edgedet.export.checkpoints.checkpoint import load_checkpoint
from edgedet.export.families.architectures import ARCHITECTURES, build
from edgedet.export.training.settings import SECTION
from edgedet.export.training.torchvision import settings_of
from edgedet.pictures.image_file import read_image

Target = dict[str, torch.Tensor]
Sample = tuple[torch.Tensor, Target]


class Pictures(Dataset[Sample]):
    """Images as float32 [3, H, W] RGB in 0..1 at the training size's resolution, randomly varied."""

    def __init__(self, images: list[ImageRecord], size: int, *, vary: bool = True) -> None:
        self.images, self.size, self.vary = images, size, vary

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        record = self.images[index]
        image = read_image(record.path)
        boxes, labels = record.boxes.astype(np.float32), record.labels.astype(np.int64)
        if self.vary:
            rng = np.random.default_rng(torch.randint(1 << 31, ()).item())
            image, boxes, labels = vary(rng, image, boxes, labels)
        height, width = image.shape[:2]
        # Resize early: the model would do it anyway, but on float images four times as large.
        scale = min(1.0, self.size * 1.25 / min(height, width))
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale)
            boxes = boxes * np.array([image.shape[1] / width, image.shape[0] / height] * 2, np.float32)
        tensor = torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1).float() / 255
        return tensor, {"boxes": torch.from_numpy(boxes), "labels": torch.from_numpy(labels) + 1}


def vary(
    rng: np.random.Generator, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mirror, zoom in or out, and change light and colour; boxes that lose most of their area go."""
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        image = image[:, ::-1]
        boxes = boxes * [-1, 1, -1, 1] + [width, 0, width, 0]
        boxes = boxes[:, [2, 1, 0, 3]]
    if rng.random() < 0.7:
        zoom = float(np.exp(rng.uniform(np.log(0.7), np.log(1.7))))
        aspect = float(np.exp(rng.uniform(-0.15, 0.15)))
        matrix = np.array([[zoom * aspect, 0, 0], [0, zoom / aspect, 0]], np.float32)
        room = np.array([width - width * zoom * aspect, height - height * zoom / aspect])
        matrix[:, 2] = room * rng.uniform(0, 1, 2)
        fill = rng.integers(0, 256, 3).tolist()
        image = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=fill)
        before = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) * zoom**2
        moved = boxes.copy()
        moved[:, 0::2] = boxes[:, 0::2] * matrix[0, 0] + matrix[0, 2]
        moved[:, 1::2] = boxes[:, 1::2] * matrix[1, 1] + matrix[1, 2]
        boxes = np.clip(moved, 0, [width, height, width, height])
        sides = boxes[:, 2:] - boxes[:, :2]
        kept = (sides.prod(1) > 0.35 * before) & (sides.min(1) > 6)
        boxes, labels = boxes[kept], labels[kept]
    if rng.random() < 0.6:
        gain, shift = rng.uniform(0.7, 1.3), rng.uniform(-25, 25)
        tint = rng.normal(1, 0.06, 3)
        table = np.clip(np.arange(256)[:, None] * gain * tint + shift, 0, 255).astype(np.uint8)[None]
        image = cv2.LUT(np.ascontiguousarray(image), table)
    return np.ascontiguousarray(image), boxes.astype(np.float32), labels


def main() -> int:
    """Train, report the loss as it goes, and write the checkpoint after every epoch."""
    arguments = parse()
    torch.manual_seed(arguments.seed)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    sets = [read_dataset(path) for path in arguments.data]
    data = sets[0]
    for path, other in zip(arguments.data, sets, strict=True):
        if other.names != data.names:
            raise SystemExit(f"{path} has the classes {other.names}, and {arguments.data[0]} {data.names}")
    images = [image for each in sets for image in each.images if len(image) or arguments.keep_empty]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    overrides = size_overrides(arguments.arch, arguments.size)
    model: Any = build(arguments.arch, len(data.names) + 1, **overrides)
    if arguments.init is not None:
        model.load_state_dict(load_checkpoint(arguments.init, arch=arguments.arch).state_dict, strict=False)
    model.to(device, memory_format=torch.channels_last).train()
    average = copy.deepcopy(model).eval()
    optimiser = torch.optim.AdamW(parameter_groups(model), lr=arguments.rate, weight_decay=arguments.decay)
    loader: DataLoader[Sample] = DataLoader(
        Pictures(images, arguments.size),
        batch_size=arguments.batch,
        shuffle=True,
        drop_last=True,
        num_workers=arguments.workers,
        collate_fn=list,
        persistent_workers=arguments.workers > 0,
    )
    steps = arguments.epochs * len(loader)
    if not steps:
        raise SystemExit(f"{len(images)} images are fewer than one batch of {arguments.batch}")
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, one_cycle(steps, arguments.warmup))
    progress_file = arguments.out.with_suffix(".progress")
    done = 0
    if arguments.resume and progress_file.exists():
        saved = torch.load(progress_file, weights_only=True)
        for part, name in (
            (model, "model"),
            (average, "average"),
            (optimiser, "optimiser"),
            (schedule, "schedule"),
        ):
            part.load_state_dict(saved[name])
        done = saved["epoch"]
    print(f"{len(images)} images, {len(data.names)} classes, {steps} steps of {arguments.batch}", flush=True)
    began, step = time.monotonic(), done * len(loader)
    for epoch in range(done, arguments.epochs):
        losses = []
        for batch in loader:
            step += 1
            pictures = [picture.to(device) for picture, _ in batch]
            targets = [{key: value.to(device) for key, value in target.items()} for _, target in batch]
            loss = sum(model(pictures, targets).values())
            if not torch.isfinite(loss):
                print(f"step {step}: the loss is {loss.item()}; skipped", flush=True)
                optimiser.zero_grad()
                continue
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            follow(average, model, step)
            losses.append(loss.item())
            if step % arguments.report == 0:
                rate = (step - done * len(loader)) / (time.monotonic() - began)
                print(
                    f"epoch {epoch + 1}/{arguments.epochs} step {step}/{steps} loss "
                    f"{np.mean(losses[-arguments.report :]):.3f}, {rate * arguments.batch:.1f} images/s, "
                    f"{(steps - step) / rate / 60:.0f} min left",
                    flush=True,
                )
        write_checkpoint(arguments.out, arguments.arch, data.names, average, half=arguments.half)
        state = {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
            "epoch": epoch + 1,
        }
        write(progress_file, state)
    progress_file.unlink(missing_ok=True)
    print(f"wrote {arguments.out}", flush=True)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", required=True, nargs="+", help="labelled datasets of the same classes to train on, PATH[:SPLIT]"
    )
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write (.pt)")
    parser.add_argument("--arch", default="ssdlite320_mobilenet_v3_large", choices=sorted(ARCHITECTURES))
    parser.add_argument("--size", type=int, default=320, help="side the network sees, or its shortest side (320)")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate (0.002)")
    parser.add_argument("--decay", type=float, default=1e-4, help="weight decay (0.0001)")
    parser.add_argument("--warmup", type=int, default=200, help="steps of rising learning rate (200)")
    parser.add_argument("--init", type=Path, help="checkpoint to start from")
    parser.add_argument("--keep-empty", action="store_true", help="also train on images without a box")
    parser.add_argument("--half", action="store_true", help="store float16: half the file")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was killed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=min(4, max((os.cpu_count() or 2) - 1, 0)))
    parser.add_argument("--threads", type=int, help="CPU threads of PyTorch")
    parser.add_argument("--report", type=int, default=25, help="steps between two lines of progress (25)")
    return parser.parse_args()


def size_overrides(arch: str, size: int) -> dict[str, Any]:
    """torchvision's constructor arguments for a training size."""
    if ARCHITECTURES[arch].family == "ssd":
        return {"size": (size, size)}
    return {"min_size": size, "max_size": 2 * size}


def parameter_groups(model: torch.nn.Module) -> list[dict[str, Any]]:
    """Weight decay on weights alone: biases and BatchNorm's two vectors only suffer from it."""
    weights = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": weights}, {"params": vectors, "weight_decay": 0.0}]


def one_cycle(steps: int, warmup: int) -> Callable[[int], float]:
    """A linear rise, then half a cosine down to a hundredth."""

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        share = (step - warmup) / max(steps - warmup, 1)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))

    return rate


@torch.no_grad()
def follow(average: torch.nn.Module, model: torch.nn.Module, step: int) -> None:
    """Exponential moving average of all weights and statistics; young averages forget faster."""
    keep = min(0.998, (1 + step) / (10 + step))
    for slow, fast in zip(tensors(average), tensors(model), strict=True):
        if slow.is_floating_point():
            slow.lerp_(fast.detach().to(slow.dtype), 1 - keep)
        else:
            slow.copy_(fast)


def tensors(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Every tensor a checkpoint holds."""
    yield from model.state_dict().values()


def write_checkpoint(path: Path, arch: str, names: tuple[str, ...], model: torch.nn.Module, *, half: bool) -> None:
    """The dict `edgedet export` reads: the tensors, and what they do not hold (docs/checkpoints.md)."""
    state = {
        name: value.half().contiguous() if half and value.is_floating_point() else value.contiguous()
        for name, value in model.state_dict().items()
    }
    described = {"arch": arch, "num_classes": len(names) + 1, "classes": list(names), "state_dict": state}
    settings = replace(settings_of(model), arch=arch, classes=names, colour="RGB")
    write(path, described | {SECTION: settings.stated()})


def write(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    torch.save(content, beside)
    beside.replace(path)


if __name__ == "__main__":
    sys.exit(main())
