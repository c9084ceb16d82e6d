"""Background that an SSD learns from: the hardest default boxes of a whole batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchvision.models.detection.ssd import SSD

MIN_NEGATIVES = 8
"""Hardest default boxes of every picture, however few objects it has."""


def learn_from_empty(model: SSD) -> None:
    """Let ``model`` learn from pictures without an object, too.

    torchvision 0.29 mines hard negatives by picture, three for each default box with an object (Liu et al. 2016,
    section 2.2); a picture without one then adds nothing to the loss, whatever the model sees in it. Here the
    hardest are chosen over the batch, as many in all, and ``MIN_NEGATIVES`` of each picture.

    Args:
        model: in place: its ``compute_loss`` is another.
    """
    torchvision_loss = model.compute_loss

    def compute_loss(
        targets: list[dict[str, Tensor]],
        head_outputs: dict[str, Tensor],
        anchors: list[Tensor],
        matched_idxs: list[Tensor],
    ) -> dict[str, Tensor]:
        losses = torchvision_loss(targets, head_outputs, anchors, matched_idxs)
        logits = head_outputs["cls_logits"]
        labels = torch.stack([_labels(*pair) for pair in zip(targets, matched_idxs, strict=True)])
        each = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
        positive = labels > 0
        count = max(int(positive.sum()), 1)
        background = each.detach().masked_fill(positive, -1.0)
        chosen = torch.zeros_like(positive)
        chosen.view(-1)[
            background.flatten().topk(min(int(model.neg_to_pos_ratio * count), each.numel())).indices
        ] = True
        chosen.scatter_(1, background.topk(MIN_NEGATIVES).indices, True)
        losses["classification"] = each[positive | chosen].sum() / count
        return losses

    model.compute_loss = compute_loss


def _labels(target: dict[str, Tensor], matched: Tensor) -> Tensor:
    """Class of each default box, 0 for the background: int64 [A]."""
    labels = torch.zeros_like(matched)
    labels[matched >= 0] = target["labels"][matched[matched >= 0]]
    return labels
