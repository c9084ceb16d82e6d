"""``edgedet selftest``: this machine, and artifacts on it."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from edgedet.artifacts.seal import sealed
from edgedet.cli import main
from edgedet.export.selftest_graph import selftest_graph
from edgedet.opening import read_card
from edgedet.selftest import SELFTEST_GRAPH, check_machine
from tests.rectangle_detector import save_rectangle_graph
from tests.tensorrt_api.behaviour import Machine
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.double import VERSIONS
from tests.tensorrt_api.installed import install


def test_the_graph_in_the_repository_is_the_formulas() -> None:
    model, _ = selftest_graph()
    assert onnx.load(SELFTEST_GRAPH).graph == model.graph
    assert len((read_card(SELFTEST_GRAPH).golden or {})["scores"]) > 20


def test_an_artifact_is_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", str(SELFTEST_GRAPH)]) == 0
    said = capsys.readouterr().out
    assert "49 agree" in said and said.endswith("self-test passed\n")


def test_a_damaged_network_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(SELFTEST_GRAPH)
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "first")
    weights.raw_data = bytes(weights.raw_data[:400]) + bytes(len(weights.raw_data) - 400)
    # Sealed, as if it had been written so: damage on the way is found before anything runs.
    (tmp_path / "damaged.onnx").write_bytes(sealed(model.SerializeToString()))
    assert main(["selftest", str(tmp_path / "damaged.onnx"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["passed"] and "self-test failed" in found["checks"][0]["detail"]


def test_what_cannot_be_replayed_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_rectangle_graph(tmp_path / "model.onnx")
    assert main(["selftest", str(tmp_path / "model.onnx")]) == 1
    assert "no golden input" in capsys.readouterr().out


def test_without_a_gpu_the_rest_is_skipped_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    monkeypatch.setitem(__import__("sys").modules, "cuda.bindings", None)
    assert main(["selftest"]) == 0
    said = capsys.readouterr().out
    assert "+ onnxruntime: pass" in said and "- tensorrt: skip" in said and "- cuda kernels: skip" in said


@pytest.mark.parametrize("version", VERSIONS)
def test_tensorrt_is_built_and_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cuda = FakeCuda()
    install(monkeypatch, version, cuda)
    checks = {check.name: check for check in check_machine()}
    assert checks["tensorrt"].outcome == "pass", checks["tensorrt"].detail
    assert "CUDA graph" in checks["tensorrt"].detail and cuda.held == 0


def test_a_tensorrt_that_fails_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    install(monkeypatch, "10.3.0", FakeCuda(), Machine(build_error="Could not find any implementation for node x"))
    checks = {check.name: check for check in check_machine()}
    assert checks["tensorrt"].outcome == "fail" and "implementation" in checks["tensorrt"].detail
