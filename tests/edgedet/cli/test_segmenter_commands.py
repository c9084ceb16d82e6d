"""Every command on a segmenter: it works, or says in one sentence why it does not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet import Segmenter
from edgedet.cli import main
from edgedet.proof.golden_map import record_map
from tests.colour_segmenter import card, save_segmenter
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    save_segmenter(folder / "plain.onnx")
    with Segmenter(folder / "plain.onnx") as segmenter:
        save_segmenter(folder / "colours.onnx", replace(card(), golden=record_map(segmenter)))
    save_segmenter(folder / "faint.onnx", faint=0.6)
    save_rectangle_graph(folder / "boxes.onnx")
    (folder / "photos").mkdir()
    for number in range(3):
        frame = frame_with_rectangle(72, 96, (10, 8, 60, 50 + number), channel=number)
        cv2.imwrite(str(folder / "photos" / f"{number}.png"), frame)
    return folder


def test_detect_writes_segments_and_coloured_pictures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "out"
    command = ["detect", str(folder / "colours.onnx"), str(folder / "photos"), "--save", str(out)]
    assert main(command) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["segments"][1]["name"] for row in rows] == ["blue", "green", "red"]
    assert all(row["segments"][0]["area"] + row["segments"][1]["area"] == 72 * 96 for row in rows)
    shown, plain = (cv2.imread(str(place / "0.png")) for place in (out, folder / "photos"))
    assert (shown[:6, :6] == plain[:6, :6]).all() and (shown[20, 30] != plain[20, 30]).any()


def test_a_class_is_blurred_by_its_pixels(folder: Path) -> None:
    noisy = np.random.default_rng(0).integers(0, 60, (72, 96, 3), np.uint8)
    noisy[20:50, 30:70] = frame_with_rectangle(30, 40, (0, 0, 40, 30), channel=2)
    noisy[20:50:2, 30:70, 0] = 120
    cv2.imwrite(str(folder / "street.png"), noisy)
    out = folder / "blurred"
    command = ["detect", str(folder / "colours.onnx"), str(folder / "street.png"), "--save", str(out)]
    assert main([*command, "--blur", "red"]) == 0
    found = cv2.imread(str(out / "street.png"))
    inside = found[28:42, 38:62].reshape(-1, 3)
    assert len(np.unique(inside, axis=0)) < 30  # blocks, where every other row was another colour
    np.testing.assert_array_equal(found[:10, :10], noisy[:10, :10])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["detect", "colours.onnx", "photos", "--conf", "0.5"], "--conf is for detectors"),
        (["detect", "colours.onnx", "photos", "--then", "boxes.onnx"], "--then is for detectors"),
        (["detect", "boxes.onnx", "photos", "--then", "colours.onnx"], "is a segmenter"),
        (["detect", "boxes.onnx", "photos", "--save", "x", "--blur-with", "colours.onnx"], "is a segmenter"),
        (["detect", "colours.onnx", "photos", "--save", "x", "--blur", "bus"], "--blur bus: this detector finds"),
        (["parity", "colours.onnx", "boxes.onnx", "--frames", "photos"], "is a detector"),
        (["parity", "boxes.onnx", "colours.onnx", "--frames", "photos"], "is a segmenter"),
        (["parity", "colours.onnx", "faint.onnx", "--frames", "photos", "--min-iou", "0.5"], "--min-iou is about"),
        (
            ["parity", "colours.onnx", "faint.onnx", "--frames", "photos", "--min-keypoint-similarity", "0.5"],
            "--min-keypoint-similarity is about",
        ),
        (["watch", "colours.onnx", "photos"], "is a segmenter"),
        (["bench", "colours.onnx", "--then", "boxes.onnx", "--cold-starts", "0"], "--then looks into the boxes"),
    ],
)
def test_what_needs_boxes_is_refused(
    arguments: list[str],
    words: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    assert main(arguments) == 2
    said = capsys.readouterr().err.splitlines()
    assert words in said[-1] and sum(line.startswith("edgedet: error") for line in said) == 1, said


def test_parity_of_maps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graphs = [str(folder / name) for name in ("colours.onnx", "plain.onnx", "faint.onnx")]
    photos = ["--frames", str(folder / "photos")]
    assert main(["parity", *graphs[:2], *photos]) == 0
    assert "100.000% of the pixels have the same class (mean IoU 1.0000)" in capsys.readouterr().out
    assert main(["parity", graphs[0], graphs[2], *photos, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert 0.5 < found["share"] < 0.999 and found["agrees"] is False and len(found["per_frame"]) == 3
    assert main(["parity", graphs[0], graphs[2], *photos, "--required", "0.5", "--limit", "2"]) == 0
    assert "2 frames, 4 classes" not in capsys.readouterr().out


def test_inspect_and_selftest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(folder / "colours.onnx")]) == 0
    said = capsys.readouterr().out
    assert "segmenter   colours (fcn), fp32" in said and "gives       the class of every pixel" in said
    assert "NMS" not in said
    assert main(["selftest", str(folder / "colours.onnx")]) == 0
    assert "100.00% of 1200 pixels have the class that they had at export" in capsys.readouterr().out
    assert main(["selftest", str(folder / "plain.onnx")]) == 1
    assert "carries no golden input" in capsys.readouterr().out


def test_bench_measures_it_beside_another(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = [
        "--cold-starts",
        "0",
        "--batches",
        "2",
        "--streams",
        "none",
        "--seconds",
        "0.1",
        "--max-seconds",
        "0.3",
    ]
    graphs = [str(folder / name) for name in ("colours.onnx", "boxes.onnx")]
    command = ["bench", *graphs, "--frames", str(folder / "photos"), "--warmup", "2", "--min-frames", "5", *quick]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "classes     2 to 2 in a frame" in said and "detections  " in said


def test_labels_that_count_for_nothing_judge_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "photos", tmp_path / "images")
    (tmp_path / "labels").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "labels" / f"{number}.png"), np.full((72, 96), 255, np.uint8))
    assert main(["eval", str(folder / "colours.onnx"), str(tmp_path), "--json", "-"]) == 2
    said = capsys.readouterr()
    assert "not one pixel of 3 pictures has a label of the segmenter's classes" in said.err and not said.out
