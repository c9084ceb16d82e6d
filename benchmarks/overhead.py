"""What the SDK adds to the bare network: every ratio from one run, medians, measured and reference runs in turns.

    python benchmarks/overhead.py [--only ssdlite,faster_rcnn,yolo,process] [--threads 2] [--rounds 20]

The networks have 91 classes and seeded random weights. Random weights cost what trained ones do only when the
activations are of a healthy size (denormal numbers take three times as long), so BatchNorm first sees photographs.
A random class layer gives the same small score everywhere and leaves NMS without work, so its weights are stretched
until as many candidates as a busy street gives pass the threshold of 0.25; the number of detections is printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from busy_networks import CONF, NUM_CLASSES, exported, settle, stretch, ultralytics_model
from contestants import BLOCK, FRAME_SIZE, UNCOUNTED, as_image, bare, eager, medians, photograph, stages

REST = 0.15
"""Seconds between turns with Ultralytics: so long the threads of its session go on spinning for work."""


@dataclass(frozen=True)
class Ratio:
    """One line of the result: ``measured / reference`` against its limit."""

    what: str
    measured: float
    reference: float
    unit: str
    limit: float
    sense: Literal["at most", "at least"]

    @property
    def value(self) -> float:
        """The ratio that the limit is about: how much more, or how many times quicker."""
        return self.measured / self.reference if self.sense == "at most" else self.reference / self.measured

    @property
    def met(self) -> bool:
        """Whether the limit holds."""
        return self.value <= self.limit if self.sense == "at most" else self.value >= self.limit

    def __str__(self) -> str:
        verdict = "met" if self.met else "NOT MET"
        return (
            f"{self.what:<68} {self.measured:8.2f} {self.reference:8.2f} {self.unit:<3} {self.value:7.3f}  "
            f"{self.sense} {self.limit:<5} {verdict}"
        )


def main() -> int:
    """Measure what was asked for; exit code 1 where a limit is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(BENCHMARKS), help=f"some of {', '.join(BENCHMARKS)}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20, help=f"turns of {BLOCK - UNCOUNTED} counted runs each")
    parser.add_argument("--json", type=Path, help="write the ratios here too")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - set(BENCHMARKS):
        parser.error(f"unknown benchmark {', '.join(unknown)}; expected some of {', '.join(BENCHMARKS)}")
    forget_libraries()
    import cv2

    cv2.setNumThreads(arguments.threads)
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    busy = "; others are using this machine, so expect no steady figures" if load > cores / 4 else ""
    print(f"{arguments.threads} threads, load average {load:.1f} on {cores} cores{busy}")
    print(f"{'':<68} {'measured':>8} {'against':>8}     {'ratio':>7}  limit")
    ratios: list[Ratio] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            for ratio in BENCHMARKS[name](Path(folder), arguments.threads, arguments.rounds):
                ratios.append(ratio)
                print(ratio, flush=True)
    if arguments.json:
        rows = [asdict(ratio) | {"value": ratio.value, "met": ratio.met} for ratio in ratios]
        arguments.json.write_text(json.dumps(rows, indent=1))
    return 0 if all(ratio.met for ratio in ratios) else 1


