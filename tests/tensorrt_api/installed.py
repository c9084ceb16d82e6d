"""A machine with TensorRT and a GPU, as far as our code can tell."""

from __future__ import annotations

import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any

import pytest

from tests.tensorrt_api.behaviour import Machine, is_rtx
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.double import make_tensorrt
from tests.tensorrt_api.driver_double import FakeDriver


def install(
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    cuda: FakeCuda,
    machine: Machine | None = None,
    *,
    driver: FakeDriver | None = None,
) -> Any:
    """Put the doubles where ``import tensorrt`` (for TensorRT-RTX its bindings) and ``from cuda.bindings import
    runtime`` find them.

    Without a ``driver`` there are no kernels of ours.
    """
    machine = machine or Machine()
    machine.enqueue = cuda.enqueue  # type: ignore[attr-defined]
    machine.synchronise = cuda.cudaStreamSynchronize  # type: ignore[attr-defined]
    trt = make_tensorrt(version, machine)
    package = types.ModuleType("cuda.bindings")
    package.runtime = cuda.module  # type: ignore[attr-defined]
    if driver is not None:
        package.driver = driver.module  # type: ignore[attr-defined]
    # Never the real one, which another test may have loaded.
    monkeypatch.delitem(sys.modules, "cuda.bindings.driver", raising=False)
    monkeypatch.setitem(sys.modules, "cuda", types.ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", package)
    monkeypatch.setitem(sys.modules, trt.__name__, trt)
    if is_rtx(trt):
        # Its other wheel, which only loads libraries.
        libraries = types.ModuleType("tensorrt_rtx_libs")
        libraries.__spec__ = ModuleSpec("tensorrt_rtx_libs", None)
        monkeypatch.setitem(sys.modules, "tensorrt_rtx_libs", libraries)
    return trt
