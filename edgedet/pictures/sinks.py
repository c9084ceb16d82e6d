"""Destinations of annotated pictures: files in a folder, one video per video, or a window."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.file_signs import IMAGE_SUFFIXES
from edgedet.errors import MissingDependencyError, OutputError, UsageError
from edgedet.files import atomic_path, is_file, require_writable_parent, sync
from edgedet.pictures.sources import Frame

Picture = NDArray[np.uint8]

UNKNOWN_RATE = 25.0
"""Frames per second of a saved video whose source does not say (cameras)."""

LONGEST_STILL = 10.0
"""Seconds that one picture of a camera is shown for in a saved video."""

KEYS_TO_LEAVE = (27, ord("q"))


class Sink(Protocol):
    """Takes the pictures of a run, in order. ``add`` says whether more are wanted."""

    def add(self, frame: Frame, picture: Picture) -> bool: ...
    def __enter__(self) -> Sink: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Folder:
    """Writes pictures under their source's names; frames of a video become one video.

    A file appears when it is complete. An interrupted run leaves whole pictures; of a video it leaves nothing,
    except where ``interrupted`` is ``finishes``: cameras have no other end. ``by_clock``: frames are shown at the
    times at which they were captured, for sources that leave some out. Each of several sources becomes a video.

    Raises:
        OutputError: the folder cannot be written, or a file of the source's own folder would be overwritten.
    """

    def __init__(
        self,
        folder: Path,
        rate: float | None,
        *,
        interrupted: Literal["discards", "finishes"] = "discards",
        by_clock: bool = False,
    ) -> None:
        require_writable_parent(folder / "picture.jpg")
        self._folder = folder
        self._rate = rate or UNKNOWN_RATE
        self._good_ends = (type(None), KeyboardInterrupt) if interrupted == "finishes" else (type(None),)
        self._used: dict[str, int] = {}
        self._videos: dict[str, _Video] = {}
        self._by_clock = by_clock
        self.written: list[Path] = []

    def add(self, frame: Frame, picture: Picture) -> bool:
        """Write one picture; see :class:`Sink`."""
        source = Path(frame.name)
        if is_file(source):
            self._write_picture(source, picture)
            return True
        video = self._videos.get(frame.source)
        if video is None:
            path = self._folder / self._free_name(video_name(frame.name))
            _require_not_the_users(path, Path(_source_of(frame.name)))
            video = self._videos[frame.source] = _Video(path, picture, self._rate)
        video.add(picture, frame.captured if self._by_clock else None)
        return True

    def _write_picture(self, source: Path, picture: Picture) -> None:
        suffix = source.suffix.lower() if source.suffix.lower() in IMAGE_SUFFIXES else ".jpg"
        path = self._folder / self._free_name(source.stem + suffix)
        _require_not_the_users(path, source)
        good, encoded = cv2.imencode(suffix, picture)
        if not good:
            raise OutputError(f"cannot encode {path} as {suffix}")
        with atomic_path(path) as partial:
            partial.write_bytes(encoded.tobytes())
        self.written.append(path)

    def _free_name(self, name: str) -> str:
        """Pictures of one name from several folders get numbers."""
        self._used[name] = count = self._used.get(name, 0) + 1
        path = Path(name)
        return name if count == 1 else self._free_name(f"{path.stem}-{count}{path.suffix}")

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        failed: OutputError | None = None
        for video in self._videos.values():
            if not isinstance(error, self._good_ends):
                video.discard()
                continue
            try:
                self.written.append(video.finish())
            except OutputError as why:  # the other cameras' videos may be whole
                failed = failed or why
        if failed is not None:
            raise failed


def _require_not_the_users(path: Path, source: Path) -> None:
    """What lies beside a source is the user's, as the source itself is: of no run before can it be told there.

    Raises:
        OutputError: ``path`` is the source, or another file of its folder.
    """
    if not (path.exists() and is_file(source)):
        return
    if path.samefile(source):
        raise OutputError(f"saving to {path.parent} would overwrite {source}; choose another folder")
    if path.parent.samefile(source.parent):
        raise OutputError(
            f"saving to {path.parent} would overwrite {path}, which lies beside {source}; choose another folder, "
            f"or move {path.name} away if a run before made it"
        )


class _Video:
    def __init__(self, path: Path, picture: Picture, rate: float) -> None:
        self._path = path
        self._rate = rate
        self._begin = 0.0
        self._written = 0
        self._last: Picture | None = None
        self._size = (picture.shape[1], picture.shape[0])
        self._partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(self._partial), code, rate, self._size)
        if not self._writer.isOpened():
            self._writer.release()
            self._require_room()
            raise OutputError(
                f"cannot write {path}: this OpenCV has no MP4 encoder; use a folder of images as source"
            )

    def add(self, picture: Picture, moment: float | None) -> None:
        """``moment``: seconds by any clock, of pictures that do not come at the video's rate: they are shown for as
        long as it takes to the next one, or left out."""
        # Cameras may change their format on the way; a video cannot.
        same = (picture.shape[1], picture.shape[0]) == self._size
        fitting: Any = picture if same else cv2.resize(picture, self._size)
        if moment is None:
            self._writer.write(fitting)
            self._written += 1
            return
        if self._last is None:
            self._begin = moment
        due = round((moment - self._begin) * self._rate)
        if due < self._written:
            self._last = fitting
            return
        # A source that was away for long does not fill the disk with one picture.
        if due - self._written > LONGEST_STILL * self._rate:
            self._begin += (due - self._written) / self._rate - LONGEST_STILL
            due = self._written + round(LONGEST_STILL * self._rate)
        for _ in range(due - self._written):
            self._writer.write(self._last if self._last is not None else fitting)
        self._writer.write(fitting)
        self._written, self._last = due + 1, fitting

    def finish(self) -> Path:
        """Put the video in its place.

        Raises:
            OutputError: it is not whole; nothing is left of it, and what had its name before stays.
        """
        try:
            self._writer.release()
            sync(self._partial)
            self._require_whole()
            self._partial.replace(self._path)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error
        finally:
            self._partial.unlink(missing_ok=True)
        return self._path

    def _require_room(self) -> None:
        """OpenCV does not say why it does not begin: a full disk is no missing encoder."""
        try:
            self._partial.write_bytes(bytes(65536))
            sync(self._partial)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error
        finally:
            self._partial.unlink(missing_ok=True)

    def _require_whole(self) -> None:
        """OpenCV's writer says nothing of a full disk; what it wrote does."""
        found = _frames_in(self._partial, self._written)
        if found >= self._written:
            return
        free = shutil.disk_usage(self._partial.parent).free
        raise OutputError(
            f"cannot write {self._path}: {found} of {self._written} frames can be read of what was written; the "
            f"disk may be full ({free / 1e6:.1f} MB are free in {self._path.parent}), or files may have a limit; "
            "make room or save to another folder"
        )

    def discard(self) -> None:
        self._writer.release()
        self._partial.unlink(missing_ok=True)


