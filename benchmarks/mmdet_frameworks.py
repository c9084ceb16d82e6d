"""RTMDet for :mod:`yolo_parity`: mmdet's own test pipeline and prediction, and the file that MMDeploy writes.

Packages ``mmdet``, ``mmengine``, ``mmcv-lite`` (``pip install --no-deps``), and a checkout ``mmdeploy``. What mmcv
compiles is not in them; its NMS is torchvision's here, which keeps the same boxes.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from framework_case import CONF, Case, Maker, NotHereError, checkout, detections
from settled_network import Part, settle

from edgedet import Detections
from edgedet.export.options import ExportOptions
from edgedet.onnxruntime_import import onnxruntime


def rtmdet(name: str, frameworks: Path, folder: Path, imgsz: int, frames: Sequence[np.ndarray]) -> Case:
    """``tools/deploy.py`` with detection_onnxruntime_static.py, run as MMDeploy does: the file in ONNX Runtime.

    ``raw``: boxes and scores without NMS, against mmdet's own ``test_step``.
    """
    import torch

    size, kind = (*name.split()[1:], "")[:2]
    with checkout(frameworks, "mmdeploy") as deployed:
        version = f"{_compiled_by_torchvision()}, {deployed}"
        from mmdeploy.apis.onnx.export import export
        from mmdet.registry import MODELS
        from mmdet.utils import register_all_modules
        from mmengine.config import Config
        from mmengine.dataset import Compose

        register_all_modules()
        package = Path(sys.modules["mmdet"].__file__ or "").parent
        config = Config.fromfile(package / ".mim/configs/rtmdet" / f"rtmdet_{size}_8xb32-300e_coco.py")
        config.model.backbone.init_cfg = None
        config.model.test_cfg.score_thr = CONF
        torch.manual_seed(0)
        model = MODELS.build(config.model).eval()
        head = model.bbox_head
        # Pixels of any scale do: BatchNorm takes them back.
        parts = [Part(_once(head.rtm_cls), 0.6, -5.0), Part(_once(head.rtm_reg), 0.4, 2.0)]
        settle(_Pictures(model), frames, imgsz, 1 / 57, *parts, rgb=False)
        deploy = _deploy_settings(frameworks / "mmdeploy", imgsz)
        example = copy.deepcopy(model)
        if kind == "raw":
            example = _Raw(example)
            torch.onnx.export(
                example, (torch.zeros(1, 3, imgsz, imgsz),), str(folder / "net.onnx"), dynamo=False,
                input_names=["input"], output_names=["boxes", "scores"], opset_version=11,
            )  # fmt: skip
        else:
            import mmdeploy.codebase.mmdet.deploy
            import mmdeploy.codebase.mmdet.models  # noqa: F401

            with _legacy_exporter():
                export(
                    example,
                    torch.zeros(1, 3, imgsz, imgsz),
                    str(folder / "net"),
                    backend="onnxruntime",
                    input_metas={"data_samples": None, "mode": "predict"},
                    context_info={"deploy_cfg": deploy},
                    input_names=["input"],
                    output_names=["dets", "labels"],
                    opset_version=11,
                )
        session = onnxruntime.InferenceSession(str(folder / "net.onnx"), providers=["CPUExecutionProvider"])
        steps = [step for step in config.test_pipeline[1:] if step["type"] != "LoadAnnotations"]
        for step in steps:
            step.update({"scale": (imgsz, imgsz)} if step["type"] == "Resize" else {})
            step.update({"size": (imgsz, imgsz)} if step["type"] == "Pad" else {})
            if step["type"] == "PackDetInputs":
                step["meta_keys"] = ("ori_shape", "img_shape", "scale_factor")
        pipeline = Compose(steps)

    def find(frame: np.ndarray) -> Detections:
        shape = frame.shape[:2]
        packed = pipeline({"img": frame.copy(), "img_shape": shape, "ori_shape": shape})
        batch = {"inputs": [packed["inputs"]], "data_samples": [packed["data_samples"]]}
        if kind == "raw":
            with torch.no_grad():
                found = model.test_step(batch)[0].pred_instances
            return detections(found.bboxes, found.scores, found.labels, frame)
        pixels = model.data_preprocessor(batch, False)["inputs"].numpy()
        rows, labels = session.run(None, {"input": pixels})
        kept = rows[0, :, 4] > CONF
        back = np.array([*packed["data_samples"].scale_factor] * 2)
        return detections(rows[0, kept, :4] / back, rows[0, kept, 4], labels[0, kept], frame)

    return Case(folder / "net.onnx", version, find, ExportOptions(family="rtmdet", conf=CONF, **LIMITS[kind]))


LIMITS: dict[str, dict[str, Any]] = {"": {}, "raw": {"iou": 0.65, "max_detections": 300}}
"""RTMDet's own, which MMDeploy puts into its NMS; a file without one does not say them."""


