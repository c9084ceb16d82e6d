"""More frameworks of :mod:`yolo_parity`, from checkouts: YOLOX, YOLOv6, YOLO-NAS, DAMO-YOLO."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import cv2
import numpy as np
from framework_case import CONF, Case, Maker, checkout, detections, one_image, stretched, tensor_of, write_onnx
from settled_network import Part, settle
from yolo_frameworks import efficient_nms

from edgedet import Detections
from edgedet.export.options import ExportOptions

SHARED = Path(os.environ.get("EDGEDET_SHARED", Path(__file__).resolve().parents[2] / "shared"))
PUBLISHED = SHARED / "models/yolox_nano.onnx"


def yolox(name: str, frameworks: Path, folder: Path, imgsz: int, frames: Sequence[np.ndarray]) -> Case:
    """``tools/export_onnx.py`` with and without decoding, and the checkpoint as training saves it.

    Nano has its authors' weights where ``PUBLISHED`` is there.
    """
    import torch

    _, size, kind = (*name.split(), "")[:3]
    depth, width, depthwise = {"nano": (0.33, 0.25, True), "tiny": (0.33, 0.375, False), "m": (0.67, 0.75, False)}[
        size
    ]
    with checkout(frameworks, "YOLOX") as commit:
        from yolox.models import YOLOPAFPN, YOLOX, YOLOXHead
        from yolox.utils import postprocess

        torch.manual_seed(0)
        channels = [256, 512, 1024]
        body = YOLOPAFPN(depth, width, in_channels=channels, depthwise=depthwise)
        head = YOLOXHead(80, width, in_channels=channels, depthwise=depthwise)
        model = YOLOX(body, head)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps = 1e-3
        if size == "nano" and PUBLISHED.exists():
            _published(model, PUBLISHED)
            version = f"{commit}; its published weights"
        else:
            scores = Part([*head.cls_preds, *head.obj_preds], 0.7, -2.4)
            parts = scores, Part(head.reg_preds, 0.5, 0.0)
            settle(model, frames, imgsz, 1.0, *parts, rgb=False, canvas=lambda *it: _top_left(*it)[0])
            version = commit
        # Its own post-processing keeps the best class of a box; edgedet's default keeps all that score.
        options = ExportOptions(conf=CONF, family="yolox", max_detections=1000, label_mode="best")
        if kind == ".pth":
            path = folder / "best_ckpt.pth"
            torch.save({"model": model.state_dict(), "start_epoch": 300}, path)
            options = ExportOptions(conf=CONF, imgsz=(imgsz, imgsz), max_detections=1000, label_mode="best")
        else:
            head.decode_in_inference = kind == "decoded"
            path = write_onnx(model, imgsz, folder / "net.onnx", opset_version=11)
        head.decode_in_inference = True

    def find(frame: np.ndarray) -> Detections:
        canvas, scale = _top_left(frame, imgsz)
        with torch.no_grad():
            (found,) = postprocess(model(tensor_of(canvas, 1.0, rgb=False)), 80, CONF, 0.65)
        rows = np.zeros((0, 7)) if found is None else found.numpy()
        return detections(rows[:, :4] / scale, rows[:, 4] * rows[:, 5], rows[:, 6], frame)

    return Case(path, version, find, options)


def _top_left(frame: np.ndarray, imgsz: int) -> tuple[np.ndarray, float]:
    """YOLOX's canvas: BGR uint8 [S, S, 3], and its scale."""
    scale = min(imgsz / frame.shape[0], imgsz / frame.shape[1])
    inner = int(frame.shape[1] * scale), int(frame.shape[0] * scale)
    canvas = np.full((imgsz, imgsz, 3), 114, np.uint8)
    canvas[: inner[1], : inner[0]] = cv2.resize(frame, inner, interpolation=cv2.INTER_LINEAR)
    return canvas, scale


def _published(model: Any, path: Path) -> None:
    """Put the weights of the authors' own file into their network: its convolutions, in the order they run.

    The file's convolutions hold what BatchNorm was; here every BatchNorm shifts by their bias and does no more.
    """
    import onnx
    import torch

    graph = onnx.load(str(path)).graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    written = iter([node for node in graph.node if node.op_type == "Conv"])

    def fill(layer: Any, inputs: Any) -> None:
        weight, bias = (torch.from_numpy(tensors[name].copy()) for name in next(written).input[1:3])
        layer.weight.data.copy_(weight)
        if layer.bias is not None:
            layer.bias.data.copy_(bias)
        else:
            follows[layer].bias.data.copy_(bias)

    follows, former = {}, None
    for module in model.eval().modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            follows[former] = module
            module.running_mean.zero_()
            module.running_var.fill_(1 - module.eps)
            module.weight.data.fill_(1)
        former = module
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(fill) for layer in layers]
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    if next(written, None) is not None:
        raise ValueError(f"{path} has more convolutions than the network")


