"""Runtimes: one module each behind the protocol in :mod:`edgedet.runtimes.base`, found by this table."""

from __future__ import annotations

RUNTIMES: dict[str, str] = {
    "onnxruntime": "edgedet.runtimes.onnxruntime",
    "tensorrt": "edgedet.runtimes.tensorrt",
    "torch": "edgedet.export.torch_runtime",
}
"""Runtime name to module. Each module has ``open(path, **options) -> Runtime``."""

SUFFIXES: dict[str, str] = {
    ".onnx": "onnxruntime",
    ".trt": "tensorrt",
    ".engine": "tensorrt",
    ".plan": "tensorrt",
    ".pt": "torch",
    ".pth": "torch",
    ".ckpt": "torch",
    ".safetensors": "torch",
}
"""File suffix to runtime name."""
