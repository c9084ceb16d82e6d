"""edgedet: trained object detectors on edge devices, fast and right, with proof."""

from __future__ import annotations

import os.path as _path
import sys as _sys
from typing import TYPE_CHECKING

from edgedet.lazy_names import lazy_names

__version__ = "0.1.0"
__all__ = [
    "Cascade",
    "ClassMap",
    "Detection",
    "Detections",
    "Detector",
    "EdgedetError",
    "Fault",
    "Frame",
    "FrameSource",
    "InputSpec",
    "KeypointSpec",
    "LiveSettings",
    "Masks",
    "ModelCard",
    "OutputSpec",
    "Region",
    "ResizeRule",
    "Runtime",
    "Segmenter",
    "Skeleton",
    "Stream",
    "StreamStats",
    "TensorSpec",
    "Thresholds",
    "Timing",
    "Unreadable",
    "__version__",
    "open_source",
]

if TYPE_CHECKING:
    from edgedet.artifacts.card import InputSpec, KeypointSpec, ModelCard, OutputSpec, ResizeRule
    from edgedet.artifacts.keypoint_skeleton import Skeleton
    from edgedet.cascade import Cascade
    from edgedet.detections import Detection, Detections
    from edgedet.detector import Detector
    from edgedet.errors import EdgedetError
    from edgedet.inference_lane import Timing
    from edgedet.masks.base import Masks, Region
    from edgedet.masks.class_map import ClassMap
    from edgedet.pictures.frames import Frame, Unreadable
    from edgedet.pictures.live.fault import Fault
    from edgedet.pictures.live.settings import LiveSettings
    from edgedet.pictures.sources import FrameSource, open_source
    from edgedet.postprocess import Thresholds
    from edgedet.runtimes.base import Runtime, TensorSpec
    from edgedet.segmenter import Segmenter
    from edgedet.streaming.meter import StreamStats
    from edgedet.streaming.stream import Stream

if not _path.isdir(_path.join(__path__[0], "runtimes")):
    # A checkout in which git left out links (Windows): the rooms of the repository lie beside this folder.
    __path__.append(_path.dirname(__path__[0]))


class _RoomsOfOtherWheels:
    """Asked by Python last, for what nobody found: says what to install where it is a room of another wheel."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.startswith(f"{__name__}."):
            from edgedet.uninstalled_rooms import require_installed

            require_installed(name)


_sys.meta_path.append(_RoomsOfOtherWheels())

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Cascade": "edgedet.cascade",
        "ClassMap": "edgedet.masks.class_map",
        "Detection": "edgedet.detections",
        "Detections": "edgedet.detections",
        "Detector": "edgedet.detector",
        "EdgedetError": "edgedet.errors",
        "Fault": "edgedet.pictures.live.fault",
        "Frame": "edgedet.pictures.frames",
        "FrameSource": "edgedet.pictures.sources",
        "InputSpec": "edgedet.artifacts.card",
        "KeypointSpec": "edgedet.artifacts.card",
        "LiveSettings": "edgedet.pictures.live.settings",
        "Masks": "edgedet.masks.base",
        "ModelCard": "edgedet.artifacts.card",
        "OutputSpec": "edgedet.artifacts.card",
        "Region": "edgedet.masks.base",
        "ResizeRule": "edgedet.artifacts.card",
        "Runtime": "edgedet.runtimes.base",
        "Segmenter": "edgedet.segmenter",
        "Skeleton": "edgedet.artifacts.keypoint_skeleton",
        "Stream": "edgedet.streaming.stream",
        "StreamStats": "edgedet.streaming.meter",
        "TensorSpec": "edgedet.runtimes.base",
        "Thresholds": "edgedet.postprocess",
        "Timing": "edgedet.inference_lane",
        "Unreadable": "edgedet.pictures.frames",
        "open_source": "edgedet.pictures.sources",
    },
)