def yolov6(name: str, frameworks: Path, folder: Path, imgsz: int, frames: Sequence[np.ndarray]) -> Case:
    """``deploy/ONNX/export_onnx.py``, also with ``--end2end``, with ``--ort``, and ``--with-preprocess``."""
    import torch

    base, _, kind = name.partition(" ")
    with checkout(frameworks, "YOLOv6") as version:
        from yolov6.layers.common import RepVGGBlock
        from yolov6.models.end2end import End2End
        from yolov6.models.yolo import build_model
        from yolov6.utils.config import Config
        from yolov6.utils.nms import non_max_suppression
        from yolov6.utils.torch_utils import fuse_model

        torch.manual_seed(0)
        config = Config.fromfile(str(frameworks / "YOLOv6/configs" / f"{base}.py"))
        config.training_mode = "repvgg"
        model = build_model(config, 80, "cpu")
        head = model.detect
        scores = Part(head.cls_preds, 0.6, -4.5)
        settle(model, frames, imgsz, 1 / 255, scores, Part(head.reg_preds, 0.5, 2.0))
        model = fuse_model(model).eval()
        for layer in model.modules():
            if isinstance(layer, RepVGGBlock):
                layer.switch_to_deploy()
        options = ExportOptions(conf=CONF, iou=0.45, max_detections=1000, family="yolov5")
        wrapped: Any = model
        outputs = ["outputs"]
        if kind:
            options = ExportOptions(family="yolov5")
            outputs = ["num_dets", "det_boxes", "det_scores", "det_classes"]
            wrapped = End2End(
                model, 100, 0.65, CONF, torch.device("cpu"), ort="ort" in kind, with_preprocess="preprocess" in kind
            )
        path = write_onnx(wrapped.eval(), imgsz, folder / "net.onnx", opset_version=13, output_names=outputs)
    most = 1000 if "ort" in kind else 100

    def suppress(raw: Any) -> Any:
        if kind:
            return efficient_nms(raw, CONF, 0.65, most)
        return non_max_suppression(raw, CONF, 0.45, max_det=1000)[0]

    return Case(path, version, lambda frame: one_image(model, frame, imgsz, suppress), options)


def damo_yolo(name: str, frameworks: Path, folder: Path, imgsz: int, frames: Sequence[np.ndarray]) -> Case:
    """``tools/converter.py`` without NMS, and with ``--end2end``'s of ONNX Runtime."""
    import torch

    _, size, kind = (*name.split(), "")[:3]
    with checkout(frameworks, "DAMO-YOLO") as version, within(frameworks / "DAMO-YOLO"):
        from damo.base_models.core.end2end import End2End
        from damo.base_models.core.ops import RepConv
        from damo.config.base import parse_config
        from damo.detectors.detector import build_local_model
        from damo.utils.boxes import multiclass_nms

        torch.manual_seed(0)
        model = build_local_model(parse_config(f"configs/damoyolo_{size}.py"), "cpu").eval()
        head = model.head
        head.nms = False
        scores = Part(list(head.gfl_cls), 0.6, -4.5)
        settle(model, frames, imgsz, 1.0, scores, Part(list(head.gfl_reg), 0.7, 0.0), canvas=stretched)
        for layer in model.modules():
            if isinstance(layer, RepConv):
                layer.switch_to_deploy()
        wrapped: Any = model
        options = ExportOptions(family="damo-yolo", conf=CONF)
        if kind:
            wrapped = End2End(model, 100, 0.7, CONF, torch.device("cpu"), ort=True, trt_version=8)
            options = ExportOptions(family="damo-yolo", max_detections=500)
        names = ["num_dets", "det_boxes", "det_scores", "det_classes"] if kind else ["output", "boxes"]
        path = write_onnx(wrapped.eval(), imgsz, folder / "net.onnx", output_names=names)

    def find(frame: np.ndarray) -> Detections:
        with torch.no_grad():
            likely, boxes = model(tensor_of(stretched(frame, imgsz), 1.0))
        rows, sure, labels = multiclass_nms(boxes[0], likely[0], CONF, 0.7, 500)
        back = np.array([frame.shape[1] / imgsz, frame.shape[0] / imgsz] * 2)
        return detections(rows[:, :4].numpy() * back, sure, labels, frame)

    return Case(path, version, find, options)


