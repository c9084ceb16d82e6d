"""Engines of TensorRT-RTX by NVIDIA's own parser and builder, with no GPU: sizes, layers, seconds.

    python benchmarks/rtx_engines.py [--shared ../shared] [--only ssdlite yolox] [--precisions fp16] [--keep DIR]
                                     [--ultralytics]

Nine detectors in fp32, fp16 and int8 (quick effort), each by the command that a user would type. Trained ones of
the shared folder where they are; elsewhere the same architectures with random weights, for which INT8 may lose what
it will (--max-drop 1): the question here is what the library takes. Ends with 1 where it refuses one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PRECISIONS = ("fp32", "fp16", "int8")
SCENES = 4
"""Rendered, to calibrate those that have no pictures of their own."""


@dataclass(frozen=True)
class Subject:
    """A detector to build engines of.

    Attributes:
        source: the file or folder to export.
        options: of the command, for every precision.
        calib: pictures that INT8 is calibrated on.
        int8: further options for INT8.
    """

    name: str
    source: Path
    calib: str
    options: tuple[str, ...] = ()
    int8: tuple[str, ...] = ()


UNTRAINED = ("--max-drop", "1")


def main() -> int:
    """Build what is asked for; 1 where one was refused, 2 where there is no library."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shared", type=Path, default=Path(os.environ.get("EDGEDET_SHARED") or ROOT.parent / "shared")
    )
    parser.add_argument("--only", nargs="+", choices=sorted(MAKERS), default=list(MAKERS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument(
        "--ultralytics",
        action="store_true",
        help="get Ultralytics' package (AGPL-3.0) for YOLO11n, into a folder that is removed afterwards",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where engines stay; without, they are removed")
    arguments = parser.parse_args()
    from edgedet.artifacts.engine_library import TENSORRT_RTX
    from edgedet.errors import RuntimeUnavailableError
    from edgedet.runtimes.tensorrt_library import import_tensorrt

    try:
        version = import_tensorrt(TENSORRT_RTX).__version__
    except RuntimeUnavailableError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"TensorRT-RTX {version}, no GPU\n")
    print("| detector | precision | engine | layers as parsed | parser and builder | whole command |")
    print("|---|---|---|---|---|---|", flush=True)
    refused: list[str] = []
    built, in_builder, begin = 0, 0.0, time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.ultralytics:
            install_ultralytics(folder / "packages")
        kept = arguments.keep or folder
        kept.mkdir(parents=True, exist_ok=True)
        for subject in (MAKERS[name](arguments.shared, folder) for name in arguments.only):
            for precision in arguments.precisions:
                output = kept / f"{subject.name}-{precision}.rtx".replace(" ", "_")
                said, seconds = build(subject, precision, output)
                if seconds is None:
                    refused.append(f"{subject.name} in {precision}: {said}")
                    continue
                built, in_builder = built + 1, in_builder + seconds
                print(f"| {subject.name} | {precision} | {said} |", flush=True)
    print(f"\n{built} engines in {time.monotonic() - begin:.0f} s, {in_builder:.0f} of them in parser and builder")
    for line in refused:
        print(f"refused: {line}", file=sys.stderr)
    return 1 if refused else 0


def install_ultralytics(folder: Path) -> None:
    """Make the package importable here and in the commands, without touching the environment."""
    packages = ("ultralytics", "ultralytics-thop")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *packages],
        check=False,
    )
    if done.returncode:
        print("Ultralytics' package cannot be had: a small network of its layout instead", file=sys.stderr)
        return
    sys.path.append(str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(folder))))
    os.environ["YOLO_CONFIG_DIR"] = str(folder)


def build(subject: Subject, precision: str, output: Path) -> tuple[str, float | None]:
    """A row of the table and the builder's seconds; what was said and None where there is no engine."""
    from edgedet.opening import read_card

    words = [str(subject.source), *subject.options, "-o", str(output)]
    if precision == "int8":
        # What INT8 costs is another question; the card and `edgedet sweep` answer it.
        words += ["--int8", "--effort", "quick", "--over-budget", "keep_best", "--calib", subject.calib]
        words += subject.int8
    elif precision == "fp16":
        words.append("--fp16")
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "edgedet", "export", *words], capture_output=True, text=True, cwd=ROOT, check=False
    )
    passed = time.monotonic() - begin
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["nothing was said"])[-1], None
    facts: dict[str, Any] = read_card(output).engine or {}
    work = facts["build"]
    size = output.stat().st_size / 1e6
    return f"{size:.1f} MB | {work['network_layers']} | {work['seconds']:.1f} s | {passed:.0f} s", work["seconds"]


