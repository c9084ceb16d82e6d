"""What an engine's card says of its layers and of its build, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgedet.artifacts.rtx_targets import gpus_of, not_for
from edgedet.missing_figures import reason_missing


def summary(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Title and text of every fact there is. ``facts``: :attr:`edgedet.artifacts.card.ModelCard.engine`.

    >>> facts = {"inspector": {"layers": {"int8": 3, "fp16": 1}, "reformats": 2, "time": {"share": {"int8": 0.9}}}}
    >>> list(summary(facts))
    [('layers', '3 int8 (75 %), 1 fp16 (25 %); 2 reformats'), ('layer time', '90 % int8')]
    """
    inspector, memory = facts.get("inspector"), facts.get("memory")
    if "compute_capabilities" in facts:
        yield "made for", f"{gpus_of(facts)}; not for {not_for(facts)}"
    if (reason := reason_missing(facts.get("proof"))) is not None:
        yield "proof", f"built, neither run nor proved: {reason}"
    if isinstance(inspector, dict) and reason_missing(inspector) is None:
        yield "layers", _layers(inspector)
        yield "layer time", _layer_time(inspector.get("time"))
    if isinstance(build := facts.get("build"), dict):
        yield "build", f"{build.get('seconds', '?')} s for {build.get('network_layers', '?')} layers as parsed"
    if isinstance(memory, dict):
        yield (
            "memory",
            f"the build was to take {_sizes(memory.get('predicted_mib'))}, the whole process took "
            f"{_sizes(memory.get('peak_mib'))}",
        )


def _layers(inspector: dict[str, Any]) -> str:
    counts = inspector.get("layers")
    every = sum(counts.values()) if isinstance(counts, dict) else 0
    if not every or not isinstance(counts, dict):
        return "not told (TensorRT's inspector names no layer that computes)"
    layers = ", ".join(
        f"{count} {kind} ({count / every * 100:.0f} %)"
        for kind, count in sorted(counts.items(), key=lambda item: -item[1])
    )
    return f"{layers}; {inspector.get('reformats', 'an unknown number of')} reformats"


def _layer_time(time: Any) -> str:
    found = time if isinstance(time, dict) else {}
    if isinstance(share := found.get("share"), dict) and share:
        return ", ".join(f"{part * 100:.0f} % {kind}" for kind, part in share.items())
    return f"not measured ({found['missing']})" if found.get("missing") else "not measured"


def _sizes(sizes: Any) -> str:
    if not isinstance(sizes, dict):
        return "an unknown amount"
    return " and ".join(
        f"{size} MiB{' of the GPU' if name == 'gpu' else ''}"
        for name, size in sizes.items()
        if size or name != "gpu"  # where there is none
    )
