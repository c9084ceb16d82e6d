"""What a detector found in one frame."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.keypoint_skeleton import Skeleton, seen_keypoints
from edgedet.errors import MissingDependencyError

if TYPE_CHECKING:
    import supervision

    from edgedet.masks.base import Masks

TAKEN = {"image_id", "category_id", "bbox", "box", "score", "label", "name", "class_name"}
"""Names of what a row of :meth:`Detections.to_dict`, ``to_coco`` or ``to_supervision`` has anyway."""

SEGMENTATION = "segmentation"
"""What COCO calls an object's outline."""
KEYPOINTS = "keypoints"
NUM_KEYPOINTS = "num_keypoints"
"""What COCO calls an object's keypoints, and the number of those that are seen."""

Index = slice | Sequence[int] | NDArray[np.bool_] | NDArray[np.integer[Any]]


class Detection(NamedTuple):
    """One detection, a tuple.

    Attributes:
        box: float32 [4], x1, y1, x2, y2 in pixels of the frame.
        score: confidence in [0, 1].
        label: index into the class names.
        name: class name.

    >>> box, score, label, name = Detection(np.array([0, 0, 4, 4], np.float32), 0.9, 1, "cup")
    >>> name, score
    ('cup', 0.9)
    """

    box: NDArray[np.float32]
    score: float
    label: int
    name: str


