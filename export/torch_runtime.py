"""PyTorch: checkpoints through torchvision's own inference, the reference everything else is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from edgedet.artifacts.card import (
    ASSUMED_KEY,
    PROPOSAL_COUNT,
    PROPOSALS,
    InputSpec,
    KeypointSpec,
    ModelCard,
    OutputSpec,
    ResizeRule,
)
from edgedet.errors import UsageError

from ..runtimes.base import Array, Runtime, TensorSpec, detection_outputs
from .checkpoints.file import read_content
from .segmentation.runtime import SegmentationRuntime, card_of
from .segmentation.trained import load_segmenter

if TYPE_CHECKING:
    from torch import Tensor, nn


def read_card(path: Path) -> ModelCard:
    """The card of a torchvision-style checkpoint, or a folder of transformers: frames go in at their own size, the
    framework does the rest.

    Raises:
        CheckpointError: see :func:`edgedet.export.checkpoints.checkpoint.load_checkpoint` and
            :func:`edgedet.export.hugging_face.graph.load`.
    """
    if path.is_dir():
        from .hugging_face import graph as hugging_face

        return hugging_face.load(path).card()
    content = read_content(path)
    segmenter = load_segmenter(path, content=content)
    return _load(path, content)[0] if segmenter is None else card_of(segmenter)


def open(path: Path, *, card: ModelCard, threads: int | None = None, device: str | None = None) -> Runtime:
    """Open a checkpoint or a folder. ``threads`` sets torch's CPU threads for the whole process; ``device``:
    ``cpu`` (default) or ``cuda``.

    Raises:
        CheckpointError: see :func:`read_card`.
        UsageError: a device that is not there.
    """
    import torch

    if device not in (None, "cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise UsageError(f"device {device!r} is not there for torch; expected cpu, or cuda on a machine with a GPU")
    if threads is not None:
        torch.set_num_threads(threads)
    if path.is_dir():
        from .hugging_face import graph as hugging_face
        from .hugging_face.runtime import HuggingFaceRuntime

        loaded = hugging_face.load(path)
        return HuggingFaceRuntime(card, loaded.model, loaded.processor, loaded.classes, device or "cpu")
    if card.task == "segmentation":
        segmenter = load_segmenter(path)
        assert segmenter is not None, "its card says that it is one"
        return SegmentationRuntime(card, segmenter, device or "cpu")
    return TorchRuntime(card, _load(path)[1], device or "cpu")


class TorchRuntime:
    """A torchvision detector in evaluation mode. See :class:`edgedet.runtimes.base.Runtime`."""

    def __init__(self, card: ModelCard, model: nn.Module, device: str) -> None:
        import torch
        import torchvision

        self.card = card
        self._model: Any = model.to(device)
        self._device = device
        self.device: Literal["cpu", "gpu"] = "cpu" if device == "cpu" else "gpu"
        self.inputs: tuple[TensorSpec, ...] = (TensorSpec("images", (1, -1, -1, 3), np.dtype(card.input.dtype)),)
        masks, keypoints = mask_shape(model), keypoints_of(model)
        self.outputs = detection_outputs(card.output.max_detections, masks=masks, keypoints=keypoints)
        self._has_masks, self._has_keypoints = masks is not None, keypoints is not None
        self.takes_proposals = card.family == "faster_rcnn" and masks is None and keypoints is None
        self.description = (
            f"torch {torch.__version__}, torchvision {torchvision.__version__} {device}, "
            f"{torch.get_num_threads()} threads"
        )

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Detect in one BGR frame [1, H, W, 3], 0..255; see :class:`edgedet.runtimes.base.Runtime`.

        With ``proposals`` and their count, a network of two stages takes those in place of its own
        (:class:`edgedet.runtimes.base.MayTakeProposals`).
        """
        import torch

        # RGB float [3, H, W] in 0..1, as torchvision's ToTensor gives it.
        frame = torch.from_numpy(inputs["images"][0])
        image = frame.flip(-1).permute(2, 0, 1).to(self._device).float().div(255)
        with torch.inference_mode():
            if PROPOSALS in inputs:
                given = inputs[PROPOSALS][0, : int(inputs[PROPOSAL_COUNT][0])]
                found = second_stage(self._model, image, torch.from_numpy(given.copy()).to(self._device))
            else:
                found = self._detect(image) if self._has_masks else self._model([image])[0]
        count = len(found["scores"])
        outputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.outputs}
        outputs["boxes"][0, :count] = found["boxes"].cpu().numpy()
        outputs["scores"][0, :count] = found["scores"].cpu().numpy()
        # torchvision counts the background as class 0.
        outputs["labels"][0, :count] = found["labels"].cpu().numpy() - 1
        outputs["count"][0] = count
        if self._has_masks:
            outputs["masks"][0, :count] = found["masks"][:, 0].cpu().numpy()
        if self._has_keypoints:
            outputs["keypoints"][0, :count, :, :2] = found["keypoints"][..., :2].cpu().numpy()
            outputs["keypoints"][0, :count, :, 2] = found["keypoints_scores"].cpu().numpy()
        return outputs

    def _detect(self, image: Any) -> dict[str, Any]:
        """What torchvision finds, with bitmaps as its heads give them: pasting takes megabytes for each."""
        bitmaps: list[Any] = []

        def keep(module: Any, inputs: Any, result: Any) -> Any:
            detections, losses = result
            bitmaps.extend(found.pop("masks") for found in detections)
            return detections, losses

        handle = self._model.roi_heads.register_forward_hook(keep)
        try:
            found: dict[str, Any] = self._model([image])[0]
        finally:
            handle.remove()
        return found | {"masks": bitmaps[0]}

    def close(self) -> None:
        """Drop the model; calling twice is harmless."""
        self._model = None


