"""Checkpoints from training frameworks: which detector they are of, how many classes it has and their names."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.ssd import SSD

from edgedet.artifacts.class_lists import without_background
from edgedet.errors import CheckpointError, UntrustedCheckpointError

from ..families.architecture_from_tensors import class_count, guess_architecture, module_class_count
from ..families.torchvision_architectures import ARCHITECTURES
from .class_names import (
    background_place,
    complete_names,
    renamed_note,
    require_same_order,
    stated_names,
)
from .file import read_content
from .foreign import recognise
from .inert_objects import Inert
from .module_tree import class_path
from .state_dict import entries_of, find_weights, is_detector

SETTINGS = ("args", "hyper_parameters", "hparams", "config", "cfg")
"""Keys under which training scripts keep their arguments, the architecture's name among them."""

PERSON_ALONE = 2
"""Classes, background included, of torchvision's Keypoint R-CNN."""


@dataclass(frozen=True)
class Checkpoint:
    """A torchvision-style detector's tensors and what is known about them.

    ``num_classes`` counts the background, as torchvision does; ``names`` does not hold it. ``notes``: what was
    chosen among several, or left out, in words. ``background``: where the class list itself has it, None where it
    does not say. ``named_by``: who named the classes. ``module``: torchvision's detector itself, where it was saved
    whole and its code was trusted; where it was not, ``inert`` stands for it.
    """

    path: Path
    arch: str
    num_classes: int
    names: tuple[str, ...]
    state_dict: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()
    background: Literal["first", "last"] | None = None
    named_by: Literal["stated", "coco", "nobody"] = "stated"
    module: nn.Module | None = None
    inert: Inert | None = None


def load_checkpoint(
    path: str | Path,
    *,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    trust: Literal["weights", "code"] = "weights",
) -> Checkpoint:
    """Read a torchvision-style checkpoint: a dict (``arch``, ``num_classes``, ``classes``, ``state_dict``), a bare
    state_dict, or one that a training framework wrapped (:mod:`edgedet.export.checkpoints.state_dict`). The
    architecture is recognised by the tensors where only one can have them.

    ``arch`` and ``classes`` (without background) override what the file says. ``trust="code"`` unpickles a file
    that carries code, which runs it; otherwise only tensors and plain values are read from it.

    Raises:
        CheckpointError: unreadable file, unknown architecture, or a class count that does not fit the tensors.
        UntrustedCheckpointError: the file cannot be read without its code and ``trust`` is ``"weights"``.
        MissingDependencyError: a safetensors file, and no package to read it.
    """
    path = Path(path)
    return interpret(path, read_content(path, trust=trust), arch=arch, classes=classes)


def interpret(
    path: Path,
    content: Any,
    *,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    background: Literal["first", "last"] | None = None,
    section_classes: Sequence[str] = (),
) -> Checkpoint:
    """Find architecture, class count and tensors in what a file holds; as :func:`load_checkpoint`.

    ``section_classes``: what its ``detector`` section names, which comes before its other lists.
    """
    if is_ultralytics(content):
        raise CheckpointError(f"{path} is an Ultralytics checkpoint; it has no torchvision architecture")
    described = entries_of(content)
    weights = find_weights(content, path)
    state = weights.tensors
    holder = class_path(weights.holder)
    module = weights.holder if isinstance(weights.holder, FasterRCNN | SSD) else None
    if module is not None:
        arch = guess_architecture(state) or type(module).__name__
    arch = arch or _stated_architecture(described)
    if arch is None:
        arch = guess_architecture(state) if recognise(state, holder) is None else None
    if arch is None:
        raise _no_architecture(path, state, holder)
    if arch not in ARCHITECTURES and module is None:
        raise CheckpointError(
            f"{path}: unknown architecture {arch!r}; edgedet knows {', '.join(sorted(ARCHITECTURES))}, "
            "YOLOX from ONNX and Ultralytics models"
        )
    broken = next((name for name, value in state.items() if not bool(torch.isfinite(value).all())), None)
    if broken is not None:
        raise CheckpointError(
            f"{path}: {broken} holds NaN or infinite numbers, so what it finds means nothing; the training "
            "diverged, or float16 overflowed when it was saved: use an earlier checkpoint"
        )
    num_classes = class_count(arch, state) if module is None else module_class_count(module)
    stated = described.get("num_classes")
    if stated is not None and (isinstance(stated, bool) or not isinstance(stated, int | float)):
        raise CheckpointError(
            f"{path} says num_classes is {short(stated)}, a {type(stated).__name__}; expected a number: save it "
            "again, or without it"
        )
    if stated is not None and stated != num_classes:
        raise CheckpointError(
            f"{path} says num_classes is {stated}, but its class layer has {num_classes} outputs (background "
            "included); the file was put together from two trainings: save it again"
        )
    listed = stated_names(described, path) or _names_in_arguments(described, path, num_classes)
    require_same_order(section_classes, listed, path)
    own = tuple(section_classes) or listed
    names = tuple(classes) if classes else own
    coco = num_classes == 91
    if not names and arch.startswith("keypointrcnn") and num_classes == PERSON_ALONE:
        # Of COCO's classes only persons have keypoints, and torchvision's weights know no other.
        names, coco = ("person",), True
    named = bool(classes or own)
    require_same_order(names, own, path)
    renamed = renamed_note(names, own)
    place = background_place(names, num_classes, path)
    if place is not None and background not in (None, place):
        raise CheckpointError(
            f"{path}: its class list has the background {place}, but background is stated to be {background}; one "
            "of the two is wrong"
        )
    return Checkpoint(
        path,
        arch,
        num_classes,
        complete_names(names, num_classes, path, place),
        state,
        (*weights.notes, *renamed),
        background=place,
        named_by="stated" if named else "coco" if coco else "nobody",
        module=module,
        inert=weights.holder if isinstance(weights.holder, Inert) else None,
    )


