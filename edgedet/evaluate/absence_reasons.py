"""Why a figure is not there: what a dataset does not hold cannot be found, and is neither found nor missed."""

from __future__ import annotations

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
