"""Artifacts opened to be measured: one, or two as one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedet.detector import Detector
from edgedet.errors import UsageError
from edgedet.segmenter import Segmenter
from edgedet.task_dispatch import TimedSegmenter, open_by_task

if TYPE_CHECKING:
    from edgedet.cascade import Cascade


def opened_to_measure(
    path: str | Path, *, then: str | None = None, crops: Mapping[str, Any] | None = None, **settings: Any
) -> Detector | Cascade | TimedSegmenter:
    """A detector, or a segmenter under the same names. A detector that takes proposals from outside gets as many as
    it takes, which is what its time is of.

    ``then``: an artifact that looks into its crops, with ``crops`` as further arguments of
    :class:`edgedet.Cascade`, but for ``conf``, its own. ``settings``: of both detectors.

    Raises:
        EdgedetError: as :class:`edgedet.Detector` and :class:`edgedet.Cascade`.
    """
    detector = open_by_task(path, **settings)
    if isinstance(detector, Segmenter):
        if then is None:
            return TimedSegmenter(detector)
        detector.close()
        raise UsageError(f"--then looks into the boxes of a detector, and {path} is a segmenter, which gives none")
    if detector.card.input.proposals is not None:
        from edgedet.proof.made_proposals import propose_strewn

        propose_strewn(detector)
    if then is None:
        return detector
    from edgedet.cascade import Cascade

    try:
        cutting = dict(crops or {})
        second = Detector(then, conf=cutting.pop("conf", None), **settings)
        try:
            return Cascade(detector, second, **cutting)
        except BaseException:
            second.close()
            raise
    except BaseException:
        detector.close()
        raise