def is_ultralytics(content: Any) -> bool:
    """Whether this is what Ultralytics saves, with its code: a dict with whole modules of its own."""
    if not isinstance(content, Mapping):
        return False
    model = content.get("ema") or content.get("model")
    return isinstance(model, nn.Module) and type(model).__module__.startswith("ultralytics.")


def _no_architecture(path: Path, state: Mapping[str, Tensor], holder: str | None) -> CheckpointError:
    if holder is not None and holder.startswith("ultralytics."):
        return UntrustedCheckpointError(
            f"{path} is a pickle that carries code ({holder}), and loading it would run that code; Ultralytics "
            "saves whole modules, so export it to ONNX with that package, or add --trust-checkpoint if you trust "
            "whoever made the file"
        )
    known = recognise(state, holder)
    if known is not None:
        what, cure = known
        return CheckpointError(f"{path} is {what}, not one of torchvision's detectors; {cure}")
    if "backbone.28.weight" in state and "backbone.0.weight" in state:
        return CheckpointError(
            f"{path} has VGG16's layers as backbone; whether its last pooling is among them, tensors do not tell: "
            "add --arch fasterrcnn_vgg16_features (vgg16().features whole, stride 32) or --arch "
            "fasterrcnn_vgg16_features_conv5 (without the last pooling, stride 16)"
        )
    if is_detector(state):
        return CheckpointError(
            f"{path} does not say which architecture it is, and its tensors fit several or none; "
            f"add --arch, one of: {', '.join(sorted(ARCHITECTURES))}; commands without that option need it in the "
            'file: torch.save({"arch": NAME, "state_dict": model.state_dict()}, PATH)'
        )
    first = ", ".join(list(state)[:3])
    return CheckpointError(
        f"{path} holds the tensors of no detector that edgedet knows ({len(state)} tensors: {first:.120}, ...); "
        f"expected those of one of {', '.join(sorted(ARCHITECTURES))}"
    )


def _stated_architecture(described: Mapping[str, Any]) -> str | None:
    """From the file itself, or from what its training script was called with, where that is a name known here."""
    stated = described.get("arch")
    if isinstance(stated, str) and stated:
        return stated
    for key in SETTINGS:
        settings = described.get(key)
        entries = vars(settings) if isinstance(settings, argparse.Namespace) else entries_of(settings)
        for name in ("arch", "model", "model_name", "architecture"):
            value = entries.get(name)
            if isinstance(value, str) and value in ARCHITECTURES:
                return value
    return None


def _names_in_arguments(described: Mapping[str, Any], path: Path, num_classes: int) -> tuple[str, ...]:
    """What a training script was told, where it is a name for each class, with the background or without."""
    for key in SETTINGS:
        values = described.get(key)
        entries = vars(values) if isinstance(values, argparse.Namespace) else entries_of(values)
        try:
            names = stated_names({name: each for name, each in entries.items() if not isinstance(each, str)}, path)
        except CheckpointError:
            continue  # the name means something else there
        if len(names) == num_classes or len(without_background(names)) == len(names) == num_classes - 1:
            return names
    return ()
