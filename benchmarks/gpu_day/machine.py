"""What the run is made on: the GPU, its driver, the libraries; and whether there is anything to measure with."""

from __future__ import annotations

from dataclasses import asdict

from edgedet.artifacts.engine_library import EngineLibrary
from edgedet.installed_packages import describe_environment
from edgedet.machine.hardware import describe_machine
from gpu_day.library import load, require_gpu
from gpu_day.outcome import Report


def describe(report: Report, library: EngineLibrary) -> None:
    """The GPU and the library, and what ``edgedet doctor`` says of the rest."""
    report.figure("machine", asdict(describe_machine()))
    report.figure("environment", asdict(describe_environment()))
    report.attempt("GPU", _gpu)
    report.attempt(library.title, lambda: str(load(library).__version__))


def _gpu() -> str:
    cuda = require_gpu()
    memory = "the machine's memory" if cuda.integrated else "memory of its own"
    versions = ", ".join(f"{name} {version}" for name, version in cuda.versions().items())
    return f"{cuda.name}, compute capability {cuda.compute_capability}, {memory}, {versions}"
