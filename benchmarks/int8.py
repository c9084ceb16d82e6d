"""What INT8 keeps and gains, detector by detector, beside what other tools make of the same float graph.

    python benchmarks/int8.py                      every detector, both dialects
    python benchmarks/int8.py --only yolox_nano    one of them
    python benchmarks/int8.py --rivals PYTHON      also ONNX Runtime's quantize_static, ModelOpt and NNCF: those
                                                   the interpreter PYTHON can import (they want their own versions)
    python benchmarks/int8.py --busy               on a machine that has other work: no waiting times
    OTHER_PYTHON benchmarks/int8.py --maps         mAP alone, of the graphs that an earlier run left: for an
                                                   ONNX Runtime that sees another kind of CPU

The same call with the same defaults for every detector. Calibration images come from training splits; the
accuracy guard judges on labelled training images too (YOLOX: train2017; BCCD: val, on which the models were
trained); "no pictures" is the export without calibration images, which makes its own; the table's mAP is of the
held-out split, through ONNX Runtime, by the same code as ``edgedet eval``. Times are medians of interleaved runs of
the network alone; what a graph took to make is CPU time of all threads, and much less where an earlier run left its
measurements in --work. Needs the shared models and data (EDGEDET_SHARED, or ../shared).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgedet.artifacts.card import METADATA_KEY, ModelCard
from edgedet.calibration.calibration_frames import CalibrationFrames
from edgedet.calibration.decoder_boundary import feature_layers
from edgedet.calibration.judge import MapJudge
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.calibration.speed_race import cpu_times, wall_times
from edgedet.cli.progress import Progress
from edgedet.datasets import read_dataset
from edgedet.detector import Detector
from edgedet.evaluate.coco import evaluate_coco
from edgedet.export.embedded_card import embed
from edgedet.export.for_cpu.interleaved import read_planes
from edgedet.export.for_cpu.winograd import remove_winograd
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.onnx_graph.network import Layer, Network

SHARED = Path(os.environ.get("EDGEDET_SHARED") or Path(__file__).resolve().parents[2] / "shared")
IMAGES = 64
"""Calibration images."""


@dataclass(frozen=True)
class Subject:
    """A detector of the table. ``test`` None: latency only."""

    name: str
    source: str
    options: ExportOptions
    calibration: str
    guard: str | None = None
    test: str | None = None
    head: tuple[str, ...] = ()
    """Nodes that ``int8_rivals.py`` leaves in float in its rows "as Ultralytics": predictors and what follows."""


COCO = "data/coco128"
BCCD = "data/bccd"
DECODING = "(decode|clip|scores|candidates)/"
EVERY = ExportOptions(nms="runtime", conf=0.001)
SUBJECTS = (
    Subject(
        "yolox_nano",
        "models/yolox_nano.onnx",
        replace(EVERY, family="yolox", iou=0.65, max_detections=300),
        f"{COCO}/instances_train2017.json",
        f"{COCO}/instances_train2017.json",
        f"{COCO}/instances_val2017.json",
        (r"network/Conv_(314|327|328|347|360|361|380|393|394)$", DECODING),
    ),
    Subject(
        "ssdlite",
        "models/ssdlite320_mobilenet_v3_large_bccd.pt",
        ExportOptions(nms="runtime"),
        f"{BCCD}:train",
        f"{BCCD}:val",
        f"{BCCD}:test",
        (r".*_layers\.\d/\w+_layers\.\d\.1/Conv$", DECODING),
    ),
    Subject(
        "faster_rcnn",
        "models/fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt",
        ExportOptions(nms="runtime"),
        f"{BCCD}:train",
        f"{BCCD}:val",
        f"{BCCD}:test",
        (r".*/(cls_logits|bbox_pred)(_\d)?/Conv$", r".*/(cls_score|bbox_pred)/Gemm$", "(rpn|roi)/", DECODING),
    ),
    Subject("yolo11n", "", ExportOptions(nms="runtime"), f"{COCO}/instances_train2017.json"),
)

Way = Callable[[Path], tuple[dict[str, Any], Sequence[str]]]
"""Writes a graph; gives the report on its card, and warnings."""


@dataclass(frozen=True)
class Material:
    """What every way of quantising a detector starts from."""

    model: onnx.ModelProto
    card: ModelCard
    frames: CalibrationFrames


def main() -> None:
    """Measure, print the table, keep every figure as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[subject.name for subject in SUBJECTS], action="append")
    parser.add_argument("--rivals", metavar="PYTHON", help="interpreter that has the other tools")
    parser.add_argument("--threads", type=int, help="for calibration; times are always of all cores")
    parser.add_argument("--work", type=Path, default=Path("build/int8"), help="where graphs and figures go")
    parser.add_argument("--busy", action="store_true", help="leave waiting times out: they would be wrong")
    parser.add_argument("--maps", action="store_true", help="only mAP, of the graphs that an earlier run left")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for subject in SUBJECTS:
        if not arguments.only or subject.name in arguments.only:
            rows += maps(subject, arguments.work) if arguments.maps else measure(subject, arguments)
    print_table(rows)


