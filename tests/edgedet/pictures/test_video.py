"""When a video's frames are to be shown, which are damaged, and whether it ended early."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet.detector import Detector
from edgedet.errors import FrameError, SourceEndedError, SourceError
from edgedet.pictures.live.settings import LiveSettings
from edgedet.pictures.sources import Frame, Unreadable, open_source
from edgedet.pictures.video import _Clock
from edgedet.pictures.video_container import VideoFile, is_broken_matroska, look_into
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

FRAMES = 12
RATE = 10.0


def write(path: Path, code: str, frames: int = FRAMES) -> Path:
    """A video of which frame i is of brightness 20 i, with some texture."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), RATE, (64, 48))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV writes no {code} into {path.suffix}")
    rng = np.random.default_rng(0)
    for index in range(frames):
        writer.write(np.clip(rng.integers(0, 40, (48, 64, 3)) + 18 * index, 0, 255).astype(np.uint8))
    writer.release()
    return path


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, data[position + 8 : position + length]
        position += length


HOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")


def edited(data: bytes, change: Any) -> bytes:
    """The boxes of an MP4 with ``change(kind, content)`` in place of each content; None leaves a box out."""
    parts = []
    for kind, content in boxes(data):
        new = edited(content, change) if kind in HOLDERS else change(kind, content)
        if new is not None:
            parts.append(struct.pack(">I4s", len(new) + 8, kind) + new)
    return b"".join(parts)


def variable(path: Path, durations: list[int], scale: int = 1000) -> Path:
    """The frames of an MP4, each shown for its own time, in units of 1 / ``scale`` s."""

    def change(kind: bytes, content: bytes) -> bytes | None:
        if kind == b"stts":
            pairs = b"".join(struct.pack(">II", 1, one) for one in durations)
            return bytes(4) + struct.pack(">I", len(durations)) + pairs
        if kind in (b"mdhd", b"mvhd"):
            return content[:12] + struct.pack(">II", scale, sum(durations)) + content[20:]
        return None if kind == b"elst" else content

    path.write_bytes(edited(path.read_bytes(), change))
    return path


def with_index_first(path: Path) -> Path:
    """As for the web: what is cut off of such a file is frames."""
    content = path.read_bytes()
    parts = {kind: struct.pack(">I4s", len(data) + 8, kind) + data for kind, data in boxes(content)}
    before = content.index(parts[b"mdat"])
    shift = len(parts[b"ftyp"]) + len(parts[b"moov"]) - before

    def change(kind: bytes, data: bytes) -> bytes:
        if kind != b"stco":
            return data
        return data[:8] + b"".join(struct.pack(">I", at + shift) for (at,) in struct.iter_unpack(">I", data[8:]))

    path.write_bytes(parts[b"ftyp"] + edited(parts[b"moov"], change) + parts[b"mdat"])
    return path


def frames_of_avi(content: bytes) -> list[tuple[int, int]]:
    """Place and length of every frame."""
    found = [match.start() for match in re.finditer(rb"00dc....\xff\xd8", content, re.DOTALL)]
    return [(place + 8, struct.unpack_from("<I", content, place + 4)[0]) for place in found]


def damage(path: Path, *numbers: int) -> Path:
    content = bytearray(path.read_bytes())
    places = frames_of_avi(bytes(content))
    for number in numbers:
        place, length = places[number]
        content[place : place + length] = bytes(length)
    path.write_bytes(content)
    return path


def read(path: Path | str) -> tuple[list[Frame], list[Unreadable]]:
    told: list[Unreadable] = []
    with open_source(path, unreadable=told.append) as source:
        return list(source), told