def second_stage(model: Any, image: Tensor, proposals: Tensor) -> dict[str, Tensor]:
    """What torchvision's second stage makes of ``proposals`` [P, 4], in pixels of ``image`` [3, H, W], as its
    ``GeneralizedRCNN.forward`` does with those of its first."""
    from torchvision.models.detection.transform import resize_boxes

    from .families.faster_rcnn import feature_levels

    size = (int(image.shape[-2]), int(image.shape[-1]))
    images, _ = model.transform([image])
    features = feature_levels(model.backbone, images.tensors)
    resized = resize_boxes(proposals, list(size), list(images.image_sizes[0]))
    found, _ = model.roi_heads(features, [resized], images.image_sizes)
    (result,) = model.transform.postprocess(found, images.image_sizes, [size])
    return dict(result)


def _load(path: Path, content: Any = None) -> tuple[ModelCard, nn.Module]:
    from .checkpoints.trained import load_trained

    trained = load_trained(path, content=content)
    checkpoint, family, model = trained.checkpoint, trained.family, cast("Any", trained.module)
    assumed = [assumption.text() for assumption in trained.assumed]
    settings = model if family == "ssd" else model.roi_heads
    card = ModelCard(
        family=family,
        architecture=checkpoint.arch,
        names=checkpoint.names,
        input=InputSpec(height=0, width=0, dtype="uint8"),
        resize=ResizeRule("none"),
        output=OutputSpec(
            format="detections",
            score_threshold=settings.score_thresh,
            iou_threshold=settings.nms_thresh,
            max_detections=settings.detections_per_img,
            masks=None if mask_shape(model) is None else "in_boxes",
            keypoints=None if trained.skeleton is None else KeypointSpec("points", trained.skeleton),
        ),
        provenance={"checkpoint": path.name} | ({ASSUMED_KEY: assumed} if assumed else {}),
    )
    return card, model


def mask_shape(model: nn.Module) -> tuple[int, int] | None:
    """(height, width) of the bitmaps of a Mask R-CNN; None of a detector without a mask branch."""
    pool = getattr(getattr(model, "roi_heads", None), "mask_roi_pool", None)
    return None if pool is None else (2 * pool.output_size[0], 2 * pool.output_size[1])


def keypoints_of(model: nn.Module) -> int | None:
    """How many keypoints a Keypoint R-CNN gives of every detection; None of a detector without that branch."""
    predictor = getattr(getattr(model, "roi_heads", None), "keypoint_predictor", None)
    return None if predictor is None else int(predictor.kps_score_lowres.out_channels)
