"""What the run is made on: the GPU, its driver, the libraries; and whether there is anything to measure with."""

from __future__ import annotations

from dataclasses import asdict
from importlib import import_module

from edgedet.environment import describe_environment
from edgedet.machine.hardware import describe_machine
from gpu_day.library import Library, require_gpu
from gpu_day.outcome import NotHereError, Report


def describe(report: Report, library: Library) -> None:
    """The GPU and the library, and what ``edgedet doctor`` says of the rest."""
    report.figure("machine", asdict(describe_machine()))
    report.figure("environment", asdict(describe_environment()))
    report.attempt("GPU", _gpu)
    report.attempt(library.name, lambda: _version(library))


def _gpu() -> str:
    cuda = require_gpu()
    memory = "memory of its own" if not cuda.integrated else "the machine's memory"
    versions = ", ".join(f"{name} {version}" for name, version in cuda.versions().items())
    return f"{cuda.name}, compute capability {cuda.compute_capability}, {memory}, {versions}"


def _version(library: Library) -> str:
    require_gpu()
    return str(load(library).__version__)


def load(library: Library) -> object:
    """The library's Python module.

    Raises:
        NotHereError: not installed, or its libraries do not load.
    """
    try:
        for module in library.modules:
            found = import_module(module)
    except (ImportError, OSError) as error:
        raise NotHereError(f"{library.name} cannot be imported: {error}") from error
    return found
