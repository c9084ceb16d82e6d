"""Frames from files, folders, videos and arrays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet.errors import SourceError
from edgedet.pictures.sources import Frame, open_source, read_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(("b.png", "a.jpg", "c.PNG")):
        cv2.imwrite(str(tmp_path / name), np.full((8, 10, 3), 40 * index, np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 24))
    for index in range(5):
        writer.write(np.full((24, 32, 3), 50 * index, np.uint8))
    writer.release()
    return path


def frames(source: Any) -> list[Frame]:
    with open_source(source) as opened:
        return list(opened)


def test_one_image(folder: Path) -> None:
    (frame,) = frames(folder / "b.png")
    assert frame.image.shape == (8, 10, 3) and frame.name == str(folder / "b.png") and frame.index == 0


def test_a_folder_gives_its_images_by_name(folder: Path) -> None:
    with open_source(str(folder)) as opened:
        assert opened.count == 3
        assert [Path(frame.name).name for frame in opened] == ["a.jpg", "b.png", "c.PNG"]


def test_a_pattern_gives_what_matches(folder: Path) -> None:
    assert [Path(frame.name).name for frame in frames(str(folder / "*.png"))] == ["b.png"]


def test_several_paths_give_the_images_of_all(folder: Path, video: Path) -> None:
    with open_source([folder / "b.png", str(folder / "*.jpg"), folder]) as opened:
        assert opened.count == 5 and opened.description == "3 sources"
        names = [(frame.index, Path(frame.name).name) for frame in opened]
    assert names == [(0, "b.png"), (1, "a.jpg"), (2, "a.jpg"), (3, "b.png"), (4, "c.PNG")]
    with pytest.raises(SourceError, match=r"\.\w+ is no image; several sources at once"):
        open_source([folder / "b.png", video])
    for camera in ("0", "rtsp://camera/1", "v4l2src ! appsink"):
        with pytest.raises(SourceError, match="is no image; several sources at once"):
            open_source([folder / "b.png", camera])


def test_of_several_paths_the_bad_ones_are_told_and_the_rest_goes_on(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("buy milk")
    (tmp_path / "empty").mkdir()
    told: list[str] = []
    given = [folder / "b.png", tmp_path / "notes.txt", "gone.jpg", tmp_path / "empty", folder / "a.jpg"]
    with open_source(given, unreadable=lambda image: told.append(image.name)) as opened:
        assert [Path(frame.name).name for frame in opened] == ["b.png", "a.jpg"]
    assert told == [str(tmp_path / "notes.txt"), "gone.jpg"]
    with open_source([folder / "b.png", "gone.jpg"]) as opened, pytest.raises(SourceError, match="no such image"):
        list(opened)
    with pytest.raises(SourceError, match="no images in any of the 2 sources"):
        open_source([tmp_path / "empty", str(tmp_path / "*.webp")])
    with open_source([str(folder / "b.png")]) as opened:
        assert opened.description == str(folder / "b.png")


def test_a_video_gives_frames_with_their_time(video: Path) -> None:
    with open_source(video) as opened:
        assert opened.rate == 10
        found = list(opened)
    assert len(found) == 5
    assert [frame.index for frame in found] == [0, 1, 2, 3, 4]
    assert found[3].time == pytest.approx(0.3)
    assert abs(int(found[3].image.mean()) - 150) < 3


def test_arrays_are_passed_through_untouched() -> None:
    arrays = [np.zeros((2, 3, 3), np.uint8), np.ones((4, 4), np.uint8)]
    assert [frame.image is array for frame, array in zip(frames(arrays), arrays, strict=True)] == [True, True]
    assert len(frames(arrays[0])) == 1
    assert len(frames(np.zeros((6, 4, 4, 3), np.uint8))) == 6
    assert [frame.name for frame in frames(iter(arrays))] == ["frame 0", "frame 1"]


def test_a_frame_is_an_array_to_numpy() -> None:
    frame = Frame(np.ones((2, 2, 3), np.uint8), "x", 0)
    assert np.array(frame).sum() == 12
    assert np.array(frame) is not frame.image


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jpg", b"", "is empty"),
        ("text.png", b"hello", "cannot decode the image"),
        ("cut.jpg", None, "cut off"),
    ],
)
def test_a_broken_image_is_named(folder: Path, name: str, content: bytes | None, message: str) -> None:
    path = folder / name
    if content is None:
        whole = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8))[1].tobytes()
        content = whole[: len(whole) // 2]
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.jpg", "no such file or folder: nowhere.jpg"),
        ("nowhere/*.jpg", "no file matches the pattern"),
        (3.5, "a float is no frame source"),
        (99, "camera 99 cannot be opened"),
        ("http://127.0.0.1:9/none.mp4", "cannot open http"),
    ],
)
def test_what_cannot_be_opened_says_why(source: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(source)


def test_a_folder_without_images_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no images in the folder"):
        open_source(tmp_path)


def test_a_file_that_is_no_video_says_so(tmp_path: Path) -> None:
    (tmp_path / "not.mp4").write_bytes(b"nothing of the kind")
    with pytest.raises(SourceError, match=r"cannot open .*not.mp4 as a video"):
        open_source(tmp_path / "not.mp4")


def test_opencv_says_nothing_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "not.mp4").write_bytes(b"nothing of the kind")
    code = (
        "import sys; from edgedet.pictures.sources import open_source; from edgedet.errors import SourceError\n"
        "for source in (sys.argv[1], 99):\n"
        "    try: open_source(source)\n"
        "    except SourceError: print('refused')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "not.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["refused", "refused"], "")


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    """EXIF orientation 6: the camera was held upright, the file lies on its side."""
    jpeg = cv2.imencode(".jpg", np.zeros((16, 32, 3), np.uint8))[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    path = tmp_path / "upright.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:])
    assert read_image(path).shape == (32, 16, 3)
