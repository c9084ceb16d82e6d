"""edgedet: trained object detectors on edge devices, fast and right, with proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Detections", "Detector", "EdgedetError", "ModelCard", "__version__"]

if TYPE_CHECKING:
    from edgedet.artifacts.card import ModelCard
    from edgedet.detections import Detections
    from edgedet.detector import Detector
    from edgedet.errors import EdgedetError

_HOMES = {
    "Detections": "edgedet.detections",
    "Detector": "edgedet.detector",
    "EdgedetError": "edgedet.errors",
    "ModelCard": "edgedet.artifacts.card",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that `import edgedet` costs neither OpenCV nor NumPy.
    if name not in _HOMES:
        raise AttributeError(f"module 'edgedet' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