def _compiled_by_torchvision() -> str:
    """Stand in for what mmcv compiles; gives mmdet's version in words."""
    import torch
    from torchvision.ops import nms

    compiled = types.ModuleType("mmcv._ext")

    def missing(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None

    compiled.__getattr__ = missing  # type: ignore[method-assign]
    compiled.nms = lambda boxes, scores, iou_threshold, offset: nms(boxes, scores, iou_threshold)  # type: ignore[attr-defined]
    sys.modules["mmcv._ext"] = compiled
    try:
        import mmcv
    except ImportError as error:
        raise NotHereError(f"mmdet needs {error.name or error}") from error
    mmcv._ext = compiled
    # mmdet 3.3 was published before mmcv 2.2, and refuses it.
    mmcv.__version__ = "2.1.0"
    # Its registry fills itself with optimisers, a few of which newer versions of PyTorch do not have.
    torch.manual_seed(0)
    return f"mmdet {importlib.metadata.version('mmdet')}"


def _once(layers: Sequence[Any]) -> list[Any]:
    """Layers that several strides share are spread once."""
    return list({id(layer): layer for layer in layers}.values())


@contextlib.contextmanager
def _legacy_exporter() -> Any:
    """MMDeploy calls ``torch.onnx.export`` as it was before its second exporter."""
    import torch

    former = torch.onnx.export
    torch.onnx.export = lambda *given, **settings: former(*given, **settings, dynamo=False)
    try:
        yield
    finally:
        torch.onnx.export = former


def _deploy_settings(checkout: Path, imgsz: int) -> Any:
    from mmengine.config import Config

    settings = Config.fromfile(checkout / "configs/mmdet/detection/detection_onnxruntime_static.py")
    settings.onnx_config.input_shape = (imgsz, imgsz)
    return settings


def _modules() -> tuple[type, type]:
    import torch

    class Pictures(torch.nn.Module):
        """The network from normalised pixels to maps."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Any) -> Any:
            return self.model.bbox_head(self.model.extract_feat(images))

    class Raw(Pictures):
        """Boxes and scores of all anchors, as MMDeploy gives them with ``with_nms=False``."""

        def forward(self, images: Any) -> Any:
            scores, sides = super().forward(images)
            head = self.model.bbox_head
            places = torch.cat(head.prior_generator.grid_priors([each.shape[2:] for each in scores]))
            flat = [torch.cat([each.flatten(2) for each in maps], 2).transpose(1, 2) for maps in (scores, sides)]
            left_top = places - flat[1][..., :2]
            return torch.cat([left_top, places + flat[1][..., 2:]], -1), flat[0].sigmoid()

    return Pictures, Raw


def _Pictures(model: Any) -> Any:
    return _modules()[0](model)


def _Raw(model: Any) -> Any:
    return _modules()[1](model)


CASES: dict[str, Maker] = dict.fromkeys(("rtmdet tiny", "rtmdet tiny raw"), rtmdet)
