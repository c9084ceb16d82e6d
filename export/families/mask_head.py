"""The mask branch of Mask R-CNN (arXiv:1703.06870), run on the final detections only, for their own class only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.mask_rcnn import MaskRCNN

from edgedet.onnx_graph.builder import GraphBuilder

from .base import Pooling
from .nms import Chosen
from .post_nms_branches import FinalLevels, add_final_pooling, output_of_found
from .torch_graph import to_onnx


class MaskQuarters(nn.Module):
    """Pooled features [D, C, h, w] to what the last layer of the mask predictor reads, as [D, 4 * M, h, w].

    Of every place these are the M numbers of the four cells that it becomes, row by row.

    A transposed convolution whose kernel is as wide as its stride is a plain one of 1 x 1 with four times the
    channels, whose outputs nobody has to interleave: the last layer reads the four one by one. ONNX Runtime takes
    four fifths of the time for it.
    """

    def __init__(self, model: MaskRCNN) -> None:
        super().__init__()
        heads: Any = model.roi_heads
        upsample = heads.mask_predictor.conv5_mask
        assert upsample.kernel_size == upsample.stride == (2, 2) and upsample.padding == (0, 0)
        self.head = heads.mask_head
        self.quarters = nn.Conv2d(upsample.in_channels, 4 * upsample.out_channels, 1)
        weight = upsample.weight.detach().permute(2, 3, 1, 0).reshape(self.quarters.weight.shape)
        self.quarters.weight.data = weight.contiguous()
        self.quarters.bias.data = upsample.bias.detach().repeat(4)  # type: ignore[union-attr]

    def forward(self, pooled: Tensor) -> Tensor:
        return torch.relu(self.quarters(self.head(pooled)))


def add_masks(
    graph: GraphBuilder,
    model: MaskRCNN,
    where: FinalLevels,
    features: Sequence[str],
    chosen: Chosen,
    *,
    batch: int,
    pooling: Pooling,
) -> None:
    """The output ``masks`` float32 [N, K, h, w]: the probability of every cell of a box to be the object's.

    ``features``: tensors of the levels. Of the last layer, a 1x1 convolution that has a channel for every class,
    each detection multiplies its own class's: a 90th of the arithmetic for COCO. Rows past the last detection are
    zero.
    """
    heads: Any = model.roi_heads
    pool = heads.mask_roi_pool
    total = batch * chosen.count
    example = torch.zeros(total, where.channels, *pool.output_size)
    network = to_onnx(MaskQuarters(model), example, inputs=["pooled"], outputs=["cells"])
    last = heads.mask_predictor.mask_fcn_logits
    # Class 0 is the background.
    last_weights = last.weight.detach().numpy()[1:, :, 0, 0]
    last_biases = last.bias.detach().numpy()[1:].reshape(-1, 1, 1, 1)
    places, channels = pool.output_size[0] * pool.output_size[1], last_weights.shape[1]
    height, width = pool.output_size
    pooled = add_final_pooling(graph, pool, where, features, chosen, batch=batch, pooling=pooling)
    (cells,) = graph.inline(network, {"pooled": pooled}, prefix="mask_head")
    cells = graph.op("Reshape", cells, graph.ints(total, 4, channels, places), name="masks/cells")
    labels = graph.op("Reshape", chosen.labels, graph.ints(total), name="masks/labels")
    weights = graph.op("Gather", graph.constant(last_weights), labels, name="masks/weights", axis=0)
    weights = graph.op("Unsqueeze", weights, graph.ints(1, 2), name="masks/weight_row")
    biases = graph.op("Gather", graph.constant(last_biases), labels, name="masks/biases", axis=0)
    logits = graph.op("MatMul", weights, cells, name="masks/products")
    logits = graph.op("Add", logits, biases, name="masks/logits")
    probabilities = graph.op("Sigmoid", logits, name="masks/probabilities")
    quarters = graph.ints(total, 2, 2, height, width)
    probabilities = graph.op("Reshape", probabilities, quarters, name="masks/quarters")
    probabilities = graph.op("Transpose", probabilities, name="masks/interleaved", perm=[0, 3, 1, 4, 2])
    shape = (batch, chosen.count, 2 * height, 2 * width)
    probabilities = graph.op("Reshape", probabilities, graph.ints(*shape), name="masks/by_detection")
    output_of_found(graph, probabilities, chosen, "masks", shape)
