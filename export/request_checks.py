"""What can be refused before an export begins: each request check once, for the command and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from edgedet.artifacts.card import METADATA_KEY, ModelCard, OutputSpec
from edgedet.artifacts.engine_file import Container
from edgedet.artifacts.engine_library import (
    ENGINE_SUFFIXES,
    TENSORRT,
    TENSORRT_RTX,
    EngineLibrary,
    library_of_name,
)
from edgedet.artifacts.file_signs import START
from edgedet.artifacts.ncnn_file import SUFFIX as NCNN_SUFFIX
from edgedet.artifacts.ncnn_file import is_ncnn
from edgedet.artifacts.onnx_file import read_onnx
from edgedet.artifacts.seal import require_seal
from edgedet.artifacts.signature_policy import VARIABLE, is_required
from edgedet.errors import (
    ArtifactError,
    CheckpointError,
    DamagedArtifactError,
    DatasetError,
    OutputError,
    RuntimeUnavailableError,
    SignatureError,
    UsageError,
)
from edgedet.files import require_writable_parent

from .options import GRAPH_SUFFIX, EngineOptions, ExportOptions


def check_request(
    source: Path,
    output: Path,
    options: ExportOptions,
    *,
    engine: EngineOptions | None = None,
    container: Container | None = None,
) -> None:
    """Check everything that can be checked before PyTorch is loaded, which takes seconds.

    Args:
        source: what is exported.
        output: the file to write; missing folders above it are made.
        options: of the graph.
        engine: how to build an engine; None where nothing was said.
        container: of an engine; None where nothing was said.

    Raises:
        CheckpointError, ArtifactError: no usable source.
        OutputError: an output of another suffix, the source itself, or one that cannot be written.
        DatasetError: a dataset or frame source that is not there.
        ReferenceBoxesError: boxes that cannot be compared with.
        UsageError: options that do not go together.
        RuntimeUnavailableError: an engine is wanted and TensorRT is not installed.
        SignatureError: this machine opens signed artifacts only.
    """
    if is_required():
        raise SignatureError(
            f"this machine opens signed artifacts only ({VARIABLE}), and an export runs what it makes before "
            "anybody can sign it: export on another machine, or unset the variable for this command"
        )
    check_source(source, trust=options.trust)
    _check_output(source, output)
    _check_ncnn(source, output, options, engine, container)
    _check_precision(output, options)
    asked = {"--calib": options.calib, "--eval": options.eval}
    for option, name in ((option, name) for option, name in asked.items() if name is not None):
        from edgedet.pictures.sources import is_there

        if not is_there(name):
            missing = "no file matches it" if any(letter in name for letter in "*?[") else "no such file or folder"
            raise DatasetError(f"{option} {name}: {missing}")
    if options.reference is not None:
        from edgedet.reference.pictures import open_reference

        open_reference(options.reference, options.reference_images)
    _check_engine(output, engine, container)
    require_writable_parent(output)


def check_source(source: Path, *, trust: Literal["weights", "code"] = "weights") -> None:
    """Fail before PyTorch is loaded, which takes seconds.

    Raises:
        CheckpointError: no file, or nothing in it (ArtifactError where it is named .onnx); a folder that holds no
            detector.
        ArtifactError: an engine; or a graph that is not what edgedet wrote.
    """
    kind = ArtifactError if source.suffix.lower() == GRAPH_SUFFIX else CheckpointError
    if not source.exists():
        raise kind(f"no such file: {source}")
    if source.is_dir():
        from edgedet.artifacts.hugging_face_folder import open_folder

        open_folder(source, trust=trust)
        return
    if source.suffix.lower() in ENGINE_SUFFIXES:
        raise ArtifactError(
            f"{source} is an engine, which is the end of the line; export from its checkpoint or graph"
        )
    try:
        with source.open("rb") as file:
            start = file.read(START)
    except OSError as error:
        raise kind(f"cannot read {source}: {error.strerror or error}") from error
    if is_ncnn(start):
        raise ArtifactError(
            f"{source} is for ncnn, which is the end of the line; export from its checkpoint or graph"
        )
    if not start:
        raise kind(f"{source} is empty; expected a checkpoint (.pt, .pth) or an ONNX file")
    if kind is ArtifactError:
        try:
            require_seal(source)
        except DamagedArtifactError:
            raise
        except ArtifactError:
            pass  # no ONNX file at all: whoever reads it says best what it is


def container_of(output: Path, container: Container | None = None) -> Container:
    """Which container an engine at ``output`` gets: as said, else the bare plan for ``.plan``, edgedet's elsewhere.

    >>> container_of(Path("model.plan")), container_of(Path("model.trt")), container_of(Path("model.trt"), "plan")
    ('plan', 'file', 'plan')
    """
    if container is not None:
        return container
    return "plan" if output.suffix.lower() == ".plan" else "file"


def require_unchanged(source: Path, card: ModelCard, options: ExportOptions) -> None:
    """Check that nothing is asked of a finished graph that only an export of its checkpoint can give.

    Raises:
        UsageError: something is.
    """
    fixed = {
        "arch": options.arch,
        "detector": options.detector,
        "family": options.family,
        "outputs": options.outputs,
        "weights": options.weights,
        "darknet": options.darknet,
        "resize": options.resize,
        "imgsz": options.imgsz,
        "frame-size": options.frame_size,
        "proposals": options.proposals,
        "outside-proposals": options.outside_proposals,
        "conf": options.conf,
        "iou": options.iou,
        "max-detections": options.max_detections,
        "label-mode": options.label_mode,
        "input-dtype": options.input_dtype,
    }
    asked = [f"--{name}" for name, value in fixed.items() if value is not None]
    if asked:
        raise UsageError(
            f"{source} is already a graph of edgedet's, in which {', '.join(asked)} can no longer be changed; "
            "export the checkpoint again"
        )
    if options.batch not in (1, card.input.batch):
        raise UsageError(f"{source} was exported for batch {card.input.batch}; export the checkpoint again")


def require_label_mode(options: ExportOptions, output: OutputSpec | None, source: Path) -> None:
    """Make sure that the classes of a box are what the options ask for; ``output``: None where none can be asked.

    Raises:
        UsageError: they are not.
    """
    if options.label_mode is not None and (output is None or output.label_mode != options.label_mode):
        raise UsageError(
            f"--label-mode is for foreign YOLOs; {source} is of a detector that has one way of choosing classes: "
            "leave it out"
        )


def require_int8(precision: str | None, asked: Sequence[str]) -> None:
    """Check that options about INT8 (``--max-drop`` and the like), if any were ``asked``, have something to act on.

    Raises:
        UsageError: another precision.
    """
    if precision != "int8" and asked:
        raise UsageError(
            f"{asked[0]} is about INT8, but precision is {precision or 'fp32'}: add --int8 or drop {asked[0]}"
        )


MISSING = {
    TENSORRT.name: "engines are built on the machine that runs them: export to .onnx here, and build from that "
    "file there",
    TENSORRT_RTX.name: TENSORRT_RTX.install,
}
"""What to do where a library is not installed."""

LACKS: tuple[tuple[EngineLibrary, str, str], ...] = (
    (
        TENSORRT,
        "compute_capabilities",
        "it builds for this machine's GPU alone; engines for others are .rtx",
    ),
    (TENSORRT_RTX, "timing_cache", "it measures nothing when it builds"),
    (
        TENSORRT_RTX,
        "hardware_compatibility",
        "its engines run on several GPUs; --compute-capability says which",
    ),
    (TENSORRT_RTX, "version_compatible", "its engines run on the version that built them, and on no other"),
    (TENSORRT_RTX, "typing", "it keeps the types that the graph has (strong typing)"),
)
"""Options that a library does not have, and why."""


def require_known(library: EngineLibrary, engine: EngineOptions | None) -> None:
    """Check that ``library`` has what is asked of its builder.

    Raises:
        UsageError: an option it does not have.
    """
    for lacking, name, why in LACKS:
        value = None if engine is None else getattr(engine, name)
        if lacking is library and value not in (None, False, "none", "auto", "strong"):
            option = "compute-capability" if name == "compute_capabilities" else name.replace("_", "-")
            raise UsageError(f"--{option} is nothing that {library.title} has: {why}; leave it out")


def _check_output(source: Path, output: Path) -> None:
    if output.suffix.lower() not in (GRAPH_SUFFIX, NCNN_SUFFIX, *ENGINE_SUFFIXES) and not output.is_dir():
        raise OutputError(
            f"{output}: the output's suffix decides what is made; use {GRAPH_SUFFIX} for a graph, "
            f"{' or '.join(ENGINE_SUFFIXES)} for an engine, or {NCNN_SUFFIX} for ncnn"
        )
    if output.exists() and output.samefile(source):
        raise OutputError(f"{output} is the source itself; choose another name with -o")


def is_for_ncnn(output: Path) -> bool:
    """Whether an output is one for ncnn, by its name.

    >>> is_for_ncnn(Path("model.ncnn")), is_for_ncnn(Path("model.onnx"))
    (True, False)
    """
    return output.suffix.lower() == NCNN_SUFFIX


def _check_ncnn(
    source: Path, output: Path, options: ExportOptions, engine: EngineOptions | None, container: Container | None
) -> None:
    """What an output for ncnn can be, and what such a target needs."""
    if not is_for_ncnn(output):
        if options.target == "ncnn":
            raise UsageError(
                f"--target ncnn writes {NCNN_SUFFIX} files, and {output.name} is none: drop one of them"
            )
        return
    if options.precision not in (None, "fp32"):
        raise UsageError(
            f"{output.name} would be for ncnn, whose files are fp32: drop --{options.precision}, or write a graph "
            f"({output.with_suffix(GRAPH_SUFFIX).name})"
        )
    if engine is not None or container is not None:
        raise UsageError(f"options of engines have no meaning for {output.name}, which is for ncnn: leave them out")
    if find_spec("ncnn") is None:
        raise RuntimeUnavailableError(
            f"writing {output.name} needs the package 'ncnn', on which it is proved, and it is not installed: pip "
            "install 'edgedet[ncnn]'"
        )
    card = _card_inside(source)
    if (
        card is not None
        and card.output.format == "detections"
        and card.provenance.get("nms") not in ("none", "steps")
    ):
        raise UsageError(
            f"{source} has its NMS in the graph, and for ncnn it has to be outside; export {output.name} from the "
            "checkpoint, or from a graph made with --nms runtime"
        )


def _card_inside(source: Path) -> ModelCard | None:
    """The card of a graph of edgedet's own; None for anything else."""
    if source.suffix.lower() != GRAPH_SUFFIX:
        return None
    try:
        inside = read_onnx(source).metadata.get(METADATA_KEY)
        return None if inside is None else ModelCard.from_json(inside)
    except ArtifactError:  # which is said where it is read as a source
        return None


