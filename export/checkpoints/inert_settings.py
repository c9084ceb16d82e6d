"""Settings of a torchvision detector that was saved whole, read from what its pickle holds, without its code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgedet.errors import CheckpointError

from ..training.settings import NOTHING_STATED, TrainingSettings, read_settings
from .inert_objects import Inert
from .module_tree import children, part_of

HOME = "torchvision.models.detection."
TRANSFORM = HOME + "transform.GeneralizedRCNNTransform"
BOX_CODER = HOME + "_utils.BoxCoder"
ANCHORS = HOME + "anchor_utils.AnchorGenerator"
DEFAULT_BOXES = HOME + "anchor_utils.DefaultBoxGenerator"
POOL = "torchvision.ops.poolers.MultiScaleRoIAlign"
NORMS = ("torch.nn.modules.batchnorm.BatchNorm2d", "torchvision.ops.misc.FrozenBatchNorm2d")


TWO_STAGES = ("faster_rcnn.FasterRCNN", "mask_rcnn.MaskRCNN", "keypoint_rcnn.KeypointRCNN")


def inert_settings(model: Inert) -> TrainingSettings:
    """What a whole Faster R-CNN or SSD says of itself. Parts of other classes than torchvision's own say nothing:
    what their numbers mean is in their code."""
    transform = _of(part_of(model, "transform"), TRANSFORM)
    found: dict[str, Any] = {"image_mean": transform.get("image_mean"), "image_std": transform.get("image_std")}
    eps = {part.attributes.get("eps") for part in _parts(model) if part.path in NORMS}
    found["norm_eps"] = eps.pop() if len(eps) == 1 else None
    if model.path in (f"{HOME}{kind}" for kind in TWO_STAGES):
        found |= _faster_rcnn(model, transform)
    elif model.path == HOME + "ssd.SSD":
        found |= _ssd(model, transform)
    else:
        return NOTHING_STATED
    settings = NOTHING_STATED
    for name, value in found.items():
        try:
            settings = read_settings({name: value}, where=model.path).over(settings)
        except CheckpointError:
            continue  # it is of no kind this setting can have, so it stays unsaid
    return settings


def _faster_rcnn(model: Inert, transform: dict[str, Any]) -> dict[str, Any]:
    rpn, heads = part_of(model, "rpn"), part_of(model, "roi_heads")
    anchors = _of(part_of(model, "rpn.anchor_generator"), ANCHORS)
    pool = _of(part_of(model, "roi_heads.box_roi_pool"), POOL)
    shortest, size = transform.get("min_size"), pool.get("output_size")
    return {
        "background": "first",
        "min_size": shortest[-1] if isinstance(shortest, list | tuple) and shortest else None,
        "max_size": transform.get("max_size"),
        "anchor_sizes": anchors.get("sizes"),
        "anchor_ratios": anchors.get("aspect_ratios"),
        "rpn_box_weights": _weights(rpn),
        "box_weights": _weights(heads),
        "pool_size": size[0] if isinstance(size, tuple) and len(set(size)) == 1 else None,
        "pool_sampling_ratio": pool.get("sampling_ratio"),
        "pool_levels": pool.get("featmap_names"),
        "pool_canonical_scale": pool.get("canonical_scale"),
        "pool_canonical_level": pool.get("canonical_level"),
    }


def _ssd(model: Inert, transform: dict[str, Any]) -> dict[str, Any]:
    boxes = _of(part_of(model, "anchor_generator"), DEFAULT_BOXES)
    size = transform.get("fixed_size")
    return {
        "background": "first",
        "input_size": size[::-1] if isinstance(size, tuple) else None,
        "box_weights": _weights(model),
        "default_box_ratios": boxes.get("aspect_ratios"),
        "default_box_scales": boxes.get("scales"),
        "default_box_steps": (boxes.get("steps") or []) if boxes else None,
        "default_box_clip": boxes.get("clip"),
    }


def _of(part: Any, path: str) -> dict[str, Any]:
    """Instance variables of a part, nothing where it is of another class."""
    return dict(part.attributes) if isinstance(part, Inert) and part.path == path else {}


def _weights(owner: Any) -> Any:
    coder = owner.attributes.get("box_coder") if isinstance(owner, Inert) else None
    return _of(coder, BOX_CODER).get("weights")


def _parts(model: Inert) -> Iterator[Inert]:
    """The module and everything in it."""
    waiting = [model]
    while waiting:
        part = waiting.pop()
        yield part
        waiting.extend(child for child in children(part).values() if isinstance(child, Inert))