def test_times_of_a_variable_rate_are_those_of_presentation(tmp_path: Path) -> None:
    durations = [33, 34, 33, 500, 500, 33, 33, 34, 500, 1000, 33, 33]
    path = variable(write(tmp_path / "x.mp4", "mp4v"), durations)
    found, told = read(path)
    assert [frame.time for frame in found] == pytest.approx(np.cumsum([0, *durations[:-1]]) / 1000, abs=1e-3)
    assert told == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("x.avi", "MJPG"),
        ("x.mp4", "mp4v"),
        ("x.avi", "XVID"),
        ("x.mkv", "MJPG"),
        ("x.webm", "VP80"),
        ("x.mov", "mp4v"),
    ],
)
def test_ordinary_videos_give_all_they_have_and_no_alarm(name: str, code: str, tmp_path: Path) -> None:
    found, told = read(write(tmp_path / name, code))
    assert [frame.index for frame in found] == list(range(FRAMES))
    assert [frame.time for frame in found] == pytest.approx(np.arange(FRAMES) / RATE, abs=2e-3)
    assert told == []


def test_the_bare_stream_of_an_encoder_has_no_times(tmp_path: Path) -> None:
    content = write(tmp_path / "x.avi", "MJPG").read_bytes()
    bare = tmp_path / "x.mjpg"
    bare.write_bytes(b"".join(content[place : place + length] for place, length in frames_of_avi(content)))
    with open_source(bare) as source:
        # FFmpeg would say 25 frames per second of anything.
        assert source.rate is None
        assert [frame.time for frame in source] == [None] * FRAMES


@pytest.mark.parametrize("numbers", [(5,), (0,), (3, 4, 5), (0, 2, FRAMES - 2)])
def test_damaged_frames_are_passed_over_and_named(numbers: tuple[int, ...], tmp_path: Path) -> None:
    path = damage(write(tmp_path / "x.avi", "MJPG"), *numbers)
    found, told = read(path)
    left = [index for index in range(FRAMES) if index not in numbers]
    assert [frame.index for frame in found] == left
    assert [frame.name for frame in found] == [f"{path} #{index}" for index in left]
    assert [frame.time for frame in found] == pytest.approx(np.array(left) / RATE, abs=2e-3)
    assert [round(float(frame.image.mean()) / 18 - 1) for frame in found] == left
    assert [(one.index, one.name, one.ends) for one in told] == [(i, f"{path} #{i}", False) for i in numbers]
    assert all("is damaged and cannot be decoded" in one.reason for one in told)


def test_a_damaged_last_frame_is_missed(tmp_path: Path) -> None:
    found, told = read(damage(write(tmp_path / "x.avi", "MJPG"), FRAMES - 1))
    assert len(found) == FRAMES - 1
    assert [one.ends for one in told] == [True]
    assert f"ends early, after {FRAMES - 1} of {FRAMES} frames" in told[0].reason


def test_without_someone_to_tell_the_first_damaged_frame_ends_it(tmp_path: Path) -> None:
    path = damage(write(tmp_path / "x.avi", "MJPG"), 5)
    seen = 0
    with open_source(path) as source, pytest.raises(SourceError, match=r"frame 5 of .*x\.avi is damaged"):
        for _ in source:
            seen += 1
    assert seen == 5


def mp4_for_the_web(path: Path) -> Path:
    return with_index_first(write(path, "mp4v"))


@pytest.mark.parametrize(("name", "code"), [("x.avi", "MJPG"), ("x.mp4", "mp4v"), ("x.mkv", "MJPG")])
@pytest.mark.parametrize("share", [0.4, 0.7, 0.9])
def test_a_file_that_is_cut_off_ends_early(name: str, code: str, share: float, tmp_path: Path) -> None:
    path = mp4_for_the_web(tmp_path / name) if code == "mp4v" else write(tmp_path / name, code)
    found, told = read(path)
    assert (len(found), told) == (FRAMES, [])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    found, told = read(path)
    assert 0 < len(found) < FRAMES
    assert told[-1].ends and re.search(
        rf"x\.\w+ ends early, after {len(found)} frames?: the file is cut off; copy it again$", told[-1].reason
    )
    with (
        open_source(path) as source,
        pytest.raises((SourceEndedError, SourceError), match=r"ends early|is damaged"),
    ):
        list(source)
    assert SourceEndedError.exit_code == 1


