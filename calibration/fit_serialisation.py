"""A fit as arrays by name, for the ledger, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from edgedet.onnx_graph.network import Array

from .fitting import Fit, FittedLayer
from .observe import Observation
from .quantisation_grid import Grid

ARRAYS_OF_LAYER = ("weight", "scales", "bias_shift")
ARRAYS_OF_TENSOR = ("counts", "channel_high")


def pack(fit: Fit) -> dict[str, Array]:
    """Everything a fit holds."""
    plain = {
        "grids": {name: asdict(grid) for name, grid in fit.grids.items()},
        "methods": fit.methods,
        "layers": {name: {"error": one.error, "rounding": one.rounding} for name, one in fit.layers.items()},
        "seen": {name: {"low": one.low, "high": one.high, "margin": one.margin} for name, one in fit.seen.items()},
    }
    arrays = {"plain": np.frombuffer(json.dumps(plain).encode(), np.uint8)}
    # By number: names of tensors need not be names of files.
    for number, layer in enumerate(fit.layers.values()):
        arrays |= {f"layer{number}_{part}": getattr(layer, part) for part in ARRAYS_OF_LAYER}
    for number, tensor in enumerate(fit.seen.values()):
        arrays |= {f"tensor{number}_{part}": getattr(tensor, part) for part in ARRAYS_OF_TENSOR}
    return arrays


def unpack(arrays: Mapping[str, Array]) -> Fit:
    """The fit that was packed."""
    plain = json.loads(arrays["plain"].tobytes())
    return Fit(
        grids={name: Grid(**grid) for name, grid in plain["grids"].items()},
        methods=plain["methods"],
        layers={
            name: FittedLayer(**one, **_parts(arrays, f"layer{number}", ARRAYS_OF_LAYER))
            for number, (name, one) in enumerate(plain["layers"].items())
        },
        seen={
            name: Observation(**one, **_parts(arrays, f"tensor{number}", ARRAYS_OF_TENSOR))
            for number, (name, one) in enumerate(plain["seen"].items())
        },
    )


def _parts(arrays: Mapping[str, Array], owner: str, parts: Sequence[str]) -> dict[str, Any]:
    return {part: arrays[f"{owner}_{part}"] for part in parts}
