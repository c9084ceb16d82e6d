"""A detector whose work is done by the workers of a cluster: pictures in, detections out, in order.

It stands where a :class:`edgedet.Detector` stands in evaluations and in ``edgedet detect``. The pictures are read
by the workers, so their paths must lead to them on every node.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from edgedet import __version__, errors
from edgedet.cluster.session import Cluster
from edgedet.cluster.shipped import ship
from edgedet.cluster.worker import Order, Worker
from edgedet.detections import Detections
from edgedet.detector import Detector
from edgedet.errors import ClusterError, EdgedetError, FrameError, SourceError, UsageError
from edgedet.pictures.frames import Frame, Unreadable
from edgedet.pictures.sources import FrameSource, ReadsAhead
from edgedet.tuned_choice import recall

MOST_AT_ONCE = 32
"""Pictures of a task: what Ray does for one is then a small part of it, and what a dead worker loses, too."""
TASKS_EACH = 4
"""Of a worker, at least where there are pictures enough: the last ones are then not waited for long."""
MOST_RETRIES = 20
"""How often a batch is given to another worker. What ends every worker must not be tried for ever."""


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
            for number, packed in rows:
                if number != expected:
                    raise ClusterError(
                        f"the answer of picture {number} came where {expected} was due: run it again, and report it"
                    )
                expected += 1
                answer = pickle.loads(packed)
                if not isinstance(answer, Detections):
                    name, sentence = answer
                    answer = _error(name, sentence, paths[number])
                yield answer
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

    def _rows(self, paths: Sequence[Path]) -> Generator[tuple[int, bytes], None, None]:
        """Numbers and packed answers, as they come."""
        if not paths:
            return
        ray = self._cluster.ray
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = context.enable_auto_log_stats = context.print_on_execution_start = False
        each = self._each(len(paths))
        # Workers have folders of their own for the current one.
        items = [{"number": number, "path": str(path.absolute())} for number, path in enumerate(paths)]
        strategy = ray.data.ActorPoolStrategy
        workers = min(self._cluster.workers, -(-len(paths) // each))
        pictures = ray.data.from_items(items, override_num_blocks=-(-len(items) // each))
        with warnings.catch_warnings():
            # Of the option for retries, which goes with Ray 2.64; the extra asks for an older one.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            data = pictures.map_batches(
                Worker,
                fn_constructor_args=(self._order,),
                batch_size=None,
                batch_format="pyarrow",
                compute=strategy(size=workers) if self._cluster.fixed else strategy(min_size=1, max_size=workers),
                num_cpus=0 if self._gpu else 1,
                num_gpus=1 if self._gpu else 0,
                ray_remote_args_fn=_retried,
            )
        try:
            for table in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                yield from zip(table.column("number").to_pylist(), table.column("answer").to_pylist(), strict=True)
        except EdgedetError:
            raise
        except ray.exceptions.RayError as error:
            raise ClusterError(f"the workers cannot go on: {_plain(error)}") from error

    def _each(self, pictures: int) -> int:
        """Pictures of a task: whole batches of the artifact's, enough of them, and tasks for everybody."""
        batch = max(self.card.input.batch, 1)
        share = pictures // (self._cluster.workers * TASKS_EACH)
        return max(min(share, max(MOST_AT_ONCE, batch)) // batch, 1) * batch


def _retried() -> dict[str, Any]:
    return {"max_task_retries": MOST_RETRIES}


def _error(name: str, sentence: str, path: Path) -> SourceError | FrameError:
    """What a worker said, as the error it is on one machine: of one picture, to be given; of all, raised here."""
    kind = getattr(errors, name, ClusterError)
    error = kind(sentence.replace(str(path.absolute()), str(path)))
    if isinstance(error, SourceError | FrameError):
        return error
    raise error


def _plain(error: BaseException) -> str:
    """The last line of Ray's report, which is the error's own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
