"""What INT8 keeps and gains, detector by detector, beside what other tools make of the same float graph.

    python benchmarks/int8.py                      every detector, both dialects
    python benchmarks/int8.py --only yolox_nano    one of them
    python benchmarks/int8.py --rivals PYTHON      also ONNX Runtime's quantize_static, ModelOpt and NNCF: those
                                                   the interpreter PYTHON can import (they want their own versions)

The same call with the same defaults for every detector. Calibration images come from training splits; the
accuracy guard judges on labelled training images too (YOLOX: train2017; BCCD: val, on which the models were
trained); the table's mAP is of the held-out split, through ONNX Runtime, by the same code as ``edgedet eval``.
Times are medians of interleaved runs of the network alone. Needs the shared models and data (EDGEDET_SHARED, or
../shared).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgedet.artifacts.card import METADATA_KEY, ModelCard
from edgedet.calibration.data import CalibrationFrames
from edgedet.calibration.decoder_boundary import feature_layers
from edgedet.calibration.judge import MapJudge
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.calibration.stopwatch import cpu_times, wall_times
from edgedet.cli.progress import Progress
from edgedet.datasets import read_dataset
from edgedet.detector import Detector
from edgedet.evaluate.coco import evaluate_coco
from edgedet.export.for_cpu.interleaved import read_planes
from edgedet.export.for_cpu.winograd import remove_winograd
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.export.self_describing import embed
from edgedet.onnx_graph.network import Network

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


COCO = "data/coco128"
BCCD = "data/bccd"
EVERY = ExportOptions(nms="runtime", conf=0.001)
SUBJECTS = (
    Subject(
        "yolox_nano",
        "models/yolox_nano.onnx",
        replace(EVERY, family="yolox", iou=0.65, max_detections=300),
        f"{COCO}/instances_train2017.json",
        f"{COCO}/instances_train2017.json",
        f"{COCO}/instances_val2017.json",
    ),
    Subject(
        "ssdlite",
        "models/ssdlite320_mobilenet_v3_large_bccd.pt",
        ExportOptions(nms="runtime"),
        f"{BCCD}:train",
        f"{BCCD}:val",
        f"{BCCD}:test",
    ),
    Subject(
        "faster_rcnn",
        "models/fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt",
        ExportOptions(nms="runtime"),
        f"{BCCD}:train",
        f"{BCCD}:val",
        f"{BCCD}:test",
    ),
    Subject("yolo11n", "", ExportOptions(nms="runtime"), f"{COCO}/instances_train2017.json"),
)


def main() -> None:
    """Measure, print the table, keep every figure as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[subject.name for subject in SUBJECTS], action="append")
    parser.add_argument("--rivals", metavar="PYTHON", help="interpreter that has the other tools")
    parser.add_argument("--threads", type=int, help="for calibration; times are always of all cores")
    parser.add_argument("--work", type=Path, default=Path("build/int8"), help="where graphs and figures go")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for subject in SUBJECTS:
        if not arguments.only or subject.name in arguments.only:
            rows += measure(subject, arguments.work, arguments.rivals, arguments.threads)
            (arguments.work / "figures.json").write_text(json.dumps(rows, indent=1))
    print_table(rows)


def measure(subject: Subject, work: Path, rivals: str | None, threads: int | None) -> list[dict[str, Any]]:
    """All rows of one detector."""
    float_path = float_graph(subject, work)
    with Detector(float_path) as detector:
        card = detector.card
    # Those who quantise the float graph get it without what only makes float arithmetic faster on a CPU.
    model = read_planes(remove_winograd(onnx.load(float_path)))
    frames = CalibrationFrames(first(subject.calibration, IMAGES), card)
    outputs = [output.name for output in model.graph.output]
    judge = MapJudge(card, dataset(subject.guard), outputs) if subject.guard else None
    paths = {"fp32": float_path}
    reports: dict[str, dict[str, Any]] = {}
    kept = QuantiseOptions(cache=work / "measured", over_budget="keep_best", threads=threads)
    ways = {
        "tensorrt": replace(kept, target="tensorrt"),
        "tensorrt-all": replace(kept, target="tensorrt", layers="all"),
        "cpu": replace(kept, target="cpu"),
    }
    for way, options in ways.items():
        with Progress() as progress:
            done = quantise(model, card, frames, judge=judge, options=options, progress=progress)
        name = f"edgedet, {options.target} dialect{', all layers' if options.layers == 'all' else ''}"
        reports[name] = done.report
        paths[name] = work / f"{subject.name}-{way}.onnx"
        save(done.model, replace(card, precision="int8", measured={"int8": done.report}), paths[name])
        print(f"{subject.name} {way}: {done.report['seconds']} s, {'; '.join(done.warnings) or 'no warnings'}")
    if rivals:
        plain = work / f"{subject.name}-convolutions.onnx"
        onnx.save(model, plain)
        paths |= run_rivals(rivals, plain, card, frames, work / subject.name)
    rows = []
    for name, path in paths.items():
        row: dict[str, Any] = {"detector": subject.name, "graph": name, "macs_int8": integer_share(onnx.load(path))}
        if subject.test:
            row["map"] = accuracy(path, subject.test)
        if name != "fp32":
            row |= speed(float_path, path, frames[0])
        if name in reports:
            row |= {"seconds": reports[name]["seconds"], "report": reports[name]}
        rows.append(row)
    return rows


