"""Engines on the CUDA double, whose kernels run in their CPU build."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgedet.artifacts.engine_file import write_engine
from edgedet.opening import read_card
from edgedet.runtimes import tensorrt as runtime_module
from edgedet.selftest import SELFTEST_GRAPH
from tests.runtimes.cuda.host_build import HostLauncher, build
from tests.runtimes.cuda.queued_launcher import QueuedLauncher
from tests.tensorrt_api.behaviour import make_plan
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.installed import install


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> HostLauncher:
    return build(tmp_path_factory)


@pytest.fixture(params=[False, True], ids=["discrete", "jetson"])
def double(request: Any, monkeypatch: pytest.MonkeyPatch, host: HostLauncher) -> FakeCuda:
    double = FakeCuda(integrated=request.param)
    monkeypatch.setattr(QueuedLauncher, "host", host, raising=False)
    monkeypatch.setattr(QueuedLauncher, "double", double, raising=False)
    monkeypatch.setattr(runtime_module, "GpuLauncher", QueuedLauncher)
    return double


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, double: FakeCuda) -> Path:
    trt = install(monkeypatch, "10.16.1.11", double)
    facts = {"tensorrt": "10.16.1.11", "compute_capability": "8.7", "architecture": platform.machine()}
    write_engine(
        tmp_path / "tiny.trt",
        replace(read_card(SELFTEST_GRAPH), engine=facts),
        make_plan(trt, onnx.load(SELFTEST_GRAPH)),
    )
    return tmp_path / "tiny.trt"
