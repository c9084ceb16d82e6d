"""Reading from a library for which GPUs it holds kernels, and not reading what is none."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from edgedet.machine.cuda_library_targets import CUBIN, PTX, kernels_of
from tests.edgedet.machine.cuda_library import container, library


def test_finished_code_and_code_to_be_compiled_are_told_apart(tmp_path: Path) -> None:
    first = container((CUBIN, 89), (CUBIN, 90))
    second = container((CUBIN, 121), (PTX, 80))
    path = library(tmp_path / "provider.so", first + bytes(24) + second)
    found = kernels_of(path)
    assert found is not None
    assert (found.cubins, found.ptx) == ({89, 90, 121}, {80})
    assert str(found) == "8.9, 9.0, 12.1, 8.0 as PTX"


def test_a_jetson_runs_its_own_code_and_older_ptx_only(tmp_path: Path) -> None:
    def runs(capability: str, *entries: tuple[int, int]) -> bool:
        found = kernels_of(library(tmp_path / "provider.so", container(*entries)))
        assert found is not None
        return found.for_jetson(capability)

    servers = ((CUBIN, 80), (CUBIN, 86), (CUBIN, 89), (CUBIN, 90), (CUBIN, 120), (CUBIN, 121))
    assert not runs("8.7", *servers), "8.0 and 8.6 come before 8.7, and are for other GPUs than a Jetson's"
    assert not runs("11.0", *servers)
    assert runs("8.7", *servers, (CUBIN, 87)) and runs("11.0", *servers, (CUBIN, 110))
    assert runs("8.7", (CUBIN, 90), (PTX, 75)) and runs("11.0", (PTX, 90))
    assert not runs("8.7", (CUBIN, 86), (PTX, 90))


def test_what_is_not_understood_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "provider.so"
    whole = library(path, container((CUBIN, 87))).read_bytes()
    assert kernels_of(path) is not None
    assert kernels_of(tmp_path / "absent.so") is None
    assert kernels_of(tmp_path) is None
    for contents in (
        b"",
        b"\x7fELF",
        whole[:-30],
        whole[:70],
        whole.replace(b".nv_fatbin", b".nv_fatbix"),
        whole.replace(struct.pack("<I", 0xBA55ED50), b"abcd"),
        library(path, container((7, 87))).read_bytes(),
        library(path, b"").read_bytes(),
    ):
        path.write_bytes(contents)
        assert kernels_of(path) is None, contents[:80]


def test_damage_never_raises(tmp_path: Path) -> None:
    whole = library(tmp_path / "whole.so", container((CUBIN, 87), (PTX, 80)) + container((CUBIN, 90))).read_bytes()
    random.seed(18)
    path = tmp_path / "damaged.so"
    for _ in range(2000):
        damaged = bytearray(whole)
        for _ in range(random.randint(1, 4)):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        path.write_bytes(damaged[: random.randint(len(damaged) // 2, len(damaged))])
        kernels_of(path)


@pytest.mark.parametrize("length", [0, 8, 31])
def test_an_entry_too_short_for_its_fields_ends_the_reading(length: int, tmp_path: Path) -> None:
    broken = container((CUBIN, 87)).replace(
        struct.pack("<HHI", CUBIN, 257, 64), struct.pack("<HHI", CUBIN, 257, length)
    )
    assert kernels_of(library(tmp_path / "provider.so", broken)) is None
