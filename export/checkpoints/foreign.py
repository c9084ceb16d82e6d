"""Checkpoints of other models and other frameworks, told by the names in them: what they are, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable

BY_CLASS: tuple[tuple[str, str, str], ...] = (
    (
        r"models\.(yolo|experimental|common)\.",
        "a checkpoint of the YOLOv5 or YOLOv7 repository",
        "export it to ONNX with that repository's export.py and give edgedet the .onnx file",
    ),
    (r"mmdet\.", "an MMDetection model", "export it to ONNX with MMDeploy"),
    (r"detectron2\.", "a Detectron2 model", "export it to ONNX with Detectron2"),
)
"""(start of the class of a module that was saved whole, what it is, what to do)."""

BY_TENSORS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        (r"backbone\.backbone\.", r"head\.cls_preds\."),
        "a YOLOX model",
        "export it to ONNX with YOLOX's tools/export_onnx.py, then: edgedet export FILE.onnx --family yolox",
    ),
    (
        (r"(model\.)*\d+\.(conv|cv\d|m)\.",),
        "a YOLO model of Ultralytics or of the YOLOv5 or YOLOv7 repository",
        "export it to ONNX with the package that trained it and give edgedet the .onnx file",
    ),
    ((r"backbone\.bottom_up\.|proposal_generator\.",), "a Detectron2 model", "export it to ONNX with Detectron2"),
    ((r"(bbox_head|rpn_head|roi_head)\.",), "an MMDetection model", "export it to ONNX with MMDeploy"),
    (
        (r"(model\.)?(transformer\.)?(encoder|decoder)\.", r".*(class_embed|class_labels_classifier|score_head)\."),
        "a DETR-like model",
        "export it to ONNX with the package that trained it and give edgedet the .onnx file",
    ),
    ((r"backbone\.", r"classifier\.\d+\."), "a segmentation model", "edgedet exports detectors of boxes"),
    (
        (r"fc\.weight|classifier\.(\d+\.)?weight", r"layer\d\.|features\."),
        "an image classifier",
        "it has no detection head: train a detector on it first",
    ),
)
"""(patterns of which each is at the start of a tensor's name, what it is, what to do)."""


def recognise(names: Iterable[str], module: str | None) -> tuple[str, str] | None:
    """What a checkpoint with tensors of these ``names`` is, and what to do with it, where it is of a known kind
    that edgedet cannot build. ``module``: the class of the module, where one was saved whole.

    >>> recognise(["fc.weight", "layer1.0.conv1.weight"], None)[0]
    'an image classifier'
    """
    for pattern, what, cure in BY_CLASS:
        if module is not None and re.match(pattern, module):
            return what, cure
    names = list(names)
    for patterns, what, cure in BY_TENSORS:
        if all(any(re.match(pattern, name) for name in names) for pattern in patterns):
            return what, cure
    return None
