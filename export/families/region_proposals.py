"""Region proposals with static shapes: the RPN's selection and its non-maximum suppression as matrix steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import PROPOSAL_COUNT, PROPOSALS
from edgedet.onnx_graph.builder import GraphBuilder

from . import boxes as box_ops

NMS_STEPS = 16
"""Matrix steps of the proposals' NMS. The result is exact once no chain of boxes, each suppressing the next, is
longer; chains seen over real images have at most 6 links (docs/decisions/002)."""


@dataclass(frozen=True)
class Level:
    """One feature level of the RPN: ``objectness`` [N, A] and ``deltas`` [N, A, 4] name tensors of the graph,
    ``anchors`` float32 [A, 4] are corners in canvas pixels."""

    objectness: str
    deltas: str
    anchors: NDArray[np.float32]


@dataclass(frozen=True)
class ProposalRule:
    """torchvision's settings of the region proposal network; sizes in canvas pixels."""

    candidates_per_level: int
    count: int
    iou: float
    min_score: float
    min_side: float
    box_weights: tuple[float, float, float, float]
    largest_log_scale: float = box_ops.LARGEST_LOG_SCALE


def proposal_count(anchors: Sequence[NDArray[np.float32]], rule: ProposalRule) -> int:
    """How many proposals an image has at most, given the anchors of each level."""
    return min(rule.count, len(anchors) * _per_level(anchors, rule))


def _per_level(anchors: Sequence[NDArray[np.float32]], rule: ProposalRule) -> int:
    return max(min(rule.candidates_per_level, len(level)) for level in anchors)


def add_proposals(
    graph: GraphBuilder,
    levels: Sequence[Level],
    rule: ProposalRule,
    *,
    batch: int,
    canvas: tuple[int, int],
) -> tuple[str, str]:
    """Select P = :func:`proposal_count` proposals per image; returns (boxes [N, P, 4], valid float [N, P, 1]).

    As torchvision's ``RegionProposalNetwork.filter_proposals``: the best of each level, clipped to ``canvas``
    (height, width), small and improbable ones dropped, NMS within each level, then the best of all levels.
    Rows that are not valid hold boxes that were suppressed.
    """
    per_level = _per_level([level.anchors for level in levels], rule)
    rows = len(levels) * per_level
    logits, deltas, centres, sizes, real = _best_of_levels(graph, levels, per_level)
    boxes = box_ops.decode_boxes(
        graph,
        deltas,
        centres,
        sizes,
        weights=rule.box_weights,
        largest=rule.largest_log_scale,
        name="rpn/decode",
    )
    boxes = box_ops.clip_boxes(graph, boxes, height=canvas[0], width=canvas[1], name="rpn/clip")
    scores = graph.op("Sigmoid", logits, name="rpn/scores")

    side = box_ops.shortest_box_side(graph, boxes, name="rpn/side")
    large = graph.op("GreaterOrEqual", side, graph.constant(rule.min_side), name="rpn/large")
    large = graph.op("Reshape", large, graph.ints(batch, rows), name="rpn/large_row")
    if rule.min_score > 0:
        probable = graph.op("GreaterOrEqual", scores, graph.constant(rule.min_score), name="rpn/probable")
        large = graph.op("And", large, probable, name="rpn/valid")
    if not real.all():
        large = graph.op("And", large, graph.constant(real.reshape(1, rows), np.bool_), name="rpn/real")
    valid = graph.op("Cast", large, name="rpn/valid_float", to=1)

    kept = add_static_nms(
        graph,
        graph.op("Reshape", boxes, graph.ints(batch * len(levels), per_level, 4), name="rpn/boxes_by_level"),
        graph.op("Reshape", valid, graph.ints(batch * len(levels), 1, per_level), name="rpn/valid_by_level"),
        size=per_level,
        iou=rule.iou,
        name="rpn/nms",
    )
    kept = graph.op("Reshape", kept, graph.ints(batch, rows), name="rpn/kept")
    scores = graph.op("Mul", scores, kept, name="rpn/kept_scores")
    count = proposal_count([level.anchors for level in levels], rule)
    top, index = graph.ops("TopK", scores, graph.ints(count), name="rpn/rank", outputs=2, axis=-1)
    index = graph.op("Unsqueeze", index, graph.ints(-1), name="rpn/rank_column")
    proposals = graph.op("GatherND", boxes, index, name="rpn/proposals", batch_dims=1)
    found = graph.op("Greater", top, graph.constant(0.0), name="rpn/found")
    found = graph.op("Cast", found, name="rpn/found_float", to=1)
    return proposals, graph.op("Unsqueeze", found, graph.ints(-1), name="rpn/found_column")


