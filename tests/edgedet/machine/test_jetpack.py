"""Telling a Jetson and its JetPack from the files boards have, whole, damaged and absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.machine.jetpack import CHIPS, TABLE, compared, recognise, row_of
from tests.edgedet.machine.jetson_files import AGX_ORIN, PACKAGES, RELEASES, THOR, write


@pytest.mark.parametrize(
    ("l4t", "jetpack", "tensorrt", "cuda", "python"),
    [
        ("32.7.1", "4.6.1", "8.2", "10.2", "3.6"),
        ("35.3.1", "5.1.1", "8.5", "11.4", "3.8"),
        ("36.4.0", "6.1", "10.3", "12.6", "3.10"),
        ("36.4.3", "6.2", "10.3", "12.6", "3.10"),
        ("38.2.0", "7.0", "10.13", "13.0", "3.12"),
        ("39.2.0", "7.2", "10.16.2", "13.2", "3.12"),
        ("39.2.1", "7.2.1", "10.16.2", "13.2", "3.12"),
    ],
)
def test_the_release_file_tells_the_jetpack(  # noqa: PLR0917
    l4t: str, jetpack: str, tensorrt: str, cuda: str, python: str, tmp_path: Path
) -> None:
    board = recognise(write(tmp_path, release=RELEASES[l4t]))
    assert board is not None and board.row is not None
    assert (board.l4t, board.jetpack) == (l4t, jetpack)
    assert (board.row.tensorrt, board.row.cuda, board.row.python) == (tensorrt, cuda, python)
    assert board.chip is None and board.model == "", "no device tree is shown in a container"


@pytest.mark.parametrize(
    ("compatible", "chip", "capability"), [(AGX_ORIN, "Orin", "8.7"), (THOR, "Thor", "11.0")], ids=["Orin", "Thor"]
)
def test_the_device_tree_tells_the_board(compatible: bytes, chip: str, capability: str, tmp_path: Path) -> None:
    model = "NVIDIA Jetson AGX Orin Developer Kit"
    board = recognise(write(tmp_path, release=RELEASES["39.2.0"], model=model, compatible=compatible))
    assert board is not None and board.chip is not None
    assert board.model == model
    assert (board.chip.name, board.chip.compute_capability) == (chip, capability)
    assert board.row is not None and chip in board.row.boards


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        b"",
        b"# R",
        b"# R39 (release)",
        b"# R39 (release), REVISION: ",
        b"# R (release), REVISION: 2.1, GCID: 1",
        b"\xff\xfe\x00R3",
        bytes(4096),
    ],
    ids=["absent", "empty", "cut at R", "cut at release", "cut at revision", "no number", "binary", "zeros"],
)
def test_where_the_release_file_is_damaged_the_packages_tell(damaged: bytes | None, tmp_path: Path) -> None:
    board = recognise(write(tmp_path, release=damaged, packages=PACKAGES["39.2.1"]))
    assert board is not None and board.row is not None
    assert (board.l4t, board.jetpack, board.tensorrt) == ("39.2.1", "7.2.1", "10.16.2.10")


@pytest.mark.parametrize("damaged", [b"# R39 (rel", bytes(100)])
def test_where_nothing_tells_the_release_it_is_a_jetson_of_no_known_release(damaged: bytes, tmp_path: Path) -> None:
    board = recognise(write(tmp_path, release=damaged, compatible=AGX_ORIN))
    assert board is not None and board.chip is not None and board.chip.name == "Orin"
    assert board.l4t is None and board.jetpack is None and board.row is None
    assert recognise(write(tmp_path / "tree", model="NVIDIA Jetson Nano Developer Kit")) is not None


def test_other_machines_are_none(tmp_path: Path) -> None:
    assert recognise(tmp_path) is None
    assert recognise(write(tmp_path, packages={"libnvinfer10": "10.16.1.7-1+cuda13.2"})) is None, "a server"
    raspberry = write(tmp_path / "pi", model="Raspberry Pi 5", compatible=b"raspberrypi,5-model-b\0brcm,bcm2712\0")
    assert recognise(raspberry) is None


def test_a_directory_in_the_files_place_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "etc/nv_tegra_release").mkdir(parents=True)
    assert recognise(tmp_path) is None


def test_the_release_file_comes_before_the_packages(tmp_path: Path) -> None:
    board = recognise(write(tmp_path, release=RELEASES["39.2.0"], packages=PACKAGES["36.5.0"]))
    assert board is not None and board.l4t == "39.2.0"


def test_a_release_newer_than_the_table_is_named_by_its_package(tmp_path: Path) -> None:
    newer = RELEASES["39.2.1"].replace("2.1", "2.9")
    board = recognise(write(tmp_path, release=newer, packages={"nvidia-jetpack": "7.2.9-b12"}))
    assert board is not None and board.row is not None
    assert (board.l4t, board.jetpack, board.row.name) == ("39.2.9", "7.2.9", "7.2")
    unknown = recognise(write(tmp_path / "next", release=newer.replace("2.9", "3.0")))
    assert unknown is not None and (unknown.jetpack, unknown.row) == ("7", None), "39.3 is not guessed to be 39.2"
    future = recognise(write(tmp_path / "far", release=newer.replace("R39", "R41")))
    assert future is not None and (future.l4t, future.jetpack, future.row) == ("41.2.9", None, None)


def test_removed_packages_and_other_lines_do_not_count(tmp_path: Path) -> None:
    board = recognise(write(tmp_path, packages={"nvidia-l4t-core": "36.5.0-20260115194252"}))
    assert board is not None and board.jetpack == "6.2.2"
    assert board.tensorrt is None, "libnvinfer8 was removed, its settings were not"


def test_rows_are_found_by_whole_numbers() -> None:
    assert row_of("36.40.0") is None and row_of("3.6") is None and row_of("") is None
    for row in TABLE:
        for release, jetpack in row.releases.items():
            assert row_of(release) is row, release
            assert jetpack.startswith(row.name.split(" ")[0].split(".")[0])
        assert set(row.boards) <= {chip.name for chip in CHIPS}
        assert row.has_engines == (row.name >= "6.1"), row.name


def differing(**found: str | None) -> set[str]:
    row = row_of("39.2.1")
    assert row is not None
    return {line.what for line in compared(row, found) if not line.agrees}


def test_what_is_here_is_compared_with_the_row() -> None:
    right = {"tensorrt": "10.16.2.10", "cuda": "13.2", "python": "3.12.3"}
    assert differing(**right) == set()
    assert differing(**right | {"tensorrt": "10.16.1.7"}) == {"TensorRT"}
    assert differing(**right | {"tensorrt": "10.16.20"}) == {"TensorRT"}
    assert differing(**right | {"cuda": "13.0"}) == {"CUDA"}
    assert differing(**right | {"cuda": "14.0"}) == {"CUDA"}
    assert differing(**right | {"cuda": "13.5"}) == set(), "a newer driver of the same major runs it"
    assert differing(**right | {"python": "3.11.9"}) == {"Python"}
    assert differing(python="3.12.3", tensorrt=None, cuda="") == {"TensorRT", "CUDA"}


def test_tensorrt_11_on_a_board_is_told_what_it_asks_for() -> None:
    row = row_of("39.2.1")
    assert row is not None
    (tensorrt, *_) = compared(row, {"tensorrt": "11.3.0.12"})
    assert not tensorrt.agrees and "11.4.1 and JetPack 7.2.2" in tensorrt.cost
