"""What is saved of sources that leave frames out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet.errors import OutputError
from edgedet.pictures.frames import Frame
from edgedet.pictures.sinks import LONGEST_STILL, Folder


def saved(path: Path) -> list[int]:
    """Brightness of every frame of a video, in steps of 20."""
    capture, found = cv2.VideoCapture(str(path)), []
    while True:
        good, image = capture.read()
        if not good:
            return found
        found.append(round(float(image.mean()) / 20))


def picture(level: int) -> np.ndarray:
    return np.full((48, 64, 3), level * 20, np.uint8)


def test_pictures_of_a_camera_are_shown_for_as_long_as_it_took(tmp_path: Path) -> None:
    with Folder(tmp_path, 10.0, by_clock=True) as folder:
        # The third comes too early to be shown, the last after half a second.
        for level, moment in ((1, 5.0), (2, 5.1), (3, 5.12), (4, 5.3), (5, 5.8)):
            folder.add(Frame(picture(level), "camera 0 #1", 1, captured=moment, source="camera 0"), picture(level))
    assert saved(tmp_path / "camera-0.mp4") == [1, 2, 3, 4, 4, 4, 4, 4, 5]


def test_an_outage_does_not_fill_the_disk(tmp_path: Path) -> None:
    with Folder(tmp_path, 10.0, by_clock=True) as folder:
        for level, moment in ((1, 5.0), (2, 5.0 + 3600), (3, 5.1 + 3600)):
            folder.add(Frame(picture(level), "camera 0 #1", 1, captured=moment, source="camera 0"), picture(level))
    found = saved(tmp_path / "camera-0.mp4")
    assert len(found) == pytest.approx(LONGEST_STILL * 10, abs=3) and found[-2:] == [2, 3]


def test_each_camera_has_a_video(tmp_path: Path) -> None:
    with Folder(tmp_path, None, interrupted="finishes", by_clock=True) as folder:
        for index in range(6):
            name = f"camera {index % 2}"
            frame = Frame(picture(1), f"{name} #{index}", index, captured=index / 25, source=name)
            folder.add(frame, picture(1 + index % 2))
    assert [path.name for path in folder.written] == ["camera-0.mp4", "camera-1.mp4"]
    assert set(saved(tmp_path / "camera-0.mp4")) == {1} and set(saved(tmp_path / "camera-1.mp4")) == {2}


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from edgedet.errors import OutputError
from edgedet.pictures.frames import Frame
from edgedet.pictures.sinks import Folder

# As on a full disk, writing fails from here on, and the process goes on.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
noise = np.random.default_rng(0).integers(0, 255, (4, 96, 128, 3), np.uint8)
try:
    with Folder(Path(sys.argv[1]), None) as folder:
        for index in range(40):
            # Of two cameras, one has few pictures: its video fits.
            name = "small" if index == 0 else "big"
            folder.add(Frame(noise[0], f"{name} #{index}", index, source=name), noise[index % 4])
except OutputError as error:
    print(error)
    sys.exit(3)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size there")
@pytest.mark.parametrize("room", [0, 40_000])
def test_a_video_that_the_disk_cuts_short_is_an_error_and_leaves_the_older_one(tmp_path: Path, room: int) -> None:
    (tmp_path / "big.mp4").write_bytes(b"older")
    environment = {**os.environ, "EDGEDET_SPINNING": "0"}
    command = [sys.executable, "-c", FULL, str(tmp_path), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 3, done.stderr
    said = "big.mp4: 0 of 39 frames can be read" if room else "small.mp4: File too large"
    assert f"cannot write {tmp_path}/{said}" in done.stdout and "Traceback" not in done.stderr
    assert (tmp_path / "big.mp4").read_bytes() == b"older"
    assert {path.name for path in tmp_path.iterdir()} == ({"big.mp4", "small.mp4"} if room else {"big.mp4"})


def test_a_video_whose_place_is_taken_by_a_folder_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "camera-0.mp4").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*camera-0\.mp4"), Folder(tmp_path, None) as folder:
        folder.add(Frame(picture(1), "camera 0 #0", 0, source="camera 0"), picture(1))
    assert [path.name for path in tmp_path.iterdir()] == ["camera-0.mp4"]


@pytest.mark.parametrize(
    ("source", "number", "other"),
    [("clip.avi", " #0", "clip.mp4"), ("clip.mp4", " #0", "clip.mp4"), ("a.JFIF", "", "a.jpg")],
)
def test_nothing_beside_a_source_is_overwritten(tmp_path: Path, source: str, number: str, other: str) -> None:
    for name in {source, other}:
        (tmp_path / name).write_bytes(name.encode())
    frame = Frame(picture(1), f"{tmp_path / source}{number}", 0, source=str(tmp_path / source))
    refused = pytest.raises(OutputError, match=rf"would overwrite .*{other}.*choose another folder")
    with refused, Folder(tmp_path / "out" / "..", None) as folder:
        folder.add(frame, picture(1))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == {
        name: name.encode() for name in {source, other}
    }
    # What a run before left in another folder is replaced.
    for _ in range(2):
        with Folder(tmp_path / "out", None) as folder:
            folder.add(frame, picture(1))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [other]


def test_a_video_beside_its_source_is_written_where_nothing_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "clip.avi").write_bytes(b"source")
    with Folder(tmp_path, None) as folder:
        folder.add(Frame(picture(1), f"{tmp_path / 'clip.avi'} #0", 0, source="clip.avi"), picture(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.avi", "clip.mp4"]


def test_long_names_of_pipelines_become_short_names_of_files(tmp_path: Path) -> None:
    pipelines = [f"videotestsrc name={'ä' * 300} ! {sink}" for sink in ("appsink", "fakesink ! appsink")]
    with Folder(tmp_path, None) as folder:
        for name in pipelines:
            folder.add(Frame(picture(1), f"{name} #0", 0, source=name), picture(1))
    assert len({path.name for path in folder.written}) == 2
    assert all(len(path.name.encode()) < 210 and saved(path) == [1] for path in folder.written)
