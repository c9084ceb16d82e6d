"""Do our graphs give what the training frameworks give? Detections matched one to one, and COCO mAP of both.

    python benchmarks/parity.py [--shared ../shared] [--only bccd yolox ultralytics]

Needs the real images and trained detectors of the shared folder; the Ultralytics part also needs their package,
and uses a model built from its YAML with fixed weights, as no trained one can be had here.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgedet import Detections, Detector
from edgedet.datasets import read_dataset
from edgedet.evaluate.coco import evaluate_coco
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.pictures.image_file import read_image
from edgedet.proof.parity import Tolerance, match_detections, summarise

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = 0.995
MAP_TOLERANCE = 0.001


def main() -> int:
    """Run the parts asked for; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shared", type=Path, default=Path(os.environ.get("EDGEDET_SHARED", ROOT.parent / "shared"))
    )
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    arguments = parser.parse_args()
    if not (arguments.shared / "models").is_dir():
        parser.error(f"no models/ in {arguments.shared}; point --shared to the folder of real images and detectors")
    with tempfile.TemporaryDirectory() as folder:
        kept = [PARTS[part](arguments.shared, Path(folder)) for part in arguments.only]
    return 0 if all(kept) else 1


def bccd(shared: Path, folder: Path) -> bool:
    """Both checkpoints trained on BCCD, on its 72 test images, against torchvision's own inference."""
    dataset = read_dataset(f"{shared / 'data/bccd'}:test")
    frames = [read_image(image.path) for image in dataset.images]
    kept = True
    for name in ("ssdlite320_mobilenet_v3_large_bccd", "fasterrcnn_mobilenet_v3_large_320_fpn_bccd"):
        checkpoint = shared / "models" / f"{name}.pt"
        graph = export_model(checkpoint, folder / f"{name}.onnx", ExportOptions(frame_size=(640, 480))).path
        with Detector(checkpoint) as reference, Detector(graph, threads=2) as candidate:
            kept &= compare(name, frames, reference.detect, candidate.detect)
            ours, theirs = (evaluate_coco(detector, dataset).map for detector in (candidate, reference))
            kept &= verdict(
                abs(ours - theirs) <= MAP_TOLERANCE, f"  mAP {ours:.4f}, torchvision's own inference {theirs:.4f}"
            )
    return kept


def yolox(shared: Path, folder: Path) -> bool:
    """YOLOX-Nano's published ONNX on coco128 val2017: score > 0.001, NMS 0.65, 300 boxes."""
    options = ExportOptions(family="yolox", conf=0.001, iou=0.65, max_detections=300)
    graph = export_model(shared / "models/yolox_nano.onnx", folder / "yolox_nano.onnx", options).path
    with Detector(graph, threads=2) as detector:
        figures = evaluate_coco(detector, read_dataset(f"{shared / 'data/coco128/instances_val2017.json'}"))
    return verdict(figures.map >= 0.340, f"yolox_nano: mAP {figures.map:.4f} on coco128 val2017 (at least 0.340)")


def ultralytics(shared: Path, folder: Path) -> bool:
    """YOLO11n built from its YAML with fixed weights, against Ultralytics' own predict."""
    try:
        import torch
        from ultralytics import YOLO
    except ImportError:
        print("ultralytics: not installed, not measured (pip install ultralytics)")
        return True
    torch.manual_seed(0)
    model = YOLO("yolo11n.yaml")
    paths = sorted((shared / "data/coco128").rglob("*.jpg"))[:16]
    frames = [read_image(path) for path in paths]
    settle(model.model, frames[:4])
    checkpoint = folder / "yolo11n.pt"
    model.save(str(checkpoint))
    saved = YOLO(str(checkpoint))

    def predict(frame: np.ndarray) -> Detections:
        (found,) = saved.predict(frame, imgsz=640, rect=False, verbose=False, device="cpu")
        boxes = found.boxes
        return Detections(
            boxes.xyxy.numpy(),
            boxes.conf.numpy(),
            boxes.cls.numpy().astype(np.int32),
            names=tuple(saved.names.values()),
            frame_size=frame.shape[:2],
        )

    graph = export_model(checkpoint, folder / "yolo11n.onnx", ExportOptions(trust="code")).path
    with Detector(graph, threads=2) as ours:
        kept = compare("yolo11n (YAML, seed 0), our graph", frames, predict, ours.detect)
    foreign = Path(str(YOLO(str(checkpoint)).export(format="onnx", opset=17, simplify=False)))
    with Detector(foreign, threads=2) as theirs:
        return kept & compare("yolo11n (YAML, seed 0), their ONNX", frames, predict, theirs.detect)


def settle(network: Any, frames: list[np.ndarray]) -> None:
    """Give untrained weights activations and class scores of a trained network's spread, so that there is something
    to compare: BatchNorm statistics of a few frames, and class logits around -3 with a deviation of 0.5,
    whose tails do not saturate."""
    import torch
    from torch import nn

    images = [cv2.resize(frame, (640, 640))[:, :, ::-1].copy() for frame in frames]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    network.eval()
    for norm in norms:
        norm.train().momentum = 1.0
    with torch.no_grad():
        network(batch)
    network.eval()

    def spread(layer: nn.Conv2d, inputs: tuple[torch.Tensor, ...]) -> None:
        rms = float(inputs[0].square().mean().sqrt())
        layer.weight.data.normal_(0, 0.5 / (layer.weight[0].numel() ** 0.5 * rms))
        assert layer.bias is not None
        layer.bias.data.fill_(-3.0)

    hooks = [branch[-1].register_forward_pre_hook(spread) for branch in network.model[-1].cv3]
    with torch.no_grad():
        network(batch[:1])
    for hook in hooks:
        hook.remove()
    for norm in norms:
        norm.momentum = 0.03


def compare(
    name: str,
    frames: list[np.ndarray],
    reference: Callable[[np.ndarray], Detections],
    candidate: Callable[[np.ndarray], Detections],
) -> bool:
    """Match all frames and print what agreed."""
    report = summarise([match_detections(reference(frame), candidate(frame), Tolerance()) for frame in frames])
    counted = f"{name}: {report.reference_count} detections >= 0.05 on {report.frames} frames"
    if report.absent:
        return verdict(False, f"{counted}; not measured: {'; '.join(dict.fromkeys(report.absent.values()))}")
    return verdict(
        report.agrees(REQUIRED),
        f"{counted}, found {report.found:.2%}, confirmed {report.confirmed:.2%}, worst IoU {report.worst_iou:.5f}, "
        f"worst score difference {report.worst_score_difference:.6f}",
    )


def verdict(kept: bool, line: str) -> bool:
    """Print a line with its verdict."""
    print(f"{line}  [{'met' if kept else 'MISSED'}]", flush=True)
    return kept


PARTS: dict[str, Callable[[Path, Path], bool]] = {"bccd": bccd, "yolox": yolox, "ultralytics": ultralytics}

if __name__ == "__main__":
    sys.exit(main())
