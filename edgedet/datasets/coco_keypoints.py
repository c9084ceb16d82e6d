"""Keypoints in COCO files: what categories say of them, and how annotations have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgedet.artifacts.keypoint_skeleton import Skeleton


def skeleton_of(categories: Sequence[Any]) -> tuple[Skeleton | None, str]:
    """What the keypoints of a file's categories are, or None; and why there are none, where the file has some.

    All categories that have keypoints must name the same ones.
    """
    having = [each for each in categories if isinstance(each, dict) and each.get("keypoints")]
    if not having:
        return None, ""
    names = having[0]["keypoints"]
    if not isinstance(names, list) or any(each["keypoints"] != names for each in having):
        return None, "keypoints not read: categories name different ones"
    links = having[0].get("skeleton")
    pairs = links if isinstance(links, list) else []
    try:
        # COCO counts from 1.
        ends = tuple((int(first) - 1, int(second) - 1) for first, second in pairs)
        return Skeleton(tuple(map(str, names)), ends), ""
    except (TypeError, ValueError) as error:
        return None, f"keypoints not read: the skeleton of {having[0].get('name')!r} cannot be meant ({error})"


def written_skeleton(skeleton: Skeleton | None) -> dict[str, Any]:
    """What a category says of its keypoints."""
    if skeleton is None:
        return {}
    links = [[first + 1, second + 1] for first, second in skeleton.links]
    return {"keypoints": list(skeleton.names), "skeleton": links}


def written_keypoints(keypoints: Sequence[Sequence[float]]) -> dict[str, Any]:
    """What an annotation says of its keypoints: x, y and visibility of each."""
    if not keypoints:
        return {}
    flat = [value for x, y, seen in keypoints for value in (round(x, 4), round(y, 4), int(seen))]
    return {"keypoints": flat, "num_keypoints": sum(seen > 0 for _, _, seen in keypoints)}
