"""Modules that were saved whole, themselves or as what stands for them: their tensors and their parts by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from .inert_objects import Inert

WRAPPERS = (
    "_orig_mod",
    "_forward_module",
    "_original_module",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
)
"""Parts that torch.compile, Fabric and FSDP put around a module, at any place in it."""

MAX_MODULES = 100_000
"""More than any network has; a pickle can hold one module many times over."""

Module = nn.Module | Inert


def is_module(value: Any) -> bool:
    """Whether ``value`` is a module or stands for one."""
    return isinstance(value, nn.Module) or (isinstance(value, Inert) and "_modules" in value.attributes)


def class_path(module: Module | None) -> str | None:
    """Name of a module's class, with the package it is from."""
    if isinstance(module, Inert):
        return module.path
    return None if module is None else f"{type(module).__module__}.{type(module).__qualname__}"


def module_state(module: Module) -> dict[str, Any]:
    """As ``module.state_dict()``: parameters and persistent buffers by their dotted names, wrappers left out.

    Raises:
        ValueError: more modules than any network has.
    """
    if isinstance(module, nn.Module):
        return {unwrapped(name): value for name, value in module.state_dict().items()}
    state: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = [("", module)]
    opened = 0
    while waiting:
        prefix, part = waiting.pop()
        opened += 1
        if opened > MAX_MODULES:
            raise ValueError(f"more than {MAX_MODULES} modules")
        if not isinstance(part, Inert):
            continue
        passing = part.attributes.get("_non_persistent_buffers_set")
        for kind in ("_parameters", "_buffers"):
            for name, value in _named(part.attributes.get(kind)).items():
                if value is not None and not (isinstance(passing, set) and name in passing):
                    state[unwrapped(prefix + name)] = value
        waiting.extend((f"{prefix}{name}.", child) for name, child in reversed(children(part).items()))
    return state


def unwrapped(name: str) -> str:
    """A dotted name without the parts of wrappers.

    >>> unwrapped("model._orig_mod.backbone.weight")
    'model.backbone.weight'
    """
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def children(module: Module) -> dict[str, Any]:
    """A module's direct parts."""
    if isinstance(module, nn.Module):
        return dict(module.named_children())
    return _named(module.attributes.get("_modules"))


def part_of(module: Module, name: str) -> Module | None:
    """The part with a dotted name from which wrappers were left out; "" is the module itself, unwrapped."""
    found: Any = module
    for step in [*(name.split(".") if name else []), None]:
        while is_module(found) and (inner := next((w for w in WRAPPERS if w in children(found)), None)):
            found = children(found)[inner]
        if step is not None:
            found = children(found).get(step) if is_module(found) else None
    return found if is_module(found) else None


def _named(value: Any) -> dict[str, Any]:
    return {key: each for key, each in value.items() if isinstance(key, str)} if isinstance(value, Mapping) else {}
