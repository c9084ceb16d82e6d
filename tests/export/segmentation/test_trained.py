"""What a network for segmentation asks of its canvas."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from edgedet.export.segmentation.graph import resize_rule
from edgedet.export.segmentation.trained import load_segmenter
from edgedet.export.training.settings import TrainingSettings


class Own(nn.Module):
    """A network that takes pictures of any sides."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Conv2d(3, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.score(images)
        return scores


def test_the_canvas_of_a_network_of_ones_own_may_have_any_sides(tmp_path: Path) -> None:
    """Padding that nobody asked for would change what it gives along the edges."""
    given = TrainingSettings(min_size=33)
    segmenter = load_segmenter(
        tmp_path / "own.pt", content=Own(), arch="fcn_module", classes=("a", "b"), given=given
    )
    assert segmenter is not None
    _, height, width = resize_rule(segmenter.preparation(33), (47, 33))
    assert (height, width) == (33, 47)
