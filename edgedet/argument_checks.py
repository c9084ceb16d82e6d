"""Numbers callers pass from Python: of the right kind and in range, or an error that says what was expected."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from edgedet.errors import UsageError

LARGEST_MARGIN = 10.0
"""Maximum margin of a cascade's crops: beyond it, the second detector looks at the whole frame at any rate."""


def require_fraction(name: str, value: Any) -> None:
    """Check a number from 0 to 1; None leaves the setting alone. NumPy's scalars are numbers, True is not.

    Raises:
        UsageError: anything else.
    """
    if value is None:
        return
    # "not in range" rather than "out of range": NaN is neither.
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise UsageError(f"{name} is {value!r}, expected a number from 0 to 1")


def require_count(name: str, value: Any, *, most: int | None = None) -> None:
    """Check a whole number from 1 to ``most``; None leaves the setting alone.

    Raises:
        UsageError: anything else.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
        raise UsageError(f"{name} is {value!r}, expected 1 or more, a whole number")
    if most is not None and int(value) > most:
        raise UsageError(f"{name} is {value}, expected {most} at most")


def require_margin(name: str, value: Any) -> None:
    """Check how far something reaches beyond a box, as a share of the box's sides: 0 to :data:`LARGEST_MARGIN`.

    Raises:
        UsageError: anything else.
    """
    # "not in range" rather than "out of range": NaN is neither.
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= LARGEST_MARGIN:
        raise UsageError(f"{name} is {value!r}, expected a share of a box's sides, 0 to {LARGEST_MARGIN:g}")
