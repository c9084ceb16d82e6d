"""edgedet: trained object detectors on edge devices, fast and right, with proof."""

from __future__ import annotations

import os.path as _path
from typing import TYPE_CHECKING

from edgedet.doors import lazy_names

__version__ = "0.1.0"
__all__ = ["Detections", "Detector", "EdgedetError", "ModelCard", "__version__"]

if TYPE_CHECKING:
    from edgedet.artifacts.card import ModelCard
    from edgedet.detections import Detections
    from edgedet.detector import Detector
    from edgedet.errors import EdgedetError

if not _path.isdir(_path.join(__path__[0], "runtimes")):
    # A checkout in which git left out links (Windows): the rooms of the repository lie beside this folder.
    __path__.append(_path.dirname(__path__[0]))

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Detections": "edgedet.detections",
        "Detector": "edgedet.detector",
        "EdgedetError": "edgedet.errors",
        "ModelCard": "edgedet.artifacts.card",
    },
)
