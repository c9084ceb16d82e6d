"""The frameworks of :mod:`yolo_parity`: a network with seeded weights, the file they make of it, what they find."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from framework_case import CONF, Case, Maker, NotHereError, checkout, detections, one_image, write_onnx
from settled_network import Part, anchored, settle

from edgedet import Detections
from edgedet.artifacts.keypoint_skeleton import Skeleton
from edgedet.export.options import ExportOptions
from edgedet.masks.canvas_masks import CanvasMasks


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
