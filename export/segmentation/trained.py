"""A trained network for semantic segmentation out of a checkpoint: what of it is stated, and what is assumed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torchvision
from torch import nn

from edgedet.artifacts.class_lists import BACKGROUND, class_list
from edgedet.errors import CheckpointError, UntrustedCheckpointError
from edgedet.files import file_sha256

from ..checkpoints.class_names import renamed_note, require_same_order, stated_names
from ..checkpoints.file import read_content
from ..checkpoints.inert_objects import Inert
from ..checkpoints.saved_whole import require_alike
from ..checkpoints.state_dict import Weights, entries_of, find_weights
from ..families.torchvision_architectures import ARCHITECTURES as DETECTORS
from ..training.assumptions import Assumption
from ..training.settings import (
    NOTHING_STATED,
    TrainingSettings,
    beside,
    read_toml,
    section_of_checkpoint,
)
from .architectures import ARCHITECTURES, MODULE, build, class_count, guess_architecture
from .graph import Preparation, is_torchvision, scores_of

IMAGENET: tuple[tuple[float, float, float], ...] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PRESET_SIZE = 520
"""Shortest side in torchvision's presets."""
OWN = ("arch", "classes", "background", "colour", "image_mean", "image_std", "min_size")
"""Settings that such a network has."""
TWO_WAYS = {
    "fcn8s_vgg16": "added as they are (pytorch-fcn's FCN8sAtOnce, whose tensors have the same names, scales them "
    "first: export such a one whole, with --arch fcn_module)",
}
"""Architectures whose tensors another forward has, too."""
PROBE = 256
"""Side of a picture that a network of the user's own is tried on."""


@dataclass(frozen=True)
class TrainedSegmenter:
    """A network in evaluation mode and what is known of it.

    Attributes:
        path: file of the checkpoint.
        arch: name of the architecture.
        family: on the card.
        module: the network.
        names: class names, by label, with the background.
        preparation: what it was trained to see; the size is None where nothing says it.
        min_size: shortest side of a picture in pixels; None where nothing says it and nothing is usual.
        assumed: what nothing said.
        notes: for the report.
        weights: what was chosen among the file's tensors, in words.
    """

    path: Path
    arch: str
    family: Literal["fcn", "lraspp"]
    module: nn.Module
    names: tuple[str, ...]
    stated: TrainingSettings
    min_size: int | None
    multiple: int
    assumed: tuple[Assumption, ...]
    notes: tuple[str, ...]
    weights: tuple[str, ...]

    def preparation(self, min_size: int) -> Preparation:
        """What it was trained to see, where the shortest side has ``min_size`` pixels."""
        return Preparation(
            min_size,
            self.stated.image_mean or IMAGENET[0],
            self.stated.image_std or IMAGENET[1],
            self.stated.colour or "RGB",
            self.multiple,
        )


def load_segmenter(
    path: Path,
    *,
    content: Any = None,
    arch: str | None = None,
    classes: tuple[str, ...] | None = None,
    given: TrainingSettings = NOTHING_STATED,
    trust: Literal["weights", "code"] = "weights",
) -> TrainedSegmenter | None:
    """Read a checkpoint and build its network; None where it holds none that is known.

    ``content``: the file, where it was unpickled already. ``arch``, ``classes`` and ``given`` come before what a
    TOML file of the same name beside it says, and that before what the checkpoint says itself.

    Raises:
        CheckpointError: tensors, names or settings that do not fit the architecture.
        UsageError: the TOML file beside it cannot be read.
    """
    if arch in DETECTORS:
        return None
    content = read_content(path, trust=trust) if content is None else content
    try:
        weights = find_weights(content, path)
    except CheckpointError:
        if arch in ARCHITECTURES or arch == MODULE:
            raise
        return None  # which is said where it is read as a detector
    entries = entries_of(content)
    said = entries.get("arch")
    arch = arch or given.arch or (said if isinstance(said, str) and said in ARCHITECTURES else None)
    guessed = arch is None
    arch = guess_architecture(weights.tensors) if arch is None else arch
    if arch != MODULE and arch not in ARCHITECTURES:
        return None
    toml = beside(path)
    described = given if toml is None else given.over(read_toml(toml))
    own = section_of_checkpoint(entries, where=str(path))
    stated = described.over(own)
    notes = [] if toml is None else [f"settings of the network from {toml.name}"]
    changed = described.contradictions(own)
    if changed:
        notes.append(f"the checkpoint says otherwise, and was overruled: {', '.join(changed)}")
    strange = next((name for name in stated.stated() if name not in OWN), None)
    if strange is not None:
        raise CheckpointError(f"{strange} is no setting of {arch}; its own are {', '.join(OWN)}")
    module, family = _module(arch, weights, path)
    count = _class_count(module, arch, weights)
    listed = stated_names(entries, path)
    names, named, more = _names(classes or stated.classes, listed, count, stated, path)
    known = _known_weights(path, arch) if count == 21 else None
    if known is not None:
        notes.append(f"these are torchvision's own weights {known}: everything about them is known")
    framework = arch in ARCHITECTURES and ARCHITECTURES[arch].framework
    size = stated.min_size or (PRESET_SIZE if framework else None)
    assumed = () if known is not None else tuple(_assumed(stated, names, named, size))
    if guessed and arch in TWO_WAYS:
        assumed = (*assumed, Assumption("skips", TWO_WAYS[arch], "--arch"))
    return TrainedSegmenter(
        path,
        type(module).__name__ if arch == MODULE else arch,
        family,
        module.eval(),
        names,
        stated,
        size,
        ARCHITECTURES[arch].multiple if arch in ARCHITECTURES else 1,
        assumed,
        (*notes, *more),
        weights.notes,
    )


