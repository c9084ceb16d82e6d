"""The real ONNX parser and builder of TensorRT-RTX, which need neither a GPU nor a driver: what they say of a graph.

The wheels ``tensorrt-rtx-cu13-libs`` and ``tensorrt-rtx-cu13-bindings`` hold NVIDIA's own library. Its builder makes
engines for GPUs that are not there; only running them needs one.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Any, Literal

import onnx
import pytest


@dataclass(frozen=True)
class Verdict:
    """How far a graph came: ``built``, or refused by the parser or the builder with the first error ``said``."""

    stage: Literal["built", "parser", "builder"]
    said: str = ""

    def __bool__(self) -> bool:
        return self.stage == "built"


class RealBuilder:
    """One builder, reused: making it loads the builder's resources."""

    def __init__(self, trt: Any) -> None:
        errors: list[str] = []

        class Log(trt.ILogger):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                    errors.append(message)

        self._trt = trt
        self._errors = errors
        self._log = Log()
        self._builder = trt.Builder(self._log)
        self.version: str = trt.__version__

    def try_(self, model: onnx.ModelProto) -> Verdict:
        """Parse and build ``model`` for all GPUs of the library's default set."""
        trt = self._trt
        self._errors.clear()
        network = self._builder.create_network(0)
        parser = trt.OnnxParser(network, self._log)
        if not parser.parse(model.SerializeToString()):
            told = [parser.get_error(index).desc() for index in range(parser.num_errors)]
            return Verdict("parser", (told or self._errors or ["no reason given"])[0])
        plan = self._builder.build_serialized_network(network, self._builder.create_builder_config())
        if plan is None:
            return Verdict("builder", (self._errors or ["no reason given"])[0])
        return Verdict("built")


@functools.cache
def real_builder() -> RealBuilder:
    """The builder of this process; skips the test where the library is not installed."""
    try:
        importlib.import_module("tensorrt_rtx_libs")  # it loads the libraries that the bindings are linked to
        return RealBuilder(importlib.import_module("tensorrt_rtx_bindings"))
    except ImportError as error:
        pytest.skip(f"needs TensorRT-RTX (pip install tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings): {error}")
