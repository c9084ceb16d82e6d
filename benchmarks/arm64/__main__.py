"""Does the device install find on arm64 what it finds here?

    make arm64                                                     (Linux, root, debootstrap, qemu-user-static)
    python -m benchmarks.arm64 FOLDER [--shared ../shared] [--pictures 24] [--only NAME…]

`benchmarks/arm64/root.sh FOLDER` makes the root. Detectors are exported here; the self-test, ONNX Runtime,
OpenVINO and ncnn then run in the root, in qemu, on real photographs. Every box of the fp32 graphs must be there
with IoU 0.99 and score 0.001, and the INT8 graph's mAP on BCCD within 0.005 of what it is here. Writes
docs/measured/arm64.md. Ends with 1 where a bar is missed. Nothing here tells of speed: qemu translates instructions
one by one.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.datasets import Dataset, read_dataset
from edgedet.detections import Detections
from edgedet.evaluate.coco import coco_metrics
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.machine.hardware import describe_cpu
from edgedet.opening import read_card
from edgedet.proof.parity import Tolerance, match_detections, summarise

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "measured" / "arm64.md"
RUNTIMES = ("onnxruntime", "openvino", "ncnn")
GRAPH_RUNTIMES = RUNTIMES[:2]
MAX_MAP_DIFFERENCE = 0.005


@dataclass(frozen=True)
class Subject:
    """A detector and its pictures. ``all_pictures``: mAP is compared, which takes the whole set.

    ``runtimes``: those that open it; a two-stage detector and INT8 are nothing for ncnn.
    """

    name: str
    source: str
    dataset: str
    options: ExportOptions
    all_pictures: bool = False
    runtimes: tuple[str, ...] = RUNTIMES


def subjects(shared: Path) -> list[Subject]:
    """The detectors of the shared folder, and the INT8 dialect for CPUs."""
    bccd, coco = "data/bccd:test", "data/coco128:val2017"
    ssdlite = "models/ssdlite320_mobilenet_v3_large_bccd.pt"
    int8 = ExportOptions(precision="int8", conf=0.001, calib=str(shared / "data/bccd:train"))
    frcnn = "models/fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt"
    two_stage = ExportOptions(proposals=150, frame_size=(640, 480))
    return [
        Subject("ssdlite", ssdlite, bccd, ExportOptions(conf=0.001)),
        Subject("yolox", "models/yolox_nano.onnx", coco, ExportOptions(family="yolox", conf=0.001)),
        Subject("fasterrcnn", frcnn, bccd, two_stage, runtimes=GRAPH_RUNTIMES),
        Subject("ssdlite int8", ssdlite, bccd, int8, all_pictures=True, runtimes=GRAPH_RUNTIMES),
    ]


@dataclass(frozen=True)
class Found:
    """What one machine found. ``seconds``: of the whole process."""

    detections: list[Detections]
    by: str
    versions: str
    seconds: float


def main() -> int:
    """Export, run on both, compare, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where root.sh has made the root; graphs are kept there")
    parser.add_argument(
        "--shared", type=Path, default=Path(os.environ.get("EDGEDET_SHARED") or ROOT.parent / "shared")
    )
    parser.add_argument("--pictures", type=int, default=24, help="pictures for each fp32 graph")
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    root: Path = arguments.folder.resolve() / "root"
    if not (root / "opt/edgedet/bin/python").exists():
        print(
            f"no root in {arguments.folder}; make it: benchmarks/arm64/root.sh {arguments.folder}", file=sys.stderr
        )
        return 2
    selftest = in_root(root, ["/opt/edgedet/bin/edgedet", "selftest"])
    rows, versions = [], []
    met = selftest.returncode == 0
    print(f"self-test on arm64: {'passed' if met else 'FAILED'}", flush=True)
    chosen = [one for one in subjects(arguments.shared) if not arguments.only or one.name in arguments.only]
    for subject in chosen:
        dataset = read_dataset(str(arguments.shared / subject.dataset))
        images = dataset.images if subject.all_pictures else dataset.images[: arguments.pictures]
        for runtime in subject.runtimes:
            suffix = "ncnn" if runtime == "ncnn" else "onnx"
            graph = arguments.folder / f"{subject.name.replace(' ', '_')}.{suffix}"
            if not graph.exists():
                export_model(arguments.shared / subject.source, graph, subject.options)
            here, there = both(root, graph, runtime, [image.path for image in images])
            row, good = compare(subject, dataset, runtime, here, there)
            met &= good
            rows.append(row)
            versions.append(there.versions)
            print(" | ".join(row), flush=True)
    write_page(arguments.page, rows, selftest.stdout, versions)
    return 0 if met else 1


