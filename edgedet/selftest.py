"""Does this machine compute what it should? The first thing to run on a new board."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from edgedet.artifacts.card import InputSpec, OutputSpec, ResizeRule
from edgedet.artifacts.engine_library import LIBRARIES, TENSORRT, EngineLibrary
from edgedet.artifacts.signature_policy import VARIABLE, is_required
from edgedet.detector import Detector
from edgedet.errors import EdgedetError, RuntimeUnavailableError
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import Tolerance, match_detections, summarise
from edgedet.task_dispatch import open_by_task, require_golden_of

SELFTEST_GRAPH = Path(__file__).with_name("selftest.onnx")
"""Two convolutions; its golden input was recorded by ONNX Runtime on x86 (``export/selftest_graph.py``)."""

SCENES = (0, 1, 2, 3)
TOLERANCE = Tolerance(min_score=0.62, min_iou=0.98, max_score_difference=0.01)
"""A GPU multiplies fp32 in TF32 unless told otherwise."""


@dataclass(frozen=True)
class Check:
    """One thing tried: ``detail`` says what was compared, or why it was skipped or failed."""

    name: str
    outcome: Literal["pass", "fail", "skip"]
    detail: str
    seconds: float


def check_machine() -> Iterator[Check]:
    """ONNX Runtime, TensorRT, TensorRT-RTX and the CUDA kernels on the tiny detector; what is not installed is
    skipped."""
    yield _try("onnxruntime", lambda: replay(SELFTEST_GRAPH))
    for library in LIBRARIES:
        yield _try(library.name, partial(_engine, library))
    yield _try("cuda kernels", _kernels)


def check_artifact(path: Path) -> Check:
    """Replay an artifact's golden input here."""
    return _try(str(path), lambda: replay(path), missing_is="fail")


def replay(path: Path) -> str:
    """Run the golden input of an artifact; the report as a sentence.

    Raises:
        SelftestError: other detections, or other classes, than at export.
        ArtifactError: no golden input, or an artifact that does not open.
    """
    with open_by_task(path) as opened:
        return f"{require_golden_of(opened)}; {opened.description}"


def _try(name: str, work: Callable[[], str], missing_is: Literal["skip", "fail"] = "skip") -> Check:
    begin = time.monotonic()
    try:
        detail, outcome = work(), "pass"
    except RuntimeUnavailableError as error:
        detail, outcome = str(error), missing_is
    except EdgedetError as error:
        detail, outcome = str(error), "fail"
    seconds = time.monotonic() - begin
    return Check(name, outcome, detail, seconds)  # type: ignore[arg-type]


def _engine(library: EngineLibrary) -> str:
    """Build the tiny engine and compare it with ONNX Runtime, frame by frame."""
    from edgedet.errors import SelftestError
    from edgedet.runtimes.tensorrt_library import import_tensorrt

    import_tensorrt(library)  # says why there is none
    from edgedet.export.options import EngineOptions
    from edgedet.export.pipeline import export_model

    if is_required():
        raise RuntimeUnavailableError(
            f"an engine that was built just now is signed by nobody, and this machine opens signed ones "
            f"({VARIABLE})"
        )
    with tempfile.TemporaryDirectory() as folder:
        engine = Path(folder) / f"selftest{library.suffixes[0]}"
        cache = Path(folder) / "timing.cache" if library is TENSORRT else None
        options = EngineOptions(optimization_level=0, workspace_mib=64, timing_cache=cache)
        export_model(SELFTEST_GRAPH, engine, engine=options)
        with Detector(SELFTEST_GRAPH, runtime="onnxruntime:cpu") as reference, Detector(engine) as detector:
            found = []
            for seed in SCENES:
                frame = golden_frame(seed)
                # Twice: the first run is plain, the second replays the CUDA graph.
                detector.detect(frame)
                found.append(match_detections(reference.detect(frame), detector.detect(frame), TOLERANCE))
            report = summarise(found)
            if not report.agrees(0.98):
                share = "none" if report.share is None else f"{report.share:.1%}"
                raise SelftestError(
                    f"{library.title} gives other detections than ONNX Runtime: {share} of "
                    f"{report.reference_count} agree; report this with edgedet doctor --json"
                )
            return f"{report.reference_count} detections as by ONNX Runtime; {detector.description}"


def _kernels() -> str:
    """Our kernels on this GPU against the CPU's own code."""
    from edgedet.runtimes.cuda.device import Cuda
    from edgedet.runtimes.cuda.kernel_check import check_nms, check_resize
    from edgedet.runtimes.cuda.launcher import prepared_launcher

    cuda = Cuda()
    with prepared_launcher(cuda) as (launcher, stream):
        random = np.random.default_rng(0)
        own = OutputSpec("candidates", score_threshold=0.05, iou_threshold=0.5, max_detections=100)
        foreign = replace(own, format="yolo_xywh", label_mode="best")
        kept = sum(check_nms(cuda, launcher, stream, (own, foreign)[case % 2], random) for case in range(20))
        for rule in (ResizeRule("letterbox"), ResizeRule("stretch")):
            check_resize(cuda, launcher, stream, InputSpec(320, 416), rule, random=random)
    device = f"{cuda.name}, compute capability {cuda.compute_capability}"
    return f"NMS ({kept} boxes kept) and resizing as on the CPU; {device}"