@dataclass(frozen=True, eq=False)
class Detections:
    """Everything found in one frame, best first. ``len()`` counts it; iterating gives :class:`Detection` tuples.

    Attributes:
        boxes: float32 [N, 4], x1, y1, x2, y2, absolute pixels of the frame that was passed in.
        scores: float32 [N] in [0, 1].
        labels: int32 [N], indices into ``names``.
        names: class names, by label.
        frame_size: (height, width) in pixels.
        data: further arrays by name, [N, ...] each (track ids, keypoints). They follow every selection, and are in
            :meth:`to_dict`, :meth:`to_coco` and :meth:`to_supervision` under their names.
        masks: outlines, one for each detection; None of a detector that gives none. They follow every selection.
        keypoints: float32 [N, J, 3], x and y in pixels of the frame (also outside it) and a score, of the J
            keypoints of each detection; None of a detector that gives none. They follow every selection.
        skeleton: names of the J keypoints, which of them are joined, and from which score they count as seen; None
            without keypoints, or where nobody knows.

    >>> found = Detections([[0, 0, 4, 4], [2, 2, 8, 8]], [0.9, 0.4], [1, 0], ("cup", "phone"), (10, 10))
    >>> len(found), found[0].name, found[found.scores < 0.5].labels.tolist()
    (2, 'phone', [0])

    Raises:
        ValueError: arrays that do not fit one another, labels outside ``names``, boxes that are not finite.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int32]
    names: tuple[str, ...]
    frame_size: tuple[int, int]
    data: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    masks: Masks | None = None
    keypoints: NDArray[np.float32] | None = None
    skeleton: Skeleton | None = None

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, np.float32)
        boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
        scores = np.asarray(self.scores, np.float32)
        labels = np.asarray(self.labels, np.int32)
        if (
            boxes.ndim != 2
            or boxes.shape[1] != 4
            or scores.shape != boxes.shape[:1]
            or labels.shape != scores.shape
        ):
            raise ValueError(
                f"boxes {boxes.shape}, scores {scores.shape}, labels {labels.shape}: expected [N, 4], [N], [N]"
            )
        if len(boxes):
            if not np.isfinite(boxes).all():
                raise ValueError("boxes hold NaN or infinity")
            if not (scores.min() >= 0 and scores.max() <= 1):
                raise ValueError(f"scores lie in [{scores.min()}, {scores.max()}], expected [0, 1]")
            if labels.min() < 0 or labels.max() >= len(self.names):
                raise ValueError(
                    f"labels lie in [{labels.min()}, {labels.max()}], but there are {len(self.names)} names"
                )
        data = {name: np.asarray(values) for name, values in self.data.items()}
        for name, values in data.items():
            if values.shape[:1] != scores.shape:
                raise ValueError(f"data {name!r} is {list(values.shape)}, expected {len(scores)} rows")
            if name in TAKEN:
                raise ValueError(f"data cannot be called {name!r}; rows of to_dict or to_coco have that already")
        if self.masks is not None:
            if len(self.masks) != len(scores) or self.masks.frame_size != tuple(self.frame_size):
                height, width = self.masks.frame_size
                raise ValueError(
                    f"{len(self.masks)} masks of a frame of {width}x{height}, expected {len(scores)} of "
                    f"{self.frame_size[1]}x{self.frame_size[0]}"
                )
            if SEGMENTATION in data:
                raise ValueError(f"data cannot be called {SEGMENTATION!r} beside masks, whose name that is in rows")
        keypoints = None if self.keypoints is None else np.asarray(self.keypoints, np.float32)
        if keypoints is not None:
            _require_keypoints(keypoints, len(scores), self.skeleton)
            taken = next((name for name in (KEYPOINTS, NUM_KEYPOINTS) if name in data), None)
            if taken is not None:
                raise ValueError(f"data cannot be called {taken!r} beside keypoints, whose name that is in rows")
        arrays = {"boxes": boxes, "scores": scores, "labels": labels, "data": data, KEYPOINTS: keypoints}
        for name, value in arrays.items():
            object.__setattr__(self, name, value)

    @staticmethod
    def empty(names: Sequence[str] = (), frame_size: tuple[int, int] = (0, 0)) -> Detections:
        """Detections of a frame in which nothing was found.

        Args:
            names: class names, by label.
            frame_size: (height, width) in pixels.

        Returns:
            Arrays of length 0.
        """
        return Detections(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), tuple(names), frame_size
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        for index in range(len(self)):
            yield self[index]

    @overload
    def __getitem__(self, index: int) -> Detection: ...
    @overload
    def __getitem__(self, index: Index) -> Detections: ...
    def __getitem__(self, index: int | Index) -> Detection | Detections:
        """One detection by number; several by slice, mask or numbers.

        Args:
            index: number, slice, bool [N], or integers [M].

        Returns:
            A :class:`Detection` for a number, else :class:`Detections`.

        Raises:
            IndexError: a number outside, or a mask of another length.
        """
        if isinstance(index, int | np.integer):
            label = int(self.labels[index])
            return Detection(self.boxes[index], float(self.scores[index]), label, self.names[label])
        if not isinstance(index, slice):
            index = np.asarray(index)
            if index.dtype != np.bool_:
                index = index.astype(np.intp)
        data = {name: values[index] for name, values in self.data.items()}
        return Detections(
            self.boxes[index],
            self.scores[index],
            self.labels[index],
            self.names,
            self.frame_size,
            data,
            None if self.masks is None else self.masks[index],
            None if self.keypoints is None else self.keypoints[index],
            self.skeleton,
        )

    def plot(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Draw the boxes, and outlines and skeletons where there are some, on a copy of the frame.

        Args:
            frame: uint8 [H, W, 3] BGR, or grey [H, W].

        Returns:
            uint8 [H, W, 3] BGR.
        """
        from edgedet.pictures.drawing import draw

        return draw(frame, self)

    def to_coco(self, image_id: int | str, *, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Rows of a COCO results file (https://cocodataset.org/#format-results).

        Args:
            image_id: the dataset's id of the frame.
            category_ids: the dataset's id of each label; None takes labels themselves.

        Returns:
            One dict per detection with ``image_id``, ``category_id``, ``bbox`` (x, y, width, height in pixels),
            ``score``, and what ``data`` holds; with masks also ``segmentation``, compressed run lengths; with
            keypoints also ``keypoints`` (x, y and score of each, one after another) and ``num_keypoints``, the
            number of those that are seen.
        """
        sizes = self.boxes[:, 2:] - self.boxes[:, :2]
        return [
            {
                "image_id": image_id,
                "category_id": label if category_ids is None else int(category_ids[label]),
                "bbox": [*corner, *size],
                "score": score,
                **more,
            }
            for corner, size, score, label, more in zip(
                self.boxes[:, :2].tolist(),
                sizes.tolist(),
                self.scores.tolist(),
                self.labels.tolist(),
                self._data_rows(self._coco_keypoints),
                strict=True,
            )
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON.

        Returns:
            ``frame_size`` [height, width], and ``detections``, a list of dicts with ``box`` (pixels, two decimals),
            ``score`` (five decimals), ``label``, ``name``, and what ``data`` holds; with masks also
            ``segmentation``, COCO's compressed run lengths; with keypoints also ``keypoints``, a list of x, y
            (pixels, two decimals) and score (five) for each.
        """
        return {
            "frame_size": list(self.frame_size),
            "detections": [
                {
                    "box": box,
                    "score": score,
                    "label": label,
                    "name": self.names[label],
                    **more,
                }
                for box, score, label, more in zip(
                    _rounded(self.boxes, 2),
                    _rounded(self.scores, 5),
                    self.labels.tolist(),
                    self._data_rows(self._plain_keypoints),
                    strict=True,
                )
            ],
        }

    def _data_rows(
        self, of_keypoints: Callable[[NDArray[np.float32]], dict[str, list[Any]]]
    ) -> list[dict[str, Any]]:
        """``data``, masks and keypoints as plain values, one dict for every detection."""
        plain: dict[str, list[Any]] = {name: values.tolist() for name, values in self.data.items()}
        if self.masks is not None:
            plain[SEGMENTATION] = self.masks.to_coco_rle()
        if self.keypoints is not None:
            plain |= of_keypoints(self.keypoints)
        return [{name: values[row] for name, values in plain.items()} for row in range(len(self))]

    def _plain_keypoints(self, keypoints: NDArray[np.float32]) -> dict[str, list[Any]]:
        places, scores = _rounded(keypoints[..., :2], 2), _rounded(keypoints[..., 2:], 5)
        objects = zip(places, scores, strict=True)
        return {KEYPOINTS: [[[*p, *s] for p, s in zip(*each, strict=True)] for each in objects]}

    def _coco_keypoints(self, keypoints: NDArray[np.float32]) -> dict[str, list[Any]]:
        return {
            KEYPOINTS: [each.reshape(-1).tolist() for each in keypoints],
            NUM_KEYPOINTS: seen_keypoints(keypoints, self.skeleton).sum(axis=1).tolist(),
        }

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON.

        Returns:
            One line of text.
        """
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_supervision(self) -> supervision.Detections:
        """The same as roboflow/supervision has it.

        Returns:
            ``supervision.Detections`` with class names under ``data["class_name"]``, masks as bool [N, H, W], and
            keypoints, float32 [N, J, 3], under ``data["keypoints"]``.

        Raises:
            MissingDependencyError: supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise MissingDependencyError(
                "to_supervision needs the package 'supervision', which is not installed: pip install supervision"
            ) from error
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            mask=None if self.masks is None else self.masks.dense(),
            confidence=self.scores.copy(),
            class_id=self.labels.astype(int),
            data={
                "class_name": np.array([self.names[label] for label in self.labels], dtype=object).astype(str),
                **self.data,
                **({} if self.keypoints is None else {KEYPOINTS: self.keypoints.copy()}),
            },
        )

    def __repr__(self) -> str:
        counts = {
            self.names[label]: int(count)
            for label, count in zip(*np.unique(self.labels, return_counts=True), strict=True)
        }
        found = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"
        return f"Detections({found}; frame {self.frame_size[1]}x{self.frame_size[0]})"


def _require_keypoints(keypoints: NDArray[np.float32], count: int, skeleton: Skeleton | None) -> None:
    wanted = "J" if skeleton is None else len(skeleton.names)
    if (
        keypoints.ndim != 3
        or len(keypoints) != count
        or keypoints.shape[2] != 3
        or wanted not in ("J", keypoints.shape[1])
    ):
        raise ValueError(f"keypoints are {list(keypoints.shape)}, expected [{count}, {wanted}, 3]")
    if not np.isfinite(keypoints).all():
        raise ValueError("keypoints hold NaN or infinity")


def _rounded(values: NDArray[np.float32], decimals: int) -> list[Any]:
    """As ``round`` does value by value, in a tenth of the time.

    The products inside are exact, since a float32 leaves 29 bits of a float64 free.
    """
    rounded: list[Any] = np.round(values.astype(np.float64), decimals).tolist()
    return rounded
