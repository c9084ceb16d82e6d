"""A detector whose work is done by the workers of a cluster: pictures in, detections out, in order.

It stands where a :class:`edgedet.Detector` stands in evaluations and in ``edgedet detect``. The pictures are read
by the workers, so their paths must lead to them on every node.
"""

from __future__ import annotations

import pickle
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from edgedet import __version__, errors
from edgedet.cluster.session import Cluster
from edgedet.cluster.shipped import ship
from edgedet.cluster.worker import Answer, Order, PictureWork
from edgedet.cluster.workers import work_in_order
from edgedet.detections import Detections
from edgedet.detector import Detector
from edgedet.errors import ClusterError, EdgedetError, FrameError, SourceError, UsageError
from edgedet.pictures.frames import Frame, Unreadable
from edgedet.pictures.sources import FrameSource, ReadsAhead
from edgedet.tuned_choice import recall

MAX_PICTURES_AT_ONCE = 32
"""Maximum number of pictures in a piece, unless a batch is larger: what Ray does for one is then a small part of
it, and what a dead worker loses, too."""
PIECES_EACH = 4
"""Minimum number of pieces of a worker, where there are pictures enough: the last are then not waited for long."""


class ClusterDetector:
    """An artifact, open here and on the workers.

    Args:
        cluster: where the workers are.
        path: of the artifact. Its bytes are sent; the file is read here alone.
        runtime, conf, iou, max_detections: as :class:`edgedet.Detector` takes them.

    Raises:
        EdgedetError: what :class:`edgedet.Detector` raises, before any worker has begun.
    """

    def __init__(
        self,
        cluster: Cluster,
        path: str | Path,
        *,
        runtime: str = "auto",
        conf: float | None = None,
        iou: float | None = None,
        max_detections: int | None = None,
    ) -> None:
        self.path = Path(path)
        opened = self.path
        # What was tuned here is opened here, and so it is opened there.
        tuned = recall(opened) if runtime == "auto" and opened.is_file() else None
        if tuned is not None:
            opened, runtime = tuned.place(opened), tuned.runtime
        options: dict[str, Any] = {
            "runtime": runtime,
            "conf": conf,
            "iou": iou,
            "max_detections": max_detections,
            # As on one machine, where every core has a picture of its own.
            "threads": 1,
        }
        self._cluster = cluster
        self._local = Detector(opened, **options)
        try:
            order = Order(ship(opened), options, __version__, self._local.description, self._local.device)
        except EdgedetError:
            self._local.close()
            raise
        self._gpu = self._local.device == "gpu"
        self._order = cluster.ray.put(order)
        self.card = self._local.card
        self.thresholds = self._local.thresholds
        self.names = self._local.names
        self.description = f"{self._local.description}, {cluster.workers} workers of Ray {cluster.ray.__version__}"

    def detect(self, frame: Any) -> Detections:
        """Detections of one frame, made here: for pictures that are drawn."""
        return self._local.detect(frame)

    def detect_files(self, paths: Sequence[Path]) -> Generator[Detections | SourceError | FrameError, None, None]:
        """Detections of every picture, in the order of ``paths``, or why it could not be read.

        Raises:
            EdgedetError: what the workers could not go on with.
            ClusterError: the workers end again and again, or an answer is missing or there twice.
        """
        expected = 0
        with closing(self._rows(paths)) as rows:
            for number, answer in rows:
                if number != expected:
                    raise ClusterError(
                        f"the answer of picture {number} came where {expected} was due: run it again, and report it"
                    )
                expected += 1
                yield answer if isinstance(answer, Detections) else _error(*answer, paths[number])
        if expected != len(paths):
            raise ClusterError(f"{expected} of {len(paths)} answers came from the workers; run it again")

    def stream(
        self, source: FrameSource, *, pictures: bool = False
    ) -> Generator[tuple[Frame, Detections], None, None]:
        """Frames with their detections, as :meth:`edgedet.Detector.stream` gives them.

        Args:
            source: opened images. What cannot be read is told by it.
            pictures: whether the frames have their pixels, which are then read here once more; else they are empty.

        Raises:
            UsageError: a video, camera or stream, which one machine reads frame by frame.
        """
        paths = getattr(source, "paths", None)
        if paths is None or not isinstance(source, ReadsAhead):
            raise UsageError(f"--ray takes pictures and folders of them; {source.description} is none")
        return self._streamed(source, paths, pictures)

    def _streamed(
        self, source: ReadsAhead, paths: Sequence[Path], pictures: bool
    ) -> Generator[tuple[Frame, Detections], None, None]:
        nothing = np.zeros((0, 0, 3), np.uint8)
        with closing(self.detect_files(paths)) as answers:
            for item, answer in zip(source.items(), answers, strict=True):
                number, path = item
                if not isinstance(answer, Detections):
                    source.tell(Unreadable(str(path), number, str(answer)))
                    continue
                frame = source.read(item) if pictures else Frame(nothing, str(path), number)
                if isinstance(frame, Unreadable):
                    source.tell(frame)
                    continue
                yield frame, answer

    def close(self) -> None:
        """Close what is open here; calling twice is harmless."""
        self._local.close()

    def __enter__(self) -> ClusterDetector:
        return self

    def __exit__(self, *ending: object) -> None:
        self.close()

    def _rows(self, paths: Sequence[Path]) -> Generator[tuple[int, Answer], None, None]:
        """Numbers and answers, as they come."""
        if not paths:
            return
        each = self._each(len(paths))
        # Workers have folders of their own for the current one.
        pieces = ([str(path.absolute()) for path in paths[at : at + each]] for at in range(0, len(paths), each))
        work = PictureWork([self._order])
        count = min(self._cluster.workers, -(-len(paths) // each))
        cores, gpus = (0, 1) if self._gpu else (1, 0)
        number = 0
        with closing(work_in_order(self._cluster, work, pieces, count=count, cores=cores, gpus=gpus)) as packed:
            for piece in packed:
                for answer in pickle.loads(piece):
                    yield number, answer
                    number += 1

    def _each(self, pictures: int) -> int:
        """Pictures of a piece: whole batches of the artifact's, enough of them, and pieces for everybody."""
        batch = max(self.card.input.batch, 1)
        share = pictures // (self._cluster.workers * PIECES_EACH)
        return max(min(share, max(MAX_PICTURES_AT_ONCE, batch)) // batch, 1) * batch


def _error(name: str, sentence: str, path: Path) -> SourceError | FrameError:
    """What a worker said, as the error it is on one machine: of one picture, to be given; of all, raised here."""
    kind = getattr(errors, name, ClusterError)
    error = kind(sentence.replace(str(path.absolute()), str(path)))
    if isinstance(error, SourceError | FrameError):
        return error
    raise error