def forget_libraries() -> None:
    """Drop the libraries' files from the page cache, so that processes read them as a booted device does.

    Files that were just installed lie in the cache in large folios, and the kernel maps a folio as a whole: the
    same process then counts some 30 MiB more of OpenCV as resident than with files read from the disk on demand.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    for package in ("cv2", "numpy", "onnxruntime"):
        spec = importlib.util.find_spec(package)
        for folder in [] if spec is None or spec.origin is None else [Path(spec.origin).parent]:
            for library in (*folder.rglob("*.so*"), *folder.parent.glob("*.libs/*.so*")):
                with library.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def ssdlite(folder: Path, threads: int, rounds: int) -> Iterator[Ratio]:
    """SSDLite320-MobileNetV3 against its network alone and against torchvision."""
    import torch
    from onnx import helper

    from edgedet import Detector
    from edgedet.export.families import ssd
    from edgedet.export.families.torchvision_architectures import build

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    arch = "ssdlite320_mobilenet_v3_large"
    model: Any = build(arch, NUM_CLASSES).eval()
    frame = photograph()
    image = as_image(frame)
    with torch.inference_mode():
        images, _ = model.transform([image])
        settle(ssd.Network(model), images.tensors)
        logits = ssd.Network(model)(images.tensors)[1]
    stretch(logits, [layer[1] for layer in model.head.classification_head.module_list])
    model.score_thresh = CONF
    network, _ = ssd.export_network(model, batch=1)
    network.graph.node.append(helper.make_node("Softmax", ["logits"], ["scores"], axis=-1))
    del network.graph.output[1]
    network.graph.output.append(helper.make_tensor_value_info("scores", 1, None))
    with Detector(exported(model, arch, folder), threads=threads) as detector:
        found = medians(
            {"detect": lambda: detector.detect(frame), "network": bare(network, threads)}, rounds
        ) | medians({"detect_again": lambda: detector.detect(frame), "eager": eager(model, frame)}, rounds)
        print(f"ssdlite: {len(detector.detect(frame))} detections; {stages(detector, frame)}")
    yield Ratio("SSDLite: detect / network alone", found["detect"], found["network"], "ms", 1.35, "at most")
    yield Ratio(
        "SSDLite: times faster than torchvision", found["detect_again"], found["eager"], "ms", 5, "at least"
    )


def faster_rcnn(folder: Path, threads: int, rounds: int) -> Iterator[Ratio]:
    """Faster R-CNN MobileNetV3-320, 150 proposals, against its networks and RoIAlign alone and torchvision."""
    import torch

    from edgedet import Detector
    from edgedet.export.families import faster_rcnn as family
    from edgedet.export.families.roi_pooling import add_roi_align
    from edgedet.export.families.torchvision_architectures import build
    from edgedet.geometry import shortest_side_size
    from edgedet.onnx_graph.builder import GraphBuilder

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    arch, proposals = "fasterrcnn_mobilenet_v3_large_320_fpn", 150
    model: Any = build(arch, NUM_CLASSES, None, rpn_post_nms_top_n_test=proposals).eval()
    frame = photograph()
    image = as_image(frame)
    with torch.inference_mode():
        settle(model.backbone, model.transform([image])[0].tensors)
    logits: list[Any] = []
    hook = model.roi_heads.box_predictor.cls_score.register_forward_hook(lambda *call: logits.append(call[-1]))
    with torch.inference_mode():
        model([image])
    hook.remove()
    stretch(logits[0], [model.roi_heads.box_predictor.cls_score])
    model.roi_heads.score_thresh = CONF

    content = shortest_side_size(family.resize_rule(model), FRAME_SIZE[1], FRAME_SIZE[0])
    parts = family.export_parts(model, content, batch=1)
    generator = np.random.default_rng(0)
    corners = generator.random((proposals, 2, 2)) * parts.content[::-1]
    rois = np.concatenate([corners.min(1), corners.max(1)], axis=1).astype(np.float32)
    graph = GraphBuilder("roi_align")
    with torch.no_grad():
        features = family.feature_levels(model.backbone, torch.zeros(1, 3, *parts.padded))
    pooled = add_roi_align(
        graph,
        [graph.input(level.name, "float32", tuple(features[level.name].shape)) for level in parts.levels],
        parts.levels,
        graph.constant(rois[None]),
        batch=1,
        count=proposals,
        size=tuple(model.roi_heads.box_roi_pool.output_size),
        sampling_ratio=model.roi_heads.box_roi_pool.sampling_ratio,
    )
    channels = features[parts.levels[0].name].shape[1]
    graph.output(pooled, "pooled", "float32", (proposals, channels, *model.roi_heads.box_roi_pool.output_size))
    path = exported(model, arch, folder, proposals=proposals, frame_size=FRAME_SIZE)
    with Detector(path, threads=threads) as detector:
        found = medians(
            {
                "detect": lambda: detector.detect(frame),
                "backbone": bare(parts.backbone, threads),
                "roi_align": bare(graph.model(), threads),
                "box_head": bare(parts.box_head, threads),
            },
            rounds,
        ) | medians({"detect_again": lambda: detector.detect(frame), "eager": eager(model, frame)}, rounds)
        print(f"faster_rcnn: {len(detector.detect(frame))} detections; {stages(detector, frame)}")
    networks = {name: found[name] for name in ("backbone", "roi_align", "box_head")}
    print("faster_rcnn: " + ", ".join(f"{name} {value:.2f} ms" for name, value in networks.items()))
    yield Ratio(
        "Faster R-CNN, 150 proposals: detect / backbone + RoIAlign + box head",
        found["detect"],
        sum(networks.values()),
        "ms",
        1.25,
        "at most",
    )
    yield Ratio(
        "Faster R-CNN, 150 proposals: times faster than torchvision",
        found["detect_again"],
        found["eager"],
        "ms",
        2.5,
        "at least",
    )


def yolo(folder: Path, threads: int, rounds: int) -> Iterator[Ratio]:
    """YOLO11n at 640 as Ultralytics exports it, against a bare run and against Ultralytics' own predict call."""
    try:
        source, reference = ultralytics_model(folder)
    except ImportError:
        print("yolo: not measured, Ultralytics is not installed (pip install ultralytics)")
        return
    from edgedet import Detector

    frame = photograph()
    with Detector(source, conf=CONF, threads=threads) as detector:
        found = medians(
            {"detect": lambda: detector.detect(frame), "network": bare(str(source), threads)}, rounds
        ) | medians(
            {"detect_again": lambda: detector.detect(frame), "predict": lambda: reference(frame)}, rounds // 2, REST
        )
        print(f"yolo: {len(detector.detect(frame))} detections; {stages(detector, frame)}")
    yield Ratio("YOLO11n 640: detect / session.run", found["detect"], found["network"], "ms", 1.08, "at most")
    yield Ratio(
        "YOLO11n 640: times faster than Ultralytics' predict",
        found["detect_again"],
        found["predict"],
        "ms",
        1.0,
        "at least",
    )


