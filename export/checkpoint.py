"""Checkpoints from training frameworks, read without running code from them."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.ssd import SSD

from edgedet.errors import CheckpointError, UntrustedCheckpointError
from edgedet.export.architectures import ARCHITECTURES, class_count, guess_architecture, module_class_count

STATE_KEYS = ("state_dict", "model_state_dict", "model", "ema_state_dict", "weights")
"""Where training scripts keep the tensors, torchvision's reference scripts (``model``) among them."""

BACKGROUND = {"__background__", "background", "bg", "_background_"}


@dataclass(frozen=True)
class Checkpoint:
    """A torchvision-style detector's tensors and what is known about them.

    ``num_classes`` counts the background, as torchvision does; ``names`` does not hold it. ``background``: where
    the class list itself has it, None where it does not say. ``named_by``: who named the classes. ``module``: the
    detector itself, of a file that holds it whole.
    """

    path: Path
    arch: str
    num_classes: int
    names: tuple[str, ...]
    state_dict: Mapping[str, Tensor]
    background: Literal["first", "last"] | None = None
    named_by: Literal["stated", "coco", "nobody"] = "stated"
    module: nn.Module | None = None


def load_checkpoint(
    path: str | Path,
    *,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    trust: Literal["weights", "code"] = "weights",
) -> Checkpoint:
    """Read a torchvision-style checkpoint: a dict (``arch``, ``num_classes``, ``classes``, ``state_dict``) or a
    bare state_dict, whose architecture is recognised by its tensors where only one can have them.

    ``arch`` and ``classes`` (without background) override what the file says. ``trust="code"`` unpickles a file
    that carries code, which runs it.

    Raises:
        CheckpointError: unreadable file, unknown architecture, or a class count that does not fit the tensors.
        UntrustedCheckpointError: the file carries code and ``trust`` is ``"weights"``.
    """
    path = Path(path)
    return interpret(path, read_pickle(path, trust=trust), arch=arch, classes=classes)


def interpret(
    path: Path,
    content: Any,
    *,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    background: Literal["first", "last"] | None = None,
) -> Checkpoint:
    """Find architecture, class count and tensors in an unpickled object; as :func:`load_checkpoint`."""
    if is_ultralytics(content):
        raise CheckpointError(f"{path} is an Ultralytics checkpoint; it has no torchvision architecture")
    described: Mapping[str, Any] = content if isinstance(content, Mapping) else {}
    state = _state_dict(content, path)
    module = _whole_module(content)
    arch = arch or _text(described.get("arch"))
    if module is not None:
        arch = guess_architecture(state) or type(module).__name__
    if arch is None:
        arch = guess_architecture(state)
        if arch is None:
            raise CheckpointError(
                f"{path} does not say which architecture it is, and its tensors fit several or none; "
                f"add --arch, one of: {', '.join(sorted(ARCHITECTURES))}"
            )
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
            f"{path} says num_classes is {stated!r:.60}, a {type(stated).__name__}; expected a number: save it "
            "again, or without it"
        )
    if stated is not None and stated != num_classes:
        raise CheckpointError(
            f"{path} says num_classes is {stated}, but its class layer has {num_classes} outputs (background "
            "included); the file was put together from two trainings: save it again"
        )
    own = _class_names(described, path)
    names = tuple(classes) if classes else own
    require_same_order(names, own, path)
    place = background_place(names, num_classes, path)
    if place is not None and background not in (None, place):
        raise CheckpointError(
            f"{path}: its class list has the background {place}, but background is stated to be {background}; one "
            "of the two is wrong"
        )
    named_by: Literal["stated", "coco", "nobody"] = "stated" if names else "coco" if num_classes == 91 else "nobody"
    names = _check_names(names, num_classes, path, place)
    return Checkpoint(path, arch, num_classes, names, state, place, named_by, module)


def read_pickle(path: Path, *, trust: Literal["weights", "code"] = "weights") -> Any:
    """Unpickle a checkpoint: tensors and plain containers only, unless its code is trusted.

    Raises:
        CheckpointError: missing, empty, or not a PyTorch file.
        UntrustedCheckpointError: it carries code and ``trust`` is ``"weights"``.
    """
    if not path.exists():
        raise CheckpointError(f"no such file: {path}")
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; expected a checkpoint file (.pt, .pth)")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty; expected a checkpoint written by torch.save")
    try:
        # Training scripts put their parsed arguments beside the tensors; a Namespace only holds values.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            # Of pickle protocols; whether the file can be read is said below.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=trust == "weights")
    except pickle.UnpicklingError as error:
        if trust == "weights" and _looks_like_pickle(path):
            culprit = _culprit(str(error))
            cure = "save only the weights (torch.save(model.state_dict(), ...))"
            if culprit is None:
                raise UntrustedCheckpointError(
                    f"{path} is a pickle that torch.load cannot read without running whatever code it may carry; "
                    f"{cure}, or add --trust-checkpoint if you trust whoever made the file"
                ) from error
            if culprit.startswith("ultralytics."):
                cure = "Ultralytics saves whole modules, so export it to ONNX with that package"
            raise UntrustedCheckpointError(
                f"{path} is a pickle that carries code ({culprit}), and loading it would run that code; {cure}, "
                "or add --trust-checkpoint if you trust whoever made the file"
            ) from error
        raise _unreadable(path, error) from error
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"{path} needs the package {error.name!r} to be unpickled, which is not installed; install it, or save "
            "only the weights"
        ) from error
    except Exception as error:  # torch.load lets through whatever its readers raise on damaged files
        raise _unreadable(path, error) from error


