"""What one pass over the pictures leaves behind."""

from __future__ import annotations

import numpy as np

from edgedet.datasets.dataset import ImageRecord
from edgedet.detections import Detections
from edgedet.evaluate.coco import CocoEvaluator
from edgedet.evaluate.matching import State, counted_objects, match_objects
from edgedet.evaluate.row_store import RowStore

ROW = np.dtype([("image", "<i4"), ("label", "<i4"), ("score", "<f4"), ("state", "u1")])
OBJECT = np.dtype([("image", "<i4"), ("row", "<i4"), ("label", "<i4"), ("score", "<f4"), ("counted", "?")])
BOX = np.dtype([("image", "<i4"), ("label", "<i4"), ("score", "<f4"), ("box", "<f4", (4,))])


class Collector:
    """COCO's rows and our own, aside, and a few numbers per image.

    Images are numbered in the order in which they come: those of the dataset (``numbers`` has their places in it),
    then the object-free ones from elsewhere (``negatives`` has theirs).

    Args:
        names: class names that are judged.
        masks: whether outlines are judged, too.
        keypoints: whether keypoints are.
        frames: whether images are frames of clips, of which it is kept what was found of each object.
        boxes: whether boxes are kept, for what follows them over time.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        *,
        masks: bool,
        keypoints: bool = False,
        frames: bool = False,
        boxes: bool = False,
    ) -> None:
        self.names = names
        self.coco = CocoEvaluator(names)
        self.masks = CocoEvaluator(names, of="masks") if masks else None
        self.keypoints = CocoEvaluator(names, of="keypoints") if keypoints else None
        self.rows = RowStore(ROW)
        """Detections in the dataset's images, matched; ``image``: number of the image, as everywhere here."""
        self.strays = RowStore(ROW)
        """Detections in the others."""
        self.found = RowStore(OBJECT) if frames else None
        """Objects, in the order of their records, with the score of the box that found them; -1 where none did."""
        self.boxes = RowStore(BOX) if boxes else None
        self.objects = np.zeros(len(names), np.int64)
        self.top: list[float] = []
        """Best score of each image, -1 without detections."""
        self.to_find: list[int] = []
        self.empty: list[bool] = []
        self.numbers: list[int] = []
        self.negatives: list[int] = []

    def add(self, number: int, record: ImageRecord, detections: Detections) -> None:
        """The next image of the dataset; labels of both are of ``names``."""
        image = len(self.top)
        self.numbers.append(number)
        self.coco.add(record, detections)
        for more in (self.masks, self.keypoints):
            if more is not None:
                more.add(record, detections)
        states, finds = match_objects(record, detections)
        counted = counted_objects(record)
        self.rows.append(_rows(image, detections, states))
        if self.found is not None:
            objects = np.zeros(len(record), OBJECT)
            objects["image"], objects["row"], objects["label"] = image, np.arange(len(record)), record.labels
            objects["score"] = np.append(detections.scores, np.float32(-1))[finds]
            objects["counted"] = counted
            self.found.append(objects)
        np.add.at(self.objects, record.labels[counted], 1)
        self._keep(image, detections, int(counted.sum()), not len(record))

    def add_negative(self, number: int, detections: Detections) -> None:
        """A picture without objects from elsewhere; it has no part in the average precisions."""
        image = len(self.top)
        self.negatives.append(number)
        self.strays.append(_rows(image, detections, np.full(len(detections), State.FALSE, np.uint8)))
        self._keep(image, detections, 0, True)

    def _keep(self, image: int, detections: Detections, to_find: int, empty: bool) -> None:
        self.top.append(float(detections.scores.max()) if len(detections) else -1.0)
        self.to_find.append(to_find)
        self.empty.append(empty)
        if self.boxes is not None:
            boxes = np.zeros(len(detections), BOX)
            boxes["image"], boxes["label"] = image, detections.labels
            boxes["score"], boxes["box"] = detections.scores, detections.boxes
            self.boxes.append(boxes)


def _rows(
    image: int, detections: Detections, states: np.ndarray[tuple[int], np.dtype[np.uint8]]
) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    rows = np.zeros(len(detections), ROW)
    rows["image"], rows["label"] = image, detections.labels
    rows["score"], rows["state"] = detections.scores, states
    return rows
