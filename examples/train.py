"""Train any torchvision architecture edgedet exports, on any dataset it reads.

    python examples/train.py --data build/scenes/instances_scenes.json --out build/sample.pt
    python examples/train.py --data voc_root:train --arch fasterrcnn_mobilenet_v3_large_320_fpn --out build/voc.pt
    python examples/train.py --data build/outlined/instances_scenes.json --arch maskrcnn_mobilenet_v3_large_fpn \\
        --init build/sample.pt --bf16 --out build/masks.pt

From scratch, or from what fits of --init's backbone and heads, also of another architecture with that backbone. A
Mask R-CNN needs a dataset with outlines (examples/render.py --outlines). The result is a checkpoint that
`edgedet export` understands: the moving average of the weights, as float16 with --half. A run that was killed goes
on with --resume.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision.models.detection.ssd import SSD
from torchvision.ops import MultiScaleRoIAlign

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edgedet.datasets import read_dataset
from edgedet.datasets.dataset import Dataset
from edgedet.errors import CheckpointError
from edgedet.export.checkpoints.checkpoint import load_checkpoint
from edgedet.export.families.torchvision_architectures import ARCHITECTURES, build
from edgedet.export.training.settings import SECTION
from edgedet.export.training.torchvision import settings_of
from examples.training.negatives import learn_from_empty
from examples.training.pictures import Pictures, Sample
from examples.training.start import start_from


def main() -> int:
    """Train, report the loss as it goes, and write the checkpoint after every epoch."""
    arguments = parse()
    torch.manual_seed(arguments.seed)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    masks = arguments.arch.startswith("maskrcnn")
    sets = [read_dataset(path, outlines=masks) for path in arguments.data]
    if masks:
        require_outlines(sets)
    data = sets[0]
    for path, other in zip(arguments.data, sets, strict=True):
        if other.names != data.names:
            raise SystemExit(f"{path} has the classes {other.names}, and {arguments.data[0]} {data.names}")
    images = [image for each in sets for image in each.images if len(image) or arguments.keep_empty]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    overrides = constructor_overrides(arguments.arch, arguments.size, arguments.regions)
    model: Any = build(arguments.arch, len(data.names) + 1, **overrides)
    if arguments.init is not None:
        taken = start_from(model, read_weights(arguments.init, arguments.arch))
        print(f"{len(taken)} of {len(model.state_dict())} tensors are those of {arguments.init}", flush=True)
        if arguments.freeze:
            freeze(model, taken)
    model.to(device, memory_format=torch.channels_last).train()
    average = copy.deepcopy(model).eval()
    if arguments.keep_empty and isinstance(model, SSD):
        learn_from_empty(model)
    for pool in model.modules():
        if isinstance(pool, MultiScaleRoIAlign):
            pool.sampling_ratio = arguments.samples
    # One pass over the weights; PyTorch has it for CPUs, too.
    optimiser = torch.optim.AdamW(
        parameter_groups(model), lr=arguments.rate, weight_decay=arguments.decay, fused=True
    )
    loader: DataLoader[Sample] = DataLoader(
        Pictures(images, arguments.size, outlines=masks),
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
            with torch.autocast(device.type, torch.bfloat16, enabled=arguments.bf16):
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
    parser.add_argument(
        "--freeze", action="store_true", help="leave the convolutions taken from --init's backbone as they are"
    )
    parser.add_argument(
        "--regions", type=int, default=512, help="proposals of a picture that two-stage heads learn from (512)"
    )
    parser.add_argument(
        "--samples", type=int, default=2, help="RoIAlign's samples a side of each bin, in training alone (2)"
    )
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16 where PyTorch's autocast does")
    parser.add_argument("--keep-empty", action="store_true", help="also train on images without a box")
    parser.add_argument("--half", action="store_true", help="store float16: half the file")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was killed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=min(4, max((os.cpu_count() or 2) - 1, 0)))
    parser.add_argument("--threads", type=int, help="CPU threads of PyTorch")
    parser.add_argument("--report", type=int, default=25, help="steps between two lines of progress (25)")
    return parser.parse_args()


def require_outlines(sets: list[Dataset]) -> None:
    """Masks are learnt from outlines, of every object."""
    for data in sets:
        for image in data.images:
            if len(image) and (image.outlines is None or None in image.outlines):
                raise SystemExit(
                    f"{data.source}: an object of {image.path.name} has no outline; a Mask R-CNN is trained on a "
                    "dataset where all have one (examples/render.py --outlines)"
                )


def read_weights(path: Path, arch: str) -> Mapping[str, torch.Tensor]:
    """Tensors of a checkpoint of any architecture; of ``arch`` where it does not say of which it is."""
    try:
        return load_checkpoint(path).state_dict
    except CheckpointError:
        return load_checkpoint(path, arch=arch).state_dict


def constructor_overrides(arch: str, size: int, regions: int) -> dict[str, Any]:
    """torchvision's constructor arguments for a training size."""
    if ARCHITECTURES[arch].family == "ssd":
        return {"size": (size, size)}
    proposals = {
        "rpn_post_nms_top_n_train": min(2000, 4 * regions),
        "rpn_pre_nms_top_n_train": min(2000, 8 * regions),
    }
    return {"min_size": size, "max_size": 2 * size, "box_batch_size_per_image": regions} | proposals


def freeze(model: torch.nn.Module, names: set[str]) -> None:
    """Leave the backbone's tensors of these names as they are; BatchNorm's statistics follow the data still."""
    for name, parameter in model.named_parameters():
        if name in names and name.startswith("backbone."):
            parameter.requires_grad_(False)


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