def bccd(checkpoint: str, arch: str, *options: str) -> Callable[[Path, Path], Subject]:
    """A detector of the shared folder, trained on blood cells; untrained where it is not there."""

    def make(shared: Path, folder: Path) -> Subject:
        path, pictures = shared / "models" / checkpoint, shared / "data" / "bccd"
        if not path.is_file() or not pictures.is_dir():
            return untrained(arch, *options)(shared, folder)
        name = f"{arch} {' '.join(options)}".rstrip()
        return Subject(name, path, f"{pictures}:val", ("--frame-size", "640x480", *options))

    return make


def untrained(arch: str, *options: str, **settings: Any) -> Callable[[Path, Path], Subject]:
    """An architecture with random weights."""

    def make(shared: Path, folder: Path) -> Subject:
        import torch

        from edgedet.export.families.torchvision_architectures import build as build_module

        torch.manual_seed(0)
        module: Any = build_module(arch, 4, **settings)
        content = {"arch": arch, "num_classes": 4, "classes": ["a", "b", "c"], "state_dict": module.state_dict()}
        path = folder / f"{arch}.pt"
        torch.save(content, path)
        return Subject(arch, path, scenes(folder), options, UNTRAINED)

    return make


def yolox(shared: Path, folder: Path) -> Subject:
    """YOLOX-Nano as its authors export it."""
    path, coco = shared / "models" / "yolox_nano.onnx", shared / "data" / "coco128"
    if path.is_file() and coco.is_dir():
        labels = str(coco / "instances_train2017.json")
        return Subject("yolox_nano", path, labels, ("--family", "yolox"))
    return one_stage("yolox", folder, "--family", "yolox", "--classes", "a,b,c")


def yolo(shared: Path, folder: Path) -> Subject:
    """YOLO11n with random weights, where Ultralytics' package is installed; else a small network of its layout."""
    if find_spec("ultralytics") is None:
        return one_stage("yolo", folder)
    import torch
    from ultralytics import YOLO

    torch.manual_seed(0)
    YOLO("yolo11n.yaml").save(folder / "yolo11n.pt")
    return Subject("yolo11n", folder / "yolo11n.pt", scenes(folder), ("--trust-checkpoint",), UNTRAINED)


def one_stage(family: Any, folder: Path, *options: str) -> Subject:
    """A small network of the family, with random weights."""
    from tests.export.one_stage import save_one_stage

    save_one_stage(folder / f"{family}.onnx", family)
    return Subject(f"small {family}", folder / f"{family}.onnx", scenes(folder), options, UNTRAINED)


def transformer(shared: Path, folder: Path) -> Subject:
    """A folder of Hugging Face transformers."""
    from tests.export.hugging_face_models import save

    return Subject("small rt_detr", save("rt_detr", folder / "rt_detr"), scenes(folder), (), UNTRAINED)


def scenes(folder: Path) -> str:
    """Rendered pictures, drawn once."""
    from examples.render import write_dataset

    if not (folder / "scenes").is_dir():
        write_dataset(folder / "scenes", SCENES, seed=3)
    return str(folder / "scenes" / "scenes")


SMALL_CANVAS: Sequence[str] = ("--imgsz", "192x192", "--proposals", "30", "--frame-size", "640x480")
"""What the library takes does not depend on the size, and INT8 is simulated on it."""
MAKERS: dict[str, Callable[[Path, Path], Subject]] = {
    "ssdlite": bccd("ssdlite320_mobilenet_v3_large_bccd.pt", "ssdlite320_mobilenet_v3_large"),
    "ssd300": untrained("ssd300_vgg16"),
    "fasterrcnn": bccd("fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt", "fasterrcnn_mobilenet_v3_large_320_fpn"),
    "outside": bccd(
        "fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt",
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "--outside-proposals",
        "50",
    ),
    "resnet50": untrained("fasterrcnn_resnet50_fpn", *SMALL_CANVAS),
    "vgg16": untrained("fasterrcnn_vgg16", *SMALL_CANVAS),
    "maskrcnn": untrained("maskrcnn_mobilenet_v3_large_fpn", *SMALL_CANVAS, "--max-detections", "20"),
    "yolox": yolox,
    "yolo": yolo,
    "transformer": transformer,
}

if __name__ == "__main__":
    raise SystemExit(main())
