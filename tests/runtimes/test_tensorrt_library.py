"""Where CUDA does not start, the real TensorRT gives null pointers: told as an error, and nobody dies of it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from edgedet.errors import RuntimeUnavailableError
from edgedet.runtimes.cuda.device import Cuda

SCRIPT = """
import edgedet.runtimes.tensorrt_library as library
from edgedet.errors import RuntimeUnavailableError
from edgedet.runtimes.tensorrt_log import CapturedLog

trt = library.import_tensorrt()
log = CapturedLog(trt)
for make in (library.make_runtime, library.make_builder):
    try:
        make(trt, log)
    except RuntimeUnavailableError as error:
        print(error)
"""


def test_the_real_library_without_a_driver_is_survived() -> None:
    if importlib.util.find_spec("tensorrt") is None:
        pytest.skip("TensorRT is not installed")
    try:
        Cuda()
    except RuntimeUnavailableError:
        pass
    else:
        pytest.skip("this machine has a GPU and a driver")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for line, factory in zip(done.stdout.splitlines(), ("createInferRuntime", "createInferBuilder"), strict=True):
        assert "cannot use the GPU" in line and factory in line and "update the driver" in line
