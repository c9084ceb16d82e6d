"""A figure with nothing behind it is absent with a reason: never perfect, and never zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


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
