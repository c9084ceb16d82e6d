"""Trained detectors under other settings than their own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgedet.export.check import settings_runs
from edgedet.export.check.settings_runs import TrainedVariants
from edgedet.export.training.settings import NOTHING_STATED, TrainingSettings


class Red(nn.Module):
    """Finds one box, as surely as the picture is red."""

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        (image,) = images
        return [
            {
                "boxes": torch.tensor([[1.0, 2.0, 3.0, 4.0]]),
                "scores": image[0].mean()[None],
                "labels": torch.tensor([1]),
            }
        ]


def test_a_module_that_was_saved_whole_stays_and_its_pictures_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no tensors of a known network that it could be built of anew."""
    module = Red()
    trained: Any = SimpleNamespace(
        checkpoint=SimpleNamespace(names=("a",), module=module), module=module, stated=NOTHING_STATED
    )
    monkeypatch.setattr(settings_runs, "complete_settings", lambda trained: NOTHING_STATED)
    frames: Any = [np.full((8, 8, 3), (0, 51, 255), np.uint8)]  # BGR
    made = TrainedVariants(trained, frames)
    scores = []
    for settings in (NOTHING_STATED, TrainingSettings(colour="BGR"), TrainingSettings(min_size=8)):
        (found,) = made.detect(settings, [0])
        scores += found.scores.tolist()
    made.close()
    assert scores == [1, 0, 1]
