"""The frameworks of :mod:`yolo_parity`: a network with seeded weights, the file they make of it, what they find."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measured_rows import at_commit

from edgedet import Detections
from edgedet.artifacts.skeleton import Skeleton
from edgedet.canvas_masks import CanvasMasks
from edgedet.export.options import ExportOptions

CONF = 0.05


class NotHereError(Exception):
    """The framework, or a package it needs, is not installed."""


@dataclass
class Case:
    """``path``: what the framework wrote. ``reference``: what it finds in a BGR frame, in the frame's pixels."""

    path: Path
    version: str
    reference: Callable[[np.ndarray], Detections]
    options: ExportOptions = field(default_factory=lambda: ExportOptions(conf=CONF))


Maker = Callable[[str, Path, Path, int, Sequence[np.ndarray]], Case]


@contextlib.contextmanager
def checkout(frameworks: Path, name: str) -> Iterator[str]:
    """Import from a checkout; gives its version in words."""
    folder = frameworks / name
    if not folder.is_dir():
        raise NotHereError(f"no checkout {name}")
    sys.path.insert(0, str(folder))
    warnings.simplefilter("ignore")
    try:
        # Their progress goes to stdout, which belongs to the table.
        with contextlib.redirect_stdout(sys.stderr):
            clone = name.split("/", maxsplit=1)[0]
            yield at_commit(frameworks / clone, clone)
    except ImportError as error:
        raise NotHereError(f"{name} needs {error.name or error}") from error


def settle(
    network: Any,
    frames: Sequence[np.ndarray],
    imgsz: int,
    scale: float,
    *parts: Part,
    rgb: bool = True,
    canvas: Callable[[np.ndarray, int], np.ndarray] | None = None,
) -> None:
    """Give an untrained network activations and outputs of a trained one's spread, in its own order of colours.

    Its statistics are those of the canvases that it will be shown, borders and all, of every photograph: on another
    canvas each BatchNorm finds means and deviations that are not its own, layer after layer, until the last digit
    of a rounding is a thousandth of a box (YOLOX-Nano, settled on four stretched photographs: 1e-3 of its outputs
    against PyTorch in double, in PyTorch and ONNX Runtime alike; 1e-6 on a canvas it had been settled on).

    Args:
        network: in place.
        frames: BGR.
        imgsz: side of the canvas.
        scale: factor of the pixels.
        parts: last layers, and the spread of their outputs.
        rgb: whether it takes RGB.
        canvas: from a BGR frame and ``imgsz``; None for :func:`letterboxed`.
    """
    import torch

    place = canvas or (lambda frame, side: letterboxed(frame, side)[0])
    order = -1 if rgb else 1
    images = [place(frame, imgsz)[:, :, ::order].copy() for frame in frames]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() * scale
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    former = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train().momentum = 1.0
    with torch.no_grad():
        network(batch)
    network.eval()
    for norm, momentum in zip(norms, former, strict=True):
        norm.momentum = momentum
    hooks = [layer.register_forward_pre_hook(part.spread) for part in parts for layer in part.layers]
    with torch.no_grad():
        network(batch)
    for hook in hooks:
        hook.remove()


@dataclass
class Part:
    """Last layers of a head, and the deviation and mean that their outputs shall have; by channel where given."""

    layers: Sequence[Any]
    deviation: Any
    mean: Any

    def spread(self, layer: Any, inputs: Any) -> None:
        """A hook before the layer runs: weights under which every channel has that deviation and mean.

        Channel by channel, since an untrained layer's own means differ by several deviations: sides of boxes then
        fell below a thousandth of a pixel, where float32 cannot keep an IoU of 0.99, whoever computes them.
        """
        import torch

        layer.weight.data.normal_(0, 1)
        layer.bias.data.zero_()
        outputs = type(layer).forward(layer, inputs[0]).movedim(1, -1).flatten(0, -2)
        wanted, mean = (
            torch.as_tensor(value, dtype=torch.float32).expand(len(layer.weight))
            for value in (self.deviation, self.mean)
        )
        factor = wanted / outputs.std(0).clamp_min(1e-6)
        layer.weight.data.mul_(factor.reshape(-1, *[1] * (layer.weight.ndim - 1)))
        layer.bias.data.copy_(mean - outputs.mean(0) * factor)


def write_onnx(network: Any, imgsz: int, path: Path, **arguments: Any) -> Path:
    """PyTorch's own exporter, as all of them use it."""
    import torch

    settings = {"input_names": ["images"], "output_names": ["output"], "opset_version": 12} | arguments
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 3, imgsz, imgsz),), str(path), dynamo=False, **settings)
    return path


