"""transformers' own inference with its detectors: image processor, model, post-processing, unchanged."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from edgedet.artifacts.card import ModelCard

from ...runtimes.base import Array, TensorSpec, detection_outputs


class HuggingFaceRuntime:
    """A detector of transformers in evaluation mode. See :class:`edgedet.runtimes.base.Runtime`.

    ``classes``: which of the model's labels are objects, in the order of the card's names. ``threshold``: score
    above which a detection comes out; it may be changed between runs.
    """

    def __init__(self, card: ModelCard, model: Any, processor: Any, classes: tuple[int, ...], device: str) -> None:
        import torch
        import transformers

        self.card = card
        self.threshold = card.output.score_threshold
        self._model = model.to(device).eval()
        self._processor = processor
        self._device = device
        self.device: Literal["cpu", "gpu"] = "cpu" if device == "cpu" else "gpu"
        self._label = {column: label for label, column in enumerate(classes)}
        self.inputs: tuple[TensorSpec, ...] = (TensorSpec("images", (1, -1, -1, 3), np.dtype(np.uint8)),)
        self.outputs = detection_outputs(card.output.max_detections)
        self.description = (
            f"torch {torch.__version__}, transformers {transformers.__version__} {device}, "
            f"{torch.get_num_threads()} threads"
        )

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Detect in one BGR frame [1, H, W, 3], uint8; see :class:`edgedet.runtimes.base.Runtime`."""
        import torch

        frame = inputs["images"][0]
        prepared = self._processor(
            images=[np.ascontiguousarray(frame[..., ::-1])], return_tensors="pt", input_data_format="channels_last"
        ).to(self._device)
        with torch.inference_mode():
            (found,) = self._processor.post_process_object_detection(
                self._model(**prepared), threshold=self.threshold, target_sizes=[frame.shape[:2]]
            )
        labels = [self._label.get(label, -1) for label in found["labels"].tolist()]
        kept = [row for row, label in enumerate(labels) if label >= 0][: self.outputs[1].shape[1]]
        outputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.outputs}
        outputs["boxes"][0, : len(kept)] = found["boxes"].cpu().numpy()[kept]
        outputs["scores"][0, : len(kept)] = found["scores"].cpu().numpy()[kept]
        outputs["labels"][0, : len(kept)] = [labels[row] for row in kept]
        outputs["count"][0] = len(kept)
        return outputs

    def close(self) -> None:
        """Drop the model; calling twice is harmless."""
        self._model = None
