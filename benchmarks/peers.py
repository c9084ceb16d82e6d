"""How far from the fastest CPU runtime is a whole detection? Every runtime's own network call, and ours, in turns.

    python benchmarks/peers.py [--shared ../shared] [--only ssdlite yolox yolo11n] [--seconds 10] [--threads 2]

Per detector: the bare network call of ONNX Runtime, OpenVINO and ncnn on its prepared input, each with its own
settings, and ``Detector.detect`` of a 1080p photograph on each runtime, in blocks by turns. Before that, detections
of all runtimes are held against ONNX Runtime's within parity's fp32 limits, on all photographs there are. Ends with
1 where a bar is missed: the best ``detect`` at most 1.10 times the fastest bare call (SSDLite, whose network takes
little longer than a frame takes to resize: 1.20), equal detections. YOLO11n is a network of a seed, with a
trained one's activations on 16 photographs, as Ultralytics exports it; where that is not installed it is left out.

All sides have the same threads. ncnn's sleep at the end of a layer, as edgedet sets them up for its process; with
``OMP_WAIT_POLICY=ACTIVE`` they do not, in its own call and in ours.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from framework_case import NotHereError  # noqa: E402
from yolo_frameworks import ultralytics  # noqa: E402

from edgedet import Detector  # noqa: E402
from edgedet.artifacts.ncnn_file import read_ncnn  # noqa: E402
from edgedet.datasets import read_dataset  # noqa: E402
from edgedet.errors import ExportError  # noqa: E402
from edgedet.export.options import ExportOptions  # noqa: E402
from edgedet.export.pipeline import export_model  # noqa: E402
from edgedet.pictures.image_file import read_image  # noqa: E402
from edgedet.proof.parity import match_detections, summarise  # noqa: E402
from edgedet.runtimes import RUNTIMES  # noqa: E402

BLOCK_SECONDS = 0.3
Array = Any


def main() -> int:
    """Measure what is asked for; 1 where a bar is missed, 2 where there are no detectors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shared", type=Path, default=Path(os.environ.get("EDGEDET_SHARED") or ROOT.parent / "shared")
    )
    parser.add_argument("--only", nargs="+", choices=sorted(DETECTORS), default=list(DETECTORS))
    parser.add_argument("--seconds", type=float, default=10.0, help="for each side of each detector")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if not (arguments.shared / "models").is_dir():
        print(f"no models/ in {arguments.shared}; point --shared to detectors and images", file=sys.stderr)
        return 2
    installed = [info for info in RUNTIMES if find_spec(info.needs) is not None]
    names = [info.name for info in installed if info.kinds & {"graph", "ncnn"}]
    print(f"runtimes: {', '.join(names)}; {arguments.threads} threads")
    met = True
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only:
            contestant = DETECTORS[name]
            pictures = [image.path for image in read_dataset(str(arguments.shared / contestant.dataset)).images]
            frames = [read_image(picture) for picture in pictures[: contestant.pictures]]
            if contestant.source:
                source, options = arguments.shared / contestant.source, contestant.options
            else:
                try:
                    made = ultralytics(name, Path(folder), Path(folder), 640, frames)
                except NotHereError as error:
                    print(f"\n{name}: not measured: {error}")
                    continue
                source, options = made.path, made.options
            path = Path(folder) / f"{name}.onnx"
            export_model(source, path, options)
            artifacts = dict.fromkeys(names, path)
            if "ncnn" in names:
                artifacts["ncnn"] = path.with_suffix(".ncnn")
                try:
                    export_model(source, artifacts["ncnn"], options)
                except ExportError as error:
                    print(f"\n{name}: not on ncnn ({error})")
                    del artifacts["ncnn"]
            print(f"\n{name}: {path.stat().st_size / 1e6:.1f} MB, {len(frames)} images")
            met &= compare(
                artifacts,
                frames,
                threads=arguments.threads,
                seconds=arguments.seconds,
                limit=contestant.limit,
            )
    return 0 if met else 1


@dataclass(frozen=True)
class Contestant:
    """A detector: its file below the shared folder, or None for Ultralytics' of that name, and photographs.

    ``pictures``: so many of them, None all. ``limit``: how many times as long as the fastest bare call the best
    ``detect`` may take.
    """

    source: str | None
    dataset: str
    options: ExportOptions
    pictures: int | None = None
    limit: float = 1.10


COCO = "data/coco128/instances_train2017.json"
DETECTORS = {
    "ssdlite": Contestant(
        "models/ssdlite320_mobilenet_v3_large_bccd.pt",
        "data/bccd:test",
        ExportOptions(frame_size=(640, 480)),
        limit=1.20,
    ),
    "fasterrcnn": Contestant(
        "models/fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt",
        "data/bccd:test",
        ExportOptions(frame_size=(640, 480), proposals=150),
    ),
    "yolox": Contestant("models/yolox_nano.onnx", COCO, ExportOptions(family="yolox", conf=0.05)),
    "yolo11n": Contestant(None, COCO, ExportOptions(), pictures=16),
}


