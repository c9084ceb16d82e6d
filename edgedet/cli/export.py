"""Turn a trained checkpoint, or another tool's ONNX file, into one file that a device can run.

The suffix of the output decides: .onnx for ONNX Runtime (and as the source of engines); .trt or .engine for
TensorRT, built on the machine that will run it; .plan for a bare plan with its card beside it; .rtx for
TensorRT-RTX, built on any Linux machine, with a GPU or without, for GeForce RTX and DGX Spark (not for Jetson, nor
for H100); .ncnn for ncnn. The file carries class names, sizes, thresholds and how to resize: the device needs
nothing else.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgedet.artifacts.class_lists import LISTS
from edgedet.artifacts.engine_library import library_of_name
from edgedet.artifacts.rtx_targets import GPUS, PORTABLE, parse_targets
from edgedet.cli.export_report import report_lines
from edgedet.cli.missing_package import packages_named
from edgedet.cli.progress import Progress
from edgedet.cli.ray_options import add_ray_options, observed_on_workers, require_ray_options
from edgedet.cli.training_options import add_detector_option, detector_settings
from edgedet.cli.values import camera_size, canvas_size, class_names, fraction, positive_integer
from edgedet.errors import UsageError
from edgedet.export.families import FOREIGN, FOREIGN_HELP
from edgedet.export.options import EngineOptions, ExportOptions, ExportReport, default_output
from edgedet.export.request_checks import is_for_ncnn, require_int8

EXAMPLES = """\
examples:
  edgedet export model.pt -o model.onnx
  edgedet export model.pt --int8                                    quantised, beside model.pt, on made pictures
  edgedet export model.pt --int8 --calib photos/                    the same, on pictures like the device will see
  edgedet export model.pt --int8 --calib photos/ --eval val.json    the same, accuracy held to --max-drop
  edgedet export model.pt --int8 --calib week/ --ray auto           the same, the pictures on a Ray cluster
  edgedet export weights.pth --arch fasterrcnn_resnet50_fpn --classes cat,dog --proposals 100
  edgedet export yolox_nano.onnx --family yolox -o nano.onnx
  edgedet export yolov4-tiny.cfg                                    with .weights and .names beside it
  edgedet export rtdetr_r18vd/ -o rtdetr.onnx                       a folder of Hugging Face transformers
  edgedet export model.pt --reference boxes.json                    refused unless it gives training's own boxes
  edgedet export model.pt --fp16 -o model.trt                       on the Jetson itself
  edgedet export model.pt --for triton repository/                  a model repository, with a client
  edgedet export model.pt --for deepstream nvinfer/ --frame-size 1920x1080
  edgedet export model.pt --fp16 -o model.rtx                       anywhere, for RTX 30 to 50 and DGX Spark
  edgedet export model.pt -o model.ncnn                             ncnn's own layers, proved against the graph
  edgedet export model.pt -o model.rtx --compute-capability sm75    for RTX 20
