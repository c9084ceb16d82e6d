"""A graph of edgedet's own becomes an engine file: built, proved on the golden input, then written."""

from __future__ import annotations

import platform
import time
from dataclasses import replace
from pathlib import Path

from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.engine_facts import summary
from edgedet.artifacts.engine_file import Container, write_engine
from edgedet.artifacts.engine_match import Host
from edgedet.errors import ArtifactError, EdgedetError
from edgedet.files import require_writable_parent
from edgedet.opening import read_card

from ...runtimes.cuda.device import Cuda
from ...runtimes.tensorrt_library import import_tensorrt
from ..options import BUILD_DEFAULTS, EngineOptions, ExportReport, Progress, silent
from .build import build_plan


def is_ready_for_engine(source: Path, precision: str | None) -> bool:
    """Whether ``source`` is a graph that needs no exporter any more: ours, NMS outside, of the wanted precision.

    Such a graph is built on the device itself, where neither PyTorch nor onnx is installed.
    """
    if source.suffix.lower() != ".onnx":
        return False
    try:
        card = read_card(source)
    except EdgedetError:
        return False
    ours = "source_sha256" in card.provenance or "tools" in card.provenance
    outside = card.output.format == "candidates" or card.provenance.get("nms") == "none"
    return ours and outside and precision in (None, card.precision)


def build_engine_file(
    graph: bytes,
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

    ``graph``: a serialised ONNX file; ``card``: its card. Nothing is written unless the engine passes.

    Raises:
        ExportError: TensorRT cannot build it, or builds another precision.
        SelftestError: the engine gives other detections than the graph did at export.
        RuntimeUnavailableError: no TensorRT, CUDA or GPU, or the GPU fails while the engine is proved.
        OutputError: cannot be written.
    """
    started = time.monotonic()
    require_writable_parent(output)
    if card.output.format == "detections" and card.provenance.get("nms") != "none":
        raise ArtifactError(
            "this graph suppresses duplicates itself (NonMaxSuppression), which an engine cannot replay as one "
            "CUDA graph; export it with --nms runtime --target tensorrt"
        )
    trt = import_tensorrt()
    cuda = Cuda()
    host = Host(str(trt.__version__), cuda.compute_capability, cuda.name, platform.machine())
    built = build_plan(graph, card.precision, host, options, cuda=cuda, progress=progress)
    facts = built.facts | cuda.versions()
    card = replace(card, engine=facts)
    progress("replaying the golden input", 0, 0)
    trial = output.with_name(f".{output.stem}.trial{output.suffix}")
    try:
        write_engine(trial, card, built.plan)
        proved = _prove(trial)
    finally:
        trial.unlink(missing_ok=True)
    card = write_engine(output, card, built.plan, container=container)
    more = [*(f"{what}: {said}" for what, said in summary(facts)), proved]
    if built.facts["typing"] == "weak":
        more.append("built weakly typed, since the strongly typed build failed (see the card)")
    return ExportReport(output, card, output.stat().st_size, nodes, time.monotonic() - started, (*notes, *more))


def _prove(engine: Path) -> str:
    """Run the golden input through the engine; the sentence for the report."""
    from edgedet.detector import Detector
    from edgedet.proof.golden import require_golden

    with Detector(engine) as detector:
        if detector.card.golden is None:
            return "no golden input on the card, so the engine's detections are unproved"
        return str(require_golden(detector, unproved="accept"))
