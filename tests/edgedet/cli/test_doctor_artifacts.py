"""``edgedet doctor ARTIFACT``: will it run here, and if not, what disagrees."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgedet.cli import doctor, main
from edgedet.engine_file import write_engine
from edgedet.environment import describe_environment
from edgedet.machine import Gpu, describe_machine
from tests.rectangle_detector import save_rectangle_graph

PLAN = b"ptrt" + bytes(20) + bytes([10, 3, 0, 0]) + bytes(100)


def test_graphs_and_engines_are_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = save_rectangle_graph(tmp_path / "model.onnx")
    write_engine(tmp_path / "model.trt", replace(card, engine={"architecture": "riscv64"}), PLAN)
    paths = [str(tmp_path / name) for name in ("model.onnx", "model.trt", "absent.trt")]
    assert main(["doctor", *paths, "--json"]) == 1
    fits, engine, absent = json.loads(capsys.readouterr().out)["artifacts"].values()
    assert fits == ""
    assert "built on riscv64, this machine is" in engine
    assert "no such file" in absent
    assert main(["doctor", paths[0]]) == 0
    assert "model.onnx fits this machine" in capsys.readouterr().out


def test_another_gpu_is_named(tmp_path: Path) -> None:
    card = save_rectangle_graph(tmp_path / "model.onnx")
    write_engine(
        tmp_path / "model.trt", replace(card, engine={"compute_capability": "8.7", "device": "Orin"}), PLAN
    )
    machine = replace(describe_machine(), gpus=(Gpu("NVIDIA H100", "580.1", "9.0", 80_000),))
    said = doctor.problem(tmp_path / "model.trt", machine, describe_environment())
    assert "8.7 (Orin), this machine has 9.0 (NVIDIA H100)" in said