def add_outside_proposals(graph: GraphBuilder, *, batch: int, count: int) -> tuple[str, str]:
    """Declare proposals from outside as inputs: ``proposals`` float32 [N, P, 4] in canvas pixels, within its
    content, of which the first ``proposal_count`` int32 [N] are meant; returns what :func:`add_proposals` does."""
    boxes = graph.input(PROPOSALS, "float32", (batch, count, 4))
    given = graph.input(PROPOSAL_COUNT, "int32", (batch,))
    given = graph.op("Unsqueeze", given, graph.ints(-1), name="proposals/count_column")
    rows = graph.constant(np.arange(count).reshape(1, count), np.int32)
    valid = graph.op("Less", rows, given, name="proposals/valid")
    valid = graph.op("Cast", valid, name="proposals/valid_float", to=1)
    return boxes, graph.op("Unsqueeze", valid, graph.ints(-1), name="proposals/valid_column")


def _best_of_levels(
    graph: GraphBuilder, levels: Sequence[Level], per_level: int
) -> tuple[str, str, str, str, NDArray[np.bool_]]:
    """Logits [N, R], deltas [N, R, 4], centres and sizes [N, R, 2] of each level's best, and which rows are real.

    Levels with fewer anchors than ``per_level`` are filled up with rows that are not.
    """
    logits: list[str] = []
    deltas: list[str] = []
    references: list[str] = []
    real = []
    for number, level in enumerate(levels):
        name = f"rpn/level_{number}"
        taken = min(per_level, len(level.anchors))
        top, index = graph.ops("TopK", level.objectness, graph.ints(taken), name=f"{name}/top", outputs=2, axis=-1)
        column = graph.op("Unsqueeze", index, graph.ints(-1), name=f"{name}/column")
        anchors = graph.constant(np.concatenate(box_ops.center_form(level.anchors), axis=-1))
        parts = [
            (logits, top, 2),
            (deltas, graph.op("GatherND", level.deltas, column, name=f"{name}/deltas", batch_dims=1), 3),
            (references, graph.op("Gather", anchors, index, name=f"{name}/anchors"), 3),
        ]
        for tensors, tensor, rank in parts:
            if taken < per_level:
                fill = [0] * (2 * rank)
                fill[rank + 1] = per_level - taken
                tensor = graph.op("Pad", tensor, graph.ints(*fill), name=f"{tensor}_filled")  # noqa: PLW2901
            tensors.append(tensor)
        real.append(np.arange(per_level) < taken)

    def joined(tensors: Sequence[str], name: str) -> str:
        return tensors[0] if len(tensors) == 1 else graph.op("Concat", *tensors, name=f"rpn/{name}", axis=1)

    centres, sizes = box_ops.split_last(graph, joined(references, "anchors"), 2, name="rpn/centres_and_sizes")
    return joined(logits, "logits"), joined(deltas, "deltas"), centres, sizes, np.concatenate(real)


