"""What Ultralytics exports with nothing but defaults, through edgedet in every precision, against its own predict.

    python benchmarks/ultralytics_exports.py [--only yolo11n,yolo26n] [--imgsz 320] [--precisions fp32,fp16,int8]

Networks from their YAML with seeded random weights; the class scores are stretched until they differ, since those
of an untrained head are all alike and leave NMS nothing to choose from. Such weights keep no accuracy in INT8, so
there the share of equal detections only shows that the graph computes the same kind of thing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgedet import Detections, Detector
from edgedet.errors import EdgedetError
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import Tolerance, match_detections

DEFAULTS: dict[str, dict[str, Any]] = {
    "yolov3-tiny": {},
    "yolov5n": {},
    "yolov8n": {},
    "yolov9t": {},
    "yolov10n": {},
    "yolo11n": {},
    "yolo12n": {},
    "yolo26n": {},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "yolov10n free": {"nms": False},
    "yolo26n free": {"nms": False},
    "yolov8n dynamic": {"dynamic": True},
    "rtdetr-l": {},
}
"""Further exports, by the arguments they take."""
SEEDS = (1, 3, 5, 7)
SIZES = ((480, 640), (320, 211), (320, 320), (720, 1280))
"""(height, width) of the frames compared."""
TOLERANCES = {
    "fp32": Tolerance(min_score=0.26, min_iou=0.99, max_score_difference=1e-3),
    "fp16": Tolerance(min_score=0.30, min_iou=0.90, max_score_difference=0.05),
    "int8": Tolerance(min_score=0.35, min_iou=0.50, max_score_difference=0.20),
}


def untrained(name: str) -> Any:
    """A network of Ultralytics' with scores that differ."""
    import torch
    import ultralytics

    torch.manual_seed(1)
    kind = ultralytics.RTDETR if name.startswith("rtdetr") else ultralytics.YOLO
    with contextlib.redirect_stdout(sys.stderr):
        model = kind(f"{name}.yaml")
    network = model.model
    head = network.model[-1]
    if name.startswith("rtdetr"):
        for layer in head.dec_score_head:
            layer.weight.data.normal_(0, 0.2)
        return model
    layers = [branch[-1] for branch in (*head.cv3, *(getattr(head, "one2one_cv3", None) or ()))]
    hooks = [layer.register_forward_pre_hook(_spread) for layer in layers]
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.train().momentum = 1.0
    scenes = np.stack([golden_frame(seed, 320, 320) for seed in SEEDS]).transpose(0, 3, 1, 2)
    with torch.no_grad():
        network(torch.from_numpy(np.ascontiguousarray(scenes)).float() / 255)
    network.eval()
    for hook in hooks:
        hook.remove()
    return model


def _spread(layer: Any, inputs: tuple[Any, ...]) -> None:
    """Weights under which logits have a standard deviation of about 1, whatever the untrained features are: with
    more of it, scores round to 1 and nothing but float noise orders them."""
    (features,) = inputs
    layer.weight.data.normal_(0, 1 / (layer.weight[0].numel() ** 0.5 * float(features.square().mean().sqrt())))
    layer.bias.data.fill_(-3)


def exported(name: str, folder: Path, imgsz: int) -> Path:
    """The ONNX file as Ultralytics writes it."""
    base = name.split(maxsplit=1)[0]
    model = untrained(base)
    model.ckpt_path = model.model.pt_path = str(folder / f"{name.replace(' ', '-')}.pt")
    arguments = (DEFAULTS | VARIANTS)[name]
    # Its progress goes to stdout, which belongs to the table.
    with contextlib.redirect_stdout(sys.stderr):
        return Path(model.export(format="onnx", imgsz=imgsz, verbose=False, **arguments))


def theirs(path: Path, frame: np.ndarray, names: tuple[str, ...], imgsz: int, conf: float = 0.25) -> Detections:
    """What Ultralytics' own predict finds with the file, on the whole canvas (it shrinks that of dynamic files)."""
    import ultralytics

    kind = ultralytics.RTDETR if path.name.startswith("rtdetr") else ultralytics.YOLO
    arguments = {} if kind is ultralytics.RTDETR else {"task": "detect"}
    if path not in PREDICTORS:
        PREDICTORS[path] = kind(str(path), **arguments)
    boxes = PREDICTORS[path].predict(frame, verbose=False, conf=conf, imgsz=imgsz, rect=False)[0].boxes
    # RT-DETR's may reach beyond the frame there.
    corners = boxes.xyxy.numpy().clip(0, np.tile(frame.shape[1::-1], 2))
    found = Detections(
        corners,
        boxes.conf.numpy().clip(0, 1),
        boxes.cls.numpy().astype(np.int32),
        names,
        frame.shape[:2],
    )
    # Boxes that lie wholly in the border: they report them without extent, we do not.
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    return found[(sides > 0).all(axis=1)]


PREDICTORS: dict[Path, Any] = {}


def agreement(path: Path, artifact: Path, precision: str) -> str:
    """Shares of Ultralytics' detections that ``artifact`` finds too, and of its own that they have."""
    expected = found = wanted = confirmed = 0
    with Detector(artifact) as detector:
        for seed, size in zip(SEEDS, SIZES, strict=True):
            frame = golden_frame(seed, *size)
            reference = theirs(path, frame, detector.names, detector.card.input.width)
            report = match_detections(reference, detector.detect(frame), TOLERANCES[precision])
            expected += report.reference_count
            found += report.reference_count - len(report.missing)
            wanted += report.candidate_count
            confirmed += report.candidate_count - len(report.extra)
    return f"{found}/{expected} found, {confirmed}/{wanted} confirmed"


def rows(names: list[str], imgsz: int, precisions: list[str]) -> Iterator[tuple[str, ...]]:
    """Model, precision, result, agreement, seconds."""
    import cv2

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = folder / "pictures"
        pictures.mkdir()
        for seed in range(8):
            cv2.imwrite(str(pictures / f"{seed}.png"), golden_frame(seed))
        for model in names:
            path = exported(model, folder, imgsz)
            yield model, "as it is", "runs", agreement(path, path, "fp32"), ""
            for precision in precisions:
                started = time.monotonic()
                options = ExportOptions(
                    precision=precision,  # type: ignore[arg-type]
                    calib=str(pictures) if precision == "int8" else None,
                    max_drop=1.0,
                    over_budget="keep_best",
                )
                try:
                    report = export_model(path, path.with_name(f"{path.stem}-{precision}.edge.onnx"), options)
                except EdgedetError as error:
                    yield model, precision, f"{type(error).__name__}: {error}", "", ""
                    continue
                took = f"{time.monotonic() - started:.0f} s"
                yield (
                    model,
                    precision,
                    f"{report.bytes / 1e6:.1f} MB",
                    agreement(path, report.path, precision),
                    took,
                )


def main() -> None:
    """Print the table, a row at a time."""
    os.environ["YOLO_OFFLINE"], os.environ["YOLO_AUTOINSTALL"] = "true", "false"
    os.environ["YOLO_VERBOSE"] = "false"
    everything = [*DEFAULTS, *VARIANTS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default=",".join(everything))
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--precisions", default="fp32,fp16,int8")
    arguments = parser.parse_args()
    print("| model | precision | result | against predict | time |\n|---|---|---|---|---|")
    for row in rows(arguments.only.split(","), arguments.imgsz, arguments.precisions.split(",")):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
