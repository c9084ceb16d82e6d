"""PP-YOLOE+ for :mod:`yolo_parity`: PaddleDetection's own network, prediction and exported file.

Packages ``paddlepaddle``, ``paddle2onnx``, and a checkout ``PaddleDetection``; what its training alone imports may
be absent.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from framework_case import CONF, Case, Maker, NotHereError, checkout, detections
from yolo_repositories import without

from edgedet import Detections
from edgedet.export.options import ExportOptions

TRAINING_ONLY = (
    "imgaug", "lap", "motmetrics", "numba", "pyclipper", "pycocotools", "sklearn", "terminaltables", "typeguard",
    "visualdl", "skimage", "openpyxl", "xlrd", "ppdet_ext_op", "paddleslim",
)  # fmt: skip
IOU, MAX_DETECTIONS = 0.7, 300
"""Its ``MultiClassNMS``."""


def pp_yoloe(name: str, frameworks: Path, folder: Path, imgsz: int, frames: Sequence[np.ndarray]) -> Case:
    """``tools/export_model.py`` and paddle2onnx, with NMS (``nms``) and with ``-o exclude_nms=True``.

    Pictures are shrunk by ``interp`` 1 in both, bilinear: its own 2, bicubic, is what edgedet says it does not do.
    """
    kind = (*name.split()[2:], "")[0]
    with without(TRAINING_ONLY), checkout(frameworks, "PaddleDetection") as version:
        try:
            import paddle
        except ImportError as error:
            raise NotHereError("paddlepaddle is not installed") from error
        from ppdet.core.workspace import load_config
        from ppdet.engine import Trainer
        from ppdet.utils.check import check_config

        paddle.seed(0)
        config = load_config(str(frameworks / "PaddleDetection/configs/ppyoloe/ppyoloe_plus_crn_s_80e_coco.yml"))
        config.use_gpu, config.pretrain_weights, config.norm_type = False, None, "bn"
        config.TestReader["inputs_def"]["image_shape"] = [3, imgsz, imgsz]
        config.PPYOLOEHead["eval_size"] = [imgsz, imgsz]
        config.PPYOLOEHead["nms"]["score_threshold"] = CONF
        check_config(config)
        trainer = Trainer(config, mode="test")
        model = trainer.model
        model.eval()
        _settle(model, frames, imgsz)
        model.yolo_head.exclude_nms = kind != "nms"
        path = _exported(trainer, folder)
        model.yolo_head.exclude_nms = False

    def find(frame: np.ndarray) -> Detections:
        scale = np.array([[imgsz / frame.shape[0], imgsz / frame.shape[1]]], np.float32)
        inputs = {
            "image": paddle.to_tensor(_image(frame, imgsz)),
            "im_shape": paddle.to_tensor(np.float32([[imgsz, imgsz]])),
            "scale_factor": paddle.to_tensor(scale),
        }
        with paddle.no_grad():
            rows = model(inputs)["bbox"].numpy().reshape(-1, 6)
        rows = rows[rows[:, 0] >= 0]
        return detections(rows[:, 2:], rows[:, 1], rows[:, 0], frame)

    options = ExportOptions(
        family="pp-yoloe", conf=CONF, **({} if kind else {"iou": IOU, "max_detections": MAX_DETECTIONS})
    )
    return Case(path, f"{version} on paddlepaddle {paddle.__version__}", find, options)


def _image(frame: np.ndarray, imgsz: int) -> np.ndarray:
    canvas = cv2.resize(frame, (imgsz, imgsz), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(canvas[:, :, ::-1].transpose(2, 0, 1)[None]).astype(np.float32) / 255


def _settle(model: Any, frames: Sequence[np.ndarray], imgsz: int) -> None:
    """As :func:`settled_network.settle`, in Paddle."""
    import paddle

    batch = paddle.to_tensor(np.concatenate([_image(frame, imgsz) for frame in frames]))
    inputs = {"image": batch, "scale_factor": paddle.ones([len(frames), 2])}
    inputs["im_shape"] = paddle.full([len(frames), 2], float(imgsz))

    def run() -> None:
        with paddle.no_grad():
            model.yolo_head(model.neck(model.backbone(inputs)))

    norms = [layer for layer in model.sublayers() if isinstance(layer, paddle.nn.BatchNorm2D)]
    for norm in norms:
        norm.train()
        norm._momentum = 0.0
    run()
    model.eval()
    head = model.yolo_head
    wanted = [(layer, 0.6, -4.5) for layer in head.pred_cls] + [(layer, 0.7, 0.0) for layer in head.pred_reg]
    hooks = [layer.register_forward_pre_hook(_spread(*rest)) for layer, *rest in wanted]
    run()
    for hook in hooks:
        hook.remove()


def _spread(deviation: float, mean: float) -> Any:
    """A hook before a layer runs: weights under which every channel of its output has that deviation and mean."""
    import paddle

    def hook(layer: Any, inputs: Any) -> None:
        layer.weight.set_value(paddle.normal(0.0, 1.0, layer.weight.shape))
        layer.bias.set_value(paddle.zeros_like(layer.bias))
        outputs = type(layer).forward(layer, inputs[0]).transpose([0, 2, 3, 1]).flatten(0, 2)
        factor = deviation / outputs.std(0).clip(min=1e-6)
        layer.weight.set_value(layer.weight * factor.reshape([-1, 1, 1, 1]))
        layer.bias.set_value(mean - outputs.mean(0) * factor)

    return hook


def _exported(trainer: Any, folder: Path) -> Path:
    """``model.onnx`` beside its ``infer_cfg.yml``."""
    import paddle2onnx

    trainer.export(str(folder))
    (settings,) = folder.rglob("infer_cfg.yml")
    (program,) = [*settings.parent.glob("model.json"), *settings.parent.glob("model.pdmodel")]
    path = settings.with_name("model.onnx")
    paddle2onnx.export(
        str(program), str(program.with_suffix(".pdiparams")), str(path), opset_version=16, enable_onnx_checker=True
    )
    print(f"{path.stat().st_size} bytes", file=sys.stderr)
    return path


CASES: dict[str, Maker] = dict.fromkeys(("pp-yoloe+ s", "pp-yoloe+ s nms"), pp_yoloe)
