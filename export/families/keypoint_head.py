"""The keypoint branch of Keypoint R-CNN (arXiv:1703.06870, section 5), run on the final detections only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.keypoint_rcnn import KeypointRCNN

from edgedet.onnx_graph.builder import GraphBuilder

from .base import Pooling
from .nms import Chosen
from .post_nms_branches import FinalLevels, add_final_pooling, output_of_found
from .torch_graph import to_onnx


class KeypointLogits(nn.Module):
    """Pooled features [D, C, h, w] to logits [D, J, 2h, 2w], which torchvision doubles once more: here the host
    does, for those that were found."""

    def __init__(self, model: KeypointRCNN) -> None:
        super().__init__()
        heads: Any = model.roi_heads
        self.head = heads.keypoint_head
        self.lowres = heads.keypoint_predictor.kps_score_lowres

    def forward(self, pooled: Tensor) -> Tensor:
        logits: Tensor = self.lowres(self.head(pooled))
        return logits


def keypoint_count(model: KeypointRCNN) -> int:
    """J, the number of keypoints of every detection."""
    heads: Any = model.roi_heads
    return int(heads.keypoint_predictor.kps_score_lowres.out_channels)


def add_keypoints(
    graph: GraphBuilder,
    model: KeypointRCNN,
    where: FinalLevels,
    features: Sequence[str],
    chosen: Chosen,
    *,
    batch: int,
    pooling: Pooling,
) -> None:
    """The output ``keypoints`` float32 [N, K, J, h, w]: the logit of every cell of a box for each of J keypoints.

    ``features``: tensors of the levels. Rows past the last detection are zero.
    """
    heads: Any = model.roi_heads
    pool = heads.keypoint_roi_pool
    total, points = batch * chosen.count, keypoint_count(model)
    height, width = (2 * side for side in pool.output_size)
    example = torch.zeros(total, where.channels, *pool.output_size)
    network = to_onnx(KeypointLogits(model), example, inputs=["pooled"], outputs=["logits"])
    pooled = add_final_pooling(graph, pool, where, features, chosen, batch=batch, pooling=pooling)
    (logits,) = graph.inline(network, {"pooled": pooled}, prefix="keypoint_head")
    shape = (batch, chosen.count, points, height, width)
    logits = graph.op("Reshape", logits, graph.ints(*shape), name="keypoints/by_detection")
    output_of_found(graph, logits, chosen, "keypoints", shape)
