"""When to alert: which classes, how sure, how often, how large, where."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgedet.detections import Detections
from edgedet.errors import UsageError
from edgedet.watching.region import Region

MAX_FRAMES = 10_000
"""Largest number of frames to look back on."""
KEEP_SHARE = 0.75
"""Minimum score for an alert to go on, as a share of the score that begins one."""

Evidence = Literal["track", "class"]


@dataclass(frozen=True)
class AlertRule:
    """What begins an alert and what ends it, in each source on its own.

    Attributes:
        classes: names of classes; whichever of them is there counts.
        frames: (N, M): it begins when N of the last M frames show one; (3, 5) is three of five.
        conf: minimum score of a detection for that, in [0, 1].
        keep_conf: minimum score for an alert to go on, at most ``conf``; None: three quarters of ``conf``.
        hold: the alert ends when none of the last M frames shows one, and it was last seen so many seconds ago.
        min_size: minimum of the longer side of a box: pixels, or below 1 a share of the frame's longer side.
        region: where the centre of a box must lie; None: anywhere.
        evidence: ``track``: the N frames must show the same object, of one track, and each object has an alert of
            its own; ``class``: any of the classes, at any place, in one alert. The former is not deceived by things
            that are mistaken in one frame each, and what stays in view hides nothing that comes.
        name: of the alert; None: the names of the classes.

    Raises:
        UsageError: a value out of range, no class, or N larger than M.

    >>> rule = AlertRule(("camera", "phone"), frames=(3, 5), conf=0.6)
    >>> rule.label, round(rule.lowest, 2)
    ('camera, phone', 0.45)
    """

    classes: tuple[str, ...]
    frames: tuple[int, int] = (3, 5)
    conf: float = 0.5
    keep_conf: float | None = None
    hold: float = 1.0
    min_size: float = 0.0
    region: Region | None = None
    evidence: Evidence = "track"
    name: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.classes, str):
            raise UsageError(f"classes is {self.classes!r}, expected names in a tuple, such as ({self.classes!r},)")
        if not isinstance(self.classes, Iterable):
            raise UsageError(f"classes is {self.classes!r}, expected names in a tuple, such as ('camera',)")
        object.__setattr__(self, "classes", tuple(self.classes))
        for name in self.classes:
            if not isinstance(name, str):
                raise UsageError(f"a class is {name!r}, expected its name, such as 'camera'")
        if not self.classes:
            raise UsageError("a rule names no class; expected one at least")
        if not isinstance(self.frames, Sequence) or isinstance(self.frames, str) or len(self.frames) != 2:
            raise UsageError(f"frames is {self.frames!r}, expected (N, M), such as (3, 5): three of the last five")
        needed, looked = self.frames
        if not (_is_count(needed) and _is_count(looked) and 1 <= needed <= looked <= MAX_FRAMES):
            raise UsageError(
                f"frames are {needed}/{looked}, expected N/M: N of the last M frames, 1 <= N <= M <= {MAX_FRAMES}"
            )
        if not _is_number(self.conf) or not 0 <= self.conf <= 1:
            raise UsageError(f"conf is {self.conf!r}, expected a score from 0 to 1")
        if self.keep_conf is not None and not (_is_number(self.keep_conf) and 0 <= self.keep_conf <= self.conf):
            raise UsageError(f"keep_conf is {self.keep_conf!r}, expected a score from 0 to conf, {self.conf:g}")
        for name in ("hold", "min_size"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value < math.inf:
                raise UsageError(f"{name} is {value!r}, expected a number from 0 on")
        if self.region is not None and not isinstance(self.region, Region):
            hint = f"Region.parse({self.region!r})" if isinstance(self.region, str) else "Region.parse('0.5,0,1,1')"
            raise UsageError(f"region is {self.region!r}, expected a Region, such as {hint}")
        if self.evidence not in get_args(Evidence):
            raise UsageError(f"evidence is {self.evidence!r}, expected {' or '.join(get_args(Evidence))}")

    @property
    def label(self) -> str:
        """Its name, or the names of its classes."""
        return self.name or ", ".join(self.classes)

    @property
    def lowest(self) -> float:
        """Minimum score of a detection for an alert to go on."""
        return self.conf * KEEP_SHARE if self.keep_conf is None else self.keep_conf

    def require_classes(self, names: Sequence[str]) -> None:
        """Check that a detector knows the classes.

        Args:
            names: the detector's class names.

        Raises:
            UsageError: it does not know one of them; the message has names that are like it.
        """
        for name in self.classes:
            if name not in names:
                near = difflib.get_close_matches(name, names, 3)
                shown = ", ".join(names[:8]) + (f", … ({len(names)} in all)" if len(names) > 8 else "")
                hint = f"did you mean {' or '.join(near)}?" if near else f"it knows {shown}"
                raise UsageError(f"the detector knows no class {name!r}; {hint}")

    def misfit(self, frame_size: tuple[int, int]) -> str | None:
        """Why no detection in such frames can count.

        Args:
            frame_size: (height, width) in pixels.

        Returns:
            One sentence; None where the rule fits.
        """
        height, width = frame_size
        if self.min_size > max(height, width, 1):
            return (
                f"the minimum size is {self.min_size:g} pixels, and the frame has {width}x{height}: no box is as "
                "large; give less, or a share of the frame's longer side below 1"
            )
        return None if self.region is None else self.region.misfit(frame_size)

    def matching(self, detections: Detections) -> NDArray[np.bool_]:
        """Which detections count for the alert to go on; those with ``conf`` count for its beginning.

        Args:
            detections: of one frame.

        Returns:
            bool [N].

        Raises:
            UsageError: the region is in pixels and reaches beyond the frame.
        """
        known = [label for label, name in enumerate(detections.names) if name in self.classes]
        counts = np.isin(detections.labels, known) & (detections.scores >= np.float32(self.lowest))
        sides = (detections.boxes[:, 2:] - detections.boxes[:, :2]).max(axis=1, initial=0.0)
        least = self.min_size * (max(detections.frame_size) if self.min_size < 1 else 1)
        counts &= sides >= least
        if self.region is not None:
            counts &= self.region.contains(detections.boxes, detections.frame_size)
        return counts


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
