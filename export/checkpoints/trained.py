"""A trained torchvision-style detector: its module, and what of it was stated and what had to be assumed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torchvision
from torch import nn
from torchvision.models import detection
from torchvision.models.detection import faster_rcnn, keypoint_rcnn, mask_rcnn, ssd
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign

from edgedet.artifacts.keypoint_skeleton import Skeleton
from edgedet.errors import CheckpointError
from edgedet.files import file_sha256

from ..families.keypoint_head import keypoint_count
from ..families.torchvision_architectures import ARCHITECTURES, build
from ..training.arguments import arguments_of_checkpoint
from ..training.assumptions import Assumption
from ..training.keypoints import skeleton_of
from ..training.settings import (
    NOTHING_STATED,
    TrainingSettings,
    beside,
    read_toml,
    section_of_checkpoint,
)
from ..training.torchvision import (
    POOLING,
    has_frozen_norms,
    require_settings_of,
    settings_of,
    settings_of_family,
    smallest_variance,
)
from .checkpoint import PERSON_ALONE, Checkpoint, interpret
from .file import read_content
from .inert_objects import Inert, array_values
from .inert_settings import inert_settings
from .module_tree import is_module
from .saved_whole import require_alike, take_over
from .state_dict import entries_of

Family = Literal["ssd", "faster_rcnn"]
FROZEN_IN_COCO = ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn")
"""Those whose COCO_V1 weights torchvision runs with an epsilon of 0."""


@dataclass(frozen=True)
class TrainedDetector:
    """``module`` is in evaluation mode, takes RGB and has the background as class 0. ``stated``: what was said of
    it; ``assumed``: what nothing said. ``selection``: of a module that was saved whole, the thresholds and counts
    it came with, by the option that overrules each ("" where none does), in words. ``skeleton``: what its keypoints
    are, where it has some."""

    checkpoint: Checkpoint
    family: Family
    module: nn.Module
    stated: TrainingSettings
    assumed: tuple[Assumption, ...]
    notes: tuple[str, ...] = ()
    selection: tuple[tuple[str, str], ...] = ()
    skeleton: Skeleton | None = None


def load_trained(
    path: Path,
    *,
    content: Any = None,
    arch: str | None = None,
    classes: tuple[str, ...] | None = None,
    given: TrainingSettings = NOTHING_STATED,
    trust: Literal["weights", "code"] = "weights",
) -> TrainedDetector:
    """Read a checkpoint and build its detector.

    ``content``: the file, where it was unpickled already. ``arch``, ``classes`` and ``given`` come before what a
    TOML file of the same name beside it says, and that before what the checkpoint says itself.

    Raises:
        CheckpointError: see :func:`~edgedet.export.checkpoints.checkpoint.interpret`; settings that contradict the
            tensors.
        UsageError: the TOML file beside it cannot be read.
    """
    content = read_content(path, trust=trust) if content is None else content
    described_inside = {key: _entries(value) for key, value in entries_of(content).items()}
    own = section_of_checkpoint(described_inside, where=str(path))
    notes: list[str] = []
    described = given
    if (toml := beside(path)) is not None:
        described = given.over(read_toml(toml))
        notes.append(f"settings of the detector from {toml.name}")
    changed = described.contradictions(own)
    if changed:
        notes.append(f"the checkpoint says otherwise, and was overruled: {', '.join(changed)}")
    stated = described.over(own)
    checkpoint = interpret(
        path,
        content,
        arch=arch or stated.arch,
        classes=classes or described.classes,
        section_classes=own.classes or (),
        background=stated.background,
    )
    notes.extend(checkpoint.notes)
    stated = replace(stated, background=checkpoint.background or stated.background)
    if checkpoint.module is not None:
        return _whole_module(checkpoint, stated, tuple(notes))
    family = ARCHITECTURES[checkpoint.arch].family
    overruled = stated
    if checkpoint.inert is not None:
        inside = inert_settings(checkpoint.inert)
        changed = [name for name in stated.contradictions(inside) if name in settings_of_family(family)]
        if changed:
            notes.append(f"the module in the checkpoint says otherwise, and was overruled: {', '.join(changed)}")
        stated = stated.over(inside)
    said = arguments_of_checkpoint(described_inside, settings_of_family(family))
    for key, settings in said.settings.items():
        new = [name for name in settings.stated() if getattr(stated, name) is None]
        if new:
            place = f"the checkpoint's {key}" if key else "the checkpoint"
            notes.append(f"read from {place}: {said.names(key, new)}")
            stated = stated.over(settings)
    known = known_weights(path, checkpoint)
    if known is not None:
        notes.append(f"these are torchvision's own weights {known}: everything about them is known")
    settings = stated
    module = rebuilt(checkpoint, settings)
    if settings.norm_eps is None and has_frozen_norms(module) and checkpoint.inert is None:
        settings = replace(settings, norm_eps=_frozen_eps(checkpoint))
        module = rebuilt(checkpoint, settings)
    if checkpoint.inert is not None:
        notes.extend(require_alike(checkpoint.inert, module, overruled, path=path))
    require_sizes(module, path)
    if family == "ssd" and stated.input_size is None and said.sizes == {settings_of(module).input_size}:
        stated = replace(stated, input_size=settings_of(module).input_size)
        notes.append(f"input_size as the checkpoint says: {said.unread['input_size']}")
    assumed = () if known is not None else tuple(_assumed(family, module, stated, checkpoint, said.unread))
    selection = selection_of(module) if checkpoint.inert is not None else ()
    skeleton, unnamed = _skeleton(module, stated)
    assumed += () if known is not None else unnamed
    return TrainedDetector(checkpoint, family, module, stated, assumed, tuple(notes), selection, skeleton)


def _skeleton(module: nn.Module, stated: TrainingSettings) -> tuple[Skeleton | None, tuple[Assumption, ...]]:
    """What the keypoints of ``module`` are, and what of it nothing said; None where it gives none.

    Raises:
        CheckpointError: ``stated`` does not fit it.
    """
    if not isinstance(module, keypoint_rcnn.KeypointRCNN):
        return None, ()
    return skeleton_of(keypoint_count(module), stated)


def rebuilt(checkpoint: Checkpoint, settings: TrainingSettings) -> nn.Module:
    """The detector as edgedet builds it, with the thresholds and counts of a module that was saved whole, and where
    ``settings`` have no ``norm_eps`` the epsilon of each of its norms.

    Raises:
        CheckpointError: tensors, settings or thresholds that do not fit.
    """
    module = build(checkpoint.arch, checkpoint.num_classes, checkpoint.state_dict, settings=settings)
    if checkpoint.inert is not None:
        take_over(checkpoint.inert, module, eps=settings.norm_eps is None, path=checkpoint.path)
    return module


def selection_of(module: nn.Module) -> tuple[tuple[str, str], ...]:
    """What chooses among the boxes of ``module``, as :class:`TrainedDetector` has it."""
    model: Any = module
    final = getattr(model, "roi_heads", model)
    words = [
        ("conf", f"score_thresh {final.score_thresh:g}"),
        ("iou", f"nms_thresh {final.nms_thresh:g}"),
        ("max_detections", f"detections_per_img {final.detections_per_img}"),
    ]
    if final is model:
        return (*words, ("", f"topk_candidates {model.topk_candidates}"))
    return (
        *words,
        ("", f"rpn score_thresh {model.rpn.score_thresh:g}, nms_thresh {model.rpn.nms_thresh:g}"),
        ("", f"rpn_pre_nms_top_n_test {model.rpn._pre_nms_top_n['testing']}"),
        ("proposals", f"rpn_post_nms_top_n_test {model.rpn._post_nms_top_n['testing']}"),
    )


def _entries(value: Any, depth: int = 4) -> Any:
    """What is kept by name in an object whose class was not imported (Lightning's ``AttributeDict``), as a dict;
    OmegaConf's boxes by what is in them."""
    if is_module(value):
        return value
    if isinstance(value, Inert):
        kept = value.attributes
        value = kept["_content"] if "_content" in kept else kept["_val"] if "_val" in kept else entries_of(value)
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if depth and isinstance(value, Mapping):
        return {key: _entries(each, depth - 1) for key, each in value.items() if isinstance(key, str)}
    if depth and isinstance(value, list) and any(isinstance(each, Inert) for each in value):
        return [_entries(each, depth - 1) for each in value]
    return array_values(value)


def _whole_module(checkpoint: Checkpoint, given: TrainingSettings, notes: tuple[str, ...]) -> TrainedDetector:
    """A module saved whole knows everything but the colour order of its images and its classes' names."""
    module = checkpoint.module
    assert module is not None
    family = require_exportable(module, checkpoint.path)
    require_sizes(module, checkpoint.path)
    require_settings_of(family, given, checkpoint.arch)
    own = settings_of(module)
    changed = [name for name in given.contradictions(own) if name not in ("arch", "classes")]
    if changed or given.colour == "BGR":
        name = changed[0] if changed else "colour"
        raise CheckpointError(
            f"{checkpoint.path} holds a whole module, which has its own settings ({name} is "
            f"{getattr(own, name)!r:.60}); leave {name} out, or save the state_dict and state it"
        )
    stated = given.over(own)
    skeleton, unnamed = _skeleton(module, stated)
    assumed = (*_assumed(family, module, stated, checkpoint), *unnamed)
    return TrainedDetector(
        checkpoint, family, module.eval(), stated, assumed, notes, selection_of(module), skeleton
    )


def require_exportable(module: nn.Module, path: Path) -> Family:
    """The family of a module that is wholly torchvision's own, its backbone and heads' layers aside.

    Raises:
        CheckpointError: another kind of module, or a part whose arithmetic is not torchvision's.
    """
    model: Any = module
    wanted: tuple[tuple[Any, type], ...]
    family: Family
    if type(module) in (faster_rcnn.FasterRCNN, mask_rcnn.MaskRCNN, keypoint_rcnn.KeypointRCNN):
        heads = model.roi_heads
        family = "faster_rcnn"
        wanted = (
            (model.transform, GeneralizedRCNNTransform),
            (model.rpn, detection.rpn.RegionProposalNetwork),
            (model.rpn.anchor_generator, detection.anchor_utils.AnchorGenerator),
            (heads, detection.roi_heads.RoIHeads),
            (heads.box_roi_pool, MultiScaleRoIAlign),
            (heads.box_predictor, faster_rcnn.FastRCNNPredictor),
        )
        if type(module) is mask_rcnn.MaskRCNN:
            masks = ((heads.mask_roi_pool, MultiScaleRoIAlign), (heads.mask_predictor, mask_rcnn.MaskRCNNPredictor))
            wanted = (*wanted, *masks)
        if type(module) is keypoint_rcnn.KeypointRCNN:
            points = (heads.keypoint_predictor, keypoint_rcnn.KeypointRCNNPredictor)
            wanted = (*wanted, (heads.keypoint_roi_pool, MultiScaleRoIAlign), points)
    elif type(module) is ssd.SSD:
        family = "ssd"
        wanted = (
            (model.transform, GeneralizedRCNNTransform),
            (model.anchor_generator, detection.anchor_utils.DefaultBoxGenerator),
        )
    else:
        raise CheckpointError(
            f"{path} holds a whole {type(module).__name__}; expected torchvision's FasterRCNN, MaskRCNN, "
            "KeypointRCNN or SSD, or a state_dict"
        )
    for part, kind in wanted:
        if type(part) is not kind:
            raise CheckpointError(
                f"{path}: its {kind.__name__} is a {type(part).__name__}, whose arithmetic edgedet does not know; "
                "expected torchvision's own"
            )
    coders = (heads.box_coder, model.rpn.box_coder) if family == "faster_rcnn" else (model.box_coder,)
    strange = next((coder for coder in coders if type(coder) is not detection._utils.BoxCoder), None)
    if strange is not None:
        raise CheckpointError(
            f"{path}: its BoxCoder is a {type(strange).__name__}, whose arithmetic edgedet does not know; expected "
            "torchvision's own"
        )
    for part in (module, *(part for part, _ in wanted if isinstance(part, nn.Module))):
        changed = [name for name in vars(part) if callable(getattr(type(part), name, None))]
        if part._forward_hooks or part._forward_pre_hooks or changed:
            what = f"a {changed[0]} of its own" if changed else "a hook"
            raise CheckpointError(
                f"{path}: its {type(part).__name__} has {what}, which a graph does not have; save it without"
            )
    return family


def require_sizes(module: nn.Module, path: Path) -> None:
    """What a torchvision detector makes of a picture must be what its family's graph does.

    Raises:
        CheckpointError: it is not.
    """
    transform: Any = module.transform
    size, divisor = transform.fixed_size, transform.size_divisible
    if isinstance(module, faster_rcnn.FasterRCNN):
        if size is not None:
            raise CheckpointError(
                f"{path}: its transform stretches every picture to {tuple(size)} (fixed_size); a graph of Faster "
                "R-CNN keeps their shape: set fixed_size to None, or save its state_dict and state min_size and "
                "max_size"
            )
    elif size is None or any(side % divisor for side in size):
        raise CheckpointError(
            f"{path}: its transform has fixed_size {size} and size_divisible {divisor}; a graph of SSD takes "
            "pictures of one size that is not padded: expected a size that can be divided so"
        )


def known_weights(path: Path, checkpoint: Checkpoint) -> str | None:
    """The name of torchvision's published weights, where the file is theirs byte for byte.

    Their file names end in the first eight digits of the file's SHA-256.
    """
    if checkpoint.num_classes != (PERSON_ALONE if checkpoint.arch.startswith("keypointrcnn") else 91):
        return None
    try:
        published: Any = torchvision.models.get_model_weights(checkpoint.arch)
    except ValueError:  # not one of torchvision's
        return None
    digest = file_sha256(path)
    return next((str(entry) for entry in published if entry.url.endswith(f"-{digest[:8]}.pth")), None)


def _frozen_eps(checkpoint: Checkpoint) -> float:
    """torchvision runs its COCO_V1 weights, and what is fine-tuned from them, with 0; with a variance of 0 that
    would divide by nothing."""
    from_coco = checkpoint.arch in FROZEN_IN_COCO and smallest_variance(checkpoint.state_dict) > 0
    return 0.0 if from_coco else 1e-5


def _assumed(
    family: Family,
    module: nn.Module,
    stated: TrainingSettings,
    checkpoint: Checkpoint,
    unread: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Assumption]:
    """What ``stated`` leaves out, with the values ``module`` has. ``unread``: words of the file about a setting, by
    its name, that could not be taken for its value."""
    has = settings_of(module)

    def unstated(*names: str) -> str | None:
        missing = [name for name in names if getattr(stated, name) is None]
        return ", ".join(missing) if missing else None

    if family == "ssd":
        assert has.input_size is not None and has.default_box_scales is not None
        groups = [
            ("input size", ("input_size",), "x".join(map(str, has.input_size))),
            (
                "default boxes",
                ("default_box_ratios", "default_box_scales", "default_box_steps", "default_box_clip"),
                f"torchvision's, scales {_numbers(has.default_box_scales)}",
            ),
            ("box weights", ("box_weights",), _numbers(has.box_weights)),
        ]
    else:
        assert has.anchor_sizes is not None and has.anchor_ratios is not None
        sizes = " | ".join(_numbers(level) for level in dict.fromkeys(has.anchor_sizes))
        ratios = " | ".join(_numbers(level) for level in dict.fromkeys(has.anchor_ratios))
        groups = [
            ("input size", ("min_size", "max_size"), f"shortest side {has.min_size}, longest {has.max_size}"),
            ("anchors", ("anchor_sizes", "anchor_ratios"), f"sides {sizes} by ratios {ratios}"),
            (
                "box weights",
                ("box_weights", "rpn_box_weights"),
                f"{_numbers(has.box_weights)}, of proposals {_numbers(has.rpn_box_weights)}",
            ),
            ("RoIAlign", POOLING, f"{has.pool_size} bins, {has.pool_sampling_ratio} samples"),
        ]
    groups.append(
        ("mean/std", ("image_mean", "image_std"), f"{_numbers(has.image_mean)} / {_numbers(has.image_std)}")
    )
    groups.append(("colour", ("colour",), "RGB"))
    groups.append(("background", ("background",), "the first class"))
    if has_frozen_norms(module) and has.norm_eps is not None:
        groups.append(("BatchNorm's eps", ("norm_eps",), f"{has.norm_eps:g}"))
    for what, names, value in groups:
        missing = unstated(*names)
        if missing is not None:
            partly = missing != ", ".join(names)
            words = ", ".join(dict.fromkeys(unread[name] for name in missing.split(", ") if name in unread))
            yield Assumption(what, f"{missing} as torchvision has it" if partly else value, missing, words)
    if checkpoint.named_by != "stated":
        value = "torchvision's COCO list" if checkpoint.named_by == "coco" else ", ".join(checkpoint.names[:3])
        yield Assumption("class names", value + (", ..." if len(checkpoint.names) > 3 else ""), "classes")


def _numbers(values: Any) -> str:
    return " ".join(f"{value:.4g}" for value in values or ())
