"""What doctor finds of the TensorRT on a machine with a GPU."""

from __future__ import annotations

import sys

import pytest

from edgedet import environment
from edgedet.environment import PACKAGES, Installed, Package, Runtime, describe_environment
from tests.tensorrt_api.behaviour import Machine
from tests.tensorrt_api.cuda_double import FakeCuda
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

    original = environment.look_up
    monkeypatch.setattr(environment, "_gpu_is_visible", lambda: True)
    monkeypatch.setattr(environment, "look_up", look_up)
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


def test_without_device_files_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_gpu_is_visible", lambda: False)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    found = tensorrt_runtime()
    assert not found.usable and found.reason
