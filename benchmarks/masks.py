"""What masks cost: Mask R-CNN MobileNetV3-FPN on a 1080p frame with 100 detections.

    python benchmarks/masks.py [--threads 2] [--rounds 3]
    python benchmarks/masks.py --prototypes

Whole ``detect`` against its networks alone, and against torchvision's own inference, which pastes every mask into a
frame; in turns within one run, wall time and the process's CPU time. Then what 100 objects take in memory, and how
long it takes to get at their pixels. Weights are of a seed; the score threshold of 0.05 leaves 100 detections. The
graph is that of an export, without its proofs, which take minutes for such a network.

Networks alone: backbone, box head and mask head as ONNX Runtime runs them, and RoIAlign in front of either head by
ONNX's operator; nothing of proposals, NMS, pre- or post-processing.

``--prototypes``: what drawing the masks of an Ultralytics segment model takes, of 10 and 100 objects on a canvas of
640x640, against all of their prototypes' sum on all of the canvas; one thread's CPU time.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

FRAME_SIZE = (1920, 1080)
ARCH = "maskrcnn_mobilenet_v3_large_fpn"
CLASSES = 91
OF_NETWORKS, OF_TORCHVISION = 1.25, 3.0
DETECTIONS = 100
Taken = dict[str, tuple[float, float]]


def main() -> int:
    """Measure; 1 where a bar is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prototypes", action="store_true")
    arguments = parser.parse_args()
    if arguments.prototypes:
        draw()
        return 0
    import torch

    from benchmarks.contestants import as_image, bare, photograph
    from edgedet import Detector
    from tests.export.mask_networks import mask_network

    print(
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {arguments.threads} threads", flush=True
    )
    torch.set_num_threads(arguments.threads)
    model = mask_network(ARCH, CLASSES, wide=True)
    frame = photograph()
    image = as_image(frame)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "masks.onnx"
        path.write_bytes(graph_of(model))
        with Detector(path, threads=arguments.threads) as detector:
            count = len(detector.detect(frame))
            heads = model.roi_heads
            branch = torch.nn.Sequential(heads.mask_head, heads.mask_predictor.conv5_mask, torch.nn.ReLU())
            parts = networks(model, heads.mask_roi_pool, branch)
            alone = [bare(part, arguments.threads) for part in parts]

            def eager() -> object:
                with torch.inference_mode():
                    return model([image])

            contestants: dict[str, Callable[[], object]] = {
                "detect": lambda: detector.detect(frame),
                "networks alone": lambda: [run() for run in alone],
                "torchvision": eager,
            }
            taken = in_turns(contestants, arguments.rounds)
            found = detector.detect(frame)
    for what, (wall, cpu) in taken.items():
        print(f"{what:<16} {wall:9.1f} ms   {cpu:9.1f} ms of CPU", flush=True)
    masks = found.masks
    assert masks is not None
    whole = FRAME_SIZE[0] * FRAME_SIZE[1]
    print(f"{count} detections; an object's mask: {masks.nbytes // max(len(masks), 1)} bytes, 1/"
          f"{whole * len(masks) // masks.nbytes} of a frame's {whole}")  # fmt: skip
    for what, call in (
        ("regions", lambda: list(masks)),
        ("run lengths", masks.to_coco_rle),
        ("dense", masks.dense),
    ):
        begin = time.process_time()
        call()
        print(f"{what} of all: {(time.process_time() - begin) * 1e3:.0f} ms of CPU")
    return 0 if all([met(taken), count == DETECTIONS]) else 1


def draw() -> None:
    """Print what masks of prototypes take."""
    import cv2

    from edgedet.artifacts.foreign_cards import CENTRED
    from edgedet.geometry import plan_resize
    from edgedet.masks.canvas_masks import CanvasMasks, draw_prototypes

    cv2.setNumThreads(1)
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(160, 160, 32)).astype(np.float32)
    prototypes = np.ascontiguousarray(cv2.GaussianBlur(noise, (0, 0), 4).transpose(2, 0, 1))
    place = plan_resize(CENTRED, FRAME_SIZE[1], FRAME_SIZE[0], 640, 640)

    def milliseconds(call: Callable[[], object]) -> float:
        times = []
        for _ in range(5):
            begin = time.process_time()
            call()
            times.append((time.process_time() - begin) * 1e3)
        return statistics.median(times)

    for count in (10, DETECTIONS):
        coefficients = generator.normal(size=(count, 32)).astype(np.float32)
        sides = np.exp(generator.uniform(np.log(20), np.log(400), (count, 2)))
        middles = generator.uniform(0, 640, (count, 2))
        boxes = np.concatenate([middles - sides / 2, middles + sides / 2], axis=1).clip(0, 640).astype(np.float32)
        asked = (coefficients, prototypes, boxes, (640, 640), place)
        masks = CanvasMasks(tuple(draw_prototypes(*asked)), (FRAME_SIZE[1], FRAME_SIZE[0]))

        def whole(numbers: np.ndarray = coefficients) -> list[np.ndarray]:
            sums = (numbers @ prototypes.reshape(32, -1)).reshape(-1, 160, 160)
            return [cv2.resize(each, (640, 640)) > 0 for each in sums]

        drawn, all_of_it = milliseconds(lambda asked=asked: draw_prototypes(*asked)), milliseconds(whole)
        regions = milliseconds(lambda masks=masks: list(masks))
        print(f"{count} objects: drawn in {drawn:.1f} ms ({all_of_it:.1f} on all of the canvas), brought to the "
              f"frame in {regions:.1f} ms when asked; {masks.nbytes // count} bytes each, 1/"
              f"{FRAME_SIZE[0] * FRAME_SIZE[1] * count // masks.nbytes} of a frame")  # fmt: skip


