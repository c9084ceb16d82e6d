"""Names of an object's keypoints, and which of them are joined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Skeleton:
    """What the keypoints of a detector are: J names, and the lines between them.

    Attributes:
        names: of the keypoints, in their order; one at least.
        links: pairs of indices into ``names`` that a picture joins with a line.
        visible: score of a keypoint from which it counts as seen: it is drawn, and counted in COCO's
            ``num_keypoints``.

    >>> Skeleton(("head", "tail"), ((0, 1),)).visible
    0.5

    Raises:
        ValueError: no names, or a link to a keypoint that is not there.
    """

    names: tuple[str, ...]
    links: tuple[tuple[int, int], ...] = ()
    visible: float = 0.5

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("a skeleton has no keypoints; expected one name at least")
        beyond = next((link for link in self.links if not all(0 <= end < len(self.names) for end in link)), None)
        if beyond is not None:
            raise ValueError(
                f"a skeleton joins the keypoints {beyond[0]} and {beyond[1]}, expected numbers from 0 to "
                f"{len(self.names) - 1}"
            )


COCO_PERSON = Skeleton(
    names=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    links=(
        (15, 13),
        (13, 11),
        (16, 14),
        (14, 12),
        (11, 12),
        (5, 11),
        (6, 12),
        (5, 6),
        (5, 7),
        (6, 8),
        (7, 9),
        (8, 10),
        (1, 2),
        (0, 1),
        (0, 2),
        (1, 3),
        (2, 4),
        (3, 5),
        (4, 6),
    ),
)
"""Skeleton of ``person_keypoints_val2017.json`` (https://cocodataset.org/#keypoints-2017), which counts from 1."""


def seen_keypoints(keypoints: NDArray[np.float32], skeleton: Skeleton | None) -> NDArray[np.bool_]:
    """Which of ``keypoints`` [N, J, 3] count as seen, bool [N, J]; all where no ``skeleton`` says from which score.

    >>> seen_keypoints(np.array([[[1, 1, 0.4], [2, 2, 0.6]]], np.float32), Skeleton(("head", "tail"))).tolist()
    [[False, True]]
    """
    if skeleton is None:
        return np.ones(keypoints.shape[:2], np.bool_)
    seen: NDArray[np.bool_] = keypoints[..., 2] >= np.float32(skeleton.visible)
    return seen


def named_skeleton(count: int, names: tuple[str, ...] = ()) -> Skeleton:
    """``count`` keypoints of which a file says no more than their ``names``, or not even those.

    As many as COCO's persons have are taken for those; others are numbered from 1.

    >>> named_skeleton(2).names, named_skeleton(17) == COCO_PERSON
    (('keypoint 1', 'keypoint 2'), True)
    """
    if not names and count == len(COCO_PERSON.names):
        return COCO_PERSON
    names = names or tuple(f"keypoint {number}" for number in range(1, count + 1))
    return COCO_PERSON if names == COCO_PERSON.names else Skeleton(names)
