"""Faster R-CNN (arXiv:1506.01497), and Mask and Keypoint R-CNN, from torchvision's modules to a static graph."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torchvision.models.detection import faster_rcnn
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.keypoint_rcnn import KeypointRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNN
from torchvision.ops import MultiScaleRoIAlign

from edgedet.artifacts.card import InputSpec, KeypointSpec, ResizeRule
from edgedet.artifacts.keypoint_skeleton import Skeleton
from edgedet.geometry import shortest_side_size
from edgedet.onnx_graph.builder import GraphBuilder

from ..training.keypoints import skeleton_of
from ..training.settings import NOTHING_STATED
from . import boxes as box_ops
from .base import Exported, GraphOptions, Pooling, TrainedFamily, output_spec
from .first_convolution import scale_first_convolution, swap_colours
from .image_input import add_image_input, pixel_factor
from .keypoint_head import add_keypoints, keypoint_count
from .mask_head import add_masks
from .post_nms_branches import FinalLevels, final_levels
from .region_proposals import Level, ProposalRule, add_outside_proposals, add_proposals, proposal_count
from .roi_align_matmul import ProductsHead, add_roi_products, columns_first, products_pay
from .roi_detections import add_labelled_nms, add_likely_classes, add_nms, add_steps, possible_classes
from .roi_pooling import PooledLevel, add_roi_align, pooled_levels
from .roi_samples import add_roi_samples
from .torch_graph import anchor_rows, to_onnx


class Network(nn.Module):
    """Backbone and RPN head: padded, normalised images [N, 3, H, W] to the pooled feature levels, then each level's
    objectness [N, A] and deltas [N, A, 4]; the levels alone where nobody asks the RPN (``proposing``)."""

    def __init__(self, model: faster_rcnn.FasterRCNN, pooled: tuple[str, ...], *, proposing: bool = True) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.head = model.rpn.head if proposing else None
        self.pooled = pooled

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = feature_levels(self.backbone, images)
        if self.head is None:
            return tuple(features[name] for name in self.pooled)
        objectness, deltas = self.head(list(features.values()))
        return (
            *(features[name] for name in self.pooled),
            *(anchor_rows(level, 1).flatten(1) for level in objectness),
            *(anchor_rows(level, 4) for level in deltas),
        )


class BoxHead(nn.Module):
    """Pooled features [P, K, h, w] to class logits [P, 1 + C] and box deltas [P, C * 4]."""

    def __init__(self, model: faster_rcnn.FasterRCNN) -> None:
        super().__init__()
        self.head = model.roi_heads.box_head
        self.predictor = without_background_box(model.roi_heads.box_predictor)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = self.predictor(self.head(pooled))
        return logits, deltas


def without_background_box(predictor: faster_rcnn.FastRCNNPredictor) -> nn.Module:
    """A copy of ``predictor`` that gives no box deltas for class 0, the background: nobody reads them."""
    copied = copy.deepcopy(predictor)
    copied.bbox_pred.weight.data = predictor.bbox_pred.weight.data[4:].contiguous()
    copied.bbox_pred.bias.data = predictor.bbox_pred.bias.data[4:].contiguous()
    return copied


@dataclass(frozen=True)
class Parts:
    """The two networks of a Faster R-CNN as ONNX, and what joins them.

    ``backbone`` takes BGR images on the padded canvas; ``anchors`` float32 [A, 4] per level, in its pixels.
    ``features`` names the levels that ``backbone`` gives first, those of ``levels`` and of ``branch``, which the
    mask or keypoint branch pools from (None without one). ``box_head`` takes as many proposals per image as
    ``proposals`` says. ``content`` and ``padded`` are (height, width) without and with the padding. ``grids``:
    (height, width) of every level. ``by``: how ``box_head`` wants them pooled: by ONNX's operator, by products
    (:mod:`edgedet.export.families.roi_align_matmul`), which are of one level, or by samples
    (:mod:`edgedet.export.families.roi_samples`).
    """

    backbone: ModelProto
    box_head: ModelProto
    anchors: tuple[np.ndarray, ...]
    features: tuple[str, ...]
    levels: tuple[PooledLevel, ...]
    proposals: int
    content: tuple[int, int]
    padded: tuple[int, int]
    grids: tuple[tuple[int, int], ...]
    by: Literal["operator", "products", "samples"] = "operator"
    branch: FinalLevels | None = None


def feature_levels(backbone: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The backbone's levels by name; a single one is called "0"."""
    features = backbone(images)
    return {"0": features} if isinstance(features, Tensor) else dict(features)


