"""What the SDK adds to the bare network: every ratio from one run, medians, measured and reference runs in turns.

    python benchmarks/overhead.py [--only ssdlite,faster_rcnn,yolo,process] [--threads 2] [--rounds 20]

The networks have 91 classes and seeded random weights. Random weights cost what trained ones do only when the
activations are of a healthy size (denormal numbers take three times as long), so BatchNorm first sees photographs.
A random class layer gives the same small score everywhere and leaves NMS without work, so its weights are stretched
until as many candidates as a busy street gives pass the threshold of 0.25; the number of detections is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

FRAME_SIZE = (1920, 1080)
NUM_CLASSES = 91
CONF = 0.25
CANDIDATES = 60
BLOCK = 6
UNCOUNTED = 2
"""Runs in a row before it is the next one's turn; the first ones, with caches still full of the other's data, are
left out."""
REST = 0.15
"""Seconds between turns with Ultralytics: so long the threads of its session go on spinning for work."""

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("EDGEDET_SHARED", REPOSITORY.parent / "shared"))


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


def medians(contestants: dict[str, Callable[[], object]], rounds: int, rest: float = 0.0) -> dict[str, float]:
    """Milliseconds of each, taken in turns so that the machine's moods fall on all alike."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        names = list(contestants) if turn % 2 else list(contestants)[::-1]
        for name in names:
            time.sleep(rest)
            for run in range(BLOCK):
                begin = time.perf_counter()
                contestants[name]()
                if run >= UNCOUNTED and turn:
                    times[name].append((time.perf_counter() - begin) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def photograph() -> np.ndarray[Any, Any]:
    """A real photograph enlarged to 1920x1080, a synthetic scene where there is none."""
    import cv2

    from edgedet.pictures.image_file import read_image
    from edgedet.proof.golden_scene import golden_frame

    for path in sorted((SHARED / "data/coco128/val2017").glob("*.jpg")):
        image = read_image(path)
        if image.shape[1] > image.shape[0]:
            return cv2.resize(image, FRAME_SIZE, interpolation=cv2.INTER_CUBIC)
    return golden_frame(1, FRAME_SIZE[1], FRAME_SIZE[0])


def bare(model: Any, threads: int) -> Callable[[], object]:
    """``session.run`` of a graph on random input of its size, and nothing else."""
    from edgedet.onnx_runtime import onnxruntime, session_options

    content = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, session_options(threads), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    feed = {
        tensor.name: (generator.random(tensor.shape) * (255 if "uint8" in tensor.type else 1)).astype(
            np.uint8 if "uint8" in tensor.type else np.float32
        )
        for tensor in session.get_inputs()
    }
    return lambda: session.run(None, feed)


def settle(network: Any, image: Any) -> None:
    """Let BatchNorm measure the activations a photograph [1, 3, H, W] and its mirror image give."""
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    network.train()
    with torch.no_grad():
        network(torch.cat([image, image.flip(-1)]))
    network.eval()


def stretch(logits: Any, layers: list[Any]) -> None:
    """Scale the class ``layers``, linear in ``logits`` [..., classes], until CANDIDATES scores pass CONF."""
    import torch

    logits = logits.reshape(-1, logits.shape[-1]).double()
    low, high = 0.0, 1e9
    for _ in range(200):
        factor = (low * high) ** 0.5 if low else high / 2
        passed = int((torch.softmax(logits * factor, -1)[:, 1:] > CONF).sum())
        low, high = (factor, high) if passed < CANDIDATES else (low, factor)
    for layer in layers:
        layer.weight.data *= high
        layer.bias.data *= high


def as_image(frame: np.ndarray[Any, Any]) -> Any:
    """The frame as torchvision takes it: RGB float [3, H, W] in 0..1."""
    import torch

    return torch.from_numpy(frame[:, :, ::-1].copy()).permute(2, 0, 1).float() / 255


def exported(model: Any, arch: str, folder: Path, **options: Any) -> Path:
    """Save the model as a checkpoint and export that."""
    import torch

    from edgedet.export.options import ExportOptions
    from edgedet.export.pipeline import export_model

    source = folder / f"{arch}.pth"
    torch.save({"arch": arch, "num_classes": NUM_CLASSES, "state_dict": model.state_dict()}, source)
    export_model(source, source.with_suffix(".onnx"), ExportOptions(conf=CONF, **options))
    return source.with_suffix(".onnx")


def ssdlite(folder: Path, threads: int, rounds: int) -> Iterator[Ratio]:
    """SSDLite320-MobileNetV3 against its network alone and against torchvision."""
    import torch
    from onnx import helper

    from edgedet import Detector
    from edgedet.export.families import ssd
    from edgedet.export.families.architectures import build

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
    from edgedet.export.families.architectures import build
    from edgedet.export.families.roi_pooling import add_roi_align
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


def ultralytics_model(folder: Path) -> tuple[Path, Callable[[Any], Any]]:
    """A seeded YOLO11n exported to ONNX, and its predict call."""
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    import torch
    from ultralytics import YOLO

    torch.manual_seed(0)
    with contextlib.redirect_stdout(sys.stderr):
        model = YOLO("yolo11n.yaml")
        spread_scores(model.model.eval())
        # Ultralytics writes beside the model's own file, which a model made from YAML would not have.
        model.ckpt_path = model.model.pt_path = str(folder / "yolo11n.pt")
        path = Path(model.export(format="onnx", imgsz=640, opset=17, simplify=False, verbose=False)).resolve()
        runner = YOLO(str(path), task="detect")
    return path, lambda frame: runner.predict(frame, conf=CONF, verbose=False)


def spread_scores(network: Any) -> None:
    """Give the class layers' outputs a spread, and shift them until CANDIDATES anchors pass CONF."""
    import torch

    from edgedet.artifacts.card import InputSpec, ResizeRule
    from edgedet.preprocess import Preprocessor

    layers = [branch[-1] for branch in network.model[-1].cv3]
    for layer in layers:
        layer.bias.data.zero_()
    spec = InputSpec(640, 640, dtype="float32", layout="NCHW", colour="RGB", normalise="host", scale=1 / 255)
    preprocessor = Preprocessor(spec, ResizeRule("letterbox", place="center", rounding="round"))
    preprocessor.prepare(photograph())
    image = torch.from_numpy(preprocessor.tensor)
    settle(network, image)
    with torch.inference_mode():
        logits = torch.logit(network(image)[0][0, 4:].double()).max(0).values
    factor = float(3 / logits.std())
    highest = float(logits.sort(descending=True).values[CANDIDATES]) * factor
    for layer in layers:
        layer.weight.data *= factor
        layer.bias.data.fill_(float(np.log(CONF / (1 - CONF))) - highest)


def eager(model: Any, frame: np.ndarray[Any, Any]) -> Callable[[], object]:
    """torchvision's own inference, from the same frame."""
    import torch

    def run() -> object:
        with torch.inference_mode():
            return model([as_image(frame)])

    return run


def stages(detector: Any, frame: Any) -> str:
    """Median milliseconds of the detector's stages."""
    rows = []
    for _ in range(20):
        detector.detect(frame)
        rows.append((detector.last_timing.pre, detector.last_timing.run, detector.last_timing.post))
    pre, run, post = np.median(rows, axis=0)
    return f"pre {pre:.2f} + run {run:.2f} + post {post:.2f} ms"


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
    from edgedet.export.families.architectures import build

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
