"""GPUs that a TensorRT-RTX engine is for.

Its builder makes engines for compute capabilities, not for the GPU at hand. Asked for none, it makes a portable
engine: for 8.0, 8.6, 8.9, 12.0 and later ones, not for 7.5, which makes the others slower and must be asked for
(docs.nvidia.com/deeplearning/tensorrt-rtx, "CPU-Only AOT and TensorRT-RTX Engines"; the header of a portable plan
of 1.7.1 has the bits of those and of 12.1). Jetsons (8.7, 11.0) and data centre GPUs (9.0, 10.x) are none of its.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgedet.errors import UsageError

GPUS: dict[str, str] = {
    "sm75": "RTX 20 series",
    "sm80": "A100",
    "sm86": "RTX 30 series",
    "sm89": "RTX 40 series",
    "sm120": "RTX 50 series",
    "sm121": "DGX Spark",
}
"""Targets of the builder, and whose they are."""

PORTABLE = ("sm80", "sm86", "sm89", "sm120", "sm121")
CURRENT = "current"
"""The GPU of the machine that builds."""

OTHERS = "Jetson Orin and Thor, H100 and H200"
"""NVIDIA's GPUs that are none of the library's, as people may expect them to be."""


def parse_targets(text: str) -> tuple[str, ...]:
    """Targets as a user writes them: ``sm86,sm89`` or ``8.6,8.9``, or ``current`` alone.

    Raises:
        UsageError: one that the builder does not know.

    >>> parse_targets("SM86, 12.0")
    ('sm86', 'sm120')
    """
    return require_targets(
        name if name == CURRENT or name.startswith("sm") else f"sm{name.replace('.', '')}"
        for name in (part.strip().lower() for part in text.split(","))
    )


def require_targets(names: Iterable[str]) -> tuple[str, ...]:
    """Check targets; those named twice are told once.

    Raises:
        UsageError: none, one that the builder does not know, or ``current`` beside others.
    """
    targets = tuple(dict.fromkeys(names))
    unknown = next((name for name in targets if name != CURRENT and name not in GPUS), None)
    if unknown is not None or not targets:
        known = ", ".join(f"{name} ({gpu})" for name, gpu in GPUS.items())
        raise UsageError(
            f"--compute-capability is {unknown or 'empty'!r}, expected some of {known}, or {CURRENT} for this "
            f"machine's GPU; TensorRT-RTX is not for {OTHERS}"
        )
    if CURRENT in targets and len(targets) > 1:
        raise UsageError(
            f"--compute-capability {CURRENT} means the GPU of this machine alone; leave out the others"
        )
    return targets


def capability(target: str) -> str:
    """A target as CUDA writes it.

    >>> capability("sm86"), capability("sm120")
    ('8.6', '12.0')
    """
    digits = target.removeprefix("sm")
    return f"{digits[:-1]}.{digits[-1]}"


def target_facts(targets: tuple[str, ...] | None) -> dict[str, Any]:
    """What the card says; ``targets`` None for a portable engine.

    >>> target_facts(("sm86",))
    {'compute_capabilities': ['8.6'], 'portable': False}
    """
    return {
        "compute_capabilities": [capability(target) for target in targets or PORTABLE],
        "portable": targets is None,
    }


def is_supported(here: str) -> bool:
    """Whether TensorRT-RTX is for GPUs of compute capability ``here``; for later ones than any known, the library
    judges.

    >>> is_supported("7.5"), is_supported("9.0"), is_supported("13.0")
    (True, False, True)
    """
    known = [capability(name) for name in GPUS]
    return here in known or _number(here) > max(map(_number, known))


def is_for(facts: dict[str, Any], here: str) -> bool:
    """Whether an engine with ``facts`` on its card is for compute capability ``here``. True where it does not tell.

    A portable one is for later GPUs than any that is known, too: there the library judges.

    >>> is_for(target_facts(None), "8.6"), is_for(target_facts(None), "8.7"), is_for(target_facts(None), "13.0")
    (True, False, True)
    """
    built = facts.get("compute_capabilities")
    if not isinstance(built, list) or not built:
        return True
    later = is_supported(here) and here not in [capability(name) for name in GPUS]
    return here in built or (later and facts.get("portable") is True)


def gpus_of(facts: dict[str, Any]) -> str:
    """The GPUs an engine is for, in words, by its card.

    >>> gpus_of(target_facts(("sm89", "sm120")))
    'compute capability 8.9 (RTX 40 series), 12.0 (RTX 50 series)'
    """
    built = facts.get("compute_capabilities")
    if not isinstance(built, list) or not built:
        return "compute capabilities that its card does not tell"
    names = {capability(target): gpu for target, gpu in GPUS.items()}
    told = ", ".join(f"{each} ({names[each]})" if each in names else str(each) for each in built)
    return f"compute capability {told}" + (" and later" if facts.get("portable") is True else "")


def not_for(facts: dict[str, Any]) -> str:
    """The GPUs that an engine is not for, by its card: those it was not built for, and those of other libraries.

    >>> not_for(target_facts(None))
    'RTX 20 series, Jetson Orin and Thor, H100 and H200'
    """
    return ", ".join([*(gpu for target, gpu in GPUS.items() if not is_for(facts, capability(target))), OTHERS])


def _number(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
