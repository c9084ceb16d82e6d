"""Our kernels by themselves: what they give against the host, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from edgedet.artifacts.card import InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.errors import SelftestError, UsageError
from edgedet.geometry import ResizeGeometry, plan_resize
from edgedet.machine.cores import available_cores
from edgedet.postprocess import ULTRALYTICS_CLASS_STEP, Postprocessor, Thresholds
from edgedet.preprocess import Preprocessor
from edgedet.proof.golden_scene import golden_frame
from edgedet.runtimes.base import Array, TensorSpec
from edgedet.runtimes.cuda.device import Cuda
from edgedet.runtimes.cuda.gpu_frames import GpuFrames
from edgedet.runtimes.cuda.kernel_check import (
    RESIZE_RULES,
    RESIZE_SIZES,
    RESIZE_SPECS,
    check_nms,
    check_resize,
    check_some_nms,
    upload,
)
from edgedet.runtimes.cuda.kernels import FrameKernel, NmsKernels
from edgedet.runtimes.cuda.launcher import GpuLauncher, prepared_launcher
from edgedet.runtimes.cuda.suppression import Suppression
from gpu_day.bars import Bar, medians, wall
from gpu_day.library import require_gpu
from gpu_day.outcome import NotHereError, Report

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

NMS_SECONDS = 20.0
"""Time for random cases of NMS; those it does not come to are left to ``make test-gpu``."""
NMS_CASES = 1000
WHOLE_DETECTORS = 3
TOO_LARGE = 3840
"""Longest side of a frame to resize here: the host takes seconds over larger ones."""


def check(report: Report) -> None:
    """Every kind of kernel against the CPU's own code."""
    cuda = require_gpu()
    with prepared_launcher(cuda) as (launcher, stream):
        report.attempt("the kernels compile", lambda: f"by NVRTC, for compute capability {cuda.compute_capability}")
        report.attempt("NMS of random cases", lambda: _random_nms(cuda, launcher, stream))
        report.attempt("NMS of whole detectors", lambda: _whole_detectors(cuda, launcher, stream))
        report.attempt("Ultralytics' raw output", lambda: _raw_outputs(cuda, launcher, stream))
        for rule in RESIZE_RULES:
            for name, spec in RESIZE_SPECS.items():
                what = f"resizing by {rule.rule} to {name}"
                report.attempt(what, lambda spec=spec, rule=rule: _resizes(cuda, launcher, stream, spec, rule))  # type: ignore[misc]


def _random_nms(cuda: Cuda, launcher: GpuLauncher, stream: int) -> str:
    random, end = np.random.default_rng(0), time.monotonic() + NMS_SECONDS
    cases = kept = 0
    while cases < NMS_CASES and time.monotonic() < end:
        # Every fiftieth a large one; the host takes its time over those.
        kept += check_some_nms(cuda, launcher, stream, random, rows=6000 if cases % 50 == 0 else 300)
        cases += 1
    return f"{cases} cases bit for bit as on the host, {kept} boxes kept"


def _whole_detectors(cuda: Cuda, launcher: GpuLauncher, stream: int) -> str:
    random = np.random.default_rng(1)
    output = OutputSpec("candidates", score_threshold=0.05, iou_threshold=0.5, max_detections=300)
    kept = sum(
        check_nms(cuda, launcher, stream, output, random, rows=ROWS, classes=CLASSES)
        for _ in range(WHOLE_DETECTORS)
    )
    return f"{WHOLE_DETECTORS} of 8,400 boxes x 80 classes bit for bit as on the host, {kept} boxes kept"


def _raw_outputs(cuda: Cuda, launcher: GpuLauncher, stream: int) -> str:
    random, kept, cases = np.random.default_rng(2), 0, 0
    for rows, classes in ((21, 1), (2100, 5), (ROWS, CLASSES)):
        for iou in (0.45, 0.5, 0.7):
            output = OutputSpec("yolo_xywh", 0.25, iou, max_detections=300, label_mode="best")
            kept += check_nms(cuda, launcher, stream, output, random, rows=rows, classes=classes)
            cases += 1
    return f"{cases} cases bit for bit as on the host, {kept} boxes kept"


def _resizes(cuda: Cuda, launcher: GpuLauncher, stream: int, spec: InputSpec, rule: ResizeRule) -> str:
    random, sizes = np.random.default_rng(3), [size for size in RESIZE_SIZES if max(size) <= TOO_LARGE]
    for size in sizes:
        check_resize(cuda, launcher, stream, spec, rule, random=random, size=size)
    return f"{len(sizes)} sizes of frames within one grey level of OpenCV's"


def speed(report: Report) -> None:
    """What preparing, finishing and suppressing cost. ``raw_output_ms``, ``resize_ms`` have no limits."""
    bars = [ON_HOST, ON_GPU, *SUPPRESSION.values()]
    try:
        cuda = require_gpu()
    except NotHereError as error:
        report.leave_out(bars, str(error))
        return
    report.measure([ON_HOST, ON_GPU], lambda: pre_and_post(cuda))
    for threshold, bar in SUPPRESSION.items():
        report.measure([bar], lambda threshold=threshold: suppress(cuda, threshold))  # type: ignore[misc]
    report.figure("resize_1080p_to_640_ms", resize_ms(cuda))
    report.figure("ultralytics_raw_output_ms", raw_output_ms(cuda))


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
