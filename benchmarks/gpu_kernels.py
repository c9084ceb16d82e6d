"""Our kernels by themselves: from frame to input, from outputs to detections, NMS against torchvision's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
from gpu_bars import Bar, medians, wall

from edgedet.artifacts.card import InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.errors import SelftestError, UsageError
from edgedet.geometry import ResizeGeometry, plan_resize
from edgedet.machine.hardware import available_cores
from edgedet.postprocess import ULTRALYTICS_CLASS_STEP, Postprocessor, Thresholds
from edgedet.preprocess import Preprocessor
from edgedet.proof.golden_scene import golden_frame
from edgedet.runtimes.base import Array, TensorSpec
from edgedet.runtimes.cuda.check import upload
from edgedet.runtimes.cuda.device import Cuda
from edgedet.runtimes.cuda.gpu_frames import GpuFrames
from edgedet.runtimes.cuda.kernels import FrameKernel, NmsKernels
from edgedet.runtimes.cuda.launcher import prepared_launcher
from edgedet.runtimes.cuda.suppression import Suppression

ROWS, CLASSES, SIDE = 8400, 80, 640
HEIGHT, WIDTH = 1080, 1920
SPEC, RULE = InputSpec(SIDE, SIDE), ResizeRule("letterbox", place="center")
BUSY = 924
"""Scores are uniform numbers to this power: a thousand of the 672,000 lie above 0.25, as in a crowded street."""
CROWDED = 32
"""The same, for 28,500: nearly all that the kernels have room for."""

ON_HOST, ON_GPU = (
    Bar(f"pre + post, 1080p frame on the {where} at 640 (resize{copy}, NMS of 8,400 x 80, download, Detections)",
        "value", 0.35)
    for where, copy in (("host", ", upload"), ("GPU", ""))
)  # fmt: skip
SUPPRESSION = {
    threshold: Bar(f"NMS of 8,400 x 80 above {threshold:g} (against torchvision batched_nms)", "faster", 2)
    for threshold in (0.25, 0.9)
}


class FrameOnGpu:
    """A BGR frame in GPU memory, as PyCUDA or Numba would hold it."""

    def __init__(self, cuda: Cuda, address: int, frame: Array, stream: int) -> None:
        cuda.upload(address, frame, stream)
        cuda.synchronise(stream)
        self.__cuda_array_interface__ = {
            "data": (address, True), "shape": frame.shape, "strides": None, "typestr": "|u1", "version": 3,
        }  # fmt: skip


def record(cuda: Cuda, stream: int, enqueue: Callable[[], None]) -> Any:
    """The work as a CUDA graph, after one plain run: that loads the kernels, which no recording may."""
    enqueue()
    cuda.synchronise(stream)
    cuda.begin_capture(stream)
    try:
        enqueue()
    finally:
        graph = cuda.end_capture(stream)
    return graph


def candidates(power: int) -> tuple[Array, Array]:
    """Boxes float32 [8400, 4] and scores float32 [8400, 80]."""
    random = np.random.default_rng(0)
    corner = random.uniform(0, 560, (ROWS, 2))
    boxes = np.concatenate([corner, corner + random.uniform(8, 80, (ROWS, 2))], axis=1).astype(np.float32)
    return boxes, (random.random((ROWS, CLASSES)) ** power).astype(np.float32)


def pre_and_post(cuda: Cuda) -> Iterator[Bar]:
    """All that ``Detector.detect`` does but the network, with the same classes: wall time, one synchronisation."""
    with prepared_launcher(cuda) as (launcher, stream), ExitStack() as stack:
        output = OutputSpec("candidates", score_threshold=0.25, iou_threshold=0.7, max_detections=300)
        names = tuple(map(str, range(CLASSES)))
        card = ModelCard(family="ssd", architecture="", names=names, input=SPEC, resize=RULE, output=output)
        parts = dict(zip(("boxes", "scores"), candidates(BUSY), strict=True))
        addresses = {name: upload(cuda, launcher, array, stream) for name, array in parts.items()}
        tensors = tuple(TensorSpec(name, (1, *array.shape), array.dtype) for name, array in parts.items())
        thresholds = Thresholds(0.25, 0.7, 300)
        suppression = Suppression(cuda, launcher, card, thresholds, tensors)
        stack.callback(suppression.close)
        postprocess = Postprocessor(
            suppression.card, thresholds, tuple(tensor.name for tensor in suppression.outputs)
        )
        preprocess = Preprocessor(SPEC, RULE, threads=available_cores())
        staging, frame = cuda.pinned((1, SIDE, SIDE, 3), np.uint8), golden_frame(1, HEIGHT, WIDTH)
        stack.callback(cuda.unpin, staging)
        target = cuda.mapped_address(staging) if cuda.integrated else launcher.allocate(staging.nbytes)
        frames = GpuFrames(cuda, launcher, card, target, stream)
        resident = FrameOnGpu(cuda, launcher.allocate(frame.nbytes), frame, stream)
        graph = record(cuda, stream, lambda: suppression.enqueue(addresses, stream))
        stack.callback(cuda.destroy_graph, graph)

        def finish(geometry: ResizeGeometry) -> None:
            cuda.launch(graph, stream)
            cuda.synchronise(stream)
            if not len(postprocess(suppression.results(), geometry)):
                raise SelftestError("no detections, so the figures would mean nothing; please report this")

        def on_host() -> None:
            geometry = preprocess.prepare(frame)
            np.copyto(staging, preprocess.tensor)
            if not cuda.integrated:
                cuda.upload(target, staging, stream)
            finish(geometry)

        def on_gpu() -> None:
            finish(frames.place(resident, 0))
            frames.release()

        for bar, work in ((ON_HOST, on_host), (ON_GPU, on_gpu)):
            yield replace(bar, measured=medians(wall(work))[0])


def suppress(cuda: Cuda, threshold: float) -> Iterator[Bar]:
    """From scores to the 300 best: ours as engines run it, as a CUDA graph, and torchvision's. Wall time, both wait
    for their end."""
    with prepared_launcher(cuda) as (launcher, stream), ExitStack() as stack:
        boxes, scores = candidates(CROWDED)
        output = OutputSpec("candidates", score_threshold=threshold, iou_threshold=0.7, max_detections=300)
        kernels = NmsKernels(launcher, output, classes=CLASSES, rows=ROWS, columns=CLASSES)
        result, kept = kernels.result(300), launcher.allocate(1200)
        boxes_at, scores_at = (upload(cuda, launcher, array, stream) for array in (boxes, scores))

        graph = record(
            cuda, stream, lambda: kernels(boxes_at, scores_at, result, kept, score=threshold, iou=0.7, wanted=300)
        )
        stack.callback(cuda.destroy_graph, graph)

        def ours() -> None:
            cuda.launch(graph, stream)
            cuda.synchronise(stream)

        bar = SUPPRESSION[threshold]
        try:
            theirs = torchvision_nms(boxes, scores, threshold)
        except (ImportError, UsageError) as error:
            yield replace(bar, measured=medians(wall(ours))[0], why=f"no torchvision on this GPU: {error}")
            return
        ours_ms, theirs_ms = medians(wall(ours), wall(theirs))
        counters, found = np.zeros(2, np.int32), np.zeros((300, 4), np.float32)
        cuda.download(counters, result.counters, stream)
        cuda.download(found, result.boxes, stream)
        cuda.synchronise(stream)
        own, other = ({box.tobytes() for box in boxes} for boxes in (found[: counters[1]], theirs().cpu().numpy()))
        # torchvision moves the classes apart in float32, which decides what lies on the threshold.
        same = len(own & other) / max(len(own), len(other))
        why = "" if same > 0.98 else f"only {same:.1%} of the kept boxes are equal"
        yield replace(bar, measured=ours_ms, reference=theirs_ms, why=why)


def torchvision_nms(boxes: Array, scores: Array, threshold: float) -> Callable[[], Any]:
    """The same work by torchvision; gives the kept boxes, a tensor on the GPU.

    Raises:
        ImportError: not installed.
        UsageError: PyTorch cannot use the GPU.
    """
    import torch
    from torchvision.ops import batched_nms

    if not torch.cuda.is_available():
        raise UsageError(f"PyTorch {torch.__version__} cannot use it")
    tensors = [torch.from_numpy(array).cuda() for array in (boxes, scores)]

    def work() -> Any:
        row, label = (tensors[1] > threshold).nonzero(as_tuple=True)
        kept = tensors[0][row[batched_nms(tensors[0][row], tensors[1][row, label], label, 0.7)[:300]]]
        torch.cuda.synchronize()
        return kept

    return work


def resize_ms(cuda: Cuda) -> float:
    """The resize kernel alone: a 1080p frame on the GPU to a 640x640 uint8 letterbox."""
    with prepared_launcher(cuda) as (launcher, stream):
        frame = golden_frame(1, HEIGHT, WIDTH)
        address, target = upload(cuda, launcher, frame, stream), launcher.allocate(SIDE * SIDE * 3)
        kernel, geometry = FrameKernel(launcher, SPEC, RULE), plan_resize(RULE, HEIGHT, WIDTH, SIDE, SIDE)

        def work() -> None:
            kernel(address, WIDTH * 3, geometry, target)
            cuda.synchronise(stream)

        return medians(wall(work))[0]


def raw_output_ms(cuda: Cuda) -> float:
    """Ultralytics' raw output of 8,400 anchors x 80 classes to detections."""
    with prepared_launcher(cuda) as (launcher, stream):
        random = np.random.default_rng(0)
        raw = np.concatenate(
            [
                random.uniform(0, 640, (2, ROWS)),
                random.uniform(8, 80, (2, ROWS)),
                random.random((CLASSES, ROWS)) ** 99,
            ]
        ).astype(np.float32)
        output = OutputSpec("yolo_xywh", 0.25, iou_threshold=0.7, max_detections=300, label_mode="best")
        kernels = NmsKernels(
            launcher, output, classes=CLASSES, rows=ROWS, columns=CLASSES, class_step=float(ULTRALYTICS_CLASS_STEP)
        )
        result, kept, address = kernels.result(300), launcher.allocate(1200), upload(cuda, launcher, raw, stream)

        def work() -> None:
            kernels(address, address + 16 * ROWS, result, kept, score=0.25, iou=0.7, wanted=300)
            cuda.synchronise(stream)

        return medians(wall(work))[0]
