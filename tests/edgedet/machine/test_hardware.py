"""Describing a machine from its /proc and /etc, as they are on machines unlike this one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgedet.machine.hardware import describe_machine

ORIN = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n"
XEON = "processor : 0\nmodel name : Intel(R) Xeon(R)\nflags : fpu avx2 fma avx512f avx512_vnni\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))  # no nvidia-smi, no nvpmodel of this machine
    return tmp_path


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def program(root: Path, name: str, output: str, code: int = 0) -> None:
    path = root / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nprintf '%s' '{output}'\nexit {code}\n")
    path.chmod(0o755)


def test_a_jetson_is_recognised_with_its_release_and_power_mode(root: Path) -> None:
    write(
        root,
        proc__cpuinfo=ORIN,
        etc__nv_tegra_release="# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n",
    )
    (root / "proc/device-tree").mkdir()
    (root / "proc/device-tree/model").write_bytes(b"NVIDIA Jetson Orin Nano Developer Kit\0")
    program(root, "nvpmodel", "NV Power Mode: MAXN_SUPER\n2\n")
    machine = describe_machine(root)
    assert machine.jetson is not None
    assert machine.jetson.model == "NVIDIA Jetson Orin Nano Developer Kit"
    assert (machine.jetson.l4t, machine.jetson.jetpack) == ("36.4.3", "6.2")
    assert machine.jetson.power_mode == "MAXN_SUPER"
    assert machine.cpu.model == "Cortex-A78AE"
    assert machine.cpu.features == ("asimd", "asimdhp", "asimddp")
    assert machine.cpu.has_int8_dot_product


def test_a_jetson_whose_tools_cannot_be_asked_has_no_power_mode(root: Path) -> None:
    write(root, etc__nv_tegra_release="# R35 (release), REVISION: 4.1, GCID: 1\n")
    program(root, "nvpmodel", "", code=1)
    jetson = describe_machine(root).jetson
    assert jetson is not None
    assert jetson.power_mode is None
    assert jetson.model == "unknown Jetson"


def test_a_jetson_whose_release_cannot_be_read_is_still_one(root: Path) -> None:
    """A container shows the device tree and no release file, or one that an update left half written."""
    write(root, etc__nv_tegra_release="# R39 (rel")
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/device-tree/model").write_bytes(b"NVIDIA Jetson AGX Thor Developer Kit\0")
    jetson = describe_machine(root).jetson
    assert jetson is not None
    assert (jetson.model, jetson.l4t, jetson.jetpack) == ("NVIDIA Jetson AGX Thor Developer Kit", "unknown", None)


def test_a_pc_is_no_jetson_and_its_vector_instructions_are_known(root: Path) -> None:
    write(root, proc__cpuinfo=XEON, etc__os_release='PRETTY_NAME="Debian 12"\n')
    (root / "etc/os_release").rename(root / "etc/os-release")
    machine = describe_machine(root)
    assert machine.jetson is None
    assert machine.gpus == ()
    assert machine.system == "Debian 12"
    assert machine.cpu.model == "Intel(R) Xeon(R)"
    assert machine.cpu.features == ("avx2", "fma", "avx512f", "avx512_vnni")


def test_a_cpu_without_integer_dot_products_is_told_apart(root: Path) -> None:
    write(root, proc__cpuinfo="flags : avx2 fma\n")
    assert not describe_machine(root).cpu.has_int8_dot_product


def test_gpus_are_read_from_the_driver(root: Path) -> None:
    program(root, "nvidia-smi", "NVIDIA H200, 580.95, 9.0, 143771\nNVIDIA Thor, 580.00, 11.0, [N/A]\n")
    first, second = describe_machine(root).gpus
    assert (first.name, first.driver, first.compute_capability, first.memory_mib) == (
        "NVIDIA H200",
        "580.95",
        "9.0",
        143771,
    )
    assert second.memory_mib == 0
    program(root, "nvidia-smi", "Orin (nvgpu), 540.3.0, [N/A], [N/A]\n")
    (orin,) = describe_machine(root).gpus
    assert (orin.name, orin.compute_capability, orin.memory_mib) == ("Orin (nvgpu)", None, 0)


def test_a_container_s_limits_count_where_they_are_lower(root: Path) -> None:
    write(
        root,
        proc__meminfo="MemTotal:       16000000 kB\nMemAvailable:   12000000 kB\n",
        sys__fs__cgroup__cpu_max="150000 100000\n",
        sys__fs__cgroup__memory_max="2000000000\n",
        sys__fs__cgroup__memory_current="500000000\n",
    )
    cgroup = root / "sys/fs/cgroup"
    for name in ("cpu", "memory"):
        (cgroup / f"{name}_max").rename(cgroup / f"{name}.max")
    (cgroup / "memory_current").rename(cgroup / "memory.current")
    machine = describe_machine(root)
    assert machine.cpu.quota == 1.5
    assert (machine.memory_total, machine.memory_available) == (2_000_000_000, 1_500_000_000)


def test_where_nothing_can_be_read_nothing_is_claimed(root: Path) -> None:
    machine = describe_machine(root)
    assert machine.memory_total is None
    assert machine.cpu.features == ()
    assert machine.cpu.quota is None
    assert machine.cpu.cores <= (os.cpu_count() or 1)
