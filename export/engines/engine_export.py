"""A graph of edgedet's own becomes an engine file: built, proved on the golden input where there is a GPU for it,
then written."""

from __future__ import annotations

import platform
import time
from dataclasses import replace
from pathlib import Path

from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.engine_facts import summary
from edgedet.artifacts.engine_file import Container, write_engine
from edgedet.artifacts.engine_library import TENSORRT, TENSORRT_RTX, EngineLibrary, library_of_name
from edgedet.artifacts.engine_match import Host
from edgedet.artifacts.onnx_layers import parse_layers
from edgedet.artifacts.rtx_targets import CURRENT, gpus_of, is_for, target_facts
from edgedet.errors import ArtifactError, EdgedetError, RuntimeUnavailableError, UsageError
from edgedet.files import require_writable_parent
from edgedet.missing_figures import not_measured
from edgedet.opening import read_card

from ...runtimes.cuda.device import Cuda, driver_is_there
from ...runtimes.tensorrt_library import import_tensorrt
from ..options import BUILD_DEFAULTS, EngineOptions, ExportReport, Progress, silent
from .build import build_plan, content_of


def is_ready_for_engine(source: Path, precision: str | None, library: EngineLibrary = TENSORRT) -> bool:
    """Whether ``source`` is a graph that needs no exporter any more: ours, NMS outside, of the wanted precision.

    Such a graph is built on the device itself, where neither PyTorch nor onnx is installed.

    Raises:
        ArtifactError: it is ours, and its NMS is inside for good.
    """
    if source.suffix.lower() != ".onnx":
        return False
    try:
        card = read_card(source)
    except EdgedetError:
        return False
    if "source_sha256" not in card.provenance and "tools" not in card.provenance:
        return False
    require_nms_outside(card, str(source), library)
    return precision in (None, card.precision)


def require_nms_outside(card: ModelCard, where: str, library: EngineLibrary) -> None:
    """Check that a graph of ours leaves NMS to the runtime, or needs none. ``where`` names it.

    Raises:
        ArtifactError: its NMS is inside.
    """
    if card.output.format == "detections" and card.provenance.get("nms") not in ("none", "steps"):
        why = (
            f"no kernel of {library.title} implements"
            if library is TENSORRT_RTX
            else f"an engine of {library.title} cannot replay as one CUDA graph"
        )
        raise ArtifactError(
            f"{where} suppresses duplicates itself (NonMaxSuppression), which {why}: build the "
            f"engine from the checkpoint, or from a graph exported with --nms runtime --target {library.name}"
        )


def require_int8_inside(graph: bytes | Path, card: ModelCard) -> None:
    """Check that a graph whose card says INT8 has a layer in it. INT8 that is no faster on the CPU it is made on is
    left out there, and its engine would be a float one called INT8, which without a GPU nothing notices.

    Raises:
        ArtifactError: it has none.
    """
    if card.precision == "int8" and "int8" not in parse_layers(content_of(graph)).precisions:
        where = str(graph) if isinstance(graph, Path) else "this graph"
        raise ArtifactError(
            f"the card of {where} says INT8, and none of its layers is: INT8 gained nothing where it was made, so "
            "it was left in float. Build the engine from the checkpoint or the float graph, with --int8 or without"
        )


def build_engine_file(
    graph: bytes | Path,
    card: ModelCard,
    output: Path,
    *,
    options: EngineOptions = BUILD_DEFAULTS,
    container: Container = "file",
    nodes: int = 0,
    notes: tuple[str, ...] = (),
    progress: Progress = silent,
) -> ExportReport:
    """Build, replay the golden input, write.

    ``graph``: an ONNX file, serialised or by its path; ``card``: its card. Nothing is written unless the engine
    passes. One of TensorRT-RTX is written unproved, and says so, where no GPU is at hand that it is for.

    Raises:
        ExportError: the library cannot build it, or builds another precision.
        ArtifactError: its NMS is inside, or its card says INT8 and no layer is.
        SelftestError: the engine gives other detections than the graph did at export.
        RuntimeUnavailableError: no library; for TensorRT also no CUDA or GPU; or the GPU fails while the engine is
            proved.
        UsageError: an engine for this machine's GPU, where there is none.
        OutputError: cannot be written.
    """
    started = time.monotonic()
    require_writable_parent(output)
    library = library_of_name(output) or TENSORRT
    require_nms_outside(card, "this graph", library)
    require_int8_inside(graph, card)
    trt = import_tensorrt(library)
    cuda, unproved = _gpu_for(options, output) if library is TENSORRT_RTX else (Cuda(), "")
    host = Host(
        str(trt.__version__),
        cuda.compute_capability if cuda else None,
        cuda.name if cuda else None,
        platform.machine(),
    )
    built = build_plan(
        graph, card.precision, host, options, library=library, cuda=cuda, unopened=unproved, progress=progress
    )
    facts = built.facts | (cuda.versions() if cuda else {"proof": not_measured(unproved)})
    card = replace(card, engine=facts)
    if cuda:
        progress("replaying the golden input", 0, 0)
        trial = output.with_name(f".{output.stem}.trial{output.suffix}")
        try:
            write_engine(trial, card, built.plan)
            proved = _prove(trial)
        finally:
            trial.unlink(missing_ok=True)
    else:
        proved = f"to prove it on a machine that can run it: edgedet selftest {output.name}"
    card = write_engine(output, card, built.plan, container=container)
    more = [*(f"{what}: {said}" for what, said in summary(facts)), proved]
    if built.facts["typing"] == "weak":
        more.append("built weakly typed, since the strongly typed build failed (see the card)")
    return ExportReport(output, card, output.stat().st_size, nodes, time.monotonic() - started, (*notes, *more))


def _gpu_for(options: EngineOptions, output: Path) -> tuple[Cuda | None, str]:
    """The GPU of this machine, if an engine of TensorRT-RTX can be proved on it; else None, and why not.

    Raises:
        UsageError: the engine is to be for this GPU, and there is none.
    """
    cuda, why = None, "no NVIDIA driver is installed"
    if driver_is_there():
        try:
            cuda = Cuda()
        except RuntimeUnavailableError as error:
            why = str(error)
    if cuda is None and options.compute_capabilities == (CURRENT,):
        raise UsageError(
            f"--compute-capability {CURRENT} takes this machine's GPU, and no GPU can be used here ({why}): name "
            f"what {output.name} is for, such as sm89, or leave the option out"
        )
    if cuda is None:
        return None, f"no GPU can be used on the machine that built it ({why})"
    facts = target_facts(options.compute_capabilities)
    if options.compute_capabilities == (CURRENT,) or is_for(facts, cuda.compute_capability):
        return cuda, ""
    return None, (
        f"the machine that built it has {cuda.name} of compute capability {cuda.compute_capability}, and it is for "
        f"{gpus_of(facts)}"
    )


def _prove(engine: Path) -> str:
    """Run the golden input through the engine; the sentence for the report."""
    from edgedet.task_dispatch import open_by_task, require_golden_of

    with open_by_task(engine) as opened:
        if opened.card.golden is None:
            return "no golden input on the card, so what the engine finds is unproved"
        return str(require_golden_of(opened, unproved="accept"))
