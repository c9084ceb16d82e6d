"""The libraries whose engines edgedet makes and runs: what tells their files and versions apart, before either is
imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class EngineLibrary:
    """One library.

    Attributes:
        name: as a runtime, and as ``library`` on the cards of its engines.
        title: in sentences.
        version_key: key of its version on those cards.
        suffixes: of its engines, the usual one first.
        plan_starts: magic tags of its serialised engines.
        majors: major versions that a plan may name; another means that its header has another layout.
        module: what is imported.
        install: how to get it.
        rebuild: what to do about an engine that does not fit.
    """

    name: str
    title: str
    version_key: str
    suffixes: tuple[str, ...]
    plan_starts: tuple[bytes, ...]
    majors: range
    module: str
    install: str
    rebuild: str


TENSORRT = EngineLibrary(
    name="tensorrt",
    title="TensorRT",
    version_key="tensorrt",
    suffixes=(".trt", ".engine", ".plan"),
    plan_starts=(b"ptrt", b"ftrt"),
    majors=range(8, 21),
    module="tensorrt",
    install="on a Jetson it comes with JetPack (apt install tensorrt python3-libnvinfer), on a PC with an "
    "NVIDIA GPU: pip install tensorrt 'edgedet[tensorrt]'; without a GPU run a graph (.onnx) instead",
    rebuild="build it again on this machine (edgedet export MODEL.onnx -o ENGINE.trt), or run a graph (.onnx)",
)
TENSORRT_RTX = EngineLibrary(
    name="tensorrt-rtx",
    title="TensorRT-RTX",
    version_key="tensorrt_rtx",
    suffixes=(".rtx",),
    plan_starts=(b"vtrt",),
    majors=range(1, 8),
    module="tensorrt_rtx_bindings",
    install="pip install 'edgedet[tensorrt-rtx]' (Linux on x86-64 or arm64; a GPU is needed to run engines, not to "
    "build them)",
    rebuild="build it again with the library of this machine (edgedet export MODEL.onnx -o ENGINE.rtx), or run a "
    "graph (.onnx)",
)
LIBRARIES = (TENSORRT, TENSORRT_RTX)

ENGINE_SUFFIXES = tuple(suffix for library in LIBRARIES for suffix in library.suffixes)
PLAN_STARTS = tuple(start for library in LIBRARIES for start in library.plan_starts)


def library_of_name(path: Path) -> EngineLibrary | None:
    """The library whose engines are named as ``path`` is; None for other names.

    >>> library_of_name(Path("model.rtx")).title, library_of_name(Path("model.onnx"))
    ('TensorRT-RTX', None)
    """
    suffix = path.suffix.lower()
    return next((library for library in LIBRARIES if suffix in library.suffixes), None)


def library_of_plan(start: bytes | memoryview) -> EngineLibrary | None:
    """The library that wrote a plan which begins with ``start``; None where it does not tell.

    >>> library_of_plan(b"ptrt....").title, library_of_plan(b"PK")
    ('TensorRT', None)
    """
    tag = bytes(start[:4])
    return next((library for library in LIBRARIES if tag in library.plan_starts), None)
