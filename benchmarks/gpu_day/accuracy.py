"""An engine against the graph it was built from: the same boxes, and the same mAP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from edgedet import Detector
from edgedet.artifacts.card import Precision
from edgedet.artifacts.engine_library import EngineLibrary
from edgedet.detections import Detections
from edgedet.errors import MissingDependencyError, SelftestError
from edgedet.evaluate.coco import coco_metrics
from edgedet.evaluate.detection_pass import run_over
from edgedet.pictures.image_file import read_image
from edgedet.proof.parity import ON_AN_ENGINE, match_detections, summarise
from edgedet.runtimes.tensorrt import TensorRTRuntime
from gpu_day.bars import Bar
from gpu_day.engines import require_engine
from gpu_day.inputs import Graph, Inputs
from gpu_day.kernels import FrameOnGpu
from gpu_day.library import require_gpu
from gpu_day.outcome import NotHereError, Report
from gpu_day.pictures import labelled, read_answers

MAP_LIMITS: dict[Precision, float] = {"fp32": 0.002, "fp16": 0.002, "int8": 0.012}
FRAMES_ON_GPU = 6
SAME_ON_GPU = 0.8
"""Share of detections that frames on the GPU must have in common with those on the host: a grey level of difference
in resizing moves what lies on an edge."""


def bar(graph: Graph) -> Bar:
    """What precision and engine together may cost."""
    return Bar(f"mAP of {graph.name} (against the fp32 graph's)", "apart", MAP_LIMITS[graph.precision], unit="")


def measure(report: Report, inputs: Inputs, graph: Graph, work: Path, library: EngineLibrary) -> None:
    """Every picture through the engine once: compared with the graph's answers, and judged by the labels."""
    try:
        require_gpu()
        engine = require_engine(work, graph.name, library)
    except NotHereError as error:
        why = str(error)
        report.check("parity with the graph", "not_measured", why)
        report.leave_out([bar(graph)], why)
        return
    dataset = labelled(inputs, graph, work)
    assert graph.answers is not None
    with ExitStack() as stack:
        detector = stack.enter_context(Detector(engine))
        found = [detections for _, _, detections in run_over(detector, dataset)]
        report.figure("runtime", detector.description)
        answers = list(read_answers(inputs.fetch(graph.answers, work), detector.names))
        report.attempt("parity with the graph", lambda: _parity(answers, found, graph.precision))
        report.attempt("CUDA graph", lambda: _recorded(detector))
        frames = [image.path for image in dataset.images[:FRAMES_ON_GPU]]
        report.attempt("frames on the GPU", lambda: _on_gpu(detector, frames, found, graph.precision))

    def judge() -> Iterator[Bar]:
        try:
            value = coco_metrics(found, dataset).map
        except MissingDependencyError as error:
            raise NotHereError(str(error)) from error
        report.figure("map", value)
        report.figure("map_of_the_graph", graph.map)
        yield replace(bar(graph), measured=value, reference=graph.float_map)

    report.measure([bar(graph)], judge)


def _parity(answers: list[Detections], found: list[Detections], precision: Precision) -> str:
    tolerance, least = ON_AN_ENGINE[precision]
    agreement = summarise(
        [match_detections(expected, own, tolerance) for expected, own in zip(answers, found, strict=True)]
    )
    share = "none" if agreement.share is None else f"{agreement.share:.2%}"
    said = (
        f"{share} of {agreement.reference_count} detections on {agreement.frames} pictures agree (score at least "
        f"{tolerance.min_score}, IoU {tolerance.min_iou}, score within {tolerance.max_score_difference}); the "
        f"worst IoU is {agreement.worst_iou}, the worst difference of scores {agreement.worst_score_difference}"
    )
    if not agreement.agrees(least):
        raise SelftestError(f"{said}; expected {least:.0%}")
    return said


def _recorded(detector: Detector) -> str:
    if "CUDA graph" not in detector.description:
        raise SelftestError(f"the engine runs without a CUDA graph: {detector.description}")
    return detector.description


def _on_gpu(detector: Detector, paths: list[Path], found: list[Detections], precision: Precision) -> str:
    runtime = detector._runtime
    if not isinstance(runtime, TensorRTRuntime) or runtime._stream is None:
        raise SelftestError(f"expected an engine on the GPU, found {detector.description}")
    cuda, tolerance, matched = runtime._cuda, ON_AN_ENGINE[precision][0], []
    for path, on_host in zip(paths, found, strict=False):
        frame = read_image(path)
        address = cuda.allocate(frame.nbytes)
        try:
            resident = FrameOnGpu(cuda, address, frame, runtime._stream)
            matched.append(match_detections(on_host, detector.detect(resident), tolerance))
        finally:
            cuda.free(address)
    agreement = summarise(matched)
    share = "none" if agreement.share is None else f"{agreement.share:.1%}"
    said = f"{share} of {agreement.reference_count} detections are those of the same frames on the host"
    if not agreement.agrees(SAME_ON_GPU):
        raise SelftestError(f"{said}; expected {SAME_ON_GPU:.0%}")
    return said
