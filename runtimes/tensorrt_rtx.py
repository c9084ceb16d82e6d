"""What TensorRT-RTX alone has at run time: kernels compiled on the GPU that runs them, and a cache to keep them in.

An engine holds code for several GPUs; the first run compiles it for the one at hand, which takes seconds. The cache
is one file for each engine, below one folder for each version, GPU and driver, in the user's cache. The library
checks what it reads against version, GPU and driver once more; the digest in front keeps a damaged file from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from pathlib import Path
from typing import Any

from edgedet.errors import OutputError
from edgedet.files import atomic_path, user_cache

from .cuda.device import Cuda, CudaError

DIGEST = 32
"""Bytes of the SHA-256 in front of a kept cache."""

logger = logging.getLogger("edgedet.tensorrt")


def kernel_cache_path(version: str, cuda: Cuda, plan: bytes) -> Path:
    """Path of the kernels of ``plan`` for this GPU, its driver, and this version of the library."""
    try:
        driver = cuda.versions()["driver"]
    except CudaError:
        driver = "unknown"
    device = "".join(letter if letter.isalnum() else "-" for letter in cuda.name)
    folder = f"rtx-{version}-{device}-{cuda.compute_capability}-cuda{driver}"
    return user_cache() / folder / f"{hashlib.sha256(plan).hexdigest()[:24]}.kernels"


class KernelCache:
    """The kernels of one engine: read from ``path`` where they are there and whole, written by :meth:`save`.

    Raises:
        CudaError: the library gives no configuration or no cache.
    """

    def __init__(self, engine: Any, path: Path) -> None:
        self._path = path
        self._config = engine.create_runtime_config()
        cache = None if self._config is None else self._config.create_runtime_cache()
        if cache is None:
            raise CudaError("TensorRT-RTX has no room for a runtime cache; see edgedet doctor")
        self._cache: Any = cache
        self._kept = _read(path)
        if self._kept and not cache.deserialize(self._kept):
            # Of another driver or GPU: it is replaced when this one is saved.
            self._kept = b""
        self._config.set_runtime_cache(cache)

    def create_context(self, engine: Any) -> Any:
        """An execution context of ``engine`` that compiles no kernel twice; None where there is no memory."""
        return engine.create_execution_context(self._config)

    def save(self) -> None:
        """Keep what was compiled since. What cannot be kept costs time at the next start, and nothing else."""
        memory = self._cache.serialize()
        kernels = b"" if memory is None else bytes(memory)
        if not kernels or kernels == self._kept:
            return
        with contextlib.suppress(OutputError), atomic_path(self._path) as temporary:
            temporary.write_bytes(hashlib.sha256(kernels).digest() + kernels)
            self._kept = kernels


def _read(path: Path) -> bytes:
    """A kept cache; empty where there is none, or where the file is not what was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return b""
    kernels = content[DIGEST:]
    if hashlib.sha256(kernels).digest() == content[:DIGEST]:
        return kernels
    logger.warning("%s is damaged: kernels are compiled anew", path)
    return b""


def diagnosis(trt: Any, runtime: Any, plan: bytes) -> str:
    """Why the library will not open ``plan``, in its own words, such as ``unsupported cc, old cuda driver``; empty
    where it does not say."""
    _, flags = runtime.get_engine_validity(plan[: runtime.engine_header_size])
    reasons = (str(reason).rpartition(".")[2] for reason in _members(trt) if int(reason) & int(flags))
    return ", ".join(reason.lower().replace("_", " ") for reason in reasons)


def _members(trt: Any) -> list[Any]:
    return [
        getattr(trt.EngineInvalidityDiagnostics, name)
        for name in dir(trt.EngineInvalidityDiagnostics)
        if name.isupper()
    ]
