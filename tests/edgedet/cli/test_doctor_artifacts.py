"""``edgedet doctor ARTIFACT``: will it run here, and if not, what disagrees."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from edgedet.artifacts.engine_file import write_engine
from edgedet.artifacts.rtx_targets import target_facts
from edgedet.cli import doctor, main
from edgedet.installed_packages import PACKAGES, Environment, Installed, describe_environment
from edgedet.machine.hardware import Gpu, describe_machine
from tests.rectangle_detector import save_rectangle_graph
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.installed import install

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


@pytest.mark.parametrize(
    ("artifacts", "state", "code", "words"),
    [
        ([], "ok", 0, "graphs can be run here"),
        ([], "missing", 1, "graphs cannot be run here yet: onnxruntime is missing"),
        ([], "broken", 1, "graphs cannot be run here yet: onnxruntime is broken"),
        (["model.onnx"], "ok", 0, "model.onnx can be run here"),
        (["model.onnx", "again.onnx"], "ok", 0, "all 2 artifacts can be run here"),
        (["absent.onnx"], "ok", 1, "absent.onnx cannot be run here; graphs can be run here"),
        (["model.onnx", "absent.onnx"], "ok", 1, "1 of the 2 artifacts cannot be run here; graphs can be run here"),
        (["absent.onnx", "gone.onnx"], "ok", 1, "none of the 2 artifacts can be run here; graphs can be run here"),
        (["model.onnx"], "missing", 1, "model.onnx cannot be run here; graphs cannot be run here yet"),
        (["model.trt"], "missing", 1, "graphs cannot be run here yet: onnxruntime is missing; model.trt would fit"),
    ],
)
def test_the_last_line_the_exit_code_and_json_agree(  # noqa: PLR0917
    artifacts: list[str],
    state: Literal["ok", "missing", "broken"],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("model.onnx", "again.onnx"):
        save_rectangle_graph(tmp_path / name)
    machine = environment_in_which_onnxruntime_is(state)
    monkeypatch.setattr(doctor, "describe_environment", lambda: machine)
    if artifacts == ["model.trt"]:
        monkeypatch.setattr(doctor, "problem", lambda path, machine, environment: "")
    assert main(["doctor", *artifacts]) == code
    assert words in capsys.readouterr().out.splitlines()[-1]
    assert main(["doctor", *artifacts, "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is (code == 0)
    assert words in found["summary"]


def environment_in_which_onnxruntime_is(state: Literal["ok", "missing", "broken"]) -> Environment:
    environment = describe_environment()
    package = next(package for package in PACKAGES if package.module == "onnxruntime")
    packages = tuple(
        Installed(package, state, {}, "" if state == "ok" else "why not") if found.package == package else found
        for found in environment.packages
    )
    runtimes = tuple(
        replace(found, usable=state == "ok", reason="" if state == "ok" else "why not")
        if found.name == "onnxruntime"
        else found
        for found in environment.runtimes
    )
    return replace(environment, packages=packages, runtimes=runtimes)


def test_an_engine_of_rtx_is_held_to_its_own_library(tmp_path: Path) -> None:
    card = save_rectangle_graph(tmp_path / "model.onnx")
    facts = {"library": "tensorrt-rtx", "tensorrt_rtx": "1.7.1.116"} | target_facts(None)
    write_engine(tmp_path / "model.rtx", replace(card, engine=facts), b"vtrt" + PLAN[4:])
    found = describe_environment()

    def problem(version: str) -> str:
        packages = tuple(
            Installed(known.package, "ok", {"tensorrt-rtx-cu13-bindings": version})
            if known.package.module == "tensorrt_rtx_bindings"
            else known
            for known in found.packages
        )
        machine = replace(describe_machine(), gpus=(Gpu("Orin (nvgpu)", "540.3.0", "8.7", 0),))
        return doctor.problem(tmp_path / "model.rtx", machine, replace(found, packages=packages))

    assert "built by TensorRT-RTX 1.7.1.116, this machine has TensorRT-RTX 1.6.1.120" in problem("1.6.1.120")
    assert "and later, this machine has 8.7 (Orin (nvgpu))" in problem("1.7.1.116")


def test_another_gpu_is_named(tmp_path: Path) -> None:
    card = save_rectangle_graph(tmp_path / "model.onnx")
    write_engine(
        tmp_path / "model.trt", replace(card, engine={"compute_capability": "8.7", "device": "Orin"}), PLAN
    )
    machine = replace(describe_machine(), gpus=(Gpu("NVIDIA H100", "580.1", "9.0", 80_000),))
    said = doctor.problem(tmp_path / "model.trt", machine, describe_environment())
    assert "8.7 (Orin), this machine has 9.0 (NVIDIA H100)" in said


def test_a_gpu_whose_driver_keeps_its_capability_to_itself_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nvidia-smi on JetPack 6 fills in few fields."""
    card = save_rectangle_graph(tmp_path / "model.onnx")
    facts = {"compute_capability": "8.7", "device": "Orin"}
    write_engine(tmp_path / "model.trt", replace(card, engine=facts), PLAN)
    machine = replace(describe_machine(), gpus=(Gpu("Orin (nvgpu)", "540.3.0", None, 0),))
    assert "compute capability unknown" in " ".join(doctor.machine_lines(machine))
    for capability, fits in (((8, 7), True), ((7, 2), False)):
        install(monkeypatch, "10.3.0", FakeCuda(capability))
        said = doctor.problem(tmp_path / "model.trt", machine, describe_environment())
        assert ("this machine has 7.2 (Double)" not in said) == fits, said
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    assert "this machine has" not in doctor.problem(tmp_path / "model.trt", machine, describe_environment())