def compare(
    artifacts: Mapping[str, Path], frames: Sequence[Array], *, threads: int, seconds: float, limit: float
) -> bool:
    """One detector, by its file for each runtime: equal detections, then times. Whether both bars are met."""
    detectors = {runtime: Detector(path, runtime=runtime, threads=threads) for runtime, path in artifacts.items()}
    first, *others = detectors
    met = True
    for runtime in others:
        pairs = (
            match_detections(detectors[first].detect(frame), detectors[runtime].detect(frame)) for frame in frames
        )
        report = summarise(list(pairs))
        equal = not report.missing and not report.extra
        met &= equal
        print(
            f"  {runtime} against {first}: {report.matched} detections alike, "
            f"{report.missing} missing, {report.extra} extra {'(met)' if equal else '(NOT MET)'}"
        )
    photograph = cv2.resize(frames[0], (1920, 1080))
    sides: dict[str, Callable[[], object]] = {}
    for runtime, detector in detectors.items():
        sides[f"detect on {runtime}"] = lambda detector=detector: detector.detect(photograph)  # type: ignore[misc]
    sides |= bare_calls(artifacts, prepared(detectors[first], photograph), threads)
    medians = in_turns(sides, seconds)
    for detector in detectors.values():
        detector.close()
    bare = {side: value for side, value in medians.items() if side.startswith("bare")}
    whole = {side: value for side, value in medians.items() if not side.startswith("bare")}
    fastest, best = min(bare, key=bare.__getitem__), min(whole, key=whole.__getitem__)
    for side, value in sorted(medians.items(), key=lambda pair: pair[1]):
        print(f"  {side:24} {value * 1e3:8.2f} ms  {value / bare[fastest]:5.2f} x {fastest}")
    ratio = whole[best] / bare[fastest]
    print(f"  {best} / {fastest}: {ratio:.3f}, at most {limit:g} {'(met)' if ratio <= limit else '(NOT MET)'}")
    return met and ratio <= limit


def prepared(detector: Detector, frame: Array) -> dict[str, Array]:
    """The network's input as the detector prepares it of a frame."""
    seen: dict[str, Array] = {}
    runtime = detector._runtime
    run = runtime.run
    runtime.run = lambda inputs: seen.update({key: np.copy(value) for key, value in inputs.items()}) or run(inputs)  # type: ignore[method-assign,func-returns-value]
    detector.detect(frame)
    runtime.run = run  # type: ignore[method-assign]
    return seen


def bare_calls(
    artifacts: Mapping[str, Path], inputs: dict[str, Array], threads: int
) -> dict[str, Callable[[], object]]:
    """Every runtime's own call on a prepared input, as its documentation has it for latency."""
    calls: dict[str, Callable[[], object]] = {}
    path = artifacts["onnxruntime"]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    calls["bare onnxruntime"] = lambda: session.run(None, inputs)
    if find_spec("openvino") is not None:
        import openvino

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
        }
        request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()
        calls["bare openvino"] = lambda: request.infer(inputs, share_inputs=True, share_outputs=True)
    if "ncnn" in artifacts:
        calls["bare ncnn"] = bare_ncnn(artifacts["ncnn"], inputs, threads)
    return calls


def bare_ncnn(path: Path, inputs: dict[str, Array], threads: int) -> Callable[[], object]:
    """ncnn's own call on its two files, in fp32, with the input as the planes it takes."""
    import ncnn

    (name, images), content = next(iter(inputs.items())), read_ncnn(path)
    network = ncnn.Net()
    network.opt.num_threads = threads
    for kind in ("fp16", "bf16"):
        setattr(network.opt, f"use_{kind}_packed", False)
        setattr(network.opt, f"use_{kind}_storage", False)
    network.opt.use_fp16_arithmetic = False
    with tempfile.TemporaryDirectory() as folder:
        for member, data in (("param", content.param.encode()), ("bin", content.weights)):
            (Path(folder) / f"model.ncnn.{member}").write_bytes(data)
        network.load_param(str(Path(folder) / "model.ncnn.param"))
        network.load_model(str(Path(folder) / "model.ncnn.bin"))
    planes = np.ascontiguousarray(images[0].transpose(2, 0, 1), np.float32)
    picture = ncnn.Mat(planes).clone()

    def call() -> object:
        extractor = network.create_extractor()
        extractor.input(name, picture)
        return [extractor.extract(output) for output in content.outputs]

    return call


def in_turns(sides: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """The median time of each, seconds: blocks of each by turns, in an order drawn anew, after one to warm up."""
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(1 + max(3, round(seconds / BLOCK_SECONDS))):
        for side in rng.permutation(list(sides)):
            begin = time.perf_counter()
            while time.perf_counter() - begin < BLOCK_SECONDS:
                before = time.perf_counter()
                sides[side]()
                if turn:
                    times[side].append(time.perf_counter() - before)
    return {side: float(np.median(values)) for side, values in times.items()}


if __name__ == "__main__":
    raise SystemExit(main())
