"""SSD and SSDLite (arXiv:1512.02325, arXiv:1801.04381) from torchvision's modules to a static graph."""

from __future__ import annotations

import torch
from onnx import ModelProto
from torch import Tensor, nn
from torchvision.models.detection import ssd
from torchvision.models.detection.image_list import ImageList

from edgedet.artifacts.card import InputSpec, ResizeRule
from edgedet.errors import UsageError
from edgedet.onnx_graph.builder import GraphBuilder

from . import boxes as box_ops
from .base import Exported, GraphOptions, TrainedFamily, output_spec
from .first_convolution import scale_first_convolution, swap_colours
from .image_input import add_image_input, pixel_factor
from .nms import add_class_nms
from .torch_graph import anchor_rows, to_onnx


class Network(nn.Module):
    """Backbone and heads: normalised images [N, 3, H, W] to deltas [N, A, 4] and class logits [N, A, 1 + C]."""

    def __init__(self, model: ssd.SSD) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.box_layers = model.head.regression_head.module_list
        self.class_layers = model.head.classification_head.module_list
        self.num_classes: int = model.head.classification_head.num_columns

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = list(self.backbone(images).values())
        return (
            torch.cat(
                [anchor_rows(layer(map_), 4) for layer, map_ in zip(self.box_layers, features, strict=True)], 1
            ),
            torch.cat(
                [
                    anchor_rows(layer(map_), self.num_classes)
                    for layer, map_ in zip(self.class_layers, features, strict=True)
                ],
                1,
            ),
        )


def export(model: ssd.SSD, options: GraphOptions) -> Exported:
    """Build the graph of an SSD or SSDLite in evaluation mode."""
    height, width = model.transform.fixed_size[1], model.transform.fixed_size[0]
    network, anchors = export_network(model, batch=options.batch)
    spec = InputSpec(
        height=height,
        width=width,
        batch=options.batch,
        dtype=options.input_dtype or "float32",
        scale=1 / 255,
        mean=tuple(model.transform.image_mean),
        std=tuple(model.transform.image_std),
    )
    output = output_spec(
        options,
        model.score_thresh,
        model.nms_thresh,
        model.detections_per_img,
        candidates_per_class=min(model.topk_candidates, len(anchors)),
    )
    graph = GraphBuilder("ssd")
    network = scale_first_convolution(network, pixel_factor(spec))
    deltas, logits = graph.inline(network, {"images": add_image_input(graph, spec)}, prefix="network")
    centres, sizes = box_ops.center_form(anchors.numpy())
    boxes = box_ops.decode_boxes(
        graph,
        deltas,
        graph.constant(centres),
        graph.constant(sizes),
        weights=model.box_coder.weights,
        largest=model.box_coder.bbox_xform_clip,
        name="decode",
    )
    boxes = box_ops.clip_boxes(graph, boxes, height=height, width=width, name="clip")
    scores = graph.op("Softmax", logits, name="scores/softmax", axis=-1)
    classes = Network(model).num_classes - 1
    # Class 0 is the background.
    scores = graph.op(
        "Slice", scores, graph.ints(1), graph.ints(classes + 1), graph.ints(-1), name="scores/objects"
    )
    if options.nms == "runtime":
        graph.output(boxes, "boxes", "float32", (options.batch, len(anchors), 4))
        graph.output(scores, "scores", "float32", (options.batch, len(anchors), classes))
    else:
        add_class_nms(graph, boxes, scores, output, batch=options.batch, classes=classes)
    return Exported(graph.model(), spec, ResizeRule("stretch"), output)


def export_network(model: ssd.SSD, *, batch: int) -> tuple[ModelProto, Tensor]:
    """The network alone, taking normalised BGR images [N, 3, H, W], and its default boxes [A, 4] (corners)."""
    height, width = model.transform.fixed_size[1], model.transform.fixed_size[0]
    example = torch.zeros(batch, 3, height, width)
    with torch.no_grad():
        features = list(model.backbone(example[:1]).values())
        anchors: Tensor = model.anchor_generator(ImageList(example[:1], [(height, width)]), features)[0]
    network = to_onnx(Network(model), example, inputs=["images"], outputs=["deltas", "logits"])
    return swap_colours(network), anchors


def _override(model: ssd.SSD, imgsz: tuple[int, int] | None, proposals: int | None) -> None:
    if proposals is not None:
        raise UsageError("--proposals is for Faster R-CNN; SSD has no region proposals")
    if imgsz is not None:
        height, width = imgsz
        model.transform.fixed_size = (width, height)
        model.transform.min_size, model.transform.max_size = (min(imgsz),), max(imgsz)


def _export(model: ssd.SSD, options: GraphOptions, frame_size: tuple[int, int]) -> Exported:
    return export(model, options)


SSD = TrainedFamily("ssd", _override, _export, final_nms=lambda model: model)
