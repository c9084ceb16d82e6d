"""A tiny head's file made as other tools write theirs: NMS behind it, pre-processing before it, half precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.export.foreign_heads import CLASSES, SIDE, Head, save_head

CENTRES = Head(order="rows")
CORNERS = Head(order="rows", form="corners")


class Written:
    """A graph of :func:`save_head` to be added to; ``raw`` is what its network gives."""

    def __init__(self, path: Path, head: Head = CENTRES, metadata: Mapping[str, str] | None = None) -> None:
        self.path = save_head(path, head, metadata)
        self.model = onnx.load(str(path))
        self.model.graph.node[-1].output[0] = "raw"

    def op(self, kind: str, inputs: Sequence[Any], *outputs: str, domain: str = "", **settings: Any) -> None:
        """Add a node; inputs that are arrays become constants."""
        names = []
        for value in inputs:
            if isinstance(value, str):
                names.append(value)
            else:
                names.append(f"const_{len(self.model.graph.initializer)}")
                self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), names[-1]))
        self.model.graph.node.append(
            helper.make_node(kind, names, list(outputs), f"end/{outputs[0]}", domain=domain, **settings)
        )

    def parts(self) -> None:
        """``boxes`` [1, A, 4] and ``scores`` [1, A, C]."""
        self.op("Split", ["raw", np.array([4, CLASSES])], "boxes", "scores", axis=-1)

    def save(self, *outputs: str, kind: int = TensorProto.FLOAT) -> Path:
        """Give these outputs, of whatever shape."""
        del self.model.graph.output[:]
        self.model.graph.output.extend(helper.make_tensor_value_info(name, kind, None) for name in outputs)
        domains = {node.domain for node in self.model.graph.node} - {""}
        self.model.opset_import.extend(helper.make_opsetid(domain, 1) for domain in domains)
        onnx.save(self.model, str(self.path))
        return self.path


def best_class_nms(
    written: Written, *, conf: float | None = 0.5, iou: float = 0.4, most: int = 7, apart: float = 4096.0
) -> Path:
    """As YOLOv7's ``--end2end --max-wh``: the best class of every box, boxes moved apart by class. ``conf``: None
    leaves the threshold out."""
    matrix = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]], np.float32)
    written.parts()
    written.op("MatMul", ["boxes", matrix], "corners")
    written.op("ReduceMax", ["scores"], "best", axes=[2], keepdims=1)
    written.op("ArgMax", ["scores"], "label", axis=2, keepdims=1)
    written.op("Cast", ["label"], "label_float", to=1)
    written.op("Mul", ["label_float", np.float32(apart)], "step")
    written.op("Add", ["corners", "step"], "apart")
    written.op("Transpose", ["best"], "ranked", perm=[0, 2, 1])
    limits = [np.array([most]), np.array([iou], np.float32)]
    limits += [] if conf is None else [np.array([conf], np.float32)]
    written.op("NonMaxSuppression", ["apart", "ranked", *limits], "chosen")
    written.op("Gather", ["chosen", np.array([0, 2])], "places", axis=1)
    for name in ("corners", "best", "label_float"):
        written.op("GatherND", [name, "places"], f"{name}_chosen")
    written.op("Concat", ["corners_chosen", "best_chosen", "label_float_chosen"], "output", axis=1)
    return written.save("output")


def plugin(written: Written, kind: str, domain: str = "TRT", **settings: Any) -> Path:
    """A plugin of TensorRT's."""
    written.parts()
    boxes = "boxes"
    if kind != "EfficientNMS_TRT":
        written.op("Unsqueeze", ["boxes", np.array([2])], "boxes_4d")
        boxes = "boxes_4d"
    outputs = ("num_dets", "det_boxes", "det_scores", "det_classes")
    written.op(kind, [boxes, "scores"], *outputs, domain=domain, **settings)
    return written.save(*outputs)


def frame(seed: int = 0) -> np.ndarray:
    """BGR, of the canvas's size."""
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