IMPORT = """
import sys, time
begin = time.perf_counter()
import edgedet
print(time.perf_counter() - begin, *(name for name in ("torch", "onnx", "onnxruntime") if name in sys.modules))
"""

PEAK = """
print(next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
# VmHWM, not ru_maxrss: that one starts with what the parent used before exec.

BARE = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
(tensor,) = session.get_inputs()
value = numpy.full(tensor.shape, 114, numpy.uint8 if "uint8" in tensor.type else numpy.float32)
for _ in range(10):
    session.run(None, {tensor.name: value})
"""

DETECT = """
import sys, numpy
from edgedet import Detector
frame = numpy.full((1080, 1920, 3), 114, numpy.uint8)
with Detector(sys.argv[1], threads=int(sys.argv[2])) as detector:
    for _ in range(10):
        detector.detect(frame)
"""


def child(code: str, *arguments: str) -> list[str]:
    """Run code in a fresh interpreter and return the words it prints."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.split()


def process(folder: Path, threads: int, rounds: int) -> Iterator[Ratio]:
    """Import time, and peak memory of a detecting process against one that only runs the network."""
    from edgedet.export.families.torchvision_architectures import build

    runs = [child(IMPORT) for _ in range(7)]
    if loaded := runs[0][1:]:
        print(f"process: import edgedet loads {', '.join(loaded)}")
    yield Ratio("import edgedet", statistics.median(float(run[0]) for run in runs), 1.0, "s", 0.2, "at most")
    for arch in ("ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"):
        path = folder / f"{arch}.onnx"
        if not path.exists():
            exported(build(arch, NUM_CLASSES).eval(), arch, folder)
        yield peak_memory(path, threads)
    if (path := folder / "yolo11n.onnx").exists():
        yield peak_memory(path, threads)


def peak_memory(path: Path, threads: int) -> Ratio:
    """MiB of a detecting process with a 1080p frame against a bare ONNX Runtime process, same graph."""
    detecting, network = (
        statistics.median(float(child(code + PEAK, str(path), str(threads))[0]) for _ in range(3))
        for code in (DETECT, BARE)
    )
    return Ratio(f"peak memory, {path.stem}", detecting, network, "MiB", 1.3, "at most")


BENCHMARKS: dict[str, Callable[[Path, int, int], Iterator[Ratio]]] = {
    "ssdlite": ssdlite,
    "faster_rcnn": faster_rcnn,
    "yolo": yolo,
    "process": process,
}


if __name__ == "__main__":
    sys.exit(main())