def _module(arch: str, weights: Weights, path: Path) -> tuple[nn.Module, Literal["fcn", "lraspp"]]:
    """The network: rebuilt of its tensors, or the one that was saved whole where its code was trusted.

    Raises:
        CheckpointError: tensors that are no numbers, or a module that is not what was asked for.
    """
    broken = next((name for name, value in weights.tensors.items() if not bool(torch.isfinite(value).all())), None)
    if broken is not None:
        raise CheckpointError(
            f"{path}: {broken} holds NaN or infinite numbers, so what it finds means nothing; the training "
            "diverged, or float16 overflowed when it was saved: use an earlier checkpoint"
        )
    holder = weights.holder
    if arch == MODULE:
        if not isinstance(holder, nn.Module):
            what = "its code is not run without --trust-checkpoint" if isinstance(holder, Inert) else "it has none"
            raise UntrustedCheckpointError(
                f"--arch {MODULE} exports the module that is saved in {path}, and {what}: add --trust-checkpoint "
                f"if you trust whoever made the file, or give a state_dict of {', '.join(ARCHITECTURES)}"
            )
        return holder.eval(), "fcn"
    family = ARCHITECTURES[arch].family
    if isinstance(holder, nn.Module):
        if not is_torchvision(holder):
            raise CheckpointError(
                f"{path} holds a whole {type(holder).__name__}, which is not torchvision's {arch}: add --arch "
                f"{MODULE} to export it as it is, or save its state_dict"
            )
        _require_plain(holder, path)
        return holder.eval(), family
    module = build(arch, weights.tensors)
    if isinstance(holder, Inert):
        require_alike(holder, module, NOTHING_STATED, path=path)
    return module, family


def _require_plain(module: nn.Module, path: Path) -> None:
    """Hooks and functions put into a module do not come into a graph.

    Raises:
        CheckpointError: there is one.
    """
    for part in module.modules():
        changed = [name for name in vars(part) if callable(getattr(type(part), name, None))]
        if part._forward_hooks or part._forward_pre_hooks or changed:
            what = f"a {changed[0]} of its own" if changed else "a hook"
            raise CheckpointError(
                f"{path}: its {type(part).__name__} has {what}, which a graph does not have; save it without"
            )


def _class_count(module: nn.Module, arch: str, weights: Weights) -> int:
    if arch in ARCHITECTURES:
        return class_count(arch, weights.tensors)
    try:
        with torch.no_grad():
            return int(scores_of(module(torch.zeros(1, 3, PROBE, PROBE))).shape[1])
    except CheckpointError:
        raise
    except Exception as error:  # whatever the user's own code raises
        raise CheckpointError(
            f"the module does not take pictures float32 [1, 3, {PROBE}, {PROBE}]: {error}"
        ) from error


def _names(
    given: tuple[str, ...] | None, listed: tuple[str, ...], count: int, stated: TrainingSettings, path: Path
) -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
    """Names of every class; whether somebody stated them; and what was done to them, for the report.

    Raises:
        CheckpointError: more or fewer than there are classes, or in another order than the file's.
    """
    require_same_order(given or (), listed, path)
    names = given or listed
    notes = renamed_note(names, listed) if given else ()
    if not names:
        if count == 21:
            return ("background", *class_list("voc")), False, notes
        return tuple(f"class_{index}" for index in range(count)), False, notes
    if len(names) == count:
        return names, True, notes
    without = not any(name.lower() in BACKGROUND for name in names)
    if len(names) == count - 1 and without:
        last = stated.background == "last"
        place = "last" if last else "first"
        named = (*names, "background") if last else ("background", *names)
        return named, True, (*notes, f"{count} classes and {len(names)} names: the {place} class is the background")
    raise CheckpointError(
        f"{path} has {count} classes, background included, but {len(names)} names were given "
        f"({', '.join(names[:5])}{', ...' if len(names) > 5 else ''}); give one per class"
    )


def _known_weights(path: Path, arch: str) -> str | None:
    """The name of torchvision's published weights, where the file is theirs byte for byte."""
    try:
        published: Any = torchvision.models.get_model_weights(arch)
    except ValueError:  # not one of torchvision's
        return None
    digest = file_sha256(path)
    return next((str(entry) for entry in published if entry.url.endswith(f"-{digest[:8]}.pth")), None)


def _assumed(
    stated: TrainingSettings, names: tuple[str, ...], named: bool, size: int | None
) -> Iterator[Assumption]:
    if stated.min_size is None and size is not None:
        yield Assumption("input size", f"shortest side {size}, torchvision's preset", "min_size")
    missing = [name for name in ("image_mean", "image_std") if getattr(stated, name) is None]
    if missing:
        yield Assumption("mean/std", "ImageNet's, torchvision's preset", ", ".join(missing))
    if stated.colour is None:
        yield Assumption("colour", "RGB", "colour")
    if not named:
        value = (
            "torchvision's list of Pascal VOC" if len(names) == 21 else f"invented ({', '.join(names[:2])}, ...)"
        )
        yield Assumption("class names", value, "classes")
