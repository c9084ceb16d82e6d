"""Networks of seeded weights that have as much to do as on a busy street: healthy activations, many candidates.

BatchNorm sees a photograph, and the class layer is stretched until ``CANDIDATES`` pass the threshold ``CONF``
(:mod:`overhead` says what random weights cost without).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contestants import photograph

NUM_CLASSES = 91
CONF = 0.25
CANDIDATES = 60


def settle(network: Any, image: Any) -> None:
    """Let BatchNorm measure the activations a photograph [1, 3, H, W] and its mirror image give."""
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    network.train()
    with torch.no_grad():
        network(torch.cat([image, image.flip(-1)]))
    network.eval()


def stretch(logits: Any, layers: list[Any]) -> None:
    """Scale the class ``layers``, linear in ``logits`` [..., classes], until CANDIDATES scores pass CONF."""
    import torch

    logits = logits.reshape(-1, logits.shape[-1]).double()
    low, high = 0.0, 1e9
    for _ in range(200):
        factor = (low * high) ** 0.5 if low else high / 2
        passed = int((torch.softmax(logits * factor, -1)[:, 1:] > CONF).sum())
        low, high = (factor, high) if passed < CANDIDATES else (low, factor)
    for layer in layers:
        layer.weight.data *= high
        layer.bias.data *= high


def exported(model: Any, arch: str, folder: Path, **options: Any) -> Path:
    """Save the model as a checkpoint and export that."""
    import torch

    from edgedet.export.options import ExportOptions
    from edgedet.export.pipeline import export_model

    source = folder / f"{arch}.pth"
    torch.save({"arch": arch, "num_classes": NUM_CLASSES, "state_dict": model.state_dict()}, source)
    export_model(source, source.with_suffix(".onnx"), ExportOptions(conf=CONF, **options))
    return source.with_suffix(".onnx")


def ultralytics_model(folder: Path) -> tuple[Path, Callable[[Any], Any]]:
    """A seeded YOLO11n exported to ONNX, and its predict call."""
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    import torch
    from ultralytics import YOLO

    torch.manual_seed(0)
    with contextlib.redirect_stdout(sys.stderr):
        model = YOLO("yolo11n.yaml")
        spread_scores(model.model.eval())
        # Ultralytics writes beside the model's own file, which a model made from YAML would not have.
        model.ckpt_path = model.model.pt_path = str(folder / "yolo11n.pt")
        path = Path(model.export(format="onnx", imgsz=640, opset=17, simplify=False, verbose=False)).resolve()
        runner = YOLO(str(path), task="detect")
    return path, lambda frame: runner.predict(frame, conf=CONF, verbose=False)


def spread_scores(network: Any) -> None:
    """Give the class layers' outputs a spread, and shift them until CANDIDATES anchors pass CONF."""
    import torch

    from edgedet.artifacts.card import InputSpec, ResizeRule
    from edgedet.preprocess import Preprocessor

    layers = [branch[-1] for branch in network.model[-1].cv3]
    for layer in layers:
        layer.bias.data.zero_()
    spec = InputSpec(640, 640, dtype="float32", layout="NCHW", colour="RGB", normalise="host", scale=1 / 255)
    preprocessor = Preprocessor(spec, ResizeRule("letterbox", place="center", rounding="round"))
    preprocessor.prepare(photograph())
    image = torch.from_numpy(preprocessor.tensor)
    settle(network, image)
    with torch.inference_mode():
        logits = torch.logit(network(image)[0][0, 4:].double()).max(0).values
    factor = float(3 / logits.std())
    highest = float(logits.sort(descending=True).values[CANDIDATES]) * factor
    for layer in layers:
        layer.weight.data *= factor
        layer.bias.data.fill_(float(np.log(CONF / (1 - CONF))) - highest)
