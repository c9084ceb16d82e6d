"""A picture that is cut off is refused in one sentence, whichever command meets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet.cli import main
from edgedet.selftest import SELFTEST_GRAPH

COUNT = 4

WAYS: dict[str, Callable[[Path], tuple[list[str], int]]] = {
    "detect": lambda folder: (["detect", str(SELFTEST_GRAPH), str(folder / "images")], 1),
    "eval": lambda folder: (["eval", str(SELFTEST_GRAPH), f"{folder}/data.yaml"], 1),
    "parity": lambda folder: (
        ["parity", str(SELFTEST_GRAPH), str(SELFTEST_GRAPH), "--frames", str(folder / "images")],
        2,
    ),
    "bench": lambda folder: (["bench", str(SELFTEST_GRAPH), "--frames", str(folder)], 2),
    "calibration": lambda folder: (
        [
            "export",
            str(SELFTEST_GRAPH),
            "--int8",
            "--calib",
            str(folder),
            "-o",
            f"{folder}/int8.onnx",
            "--max-drop",
            "1",
        ],
        0,
    ),
}
"""What is called, and its exit status: those that go on with the rest of a folder say what they left out."""


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("way", WAYS)
def test_refused_in_one_sentence(tmp_path: Path, way: str, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    if way == "calibration":
        pytest.importorskip("torch", reason="needs edgedet[export]")
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for index in range(COUNT):
        picture = np.random.default_rng(index).integers(0, 255, (64, 80, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{index}{suffix}"), picture)
        (tmp_path / "labels" / f"{index}.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (tmp_path / "data.yaml").write_text("path: .\nval: images\nnames: [bright]\n")
    broken = tmp_path / "images" / f"1{suffix}"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size * 2 // 3])
    words, status = WAYS[way](tmp_path)
    assert main(words) == status
    said = capsys.readouterr()
    assert f"the image {broken} is cut off (part of the picture is missing); copy it again" in said.err + said.out


def test_a_cut_picture_beside_a_single_whole_one_is_named_by_calibration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="needs edgedet[export]")
    for index in range(2):
        picture = np.random.default_rng(index).integers(0, 255, (64, 80, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{index}.jpg"), picture)
    broken = tmp_path / "1.jpg"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size * 2 // 3])
    words = ["export", str(SELFTEST_GRAPH), "--int8", "--calib", str(tmp_path), "-o", f"{tmp_path}/int8.onnx"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "1 usable calibration image:" in said
    assert f"the image {broken} is cut off (part of the picture is missing); copy it again; left out" in said
