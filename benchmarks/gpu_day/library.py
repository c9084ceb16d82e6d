"""Which of NVIDIA's two libraries the engines are for, and whether this machine has it and a GPU."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from edgedet.artifacts.engine_library import LIBRARIES, TENSORRT, TENSORRT_RTX, EngineLibrary
from edgedet.errors import RuntimeUnavailableError
from gpu_day.outcome import NotHereError

NAMES = tuple(library.name for library in LIBRARIES)


def named(name: str) -> EngineLibrary:
    """The library of this name."""
    return next(library for library in LIBRARIES if library.name == name)


def choose(name: str) -> EngineLibrary:
    """The library of this name; ``auto``: the first that is installed, else TensorRT."""
    if name != "auto":
        return named(name)
    return next((library for library in LIBRARIES if is_installed(library)), TENSORRT)


def is_installed(library: EngineLibrary) -> bool:
    """Whether it is here; whether it loads is another question."""
    return find_spec(library.module) is not None


def builds_without_gpu(library: EngineLibrary) -> bool:
    """Whether its builder needs none."""
    return library is TENSORRT_RTX


def load(library: EngineLibrary) -> Any:
    """Its Python module.

    Raises:
        NotHereError: not installed, or its libraries do not load.
    """
    from edgedet.runtimes.tensorrt_library import import_tensorrt

    try:
        return import_tensorrt(library)
    except RuntimeUnavailableError as error:
        raise NotHereError(str(error)) from error


def require_gpu() -> Any:
    """The GPU, an :class:`edgedet.runtimes.cuda.device.Cuda`.

    Raises:
        NotHereError: there is none, or CUDA cannot be used.
    """
    from edgedet.runtimes.cuda.device import Cuda

    try:
        return Cuda()
    except RuntimeUnavailableError as error:
        raise NotHereError(f"no GPU: {error}") from error