def maps(subject: Subject, work: Path) -> list[dict[str, Any]]:
    """mAP of the graphs of an earlier run, through the ONNX Runtime of this interpreter."""
    rows = []
    for row in json.loads((work / f"{subject.name}.json").read_text()) if subject.test else ():
        kept = {key: row[key] for key in ("detector", "graph", "path", "macs_int8")}
        rows.append(kept | {"map": accuracy(Path(row["path"]), str(subject.test))})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def measure(subject: Subject, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All rows of one detector, kept as JSON as they come."""
    work: Path = arguments.work
    float_path = work / f"{subject.name}-fp32.onnx"
    export_model(source(subject, work), float_path, export_options(subject))
    with Detector(float_path) as detector:
        card = detector.card
    # Those who quantise the float graph get it without what only makes float arithmetic faster on a CPU.
    model = read_planes(remove_winograd(onnx.load(float_path)))
    material = Material(model, card, CalibrationFrames(first(subject.calibration, IMAGES), card))
    layers = feature_layers(Network(model))
    rows: list[dict[str, Any]] = []

    def add(name: str, path: Path, **more: Any) -> None:
        row: dict[str, Any] = {"detector": subject.name, "graph": name, "path": str(path)}
        row["macs_int8"] = integer_share(onnx.load(path), layers)
        if subject.test:
            row["map"] = accuracy(path, subject.test)
        if name != "fp32":
            row |= speed(float_path, path, material.frames[0], busy=arguments.busy)
        rows.append(row | more)
        print(json.dumps({key: value for key, value in rows[-1].items() if key != "report"}), flush=True)
        (work / f"{subject.name}.json").write_text(json.dumps(rows, indent=1))

    add("fp32", float_path)
    kept = QuantiseOptions(
        cache=work / "measured",
        over_budget="keep_best",
        threads=arguments.threads,
        # Of random weights nothing is judged.
        **({} if subject.test else {"max_drop": 1.0}),
    )
    for way, (name, make) in own_ways(subject, work, material, kept).items():
        path = work / f"{subject.name}-{way}.onnx"
        begin = time.process_time()
        report, warnings = make(path)
        print(f"{subject.name} {way}: {'; '.join(warnings) or 'no warnings'}")
        add(name, path, cpu_seconds=time.process_time() - begin, report=report)
    if arguments.rivals:
        plain = work / f"{subject.name}-convolutions.onnx"
        onnx.save(model, plain)
        told = run_rivals(arguments.rivals, plain, material, work / subject.name, head=subject.head)
        for name, more in told.items():
            add(name, work / subject.name / f"{name}.onnx", **more)
    return rows


def own_ways(subject: Subject, work: Path, material: Material, kept: QuantiseOptions) -> dict[str, tuple[str, Way]]:
    """What edgedet makes, by the end of its file's name: the row's name, and the call that writes the graph."""
    model, card = material.model, material.card
    outputs = [output.name for output in model.graph.output]
    judge = MapJudge(card, dataset(subject.guard), outputs) if subject.guard else None

    def with_pictures(path: Path, options: QuantiseOptions) -> tuple[dict[str, Any], Sequence[str]]:
        with Progress() as progress:
            done = quantise(model, card, material.frames, judge=judge, options=options, progress=progress)
        save(done.model, replace(card, precision="int8", measured={"int8": done.report}), path)
        return done.report, done.warnings

    def without(path: Path) -> tuple[dict[str, Any], Sequence[str]]:
        options = replace(export_options(subject), precision="int8", target="tensorrt", over_budget="keep_best")
        export_model(source(subject, work), path, options)
        with Detector(path) as detector:
            return detector.card.measured["int8"], ()

    tensorrt, cpu = replace(kept, target="tensorrt"), replace(kept, target="cpu")
    every_layer = partial(with_pictures, options=replace(tensorrt, layers="all"))
    ways: dict[str, tuple[str, Way]] = {
        "tensorrt": ("edgedet, TensorRT dialect", partial(with_pictures, options=tensorrt)),
        "tensorrt-all": ("edgedet, TensorRT dialect, all layers", every_layer),
        "no-pictures": ("edgedet, TensorRT dialect, no pictures", without),
        "cpu": ("edgedet, CPU dialect", partial(with_pictures, options=cpu)),
    }
    # Random weights find nothing in any picture, and only their speed is asked for.
    return {way: made for way, made in ways.items() if subject.test or way != "no-pictures"}


def speed(float_path: Path, path: Path, frame: Any, *, busy: bool) -> dict[str, float]:
    """Milliseconds beside fp32: CPU time of one thread (hardly any noise), and as a user waits (all cores)."""
    models = {"fp32": onnx.load(float_path), "int8": onnx.load(path)}
    kinds = {"thread_": cpu_times(models, frame)}
    if not busy:
        kinds[""] = wall_times(models, frame, turns=40, seconds=60)
    found = {}
    for kind, times in kinds.items():
        found[f"{kind}ms"], found[f"{kind}ms_fp32"] = times["int8"], times["fp32"]
        found[f"{kind}speed_up"] = times["fp32"] / times["int8"]
    return found


def source(subject: Subject, work: Path) -> Path:
    """The file that the detector is exported from."""
    return SHARED / subject.source if subject.source else yolo11n(work)


def export_options(subject: Subject) -> ExportOptions:
    """How it is exported, but for its precision."""
    if subject.options.family == "yolox":
        return replace(subject.options, classes=dataset(subject.calibration).names)
    if not subject.test:
        return subject.options
    first_image = dataset(subject.calibration).images[0]
    return replace(subject.options, frame_size=(first_image.width, first_image.height))


def yolo11n(work: Path) -> Path:
    """YOLO11n with seeded random weights, exported by Ultralytics itself; its speed does not depend on them."""
    path = work / "yolo11n.onnx"
    if not path.exists():
        program = (
            "import os, sys, torch; torch.manual_seed(0); from ultralytics import YOLO; os.chdir(sys.argv[1]);"
            "YOLO('yolo11n.yaml').export(format='onnx', imgsz=640, opset=17, simplify=False)"
        )
        subprocess.run([sys.executable, "-c", program, str(work)], check=True, capture_output=True)
    return path


def dataset(name: str) -> Any:
    """A dataset below the shared folder."""
    return read_dataset(str(SHARED / name))


def first(name: str, count: int) -> Any:
    """Its first images."""
    whole = dataset(name)
    return replace(whole, images=whole.images[:count])


def save(model: onnx.ModelProto, card: ModelCard, path: Path) -> None:
    """Write a graph with its card."""
    path.write_bytes(embed(model, card).SerializeToString())


def accuracy(path: Path, test: str) -> float:
    """mAP of an artifact on the held-out split."""
    with Detector(path) as detector:
        return float(evaluate_coco(detector, dataset(test)).map)


def integer_share(model: onnx.ModelProto, layers: Sequence[Layer]) -> float:
    """Share of the float graph's multiply-adds whose input *and* weights come out of INT8.

    Every tool keeps the names of convolutions and matrix products; one that is gone is not in INT8.
    """
    network = Network(model)
    operands = {layer.name: network.nodes[layer.name].input[:2] for layer in layers if layer.name in network.nodes}
    integer = 0
    for layer in layers:
        if layer.name in operands and all(comes_from_integers(network, name) for name in operands[layer.name]):
            integer += layer.multiply_adds
    return integer / max(sum(layer.multiply_adds for layer in layers), 1)


MOVING = {
    "Cast",
    "Concat",
    "MaxPool",
    "Resize",
    "Reshape",
    "Transpose",
    "Split",
    "Slice",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
}
"""Operators that only move or pick values: some tools put the pair before them, which comes to the same."""


def comes_from_integers(network: Network, tensor: str) -> bool:
    """Whether a tensor is dequantised, or made of dequantised ones."""
    node = network.producer.get(tensor)
    if node is None:
        return False
    if node.op_type in MOVING:
        sources = node.input if node.op_type == "Concat" else node.input[:1]
        return all(comes_from_integers(network, name) for name in sources)
    return node.op_type == "DequantizeLinear"


def run_rivals(
    python: str, float_path: Path, material: Material, work: Path, *, head: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Graphs by the other tools, from the same float graph and the same frames, and what each says of itself.

    Failures are told, not hidden.
    """
    scratch = work / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    np.save(work / "frames.npy", np.stack([material.frames[i] for i in range(len(material.frames))]))
    program = Path(__file__).with_name("int8_rivals.py").resolve()
    command = [python, str(program), str(float_path.resolve()), str(work.resolve()), *head]
    tools = work / "tools.json"  # what became of each: the tools themselves fill pages
    tools.unlink(missing_ok=True)
    # In a folder of their own: some of them leave files where they stand.
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-2000:])
    told = json.loads(tools.read_text()) if tools.exists() else {}
    for name in list(told):
        path = work / f"{name}.onnx"
        if "failed" in told[name]:
            print(f"  {name}: failed: {told.pop(name)['failed']}")
            continue
        model = onnx.load(path)
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, {METADATA_KEY: replace(material.card, precision="int8").to_json()})
        path.write_bytes(model.SerializeToString())
    return told


def print_table(rows: list[dict[str, Any]]) -> None:
    """Markdown, as docs/int8.md shows it."""
    print(
        "\n| detector | graph | mAP | multiply-adds in INT8 | ms, all cores (fp32) | speed-up "
        "| CPU ms, one thread (fp32) | speed-up | CPU time to make |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        cells = [row["detector"], row["graph"], f"{row['map']:.4f}" if "map" in row else "–"]
        cells.append(f"{row['macs_int8']:.1%}" if row["graph"] != "fp32" else "–")
        for kind in ("", "thread_"):
            measured = f"{kind}ms" in row
            cells.append(f"{row[f'{kind}ms']:.1f} ({row[f'{kind}ms_fp32']:.1f})" if measured else "–")
            cells.append(f"{row[f'{kind}speed_up']:.2f} ×" if measured else "–")
        cells.append(f"{row['cpu_seconds']:.0f} s" if "cpu_seconds" in row else "–")
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    begin = time.monotonic()
    main()
    print(f"\n{time.monotonic() - begin:.0f} s in all")
