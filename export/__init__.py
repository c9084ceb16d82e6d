"""Checkpoints and foreign ONNX files to graphs and engines, in fp32, fp16 and int8.

:func:`export_model` is the one way in; the command ``edgedet export`` calls it, and :func:`export_pipeline` for the
folders of other pipelines. What a checkpoint leaves unsaid is judged by :func:`check_source`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedet.lazy_names import lazy_names
from edgedet.uninstalled_rooms import require_this_version

if TYPE_CHECKING:
    from .check.search import CheckResult, Finding, Trial
    from .check.source import CheckReport, check_source
    from .options import EngineOptions, ExportOptions, ExportReport, Progress
    from .pipeline import export_model
    from .pipelines.export import Pipeline, export_pipeline
    from .training.settings import TrainingSettings

__version__ = "0.1.0"
require_this_version("edgedet-export", __version__)

__all__ = [
    "CheckReport",
    "CheckResult",
    "EngineOptions",
    "ExportOptions",
    "ExportReport",
    "Finding",
    "Pipeline",
    "Progress",
    "TrainingSettings",
    "Trial",
    "check_source",
    "export_model",
    "export_pipeline",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CheckReport": "edgedet.export.check.source",
        "CheckResult": "edgedet.export.check.search",
        "EngineOptions": "edgedet.export.options",
        "ExportOptions": "edgedet.export.options",
        "ExportReport": "edgedet.export.options",
        "Finding": "edgedet.export.check.search",
        "Pipeline": "edgedet.export.pipelines.export",
        "Progress": "edgedet.export.options",
        "TrainingSettings": "edgedet.export.training.settings",
        "Trial": "edgedet.export.check.search",
        "check_source": "edgedet.export.check.source",
        "export_model": "edgedet.export.pipeline",
        "export_pipeline": "edgedet.export.pipelines.export",
    },
)
