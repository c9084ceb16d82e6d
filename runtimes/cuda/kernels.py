"""Our own kernels, called from Python: preprocessing and non-maximum suppression without leaving the GPU."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgedet.artifacts.card import InputSpec, OutputSpec, ResizeRule
from edgedet.geometry import ResizeGeometry
from edgedet.preprocess import normalisation

CHUNK = 4096
"""Candidates judged together (as in nms.cu)."""
THREADS = 256
MODES = {("all", "shared"): 0, ("best", "shared"): 1, ("all", "per_class"): 2, ("best", "per_class"): 2}
"""(label mode, box layout) of the card to the kernel's way of choosing candidates."""

KERNELS = (
    "resize_frame",
    "select_candidates",
    "select_planar",
    "rank_candidates",
    "suppress_by_kept",
    "overlap_matrix",
    "keep_best",
    "gather_kept",
)


class Placement(ctypes.Structure):
    """Place of the frame on the canvas (resize.cu)."""

    _fields_ = [(name, ctypes.c_int) for name in ("top", "left", "height", "width")]


class Channels(ctypes.Structure):
    """Padding, offset and divisor by channel (resize.cu)."""

    _fields_ = [(name, ctypes.c_float * 3) for name in ("pad", "offset", "divisor")]


class Launcher(Protocol):
    """What runs a kernel: the GPU, or a build of the same source for the CPU."""

    def launch(self, name: str, grid: tuple[int, int], threads: int, arguments: Sequence[Any]) -> None:
        """Run ``name``; ``arguments`` are ctypes values, pointers as ``c_void_p``."""

    def allocate(self, size: int) -> int:
        """Memory the kernels can use: its address."""

    def clear(self, address: int, size: int) -> None:
        """Fill with zeros, in order with the launches."""


