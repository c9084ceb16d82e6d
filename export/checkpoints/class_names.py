"""Names of classes: from a checkpoint, from who exports it, and whether both mean the same order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import repr as short
from typing import Any, Literal

from edgedet.artifacts.class_lists import BACKGROUND, without_background
from edgedet.errors import CheckpointError

KEYS = (
    "classes", "names", "class_names", "labels", "class_to_idx", "id2label", "idx_to_class", "idx2label",
    "label2id", "label_map", "categories", "CLASSES",
)  # fmt: skip
"""Keys under which checkpoints keep the names of their classes; the first with any is taken."""


def stated_names(described: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """Names in the order of their numbers, as a checkpoint says them under one of :data:`KEYS`.

    Raises:
        CheckpointError: ``classes`` are no names; two keys have the same names in different orders.
    """
    from .inert_objects import array_values

    found: dict[str, tuple[str, ...]] = {}
    for key in KEYS:
        value = array_values(described.get(key))
        names = _in_order(value)
        if names:
            found[key] = names
        elif key == "classes" and value:
            raise CheckpointError(
                f"{path}: its classes are a {type(value).__name__} ({short(value)}); expected a list of names, or "
                "give them with --classes"
            )
    first = next(iter(found), None)
    if first is None:
        return ()
    for key, names in found.items():
        moved = moved_class(names, found[first])
        if moved is not None:
            raise CheckpointError(
                f"{path}: its {first} and its {key} have the classes in different orders ({moved}); save it again "
                "with the right ones"
            )
    return found[first]


def _in_order(value: Any) -> tuple[str, ...]:
    """From a list of names, from number to name, from name to number, or from COCO's categories; else nothing."""
    if isinstance(value, Mapping) and value and all(_number(index) is not None for index in value):
        value = [value[index] for index in sorted(value, key=lambda index: _number(index) or 0)]
    elif isinstance(value, Mapping) and all(_number(index) is not None for index in value.values()):
        value = sorted(value, key=lambda name: _number(value[name]) or 0)
    elif isinstance(value, list | tuple) and value and all(_is_category(entry) for entry in value):
        value = [entry["name"] for entry in sorted(value, key=lambda entry: entry["id"])]
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value):
        return tuple(value)
    return ()


def _is_category(entry: Any) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("id"), int) and isinstance(entry.get("name"), str)


def _number(index: Any) -> int | None:
    """A class's number as it is a key: JSON makes texts of them."""
    if isinstance(index, str) and index.isdecimal() and len(index) < 9:
        return int(index)
    return index if isinstance(index, int) else None


def require_same_order(given: Sequence[str], own: Sequence[str], path: Path) -> None:
    """Names may be replaced by others; one that the file has too, at another place, would swap the labels of boxes.

    Raises:
        CheckpointError: one of ``given`` is in ``own`` with another number.
    """
    moved = moved_class(given, own)
    counts = [len(without_background(names)) for names in (own, given)]
    if moved is not None and counts[0] != counts[1]:
        raise CheckpointError(
            f"{path} has {counts[0]} classes, but {counts[1]} names were given; one name per class"
        )
    if moved is not None:
        raise CheckpointError(
            f"{path} has its classes in another order than they were given: {moved}; leave the names out, or save "
            "the checkpoint with the right ones"
        )


def moved_class(given: Sequence[str], own: Sequence[str]) -> str | None:
    """The first place at which ``given`` has a name that ``own`` has elsewhere, in words; None where there is none.

    Spelling does not matter: case, spaces, underscores, hyphens, a plural's s. The background is left out.

    >>> moved_class(("WBC", "RBC", "Platelet"), ("RBC", "WBC", "Platelets"))
    "number 0 is 'RBC' in the file and 'WBC' in what was given"
    >>> moved_class(("red cell", "WBC", "Platelet"), ("RBC", "WBC", "Platelets"))
    """
    first, second = without_background(given), without_background(own)
    for fold in (_spelling, _singular):
        spelt, known = ([fold(name) for name in names] for names in (first, second))
        # Where two classes are one when so folded, neither tells.
        places = {name: index for index, name in enumerate(known) if known.count(name) == 1}
        for index, name in enumerate(spelt):
            if places.get(name, index) == index or spelt.count(name) > 1:
                continue
            there = repr(second[index]) if index < len(second) else "no class"
            return f"number {index} is {there} in the file and {first[index]!r} in what was given"
    return None


def renamed_note(given: Sequence[str], own: Sequence[str]) -> tuple[str, ...]:
    """A line that says which names of ``own`` were replaced; empty where none was."""
    pairs = zip(without_background(own), without_background(given), strict=False)
    changed = [f"{old} to {new}" for old, new in pairs if old != new]
    more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
    return (f"classes renamed: {', '.join(changed[:5])}{more}",) if changed else ()


def _spelling(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.casefold())


def _singular(name: str) -> str:
    folded = _spelling(name)
    return folded[:-1] if len(folded) > 3 and folded.endswith("s") and not folded.endswith("ss") else folded


def background_place(names: Sequence[str], num_classes: int, path: Path) -> Literal["first", "last"] | None:
    """Place of the background in a class list, None where the list leaves it out.

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


def complete_names(
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


def coco_names() -> tuple[str, ...]:
    """The 90 categories of torchvision's COCO models, unused ids included."""
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    categories: Sequence[str] = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return tuple(categories[1:])
