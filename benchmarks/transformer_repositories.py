"""The repositories of :mod:`transformer_parity`: a detector of each, the file it makes of it, and its inference."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measured_rows import at_commit
from stand_ins import stand_in_for_training

SETTLING = 4
"""Photographs that a network's statistics come from."""


@dataclass(frozen=True)
class Subject:
    """A detector: ``make`` of ``build`` gives its module, by ``config`` of the clone ``repository``.

    ``side``: of the square canvas. ``family``: for ``--family`` where its outputs do not say. ``trained``: trains
    its module by its criterion; None leaves weights to a seed, which are settled. ``settings``: in place of the
    configuration's.
    """

    make: Callable[[Subject, Path], Any]
    repository: str
    config: str = ""
    side: int = 640
    family: str | None = None
    code: str = ""
    trained: Callable[[Any, Any], None] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """``export`` writes the ONNX file; ``infer`` is the repository's own: BGR frame to boxes, scores, labels."""

    export: Callable[[Path], None]
    infer: Callable[[Any], tuple[Any, Any, Any]]
    names: tuple[str, ...] = ()


def written(name: str, repositories: Path, photographs: Sequence[Any], folder: Path) -> tuple[Built, Path]:
    """The detector with its weights, and the file its repository makes of it in ``folder``."""
    return written_of(SUBJECTS[name], repositories, photographs, folder)


def written_of(
    subject: Subject, repositories: Path, photographs: Sequence[Any], folder: Path
) -> tuple[Built, Path]:
    """The same of a subject that is not in the list as it is."""
    built = subject.make(subject, repositories / subject.repository)
    if subject.trained is None:
        settle(built, photographs[:SETTLING])
    source = folder / "network.onnx"
    built.export(source)
    return built, source


def versions(subject: Subject, repositories: Path) -> str:
    """Version of the framework, in words."""
    if subject.repository != "rfdetr":
        return at_commit(repositories / subject.repository, subject.repository)
    return f"rfdetr {importlib.metadata.version('rfdetr')}"


def repository_inference(built: Built, names: tuple[str, ...]) -> Callable[[Any], Any]:
    """BGR frame to the repository's own detections; what lies beside the frame has no extent there."""
    from edgedet import Detections

    def infer(frame: Any) -> Detections:
        boxes, scores, labels = built.infer(frame)
        height, width = frame.shape[:2]
        boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
        return Detections(boxes, scores.astype(np.float32), labels.astype(np.int32), names, frame.shape[:2])

    return infer


def settle(built: Built, photographs: Sequence[Any]) -> None:
    """Statistics of BatchNorm and a spread of class scores, from a few photographs; see :class:`_Inference`."""
    import torch
    from torch import nn

    module: Any = built.infer.module  # type: ignore[attr-defined]
    norms = [norm for norm in module.modules() if isinstance(norm, nn.BatchNorm2d)]
    for norm in norms:
        norm.train().momentum = 0.5
    for photograph in photographs:
        built.infer(photograph)
    for norm in norms:
        norm.eval()
    generator = torch.Generator().manual_seed(1)

    def spread(deviation: float, bias: float | None) -> Callable[..., None]:
        def hook(layer: Any, inputs: tuple[Any, ...]) -> None:
            rms = float(inputs[0].square().mean().sqrt())
            scale = deviation / (layer.weight[0].numel() ** 0.5 * max(rms, 1e-6))
            layer.weight.data.copy_(torch.randn(layer.weight.shape, generator=generator) * scale)
            if bias is not None and layer.bias is not None:
                layer.bias.data.fill_(bias)

        return hook

    scores, boxes = built.infer.layers  # type: ignore[attr-defined]
    hooks = [layer.register_forward_pre_hook(spread(1.0, -3.0)) for layer in scores]
    hooks += [layer.register_forward_pre_hook(spread(0.3, None)) for layer in boxes]
    built.infer(photographs[0])
    for hook in hooks:
        hook.remove()


class _Inference:
    """A repository's own inference; ``module`` and ``layers`` (of class scores, of boxes) are what is settled."""

    def __init__(self, module: Any, layers: tuple[list[Any], list[Any]], run: Callable[[Any], Any]) -> None:
        self.module, self.layers, self._run = module.eval(), layers, run

    def __call__(self, frame: Any) -> tuple[Any, Any, Any]:
        import torch

        with torch.no_grad():
            return self._run(frame)


