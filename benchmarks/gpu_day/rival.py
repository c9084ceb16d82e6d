"""Faster R-CNN beside torchvision's own inference of the same weights, on the same GPU, in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from edgedet import Detector
from edgedet.artifacts.engine_library import EngineLibrary
from edgedet.runtimes.base import Array
from gpu_day.bars import Bar, medians, wall
from gpu_day.engines import require_engine
from gpu_day.inputs import Graph, Inputs
from gpu_day.library import require_gpu
from gpu_day.outcome import NotHereError, Report
from gpu_day.pictures import first_picture


def bar(graph: Graph) -> Bar:
    """The speed of one engine."""
    return Bar(f"{graph.name}, frame on the host (against torchvision eager, fp32)", "faster", 3)


def measure(report: Report, inputs: Inputs, graph: Graph, work: Path, library: EngineLibrary) -> None:
    """From the same picture in the host's memory to detections there."""

    def compare() -> Iterator[Bar]:
        require_gpu()
        engine = require_engine(work, graph.name, library)
        theirs, picture = _torchvision(inputs, graph, work), first_picture(inputs, graph, work)
        with Detector(engine) as detector:
            ours_ms, theirs_ms = medians(wall(lambda: detector.detect(picture)), wall(lambda: theirs(picture)))
        yield replace(bar(graph), measured=ours_ms, reference=theirs_ms)

    report.measure([bar(graph)], compare)


def _torchvision(inputs: Inputs, graph: Graph, work: Path) -> Callable[[Array], object]:
    for module in ("torch", "torchvision"):
        try:
            import_module(module)
        except (ImportError, OSError) as error:
            raise NotHereError(f"{module} cannot be imported: {error}") from error
    import torch

    from edgedet.export.checkpoints.checkpoint import load_checkpoint
    from edgedet.export.families.torchvision_architectures import build

    if not torch.cuda.is_available():
        raise NotHereError(f"PyTorch {torch.__version__} cannot use this GPU")
    checkpoint = load_checkpoint(inputs.fetch(inputs.checkpoints[graph.detector], work))
    model: Any = build(checkpoint.arch, checkpoint.num_classes, checkpoint.state_dict).eval().cuda()

    def detect(frame: Array) -> object:
        # The bytes go over and become RGB floats there: the quickest way to feed torchvision.
        with torch.inference_mode():
            image = torch.from_numpy(frame).cuda().flip(-1).permute(2, 0, 1).float().div(255)
            (found,) = model([image])
            # Waits for the GPU.
            return {key: value.cpu() for key, value in found.items()}

    return detect