def _frames_in(path: Path, expected: int) -> int:
    """Number of frames in a video, counted one by one where its own list has fewer than ``expected``; 0 for what is
    no video."""
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            return 0
        listed = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if listed >= expected and capture.grab():
            return listed
        # Some systems' readers work the number out from the length, which is rounded.
        capture.release()
        capture = cv2.VideoCapture(str(path))
        count = 0
        while capture.grab():
            count += 1
        return count
    finally:
        capture.release()


def _source_of(name: str) -> str:
    """The source of a frame that is one of several: its name without the frame's number."""
    return re.sub(r" #\d+$", "", name)


def video_name(name: str) -> str:
    """A file name for the frames of a video, camera or stream.

    >>> video_name("clips/walk.avi #12"), video_name("camera 0 #3"), video_name("rtsp://host:8554/a?b #0")
    ('walk.mp4', 'camera-0.mp4', 'rtsp-host-8554-a-b.mp4')
    """
    source = _source_of(name)
    stem = source if "://" in source else Path(source).stem
    # Credentials of a camera's address do not belong into a file's name.
    stem = re.sub(r"//[^/@]*@", "//", stem)
    # A pipeline's text is longer than names of files can be.
    short = re.sub(r"[^\w.-]+", "-", stem).strip("-.").encode()[:200].decode(errors="ignore")
    return (short or "video") + ".mp4"


class Window:
    """Shows pictures as they come; q, Escape or closing the window ends the run.

    Raises:
        UsageError: no screen. MissingDependencyError: an OpenCV without windows.
    """

    TITLE = "edgedet"

    def __init__(self, wait_ms: int) -> None:
        # Without a screen, Qt ends the whole process: that must be found out before.
        if sys.platform.startswith("linux") and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            raise UsageError(
                "--show needs a screen, and neither DISPLAY nor WAYLAND_DISPLAY is set; use --save DIR"
            )
        self._wait_ms = wait_ms
        try:
            cv2.namedWindow(self.TITLE, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise MissingDependencyError(
                "--show needs an OpenCV with windows: pip install opencv-python in place of opencv-python-headless"
            ) from error

    def add(self, frame: Frame, picture: Picture) -> bool:
        """Show one picture; see :class:`Sink`."""
        cv2.imshow(self.TITLE, picture)
        pressed = cv2.waitKey(self._wait_ms) & 0xFF
        return pressed not in KEYS_TO_LEAVE and cv2.getWindowProperty(self.TITLE, cv2.WND_PROP_VISIBLE) > 0

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *exception: Any) -> None:
        cv2.destroyAllWindows()
