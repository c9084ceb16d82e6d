"""A detector that was saved whole and rebuilt without its code: what of it is taken over, and what must be alike.

Tensors are loaded and training's settings stated before (:mod:`edgedet.export.checkpoints.inert_settings`). A
module has more that its boxes depend on: thresholds and counts, which are taken over here, and the arithmetic of
every part (strides, activations, poolings), which is compared. What differs is refused: it is in the file, so
nothing may be assumed in its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgedet.errors import CheckpointError, UntrustedCheckpointError

from ..training.settings import TrainingSettings
from .inert_objects import Inert, Named, array_values
from .inert_settings import ANCHORS, BOX_CODER, DEFAULT_BOXES, HOME, NORMS, POOL, TRANSFORM
from .module_tree import children, class_path, part_of

SSD = HOME + "ssd.SSD"
PROPOSALS = HOME + "rpn.RegionProposalNetwork"
HEADS = HOME + "roi_heads.RoIHeads"


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_length(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_counts(value: Any) -> bool:
    return isinstance(value, Mapping) and _is_count(value.get("testing"))


FINAL: dict[str, Callable[[Any], bool]] = {
    "score_thresh": _is_share,
    "nms_thresh": _is_share,
    "detections_per_img": _is_count,
}
TAKEN_OVER: dict[str, dict[str, Callable[[Any], bool]]] = {
    SSD: FINAL | {"topk_candidates": _is_count},
    HEADS: FINAL,
    PROPOSALS: {
        "score_thresh": _is_share,
        "nms_thresh": _is_share,
        "min_size": _is_length,
        "_pre_nms_top_n": _is_counts,
        "_post_nms_top_n": _is_counts,
    },
    TRANSFORM: {"size_divisible": _is_count},
    BOX_CODER: {"bbox_xform_clip": _is_number},
    **{norm: {"eps": _is_length} for norm in NORMS},
}
"""Class to the attributes that are put into the rebuilt module, and what they have to be."""

STATED = {
    (TRANSFORM, "min_size"): ("min_size",),
    (TRANSFORM, "max_size"): ("max_size",),
    (TRANSFORM, "image_mean"): ("image_mean",),
    (TRANSFORM, "image_std"): ("image_std",),
    (TRANSFORM, "fixed_size"): ("input_size",),
    (ANCHORS, "sizes"): ("anchor_sizes",),
    (ANCHORS, "aspect_ratios"): ("anchor_ratios",),
    (ANCHORS, "cell_anchors"): ("anchor_sizes", "anchor_ratios"),
    (DEFAULT_BOXES, "aspect_ratios"): ("default_box_ratios",),
    (DEFAULT_BOXES, "scales"): ("default_box_scales",),
    (DEFAULT_BOXES, "steps"): ("default_box_steps",),
    (DEFAULT_BOXES, "clip"): ("default_box_clip",),
    (DEFAULT_BOXES, "_wh_pairs"): ("default_box_scales", "default_box_ratios"),
    (POOL, "featmap_names"): ("pool_levels",),
    (POOL, "output_size"): ("pool_size",),
    (POOL, "sampling_ratio"): ("pool_sampling_ratio",),
    (POOL, "canonical_scale"): ("pool_canonical_scale",),
    (POOL, "canonical_level"): ("pool_canonical_level",),
}
"""Attributes that settings decide: who states one overrules them."""

SAID_BY_SETTINGS = ("anchor_generator", "rpn.anchor_generator", "roi_heads.box_roi_pool")
"""Parts whose numbers all are settings: of another class, they say nothing, and the settings are assumed."""

IDLE = {
    *vars(nn.Module()), "inplace", "momentum", "track_running_stats", "box_similarity", "proposal_matcher",
    "fg_bg_sampler", "neg_to_pos_ratio", "_has_warned", "_skip_resize",
}  # fmt: skip
"""Attributes of modules in general, or for training alone."""
IDLE_OF = {(POOL, "scales"), (POOL, "map_levels")}
"""Attributes remembered from a picture; :func:`_require_fresh` looks at them."""

NO_OPERATION = {
    "torch.nn.modules.linear.Identity", "torch.nn.modules.dropout.Dropout", "torch.nn.modules.dropout.Dropout2d",
    "torchvision.ops.stochastic_depth.StochasticDepth",
}  # fmt: skip
"""Modules that do nothing in evaluation."""

NORM = "BatchNorm"
SQUEEZE = "torchvision.ops.misc.SqueezeExcitation"
ALIKE = {
    # Classes that older versions had in their place, with the same arithmetic, and what training put there.
    **dict.fromkeys((*NORMS, "torch.nn.modules.batchnorm.SyncBatchNorm"), NORM),
    **dict.fromkeys(NO_OPERATION, "nothing"),
    "torchvision.ops.misc.ConvNormActivation": "torchvision.ops.misc.Conv2dNormActivation",
    "torchvision.models.mobilenetv2.ConvBNReLU": "torchvision.ops.misc.Conv2dNormActivation",
    "torchvision.models.mobilenetv2.ConvBNActivation": "torchvision.ops.misc.Conv2dNormActivation",
    "torchvision.models.mobilenetv3.SqueezeExcitation": SQUEEZE,
}
WITHOUT_TENSORS = {SQUEEZE: {"avgpool", "activation", "scale_activation", "relu"}}
"""Parts that the older class called as functions."""

Pair = tuple[str, Inert, nn.Module]


def take_over(saved: Inert, module: nn.Module, *, eps: bool, path: Path) -> None:
    """Put the thresholds and counts of ``saved`` into the rebuilt ``module``; with ``eps`` those of its norms too.

    Raises:
        CheckpointError: a value that cannot be meant.
    """
    for name, part, own in _pairs(saved, module):
        for where, values, target in _with_coder(name, part, own):
            for attribute, allowed in TAKEN_OVER.get(_class(target), {}).items():
                value = array_values(values.get(attribute))
                if attribute not in values or (attribute == "eps" and not eps):
                    continue
                if not allowed(value):
                    raise CheckpointError(f"{path}: {where}.{attribute} is {value!r:.60}, which cannot be meant")
                setattr(target, attribute, dict(value) if isinstance(value, Mapping) else value)


def require_alike(saved: Inert, module: nn.Module, overruled: TrainingSettings, *, path: Path) -> tuple[str, ...]:
    """Every part of ``saved`` must be of the same class, with the same parts and attributes, as that of ``module``,
    where no setting in ``overruled`` says otherwise. Returns what the user should know, a line each.

    Raises:
        UntrustedCheckpointError: one is not.
    """
    notes = []
    passed: list[str] = []
    for name, part, own in _pairs(saved, module):
        if any(name.startswith(f"{above}.") for above in passed):
            continue
        where = name or "the detector"
        kind = class_path(own) or ""
        if ALIKE.get(part.path, part.path) != ALIKE.get(kind, kind):
            if name not in SAID_BY_SETTINGS:
                raise _unlike(path, where, part.path, kind)
            notes.append(f"{name} is a {part.path}, of which nothing is known without its code")
            passed.append(name)
            continue
        _require_plain_calls(part, own, where, path)
        _require_same_parts(part, own, where, path)
        if kind not in NO_OPERATION:
            for inside, values, target in _with_coder(name, part, own):
                _require_same_values(inside or where, values, target, overruled, path)
        if kind == POOL:
            _require_fresh(part, where, path)
    return tuple(notes)


def _pairs(saved: Inert, module: nn.Module) -> Iterator[Pair]:
    """Parts that are in both, by name, from the top down; wrappers that training put around one are left out."""
    waiting: list[tuple[str, Any, nn.Module]] = [("", part_of(saved, ""), module)]
    while waiting:
        name, part, own = waiting.pop()
        if not isinstance(part, Inert):
            continue
        yield name, part, own
        for child, below in own.named_children():
            if child in children(part):
                waiting.append((f"{name}.{child}".lstrip("."), part_of(part, child), below))


def _with_coder(name: str, part: Inert, own: nn.Module) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """A part's attributes and, where it has one, its box coder's, which is no module."""
    yield name, part.attributes, own
    coder = part.attributes.get("box_coder")
    if isinstance(coder, Inert) and coder.path == BOX_CODER and hasattr(own, "box_coder"):
        yield f"{name}.box_coder".lstrip("."), coder.attributes, own.box_coder


def _class(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _require_plain_calls(part: Inert, own: nn.Module, where: str, path: Path) -> None:
    for hooks in ("_forward_hooks", "_forward_pre_hooks"):
        if part.attributes.get(hooks):
            raise _unlike(path, where, "with a hook, which may change what it gives", "without one")
    shadowed = next((name for name in part.attributes if callable(getattr(type(own), name, None))), None)
    if shadowed is not None:
        raise _unlike(path, where, f"with a {shadowed} of its own", "torchvision's")


def _require_same_parts(part: Inert, own: nn.Module, where: str, path: Path) -> None:
    aside = WITHOUT_TENSORS.get(class_path(own) or "", set()) if part.path != class_path(own) else set()
    theirs = {name for name, child in children(part).items() if child is not None} - aside
    ours = {name for name, _ in own.named_children()} - aside
    if theirs != ours:
        name = min(theirs ^ ours)
        there = class_path(part_of(part, name)) if name in theirs else "absent"
        here = class_path(own.get_submodule(name)) if name in ours else "absent"
        raise _unlike(path, f"{where}.{name}" if where != "the detector" else name, str(there), str(here))


def _require_same_values(
    where: str, values: Mapping[str, Any], own: Any, overruled: TrainingSettings, path: Path
) -> None:
    kind = _class(own)
    stretched = getattr(own, "fixed_size", None) is not None
    for name, mine in vars(own).items():
        if name in IDLE or (kind, name) in IDLE_OF or name not in values or name in TAKEN_OVER.get(kind, {}):
            continue
        if kind == BOX_CODER and name == "weights":
            settings: tuple[str, ...] = ("rpn_box_weights" if where.startswith("rpn.") else "box_weights",)
        else:
            settings = STATED.get((kind, name), ())
        if any(getattr(overruled, setting) is not None for setting in settings):
            continue
        theirs, ours = _plain(values[name]), _plain(mine)
        if kind == TRANSFORM and name in ("min_size", "max_size"):
            if stretched:
                continue
            # Of several, training takes one by chance, inference the last.
            theirs, ours = (value[-1:] if isinstance(value, tuple) else value for value in (theirs, ours))
        if kind == TRANSFORM and name in ("image_mean", "image_std") and overruled.colour == "BGR":
            ours = ours[::-1]
        if not _equal(theirs, ours):
            raise _unlike(path, f"{where}.{name}", _short(theirs), _short(ours))


def _require_fresh(pool: Inert, where: str, path: Path) -> None:
    """What RoIAlign remembers of levels comes from its first picture, whatever was set after it."""
    kept = pool.attributes.get("map_levels")
    if not isinstance(kept, Inert):
        return
    for name, setting in (("s0", "canonical_scale"), ("lvl0", "canonical_level")):
        there, said = kept.attributes.get(name), pool.attributes.get(setting)
        if there is not None and there != said:
            raise _unlike(path, f"{where}.map_levels.{name}", f"{there} ({setting} was changed later)", str(said))


def _plain(value: Any) -> Any:
    """Lists as tuples, an object by its class: what can be compared."""
    value = array_values(value)
    if isinstance(value, list | tuple):
        return tuple(_plain(entry) for entry in value)
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if value is None or isinstance(value, int | float | str | Tensor):
        return value
    if isinstance(value, Inert | Named):
        return value.path
    named = value if callable(value) and hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        loose = 1e-5 if first.dtype == torch.float32 else 1e-2
        return first.shape == second.shape and torch.allclose(first.float(), second.float(), rtol=loose, atol=loose)
    if isinstance(first, tuple) and isinstance(second, tuple):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    if first is None and _holds_tensors(second):
        return True  # older versions make them when they are first needed
    if isinstance(first, Tensor) or isinstance(second, Tensor):
        return False
    if _is_number(first) and _is_number(second):
        return math.isclose(first, second, rel_tol=1e-6)
    return bool(first == second) or (first in (None, ()) and second in (None, ()))


def _short(value: Any) -> str:
    text = "other anchors than its sizes give" if _holds_tensors(value) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(entry, Tensor) for entry in value)


def _unlike(path: Path, where: str, there: str, here: str) -> CheckpointError:
    return UntrustedCheckpointError(
        f"{path} is a module that was saved whole, and {where} is {there} in it, where its architecture as edgedet "
        f"builds it has {here}; add --trust-checkpoint if you trust whoever made the file, so that the module "
        "itself is exported, or save its state_dict where the difference does not matter"
    )