def _to_onnx(module: Any, example: Any, path: Path, **settings: Any) -> None:
    import torch

    torch.onnx.export(module, example, str(path), dynamo=False, **settings)


def ranked(subject: Subject, repository: Path) -> Built:
    """RT-DETR, D-FINE, DEIM and DEIMv2, as their tools/export_onnx.py deploy them."""
    import torch
    from torch import nn
    from torchvision.transforms.v2 import functional

    stand_in_for_training("src.data") if "rtdetr_pytorch" in subject.code else None
    root = repository / subject.code
    os.chdir(root)
    sys.path.insert(0, str(root))
    core = importlib.import_module("engine.core" if (root / "engine").is_dir() else "src.core")
    torch.manual_seed(0)
    config = core.YAMLConfig(subject.config, **subject.settings)
    for backbone, setting, value in (
        ("HGNetv2", "pretrained", False),
        ("PResNet", "pretrained", False),
        ("DINOv3STAs", "weights_path", None),
    ):
        if backbone in config.yaml_cfg:
            config.yaml_cfg[backbone][setting] = value
    if subject.trained is not None:
        subject.trained(config.model, config.criterion)

    class Deployed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = config.model.deploy()
            self.postprocessor = config.postprocessor.deploy()

        def forward(self, images: Any, orig_target_sizes: Any) -> Any:
            return self.postprocessor(self.model(images), orig_target_sizes)

    module = Deployed()
    vit = "DINOv3STAs" in config.yaml_cfg
    decoder = config.model.decoder

    def run(frame: Any) -> Any:
        # Their pictures are Pillow's. Since version 13 it shrinks the longer way first, which rounds some pixels to
        # the level beside; torchvision gives what it gave before.
        picture = torch.from_numpy(np.ascontiguousarray(frame[:, :, ::-1].transpose(2, 0, 1)))
        image = functional.resize(picture, [subject.side, subject.side], antialias=True).float() / 255
        if vit:
            image = functional.normalize(image, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        size = torch.tensor([[frame.shape[1], frame.shape[0]]])
        labels, boxes, scores = module(image[None], size)
        return boxes[0].numpy(), scores[0].numpy(), labels[0].numpy()

    def export(path: Path) -> None:
        example = (torch.rand(1, 3, subject.side, subject.side), torch.tensor([[subject.side] * 2]))
        names = ["images", "orig_target_sizes"]
        _to_onnx(
            module,
            example,
            path,
            input_names=names,
            output_names=["labels", "boxes", "scores"],
            dynamic_axes={name: {0: "N"} for name in names},
            opset_version=16,
        )

    boxes = [layer.layers[-1] for layer in decoder.dec_bbox_head if hasattr(layer, "layers")]
    scores = [*decoder.dec_score_head, decoder.enc_score_head]
    scores = [layer for layer in scores if isinstance(layer, nn.Linear)]
    return Built(export, _Inference(module, (scores, boxes), run))


def rfdetr(subject: Subject, repository: Path) -> Built:
    """RF-DETR's package: its own predict, and its own export."""
    import torch
    from PIL import Image

    sys.path.append(str(repository))
    package = importlib.import_module("rfdetr")
    torch.manual_seed(0)
    model = package.RFDETRNano(pretrain_weights=None, device="cpu")
    network = model.model.model

    def run(frame: Any) -> Any:
        # A trained detector never answers with an id that COCO does not use.
        network.class_embed.bias.data[list(UNUSED)] = -12.0
        picture = Image.fromarray(np.ascontiguousarray(frame[:, :, ::-1]))
        found = model.predict(picture, threshold=0.05)
        ids = [index for index in range(91) if index not in UNUSED]
        kept = np.isin(found.class_id, ids)
        labels = np.searchsorted(ids, found.class_id[kept])
        return found.xyxy[kept], found.confidence[kept], labels

    def export(path: Path) -> None:
        model.export(output_dir=str(path.parent))
        (path.parent / "rfdetr-nano.onnx").rename(path)

    scores = [network.class_embed, *network.transformer.enc_out_class_embed]
    boxes = [network.bbox_embed.layers[-1]]
    return Built(export, _Inference(network, (scores, boxes), run))


UNUSED = (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
"""Ids among COCO's 0 to 90 that no class has."""


def nanodet(subject: Subject, repository: Path) -> Built:
    """NanoDet and NanoDet-Plus. Their pictures are resized by cv2.resize here, as on a device; their training code
    warps them by half a pixel less (warpPerspective), which is another picture."""
    import torch

    sys.path.insert(0, str(repository))
    util = importlib.import_module("nanodet.util")
    arch = importlib.import_module("nanodet.model.arch")
    util.load_config(util.cfg, str(repository / "config" / subject.config))
    util.cfg.defrost()
    util.cfg.model.arch.backbone.pretrain = False
    torch.manual_seed(0)
    module = arch.build_model(util.cfg.model)
    head, side = module.head, subject.side
    mean, std = np.array([103.53, 116.28, 123.675]), np.array([57.375, 57.12, 58.395])
    stretched = not util.cfg.data.val.keep_ratio

    def run(frame: Any) -> Any:
        height, width = frame.shape[:2]
        scale = (side / width, side / height) if stretched else (min(side / width, side / height),) * 2
        size = (int(width * scale[0] + 1e-6), int(height * scale[1] + 1e-6))
        left, top = (side - size[0]) // 2, (side - size[1]) // 2
        canvas = np.zeros((side, side, 3), np.uint8)
        canvas[top : top + size[1], left : left + size[0]] = cv2.resize(frame, size)
        image = torch.from_numpy(((canvas - mean) / std).transpose(2, 0, 1)[None]).float()
        found = module(image)
        scores, sides = found.split([head.num_classes, 4 * (head.reg_max + 1)], dim=-1)
        ((rows, labels),) = head.get_bboxes(scores, sides, {"img": image})
        boxes = (rows[:, :4].numpy() - [left, top, left, top]) / (scale * 2)
        return boxes, rows[:, 4].numpy(), labels.numpy()

    def export(path: Path) -> None:
        settings = {"input_names": ["data"], "output_names": ["output"], "opset_version": 11}
        _to_onnx(module, torch.randn(1, 3, side, side), path, keep_initializers_as_inputs=True, **settings)

    return Built(export, _Inference(module, (list(head.gfl_cls), []), run))


def fastestdet(subject: Subject, repository: Path) -> Built:
    """FastestDet, as its test.py runs it."""
    import torch

    sys.path.insert(0, str(repository))
    detector = importlib.import_module("module.detector")
    tool = importlib.import_module("utils.tool")
    torch.manual_seed(0)
    module, side = detector.Detector(80, True), subject.side

    def run(frame: Any) -> Any:
        height, width = frame.shape[:2]
        image = cv2.resize(frame, (side, side), interpolation=cv2.INTER_LINEAR)
        image = torch.from_numpy(image.transpose(2, 0, 1)[None]).float() / 255.0
        (found,) = tool.handle_preds(module(image), torch.device("cpu"), 0.05)
        rows = found.reshape(-1, 6).numpy()
        return rows[:, :4] * [width, height, width, height], rows[:, 4], rows[:, 5]

    def export(path: Path) -> None:
        _to_onnx(module, torch.zeros(1, 3, side, side), path, opset_version=11)

    return Built(export, _Inference(module, ([], []), run))


SUBJECTS = {
    "rtdetr": Subject(ranked, "RT-DETR", "configs/rtdetr/rtdetr_r18vd_6x_coco.yml", code="rtdetr_pytorch"),
    "rtdetrv2": Subject(
        ranked, "RT-DETR", "configs/rtdetrv2/rtdetrv2_r18vd_120e_coco.yml", code="rtdetrv2_pytorch"
    ),
    "dfine": Subject(ranked, "D-FINE", "configs/dfine/dfine_hgnetv2_n_coco.yml"),
    "deim": Subject(ranked, "DEIMv2", "configs/deim_rtdetrv2/deim_r18vd_120e_coco.yml"),
    "deimv2": Subject(ranked, "DEIMv2", "configs/deimv2/deimv2_hgnetv2_atto_coco.yml", side=320),
    "deimv2-dinov3": Subject(ranked, "DEIMv2", "configs/deimv2/deimv2_dinov3_s_coco.yml"),
    "rfdetr": Subject(rfdetr, "rfdetr", side=384),
    "nanodet": Subject(nanodet, "nanodet", "legacy_v0.x_configs/nanodet-m.yml", side=320, family="nanodet"),
    "nanodet-plus": Subject(nanodet, "nanodet", "nanodet-plus-m_320.yml", side=320, family="nanodet-plus"),
    "fastestdet": Subject(fastestdet, "FastestDet", side=352, family="fastestdet"),
}
