"""Which of the judged pictures are frames of clips, and what alert rules ask of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.datasets.clips import Clip, clips_of, states_clips, states_rates
from edgedet.datasets.dataset import Dataset
from edgedet.errors import UsageError
from edgedet.watching.rule import AlertRule

NO_CLIPS = "the pictures are not said to be frames of clips (--fps N)"
NO_RATE = "the annotations number frames and do not say how many make a second (--fps N)"


@dataclass(frozen=True)
class Footage:
    """Clips of the dataset and of the negatives. ``why_not``: why there are none at all; else empty."""

    dataset: tuple[Clip, ...]
    negatives: tuple[Clip, ...]
    why_not: str

    def __bool__(self) -> bool:
        return bool(self.dataset or self.negatives)


def find_footage(
    dataset: Dataset,
    fps: float | None,
    negatives: Dataset | None,
    negatives_fps: float | None,
    rules: Sequence[AlertRule],
) -> Footage:
    """The clips, where it is said that pictures are frames and at which rate.

    Raises:
        DatasetError: as :func:`clips_of`.
        UsageError: a rate for negatives that are not there; rules without clips, two of one name, or with a region
            beyond the pictures.
    """
    clips = clips_of(dataset, fps) if fps is not None or states_rates(dataset) else ()
    others: tuple[Clip, ...] = ()
    if negatives is None and negatives_fps is not None:
        raise UsageError("--negatives-fps is about --negatives, and none are named")
    if negatives is not None and (negatives_fps is not None or states_rates(negatives)):
        others = clips_of(negatives, negatives_fps, option="--negatives-fps")
    why_not = "" if clips or others else NO_RATE if states_clips(dataset) else NO_CLIPS
    footage = Footage(clips, others, why_not)
    if rules and not footage:
        raise UsageError(f"an alert is about clips, and {why_not}")
    labels = [rule.label for rule in rules]
    if len(set(labels)) < len(labels):
        raise UsageError(f"two rules are called {max(labels, key=labels.count)!r}; give each a name of its own")
    sizes = {
        (record.height, record.width)
        for one, found in ((dataset, clips), (negatives, others))
        if one is not None and found
        for record in one.images
    }
    for rule in rules:
        for size in sizes:
            if rule.region is not None:
                rule.region.contains(np.zeros((0, 4)), size)
    return footage


def require_judged(rules: Sequence[AlertRule], names: Sequence[str]) -> None:
    """Check that the classes of the rules are judged.

    Raises:
        UsageError: one is not.
    """
    for rule in rules:
        for name in rule.classes:
            if name not in names:
                raise UsageError(
                    f"no alert of {name!r} can be judged: detector and dataset share {', '.join(names[:8])}"
                    + (f" and {len(names) - 8} more" if len(names) > 8 else "")
                )
