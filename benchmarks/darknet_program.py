"""Darknet itself, pjreddie's or AlexeyAB's, through its ``libdarknet.so``."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class _Image(ctypes.Structure):
    _fields_ = (("w", ctypes.c_int), ("h", ctypes.c_int), ("c", ctypes.c_int), ("data", ctypes.c_void_p))


class _Box(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_float) for name in ("x", "y", "w", "h"))


class _Detection(ctypes.Structure):
    _fields_ = (
        ("bbox", _Box),
        ("classes", ctypes.c_int),
        ("prob", ctypes.POINTER(ctypes.c_float)),
        ("mask", ctypes.c_void_p),
        ("objectness", ctypes.c_float),
        ("sort_class", ctypes.c_int),
    )


class _AlexeyABDetection(ctypes.Structure):
    _fields_ = (
        ("bbox", _Box),
        ("classes", ctypes.c_int),
        ("best_class_idx", ctypes.c_int),
        ("prob", ctypes.POINTER(ctypes.c_float)),
        ("mask", ctypes.c_void_p),
        ("objectness", ctypes.c_float),
        ("sort_class", ctypes.c_int),
        ("uc", ctypes.c_void_p),
        ("points", ctypes.c_int),
        ("embeddings", ctypes.c_void_p),
        ("embedding_size", ctypes.c_int),
        ("sim", ctypes.c_float),
        ("track_id", ctypes.c_int),
    )


class Found(NamedTuple):
    """``boxes`` [K, 4] corners in pixels of the frame, clipped to it; ``scores``, ``labels`` [K]."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int32]


class Program:
    """One network in one library. The library is never unloaded, and frees little of what it takes."""

    def __init__(self, library: Path, cfg: Path, weights: Path, size: tuple[int, int]) -> None:
        """``size``: (height, width) of the network's input."""
        self._library: Any = ctypes.CDLL(str(library.resolve()), mode=os.RTLD_NOW)
        self.alexeyab = hasattr(self._library, "network_predict_ptr")
        self._size = size
        library_of: Any = self._library
        files = str(cfg).encode(), str(weights).encode()
        for name in ("resize_image", "letterbox_image"):
            function = getattr(library_of, name)
            function.restype, function.argtypes = _Image, (_Image, ctypes.c_int, ctypes.c_int)
        library_of.free_image.argtypes = (_Image,)
        with _silent():
            if self.alexeyab:
                library_of.load_network_custom.restype = ctypes.c_void_p
                self._network = ctypes.c_void_p(library_of.load_network_custom(*files, 0, 1))
            else:
                library_of.load_network.restype = ctypes.c_void_p
                self._network = ctypes.c_void_p(library_of.load_network(*files, 0))
                library_of.set_batch_network(self._network, 1)
        kind = _AlexeyABDetection if self.alexeyab else _Detection
        library_of.get_network_boxes.restype = ctypes.POINTER(kind)

    def detect(
        self, frame: NDArray[np.uint8], *, classes: int, thresh: float, iou: float, letterbox: bool, cells: bool
    ) -> Found:
        """What ``test_detector`` does with a BGR frame up to drawing; ``cells``: as ``test_yolo`` does with v1."""
        height, width = frame.shape[:2]
        pixels = np.ascontiguousarray(frame[..., ::-1].transpose(2, 0, 1), np.float32) / np.float32(255)
        image = _Image(width, height, 3, pixels.ctypes.data)
        place = self._library.letterbox_image if letterbox else self._library.resize_image
        with _silent():
            sized = place(image, self._size[1], self._size[0])
            predict = self._library.network_predict_ptr if self.alexeyab else self._library.network_predict
            predict(self._network, ctypes.c_void_p(sized.data))
            count = ctypes.c_int(0)
            sides = (1, 1) if cells else (width, height)
            arguments = [
                self._network,
                *sides,
                ctypes.c_float(thresh),
                ctypes.c_float(0.5),
                None,
                0 if cells else 1,
                ctypes.byref(count),
            ]
            if self.alexeyab:
                arguments.append(int(letterbox))
            found = self._library.get_network_boxes(*arguments)
            self._library.do_nms_sort(found, count.value, classes, ctypes.c_float(iou))
        result = self._read(found, count.value, classes, (height, width))
        with _silent():
            self._library.free_detections(found, count.value)
            self._library.free_image(sized)
        return result

    def _read(self, found: Any, count: int, classes: int, size: tuple[int, int]) -> Found:
        boxes, scores, labels = [], [], []
        scale = np.array([size[1], size[0]] * 2)
        for index in range(count):
            entry = found[index]
            probabilities = np.ctypeslib.as_array(entry.prob, (classes,))
            for label in np.flatnonzero(probabilities):
                box = entry.bbox
                # Boxes in the border of a letterbox, which have nothing of the picture in them, are no detections.
                corners = (box.x - box.w / 2, box.y - box.h / 2, box.x + box.w / 2, box.y + box.h / 2)
                clipped = np.clip(np.array(corners) * scale, 0, scale)
                if not (clipped[2:] > clipped[:2]).all():
                    continue
                boxes.append(clipped)
                # v1 has no activation that would keep them below 1; edgedet does.
                scores.append(min(float(probabilities[label]), 1.0))
                labels.append(int(label))
        return Found(
            np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int32)
        )


@contextmanager
def _silent() -> Iterator[None]:
    """Darknet writes to both streams, from C."""
    sys.stdout.flush()
    kept = os.dup(1), os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        for stream, former in zip((1, 2), kept, strict=True):
            os.dup2(former, stream)
            os.close(former)
        os.close(nothing)
