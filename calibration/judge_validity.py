"""What a judge's figure is worth: nothing to judge by is no perfect score."""

from __future__ import annotations

from collections.abc import Mapping

from edgedet.errors import CalibrationError

from .judge import AgreementJudge, Judge

FEW_CONFIDENT = 10
"""Detections that have to be found again; where there are fewer, the figure hangs on each of them."""


def require_judgement(judge: Judge, reference: float | None, max_drop: float) -> None:
    """Refuse to quantise where an INT8 graph that finds nothing would be told that it lost nothing.

    ``reference``: the judge's figure of the float graph. ``max_drop``: what may be lost of it; who allows 1 asks
    for INT8 unjudged.

    Raises:
        CalibrationError: no figure, or one no larger than what may be lost.
    """
    if max_drop >= 1 or (reference is not None and reference > max_drop):
        return
    what = (
        judge.nothing
        if reference is None
        else f"{judge.name} of the fp32 graph is {reference:.4f}, and {max_drop:g} of it may be lost"
    )
    raise CalibrationError(
        f"what INT8 costs cannot be judged: {what}, so a graph that finds nothing would pass. Give images in which "
        "the detector finds its objects (--calib, or labelled ones: --eval), or take INT8 unjudged: --max-drop 1"
    )


def doubts(judge: Judge, reference: float | None) -> list[str]:
    """Sentences on a judgement that rests on little or nothing. ``reference``: the float graph's figure."""
    if reference is None:
        return [f"what INT8 costs was not judged: {judge.nothing}; compare on frames of your own: edgedet parity"]
    if isinstance(judge, AgreementJudge) and judge.confident < FEW_CONFIDENT:
        return [
            f"what INT8 costs was judged by {judge.confident} detection{'s' * (judge.confident != 1)} alone: give "
            "more images in which the detector finds its objects (--calib), or labelled ones (--eval)"
        ]
    return []


def absent(judge: Judge, figures: Mapping[str, float | None], losses: Mapping[str, float | None]) -> dict[str, str]:
    """Why figures are None, by their names. ``losses``: agreement lost by single layers."""
    reasons = {name: judge.nothing for name, figure in figures.items() if figure is None}
    if None in losses.values():
        reasons["losses"] = "nothing is found on the frames on which single layers are tried"
    return reasons
