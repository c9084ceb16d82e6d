"""PyTorch: networks for semantic segmentation as their framework runs them, at each frame's own size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgedet.artifacts.card import ASSUMED_KEY, InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.geometry import shortest_side_size
from edgedet.masks.class_map_reader import LOGITS

from ...runtimes.base import Array, TensorSpec
from .reference import full_scores, normalised, resized
from .trained import TrainedSegmenter


def card_of(trained: TrainedSegmenter) -> ModelCard:
    """The card of a checkpoint: frames go in at their own size, the framework does the rest."""
    assumed = [assumption.text() for assumption in trained.assumed]
    return ModelCard(
        family=trained.family,
        architecture=trained.arch,
        names=trained.names,
        input=InputSpec(height=0, width=0),
        resize=ResizeRule("none"),
        output=OutputSpec("class_logits", score_threshold=0.0, iou_threshold=0.0, max_detections=1),
        provenance={"checkpoint": Path(trained.path).name} | ({ASSUMED_KEY: assumed} if assumed else {}),
    )


class SegmentationRuntime:
    """A network in evaluation mode. See :class:`edgedet.runtimes.base.Runtime`."""

    def __init__(self, card: ModelCard, trained: TrainedSegmenter, device: str) -> None:
        import torch
        import torchvision

        self.card = card
        self._trained = trained
        self._model: Any = trained.module.to(device)
        self._device = device
        self.device: Literal["cpu", "gpu"] = "cpu" if device == "cpu" else "gpu"
        self.inputs: tuple[TensorSpec, ...] = (TensorSpec("images", (1, -1, -1, 3), np.dtype(np.uint8)),)
        self.outputs: tuple[TensorSpec, ...] = (
            TensorSpec(LOGITS, (1, len(card.names), -1, -1), np.dtype(np.float32)),
        )
        self.description = (
            f"torch {torch.__version__}, torchvision {torchvision.__version__} {device}, "
            f"{torch.get_num_threads()} threads"
        )

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Scores of one BGR frame [1, H, W, 3] at the size that the network is shown it at; see
        :class:`edgedet.runtimes.base.Runtime`."""
        import torch

        frame = inputs["images"][0]
        preparation = self._trained.preparation(self._trained.min_size or min(frame.shape[:2]))
        rule = ResizeRule("shortest_side", min_size=preparation.min_size, max_size=1 << 20, rounding="divide")
        image = normalised(resized(frame, shortest_side_size(rule, *frame.shape[:2])), preparation)
        step = preparation.multiple
        below, right = (-side % step for side in image.shape[-2:])
        padded = torch.nn.functional.pad(image, (0, right, 0, below))[None].to(self._device)
        with torch.inference_mode():
            scores = full_scores(self._model, padded)[..., : image.shape[-2], : image.shape[-1]]
        return {LOGITS: scores.cpu().numpy()}

    def close(self) -> None:
        """Drop the model; calling twice is harmless."""
        self._model = None