def is_ultralytics(content: Any) -> bool:
    """Whether an unpickled object is what Ultralytics saves: a dict with whole modules of its own."""
    if not isinstance(content, Mapping):
        return False
    model = content.get("ema") or content.get("model")
    return isinstance(model, nn.Module) and type(model).__module__.startswith("ultralytics.")


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    # What its readers say of other files ("101", "In PyTorch 2.6, we changed ...") leads nobody to the cause.
    reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
    return CheckpointError(
        f"{path} is not a checkpoint that PyTorch can read{reason}; expected a file written by torch.save "
        "(a truncated download is the usual cause)"
    )


def _looks_like_pickle(path: Path) -> bool:
    """Zip archives of torch.save, and the older bare pickles (protocol 2 or later)."""
    with path.open("rb") as file:
        return zipfile.is_zipfile(path) or file.read(1) == b"\x80"


def _culprit(message: str) -> str | None:
    """The object PyTorch names in its long refusal; None where it names none."""
    found = re.search(r"GLOBAL:?\s+([\w.]+)", message)
    return found.group(1) if found else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _state_dict(content: Any, path: Path) -> Mapping[str, Tensor]:
    """The mapping of tensors, wherever the training script put it, without DataParallel's ``module.`` prefix."""
    found: Any = content
    if isinstance(content, nn.Module):
        found = content.state_dict()
    elif isinstance(content, Mapping):
        for key in STATE_KEYS:
            inner = content.get(key)
            if isinstance(inner, nn.Module):
                inner = inner.state_dict()
            if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values()):
                found = inner
                break
    if not isinstance(found, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}; expected a state_dict, or a dict with the keys arch, "
            "num_classes, classes and state_dict"
        )
    state = {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not state:
        raise CheckpointError(
            f"{path} holds no tensors; expected a state_dict under one of {', '.join(STATE_KEYS)}"
        )
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def _class_names(described: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """Names in the order of their numbers: from a list, from number to name, or from name to number."""
    for key in ("classes", "names", "class_names", "labels"):
        value = described.get(key)
        if isinstance(value, Mapping) and all(isinstance(index, int) for index in value):
            value = [value[index] for index in sorted(value)]
        elif isinstance(value, Mapping) and all(isinstance(index, int) for index in value.values()):
            value = sorted(value, key=value.__getitem__)
        if isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value):
            return tuple(value)
        if key == "classes" and value:
            raise CheckpointError(
                f"{path}: its classes are a {type(value).__name__} ({value!r:.60}); expected a list of names, or "
                "give them with --classes"
            )
    return ()


def require_same_order(given: Sequence[str], own: Sequence[str], path: Path) -> None:
    """Names may be replaced by others; the same ones in another order would only swap the labels of boxes.

    Raises:
        CheckpointError: ``given`` is a rearrangement of ``own``.
    """
    first, second = (tuple(name for name in names if name.lower() not in BACKGROUND) for names in (given, own))
    if first != second and sorted(first) == sorted(second):
        where = next(index for index, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1])
        raise CheckpointError(
            f"{path} has its classes in another order than they were given: number {where} is {second[where]!r} "
            f"in the file and {first[where]!r} in what was given; leave the names out, or save the checkpoint with "
            "the right ones"
        )


def background_place(names: Sequence[str], num_classes: int, path: Path) -> Literal["first", "last"] | None:
    """Where a class list has the background, None where it leaves it out.

    Raises:
        CheckpointError: it is in the middle, or there twice.
    """
    places = [index for index, name in enumerate(names) if name.lower() in BACKGROUND]
    if not places or len(names) != num_classes:
        return None
    if places == [0]:
        return "first"
    if places == [len(names) - 1]:
        return "last"
    raise CheckpointError(
        f"{path}: its class list has the background as number {', '.join(map(str, places))} of {len(names)}; "
        "expected it once, first or last"
    )


def _check_names(
    names: tuple[str, ...], num_classes: int, path: Path, background: Literal["first", "last"] | None
) -> tuple[str, ...]:
    """Names for every class but the background."""
    if not names:
        if num_classes == 91:
            return coco_names()
        return tuple(f"class_{index}" for index in range(1, num_classes))
    if background is not None:
        names = names[1:] if background == "first" else names[:-1]
    if len(names) != num_classes - 1:
        raise CheckpointError(
            f"{path} has {num_classes - 1} classes (and background), but {len(names)} names were given "
            f"({', '.join(names[:5])}{', ...' if len(names) > 5 else ''}); give one per class, background left out"
        )
    return names


def _whole_module(content: Any) -> FasterRCNN | SSD | None:
    """The torchvision detector in a file that holds it whole."""
    found = content.get("model") if isinstance(content, Mapping) else content
    return found if isinstance(found, FasterRCNN | SSD) else None


def coco_names() -> tuple[str, ...]:
    """The 90 categories of torchvision's COCO models, unused ids included."""
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    categories: Sequence[str] = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return tuple(categories[1:])