def yolo_nas(name: str, frameworks: Path, folder: Path, imgsz: int, frames: Sequence[np.ndarray]) -> Case:
    """``model.export`` without post-processing; packages that its training alone needs are left out."""
    import torch

    with without(ABSENT), checkout(frameworks, "super-gradients/src") as version:
        from super_gradients.training.models.detection_models.pp_yolo_e.post_prediction_callback import (
            PPYoloEPostPredictionCallback,
        )
        from super_gradients.training.models.detection_models.yolo_nas.yolo_nas_variants import YoloNAS_S
        from super_gradients.training.utils import HpmStruct

        torch.manual_seed(0)
        model = YoloNAS_S(HpmStruct(num_classes=80))
        levels = [head for head in (model.heads.head1, model.heads.head2, model.heads.head3)]
        scores = Part([level.cls_pred for level in levels], 0.6, -4.5)
        parts = scores, Part([level.reg_pred for level in levels], 0.7, 0.0)
        settle(model, frames, imgsz, 1 / 255, *parts, canvas=lambda *it: _within_four(*it)[0])
        model.prep_model_for_conversion(input_size=(1, 3, imgsz, imgsz))
        suppress = PPYoloEPostPredictionCallback(
            score_threshold=CONF, nms_threshold=0.7, nms_top_k=1024, max_predictions=300
        )

        class Boxes(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, image: Any) -> Any:
                found = self.model(image)
                return found[0] if isinstance(found[0], tuple) else found

        path = write_onnx(Boxes().eval(), imgsz, folder / "net.onnx", opset_version=14, output_names=["b", "s"])

    def find(frame: np.ndarray) -> Detections:
        canvas, scale, left, top = _within_four(frame, imgsz)
        with torch.no_grad():
            (rows,) = suppress(model(tensor_of(canvas)))
        rows = rows.numpy()
        return detections((rows[:, :4] - np.array([left, top] * 2)) / scale, rows[:, 4], rows[:, 5], frame)

    return Case(path, version, find, ExportOptions(conf=CONF, family="yolo-nas"))


def _within_four(frame: np.ndarray, imgsz: int) -> tuple[np.ndarray, float, int, int]:
    """YOLO-NAS's canvas, four pixels larger than the picture's longer side: scale, and what lies left and above."""
    inner = imgsz - 4
    scale = min(inner / frame.shape[0], inner / frame.shape[1])
    sides = round(frame.shape[1] * scale), round(frame.shape[0] * scale)
    left, top = (imgsz - sides[0]) // 2, (imgsz - sides[1]) // 2
    canvas = np.full((imgsz, imgsz, 3), 114, np.uint8)
    canvas[top : top + sides[1], left : left + sides[0]] = cv2.resize(frame, sides)
    return canvas, scale, left, top


ABSENT = (
    "treelib", "boto3", "botocore", "termcolor", "stringcase", "rapidfuzz", "data_gradients", "onnx_graphsurgeon",
    "json_tricks", "deprecated", "tensorboard", "pytorch_quantization", "pycocotools", "deprecate", "imagesize",
    "sphinx", "wandb", "clearml", "albumentations", "coverage", "hydra", "omegaconf", "torchmetrics", "onnxsim",
)  # fmt: skip


class _Nothing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Packages that are imported and never used."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.split(".", maxsplit=1)[0] not in self.names:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> Any:
        module = MagicMock(name=spec.name)
        module.__path__, module.__spec__, module.__name__ = [], spec, spec.name
        module.__version__ = "99.0"
        return module

    def exec_module(self, module: Any) -> None:
        pass


@contextlib.contextmanager
def without(names: Sequence[str]) -> Iterator[None]:
    """Import as if ``names`` were installed, where they are not."""
    finder = _Nothing(names)
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextlib.contextmanager
def within(folder: Path) -> Iterator[None]:
    """DAMO-YOLO reads files relative to its own folder."""
    former = Path.cwd()
    if not folder.is_dir():
        yield
        return
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(former)


CASES: dict[str, Maker] = {
    **dict.fromkeys(
        ("yolox nano", "yolox nano decoded", "yolox nano .pth", "yolox tiny .pth", "yolox m .pth"), yolox
    ),
    **dict.fromkeys(("yolov6n", "yolov6n end2end", "yolov6n end2end ort", "yolov6n end2end preprocess"), yolov6),
    **dict.fromkeys(("damo-yolo tinynasL20_T", "damo-yolo tinynasL20_T ort"), damo_yolo),
    "yolo-nas s": yolo_nas,
}
