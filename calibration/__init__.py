"""INT8 and FP16: ranges from calibration frames, Q/DQ placement, and the accuracy guard.

The entry points are :func:`quantise` (INT8) and :func:`to_half` (FP16); both take a float graph.
:func:`make_frames` makes calibration frames for who has no pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedet.lazy_names import lazy_names

if TYPE_CHECKING:
    from .calibration_frames import CalibrationFrames
    from .fp16 import HalfGraph, to_half
    from .judge import AgreementJudge, Judge, MapJudge
    from .made_frames import MadeFrames, make_frames
    from .made_judge import MadeJudge
    from .observe import Progress
    from .pictures import Picture, Pictures, pictures_of
    from .pipeline import QuantisedGraph, QuantiseOptions, quantise

__all__ = [
    "AgreementJudge",
    "CalibrationFrames",
    "HalfGraph",
    "Judge",
    "MadeFrames",
    "MadeJudge",
    "Magnitudes",
    "MapJudge",
    "Picture",
    "Pictures",
    "Progress",
    "QuantiseOptions",
    "QuantisedGraph",
    "make_frames",
    "pictures_of",
    "quantise",
    "to_half",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AgreementJudge": "edgedet.calibration.judge",
        "CalibrationFrames": "edgedet.calibration.calibration_frames",
        "HalfGraph": "edgedet.calibration.fp16",
        "Judge": "edgedet.calibration.judge",
        "MadeFrames": "edgedet.calibration.made_frames",
        "MadeJudge": "edgedet.calibration.made_judge",
        "Magnitudes": "edgedet.calibration.watched_magnitudes",
        "MapJudge": "edgedet.calibration.judge",
        "Picture": "edgedet.calibration.pictures",
        "Pictures": "edgedet.calibration.pictures",
        "Progress": "edgedet.calibration.observe",
        "QuantiseOptions": "edgedet.calibration.pipeline",
        "QuantisedGraph": "edgedet.calibration.pipeline",
        "make_frames": "edgedet.calibration.made_frames",
        "pictures_of": "edgedet.calibration.pictures",
        "quantise": "edgedet.calibration.pipeline",
        "to_half": "edgedet.calibration.fp16",
    },
)
