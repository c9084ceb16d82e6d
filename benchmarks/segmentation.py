"""Segmenters against torchvision: the same classes on photographs, and what a frame takes.

    python benchmarks/segmentation.py [--pictures 128] [--heavy 4] [--threads 2] [--rounds 5]

Classes: of the photographs of coco128, on the canvas that the preset makes of 640x480 (693x520), where other shapes
leave a border: the graph against PyTorch on the same pixels. Then, of photographs of exactly that shape, against
torchvision from end to end: its preset on Pillow's image, its network, argmax, nearest to the frame. ``--heavy``
photographs of FCN-ResNet50, whose every frame is seconds of work. Weights are of a seed, in layers under which the
classes vary (``tests/export/segmentation_networks.py``).

Time: a 1080p frame with LR-ASPP, ``segment`` against ``session.run`` of its graph and against torchvision, in turns
within one run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

REQUIRED = 0.999
CANVAS_FRAME = (640, 480)
LIGHT, HEAVY, TRANSPOSED = "lraspp_mobilenet_v3_large", "fcn_resnet50", "fcn8s_vgg16"
CLASSES = 21


def main() -> int:
    """Measure; 1 where the classes are not the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=128)
    parser.add_argument("--heavy", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    print(
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {arguments.threads} threads", flush=True
    )
    with tempfile.TemporaryDirectory() as name:
        met = [
            same_classes(arch, Path(name), count, arguments.threads)
            for arch, count in (
                (LIGHT, arguments.pictures),
                (TRANSPOSED, arguments.heavy),
                (HEAVY, arguments.heavy),
            )
        ]
        taken(Path(name), arguments.threads, arguments.rounds)
    return 0 if all(met) else 1


def graph_of(arch: str, folder: Path, frame_size: tuple[int, int] = CANVAS_FRAME) -> tuple[Path, Any, Any]:
    """The graph for a CPU, its network, and the framework's reference; without an export's proofs."""
    from edgedet.artifacts.card import ModelCard
    from edgedet.export.embedded_card import embed, graph_bytes
    from edgedet.export.finished_graph import checked
    from edgedet.export.for_cpu.interleaved import read_interleaved
    from edgedet.export.for_cpu.winograd import add_winograd
    from edgedet.export.segmentation.architectures import ARCHITECTURES
    from edgedet.export.segmentation.graph import Preparation, export
    from edgedet.export.segmentation.reference import SegmentationReference
    from edgedet.export.segmentation.trained import IMAGENET, PRESET_SIZE
    from tests.export.segmentation_networks import segmentation_network

    network = segmentation_network(arch, CLASSES)
    preparation = Preparation(PRESET_SIZE, *IMAGENET, "RGB", ARCHITECTURES[arch].multiple)
    exported = export(network, preparation, frame_size)
    names = tuple(f"class {number}" for number in range(CLASSES))
    family = ARCHITECTURES[arch].family
    card = ModelCard(family, arch, names, exported.input, exported.resize, exported.output)
    model = read_interleaved(add_winograd(checked(exported.model, nms="graph")))
    path = folder / f"{arch}-{frame_size[0]}.onnx"
    path.write_bytes(graph_bytes(embed(model, card)))
    return path, network, SegmentationReference(network, card, preparation)


def photographs(count: int) -> Iterator[Path]:
    """Photographs of coco128, so many evenly spread; all where there are no more."""
    from benchmarks.contestants import SHARED

    paths = sorted((SHARED / "data" / "coco128").glob("*2017/*.jpg"))
    return iter([paths[int(place)] for place in np.linspace(0, len(paths) - 1, min(count, len(paths)))])


def same_classes(arch: str, folder: Path, count: int, threads: int) -> bool:
    """Compare on photographs and print; whether the bar is met."""
    from edgedet import Segmenter
    from edgedet.pictures.image_file import read_image
    from edgedet.proof.map_parity import compare_all

    path, network, reference = graph_of(arch, folder)
    on_canvas, end_to_end = [], []
    with Segmenter(path, threads=threads) as segmenter:
        canvas = segmenter.card.input
        for picture in photographs(count):
            frame = read_image(picture)
            found = segmenter.segment(frame)
            on_canvas.append((reference(frame), found))
            if frame.shape[1::-1] == CANVAS_FRAME:
                end_to_end.append((torchvisions(network, picture, found.names), found))
    good = True
    for what, pairs in (("on the same canvas", on_canvas), ("from end to end", end_to_end)):
        report, _ = compare_all(pairs)
        if report.share is None or report.worst is None:
            continue
        print(
            f"{arch} {canvas.width}x{canvas.height}, {what}: {report.share:.4%} of the pixels of {report.frames} "
            f"photographs have torchvision's class ({report.classes} classes, worst frame {report.worst:.3%})",
            flush=True,
        )
        # Pillow's bytes differ from torchvision's by a grey level here and there, which random weights magnify.
        good &= report.share >= REQUIRED or what != "on the same canvas"
    return good


def torchvisions(network: Any, picture: Path, names: tuple[str, ...]) -> Any:
    """What torchvision's preset and network make of a file, nearest to its own size."""
    import torch
    from PIL import Image
    from torchvision.transforms._presets import SemanticSegmentation

    from edgedet import ClassMap
    from edgedet.masks.class_map_reader import to_frame

    image = Image.open(picture).convert("RGB")
    with torch.inference_mode():
        scores = network(SemanticSegmentation(resize_size=520)(image)[None])
    labels = (scores["out"] if isinstance(scores, dict) else scores)[0].argmax(0).numpy().astype(np.uint8)
    return ClassMap(to_frame(labels, (image.height, image.width)), names)


def taken(folder: Path, threads: int, rounds: int) -> None:
    """Print what a 1080p frame takes."""
    import torch

    from benchmarks.contestants import bare, photograph
    from benchmarks.masks import in_turns
    from edgedet import Segmenter

    frame = photograph()
    size = (frame.shape[1], frame.shape[0])
    path, _, reference = graph_of(LIGHT, folder, size)
    with Segmenter(path, threads=threads) as segmenter, torch.inference_mode():
        times = in_turns(
            {
                "segment": lambda: segmenter.segment(frame),
                "network alone": bare(str(path), threads),
                "torchvision": lambda: reference(frame),
            },
            rounds,
        )
        segmenter.segment(frame)
        timing = segmenter.last_timing
    for what, (wall, cpu) in times.items():
        print(f"{what:<16} {wall:9.1f} ms   {cpu:9.1f} ms of CPU", flush=True)
    print(f"stages of one: pre {timing.pre:.1f}, run {timing.run:.1f}, post {timing.post:.1f} ms")
    cpu = {what: each[1] for what, each in times.items()}
    print(
        f"CPU: segment / network alone {cpu['segment'] / cpu['network alone']:.2f}; "
        f"{cpu['torchvision'] / cpu['segment']:.2f} x less than torchvision"
    )


if __name__ == "__main__":
    raise SystemExit(main())