def _check_precision(output: Path, options: ExportOptions) -> None:
    if options.int8_layers != "all":
        return
    require_int8(options.precision, ["--int8-layers"])
    if output.suffix.lower() == GRAPH_SUFFIX and options.target == "cpu":
        raise UsageError(
            "--int8-layers all is for INT8 with --target tensorrt (or an engine); on a CPU the layers are found by "
            "measuring which are faster"
        )


def _check_engine(output: Path, engine: EngineOptions | None, container: Container | None) -> None:
    """What is asked of engines needs one, and an engine needs its library."""
    library = library_of_name(output)
    if library is not None:
        require_known(library, engine)
        if find_spec(library.module) is None:
            raise RuntimeUnavailableError(
                f"building {output.name} needs {library.title}, which is not installed here (see edgedet doctor); "
                f"{MISSING[library.name]}"
            )
        return
    asked = ["container"] if container is not None else []
    if engine is not None:
        said = [field.name for field in fields(engine) if getattr(engine, field.name) != field.default]
        names = [name.removesuffix("_mib").replace("capabilities", "capability") for name in said]
        asked += [name.replace("_", "-") for name in names] or ["optimization-level"]
    if asked:
        raise UsageError(f"--{asked[0]} is for engines, and {output.name} is a graph: drop it, or use -o OUT.trt")
