"""The real ONNX parser and builder of TensorRT-RTX, which need neither GPU nor driver: what they say of a graph.

The wheels ``tensorrt-rtx-cu13-libs`` and ``tensorrt-rtx-cu13-bindings`` are NVIDIA's own library. Its builder makes
engines for GPUs that are not there; only running them needs one.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Any, Literal

import onnx
import pytest

from edgedet.runtimes.tensorrt_log import CapturedLog, errors_of


@dataclass(frozen=True)
class Verdict:
    """How far a graph came: an engine of ``size`` bytes, or refused, with the errors in ``said``."""

    stage: Literal["built", "parser", "builder"]
    said: str = ""
    size: int = 0

    @property
    def built(self) -> bool:
        return self.stage == "built"


class RealBuilder:
    """One builder for all graphs of a process, and the one logger that the library takes."""

    def __init__(self, trt: Any) -> None:
        self._trt = trt
        self._log = CapturedLog(trt)
        self._builder = trt.Builder(self._log.logger)
        self.version: str = trt.__version__

    def judge(self, model: onnx.ModelProto | bytes) -> Verdict:
        """Parse ``model`` and build it for the library's default set of GPUs; the engine is thrown away."""
        content = model if isinstance(model, bytes) else model.SerializeToString()
        self._log.begin()
        network = self._builder.create_network(0)
        parser = self._trt.OnnxParser(network, self._log.logger)
        if not parser.parse(content):
            return Verdict("parser", errors_of(self._log))
        plan = self._builder.build_serialized_network(network, self._builder.create_builder_config())
        if plan is None:
            return Verdict("builder", errors_of(self._log))
        return Verdict("built", size=plan.nbytes)


@functools.cache
def real_builder() -> RealBuilder:
    """The builder of this process; skips the test where the library is not installed."""
    try:
        importlib.import_module("tensorrt_rtx_libs")  # it loads what the bindings are linked to
        return RealBuilder(importlib.import_module("tensorrt_rtx_bindings"))
    except ImportError as error:
        pytest.skip(f"needs TensorRT-RTX (tensorrt-rtx-cu13-libs and -bindings, {RELEASE}): {error}")


RELEASE = "1.7.1.116"
"""What the rules were held to; another release is told by a test of its own."""