def speed(float_path: Path, path: Path, frame: Any) -> dict[str, float]:
    """Milliseconds beside fp32: as a user waits (all cores), and CPU time of one thread (hardly any noise)."""
    models = {"fp32": onnx.load(float_path), "int8": onnx.load(path)}
    waited, worked = wall_times(models, frame, turns=40, seconds=60), cpu_times(models, frame)
    return {
        "ms": waited["int8"],
        "ms_fp32": waited["fp32"],
        "speed_up": waited["fp32"] / waited["int8"],
        "thread_ms": worked["int8"],
        "thread_ms_fp32": worked["fp32"],
        "thread_speed_up": worked["fp32"] / worked["int8"],
    }


def float_graph(subject: Subject, work: Path) -> Path:
    """Export the detector in fp32."""
    source = SHARED / subject.source if subject.source else yolo11n(work)
    options = subject.options
    if options.family == "yolox":
        options = replace(options, classes=dataset(subject.calibration).names)
    elif subject.test:
        first_image = dataset(subject.calibration).images[0]
        options = replace(options, frame_size=(first_image.width, first_image.height))
    path = work / f"{subject.name}-fp32.onnx"
    export_model(source, path, options)
    return path


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


def integer_share(model: onnx.ModelProto) -> float:
    """Share of convolution and matrix-product multiply-adds whose input *and* weights come out of INT8."""
    network = Network(model)
    plain = Network(without_pairs(model))
    layers = feature_layers(plain)
    total = sum(layer.multiply_adds for layer in layers)
    integer = 0
    for layer in layers:
        node = network.nodes[layer.name]
        if all(comes_from_integers(network, name) for name in node.input[:2]):
            integer += layer.multiply_adds
    return integer / max(total, 1)


MOVING = (
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
)
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


def without_pairs(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with Q/DQ pairs taken out again and weights in float, so that its layers can be counted."""
    duplicate = onnx.ModelProto()
    duplicate.CopyFrom(model)
    network = Network(duplicate)
    renamed: dict[str, str] = {}
    kept = []
    for node in duplicate.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in network.constants:
            network.set_constant(node.output[0], network.constant(node.input[0]).astype(np.float32))
        elif node.op_type == "QuantizeLinear":
            source = renamed.get(node.input[0], node.input[0])
            if source in network.constants:
                network.set_constant(node.output[0], network.constant(source).astype(np.float32))
            renamed[node.output[0]] = source
        elif node.op_type == "DequantizeLinear":
            renamed[node.output[0]] = renamed.get(node.input[0], node.input[0])
        else:
            for index, name in enumerate(node.input):
                node.input[index] = renamed.get(name, name)
            kept.append(node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del duplicate.graph.node[:]
    duplicate.graph.node.extend(nodes)
    for output in duplicate.graph.output:
        if output.name in renamed:
            duplicate.graph.node.append(onnx.helper.make_node("Identity", [renamed[output.name]], [output.name]))
    del duplicate.graph.value_info[:]
    return duplicate


def run_rivals(
    python: str, float_path: Path, card: ModelCard, frames: CalibrationFrames, work: Path
) -> dict[str, Path]:
    """Graphs by the other tools, from the same float graph and the same frames; failures are told, not hidden."""
    scratch = work / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    np.save(work / "frames.npy", np.stack([frames[i] for i in range(len(frames))]))
    program = Path(__file__).with_name("int8_rivals.py")
    # In a folder of their own: some of them leave files where they stand.
    command = [python, str(program), str(float_path.resolve()), str(work.resolve())]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    # The tools themselves fill pages; what became of each is in this file.
    print((work / "tools.txt").read_text() if (work / "tools.txt").exists() else "", end="")
    if done.returncode:
        print(done.stderr[-2000:])
    found = {}
    for path in sorted(work.glob("*.onnx")):
        model = onnx.load(path)
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, {METADATA_KEY: replace(card, precision="int8").to_json()})
        path.write_bytes(model.SerializeToString())
        found[path.stem] = path
    return found


def print_table(rows: list[dict[str, Any]]) -> None:
    """Markdown, as docs/int8.md shows it."""
    print(
        "\n| detector | graph | mAP | multiply-adds in INT8 | ms, all cores (fp32) | speed-up "
        "| CPU ms, one thread (fp32) | speed-up | made in |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        cells = [row["detector"], row["graph"], f"{row['map']:.4f}" if "map" in row else "–"]
        cells.append(f"{row['macs_int8']:.1%}" if row["graph"] != "fp32" else "–")
        for kind in ("", "thread_"):
            measured = f"{kind}ms" in row
            cells.append(f"{row[f'{kind}ms']:.1f} ({row[f'{kind}ms_fp32']:.1f})" if measured else "–")
            cells.append(f"{row[f'{kind}speed_up']:.2f} ×" if measured else "–")
        cells.append(f"{row['seconds']:.0f} s" if "seconds" in row else "–")
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    begin = time.monotonic()
    main()
    print(f"\n{time.monotonic() - begin:.0f} s in all")