def resize_rule(model: faster_rcnn.FasterRCNN) -> ResizeRule:
    """torchvision's rule; where a frame does not fill the canvas it is surrounded by the mean colour, which the
    network sees as zero, as it sees torchvision's own padding."""
    red, green, blue = (255.0 * value for value in model.transform.image_mean)
    return ResizeRule(
        "shortest_side",
        pad=(blue, green, red),
        min_size=model.transform.min_size[-1],
        max_size=model.transform.max_size,
    )


def export(model: faster_rcnn.FasterRCNN, options: GraphOptions, *, frame_size: tuple[int, int]) -> Exported:
    """Build the graph of a Faster R-CNN in evaluation mode, for frames shaped like ``frame_size`` (width, height).

    The input holds exactly the pixels torchvision would resize such a frame to; padding to a multiple of
    the transform's ``size_divisible`` is part of the graph, and boxes are clipped to the content, as torchvision
    does.
    """
    rule = resize_rule(model)
    content = shortest_side_size(rule, frame_size[1], frame_size[0])
    parts = export_parts(
        model, content, batch=options.batch, pooling=options.pooling, outside=options.outside_proposals
    )
    heads = model.roi_heads
    spec = InputSpec(
        height=content[0],
        width=content[1],
        batch=options.batch,
        dtype=options.input_dtype or "float32",
        scale=1 / 255,
        mean=tuple(model.transform.image_mean),
        std=tuple(model.transform.image_std),
        proposals=options.outside_proposals,
    )
    output = output_spec(
        options,
        heads.score_thresh,
        heads.nms_thresh,
        heads.detections_per_img,
        box_layout="per_class",
        min_box_side=1e-2,
    )
    said: dict[str, Any] = {"roi_align": parts.by}
    if isinstance(model, MaskRCNN):
        output = replace(output, format="detections", masks="in_boxes")
    elif isinstance(model, KeypointRCNN):
        output = replace(output, format="detections", keypoints=_keypoints(model, options.skeleton))
    graph = GraphBuilder("faster_rcnn")
    images = add_image_input(graph, spec)
    below, right = parts.padded[0] - content[0], parts.padded[1] - content[1]
    if below or right:
        images = graph.op("Pad", images, graph.ints(0, 0, 0, 0, 0, 0, below, right), name="input/pad")
    network = scale_first_convolution(parts.backbone, pixel_factor(spec))
    outputs = graph.inline(network, {"images": images}, prefix="network")
    features_of = dict(zip(parts.features, outputs, strict=False))
    pooled = [features_of[level.name] for level in parts.levels]
    rest = outputs[len(parts.features) :]
    half, count = len(rest) // 2, parts.proposals
    if spec.proposals is not None:
        proposals, valid = add_outside_proposals(graph, batch=options.batch, count=count)
    else:
        proposals, valid = add_proposals(
            graph,
            [Level(*level) for level in zip(rest[:half], rest[half:], parts.anchors, strict=True)],
            proposal_rule(model),
            batch=options.batch,
            canvas=content,
        )
    sampling: dict[str, Any] = {
        "batch": options.batch,
        "count": count,
        "size": tuple(heads.box_roi_pool.output_size),
        "sampling_ratio": heads.box_roi_pool.sampling_ratio,
    }
    channels = model.backbone.out_channels
    if parts.by == "operator":
        features = add_roi_align(graph, pooled, parts.levels, proposals, **sampling)
    elif parts.by == "samples":
        features = add_roi_samples(
            graph, pooled, parts.levels, proposals, grids=parts.grids, channels=channels, **sampling
        )
    else:
        features = add_roi_products(
            graph, pooled[0], parts.levels[0], proposals, grid=parts.grids[0], channels=channels, **sampling
        )
    logits, deltas = graph.inline(parts.box_head, {"pooled": features}, prefix="box_head")
    classes = heads.box_predictor.cls_score.out_features - 1
    scores, deltas = _add_scores(graph, (logits, deltas), valid, batch=options.batch, count=count, classes=classes)
    labels = None
    # Masks and keypoints are of the final detections, so that nothing can be left to the runtime.
    final = options.nms == "graph" or parts.branch is not None
    if final and (most := possible_classes(output.score_threshold, classes)) * 2 <= classes:
        scores, labels, deltas = add_likely_classes(graph, scores, deltas, most)
    boxes = _add_boxes(graph, model, deltas, proposals, parts.content)
    if not final:
        total = count * classes
        boxes = graph.op("Reshape", boxes, graph.ints(options.batch, total, 4), name="candidates/boxes")
        scores = graph.op("Reshape", scores, graph.ints(options.batch, total, 1), name="candidates/scores")
        graph.output(boxes, "boxes", "float32", (options.batch, total, 4))
        graph.output(scores, "scores", "float32", (options.batch, total, 1))
        return Exported(graph.model(), spec, rule, output, said=said)
    each = classes if labels is None else most
    if options.nms == "runtime":
        said["nms"] = "steps"
        chosen = add_steps(
            graph, (boxes, scores, labels), output, batch=options.batch, count=count, per_proposal=each
        )
    elif labels is None:
        chosen = add_nms(graph, boxes, scores, output, batch=options.batch, count=count, classes=classes)
    else:
        chosen = add_labelled_nms(
            graph, (boxes, scores, labels), output, batch=options.batch, count=count * each, classes=classes
        )
    if parts.branch is not None:
        branch_features = [features_of[level.name] for level in parts.branch.levels]
        rest_of: dict[str, Any] = {"batch": options.batch, "pooling": options.pooling}
        if isinstance(model, MaskRCNN):
            add_masks(graph, model, parts.branch, branch_features, chosen, **rest_of)
        else:
            assert isinstance(model, KeypointRCNN)
            add_keypoints(graph, model, parts.branch, branch_features, chosen, **rest_of)
    return Exported(graph.model(), spec, rule, output, said=said)


