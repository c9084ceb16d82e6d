"""Why a figure is not there: what a dataset does not hold cannot be found, and is neither found nor missed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NO_OBJECT = "no object of the judged classes"
NO_COUNTED_OBJECT = "no object of the judged classes that counts (difficult ones and crowds do not)"
OF_COCO = {
    f"{figure}_{size}": f"no {size} object of the judged classes"
    for figure in ("ap", "ar")
    for size in ("small", "medium", "large")
}
OF_CLASS = {f"ap_{size}": f"no {size} object of this class" for size in ("small", "medium", "large")}
OF_POINT = {
    "precision": "no box counts here",
    "recall": NO_COUNTED_OBJECT,
    "f1": "neither a box nor an object that counts",
    "misses": "no image with objects that count",
    "misses_range": "no image with objects that count",
    "false_alarms": "no object-free image (--negatives DIR)",
    "false_alarms_range": "no object-free image (--negatives DIR)",
}


def explained(
    values: Mapping[str, Any], reasons: Mapping[str, str], *, otherwise: str = NO_OBJECT
) -> dict[str, Any]:
    """``values`` and, under ``absent``, why figures among them are NaN or None, by their names.

    ``reasons``: by name; ``otherwise``: of all others.

    >>> explained({"ap": 0.5, "ap_small": float("nan")}, OF_CLASS)["absent"]
    {'ap_small': 'no small object of this class'}
    """
    missing = [name for name, value in values.items() if _is_absent(value)]
    return {**values, "absent": {name: reasons.get(name, otherwise) for name in missing}}


def _is_absent(value: Any) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(_is_absent(item) for item in value)
    return value is None or (isinstance(value, float) and math.isnan(value))
