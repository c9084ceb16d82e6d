"""What a user may ask of an export, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

from edgedet.argument_checks import require_count, require_fraction
from edgedet.artifacts.card import ModelCard, Precision
from edgedet.artifacts.card_ranges import MAX_PROPOSALS
from edgedet.artifacts.ncnn_file import SUFFIX as NCNN_SUFFIX
from edgedet.artifacts.rtx_targets import require_targets
from edgedet.errors import UsageError

from .training.settings import TrainingSettings

GRAPH_SUFFIX = ".onnx"

Typing = Literal["auto", "strong", "weak"]
Compatibility = Literal["none", "ampere_plus", "same_compute_capability"]

Progress = Callable[[str, int, int], None]
"""Told (what is being done, how much of it, of how much); the last is 0 where the end is not known."""


def silent(what: str, done: int, of: int) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True)
class ExportOptions:
    """How to export; None leaves a setting as the training framework has it.

    Attributes:
        arch: architecture of a bare state_dict, one of
            ``edgedet.export.families.torchvision_architectures.ARCHITECTURES``.
        family: of a foreign ONNX file that does not say; a name of :data:`edgedet.export.families.FOREIGN`.
        outputs: of a foreign ONNX file, stated by hand: which of them are boxes and scores, and in what form
            (docs/checkpoints.md has the grammar).
        classes: class names without background.
        weights: of a Darknet ``.cfg``; None for those beside it.
        darknet: whose Darknet trained it, where they compute otherwise; None for whose the ``.cfg`` is.
        resize: how frames come onto a Darknet network's input; None for that program's way.
        imgsz: (height, width) of the network's input. For Faster R-CNN equal numbers mean the shortest side,
            and the longest side's limit scales with it.
        frame_size: (width, height) of the frames to come; their shape decides a Faster R-CNN's canvas. None
            takes the commonest of the calibration or evaluation images, else 4:3.
        precision: of the graph. None: fp32, but a finished graph that becomes an engine
            keeps its own.
        calib: what sets ranges: a dataset (``PATH[:SPLIT]``), or a source of frames as text: an image, a glob
            pattern, a video, a camera's number, a URL. None: int8 is calibrated on made pictures
            (:mod:`edgedet.calibration.procedural`).
        eval: the dataset that judges.
        int8_layers: of an int8 graph for TensorRT: those that gain time on a GPU, or all.
        max_drop: how much of the judge's figure (mAP) int8 may cost.
        proposals: region proposals of a Faster R-CNN.
        outside_proposals: of a Faster R-CNN, the number of proposals that come with every frame, from outside: the
            graph has no region proposal network, and takes them as an input.
        conf, iou, max_detections: of the final NMS; the first two in [0, 1].
        nms: in the graph, or by the runtime.
        label_mode: of a foreign YOLO: whether a box is found under its best class, or under every one that scores;
            None for its framework's way (of YOLOX, all: worth 0.004 of mAP).
        target: which dialect of int8, how RoIAlign is written, and what the graph is checked for; ``ncnn`` is no
            graph but a file for it.
        batch: images per run, fixed.
        input_dtype: pixels as uint8 or as unrounded float32 (docs/decisions/001).
        trust: ``code`` unpickles checkpoints that carry code.
        over_budget: whether an int8 graph that costs more than ``max_drop`` is refused or kept.
        effort: how much time int8 may take (docs/int8.md says what each looks at, and what it came to).
        detector: what training knew and the checkpoint does not say.
        reference: boxes the training framework itself found (docs/checkpoints.md); a graph that gives others is
            refused.
        reference_images: folder or dataset of the pictures of ``reference``.
        strict: refuse a source that leaves unsaid what boxes depend on, in place of assuming and saying so.

    Raises:
        UsageError: a value out of range, or options that contradict each other.

    >>> options = ExportOptions(precision="int8", calib="photos", imgsz=(320, 320), conf=0.4)
    >>> options.nms, options.target, options.max_drop
    ('graph', 'cpu', 0.01)
    >>> ExportOptions(conf=40)
    Traceback (most recent call last):
    edgedet.errors.UsageError: --conf is 40, expected a number from 0 to 1
    """

    arch: str | None = None
    family: str | None = None
    outputs: str | None = None
    classes: tuple[str, ...] | None = None
    weights: str | None = None
    darknet: Literal["pjreddie", "alexeyab"] | None = None
    resize: Literal["letterbox", "stretch"] | None = None
    imgsz: tuple[int, int] | None = None
    frame_size: tuple[int, int] | None = None
    precision: Precision | None = None
    calib: str | None = None
    eval: str | None = None
    int8_layers: Literal["dense", "all"] = "dense"
    max_drop: float = 0.01
    proposals: int | None = None
    outside_proposals: int | None = None
    conf: float | None = None
    iou: float | None = None
    max_detections: int | None = None
    nms: Literal["graph", "runtime"] = "graph"
    label_mode: Literal["best", "all"] | None = None
    target: Literal["cpu", "tensorrt", "tensorrt-rtx", "ncnn"] = "cpu"
    batch: int = 1
    input_dtype: Literal["uint8", "float32"] | None = None
    trust: Literal["weights", "code"] = "weights"
    over_budget: Literal["refuse", "keep_best"] = "refuse"
    effort: Literal["quick", "normal", "thorough"] = "normal"
    strict: bool = False
    reference: str | None = None
    reference_images: str | None = None
    detector: TrainingSettings | None = None

    def __post_init__(self) -> None:
        for name in ("conf", "iou", "max_drop"):
            require_fraction(f"--{name.replace('_', '-')}", getattr(self, name))
        for name in ("proposals", "outside_proposals", "max_detections", "batch"):
            require_count(f"--{name.replace('_', '-')}", getattr(self, name))
        for name, choices in get_type_hints(ExportOptions).items():
            # Of "Literal | None", the Literal.
            literal = next((part for part in (choices, *get_args(choices)) if get_origin(part) is Literal), None)
            value = getattr(self, name)
            if literal is not None and value is not None and value not in get_args(literal):
                known = ", ".join(get_args(literal))
                raise UsageError(f"--{name.replace('_', '-')} is {value!r}, expected one of {known}")
        for name in ("imgsz", "frame_size"):
            size = getattr(self, name)
            if size is None:
                continue
            if not isinstance(size, tuple) or len(size) != 2 or not all(isinstance(side, int) for side in size):
                raise UsageError(
                    f"--{name.replace('_', '-')} is {size!r}, expected a pair of pixels such as (320, 320)"
                )
            if min(size) < 32:
                raise UsageError(f"--{name.replace('_', '-')} is {size[0]}x{size[1]}, expected 32 or more each way")
        if self.proposals is not None and self.outside_proposals is not None:
            raise UsageError(
                "--proposals counts those of the network's own, --outside-proposals those that come with every "
                "frame: leave one of them out"
            )
        if self.outside_proposals is not None:
            require_count("--outside-proposals", self.outside_proposals, most=MAX_PROPOSALS)
        for name in ("reference", "eval"):
            if self.outside_proposals is not None and getattr(self, name) is not None:
                raise UsageError(
                    f"--{name} holds boxes against others, and those of a graph with --outside-proposals depend on "
                    f"the proposals that come with every frame: leave --{name} out"
                )
        if self.outputs is not None and self.family is not None:
            raise UsageError("--outputs states what --family would take for granted: leave one of them out")
        if self.reference_images is not None and self.reference is None:
            raise UsageError("--reference-images says where the pictures of --reference are: add --reference FILE")
        if isinstance(self.classes, str):
            raise UsageError(f"--classes is {self.classes!r}, expected a tuple of names such as ('cat', 'dog')")
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            double = next(name for name in self.classes if self.classes.count(name) > 1)
            raise UsageError(f"--classes names {double!r} twice; every class needs a name of its own")


@dataclass(frozen=True)
class EngineOptions:
    """How to build an engine.

    Attributes:
        workspace_mib: most scratch memory a layer may use; None for a quarter of what is free (of the GPU's
            memory, where it has its own).
        optimization_level: 0 (fast to build) to 5 (tries everything).
        timing_cache: file that remembers measured kernels; None for one per version and GPU in the user's cache.
        hardware_compatibility: run on later GPUs too (``ampere_plus``) or on all of one compute capability, slower.
        version_compatible: run on later TensorRT versions too, slower; such engines carry code.
        typing: ``strong``, ``weak`` (TensorRT 10 only), or ``auto``: strong, then weak where that fails.
        compute_capabilities: of TensorRT-RTX, the GPUs the engine is for (``("sm86", "sm89")``, or ``("current",)``
            for this machine's); None for a portable engine. See :mod:`edgedet.artifacts.rtx_targets`.

    Of these TensorRT-RTX has ``workspace_mib``, ``optimization_level`` and ``compute_capabilities``.

    Raises:
        UsageError: a level or an amount of memory out of range, or a compute capability that is not known.

    >>> EngineOptions(workspace_mib=512).optimization_level
    3
    >>> EngineOptions(optimization_level=9)
    Traceback (most recent call last):
    edgedet.errors.UsageError: optimisation level is 9, expected 0 to 5
    """

    workspace_mib: int | None = None
    optimization_level: int = 3
    timing_cache: Path | None = None
    hardware_compatibility: Compatibility = "none"
    version_compatible: bool = False
    typing: Typing = "auto"
    compute_capabilities: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.optimization_level <= 5:
            raise UsageError(f"optimisation level is {self.optimization_level}, expected 0 to 5")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise UsageError(f"workspace is {self.workspace_mib} MiB, expected 1 or more")
        if self.compute_capabilities is not None:
            require_targets(self.compute_capabilities)


BUILD_DEFAULTS = EngineOptions()


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes:
        path: file of the artifact.
        card: its model card.
        bytes: size of the file.
        nodes: number of nodes of the graph, or of the graph that the engine was built from.
        seconds: wall-clock time that the export took.
        notes: sentences for the user.

    >>> from edgedet.export import export_model
    >>> report = export_model("yolo.onnx", "reported.onnx")
    >>> report.path.name, report.card.names, report.bytes == report.path.stat().st_size
    ('reported.onnx', ('blue', 'green', 'red'), True)
    """

    path: Path
    card: ModelCard
    bytes: int
    nodes: int
    seconds: float
    notes: tuple[str, ...] = ()


def default_output(source: Path, options: ExportOptions) -> Path:
    """Path of an export when nothing is said: beside the source, named after it and its precision.

    >>> default_output(Path("runs/best.pt"), ExportOptions(precision="int8")).as_posix()
    'runs/best-int8.onnx'
    >>> default_output(Path("runs/best.pt"), ExportOptions(target="ncnn")).as_posix()
    'runs/best.ncnn'
    """
    precision = options.precision or "fp32"
    kind = NCNN_SUFFIX if options.target == "ncnn" else GRAPH_SUFFIX
    suffix = "" if precision == "fp32" and source.suffix != kind else f"-{precision}"
    if source.is_dir():
        # A folder's dots are no suffix, and its name may be "."; nothing is written into it.
        folder = source.resolve()
        return folder.with_name(f"{folder.name}{suffix}{kind}")
    return source.with_name(f"{source.stem}{suffix}{kind}")