def in_root(root: Path, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program of the root, behind everything else on this machine."""
    clean = ["/usr/bin/env", "-i", "HOME=/root", "PATH=/usr/bin:/bin", "OPENCV_LOG_LEVEL=ERROR"]
    return subprocess.run(["chroot", str(root), *clean, *words], capture_output=True, text=True, check=False)


def both(root: Path, graph: Path, runtime: str, pictures: Sequence[Path]) -> tuple[Found, Found]:
    """The same graph on the same pictures, here and in the root."""
    script = Path(__file__).with_name("boxes.py")
    names = tuple(read_card(graph).names)
    work = root / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    copies = []
    for number, picture in enumerate(pictures):
        copies.append(f"/work/{number:04}{picture.suffix}")
        shutil.copy(picture, root / copies[-1].lstrip("/"))
    model = f"model{graph.suffix}"
    for file, name in ((graph, model), (script, "boxes.py")):
        shutil.copy(file, work / name)
    begin = time.perf_counter()
    local = [str(root / copy.lstrip("/")) for copy in copies]
    here = [sys.executable, str(script), str(graph), runtime, str(work / "here.npz"), *local]
    subprocess.run(here, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    middle = time.perf_counter()
    done = in_root(
        root, ["/opt/edgedet/bin/python", "/work/boxes.py", f"/work/{model}", runtime, "/work/there.npz", *copies]
    )
    if done.returncode:
        raise SystemExit(f"{runtime} on arm64 ended with {done.returncode}: {done.stderr[-600:]}")
    end = time.perf_counter()
    return read(work / "here.npz", names, middle - begin), read(work / "there.npz", names, end - middle)


def read(path: Path, names: tuple[str, ...], seconds: float) -> Found:
    """What boxes.py wrote."""
    kept: Any = np.load(path)
    detections = []
    for image in range(int(kept["pictures"])):
        rows = kept["images"] == image
        detections.append(
            Detections(kept["boxes"][rows], kept["scores"][rows], kept["labels"][rows], names, (1, 1))
        )
    return Found(detections, str(kept["by"]), str(kept["versions"]), seconds)


def compare(
    subject: Subject, dataset: Dataset, runtime: str, here: Found, there: Found
) -> tuple[tuple[str, ...], bool]:
    """A row of the page, and whether the bar is met."""
    pairs = zip(here.detections, there.detections, strict=True)
    report = summarise([match_detections(mine, theirs, Tolerance()) for mine, theirs in pairs])
    alike = f"{report.matched} of {report.reference_count}, {report.extra} more there"
    worst = "-" if report.worst_iou is None else f"{report.worst_iou:.5f}, {report.worst_score_difference:.6f}"
    if subject.all_pictures:
        mine, theirs = (coco_metrics(found.detections, dataset).map for found in (here, there))
        good = abs(mine - theirs) <= MAX_MAP_DIFFERENCE
        figure = f"mAP {theirs:.4f}, here {mine:.4f}"
    else:
        good = report.share == 1
        figure = "every box" if good else "boxes differ"
    verdict = "met" if good else "NOT MET"
    pictures = str(len(here.detections))
    return (subject.name, runtime, pictures, alike, worst, figure, verdict, f"{there.seconds:.0f} s"), good


def write_page(page: Path, rows: Sequence[Sequence[str]], selftest: str, versions: Sequence[str]) -> None:
    """docs/measured/arm64.md."""
    passed = next((line for line in selftest.splitlines() if "onnxruntime: " in line), "nothing").lstrip("+ ")
    titles = ("graph", "runtime", "pictures", "boxes alike", "worst IoU, score", "bar", "", "in qemu")
    table = [titles, ["---"] * len(titles), *rows]
    page.write_text(
        f"""# On arm64

`make arm64` makes a Debian root of arm64, installs this source tree there with `pip install .`, `[openvino]` and
`[ncnn]`, and holds what it finds on real photographs against what the same graphs find on this machine
({describe_cpu().model}, {platform.machine()}). Photographs are the first ones of BCCD's test split and of coco128's
val2017.

{chr(10).join("| " + " | ".join(row) + " |" for row in table)}

Boxes are alike where the label is equal, the IoU at least 0.99 and the score within 0.001, from score 0.05 on. INT8
is the dialect for CPUs, whose integer kernels round elsewhere on another processor: there mAP counts.

YOLOX-Nano's frames are resized as bytes. OpenCV's own code for arm64 gives other bytes at some scales
(`findings/opencv-arm64-resize.sh`), by which 124 of 247 boxes moved further than that;
`edgedet/resizing/byte_resize.py` has x86-64's.

Self-test: {passed}

Versions: {"; ".join(dict.fromkeys(versions))}; qemu-aarch64 {_qemu()}.

**What this does not tell.** Nothing of speed: qemu translates instructions one by one, and its times say how
patient one has to be. Nothing of processors it does not imitate (its files tell of four Cortex-A76, the cores of a
Raspberry Pi 5), and nothing of a board's memory, heat or GPU.
"""
    )


def _qemu() -> str:
    said = subprocess.run(["qemu-aarch64-static", "--version"], capture_output=True, text=True, check=False).stdout
    return said.split("version ")[-1].split("\n")[0].split(" ")[0]


if __name__ == "__main__":
    raise SystemExit(main())