def letterboxed(frame: np.ndarray, imgsz: int) -> tuple[np.ndarray, float, float, float]:
    """YOLOv5's letterbox, and its heirs': BGR uint8 [S, S, 3], scale, and what lies left and above.

    Boxes are taken back by whole pixels of border and the ratio of the rounded sides, as Ultralytics' package does
    today; the older repositories leave both unrounded there, and so are off by up to half a pixel of the canvas.
    """
    height, width = frame.shape[:2]
    scale = min(imgsz / height, imgsz / width)
    inner = round(width * scale), round(height * scale)
    left, top = (imgsz - inner[0]) / 2, (imgsz - inner[1]) / 2
    if (width, height) != inner:
        frame = cv2.resize(frame, inner, interpolation=cv2.INTER_LINEAR)
    sides = round(top - 0.1), round(top + 0.1), round(left - 0.1), round(left + 0.1)
    bordered = cv2.copyMakeBorder(frame, *sides, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    return bordered, scale, sides[2], sides[0]


def stretched(frame: np.ndarray, imgsz: int) -> np.ndarray:
    """BGR uint8 [S, S, 3]."""
    return cv2.resize(frame, (imgsz, imgsz), interpolation=cv2.INTER_LINEAR)


def tensor_of(canvas: np.ndarray, scale: float = 1 / 255, rgb: bool = True) -> Any:
    """float32 [1, 3, S, S]."""
    import torch

    planes = canvas[:, :, ::-1] if rgb else canvas
    return torch.from_numpy(np.ascontiguousarray(planes.transpose(2, 0, 1))[None]).float() * scale


def detections(boxes: Any, scores: Any, labels: Any, frame: np.ndarray) -> Detections:
    """From arrays or tensors, clipped to the frame."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4).clip(0, np.tile(frame.shape[1::-1], 2))
    names = tuple(f"class_{index}" for index in range(80))
    return Detections(
        boxes,
        np.asarray(scores, np.float32).reshape(-1).clip(0, 1),
        np.asarray(labels).astype(np.int32).reshape(-1),
        names, frame.shape[:2],
    )  # fmt: skip


def ultralytics(name: str, frameworks: Path, folder: Path, imgsz: int, frames: Sequence[np.ndarray]) -> Case:
    """Their own export, and their predict: of the ``.pt`` for float files, of the file else."""
    os.environ.update({"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"})
    try:
        import ultralytics as package
    except ImportError as error:
        raise NotHereError("ultralytics is not installed") from error
    import torch

    base, _, kind = name.partition(" ")
    rtdetr = base.startswith("rtdetr")
    of = package.RTDETR if rtdetr else package.YOLO
    torch.manual_seed(0)
    with contextlib.redirect_stdout(sys.stderr):
        model = of(f"{base}.yaml")
        head = model.model.model[-1]
        if rtdetr:
            settle(model.model, frames, imgsz, 1 / 255)
            for layer in head.dec_score_head:
                layer.weight.data.normal_(0, 0.2)
        else:
            branches = [*head.cv3, *(getattr(head, "one2one_cv3", None) or ())]
            parts = [Part([branch[-1] for branch in branches], 0.6, -5.0)]
            if model.task == "segment":
                # Outlines that are neither empty nor whole boxes.
                branches = [*head.cv4, *(getattr(head, "one2one_cv4", None) or ())]
                parts.append(Part([branch[-1] for branch in branches], 1.0, 0.0))
            if model.task == "pose":
                last = (getattr(head, f"{which}cv4_kpts", None) or () for which in ("", "one2one_"))
                layers = [layer for each in last for layer in each]
                parts.append(Part(layers or [branch[-1] for branch in head.cv4], 1.5, 0.0))
            settle(model.model, frames, imgsz, 1 / 255, *parts)
        # By a name such as yolov5n.pt it would look for its own yolov5nu.pt.
        checkpoint = folder / "network.pt"
        model.save(str(checkpoint))
        saved = of(str(checkpoint))
        path, source = checkpoint, saved
        options = ExportOptions(conf=CONF, trust="code", imgsz=(imgsz, imgsz))
        if kind != ".pt":
            arguments = ULTRALYTICS[kind]
            path = Path(of(str(checkpoint)).export(format="onnx", imgsz=imgsz, verbose=False, **arguments))
            options = ExportOptions(conf=CONF)
            source = of(str(path)) if rtdetr else of(str(path), task=model.task)

    def predict(frame: np.ndarray) -> Detections:
        found = source.predict(
            frame, imgsz=imgsz, rect=False, conf=CONF, verbose=False, device="cpu", agnostic_nms=kind == "agnostic"
        )[0]
        boxes = detections(found.boxes.xyxy, found.boxes.conf, found.boxes.cls, frame)
        if source.task == "pose":
            points = found.keypoints.data.numpy()
            skeleton = Skeleton(tuple(f"keypoint_{number}" for number in range(points.shape[1])))
            return dataclasses.replace(boxes, keypoints=points, skeleton=skeleton)
        return boxes if source.task != "segment" else dataclasses.replace(boxes, masks=outlines(found))

    return Case(path, f"ultralytics {package.__version__}", predict, options)


def outlines(found: Any) -> CanvasMasks:
    """Masks of Ultralytics' ``Results`` in the frame, as its own ``plot`` brings them there from the canvas."""
    from ultralytics.utils import ops

    frame = found.orig_shape
    if found.masks is None:
        return CanvasMasks((), frame)
    # One at a time: all of them in floats take gigabytes.
    each = (ops.scale_masks(mask[None, None].float(), frame)[0, 0] > 0.5 for mask in found.masks.data)
    return CanvasMasks.of_frames([mask.numpy() for mask in each], frame)


ULTRALYTICS: dict[str, dict[str, Any]] = {
    "": {},
    "nms": {"nms": True, "conf": CONF},
    "nms opset 22": {"nms": True, "conf": CONF, "opset": 22},
    "agnostic": {"nms": True, "conf": CONF, "agnostic_nms": True},
    "half": {"half": True},
    "dynamic": {"dynamic": True},
    "dynamic nms": {"dynamic": True, "nms": True, "conf": CONF},
    **{f"opset {opset}": {"opset": opset} for opset in (12, 17, 20, 23)},
    "one to one": {"nms": False},
}


def yolov5(name: str, frameworks: Path, folder: Path, imgsz: int, frames: Sequence[np.ndarray]) -> Case:
    """``export.py``'s file, and the NMS of ``detect.py``."""
    import onnx
    import torch

    with checkout(frameworks, "yolov5") as version:
        from models.yolo import DetectionModel
        from utils.general import non_max_suppression

        torch.manual_seed(0)
        model = DetectionModel(str(frameworks / "yolov5/models" / f"{name}.yaml"))
        settle(model, frames, imgsz, 1 / 255, anchored(model.model[-1].m))
        model.model[-1].export = True
        path = write_onnx(model, imgsz, folder / "net.onnx", output_names=["output0"], opset_version=17)
        written = onnx.load(str(path))
        names = {index: f"class_{index}" for index in range(80)}
        onnx.helper.set_model_props(written, {"stride": "32", "names": str(names)})
        onnx.save(written, str(path))

    def find(frame: np.ndarray) -> Detections:
        return one_image(model, frame, imgsz, lambda raw: non_max_suppression(raw, CONF, 0.45, max_det=1000)[0])

    return Case(path, version, find)


def anchored(layers: Sequence[Any], classes: int = 80) -> Part:
    """Box, objectness and classes of three anchors."""
    # Sides are (2 * sigmoid)^2 of an anchor's, and training matches anchors within a factor of 4 only.
    deviation = [0.5] * 2 + [0.2] * 2 + [1.0] + [0.7] * classes
    mean = [0.0] * 4 + [-4.0] + [-1.5] * classes
    return Part(layers, np.array(deviation * 3, np.float32), np.array(mean * 3, np.float32))


def one_image(
    model: Any, frame: np.ndarray, imgsz: int, suppress: Callable[[Any], Any], rgb: bool = True
) -> Detections:
    """The network on a letterboxed frame, its framework's NMS, and the way back."""
    import torch

    canvas, scale, left, top = letterboxed(frame, imgsz)
    with torch.no_grad():
        raw = model(tensor_of(canvas, rgb=rgb))
    raw = raw[0] if isinstance(raw, list | tuple) else raw
    found = suppress(raw.clone()).numpy()
    back = [round(side * scale) / side for side in frame.shape[1::-1]]
    boxes = (found[:, :4] - np.array([left, top] * 2)) / np.array(back * 2)
    return detections(boxes, found[:, 4], found[:, 5], frame)


def yolov7(name: str, frameworks: Path, folder: Path, imgsz: int, frames: Sequence[np.ndarray]) -> Case:
    """``export.py --grid``, and with ``--end2end`` the NMS of TensorRT or, with ``--max-wh``, ONNX's."""
    import torch

    base, _, kind = name.partition(" ")
    with checkout(frameworks, "yolov7") as version:
        from models.experimental import End2End
        from models.yolo import Model
        from utils.general import non_max_suppression

        torch.manual_seed(0)
        model = Model(str(frameworks / "yolov7/cfg/deploy" / f"{base}.yaml"))
        settle(model, frames, imgsz, 1 / 255, anchored(model.model[-1].m))
        model.fuse().eval()
        options = ExportOptions(conf=CONF, family="yolov5", iou=0.45, max_detections=300)
        most, apart = 300, 4096
        if kind:
            options = ExportOptions(family="yolov5")
            most, apart = 100, {"end2end": 0, "max-wh": 640, "agnostic": 0}[kind]
            limit = None if kind == "end2end" else apart
            wrapped = End2End(model, 100, 0.45, CONF, limit, torch.device("cpu"), 80)
            outputs = ["num_dets", "det_boxes", "det_scores", "det_classes"] if limit is None else ["output"]
            path = write_onnx(wrapped.eval(), imgsz, folder / "net.onnx", output_names=outputs)
            model.model[-1].end2end = False
        else:
            model.model[-1].concat = True
            path = write_onnx(model, imgsz, folder / "net.onnx")
            model.model[-1].concat = False

    def suppress(raw: Any) -> Any:
        if kind == "end2end":
            return efficient_nms(raw, CONF, 0.45, most)
        if kind:
            return ort_nms(raw, CONF, 0.45, most, apart)
        return non_max_suppression(raw, CONF, 0.45)[0]

    return Case(path, version, lambda frame: one_image(model, frame, imgsz, suppress), options)


def corners(raw: Any) -> Any:
    """Centres and sizes [A, 4] to corners."""
    import torch

    return torch.cat([raw[:, :2] - raw[:, 2:4] / 2, raw[:, :2] + raw[:, 2:4] / 2], 1)


def efficient_nms(raw: Any, conf: float, iou: float, most: int) -> Any:
    """TensorRT's EfficientNMS as its README describes it: every class for itself, a box under all its classes."""
    import torch
    from torchvision.ops import batched_nms

    rows = raw[0]
    scores = rows[:, 5:] * rows[:, 4:5]
    place, label = (scores > conf).nonzero(as_tuple=True)
    boxes, sure = corners(rows)[place], scores[place, label]
    kept = batched_nms(boxes, sure, label, iou)[:most]
    return torch.cat([boxes[kept], sure[kept, None], label[kept, None].float()], 1)


def ort_nms(raw: Any, conf: float, iou: float, most: int, apart: float) -> Any:
    """What YOLOv7's ONNX_ORT does: the best class, boxes moved apart by class, one NMS."""
    import torch
    from torchvision.ops import nms

    rows = raw[0]
    sure, label = (rows[:, 5:] * rows[:, 4:5]).max(1)
    boxes, wanted = corners(rows), sure > conf
    boxes, sure, label = boxes[wanted], sure[wanted], label[wanted]
    kept = nms(boxes + label[:, None] * apart, sure, iou)[:most]
    return torch.cat([boxes[kept], sure[kept, None], label[kept, None].float()], 1)


TASKS = tuple(f"{base}-{task}" for task in ("seg", "pose") for base in ("yolov8n", "yolo11n", "yolo26n"))
BASES = ("yolov3-tiny", "yolov5n", "yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n", "rtdetr-l")
CASES: dict[str, Maker] = {
    **{f"{base}{kind}": ultralytics for base in BASES for kind in ("", " .pt", " nms")},
    **{f"yolov8n {kind}": ultralytics for kind in ULTRALYTICS if kind not in ("", "nms", "one to one")},
    **{f"{base} one to one": ultralytics for base in ("yolov10n", "yolo26n", "yolo26n-seg")},
    **{f"{base}{kind}": ultralytics for base in TASKS for kind in ("", " .pt")},
    **dict.fromkeys(
        ("yolov5n-original", "yolov5s-original"), lambda name, *rest: yolov5(name.split("-")[0], *rest)
    ),
    **dict.fromkeys(("yolov7-tiny", "yolov7-tiny end2end", "yolov7-tiny max-wh", "yolov7-tiny agnostic"), yolov7),
}
del CASES["rtdetr-l nms"]
"""By the name of the row. (RT-DETR has no NMS to put in.)"""
