"""What the GPU path costs: preprocessing, NMS against torchvision's, and engines end to end. Needs an NVIDIA GPU.

    python benchmarks/gpu.py [ENGINE ...] [--json OUT]

Medians of 200 runs after 50 unmeasured ones, in one process. What is missing is named and left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgedet import Detector
from edgedet.card import InputSpec, OutputSpec, ResizeRule
from edgedet.errors import EdgedetError
from edgedet.geometry import plan_resize
from edgedet.golden import golden_frame
from edgedet.machine import describe_machine
from edgedet.postprocess import ULTRALYTICS_CLASS_STEP
from edgedet.runtimes.cuda.device import Cuda
from edgedet.runtimes.cuda.kernels import FrameKernel, NmsKernels
from edgedet.runtimes.cuda.launcher import GpuLauncher

WARMUP, RUNS = 50, 200
ROWS, CLASSES = 8400, 80


def median_ms(work: Callable[[], object]) -> float:
    """Milliseconds; ``work`` waits for its own end."""
    times = []
    for index in range(WARMUP + RUNS):
        begin = time.perf_counter()
        work()
        if index >= WARMUP:
            times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times)


def preprocessing(cuda: Cuda, launcher: GpuLauncher, stream: int) -> float:
    """A 1080p frame on the GPU to a 640x640 uint8 letterbox."""
    spec, rule = InputSpec(640, 640), ResizeRule("letterbox", place="center")
    frame = golden_frame(1, 1080, 1920)
    address, target = launcher.allocate(frame.nbytes), launcher.allocate(640 * 640 * 3)
    cuda.upload(address, frame, stream)
    kernel, geometry = FrameKernel(launcher, spec, rule), plan_resize(rule, 1080, 1920, 640, 640)

    def work() -> None:
        kernel(address, 1920 * 3, geometry, target)
        cuda.synchronise(stream)

    return median_ms(work)


def suppression(
    cuda: Cuda, launcher: GpuLauncher, stream: int, threshold: float
) -> tuple[float, float | None, int]:
    """NMS of 8,400 boxes x 80 classes: ours, torchvision's ``batched_nms`` on the same GPU; the candidates."""
    random = np.random.default_rng(0)
    corner = random.uniform(0, 560, (ROWS, 2))
    boxes = np.concatenate([corner, corner + random.uniform(8, 80, (ROWS, 2))], axis=1).astype(np.float32)
    # As steep as a detector's: a few per cent of the 672,000 lie above 0.25.
    scores = (random.random((ROWS, CLASSES)) ** 32).astype(np.float32)
    candidates = int(np.count_nonzero(scores > threshold))
    output = OutputSpec("candidates", score_threshold=threshold, iou_threshold=0.7, max_detections=300)
    kernels = NmsKernels(launcher, output, classes=CLASSES, rows=ROWS, columns=CLASSES)
    if candidates > kernels.capacity:
        raise SystemExit(
            f"{candidates} candidates are more than the kernels take ({kernels.capacity}): no comparison"
        )
    result, kept = kernels.result(300), launcher.allocate(1200)
    on_gpu = [launcher.allocate(array.nbytes) for array in (boxes, scores)]
    for array, address in zip((boxes, scores), on_gpu, strict=True):
        cuda.upload(address, array, stream)

    def ours() -> None:
        kernels(on_gpu[0], on_gpu[1], result, kept, score=threshold, iou=0.7, wanted=300)
        cuda.synchronise(stream)

    try:
        import torch
        from torchvision.ops import batched_nms
    except ImportError:
        return median_ms(ours), None, candidates
    if not torch.cuda.is_available():
        return median_ms(ours), None, candidates
    tensors = [torch.from_numpy(array).cuda() for array in (boxes, scores)]

    def theirs() -> None:
        row, label = (tensors[1] > threshold).nonzero(as_tuple=True)
        batched_nms(tensors[0][row], tensors[1][row, label], label, 0.7)[:300]
        torch.cuda.synchronize()

    return median_ms(ours), median_ms(theirs), candidates


def raw_output(cuda: Cuda, launcher: GpuLauncher, stream: int) -> float:
    """Ultralytics' raw output of 8,400 anchors x 80 classes to detections."""
    random = np.random.default_rng(0)
    raw = np.concatenate(
        [random.uniform(0, 640, (2, ROWS)), random.uniform(8, 80, (2, ROWS)), random.random((CLASSES, ROWS)) ** 99]
    ).astype(np.float32)
    output = OutputSpec("yolo_xywh", 0.25, iou_threshold=0.7, max_detections=300, label_mode="best")
    kernels = NmsKernels(
        launcher, output, classes=CLASSES, rows=ROWS, columns=CLASSES, class_step=float(ULTRALYTICS_CLASS_STEP)
    )
    result, kept, address = kernels.result(300), launcher.allocate(1200), launcher.allocate(raw.nbytes)
    cuda.upload(address, raw, stream)

    def work() -> None:
        kernels(address, address + 16 * ROWS, result, kept, score=0.25, iou=0.7, wanted=300)
        cuda.synchronise(stream)

    return median_ms(work)


def engine(path: Path) -> dict[str, Any]:
    """Frame to detections of one engine, and its network alone."""
    frame = golden_frame(1, 1080, 1920)
    with Detector(path) as detector:
        stages: list[Any] = []

        def work() -> None:
            detector.detect(frame)
            stages.append(detector.last_timing)

        total = median_ms(work)
        parts = {
            name: statistics.median(getattr(stage, name) for stage in stages[WARMUP:])
            for name in ("pre", "run", "post")
        }
        return {"engine": path.name, "total_ms": total, **{f"{name}_ms": value for name, value in parts.items()},
                "ratio": total / parts["run"], "runtime": detector.description}  # fmt: skip


def main() -> int:
    """Measure what can be measured here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", metavar="ENGINE", type=Path, nargs="*")
    parser.add_argument("--json", metavar="OUT", type=Path)
    arguments = parser.parse_args()
    try:
        cuda = Cuda()
    except EdgedetError as error:
        print(f"nothing measured: {error}", file=sys.stderr)
        return 0
    stream = cuda.stream()
    launcher = GpuLauncher(cuda, stream)
    machine = describe_machine()
    figures: dict[str, Any] = {
        "device": cuda.name,
        "compute_capability": cuda.compute_capability,
        **cuda.versions(),
        "power_mode": machine.jetson.power_mode if machine.jetson else None,
        "preprocess_1080p_to_640_ms": preprocessing(cuda, launcher, stream),
    }
    for threshold in (0.25, 0.9):
        ours, theirs, candidates = suppression(cuda, launcher, stream, threshold)
        figures[f"nms_{candidates}_candidates"] = {"ours_ms": ours, "torchvision_ms": theirs}
    figures["ultralytics_raw_output_ms"] = raw_output(cuda, launcher, stream)
    launcher.close()
    figures["engines"] = [engine(path) for path in arguments.engines]
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
