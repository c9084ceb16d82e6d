"""``--max-temp`` and ``--max-age``: the detector rests more before the machine is too hot or too late."""

from __future__ import annotations

import time
from collections.abc import Callable

from edgedet.errors import UsageError
from edgedet.machine.state import read_state

LOOK_SECONDS = 2.0
LESS, MORE = 0.75, 1.1
"""Factors of the share of time that the detector runs: quickly down, slowly up."""
MIN_DUTY = 0.02
"""Minimum share of time that the detector runs, however hot the machine or old the frames."""
COOLER = 3.0
"""Degrees below the limit before it may run more again."""
YOUNGER = 0.8
"""Share of the age below which it may run more again."""


def hottest() -> float | None:
    """The highest temperature that the machine tells, in °C."""
    return max(read_state().temperatures.values(), default=None)


class Relief:
    """Chooses the share of the time that a detector may run, by how hot it is and how old results are.

    Args:
        duty: share when all is well.
        max_temp: °C above which it rests more; None: whatever it is.
        max_age: milliseconds, the same for the age of results.
        temperature: tells it.

    Raises:
        UsageError: there is a limit, and the machine tells no temperature.
    """

    def __init__(
        self,
        duty: float = 1.0,
        *,
        max_temp: float | None = None,
        max_age: float | None = None,
        temperature: Callable[[], float | None] = hottest,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_temp is not None and temperature() is None:
            raise UsageError("--max-temp cannot be kept: this machine tells no temperature; leave it out")
        self.duty = self._full = duty
        self._max_temp = max_temp
        self._max_age = max_age
        self._temperature = temperature
        self._clock = clock
        self._looked = -float("inf")
        self._ages: list[float] = []

    def look(self, age: float) -> float | None:
        """A result of ``age`` milliseconds was delivered; the new share, None where it stays."""
        if self._max_temp is None and self._max_age is None:
            return None
        self._ages.append(age)
        now = self._clock()
        if now - self._looked < LOOK_SECONDS:
            return None
        self._looked = now
        ages, self._ages = sorted(self._ages), []
        middle = ages[len(ages) // 2]
        heat = None if self._max_temp is None else self._temperature()
        hot = heat is not None and self._max_temp is not None and heat > self._max_temp
        old = self._max_age is not None and middle > self._max_age
        cool = heat is None or self._max_temp is None or heat < self._max_temp - COOLER
        young = self._max_age is None or middle < self._max_age * YOUNGER
        before = self.duty
        if hot or old:
            self.duty = max(self.duty * LESS, min(MIN_DUTY, self._full))
        elif cool and young:
            self.duty = min(self.duty * MORE, self._full)
        return self.duty if self.duty != before else None