"""

PASSED_ON = (
    "arch", "family", "outputs", "classes", "weights", "darknet", "resize", "imgsz", "frame_size", "batch",
    "proposals", "outside_proposals", "max_detections", "conf", "iou", "nms", "label_mode", "input_dtype",
    "precision", "target",
    "calib", "eval", "int8_layers", "max_drop", "over_budget", "effort", "strict", "reference", "reference_images",
)  # fmt: skip
"""Options that go to the exporter under their own names."""

ENGINE_OPTIONS = (
    "workspace_mib", "optimization_level", "timing_cache", "hardware_compatibility", "version_compatible",
    "compute_capabilities",
)  # fmt: skip
"""Options that go to the builder of engines under their own names."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``edgedet export``."""
    parser.add_argument(
        "source",
        metavar="SRC",
        type=Path,
        help="checkpoint (.pt, .pth, .ckpt, .safetensors), ONNX file, Darknet .cfg, or Hugging Face folder",
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, help="file to write; default: beside SRC, named after it"
    )
    model = parser.add_argument_group("the checkpoint (settings it does not hold itself)")
    model.add_argument("--arch", help="torchvision architecture of a bare state_dict")
    model.add_argument(
        "--family",
        choices=tuple(FOREIGN),
        help=FOREIGN_HELP,
    )
    model.add_argument(
        "--outputs",
        metavar="READING",
        help="what the outputs of any other ONNX file are, such as 'boxes=dets:xyxy@input, "
        "scores=labels:softmax+bg' (docs/checkpoints.md has the grammar)",
    )
    model.add_argument(
        "--classes",
        metavar="NAMES",
        type=class_names,
        help=f"class names: a,b,c, a file with one a line (.txt, .names), or a list ({', '.join(LISTS)})",
    )
    model.add_argument(
        "--weights", metavar="FILE", help="weights of a Darknet .cfg; default: beside it, named after it"
    )
    model.add_argument(
        "--darknet",
        choices=("pjreddie", "alexeyab"),
        help="whose Darknet trained it; default: whose options the .cfg has",
    )
    model.add_argument(
        "--resize",
        choices=("letterbox", "stretch"),
        help="how frames come onto a Darknet network's input; default: as its test command does it",
    )
    model.add_argument(
        "--trust-checkpoint",
        action="store_true",
        help="run the code in a pickled checkpoint; only for files from people you trust",
    )
    add_detector_option(
        model,
        "training settings that the file does not hold: a TOML file, or NAME=VALUE such as "
        "'anchor_sizes=[[32, 64, 128]]' or background=last; may be repeated (docs/checkpoints.md). A NAME.toml "
        "beside NAME.pt with a [detector] table is read without this option",
    )
    model.add_argument(
        "--strict",
        action="store_const",
        const=True,
        help="refuse a source that does not state what its boxes depend on, instead of assuming it with a note",
    )
    truth = parser.add_argument_group("boxes of the training framework as the truth (docs/checkpoints.md)")
    truth.add_argument(
        "--reference",
        metavar="FILE",
        help="boxes it found, as COCO results with images and categories; a graph with other boxes is not written",
    )
    truth.add_argument(
        "--reference-images",
        metavar="DIR",
        help="folder of their pictures, if not beside FILE; for a bare results list its COCO file, PATH[:SPLIT]",
    )
    graph = parser.add_argument_group("the graph")
    graph.add_argument("--imgsz", metavar="SIZE", type=canvas_size, help="network input, SIDE or HEIGHTxWIDTH")
    graph.add_argument(
        "--frame-size",
        metavar="WxH",
        type=camera_size,
        help="size of the camera's frames: a network that keeps proportions gets no larger input than they need",
    )
    graph.add_argument("--batch", metavar="N", type=positive_integer, help="frames per run (1)")
    graph.add_argument(
        "--proposals", metavar="N", type=positive_integer, help="two-stage detectors: region proposals per image"
    )
    graph.add_argument(
        "--outside-proposals",
        metavar="P",
        type=positive_integer,
        help="two-stage detectors: no region proposal network; up to P proposals come with every frame",
    )
    graph.add_argument(
        "--max-detections", metavar="N", type=positive_integer, help="maximum number of boxes per frame"
    )
    graph.add_argument("--conf", metavar="X", type=fraction, help="minimum score of a detection")
    graph.add_argument("--iou", metavar="X", type=fraction, help="IoU above which NMS drops the lower-scoring box")
    graph.add_argument("--nms", choices=("graph", "runtime"), help="place of NMS (graph; for engines: runtime)")
    graph.add_argument(
        "--label-mode",
        choices=("best", "all"),
        help="a foreign YOLO's box is found under its best class, or under every one that scores (the framework's "
        "way; YOLOX: all, its own demo: best)",
    )
    graph.add_argument(
        "--input-dtype",
        choices=("uint8", "float32"),
        help="type of the input's pixels; default: the type training resized in",
    )
    precision = parser.add_argument_group("precision")
    kind = precision.add_mutually_exclusive_group()
    kind.add_argument("--precision", choices=("fp32", "fp16", "int8"), help="precision of the network (fp32)")
    kind.add_argument("--fp16", dest="precision", action="store_const", const="fp16", help="--precision fp16")
    kind.add_argument("--int8", dest="precision", action="store_const", const="int8", help="--precision int8")
    precision.add_argument(
        "--target",
        choices=("cpu", "tensorrt", "tensorrt-rtx", "ncnn"),
        help="what the graph is for (cpu; for engines: their library); ncnn: its own layers, in place of a graph",
    )
    precision.add_argument(
        "--calib",
        metavar="SOURCE",
        help="images for INT8 ranges, best some 100 like those the device will see: a folder or dataset "
        "(PATH[:SPLIT], labels are not needed), a pattern, video or camera; without, pictures are made for it",
    )
    precision.add_argument("--eval", metavar="DATASET", help="labelled images for accuracy before and after")
    precision.add_argument(
        "--int8-layers",
        choices=("dense", "all"),
        help="for TensorRT: all but depthwise and very small layers, which INT8 is reported not to make faster "
        "on a GPU (dense, the default), or every layer, for hardware that is slow at anything else",
    )
    precision.add_argument(
        "--max-drop",
        metavar="X",
        type=fraction,
        help="maximum accuracy loss of INT8, absolute (0.01: one point of mAP)",
    )
    precision.add_argument(
        "--over-budget",
        choices=("refuse", "keep_best"),
        help="above --max-drop: fail (refuse, the default), or write the best graph found",
    )
    precision.add_argument(
        "--effort",
        choices=("quick", "normal", "thorough"),
        help="how long INT8 may take for more of the network in it (normal; times and accuracies: docs/int8.md)",
    )
    engine = parser.add_argument_group("the engine (only for .trt, .engine, .plan, .rtx)")
    engine.add_argument(
        "--container",
        choices=("file", "plan"),
        help="card in front of the plan (file), or the bare plan with a .json beside it, for Triton (plan)",
    )
    engine.add_argument(
        "--workspace",
        dest="workspace_mib",
        metavar="MIB",
        type=positive_integer,
        help="scratch memory per layer (a quarter of free memory)",
    )
    engine.add_argument(
        "--optimization-level", metavar="N", type=int, choices=range(6), help="0: quick build, 5: slow build (3)"
    )
    engine.add_argument(
        "--timing-cache", metavar="FILE", type=Path, help="file of measured kernels, kept between builds"
    )
    engine.add_argument(
        "--hardware-compatibility",
        choices=("ampere_plus", "same_compute_capability"),
        help="also run on other GPUs, slower",
    )
    engine.add_argument(
        "--version-compatible",
        action="store_const",
        const=True,
        help="also run on later TensorRT versions, slower; such an engine carries code",
    )
    engine.add_argument(
        "--compute-capability",
        dest="compute_capabilities",
        metavar="LIST",
        type=parse_targets,
        help="of .rtx: the GPUs it is for, such as sm86,sm89,sm120, or current for this machine's; without, one "
        f"engine for {', '.join(GPUS[target] for target in PORTABLE)} and later",
    )
    parser.add_argument(
        "--for",
        dest="pipeline",
        nargs=2,
        metavar=("triton|deepstream", "DIR"),
        help="in place of a file, write the folder DIR for another pipeline (docs/pipelines.md). triton: a model "
        "repository with a client. deepstream: nvinfer's configuration, graph and labels, and the source of a "
        "parser; --frame-size is what nvstreammux gives. With --container plan both get an engine, built here",
    )
    add_ray_options(parser, work="INT8: run the calibration frames")
    parser.add_argument("--json", action="store_true", help="the report as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Export, and print the report."""
    require_ray_options(arguments)
    options = export_options(arguments)
    check_typed(arguments, options)
    with (
        packages_named("exporting"),
        Progress() as progress,
        build_words(progress),
        observed_on_workers(arguments),
    ):
        report = _export(arguments, options, progress)
    if arguments.json:
        print(json.dumps(dataclasses.asdict(report) | {"path": str(report.path)}, indent=2))
    else:
        for line in report_lines(report):
            print(line)
    return 0


def _export(arguments: argparse.Namespace, options: ExportOptions, progress: Progress) -> ExportReport:
    """A file, or the folder of another pipeline."""
    how = {"engine": engine_options(arguments), "container": arguments.container, "progress": progress}
    if arguments.pipeline is not None:
        from edgedet.export.pipelines.export import export_pipeline

        pipeline, folder = arguments.pipeline
        return export_pipeline(arguments.source, pipeline, folder, options, **how)
    from edgedet.export.pipeline import export_model

    return export_model(arguments.source, arguments.output, options, **how)


@contextmanager
def build_words(progress: Progress) -> Iterator[None]:
    """What the builder of engines has to say before its long silence, on stderr: first of all, how much memory."""

    class Words(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            progress.close()
            warning = "warning: " if record.levelno >= logging.WARNING else ""
            print(f"{warning}{record.getMessage()}", file=sys.stderr)

    logger, handler = logging.getLogger("edgedet.build"), Words(logging.INFO)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def export_options(arguments: argparse.Namespace) -> ExportOptions:
    """The options of the exporter; what was not given keeps its default there.

    Raises:
        UsageError: a value out of range.
    """
    given = {name: getattr(arguments, name) for name in PASSED_ON if getattr(arguments, name) is not None}
    return ExportOptions(
        **given, trust="code" if arguments.trust_checkpoint else "weights", detector=detector_settings(arguments)
    )


def engine_options(arguments: argparse.Namespace) -> EngineOptions | None:
    """How to build an engine; None where nothing was said."""
    given = {name: getattr(arguments, name) for name in ENGINE_OPTIONS if getattr(arguments, name) is not None}
    return EngineOptions(**given) if given else None


def check_typed(arguments: argparse.Namespace, options: ExportOptions) -> None:
    """Find words that contradict each other though their values are the defaults, which only the command can tell.

    Raises:
        UsageError: options that do not go together.
    """
    about_int8 = ("max_drop", "over_budget", "int8_layers", "effort", "ray")
    typed = [f"--{name.replace('_', '-')}" for name in about_int8 if getattr(arguments, name) is not None]
    require_int8(options.precision, typed)
    if arguments.pipeline is not None:
        if arguments.output is not None:
            raise UsageError(f"--for writes the folder {arguments.pipeline[1]}, not a file: drop -o")
        return
    output: Path = arguments.output or default_output(arguments.source, options)
    if is_for_ncnn(output) and arguments.target not in (None, "ncnn"):
        raise UsageError(
            f"{output.name} is for ncnn, and --target {arguments.target} is for other files: drop one of them"
        )
    library = library_of_name(output)
    if library is not None and arguments.target not in (None, library.name):
        raise UsageError(
            f"{output.name} is an engine of {library.title}, and --target {arguments.target} is for other graphs: "
            "drop one of them"
        )
