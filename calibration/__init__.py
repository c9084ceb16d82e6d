"""INT8 and FP16: ranges from calibration frames, Q/DQ placement, and the accuracy guard.

The entry points are :func:`quantise` (INT8) and :func:`to_half` (FP16); both take a float graph.
:func:`make_frames` makes calibration frames for who has no pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedet.doors import lazy_names

if TYPE_CHECKING:
    from .data import CalibrationFrames
    from .fp16 import HalfGraph, to_half
    from .judge import AgreementJudge, MapJudge
    from .made import MadeFrames, make_frames
    from .made_judge import MadeJudge
    from .pipeline import QuantisedGraph, QuantiseOptions, quantise

__all__ = [
    "AgreementJudge",
    "CalibrationFrames",
    "HalfGraph",
    "MadeFrames",
    "MadeJudge",
    "MapJudge",
    "QuantiseOptions",
    "QuantisedGraph",
    "make_frames",
    "quantise",
    "to_half",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AgreementJudge": "edgedet.calibration.judge",
        "CalibrationFrames": "edgedet.calibration.data",
        "HalfGraph": "edgedet.calibration.fp16",
        "MadeFrames": "edgedet.calibration.made",
        "MadeJudge": "edgedet.calibration.made_judge",
        "MapJudge": "edgedet.calibration.judge",
        "QuantiseOptions": "edgedet.calibration.pipeline",
        "QuantisedGraph": "edgedet.calibration.pipeline",
        "make_frames": "edgedet.calibration.made",
        "quantise": "edgedet.calibration.pipeline",
        "to_half": "edgedet.calibration.fp16",
    },
)
