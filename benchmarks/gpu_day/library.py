"""Which of NVIDIA's two libraries the engines are for, and whether this machine has it and a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from edgedet.errors import RuntimeUnavailableError
from gpu_day.outcome import NotHereError


@dataclass(frozen=True)
class Library:
    """``modules``: what is imported, in this order. ``suffix``: of its engines. ``builds_without_gpu``: what it says."""

    name: str
    modules: tuple[str, ...]
    suffix: str
    builds_without_gpu: bool

    def installed(self) -> bool:
        """Whether its modules are here; whether they load is another question."""
        return all(find_spec(module) is not None for module in self.modules)


LIBRARIES = {
    "tensorrt": Library("tensorrt", ("tensorrt",), ".trt", False),
    "tensorrt-rtx": Library("tensorrt-rtx", ("tensorrt_rtx_libs", "tensorrt_rtx_bindings"), ".rtx", True),
}


def choose(name: str) -> Library:
    """The library of this name; ``auto``: the first that is installed, else the first."""
    if name != "auto":
        return LIBRARIES[name]
    return next((library for library in LIBRARIES.values() if library.installed()), LIBRARIES["tensorrt"])


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
