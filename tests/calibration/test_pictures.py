"""Calibration takes what detect takes, and says what it left out."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet.calibration import pictures
from edgedet.calibration.calibration_frames import CalibrationFrames
from edgedet.calibration.pictures import Picture, Pictures, pictures_of
from edgedet.cli import main
from edgedet.errors import CalibrationError, DatasetError, SourceError
from edgedet.export.options import ExportOptions
from edgedet.export.parity import IMAGES, parity_frames, usual_frame
from edgedet.pictures.image_file import read_image


def picture(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    rng = np.random.default_rng(index)
    small = rng.integers(0, 256, (3, 4, 3), np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(20):
        cv2.imwrite(str(folder / f"{index:02}.png"), picture(index))
    return folder


def clip(path: Path, frames: int, same: bool = False) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for index in range(frames):
        writer.write(picture(0 if same else index))
    writer.release()
    return path


def test_every_kind_of_source_gives_its_frames(photos: Path, tmp_path: Path, tiny: ModuleType) -> None:
    video = clip(tmp_path / "x.avi", 20)
    for source in (photos, photos / "*.png", photos / "?[0-9].png", video):
        found = pictures_of(str(source))
        assert found.source == str(source) and len(found.pictures) == 20
        assert {(one.width, one.height) for one in found.pictures} == {(64, 48)}
        frames = CalibrationFrames(found, tiny.card())
        assert frames.images == len(frames) == 20
        assert frames[3].shape == (1, 32, 32, 3)
    assert [one.name for one in pictures_of(str(photos / "0*.png")).pictures] == [
        str(photos / f"{index:02}.png") for index in range(10)
    ]
    # A folder and a pattern give the same tensors.
    both = [CalibrationFrames(pictures_of(str(source)), tiny.card()) for source in (photos, photos / "*.png")]
    assert all(np.array_equal(a, b) for a, b in zip(*both, strict=True))


@pytest.mark.parametrize("frames", [3, 8, 9, 30, 100])
def test_a_long_video_is_sampled_evenly_in_one_pass(
    frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MAX_FRAMES", 8)
    found = pictures_of(str(clip(tmp_path / "x.avi", frames)))
    numbers = [int(one.name.rpartition("#")[2]) for one in found.pictures]
    steps = set(np.diff(numbers).tolist())
    assert len(steps) == 1 and numbers[0] == 0 and numbers[-1] + steps.pop() >= frames
    assert min(frames, 4) <= len(numbers) <= 8
    assert found.notes[0].startswith(f"calibrated on {len(numbers)} frames")
    assert pictures_of(str(tmp_path / "x.avi")).notes == found.notes


def test_large_frames_are_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "KEPT_BYTES", 6 * 48 * 64 * 3)
    assert 3 <= len(pictures_of(str(clip(tmp_path / "x.avi", 20))).pictures) <= 6


def test_one_picture_is_too_few_however_it_is_given(photos: Path, tmp_path: Path, tiny: ModuleType) -> None:
    for source in (photos / "00.png", photos / "00*", clip(tmp_path / "x.avi", 1)):
        with pytest.raises(CalibrationError, match="has 1 usable calibration image: ranges taken from a single"):
            CalibrationFrames(pictures_of(str(source)), tiny.card())


def test_frames_that_are_all_alike_are_one_picture(tmp_path: Path, tiny: ModuleType) -> None:
    with pytest.raises(CalibrationError, match="the calibration images are all one picture"):
        CalibrationFrames(pictures_of(str(clip(tmp_path / "x.avi", 30, same=True))), tiny.card())


def test_few_different_frames_among_many_are_few(tiny: ModuleType) -> None:
    alike = tuple(Picture(f"{i}", 64, 48, picture(i % 5).copy()) for i in range(60))
    frames = CalibrationFrames(Pictures("made", alike), tiny.card())
    assert any("only 5 different calibration images: ranges may be too narrow" in said for said in frames.warnings)


@pytest.mark.parametrize("batch", [1, 3])
def test_what_cannot_be_read_is_left_out_and_named(photos: Path, batch: int, tiny: ModuleType) -> None:
    noise = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))[1].tobytes()
    (photos / "05.jpg").write_bytes(noise[: len(noise) // 2])
    cv2.imwrite(str(photos / "thumb.png"), picture(3, 8, 8))
    for source in (photos, photos / "*"):
        frames = CalibrationFrames(pictures_of(str(source)), tiny.card(batch=batch))
        assert frames.images == 20
        said = "\n".join(frames.warnings)
        assert "05.jpg is cut off (part of the picture is missing); copy it again; left out" in said
        assert "thumb.png: 8x8 pixels, too small to calibrate on; left out" in said
        assert all(len(frames[index]) == batch for index in range(len(frames)))


def test_damaged_frames_and_an_early_end_are_named(tmp_path: Path, tiny: ModuleType) -> None:
    path = clip(tmp_path / "x.avi", 30)
    content = bytearray(path.read_bytes())
    place = [at for at in range(len(content)) if content[at : at + 4] == b"00dc" and content[at + 8] == 0xFF][4]
    length = int.from_bytes(content[place + 4 : place + 8], "little")
    content[place + 8 : place + 8 + length] = bytes(length)
    path.write_bytes(content[: len(content) * 3 // 4])
    said = "\n".join(CalibrationFrames(pictures_of(str(path)), tiny.card()).warnings)
    assert "frame 4 of" in said and "is damaged and cannot be decoded; left out" in said
    assert "ends early" in said


def test_a_camera_gives_some_frames_and_says_so(monkeypatch: pytest.MonkeyPatch, tiny: ModuleType) -> None:
    class Camera:
        """Without end."""

        def __init__(self, *_: Any) -> None:
            self.count = 0

        def isOpened(self) -> bool:
            return True

        def getBackendName(self) -> str:
            return "V4L2"

        def get(self, _: int) -> float:
            return -1.0

        def grab(self) -> bool:
            self.count += 1
            return True

        def retrieve(self) -> tuple[bool, np.ndarray]:
            return True, picture(self.count)

        def read(self) -> tuple[bool, np.ndarray]:
            return self.grab(), picture(self.count)

        def release(self) -> None:
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    found = pictures_of("0")
    places = [int(one.name.removeprefix("camera 0 #")) for one in found.pictures]
    # Frames that gave way to newer ones meanwhile are counted.
    assert all(after - before >= 15 for before, after in itertools.pairwise(places)), places
    assert "100 frames, one of 15; another run sees others" in found.notes[0]
    assert CalibrationFrames(found, tiny.card()).images == 100


def test_the_comparison_at_export_sees_the_same_frames(photos: Path, tmp_path: Path) -> None:
    video = clip(tmp_path / "x.avi", 20)
    for source in (photos, photos / "*.png", video, photos / "00.png"):
        options = ExportOptions(precision="int8", calib=str(source))
        assert usual_frame(options) == (64, 48)
        frames = parity_frames(options)
        count = 1 if source.name == "00.png" else IMAGES
        assert len(frames) == 3 + count
        if source != video:
            assert np.array_equal(frames[3], read_image(photos / "00.png"))


def test_what_is_no_source_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("buy milk")
    with pytest.raises(DatasetError):
        pictures_of(str(tmp_path / "notes.csv"))
    for source in (tmp_path / "gone.mp4", tmp_path / "*.png"):
        with pytest.raises(SourceError):
            pictures_of(str(source))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("gone/", "--calib gone/: no such file or folder"),
        ("gone.mp4", "--calib gone.mp4: no such file or folder"),
        ("gone/*.png", "--calib gone/*.png: no file matches it"),
    ],
)
def test_the_command_line_misses_it_at_once(
    source: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.pt").write_bytes(b"x")
    assert main(["export", str(tmp_path / "x.pt"), "--int8", "--calib", source]) == 2
    assert words in capsys.readouterr().err
