"""What INT8 costs a trained Mask R-CNN: AP of masks and boxes, of both dialects, with pictures and without.

    python benchmarks/int8_masks.py cells build/cells                 a network of round cells, trained in minutes
    python benchmarks/int8_masks.py drop build/cells/masks.pt --calib build/cells/calib/instances_calib.json \\
        --test build/cells/test/instances_test.json [--ways cpu,cpu-made,tensorrt,tensorrt-made] [--effort quick]

``cells``: the trained Faster R-CNN of BCCD (shared models and data: EDGEDET_SHARED, or ../shared) gets a mask
branch. BCCD has boxes alone; cells are round, so the ellipse in each box stands for the outline, in training and in
the test. Everything but the branch stays as it was trained. ``drop`` takes any Mask R-CNN and COCO files with
outlines, such as those of ``examples/render.py --outlines``. Graphs are those of an export, without its proofs,
which take minutes for such a network; they are quantised as by ``edgedet export --int8``, and evaluated through
ONNX Runtime by the code of ``edgedet eval``. Ends with 1 where masks lose more than 0.01.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SHARED = Path(os.environ.get("EDGEDET_SHARED") or ROOT.parent / "shared")
ARCH = "maskrcnn_mobilenet_v3_large_fpn"
BUDGET = 0.01
CORNERS = 32
"""Corners of the polygon that stands for an ellipse."""
WAYS = ("cpu", "tensorrt", "cpu-made", "tensorrt-made")
"""A dialect, with the pictures of --calib or with made ones."""


def main() -> int:
    """Make the network, or measure; 1 where masks lose more than they may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest="task", required=True)
    cells = tasks.add_parser("cells")
    cells.add_argument("out", type=Path)
    cells.add_argument("--steps", type=int, default=120)
    cells.add_argument("--batch", type=int, default=2)
    cells.add_argument("--boxes", type=int, default=8, help="boxes of a picture in a step (8)")
    cells.add_argument("--rate", type=float, default=1e-3)
    drop = tasks.add_parser("drop")
    drop.add_argument("checkpoint", type=Path)
    drop.add_argument("--calib", required=True)
    drop.add_argument("--calib-limit", type=int, default=48, help="pictures of it (48)")
    drop.add_argument("--test", required=True)
    drop.add_argument("--limit", type=int, help="pictures of the test")
    drop.add_argument("--ways", default=",".join(WAYS))
    drop.add_argument("--effort", choices=("quick", "normal", "thorough"), default="normal")
    drop.add_argument("--max-detections", type=int, default=20)
    drop.add_argument("--proposals", type=int, default=150)
    drop.add_argument("--work", type=Path, help="where graphs go; default: beside the checkpoint")
    arguments = parser.parse_args()
    return train_on_cells(arguments) if arguments.task == "cells" else measure(arguments)


def train_on_cells(arguments: argparse.Namespace) -> int:
    """Datasets with ellipses, and a checkpoint whose mask branch knows them."""
    import torch
    from torchvision.models.detection.roi_heads import maskrcnn_loss

    from edgedet.datasets import read_dataset
    from edgedet.export.checkpoints.checkpoint import load_checkpoint
    from edgedet.export.families.torchvision_architectures import build
    from examples.train import write_checkpoint
    from examples.training.pictures import Pictures
    from examples.training.start import start_from

    checkpoint = SHARED / "models/fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt"
    # The classes in the network's order, which is not the dataset's.
    names = load_checkpoint(checkpoint).names
    sets = {
        name: read_dataset(f"{SHARED / 'data/bccd'}:{split}").select_classes(names)
        for name, split in SPLITS.items()
    }
    for name, dataset in sets.items():
        write_ellipses(arguments.out / name, name, dataset)
    outlined = read_dataset(str(arguments.out / "calib/instances_calib.json"), outlines=True)
    trained = load_checkpoint(checkpoint).state_dict
    limits = {"min_size": 320, "max_size": 640, "rpn_pre_nms_top_n_test": 150, "rpn_post_nms_top_n_test": 150}
    model: Any = build(ARCH, len(outlined.names) + 1, **limits)
    taken = start_from(model, trained)
    print(f"{len(taken)} of {len(model.state_dict())} tensors are those of the trained Faster R-CNN")
    model.eval()
    heads = model.roi_heads
    branch = [*heads.mask_head.parameters(), *heads.mask_predictor.parameters()]
    torch.manual_seed(0)
    # torchvision's start is for many classes: with four, a hundred steps only shrink logits.
    torch.nn.init.zeros_(heads.mask_predictor.mask_fcn_logits.weight)
    optimiser = torch.optim.AdamW(branch, lr=arguments.rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, arguments.rate, total_steps=arguments.steps)
    pictures = Pictures([image for image in outlined.images if len(image)], 320, outlines=True)
    losses = []
    for step in range(arguments.steps):
        batch = [pictures[int(i)] for i in torch.randint(len(pictures), (arguments.batch,))]
        chosen = [torch.randperm(len(target["boxes"]))[: arguments.boxes] for _, target in batch]
        targets = [
            {name: values[rows] for name, values in target.items()}
            for (_, target), rows in zip(batch, chosen, strict=True)
        ]
        images, placed = model.transform([image for image, _ in batch], targets)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                features = model.backbone(images.tensors)
            boxes = [shaken(target["boxes"]) for target in placed]
            logits = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(features, boxes, images.image_sizes)))
        rows = [torch.arange(len(each)) for each in boxes]
        masks = [target["masks"] for target in placed]
        labels = [target["labels"] for target in placed]
        loss = maskrcnn_loss(logits.float(), boxes, masks, labels, rows)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % 5 == 4:
            print(f"step {step + 1}/{arguments.steps} loss {np.mean(losses[-5:]):.3f}", flush=True)
    write_checkpoint(arguments.out / "masks.pt", ARCH, outlined.names, model, half=False)
    print(arguments.out / "masks.pt")
    return 0


