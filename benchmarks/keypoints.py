"""Keypoint R-CNN against torchvision: are the keypoints the same on photographs, and what do they cost?

    python benchmarks/keypoints.py [--threads 2] [--rounds 2] [--photographs 128] [--only parity|time]
        [--network mobilenet|resnet]

Parity on photographs of coco128, the commonest sizes first, of both architectures: how many detections and
keypoints, how many lie within half a pixel, and of the others how many are ties, where torchvision's own heatmap is
as high at our place as at its own. Time of a 1080p frame with 100 detections of the MobileNetV3 one: whole
``detect`` against its networks alone and against torchvision's own inference, in turns within one run, as
benchmarks/masks.py has it.
Weights are of a seed; for parity they have seen some photographs, and ResNet50's residual branches are light, as
benchmarks/mask_parity.py has it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

OF_NETWORKS = 1.25
REQUIRED = 0.995
"""Share of keypoints within half a pixel; ties are counted and not among them."""


def main() -> int:
    """Measure; 1 where a bar is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--photographs", type=int, default=128)
    parser.add_argument("--only", choices=["parity", "time"])
    parser.add_argument("--network", choices=["mobilenet", "resnet"], default="", help="of parity (both)")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    print(
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {arguments.threads} threads", flush=True
    )
    fine = []
    if arguments.only != "time":
        fine.append(parity(arguments.photographs, arguments.network))
    if arguments.only != "parity":
        fine.append(cost(arguments.threads, arguments.rounds))
    return 0 if all(fine) else 1


def parity(count: int, network: str = "") -> bool:
    """Print what agrees, of architectures with ``network`` in their names; whether nearly all keypoints do and the
    others are ties."""
    from benchmarks.mask_parity import COCO128, by_size, examples, photographs
    from edgedet.export.families.base import GraphOptions
    from tests.export.families.test_keypoint_head import (
        ARCHITECTURES,
        PHOTOGRAPHS,
        Compared,
        compare,
        graph_of,
    )
    from tests.export.keypoint_networks import keypoint_network

    groups = by_size(photographs(COCO128, count))
    fine = bool(groups)
    for arch in (each for each in ARCHITECTURES if network in each):
        model = keypoint_network(arch, 6, full=True, spread=0.5, examples=examples(), **PHOTOGRAPHS)
        total, seen = Compared(), 0
        for group in groups:
            height, width = group[0][1].shape[:2]
            made = graph_of(model, arch, GraphOptions(pooling="products"), (width, height))
            total += compare(model, made, [frame for _, frame in group])
            seen += len(group)
            apart = total.keypoints - total.near - total.tied
            fine &= apart == 0
            print(f"{arch}: {seen} photographs, {total.detections} detections ({total.alone} alone); {total.near} "
                  f"of {total.keypoints} keypoints within 0.5 pixels, {total.tied} ties, {apart} others",
                  flush=True)  # fmt: skip
        fine &= total.near >= REQUIRED * total.keypoints
    return fine


def cost(threads: int, rounds: int) -> bool:
    """Print what a frame takes; whether that is little more than its networks take, by CPU time."""
    import torch

    from benchmarks.contestants import as_image, bare, photograph
    from benchmarks.masks import DETECTIONS, graph_of, in_turns, networks
    from edgedet import Detector
    from edgedet.export.families.keypoint_head import KeypointLogits
    from edgedet.outputs.keypoint_heatmaps import find_keypoints
    from tests.export.families.test_keypoint_head import MOBILENET
    from tests.export.keypoint_networks import keypoint_network

    model = keypoint_network(MOBILENET, 6, wide=True)
    frame = photograph()
    image = as_image(frame)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "keypoints.onnx"
        path.write_bytes(graph_of(model, MOBILENET, 6))
        with Detector(path, threads=threads) as detector:
            parts = networks(model, model.roi_heads.keypoint_roi_pool, KeypointLogits(model))
            alone = [bare(part, threads) for part in parts]

            def eager() -> object:
                with torch.inference_mode():
                    return model([image])

            contestants: dict[str, Callable[[], object]] = {
                "detect": lambda: detector.detect(frame),
                "networks alone": lambda: [run() for run in alone],
                "torchvision": eager,
            }
            taken = in_turns(contestants, rounds)
            found = detector.detect(frame)
            height, width = detector.card.input.height, detector.card.input.width
    for what, (wall, cpu) in taken.items():
        print(f"{what:<16} {wall:9.1f} ms   {cpu:9.1f} ms of CPU", flush=True)
    ratios = [taken["detect"][kind] / taken["networks alone"][kind] for kind in (0, 1)]
    faster = [taken["torchvision"][kind] / taken["detect"][kind] for kind in (0, 1)]
    print(f"{len(found)} detections; detect / networks alone {ratios[0]:.2f}, by CPU {ratios[1]:.2f} (at most "
          f"{OF_NETWORKS}); {faster[0]:.2f} x faster than torchvision, by CPU {faster[1]:.2f}")  # fmt: skip
    logits = torch.nn.functional.avg_pool2d(torch.randn(len(found), 17, 34, 34) * 9, 7, 1).numpy()
    boxes = found.boxes * (width / frame.shape[1])
    begin = time.process_time()
    find_keypoints(logits, boxes)
    print(f"of which reading {len(found)} x 17 heatmaps on a canvas of {height} x {width}: "
          f"{(time.process_time() - begin) * 1e3:.0f} ms of CPU")  # fmt: skip
    return ratios[1] <= OF_NETWORKS and len(found) == DETECTIONS


if __name__ == "__main__":
    raise SystemExit(main())
