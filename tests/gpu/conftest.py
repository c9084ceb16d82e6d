"""What the GPU tests need; without it they skip and say what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edgedet.errors import RuntimeUnavailableError
from edgedet.runtimes.cuda.device import Cuda, CudaError
from edgedet.runtimes.cuda.launcher import GpuLauncher
from edgedet.runtimes.tensorrt_library import import_tensorrt


@pytest.fixture(scope="session")
def cuda() -> Cuda:
    """The first CUDA device."""
    try:
        return Cuda()
    except RuntimeUnavailableError as error:
        pytest.skip(f"needs a CUDA device: {error}")


@pytest.fixture
def stream(cuda: Cuda) -> Iterator[int]:
    """A stream of its own."""
    stream = cuda.stream()
    yield stream
    cuda.destroy_stream(stream)


@pytest.fixture
def launcher(cuda: Cuda, stream: int) -> Iterator[GpuLauncher]:
    """The kernels, compiled for this device."""
    try:
        launcher = GpuLauncher(cuda, stream)
        launcher.prepare()
    except RuntimeUnavailableError as error:
        if isinstance(error, CudaError):
            raise
        pytest.skip(f"needs NVRTC: {error}")
    yield launcher
    cuda.synchronise(stream)
    launcher.close()


@pytest.fixture(scope="session")
def tensorrt(cuda: Cuda) -> Any:
    """The real TensorRT."""
    try:
        return import_tensorrt()
    except RuntimeUnavailableError as error:
        pytest.skip(f"needs TensorRT: {error}")