def met(taken: Taken) -> bool:
    """Print the ratios; whether both bars hold, by wall time: CPU time counts threads that only wait for others."""
    ratios = []
    for kind, place in (("wall", 0), ("CPU", 1)):
        of_networks = taken["detect"][place] / taken["networks alone"][place]
        faster = taken["torchvision"][place] / taken["detect"][place]
        print(f"{kind}: detect / networks alone {of_networks:.2f} (at most {OF_NETWORKS}); "
              f"{faster:.2f} x faster than torchvision (at least {OF_TORCHVISION})")  # fmt: skip
        ratios.append(of_networks <= OF_NETWORKS and faster >= OF_TORCHVISION)
    return ratios[0]


def in_turns(contestants: dict[str, Callable[[], object]], rounds: int) -> Taken:
    """Median milliseconds of wall and CPU time of each; the first turn is not counted."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, call in contestants.items():
            wall, cpu = time.perf_counter(), _cpu()
            call()
            if turn:
                times[name].append(((time.perf_counter() - wall) * 1e3, (_cpu() - cpu) * 1e3))
    return {
        name: (statistics.median(wall for wall, _ in runs), statistics.median(cpu for _, cpu in runs))
        for name, runs in times.items()
    }


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def graph_of(
    model: Any,
    arch: str = ARCH,
    classes: int = CLASSES,
    *,
    names: tuple[str, ...] | None = None,
    frame_size: tuple[int, int] = FRAME_SIZE,
) -> bytes:
    """The graph for a CPU, with its card; ``classes`` with the background, numbered without ``names``."""
    from edgedet.artifacts.card import ModelCard
    from edgedet.export.embedded_card import embed, graph_bytes
    from edgedet.export.families import faster_rcnn as family
    from edgedet.export.families.base import GraphOptions
    from edgedet.export.finished_graph import checked
    from edgedet.export.for_cpu.interleaved import read_interleaved
    from edgedet.export.for_cpu.winograd import add_winograd

    exported = family.export(model, GraphOptions(pooling="products"), frame_size=frame_size)
    names = names or tuple(f"class {number}" for number in range(1, classes))
    card = ModelCard("faster_rcnn", arch, names, exported.input, exported.resize, exported.output)
    return graph_bytes(embed(read_interleaved(add_winograd(checked(exported.model, nms="graph"))), card))


def networks(model: Any, branch_pool: Any, branch: Any) -> list[Any]:
    """ONNX graphs of the networks and of RoIAlign in front of the heads, ``branch`` among them."""
    import torch

    from edgedet.export.families import faster_rcnn as family
    from edgedet.export.families.roi_pooling import add_roi_align
    from edgedet.export.families.torch_graph import to_onnx
    from edgedet.geometry import shortest_side_size
    from edgedet.onnx_graph.builder import GraphBuilder

    content = shortest_side_size(family.resize_rule(model), FRAME_SIZE[1], FRAME_SIZE[0])
    parts = family.export_parts(model, content, batch=1)
    generator = np.random.default_rng(0)
    made = [parts.backbone, parts.box_head]
    with torch.no_grad():
        features = family.feature_levels(model.backbone, torch.zeros(1, 3, *parts.padded))
    for pool, count in (
        (model.roi_heads.box_roi_pool, parts.proposals),
        (branch_pool, DETECTIONS),
    ):
        corners = generator.random((count, 2, 2)) * parts.content[::-1]
        boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1).astype(np.float32)
        graph = GraphBuilder("roi_align")
        pooled = add_roi_align(
            graph,
            [graph.input(level.name, "float32", tuple(features[level.name].shape)) for level in parts.levels],
            parts.levels,
            graph.constant(boxes[None]),
            batch=1,
            count=count,
            size=tuple(pool.output_size),
            sampling_ratio=pool.sampling_ratio,
        )
        channels = int(features[parts.levels[0].name].shape[1])
        graph.output(pooled, "pooled", "float32", (count, channels, *pool.output_size))
        made.append(graph.model())
    example = torch.zeros(DETECTIONS, channels, *branch_pool.output_size)
    made.append(to_onnx(branch, example, inputs=["pooled"], outputs=["cells"]))
    return made


if __name__ == "__main__":
    raise SystemExit(main())