class FrameKernel:
    """Brings frames that are on the GPU into the network's input, within one grey level of what
    :class:`edgedet.preprocess.Preprocessor` does on the CPU.
    """

    def __init__(self, launcher: Launcher, spec: InputSpec, resize: ResizeRule) -> None:
        self._launcher = launcher
        self._spec = spec
        if spec.dtype == "uint8":
            self._kind = 0
        else:
            self._kind = 1 if spec.normalise == "graph" else 2
        offset, divisor = normalisation(spec)
        pad = np.array(resize.pad, np.float32)
        self._channels = Channels(
            (ctypes.c_float * 3)(*pad), (ctypes.c_float * 3)(*offset), (ctypes.c_float * 3)(*divisor)
        )

    def __call__(self, frame: int, pitch: int, geometry: ResizeGeometry, target: int) -> None:
        """``frame``: address of uint8 [H, W, 3] BGR, rows of ``pitch`` bytes; ``target``: of one image's input."""
        spec = self._spec
        self._launcher.launch(
            "resize_frame",
            (-(-spec.height * spec.width // THREADS), 1),
            THREADS,
            (
                ctypes.c_void_p(frame),
                *map(ctypes.c_int, (geometry.frame_height, geometry.frame_width, pitch)),
                ctypes.c_void_p(target),
                *map(ctypes.c_int, (spec.height, spec.width)),
                Placement(geometry.top, geometry.left, geometry.height, geometry.width),
                self._channels,
                *map(ctypes.c_int, (self._kind, spec.layout == "NCHW", spec.colour == "RGB")),
            ),
        )


@dataclass(frozen=True)
class Suppressed:
    """Addresses of one image's result: boxes float32 [K, 4], scores float32 [K], labels int32 [K], zeros after the
    last; ``counters`` int32 [2]: candidates (more than ``capacity``: the result is incomplete) and kept.
    """

    boxes: int
    scores: int
    labels: int
    counters: int


class NmsKernels:
    """Candidates to detections with the rules of the card, identical to :func:`edgedet.nms.nms` on the host.

    ``rows``, ``columns``: of the scores [A, C]. ``capacity``: most candidates above the threshold; beyond it the
    result is incomplete, which ``counters`` tells. ``class_step``: pixels by which classes are moved apart.
    Memory is taken once: 60 bytes per candidate and 2 MiB.
    """

    def __init__(
        self,
        launcher: Launcher,
        output: OutputSpec,
        *,
        classes: int,
        rows: int,
        columns: int,
        capacity: int = 32768,
        class_step: float = 0.0,
    ) -> None:
        self._launcher = launcher
        self._output = output
        self._classes = classes
        self._rows, self._columns = rows, columns
        self._class_step = class_step
        self._planar = output.format == "yolo_xywh"
        self.mode = MODES[output.label_mode, output.box_layout]
        self.capacity = min(capacity, rows if self._planar else rows * columns)
        take = launcher.allocate
        self._keys, self._picked = take(8 * self.capacity), take(16 * self.capacity)
        self._labels, self._dead = take(4 * self.capacity), take(4 * self.capacity)
        self._boxes, self._scores = take(16 * self.capacity), take(4 * self.capacity)
        self._sorted_labels = take(4 * self.capacity)
        self._matrix = take(CHUNK * CHUNK // 8)

    def result(self, wanted: int) -> Suppressed:
        """Memory for one image's detections."""
        take = self._launcher.allocate
        return Suppressed(take(16 * wanted), take(4 * wanted), take(4 * wanted), take(8))

    def __call__(
        self, boxes: int, scores: int, result: Suppressed, kept: int, *, score: float, iou: float, wanted: int
    ) -> None:
        """``boxes``: address of float32 [A, 4]; ``scores``: of float32 [A, C]; ``kept``: of int32 [wanted].

        Of the format ``yolo_xywh``: [4, A] and [C, A].
        """
        pointer, integer, real = ctypes.c_void_p, ctypes.c_int, ctypes.c_float
        launch, capacity = self._launcher.launch, self.capacity
        counters = pointer(result.counters)
        self._launcher.clear(result.counters, 8)
        chosen = (pointer(self._keys), pointer(self._picked), pointer(self._labels))
        limits = (real(score), real(self._output.min_box_side), integer(capacity), counters)
        if self._planar:
            launch(
                "select_planar",
                (-(-self._rows // THREADS), 1),
                THREADS,
                (pointer(boxes), pointer(scores), integer(self._rows), integer(self._columns), *limits, *chosen),
            )
        else:
            items = self._rows * (self._columns if self.mode == 0 else 1)
            launch(
                "select_candidates",
                (-(-items // THREADS), 1),
                THREADS,
                (pointer(boxes), pointer(scores), integer(self._rows), integer(self._columns),
                 integer(self._classes), integer(self.mode), *limits, *chosen),
            )  # fmt: skip
        launch(
            "rank_candidates",
            (-(-capacity // THREADS), 1),
            THREADS,
            (counters, integer(capacity), integer(self._output.candidates_per_class or 0), pointer(self._keys),
             pointer(self._picked), pointer(self._labels), pointer(self._boxes), pointer(self._scores),
             pointer(self._sorted_labels), pointer(self._dead)),
        )  # fmt: skip
        for start in range(0, capacity, CHUNK):
            common = (counters, integer(capacity), integer(start), integer(wanted))
            overlapping = (real(iou), real(self._class_step))
            sorted_boxes, labels = pointer(self._boxes), pointer(self._sorted_labels)
            if start:
                launch(
                    "suppress_by_kept",
                    (CHUNK // THREADS, 1),
                    THREADS,
                    (*common, *overlapping, sorted_boxes, labels, pointer(kept), pointer(self._dead)),
                )
            launch(
                "overlap_matrix",
                (CHUNK // THREADS, CHUNK // 64),
                THREADS,
                (*common, *overlapping, sorted_boxes, labels, pointer(self._dead), pointer(self._matrix)),
            )
            launch("keep_best", (1, 1), 64, (*common, pointer(self._dead), pointer(self._matrix), pointer(kept)))
        launch(
            "gather_kept",
            (-(-wanted // THREADS), 1),
            THREADS,
            (counters, integer(wanted), pointer(self._boxes), pointer(self._scores), pointer(self._sorted_labels),
             pointer(kept), pointer(result.boxes), pointer(result.scores), pointer(result.labels)),
        )  # fmt: skip