def _keypoints(model: KeypointRCNN, skeleton: Skeleton | None) -> KeypointSpec:
    if skeleton is None:
        skeleton, _ = skeleton_of(keypoint_count(model), NOTHING_STATED)
    return KeypointSpec("heatmaps", skeleton)


def _branch_pool(model: faster_rcnn.FasterRCNN) -> MultiScaleRoIAlign | None:
    """RoIAlign of the branch that runs on the final detections; None without one."""
    heads: Any = model.roi_heads
    if isinstance(model, MaskRCNN):
        pool: MultiScaleRoIAlign = heads.mask_roi_pool
        return pool
    return heads.keypoint_roi_pool if isinstance(model, KeypointRCNN) else None


def proposal_rule(model: faster_rcnn.FasterRCNN) -> ProposalRule:
    """The settings of ``model``'s region proposal network in evaluation mode."""
    rpn = model.rpn
    return ProposalRule(
        candidates_per_level=rpn.pre_nms_top_n(),
        count=rpn.post_nms_top_n(),
        iou=rpn.nms_thresh,
        min_score=rpn.score_thresh,
        min_side=rpn.min_size,
        box_weights=rpn.box_coder.weights,
        largest_log_scale=rpn.box_coder.bbox_xform_clip,
    )


def export_parts(
    model: faster_rcnn.FasterRCNN,
    content: tuple[int, int],
    *,
    batch: int,
    pooling: Pooling = "operator",
    outside: int | None = None,
) -> Parts:
    """Export the networks of ``model`` for images whose content is ``content`` (height, width).

    ``outside``: the number of proposals that come from outside; the backbone then stands without the RPN.
    """
    divisor = int(model.transform.size_divisible)
    height, width = (-(-side // divisor) * divisor for side in content)
    example = torch.zeros(batch, 3, height, width)
    with torch.no_grad():
        features = feature_levels(model.backbone, example[:1])
        images = ImageList(example[:1], [content])
        anchors = model.rpn.anchor_generator(images, list(features.values()))[0]
    grids = [level.shape[-2] * level.shape[-1] for level in features.values()]
    per_place = model.rpn.anchor_generator.num_anchors_per_location()
    by_level = tuple(
        part.numpy()
        for part in anchors.split([grid * number for grid, number in zip(grids, per_place, strict=True)])
    )
    pool = model.roi_heads.box_roi_pool
    levels = pooled_levels(pool, features, content)
    count = proposal_count(by_level, proposal_rule(model)) if outside is None else outside
    branch_pool = _branch_pool(model)
    branch = None if branch_pool is None else final_levels(branch_pool, features, content)
    names = tuple(level.name for level in levels)
    every = (*names, *(level.name for level in branch.levels if level.name not in names)) if branch else names
    outputs = [
        *(f"features_{name}" for name in every),
        *(f"{what}_{level}" for what in ("objectness", "deltas") for level in range(len(grids))),
    ][: None if outside is None else len(every)]
    network = Network(model, every, proposing=outside is None)
    backbone = to_onnx(network, example, inputs=["images"], outputs=outputs)
    channels = features[names[0]].shape[1]
    level_grids = tuple((int(features[name].shape[2]), int(features[name].shape[3])) for name in names)
    grid = level_grids[0]
    heads = model.roi_heads
    head: nn.Module
    by: Literal["operator", "products", "samples"] = "operator"
    if isinstance(heads.box_head, TwoMLPHead) and products_pay(pool, levels, grid, pooling):
        by = "products"
    elif pooling == "plain" and pool.sampling_ratio > 0:
        by = "samples"
    if by == "products":
        order = columns_first(grid)
        head = ProductsHead(
            heads.box_head,
            without_background_box(heads.box_predictor),
            tuple(pool.output_size),
            columns_first=order,
        )
        pooled = torch.zeros(batch * count, pool.output_size[0] * channels, pool.output_size[1])
    else:
        head = BoxHead(model)
        pooled = torch.zeros(batch * count, channels, *pool.output_size)
    box_head = to_onnx(head, pooled, inputs=["pooled"], outputs=["logits", "deltas"])
    return Parts(
        swap_colours(backbone),
        box_head,
        by_level,
        every,
        levels,
        count,
        content,
        (height, width),
        level_grids,
        by,
        branch,
    )


def _add_scores(
    graph: GraphBuilder, predicted: tuple[str, str], valid: str, *, batch: int, count: int, classes: int
) -> tuple[str, str]:
    """Scores [N, P, C] and box deltas [N, P, C, 4] of every proposal and class; 0 where not ``valid``."""
    logits, deltas = predicted
    scores = graph.op("Softmax", logits, name="scores/softmax", axis=-1)
    # Class 0 is the background.
    scores = graph.op(
        "Slice", scores, graph.ints(1), graph.ints(classes + 1), graph.ints(-1), name="scores/objects"
    )
    scores = graph.op("Reshape", scores, graph.ints(batch, count, classes), name="scores/by_proposal")
    scores = graph.op("Mul", scores, valid, name="scores/of_valid")
    return scores, graph.op("Reshape", deltas, graph.ints(batch, count, classes, 4), name="decode/by_class")


def _add_boxes(
    graph: GraphBuilder, model: faster_rcnn.FasterRCNN, deltas: str, proposals: str, content: tuple[int, int]
) -> str:
    """Boxes [N, P, K, 4] that ``deltas`` [N, P, K, 4] make of ``proposals`` [N, P, 4], clipped to the content."""
    rois = graph.op("Unsqueeze", proposals, graph.ints(2), name="decode/proposals")
    low, high = graph.ops("Split", rois, name="decode/corners", outputs=2, axis=-1)
    sizes = graph.op("Sub", high, low, name="decode/sizes")
    half = graph.op("Mul", sizes, graph.constant(0.5), name="decode/half_sizes")
    centres = graph.op("Add", low, half, name="decode/centres")
    coder = model.roi_heads.box_coder
    boxes = box_ops.decode_boxes(
        graph, deltas, centres, sizes, weights=coder.weights, largest=coder.bbox_xform_clip, name="decode"
    )
    return box_ops.clip_boxes(graph, boxes, height=content[0], width=content[1], name="clip")


def _override(model: Any, imgsz: tuple[int, int] | None, proposals: int | None) -> None:
    if proposals is not None:
        model.rpn._post_nms_top_n["testing"] = proposals
    if imgsz is not None:
        shortest, longest = min(imgsz), max(imgsz)
        model.transform.min_size = (shortest,)
        model.transform.max_size = longest * 2 if shortest == longest else longest


def _export(model: Any, options: GraphOptions, frame_size: tuple[int, int]) -> Exported:
    return export(model, options, frame_size=frame_size)


FASTER_RCNN = TrainedFamily(
    "faster_rcnn",
    _override,
    _export,
    final_nms=lambda model: model.roi_heads,
    shaped_by_frames=True,
    two_stages=True,
)
