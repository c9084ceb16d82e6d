"""What INT8 keeps of the families that others than Ultralytics train, on networks trained by their own losses.

    python benchmarks/trained_repositories.py --frameworks DIR [--only yolov5n,dfine,…] [--trained build/trained]
                                              [--page docs/measured/families.md]

As :mod:`trained_families`, whose scenes and figures these are. ``DIR`` holds checkouts, as :mod:`yolo_parity` and
:mod:`transformer_parity` want them, which make the networks and their ONNX files. Their training scripts want
packages and settings of their own: here :mod:`repository_training` takes their losses alone. What it trained stays
in ``--trained`` as NAME-repository.pt and is not trained again.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import transformer_repositories
import yolo_parity
from framework_case import NotHereError
from measured_rows import PAGE, line, put
from repository_training import Course, Loss, anchor_loss, matching_loss, read_scenes, train
from settled_network import trained_by
from shape_scenes import SHAPES, write_scenes
from stand_ins import stand_in_for_training
from trained_families import HEADER, LOWEST, SCENES, SEED, SIDE, kept

from edgedet.export.options import ExportOptions

COURSES = {
    "yolov5n-original": Course(800, 2e-3, 10.0),
    "yolov7-tiny": Course(800, 2e-3, 10.0),
    "rtdetr": Course(1500, 4e-4, 0.1),
    "dfine": Course(2000, 8e-4, 0.1),
    "deimv2": Course(2000, 8e-4, 0.1),
}
QUERIES = {"dfine": {"DFINETransformer": {"num_queries": 100}}}
"""Settings of DETRs whose feature maps have fewer cells at this side than they have queries."""
CLASSES = (*SHAPES, *(f"class_{number}" for number in range(len(SHAPES), 80)))
"""Their networks have 80."""


def weights(loss: Callable[[Any], Loss], course: Course, path: Path, data: Path, network: Any) -> None:
    """Give ``network`` the weights of ``path``, which are trained where they are not there yet."""
    import torch

    if not path.exists():
        torch.set_num_threads(1)  # On busy cores one is fastest.
        train(network, loss(network), read_scenes(data, "train"), course)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), path)
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))


def made(name: str, data: Path, arguments: argparse.Namespace, folder: Path) -> tuple[Path, ExportOptions]:
    """The trained network's ONNX file, as its repository writes it, and how it is exported."""
    path = arguments.trained.resolve() / f"{name}-repository.pt"
    frameworks, course = arguments.frameworks.resolve(), COURSES[name]
    if name in yolo_parity.CASES:
        with trained_by(partial(weights, anchor_loss, course, path, data)):
            case = yolo_parity.CASES[name](name, frameworks, folder, SIDE, [])
        return case.path, dataclasses.replace(case.options, conf=LOWEST, classes=CLASSES)
    stand_in_for_training()

    def trained(network: Any, criterion: Any) -> None:
        weights(partial(matching_loss, criterion=criterion), course, path, data, network)

    subject = dataclasses.replace(
        transformer_repositories.SUBJECTS[name],
        side=SIDE,
        trained=trained,
        settings={"eval_spatial_size": [SIDE, SIDE], **QUERIES.get(name, {})},
    )
    source = transformer_repositories.written_of(subject, frameworks, [], folder)[1]
    return source, ExportOptions(conf=LOWEST, family=subject.family, classes=CLASSES)


def main() -> int:
    """Print the table, a row at a time; 1 where INT8 is refused or costs more than its budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frameworks", type=Path, default=Path("frameworks"))
    parser.add_argument("--only", default=",".join(COURSES))
    parser.add_argument("--trained", type=Path, default=Path("build/trained"), help="where weights stay")
    parser.add_argument("--page", type=Path, metavar="FILE", help=f"write rows into it, as {PAGE.name} has them")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if not arguments.alone:
        # Their packages share names, so each has a process of its own.
        print(line(HEADER), line(["---"] * len(HEADER)), sep="\n", flush=True)
        command = [sys.executable, __file__, *sys.argv[1:], "--alone", "--only"]
        return max(subprocess.run([*command, name], check=False).returncode for name in names)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        data = write_scenes(folder / "scenes", SCENES, side=SIDE, seed=SEED)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                source, options = made(names[0], data, arguments, folder)
        except NotHereError as error:
            print(line((names[0], f"not measured: {error}", *[""] * (len(HEADER) - 2))), flush=True)
            return 0
        measured = kept(names[0], str(COURSES[names[0]].steps), source, options, data)
    print(line(measured.cells), flush=True)
    if arguments.page:
        put(arguments.page, HEADER, measured.cells)
    return 0 if measured.met else 1


if __name__ == "__main__":
    sys.exit(main())