def test_an_index_that_is_cut_off_loses_no_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "x.avi", "MJPG")
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"idx1") + 12])
    found, told = read(path)
    assert (len(found), told) == (FRAMES, [])


def test_what_is_lost_behind_a_hole_in_a_matroska_file_is_missed(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mkv", "MJPG", 30)
    assert not is_broken_matroska(path)
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    content[half : half + 4000] = bytes(4000)
    path.write_bytes(content)
    found, told = read(path)
    assert len(found) < 28
    assert told[-1].ends and "the file is damaged, and the rest cannot be read" in told[-1].reason


@pytest.mark.parametrize("shown", ["the first half", "the second half", "two parts"])
def test_frames_that_an_edit_leaves_out_are_not_missed(shown: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.mp4", "mp4v")
    assert look_into(path) == VideoFile("mp4", frames=FRAMES)

    def change(kind: bytes, content: bytes) -> bytes:
        if kind != b"elst":
            return content
        length, begin = struct.unpack_from(">Ii", content, 8)
        # As a cut without encoding anew leaves them.
        half, rate = length // 2, content[16:20]
        edits = {
            "the first half": [(half, begin)],
            "the second half": [(length, begin + 6 * frame)],
            "two parts": [(half // 2, begin), (half // 2, begin + 8 * frame)],
        }[shown]
        return (
            content[:4] + struct.pack(">I", len(edits)) + b"".join(struct.pack(">Ii", *one) + rate for one in edits)
        )

    content = path.read_bytes()
    if b"elst" not in content:
        pytest.skip("this OpenCV writes no edit list")
    (frame,) = struct.unpack_from(">I", content, content.index(b"stts") + 16)
    path.write_bytes(edited(path.read_bytes(), change))
    assert look_into(path).frames is None
    assert read(path)[1] == []


def test_an_avi_that_leaves_frames_out_to_keep_its_rate_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "x.avi", "MJPG")
    content = path.read_bytes()
    place, length = frames_of_avi(content)[6]
    # A chunk without data stands for the frame before it.
    chunk = length + length % 2
    shorter = content[: place - 4] + bytes(4) + content[place + chunk :]
    shorter = shorter[: shorter.rindex(b"idx1")]
    for at in (content.index(b"RIFF"), content.rindex(b"LIST")):
        (old,) = struct.unpack_from("<I", content, at + 4)
        removed = chunk if at else len(content) - len(shorter)
        shorter = shorter[: at + 4] + struct.pack("<I", old - removed) + shorter[at + 8 :]
    path.write_bytes(shorter)
    found, told = read(path)
    assert len(found) == FRAMES - 1
    assert told == []


def test_time_stamps_begin_with_the_first_frame() -> None:
    clock = _Clock(30.0, stamped=True)
    assert [clock.time(i, 1.4 + i / 10) for i in range(3)] == pytest.approx([0, 0.1, 0.2])


def test_time_stamps_that_are_none_are_no_times() -> None:
    clock = _Clock(None, stamped=True)
    assert [clock.time(i, 0.0) for i in range(3)] == [0.0, None, None]
    clock = _Clock(30.0, stamped=True)
    assert [clock.time(i, stamp) for i, stamp in enumerate([0.0, 0.5, 0.4, float("nan"), 0.6])] == [
        0.0, 0.5, None, None, 0.6,
    ]  # fmt: skip


def test_frames_a_decoder_held_back_follow_in_a_steady_rate() -> None:
    """B-frames in AVI: time stamps are those of decoding, and the last frames have none."""
    clock = _Clock(10.0, stamped=True)
    times = [clock.time(i, stamp) for i, stamp in enumerate([0.2, 0.3, 0.4, 0.5, 0.0, 0.0])]
    assert times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
@pytest.mark.parametrize("backend", ["FFMPEG", "GSTREAMER"])
def test_videos_of_phones_are_turned_upright(
    turned: int, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), RATE, (80, 60))
    for _ in range(FRAMES):
        writer.write(frame_with_rectangle(60, 80, (10, 5, 30, 25)))
    writer.release()
    one = 1 << 16
    matrix = {0: (one, 0, 0, one), 90: (0, one, -one, 0), 180: (-one, 0, 0, -one), 270: (0, -one, one, 0)}[turned]

    def change(kind: bytes, content: bytes) -> bytes:
        if kind != b"tkhd":
            return content
        a, b, c, d = matrix
        return content[:40] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + content[76:]

    path.write_bytes(edited(path.read_bytes(), change))
    assert look_into(path).turn == turned
    if backend == "GSTREAMER":
        # What a backend gives that turns nothing.
        real = cv2.VideoCapture

        class Untold:
            def __init__(self, *arguments: Any) -> None:
                self._capture = real(*arguments)
                self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)

            def getBackendName(self) -> str:
                return "GSTREAMER"

            def __getattr__(self, name: str) -> Any:
                return getattr(self._capture, name)

        monkeypatch.setattr(cv2, "VideoCapture", Untold)
    frames, told = read(path)
    upright = frame_with_rectangle(60, 80, (10, 5, 30, 25))
    expected = np.rot90(upright, -turned // 90)
    assert len(frames) == FRAMES and told == []
    assert all(frame.image.shape == expected.shape for frame in frames)
    assert np.abs(frames[3].image.astype(int) - expected).mean() < 6


class Unplugged:
    """A camera that gives two frames and is pulled out then."""

    def __init__(self, *_: Any) -> None:
        self._left = 2

    def isOpened(self) -> bool:
        return True

    def getBackendName(self) -> str:
        return "V4L2"

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_POS_MSEC: 5e6 + 40 * (2 - self._left), cv2.CAP_PROP_FPS: 30}.get(what, -1)

    def grab(self) -> bool:
        self._left -= 1
        # Every further try waits ten seconds.
        assert self._left >= -1
        return self._left >= 0

    def retrieve(self) -> tuple[bool, Any]:
        return True, np.zeros((4, 4, 3), np.uint8)

    def release(self) -> None:
        pass


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("0", "camera 0 stopped after 2 frames; is it still connected?"),
        ("rtsp://host/1", "rtsp://host/1 ended after 2 frames; the connection broke, or the sender stopped"),
        ("v4l2src ! appsink", "v4l2src ! appsink ended after 2 frames; the connection broke"),
    ],
)
def test_a_camera_or_stream_that_stops_is_no_end(source: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Unplugged)
    once = LiveSettings(keep="every", give_up_seconds=0, through="opencv")
    told: list[Unreadable] = []
    with open_source(source, unreadable=told.append, live=once) as frames:
        found = list(frames)
    # By the camera's own clock, which is not index by rate.
    assert [frame.time for frame in found] == pytest.approx([0, 0.04])
    assert [one.ends for one in told] == [True] and told[0].reason.startswith(words)
    with open_source(source, live=once) as opened, pytest.raises(SourceEndedError, match="after 2 frames"):
        list(opened)


def test_streaming_passes_over_what_is_no_frame_where_it_is_told(tmp_path: Path) -> None:
    save_rectangle_graph(tmp_path / "model.onnx")
    good = np.zeros((60, 80, 3), np.uint8)
    frames: list[Any] = [good, None, good, np.zeros((2, 2, 9), np.uint8), good]
    told: list[Unreadable] = []
    with Detector(tmp_path / "model.onnx") as detector:
        assert [frame.index for frame, _ in detector.stream(frames, unreadable=told.append)] == [0, 2, 4]
        assert [(one.index, one.name, one.ends) for one in told] == [(1, "frame 1", False), (3, "frame 3", False)]
        with pytest.raises(FrameError, match="the frame is None"):
            list(detector.stream(frames))
        damaged = damage(write(tmp_path / "x.avi", "MJPG"), 5)
        told.clear()
        assert len(list(detector.stream(damaged, unreadable=told.append))) == FRAMES - 1
        assert len(told) == 1
        with pytest.raises(SourceError, match="frame 5 of"):
            list(detector.stream(damaged))
