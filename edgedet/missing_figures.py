"""A figure with nothing behind it is absent with a reason: never perfect, and never zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NotMeasured:
    """What stands in the place of a figure, or of a group of them, that could not be measured.

    Attributes:
        reason: one clause.

    >>> NotMeasured("no power monitor").to_json()
    {'not_measured': 'no power monitor'}
    """

    reason: str

    def to_json(self) -> dict[str, str]:
        """The object as result files have it.

        Returns:
            The reason under ``not_measured``.
        """
        return not_measured(self.reason)


def not_measured(reason: str) -> dict[str, str]:
    """What a result file has in the place of a figure that could not be had."""
    return {"not_measured": reason}


def reason_missing(value: Any) -> str | None:
    """Why ``value``, read from a file or not yet written to one, was not measured; None when it was.

    >>> reason_missing(not_measured("no power monitor")), reason_missing(NotMeasured("no GPU")), reason_missing(3.5)
    ('no power monitor', 'no GPU', None)
    """
    if isinstance(value, NotMeasured):
        return value.reason
    return value["not_measured"] if isinstance(value, dict) and "not_measured" in value else None


def explained(values: Mapping[str, Any], reasons: Mapping[str, str], *, otherwise: str) -> dict[str, Any]:
    """``values`` and, under ``absent``, why figures among them are NaN or None, by their names.

    ``reasons``: by name; ``otherwise``: of all others.

    >>> explained({"ap": 0.5, "ap_small": float("nan")}, {}, otherwise="no such object")["absent"]
    {'ap_small': 'no such object'}
    """
    missing = [name for name, value in values.items() if _is_absent(value)]
    return {**values, "absent": {name: reasons.get(name, otherwise) for name in missing}}


def _is_absent(value: Any) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(_is_absent(item) for item in value)
    return value is None or (isinstance(value, float) and math.isnan(value))
