"""``edgedet doctor`` on Jetsons: what goes with the JetPack, and what is here instead."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgedet.cli import doctor, main
from edgedet.cli.doctor_jetson import jetson_advice, jetson_lines
from edgedet.installed_packages import Environment, Installed, describe_environment
from edgedet.machine.jetpack import Board, recognise
from tests.edgedet.machine.jetson_files import AGX_ORIN, PACKAGES, RELEASES, THOR, write


def here(tensorrt: str | None, cuda: str, python: str) -> Environment:
    """This machine's environment with other versions."""
    found = describe_environment()
    packages = []
    for package in found.packages:
        if package.package.module == "tensorrt":
            there = {"tensorrt": tensorrt} if tensorrt else {}
            packages.append(Installed(package.package, "ok" if there else "missing", there))
        else:
            packages.append(package)
    return replace(found, packages=tuple(packages), cuda={"driver": cuda} if cuda else {}, python=python)


def board(root: Path, l4t: str, compatible: bytes = AGX_ORIN, **more: dict[str, str]) -> Board:
    found = recognise(write(root, release=RELEASES[l4t], compatible=compatible, **more))
    assert found is not None
    return found


def test_a_board_as_jetpack_leaves_it_differs_in_nothing(tmp_path: Path) -> None:
    lines = list(jetson_lines(board(tmp_path, "39.2.1"), here("10.16.2.10", "13.2", "3.12.3")))
    assert lines[0] == "jetpack     + 7.2.1 (Orin, compute capability 8.7, Ubuntu 24.04), which has"
    assert "            + TensorRT 10.16.2: here 10.16.2.10" in lines
    assert "            + CUDA 13.2: here 13.2" in lines
    assert "            + Python 3.12: here 3.12.3" in lines
    assert not any(line.lstrip().startswith("-") for line in lines)


def test_what_differs_is_named_with_what_it_costs(tmp_path: Path) -> None:
    lines = list(jetson_lines(board(tmp_path, "36.4.3"), here("10.13.3.9", "12.2", "3.11.9")))
    differing = [line.strip() for line in lines if line.lstrip().startswith("-")]
    assert [line.split(":")[0] for line in differing] == ["- TensorRT 10.3", "- CUDA 12.6", "- Python 3.10"]
    assert "here 10.13.3.9; an engine opens only with the TensorRT it was built with" in differing[0]
    assert "here 3.11.9" in differing[2]


def test_tensorrt_that_python_does_not_see_is_told_by_its_package(tmp_path: Path) -> None:
    found = board(tmp_path, "39.2.1", packages=PACKAGES["39.2.1"])
    assert "            + TensorRT 10.16.2: here 10.16.2.10" in list(jetson_lines(found, here(None, "", "3.12.3")))
    lines = list(jetson_lines(board(tmp_path / "bare", "39.2.1"), here(None, "", "3.12.3")))
    assert "            - TensorRT 10.16.2: none found here" in lines
    assert "            - CUDA 13.2: none found here" in lines


def test_onnx_runtime_and_deepstream_are_on_the_table(tmp_path: Path) -> None:
    six = "\n".join(jetson_lines(board(tmp_path / "6", "36.4.3"), here("10.3.0", "12.6", "3.10.12")))
    assert "ONNX Runtime 1.23.2 at most" in six and "Python 3.10" in six
    seven = "\n".join(jetson_lines(board(tmp_path / "7", "39.2.0"), here("10.16.2.10", "13.2", "3.12.3")))
    assert "1.23.2" not in seven and "onnxruntime-gpu has no kernels for a Jetson" in seven
    assert "DeepStream 9.1 is made for engines of TensorRT 10.16.1" in seven
    seven_one = RELEASES["38.2.0"].replace("2.0", "4.0")
    thor = recognise(write(tmp_path / "7.1", release=seven_one, compatible=THOR))
    assert thor is not None
    assert "DeepStream 9.0 is made for engines of TensorRT 10.14.1" in "\n".join(
        jetson_lines(thor, here("10.13.3.9", "13.0", "3.12.3"))
    )


def test_a_release_that_is_not_known_is_not_compared(tmp_path: Path) -> None:
    newer = recognise(write(tmp_path, release=RELEASES["39.2.0"].replace("R39", "R40"), compatible=AGX_ORIN))
    assert newer is not None
    (line,) = jetson_lines(newer, here("10.16.2.10", "13.2", "3.12.3"))
    assert line.startswith("jetpack     - unknown") and "is not known" in line and "to 7.2" in line


def test_systems_too_old_for_engines_are_told_the_way(tmp_path: Path) -> None:
    (orin,) = jetson_advice(board(tmp_path / "orin", "35.3.1"))
    assert "TensorRT 8.5" in orin and "10.3 or newer" in orin and "flash JetPack 7.2" in orin
    (xavier,) = jetson_advice(board(tmp_path / "xavier", "35.3.1", b"nvidia,p2972-0000\0nvidia,tegra194\0"))
    assert "there is none for this board" in xavier
    assert not list(jetson_advice(board(tmp_path / "new", "36.4.0")))


def test_a_system_made_for_another_board_is_named(tmp_path: Path) -> None:
    (line,) = jetson_advice(board(tmp_path, "36.4.3", THOR))
    assert "made for Orin, this board is Thor" in line


def test_a_release_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    found = recognise(write(tmp_path, compatible=AGX_ORIN))
    assert found is not None
    (line,) = jetson_advice(found)
    assert "/etc/nv_tegra_release" in line and "nvidia-l4t-core" in line


def test_the_command_says_it_in_text_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = board(tmp_path, "36.4.0", packages={"libnvinfer10": "10.3.0.30-1+cuda12.5"})
    monkeypatch.setattr(doctor, "recognise", lambda: found)
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "\njetpack     + 6.1 (Orin, compute capability 8.7, Ubuntu 22.04), which has\n" in printed
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["jetpack"]
    assert (facts["jetpack"], facts["l4t"], facts["chip"], facts["compute_capability"]) == (
        "6.1", "36.4.0", "Orin", "8.7",
    )  # fmt: skip
    assert facts["goes_with"][0]["expected"] == "10.3" and facts["onnxruntime_at_most"] == "1.23.2"
    monkeypatch.setattr(doctor, "recognise", lambda: None)
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["jetpack"] is None
