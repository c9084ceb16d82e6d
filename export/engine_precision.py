"""What precision an engine really runs in, read from TensorRT's engine inspector."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from edgedet.card import Precision
from edgedet.errors import ExportError

WEIGHTED = ("conv", "gemm", "matrixmultiply", "matmul", "fullyconnected", "deconv")
"""Words in the types of layers that do the work."""
OVERHEAD = ("reformat", "noop", "signal", "wait", "shape", "constant")


@dataclass(frozen=True)
class EnginePrecision:
    """``layers``: how many run in int8, fp16 and fp32; ``weighted``: the same of convolutions and products alone,
    where the inspector tells them; ``reformats``: conversions of layout or type between layers. ``kinds``: what
    every layer is by name: a precision, ``reformat``, or ``other`` for what computes nothing.
    """

    layers: dict[str, int]
    weighted: dict[str, int]
    reformats: int
    total: int
    kinds: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, for the model card; ``share``: of the layers that compute."""
        computing = sum(self.layers.values())
        share = {kind: round(count / computing, 4) for kind, count in self.layers.items()}
        return {"layers": self.layers, "weighted": self.weighted, "reformats": self.reformats, "total": self.total,
                "share": share}  # fmt: skip


def read_precision(information: str) -> EnginePrecision:
    """Count layers by precision.

    ``information``: ``EngineInspector.get_engine_information(JSON)`` of an engine built with detailed profiling
    verbosity. Releases up to 10.x write ``"Format/Datatype": "Half ..."``, 11.x ``"DataType": "Half"`` beside
    ``"Format"``.

    Raises:
        ExportError: not the inspector's JSON, or one without details.
    """
    try:
        layers = json.loads(information)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(f"TensorRT's engine inspector gave something unreadable ({error})") from error
    if any(not isinstance(layer, dict) for layer in layers):
        raise ExportError("TensorRT's engine inspector gave names only, so the engine's precision cannot be told")
    counts: Counter[str] = Counter()
    weighted: Counter[str] = Counter()
    kinds: dict[str, str] = {}
    reformats = 0
    for layer in layers:
        name = str(layer.get("Name", ""))
        kind = f"{layer.get('LayerType', '')} {layer.get('ParameterType', '')}".lower()
        if any(word in kind for word in OVERHEAD):
            reformats += "reformat" in kind
            kinds[name] = "reformat" if "reformat" in kind else "other"
            continue
        precision = kinds[name] = _precision(layer)
        counts[precision] += 1
        if any(word in kind for word in WEIGHTED):
            weighted[precision] += 1
    return EnginePrecision(dict(counts), dict(weighted), reformats, len(layers), kinds)


def require_precision(found: EnginePrecision, asked: Precision) -> None:
    """Refuse an engine that silently runs in a higher precision than its graph says.

    Raises:
        ExportError: no layer runs in what was asked.
    """
    share = dict(found.weighted) or dict(found.layers)
    if asked == "fp32" or share.get(asked) or found.layers.get(asked):
        return
    said = ", ".join(f"{count} in {name}" for name, count in sorted(found.layers.items())) or "none at all"
    raise ExportError(
        f"{asked} was asked for, but not one layer of the engine runs in it ({said}): TensorRT fell back in "
        "silence. The engine was not written; update TensorRT, or export with another precision"
    )


def _precision(layer: dict[str, Any]) -> str:
    """By the lowest type among a layer's tensors: what feeds a kernel decides which kernel it is."""
    words = []
    for tensor in (*(layer.get("Inputs") or ()), *(layer.get("Outputs") or ())):
        if isinstance(tensor, dict):
            words.append(str(tensor.get("DataType") or tensor.get("Format/Datatype") or "").lower())
    text = " ".join(words)
    if "int8" in text:
        return "int8"
    if "half" in text or "fp16" in text or "float16" in text:
        return "fp16"
    if "float" in text or "fp32" in text:
        return "fp32"
    return "other"
