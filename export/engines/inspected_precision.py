"""What precision an engine really runs in, read from TensorRT's engine inspector."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgedet.artifacts.card import Precision
from edgedet.errors import ExportError

WEIGHTED = ("conv", "gemm", "matrixmultiply", "matmul", "fullyconnected", "deconv")
"""Words in the types of layers that do the work."""
CONVERSIONS = re.compile(r"reformat|(?<![a-z])cast")
OPAQUE = ("myelin", "foreignnode")
"""Types of fused nodes, which the inspector shows from outside only. Low-precision inputs or outputs prove that the
node runs in low precision; float ones prove nothing."""
MIN_SHARE = 0.5
"""Minimum part of the share of layers that the graph wants in a precision. TensorRT may leave some quantised layers
alone, such as depthwise convolutions, for which it has no INT8 kernel."""
OVERHEAD = ("noop", "signal", "wait", "shape", "constant", "identity")

TYPE_KEYS = ("datatype", "format/datatype")
"""What a tensor's type is called, in small letters: from 11 on, and up to 10.x."""

TYPES: tuple[tuple[Precision, re.Pattern[str]], ...] = (
    ("int8", re.compile(r"(?<![a-z])int8")),  # "UInt8" is what a picture comes in
    ("fp16", re.compile(r"half|(?<![a-z])fp16|(?<![a-z])float16")),
    ("fp32", re.compile(r"(?<!b)float(?!16)|fp32")),
)
"""Types in TensorRT's words, the lowest first."""


@dataclass(frozen=True)
class EnginePrecision:
    """``layers``: how many run in int8, fp16 and fp32; ``weighted``: the same of convolutions and products alone,
    where the inspector tells them; ``reformats``: conversions TensorRT put between layers. ``kinds``: what every
    layer is by name: a precision, ``reformat`` for conversions of layout or type, its own and the graph's, or
    ``other`` for what computes nothing, or in a type that is not told.
    """

    layers: dict[str, int]
    weighted: dict[str, int]
    reformats: int
    total: int
    kinds: dict[str, str] = field(default_factory=dict)

    @property
    def decisive(self) -> dict[str, int]:
        """How many of the layers that do the work run in what, as far as the inspector tells; empty where it does
        not."""
        for counts in (self.weighted, self.layers):
            known = {name: count for name, count in counts.items() if name != "other"}
            if known:
                return known
        return {}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, for the model card; ``share``: of the layers that compute."""
        computing = sum(self.layers.values())
        share = {kind: round(count / computing, 4) for kind, count in self.layers.items()}
        return {"layers": self.layers, "weighted": self.weighted, "reformats": self.reformats, "total": self.total,
                "share": share}  # fmt: skip


def read_precision(information: str) -> EnginePrecision:
    """Count layers by precision.

    ``information``: ``EngineInspector.get_engine_information(JSON)`` of an engine built with detailed profiling
    verbosity. Releases up to 10.x write ``"Format/Datatype": "Row major Half format"``, 11.x ``"Datatype": "Half"``
    beside ``"Format"``.

    Raises:
        ExportError: not the inspector's JSON, or one without details.
    """
    try:
        layers = json.loads(information)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(f"TensorRT's engine inspector gave something unreadable ({error})") from error
    if any(not isinstance(layer, dict) for layer in layers):
        raise ExportError("TensorRT's engine inspector gave names only, so the engine's precision is unknown")
    counts: Counter[str] = Counter()
    weighted: Counter[str] = Counter()
    kinds: dict[str, str] = {}
    reformats = 0
    for layer in layers:
        name = str(layer.get("Name", ""))
        kind = f"{layer.get('LayerType', '')} {layer.get('ParameterType', '')}".lower()
        converts = CONVERSIONS.search(kind) is not None
        if converts or any(word in kind for word in OVERHEAD):
            reformats += "reformat" in kind
            kinds[name] = "reformat" if converts else "other"
            continue
        precision = _precision(_types(layer))
        if precision == "fp32" and any(word in kind for word in OPAQUE):
            precision = "other"
        kinds[name] = precision
        counts[precision] += 1
        if any(word in kind for word in WEIGHTED):
            weighted[precision] += 1
    return EnginePrecision(dict(counts), dict(weighted), reformats, len(layers), kinds)


def require_precision(found: EnginePrecision, asked: Precision, graph: Mapping[str, int]) -> None:
    """Refuse an engine that silently runs in a higher precision than its graph says.

    ``graph``: how many layers with weights the graph has in each precision
    (:attr:`edgedet.artifacts.onnx_layers.GraphLayers.precisions`). An inspector that names no types proves
    nothing, and refuses nothing.

    Raises:
        ExportError: of the layers that do the work, fewer than half of those that should run in what was asked.
    """
    decisive = found.decisive
    if asked == "fp32" or not decisive:
        return
    share = decisive.get(asked, 0) / sum(decisive.values())
    every = sum(graph.values())
    wanted = graph.get(asked, 0) / every if every else 0.0
    told = f"the graph: {wanted:.0%}" if every else "the graph has no layer with weights"
    # Other layers than those with weights are counted for whether there is any, but are no measure of how many.
    least = MIN_SHARE * wanted if any(name != "other" for name in found.weighted) else 0.0
    if share > 0 and share >= least:
        return
    said = ", ".join(f"{count} in {name}" for name, count in sorted(decisive.items()))
    extent = "not one layer of the engine runs" if not share else f"only {share:.0%} of the engine's layers run"
    raise ExportError(
        f"{asked} was asked for, but {extent} in it ({said}; {told}): TensorRT fell back in "
        "silence. The engine was not written; update TensorRT, or export with another precision"
    )


def _types(layer: dict[str, Any]) -> Iterator[str]:
    """What the inspector says of the types of a layer's tensors and weights."""
    for tensor in (*(layer.get("Inputs") or ()), *(layer.get("Outputs") or ())):
        if isinstance(tensor, dict):
            yield from (str(value) for key, value in tensor.items() if key.lower() in TYPE_KEYS and value)
    weights = layer.get("Weights")
    if isinstance(weights, dict) and weights.get("Type"):
        yield str(weights["Type"])


def _precision(words: Iterable[str]) -> str:
    """By the lowest type among a layer's tensors: what feeds a kernel decides which kernel it is."""
    text = " ".join(words).lower()
    return next((precision for precision, pattern in TYPES if pattern.search(text)), "other")
