"""What doctor finds of the TensorRT on a machine with a GPU."""

from __future__ import annotations

import re
import sys
import types

import pytest

from edgedet import installed_packages
from edgedet.cli.doctor import environment_lines
from edgedet.errors import RuntimeUnavailableError
from edgedet.installed_packages import PACKAGES, Installed, Package, Runtime, describe_environment
from edgedet.runtimes.cuda import compiler
from tests.tensorrt_api.behaviour import Machine
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.double import RTX_VERSIONS
from tests.tensorrt_api.installed import install


def tensorrt_runtime() -> Runtime:
    return next(found for found in describe_environment().runtimes if found.name == "tensorrt")


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's device files, and both packages installed."""

    def look_up(package: Package) -> Installed:
        if package.module in ("tensorrt", "cuda.bindings"):
            return Installed(package, "ok", {package.distributions[0]: "1.0"})
        return original(package)

    original = installed_packages.look_up
    monkeypatch.setattr(installed_packages, "_gpu_is_visible", lambda: True)
    monkeypatch.setattr(installed_packages, "look_up", look_up)
    assert {"tensorrt", "cuda.bindings"} <= {package.module for package in PACKAGES}


@pytest.mark.usefixtures("with_gpu")
def test_a_tensorrt_that_starts_is_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "10.3.0", FakeCuda())
    assert tensorrt_runtime().usable


@pytest.mark.usefixtures("with_gpu")
def test_a_tensorrt_newer_than_the_driver_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "10.3.0", FakeCuda(), Machine(no_cuda=True))
    found = tensorrt_runtime()
    assert not found.usable and "cannot use the GPU" in found.reason and "\n" not in found.reason


@pytest.mark.usefixtures("with_gpu")
def test_neither_is_one_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "10.3.0", FakeCuda(devices=0))
    assert "this machine has 0" in tensorrt_runtime().reason


def rtx_runtime() -> Runtime:
    return next(found for found in describe_environment().runtimes if found.name == "tensorrt-rtx")


@pytest.fixture
def with_rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT-RTX and CUDA for Python are installed."""
    original = installed_packages.look_up

    def look_up(package: Package) -> Installed:
        if package.module in ("tensorrt_rtx_bindings", "cuda.bindings"):
            return Installed(package, "ok", {package.distributions[0]: "1.7.1.116"})
        return original(package)

    monkeypatch.setattr(installed_packages, "look_up", look_up)


@pytest.mark.usefixtures("with_rtx")
@pytest.mark.parametrize(
    ("capability", "said"),
    [((8, 9), ""), ((8, 7), "RTX 30 series, .* has Double of compute capability 8.7"), ((9, 0), "capability 9.0")],
)
def test_rtx_is_usable_on_its_own_gpus(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], said: str
) -> None:
    monkeypatch.setattr(installed_packages, "_gpu_is_visible", lambda: True)
    install(monkeypatch, RTX_VERSIONS[0], FakeCuda(capability))
    found = rtx_runtime()
    assert found.usable == (not said)
    assert re.search(said, found.reason) and ("can be built here" in found.reason) == bool(said)


@pytest.mark.usefixtures("with_rtx")
def test_without_a_gpu_rtx_still_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed_packages, "_gpu_is_visible", lambda: False)
    found = rtx_runtime()
    assert not found.usable
    assert found.reason == "no NVIDIA GPU is visible on this machine; engines (.rtx) can be built here"
    assert any("tensorrt-rtx-cu13-bindings 1.7.1.116" in line for line in environment_lines(describe_environment()))


def test_without_device_files_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed_packages, "_gpu_is_visible", lambda: False)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    found = tensorrt_runtime()
    assert not found.usable and found.reason


@pytest.mark.usefixtures("with_gpu")
def test_cuda_is_told_with_its_driver_and_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "10.3.0", FakeCuda())
    monkeypatch.setattr(compiler, "nvrtc_version", lambda: "12.6")
    found = describe_environment()
    assert found.cuda == {"cuda": "12.6", "driver": "12.6", "nvrtc": "12.6"}
    assert "cuda        runtime 12.6, driver up to 12.6, NVRTC 12.6" in environment_lines(found)
    assert not any("NVRTC" in line for line in found.advice)


@pytest.mark.usefixtures("with_gpu")
def test_a_missing_compiler_is_told_with_what_it_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "10.3.0", FakeCuda())

    def without_library() -> None:
        raise RuntimeError('Failure finding "libnvrtc.so.12"')

    monkeypatch.setattr(compiler, "_nvrtc", lambda: types.SimpleNamespace(nvrtcVersion=without_library))
    found = describe_environment()
    assert found.cuda["nvrtc"] == ""
    assert "cuda        runtime 12.6, driver up to 12.6, no NVRTC" in environment_lines(found)
    assert any("NMS runs on the CPU" in line and "cuda-nvrtc-12-6" in line for line in found.advice)
    with pytest.raises(RuntimeUnavailableError, match=r"need NVRTC .*libnvrtc\.so\.12.*pip install"):
        compiler.cached_kernels("nms.cu", "8.7")
