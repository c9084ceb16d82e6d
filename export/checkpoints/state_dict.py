"""From what a checkpoint holds to the tensors of the detector in it: which were chosen, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgedet.errors import CheckpointError, UntrustedCheckpointError

from .inert_objects import UNREAD_TENSORS, Inert
from .module_tree import Module, is_module, module_state, part_of, unwrapped

STATE_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
"""Keys under which training scripts keep the last weights, in order of preference."""

AVERAGE = re.compile(r"(^|[._])(ema|averaged?|avg|swa|teacher|shadow)([._]|$)", re.IGNORECASE)
"""Pattern of keys with an average of the weights over training."""

OTHER_HALF = re.compile(r"(^|[._])(current_model_state|student)([._]|$)")
"""The weights themselves, where the average has the usual place (Lightning's ``WeightAveraging``)."""

NO_WEIGHTS = ("num_batches_tracked", "n_averaged")
"""Counters that are kept among the tensors."""

PREFIXES = ("module", "model", "net", "network", "detector")

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

DEEPEST = 8
MAX_PLACES = 10_000
MAX_PREFIXES = 32


@dataclass(frozen=True)
class Weights:
    """``tensors``: by the detector's own names; floats are float32. ``notes``: what was chosen, where there was a
    choice. ``holder``: the detector's module, or what stands for it, where one was saved whole."""

    tensors: dict[str, Tensor]
    notes: tuple[str, ...]
    holder: Module | None


@dataclass(frozen=True, eq=False)
class Candidate:
    """What may be the detector: ``values`` by its own names, found at ``where``. ``beside``: names that are in the
    same mapping and not the detector's. ``untouched``: an average of nothing yet, so the weights of the start."""

    where: str
    values: Mapping[str, Any]
    beside: tuple[str, ...] = ()
    averaged: bool = False
    untouched: bool = False
    holder: Module | None = None

    def signature(self) -> dict[str, Any]:
        """What tells detectors of another make apart."""
        return {
            name: getattr(value, "shape", None)
            for name, value in self.values.items()
            if not name.endswith(NO_WEIGHTS)
        }


def find_weights(content: Any, path: Path) -> Weights:
    """The tensors of the detector in ``content``, wherever a training script put them and whatever it put in
    front of their names. A detector that is there as itself and as its average over training (EMA, SWA) is taken
    as the average, which is what training frameworks evaluate and deploy.

    Raises:
        CheckpointError: no tensors, several detectors of different makes, or tensors that are not plain numbers.
        UntrustedCheckpointError: no tensors, but code that might make some.
    """
    try:
        places = list(_places(content))
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged, or was made to be unreadable: {error}") from error
    if not places:
        raise _nothing(content, path)
    found = [candidate for place in places for candidate in _detectors(*place)]
    if not found:
        return _checked(_largest(places), (), path)
    chosen, notes = _choose(_apart(found), path)
    return _checked(chosen, notes, path)


def _places(content: Any) -> Iterator[tuple[str, dict[str, Any], Module | None]]:
    """Every mapping of names to tensors, and every module: (where, values, module). Optimisers keep tensors too,
    which are no weights."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), content)]
    seen: set[int] = set()
    while waiting:
        place, value = waiting.pop(0)
        if id(value) in seen or len(place) > DEEPEST:
            continue
        seen.add(id(value))
        if len(seen) > MAX_PLACES:
            raise ValueError(f"more than {MAX_PLACES} objects in one another")
        where = ".".join(place)
        if is_module(value):
            yield where, module_state(value), value
            continue
        entries = entries_of(value)
        if "param_groups" in entries:
            continue
        tensors = {name: each for name, each in entries.items() if isinstance(each, Tensor) or is_unread(each)}
        if tensors:
            yield where, {unwrapped(name): each for name, each in tensors.items()}, None
        if isinstance(value, Inert) and isinstance(value.arguments, tuple):
            # What torch.compile gives is written as a call with the module.
            waiting.extend((place, each) for each in value.arguments if isinstance(each, Inert))
        waiting.extend(
            ((*place, name), each)
            for name, each in entries.items()
            if isinstance(each, Mapping | Inert | nn.Module) and name not in tensors
        )


def entries_of(value: Any) -> dict[str, Any]:
    """What a dict, or an object whose class was not imported, keeps by name."""
    if isinstance(value, Inert):
        value = {**value.attributes, **value.mapping}
    return {key: each for key, each in value.items() if isinstance(key, str)} if isinstance(value, Mapping) else {}


def is_unread(value: Any) -> bool:
    """Whether this stands for a tensor whose numbers mean nothing by themselves."""
    return isinstance(value, Inert) and value.path.startswith(("torch._utils._rebuild", "torch._tensor._rebuild"))


def is_detector(names: Mapping[str, Any]) -> bool:
    """Whether these are the names of tensors of torchvision's detectors or segmenters: a backbone and a head."""
    return any(name.startswith("backbone.") for name in names) and any(
        name.startswith(("head.", "roi_heads.", "classifier.")) for name in names
    )


def _detectors(where: str, values: dict[str, Any], module: Module | None) -> Iterator[Candidate]:
    """The detectors in one mapping, each under a prefix of its own (``model.``, ``module.``, ``teacher.``)."""
    prefixes: dict[str, None] = {}
    for name in values:
        parts = name.split(".")
        prefixes |= {
            "".join(f"{part}." for part in parts[:i]): None for i, part in enumerate(parts) if part == "backbone"
        }
    detectors = {}
    for prefix in list(prefixes)[:MAX_PREFIXES]:
        own = {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
        if is_detector(own):
            detectors[prefix] = own
    beside = tuple(name for name in values if not name.startswith((*detectors, *NO_WEIGHTS)))
    updates = values.get("n_averaged")
    for prefix, own in detectors.items():
        own.pop("n_averaged", None)
        place = ".".join(part for part in (where, prefix[:-1]) if part)
        averaged = bool(AVERAGE.search(place)) if updates is None else bool(updates)
        holder = None if module is None else part_of(module, prefix[:-1])
        untouched = updates is not None and not updates
        yield Candidate(place or "the top level", own, beside, averaged, untouched, holder)


def _apart(found: list[Candidate]) -> list[Candidate]:
    """Each detector once, though some scripts save one dict under two names."""
    apart: dict[tuple[Any, ...], Candidate] = {}
    for each in found:
        numbers = tuple((name, _place_in_memory(each.values[name])) for name in sorted(each.values))
        apart.setdefault(numbers, each)
    return list(apart.values())


def _place_in_memory(value: Any) -> int:
    usual = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
    return value.data_ptr() if usual else id(value)


def _choose(found: list[Candidate], path: Path) -> tuple[Candidate, tuple[str, ...]]:
    ordered = sorted(found, key=_preference)
    usual = ordered[0]
    alike = [each for each in ordered if each.signature() == usual.signature()]
    unlike = [each for each in ordered if each not in alike]
    if any(not each.averaged for each in unlike):
        raise CheckpointError(
            f"{path} holds several detectors of different makes: {', '.join(each.where for each in ordered)}; save "
            "the one to be exported by itself"
        )
    chosen = next((each for each in alike if each.averaged), usual)
    notes = []
    if chosen.averaged:
        notes.append(f"weights: {chosen.where}, an average over training")
    elif chosen.untouched:
        notes.append(f"weights: {chosen.where}, an average that was never updated (n_averaged is 0)")
    elif len(found) > 1:
        notes.append(f"weights: {chosen.where}")
    left = [each.where for each in alike if each is not chosen]
    if left:
        notes[-1] += f"; left aside: {', '.join(left)}"
    if unlike:
        names = ", ".join(each.where for each in unlike)
        notes[-1] += f"; not taken, since it does not hold the same tensors: {names}"
    if chosen.beside:
        more = ", ..." if len(chosen.beside) > 2 else ""
        notes.append(
            f"left out: {len(chosen.beside)} tensors that are not in {chosen.where} "
            f"({', '.join(chosen.beside[:2])}{more})"
        )
    if isinstance(chosen.holder, Inert):
        notes.append(
            f"{chosen.where} is a whole {chosen.holder.path}, read without running its code (--trust-checkpoint "
            "would run it)"
        )
    return chosen, tuple(notes)


def _preference(candidate: Candidate) -> tuple[bool, bool, int]:
    """The weights themselves first, in their usual place: they have all the tensors, an average may not."""
    names = candidate.where.split(".")
    place = min((STATE_KEYS.index(name) for name in names if name in STATE_KEYS), default=len(STATE_KEYS))
    average = candidate.averaged or candidate.untouched
    return average, bool(OTHER_HALF.search(candidate.where)), place


def _largest(places: list[tuple[str, dict[str, Any], Module | None]]) -> Candidate:
    """The place with most tensors, where none has a detector's names."""
    where, values, module = max(places, key=lambda place: len(place[1]))
    for prefix in PREFIXES * 2:
        if all(name.startswith(f"{prefix}.") for name in values):
            values = {name.removeprefix(f"{prefix}."): value for name, value in values.items()}
    return Candidate(where or "the top level", values, holder=module)


def _checked(chosen: Candidate, notes: tuple[str, ...], path: Path) -> Weights:
    """The candidate's tensors as ordinary float32.

    Raises:
        CheckpointError: quantised, sparse or absent numbers, or more of them than the file can hold.
    """
    tensors = {}
    for name, value in chosen.values.items():
        what = _unusable(name, value)
        if what is not None:
            raise CheckpointError(
                f"{path}: {name} is {what}; expected weights as float32, float64, float16 or bfloat16: save the "
                "model as it was trained"
            )
        tensors[name] = value.detach()
    held = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in tensors.values()}
    if path.is_file() and sum(held.values()) > path.stat().st_size:
        raise CheckpointError(f"{path} is damaged: it claims to hold more numbers than its size has room for")
    return Weights(
        {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()},
        notes,
        chosen.holder,
    )


def _unusable(name: str, value: Any) -> str | None:
    if isinstance(value, Inert):
        return f"a tensor that is {UNREAD_TENSORS.get(value.path, 'of a class of its own')}"
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if value.is_quantized:
        return f"quantised ({str(value.dtype).removeprefix('torch.')})"
    if value.layout != torch.strided:
        return f"a sparse tensor ({str(value.layout).removeprefix('torch.')})"
    if value.device.type == "meta":
        return "a meta tensor, which has no numbers"
    if value.dtype not in FLOATS and not name.endswith(NO_WEIGHTS):
        return f"of {str(value.dtype).removeprefix('torch.')}, as if quantised"
    if value.numel() * value.element_size() > max(value.untyped_storage().nbytes(), 64):
        return "an expanded tensor, larger than its numbers"
    return None


def _nothing(content: Any, path: Path) -> CheckpointError:
    culprit = _first_code(content)
    if culprit is not None:
        return UntrustedCheckpointError(
            f"{path} is a pickle that carries code ({culprit}), and loading it would run that code; save only the "
            "weights (torch.save(model.state_dict(), ...)), or add --trust-checkpoint if you trust whoever made "
            "the file"
        )
    entries = entries_of(content)
    if "param_groups" in entries or any("param_groups" in entries_of(each) for each in entries.values()):
        return CheckpointError(
            f"{path} holds the state of an optimiser and no model; expected a state_dict under one of "
            f"{', '.join(STATE_KEYS)}"
        )
    if not isinstance(content, Mapping):
        return CheckpointError(
            f"{path} holds a {type(content).__name__}; expected a state_dict, or a dict with the keys arch, "
            "num_classes, classes and state_dict"
        )
    return CheckpointError(f"{path} holds no tensors; expected a state_dict under one of {', '.join(STATE_KEYS)}")


def _first_code(content: Any) -> str | None:
    """The first class or function that was named and not imported, at the top or just below it."""
    for value in (content, *entries_of(content).values()):
        if isinstance(value, Inert) and not value.path.startswith(
            ("argparse.", "pathlib.", "datetime.", "omegaconf.")
        ):
            return value.path
    return None