def add_static_nms(
    graph: GraphBuilder, boxes: str, valid: str, *, size: int, iou: float, name: str, groups: str | None = None
) -> str:
    """Greedy NMS of boxes sorted by falling score, in fixed matrix steps (Cluster-NMS, arXiv:2005.03572).

    ``boxes`` [G, k, 4] corners; ``valid`` float [G, 1, k], 0 for boxes that neither stay nor suppress; ``size`` is
    k. ``groups`` float [G, 1, k]: only boxes of equal numbers suppress each other. Returns float [G, 1, k], 1 for
    boxes that stay. Each step keeps the valid boxes that no box kept by the step before suppresses; every
    step settles at least one more link of each chain of suppressions.
    """
    left, top, right, bottom = box_ops.box_columns(graph, boxes, name=f"{name}/columns")
    across = {}
    for side, tensor in (("left", left), ("top", top), ("right", right), ("bottom", bottom)):
        across[side] = graph.op("Transpose", tensor, name=f"{name}/{side}", perm=[0, 2, 1])
    width = graph.op(
        "Sub",
        graph.op("Min", right, across["right"], name=f"{name}/inner_right"),
        graph.op("Max", left, across["left"], name=f"{name}/inner_left"),
        name=f"{name}/inner_width",
    )
    height = graph.op(
        "Sub",
        graph.op("Min", bottom, across["bottom"], name=f"{name}/inner_bottom"),
        graph.op("Max", top, across["top"], name=f"{name}/inner_top"),
        name=f"{name}/inner_height",
    )
    # One Relu is enough: of a negative height the product is not above the limit either.
    inner = graph.op(
        "Mul", graph.op("Relu", width, name=f"{name}/positive_width"), height, name=f"{name}/intersection"
    )
    area = graph.op(
        "Mul",
        graph.op("Sub", right, left, name=f"{name}/width"),
        graph.op("Sub", bottom, top, name=f"{name}/height"),
        name=f"{name}/area",
    )
    both = graph.op(
        "Add", area, graph.op("Transpose", area, name=f"{name}/area_across", perm=[0, 2, 1]), name=f"{name}/areas"
    )
    union = graph.op("Sub", both, inner, name=f"{name}/union")
    # Without the division: an empty union is 0 > 0, false, and no NaN.
    limit = graph.op("Mul", union, graph.constant(iou), name=f"{name}/limit")
    overlaps = graph.op("Greater", inner, limit, name=f"{name}/overlaps")
    if groups is not None:
        across_groups = graph.op("Transpose", groups, name=f"{name}/groups_across", perm=[0, 2, 1])
        same = graph.op("Equal", groups, across_groups, name=f"{name}/same_group")
        overlaps = graph.op("And", overlaps, same, name=f"{name}/overlaps_in_group")
    # -1 where a box suppresses a later one, by product: quicker than by And and Where.
    later = graph.constant(-np.triu(np.ones((1, size, size), np.float32), 1))
    overlaps = graph.op("Cast", overlaps, name=f"{name}/overlaps_float", to=1)
    against = graph.op("Mul", overlaps, later, name=f"{name}/against")
    # A box in front of all, which always stays and votes for every valid one, makes a step of two operators: what
    # is left of its vote after those of the kept boxes that suppress is 1 or, by Relu, 0.
    keep = graph.op("Pad", valid, graph.ints(0, 0, 1, 0, 0, 0), graph.constant(1.0), name=f"{name}/valid")
    against = graph.op("Pad", against, graph.ints(0, 0, 1, 0, 0, 0), name=f"{name}/against_padded")
    votes = graph.op("Concat", keep, against, name=f"{name}/votes", axis=1)
    for step in range(min(NMS_STEPS, size - 1)):
        left_over = graph.op("MatMul", keep, votes, name=f"{name}/step_{step}/votes")
        keep = graph.op("Relu", left_over, name=f"{name}/step_{step}/keep")
    return graph.op("Slice", keep, graph.ints(1), graph.ints(size + 1), graph.ints(2), name=f"{name}/kept")
