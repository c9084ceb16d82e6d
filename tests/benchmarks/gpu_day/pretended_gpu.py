"""The doubles of TensorRT, CUDA and its driver, with the kernels built for the CPU, for a whole process."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import pytest
from gpu_day import bars, kernels, latency

from edgedet.bench.latency import Rules
from edgedet.bench.suite import BenchOptions
from edgedet.runtimes.cuda import launcher
from tests.runtimes.cuda.host_build import HostLauncher
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.driver_double import FakeDriver, cubin
from tests.tensorrt_api.installed import install

KERNELS = "PRETENDED_GPU_KERNELS"
"""Environment variable: the shared library of the kernels' CPU build."""
QUICK = Rules(warmup_frames=2, warmup_seconds=0.01, frames=5, seconds=0.05, max_seconds=0.2)


def pretend(environment: Mapping[str, str]) -> None:
    """From now on this process has a GPU. Nothing is as fast as on one, so little is measured."""
    patch = pytest.MonkeyPatch()
    cuda = FakeCuda()
    host = HostLauncher(ctypes.CDLL(environment[KERNELS]))
    install(patch, "10.16.1.11", cuda, driver=FakeDriver(cuda, host.launch))
    patch.setattr(launcher, "cached_kernels", cubin)
    patch.setattr(bars, "WARMUP", 1)
    patch.setattr(bars, "RUNS", 2)
    patch.setattr(kernels, "CROWDED", kernels.BUSY)
    patch.setattr(kernels, "WHOLE_DETECTORS", 1)
    patch.setattr(kernels, "NMS_SECONDS", 1.0)
    patch.setattr(kernels, "TOO_LARGE", 900)
    patch.setattr(
        latency, "OPTIONS", BenchOptions(QUICK, batches=(1,), streams=(1,), load_seconds=0.1, cold_starts=1)
    )
