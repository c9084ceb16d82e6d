"""A trained torchvision-style detector: its module, and what of it was stated and what had to be assumed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torchvision
from torch import nn
from torchvision.models import detection
from torchvision.models.detection import faster_rcnn, ssd
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign

from edgedet.errors import CheckpointError

from ..families.architectures import ARCHITECTURES, build
from ..training.assumptions import Assumption
from ..training.settings import (
    NOTHING_STATED,
    TrainingSettings,
    arguments_of_checkpoint,
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
from .checkpoint import Checkpoint, interpret
from .file import read_content
from .inert_objects import Inert
from .inert_settings import inert_settings
from .state_dict import entries_of

Family = Literal["ssd", "faster_rcnn"]


@dataclass(frozen=True)
class TrainedDetector:
    """``module`` is in evaluation mode, takes RGB and has the background as class 0. ``stated``: what was said of
    it; ``assumed``: what nothing said."""

    checkpoint: Checkpoint
    family: Family
    module: nn.Module
    stated: TrainingSettings
    assumed: tuple[Assumption, ...]
    notes: tuple[str, ...] = ()


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
        classes=classes or stated.classes,
        background=stated.background,
    )
    notes.extend(checkpoint.notes)
    stated = replace(stated, background=checkpoint.background or stated.background)
    if checkpoint.module is not None:
        return _whole_module(checkpoint, stated, tuple(notes))
    family = ARCHITECTURES[checkpoint.arch].family
    if checkpoint.inert is not None:
        stated = stated.over(inert_settings(checkpoint.inert))
    for key, settings in arguments_of_checkpoint(described_inside, settings_of_family(family)).items():
        new = [name for name in settings.stated() if getattr(stated, name) is None]
        if new:
            notes.append(f"read from the checkpoint's {key}: {', '.join(new)}")
            stated = stated.over(settings)
    known = known_weights(path, checkpoint)
    if known is not None:
        notes.append(f"these are torchvision's own weights {known}: everything about them is known")
    settings = stated
    module = build(checkpoint.arch, checkpoint.num_classes, checkpoint.state_dict, settings=settings)
    if settings.norm_eps is None and has_frozen_norms(module):
        settings = replace(settings, norm_eps=_frozen_eps(checkpoint))
        module = build(checkpoint.arch, checkpoint.num_classes, checkpoint.state_dict, settings=settings)
    assumed = () if known is not None else tuple(_assumed(family, module, stated, checkpoint))
    return TrainedDetector(checkpoint, family, module, stated, assumed, tuple(notes))


def _entries(value: Any) -> Any:
    """What is kept by name in an object whose class was not imported (Lightning's ``AttributeDict``), as a dict."""
    return entries_of(value) if isinstance(value, Inert) else value


def _whole_module(checkpoint: Checkpoint, given: TrainingSettings, notes: tuple[str, ...]) -> TrainedDetector:
    """A module saved whole knows everything but the colour order of its images and its classes' names."""
    module = checkpoint.module
    assert module is not None
    family = require_exportable(module, checkpoint.path)
    require_settings_of(family, given, checkpoint.arch)
    own = settings_of(module)
    changed = [name for name in given.contradictions(own) if name not in ("arch", "classes")]
    if changed or given.colour == "BGR":
        name = changed[0] if changed else "colour"
        raise CheckpointError(
            f"{checkpoint.path} holds a whole module, which says itself how it was trained ({name} is "
            f"{getattr(own, name)!r:.60} in it); leave {name} out, or save the state_dict and state it"
        )
    stated = given.over(own)
    assumed = tuple(_assumed(family, module, stated, checkpoint))
    return TrainedDetector(checkpoint, family, module.eval(), stated, assumed, notes)


def require_exportable(module: nn.Module, path: Path) -> Family:
    """The family of a module that is wholly torchvision's own, its backbone and heads' layers aside.

    Raises:
        CheckpointError: another kind of module, or a part whose arithmetic is not torchvision's.
    """
    model: Any = module
    wanted: tuple[tuple[Any, type], ...]
    family: Family
    if type(module) is faster_rcnn.FasterRCNN:
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
    elif type(module) is ssd.SSD:
        family = "ssd"
        wanted = (
            (model.transform, GeneralizedRCNNTransform),
            (model.anchor_generator, detection.anchor_utils.DefaultBoxGenerator),
        )
    else:
        raise CheckpointError(
            f"{path} holds a whole {type(module).__name__}; expected torchvision's FasterRCNN or SSD, or a "
            "state_dict"
        )
    for part, kind in wanted:
        if type(part) is not kind:
            raise CheckpointError(
                f"{path}: its {kind.__name__} is a {type(part).__name__}, whose arithmetic edgedet does not know; "
                "expected torchvision's own"
            )
    return family


def known_weights(path: Path, checkpoint: Checkpoint) -> str | None:
    """The name of torchvision's published weights, where the file is theirs byte for byte.

    Their file names end in the first eight digits of the file's SHA-256.
    """
    if checkpoint.num_classes != 91:
        return None
    try:
        published: Any = torchvision.models.get_model_weights(checkpoint.arch)
    except ValueError:  # not one of torchvision's
        return None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return next((str(entry) for entry in published if entry.url.endswith(f"-{digest[:8]}.pth")), None)


def _frozen_eps(checkpoint: Checkpoint) -> float:
    """torchvision runs its COCO_V1 weights, and what is fine-tuned from them, with 0; with a variance of 0 that
    would divide by nothing."""
    from_coco = checkpoint.arch == "fasterrcnn_resnet50_fpn" and smallest_variance(checkpoint.state_dict) > 0
    return 0.0 if from_coco else 1e-5


def _assumed(
    family: Family, module: nn.Module, stated: TrainingSettings, checkpoint: Checkpoint
) -> Iterator[Assumption]:
    """What ``stated`` leaves out, with the values ``module`` has."""
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
    if has_frozen_norms(module):
        groups.append(("BatchNorm's eps", ("norm_eps",), f"{has.norm_eps:g}"))
    for what, names, value in groups:
        missing = unstated(*names)
        if missing is not None:
            partly = missing != ", ".join(names)
            yield Assumption(what, f"{missing} as torchvision has it" if partly else value, missing)
    if checkpoint.named_by != "stated":
        value = "torchvision's COCO list" if checkpoint.named_by == "coco" else ", ".join(checkpoint.names[:3])
        yield Assumption("class names", value + (", ..." if len(checkpoint.names) > 3 else ""), "classes")


def _numbers(values: Any) -> str:
    return " ".join(f"{value:.4g}" for value in values or ())
