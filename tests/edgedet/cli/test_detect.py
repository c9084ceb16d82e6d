"""``edgedet detect`` over a folder in which not everything is an image."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from edgedet.artifacts.card import METADATA_KEY
from edgedet.cli import main
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph


@pytest.fixture
def model(tmp_path: Path) -> str:
    save_rectangle_graph(tmp_path / "model.onnx")
    return str(tmp_path / "model.onnx")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two good images around three that cannot be read."""
    folder = tmp_path / "my photos, été"
    folder.mkdir()
    for name in ("a.png", "e.png"):
        cv2.imwrite(str(tmp_path / "p.png"), frame_with_rectangle(60, 80, (10, 10, 40, 40)))
        (tmp_path / "p.png").rename(folder / name)
    (folder / "b.jpg").write_bytes(b"\xff\xd8\xff\xe0 half a picture")
    (folder / "c.png").write_bytes(b"")
    (folder / "d.png").symlink_to("nowhere.png")
    return folder


def detect(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]], list[str]]:
    code = main(["detect", *arguments])
    shown = capsys.readouterr()
    return code, [json.loads(line) for line in shown.out.splitlines()], shown.err.splitlines()


def test_an_unreadable_image_does_not_stop_the_others(
    model: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines, said = detect(capsys, model, str(photos), "--save", str(photos.parent / "drawn"))
    assert code == 1
    assert [Path(line["source"]).name for line in lines] == ["a.png", "b.jpg", "c.png", "d.png", "e.png"]
    assert [line["index"] for line in lines] == [0, 1, 2, 3, 4]
    assert [len(line["detections"]) for line in lines if "detections" in line] == [1, 1]
    # An empty list would say that nothing is on the picture.
    assert ["detections" in line for line in lines] == [True, False, False, False, True]
    assert ["cut off" in lines[1]["error"], "empty" in lines[2]["error"]] == [True, True]
    assert len(said) == 4
    for line, name in zip(said, ("b.jpg", "c.png", "d.png"), strict=False):
        assert line.startswith("edgedet: skipped: ") and str(photos / name) in line
    assert said[3].startswith("edgedet: error: 3 of 5 images")
    assert sorted(item.name for item in (photos.parent / "drawn").iterdir()) == ["a.png", "e.png"]


def test_what_the_shell_makes_of_a_star_is_treated_alike(
    model: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["detect", model, str(photos)])
    of_folder = capsys.readouterr().out
    main(["detect", model, *sorted(str(path) for path in photos.glob("*.[jp][pn]g"))])
    assert capsys.readouterr().out == of_folder


def test_a_message_stays_readable(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", model, *(f"photo-{number}.jpg" for number in range(500))]) == 2
    assert len(capsys.readouterr().err) < 400


def test_a_pattern_is_treated_alike(model: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, said = detect(capsys, model, str(photos / "[ab].*"))
    assert (code, len(lines), len(said)) == (1, 2, 2)


def test_where_nothing_can_be_read_the_input_is_bad(
    model: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "a.png").unlink()
    (photos / "e.png").unlink()
    code, lines, said = detect(capsys, model, str(photos))
    assert code == 2
    assert all("error" in line for line in lines) and len(lines) == 3
    assert "none of the 3 images" in said[-1]


def test_what_is_no_source_is_told_what_is(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("buy milk")
    code, lines, said = detect(capsys, model, str(tmp_path / "notes.txt"))
    assert (code, lines, len(said)) == (2, [], 1)
    assert "notes.txt is neither an image nor a video" in said[0]
    assert ".jpg" in said[0] and ".mp4" in said[0] and "folder" in said[0]


def test_an_empty_name_is_not_the_current_folder(
    model: str, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos)
    for arguments, words in (([model, ""], "source is empty"), (["", "a.png"], "the artifact is ''")):
        code, lines, said = detect(capsys, *arguments)
        assert (code, lines, len(said)) == (2, [], 1)
        assert words in said[0]


def test_a_card_that_names_too_few_classes_is_an_artifact_error(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = save_rectangle_graph(tmp_path / "other.onnx")
    graph = onnx.load(str(tmp_path / "other.onnx"))
    onnx.helper.set_model_props(graph, {METADATA_KEY: replace(card, names=("blue",)).to_json()})
    onnx.save(graph, str(tmp_path / "other.onnx"))
    code, _, said = detect(capsys, str(tmp_path / "other.onnx"), str(photos / "a.png"))
    assert (code, len(said)) == (2, 1)
    assert "class number 1, the card names 1 classes" in said[0]


def test_threads_beyond_reason_are_refused(model: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = detect(capsys, model, str(photos / "a.png"), "--threads", "100000")
    assert (code, len(said)) == (2, 1)
    assert "threads is 100000, expected 1024 at most" in said[0]


def run_in_shell(redirected: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = shlex.join([sys.executable, "-m", "edgedet", *arguments])
    return subprocess.run(["sh", "-c", f"{command} {redirected}"], capture_output=True, text=True, check=False)


def test_closed_streams_are_no_bugs(model: str, photos: Path) -> None:
    for redirected in (">&-", "2>&-", ">&- 2>&-"):
        done = run_in_shell(redirected, "detect", model, str(photos / "a.png"))
        assert (done.returncode, done.stderr) == (0, ""), redirected


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_no_bug(model: str, photos: Path) -> None:
    done = run_in_shell(">/dev/full", "detect", model, str(photos / "a.png"))
    assert done.returncode == 1
    assert done.stderr == (
        "edgedet: error: cannot write the output: No space left on device; make room, or write to another place\n"
    )


def test_names_no_file_can_have_are_no_bugs(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([model, "x" * 5000], ["x" * 5000, "photo.jpg"]):
        code, lines, said = detect(capsys, *arguments)
        assert (code, lines, len(said)) == (2, [], 1)
        assert os.strerror(36) in said[0] and "bug" not in said[0]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve frames with a rectangle, as MJPG in AVI."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (80, 60))
    for index in range(12):
        writer.write(frame_with_rectangle(60, 80, (10 + index, 10, 40 + index, 40)))
    writer.release()
    return path


def test_a_damaged_frame_of_a_video_does_not_stop_the_others(
    model: str, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(clip.read_bytes())
    place = [at for at in range(len(content)) if content[at : at + 4] == b"00dc" and content[at + 8] == 0xFF][5]
    length = int.from_bytes(content[place + 4 : place + 8], "little")
    content[place + 8 : place + 8 + length] = bytes(length)
    clip.write_bytes(content)
    code, lines, said = detect(capsys, model, str(clip), "--save", str(clip.parent / "drawn"))
    assert code == 1
    assert [line["index"] for line in lines] == list(range(12))
    assert [line["index"] for line in lines if "error" in line] == [5]
    assert [line["index"] for line in lines if "detections" in line] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert lines[6]["time"] == pytest.approx(0.6, abs=2e-3) and lines[6]["source"] == f"{clip} #6"
    assert said[0] == f"edgedet: skipped: frame 5 of {clip} is damaged and cannot be decoded"
    assert said[1] == f"edgedet: error: 1 of 12 frames of {clip} could not be read"
    assert (clip.parent / "drawn/clip.mp4").exists()


def test_a_video_that_ends_early_is_no_finished_one(
    model: str, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) * 4 // 5])
    code, lines, said = detect(capsys, model, str(clip), "--save", str(clip.parent / "drawn"))
    assert code == 1
    assert "error" in lines[-1] and "detections" not in lines[-1]
    assert all("detections" in line for line in lines[:-1]) and 3 < len(lines) < 12
    reason = f"{clip} ends early, after {len(lines) - 1} frames: the file is cut off; copy it again"
    assert lines[-1]["error"] == reason
    assert said == [f"edgedet: error: {reason}"]
    assert (clip.parent / "drawn/clip.mp4").exists()
    # What was asked for is there.
    code, lines, said = detect(capsys, model, str(clip), "--limit", "3")
    assert (code, len(lines), said) == (0, 3, [])


def test_other_commands_stop_at_what_cannot_be_read(
    model: str, photos: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))[1].tobytes()
    (photos / "b.jpg").write_bytes(noise[: len(noise) // 2])
    for name in ("c.png", "d.png"):
        (photos / name).unlink()
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) * 4 // 5])
    sentence = f"the image {photos}/b.jpg is cut off (part of the picture is missing); copy it again"
    _, lines, _ = detect(capsys, model, str(photos))
    assert [line.get("error") for line in lines] == [None, sentence, None]
    for command in (["parity", model, model], ["bench", model]):
        assert main([*command, "--frames", str(photos)]) == 2
        assert capsys.readouterr().err.splitlines()[-1] == f"edgedet: error: {sentence}"
        assert main([*command, "--frames", str(clip)]) == 1
        assert "ends early" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
@pytest.mark.parametrize("name", ["x.jpg", "x"])
def test_a_pipe_is_not_waited_for(
    name: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / name)
    code, lines, said = detect(capsys, model, str(tmp_path / name))
    assert (code, lines, len(said)) == (2, [], 1)
    assert f"{name} is a pipe" in said[0]


def test_pictures_of_16_bits_that_would_be_nearly_black_are_refused(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = frame_with_rectangle(60, 80, (10, 10, 40, 40))[:, :, 0].astype(np.uint16)
    cv2.imwrite(str(tmp_path / "12.png"), grey * 16)
    cv2.imwrite(str(tmp_path / "16.png"), grey * 257)
    code, lines, said = detect(capsys, model, str(tmp_path / "12.png"))
    assert (code, lines, len(said)) == (2, [], 1)
    assert "in 16 bits, of which 8 would show next to nothing" in said[0] and "(frame >> 4)" in said[0]
    assert detect(capsys, model, str(tmp_path / "16.png"))[0] == 0


def test_a_picture_is_read_whole_without_a_word_of_the_decoder(model: str, tmp_path: Path) -> None:
    """libjpeg has much to say about a file that lacks its end mark, though nothing is missing."""
    whole = cv2.imencode(".jpg", frame_with_rectangle(60, 80, (10, 10, 40, 40)))[1].tobytes()
    (tmp_path / "x.jpg").write_bytes(whole[:-2])
    (tmp_path / "y.jpg").write_bytes(whole[: len(whole) // 2])
    done = run_in_shell("", "detect", model, str(tmp_path / "x.jpg"))
    assert (done.returncode, done.stderr) == (0, "")
    done = run_in_shell("", "detect", model, str(tmp_path / "y.jpg"))
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert run_in_shell("2>&-", "detect", model, str(tmp_path / "x.jpg")).returncode == 0