SPLITS = {"calib": "train", "judge": "val", "test": "test"}


def shaken(boxes: Any) -> Any:
    """Boxes as a detector finds them: edges off by some hundredths of the sides."""
    import torch

    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    return boxes + torch.randn_like(boxes) * 0.05 * sides


def write_ellipses(folder: Path, name: str, dataset: Any) -> None:
    """A COCO file with the ellipse in each box for its outline, and links to the pictures."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    angles = np.arange(CORNERS) * 2 * np.pi / CORNERS
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    images, annotations = [], []
    for number, record in enumerate(dataset.images):
        link = folder / name / record.path.name
        if not link.exists():
            link.symlink_to(record.path.resolve())
        images.append({"id": number, "file_name": link.name, "width": record.width, "height": record.height})
        for box, label in zip(record.boxes, record.labels, strict=True):
            half = (box[2:] - box[:2]) / 2
            ring = (box[:2] + box[2:]) / 2 + circle * half
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(label),
                    "bbox": [*box[:2].tolist(), *(2 * half).tolist()],
                    "area": float(np.pi * half.prod()),
                    "iscrowd": 0,
                    "segmentation": [ring.ravel().round(3).tolist()],
                }
            )
    categories = [{"id": label, "name": each} for label, each in enumerate(dataset.names)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"instances_{name}.json").write_text(json.dumps(content))


def measure(arguments: argparse.Namespace) -> int:
    """Quantise, evaluate, print a row for each way."""
    import onnx

    from edgedet.calibration.calibration_frames import CalibrationFrames
    from edgedet.calibration.made_frames import made_judge, make_frames
    from edgedet.calibration.pipeline import QuantiseOptions, quantise
    from edgedet.datasets import read_dataset
    from edgedet.export.embedded_card import embed
    from edgedet.export.for_cpu.interleaved import read_planes
    from edgedet.export.for_cpu.winograd import remove_winograd
    from edgedet.machine.hardware import describe_cpu
    from edgedet.opening import read_card

    test = read_dataset(arguments.test, outlines=True)
    test = replace(test, images=test.images[: arguments.limit])
    calibration = read_dataset(arguments.calib)
    calibration = replace(calibration, images=calibration.images[: arguments.calib_limit])
    work = arguments.work or arguments.checkpoint.parent
    work.mkdir(parents=True, exist_ok=True)
    plain = work / "fp32.onnx"
    first = test.images[0]
    plain.write_bytes(float_graph(arguments, (first.width, first.height)))
    card = read_card(plain)
    print(f"{describe_cpu().model}, load {os.getloadavg()[0]:.1f}; {len(test)} pictures, {test.box_count} objects")
    before = evaluate(plain, test)
    print(f"{'fp32':14} masks {before['masks']:.4f}  boxes {before['boxes']:.4f}", flush=True)
    model = read_planes(remove_winograd(onnx.load(plain)))
    met = True
    for way in arguments.ways.split(","):
        target, _, made = way.partition("-")
        options = QuantiseOptions(target=target, effort=arguments.effort, threads=1, over_budget="keep_best")
        began = time.process_time()
        if made:
            drawn = make_frames(model, card, threads=1)
            judge, _ = made_judge(model, card, drawn)
            done = quantise(model, card, drawn.frames, judge=judge, options=options)
        else:
            done = quantise(model, card, CalibrationFrames(calibration, card), options=options)
        spent = time.process_time() - began
        path = work / f"{way}.onnx"
        described = replace(card, precision="int8", measured={"int8": done.report})
        path.write_bytes(embed(done.model, described).SerializeToString())
        after = evaluate(path, test)
        drop = before["masks"] - after["masks"]
        met = met and drop <= BUDGET
        print(
            f"{way:14} masks {after['masks']:.4f} ({-drop:+.4f})  boxes {after['boxes']:.4f} "
            f"({after['boxes'] - before['boxes']:+.4f})  {done.report['macs_int8']:.0%} in INT8, "
            f"{spent:.0f} s of CPU  {'met' if drop <= BUDGET else 'NOT MET'}",
            flush=True,
        )
        for warning in done.warnings:
            print(f"  {warning}")
    return 0 if met else 1


def float_graph(arguments: argparse.Namespace, frame_size: tuple[int, int]) -> bytes:
    """The checkpoint's network in fp32, with its card."""
    from benchmarks.mask_parity import checkpoint
    from benchmarks.masks import graph_of

    saved, model = checkpoint(
        arguments.checkpoint,
        rpn_pre_nms_top_n_test=arguments.proposals,
        rpn_post_nms_top_n_test=arguments.proposals,
        box_detections_per_img=arguments.max_detections,
    )
    names = tuple(saved["classes"])
    return graph_of(model, saved["arch"], saved["num_classes"], names=names, frame_size=frame_size)


def evaluate(path: Path, test: Any) -> dict[str, float]:
    """AP of masks and of boxes."""
    from edgedet.detector import Detector
    from edgedet.evaluate.coco import evaluate_coco

    seen: dict[int, Any] = {}
    with Detector(path, runtime="onnxruntime:cpu", threads=1) as detector:

        def detect(frame: Any) -> Any:
            # Both figures are of one pass.
            key = zlib.crc32(frame)
            if key not in seen:
                seen[key] = detector.detect(frame)
            return seen[key]

        return {of: float(evaluate_coco(detect, test, of=of).map) for of in ("masks", "boxes")}


if __name__ == "__main__":
    sys.exit(main())
