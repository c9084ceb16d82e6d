"""Building with TensorRT-RTX: for GPUs that are elsewhere, on a machine that needs none."""

from __future__ import annotations

from typing import Any

from edgedet.artifacts.rtx_targets import CURRENT
from edgedet.errors import ExportError

from ..options import EngineOptions


def configure(trt: Any, config: Any, options: EngineOptions) -> None:
    """Set what TensorRT-RTX's builder has and TensorRT's has not: the GPUs, and buffers that a CUDA graph can keep.

    No timing cache: it does nothing there, and asks for a GPU (NVIDIA's page "Timing Cache Migration").

    Raises:
        ExportError: the library does not take a target.
    """
    # Without it memory may be allocated while running, which no CUDA graph can record.
    config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    if options.compute_capabilities is None:
        return
    config.num_compute_capabilities = len(options.compute_capabilities)
    for index, target in enumerate(options.compute_capabilities):
        name = "CURRENT" if target == CURRENT else target.upper()
        value = getattr(trt.ComputeCapability, name, None)
        if value is None or not config.set_compute_capability(value, index):
            raise ExportError(f"TensorRT-RTX {trt.__version__} does not build for {target}; leave it out")
