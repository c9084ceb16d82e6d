"""Sources of frames: images, folders, videos, cameras, or arrays of the caller's."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, cast, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.file_signs import IMAGE_SUFFIXES
from edgedet.errors import SourceError
from edgedet.pictures.frames import Frame, Unreadable, tell
from edgedet.pictures.image_file import read_image
from edgedet.pictures.live.address import is_live, is_pipeline, may_be_recorded, name_of
from edgedet.pictures.live.fault import Fault
from edgedet.pictures.live.live_source import open_live
from edgedet.pictures.live.opencv_capture import has_backend
from edgedet.pictures.live.settings import LiveSettings
from edgedet.pictures.video import Video

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Frame",
    "FrameSource",
    "ReadsAhead",
    "Source",
    "Unreadable",
    "is_dataset_name",
    "is_read_ahead",
    "is_there",
    "open_source",
    "read_image",
]

VIDEO_SUFFIXES = (
    ".mp4",
    ".avi",
    ".mov",
    ".mkv",
    ".webm",
    ".m4v",
    ".mpg",
    ".mpeg",
    ".mjpg",
    ".mjpeg",
    ".ts",
    ".wmv",
)

Source = str | Path | int | NDArray[Any] | Iterable[NDArray[Any]] | Sequence[str | Path | int]


@runtime_checkable
class FrameSource(Protocol):
    """An opened source: a context manager that iterates over :class:`Frame`.

    Attributes:
        description: name of the source, for people.
        count: number of frames to come; None where unknown.
        rate: frames per second of a video; None for anything else.

    >>> with open_source("photos") as frames:
    ...     frames.description, frames.count, frames.rate
    ('photos', 12, None)
    """

    description: str
    count: int | None
    rate: float | None

    def __iter__(self) -> Iterator[Frame]: ...
    def __enter__(self) -> FrameSource: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


@runtime_checkable
class ReadsAhead(FrameSource, Protocol):
    """A source whose frames can be read before their turn, images on several threads at once.

    ``items`` are taken one at a time, in order; ``read`` makes a frame of each, or says why there is none, and
    :meth:`tell` deals with that at its turn: it tells whom the source was opened for, or raises.

    Attributes:
        waits: whether frames stay until they are read; where they do not, reading ahead would show the past.

    >>> with open_source("photos") as frames:
    ...     isinstance(frames, ReadsAhead), frames.read(next(frames.items())).name
    (True, 'photos/00.png')
    """

    @property
    def waits(self) -> bool: ...
    def items(self) -> Iterator[Any]: ...
    def read(self, item: Any) -> Frame | Unreadable: ...
    def tell(self, lost: Unreadable) -> None: ...


def open_source(
    source: Source,
    *,
    unreadable: Callable[[Unreadable], None] | None = None,
    fault: Callable[[Fault], None] | None = None,
    live: LiveSettings | None = None,
) -> FrameSource:
    """Open images, videos, cameras or arrays as one sequence of frames.

    Files give every frame. Cameras and streams are read by a thread of their own and give the newest; where they
    break, they are opened again.

    Args:
        source: path of an image, a video or a folder of images; glob pattern; number of a camera (``0``, ``"0"``);
            URL (``rtsp://``, ``http://``); ``csi://0`` for a CSI camera of a Jetson; GStreamer pipeline ending in
            ``appsink``; array; iterable of arrays; list of images, folders of them and patterns; or list of cameras
            and streams, which take turns.
        unreadable: called for every image of a folder or pattern that cannot be read, for every damaged frame of a
            video, and for a video, camera or stream that ends too early; the other frames follow. None ends the
            iteration with an error at the first of them.
        fault: called, while iterating, for everything that goes wrong with a camera or stream and is mended.
        live: how cameras and streams are read.

    Returns:
        A context manager to iterate over.

    Raises:
        SourceError: missing, empty, unreadable, or not a source.
        SourceEndedError: the source ends early (while iterating, without ``unreadable``).
        MissingDependencyError: nothing that is installed can open such a source.

    >>> with open_source("photos/*.png") as frames:
    ...     for frame in frames:
    ...         if frame.index < 2:
    ...             print(frame.name, frame.image.shape)
    photos/00.png (72, 96, 3)
    photos/01.png (72, 96, 3)
    """
    if isinstance(source, np.ndarray):
        return CallersFrames([source] if source.ndim in (2, 3) else source)
    if is_live(source):
        opened = open_live([cast("str | int | Path", source)], live, fault=fault, unreadable=unreadable)
        if not (may_be_recorded(source) and opened.recorded):
            return opened
        opened.close()
        return Video(str(source), name_of(str(source)), unreadable=unreadable)
    if not isinstance(source, str | Path):
        if not isinstance(source, Iterable):
            raise SourceError(
                f"a {type(source).__name__} is no frame source; expected a path, camera number or arrays"
            )
        if isinstance(source, list | tuple) and source:
            several = _open_list(source, unreadable, fault, live)
            if several is not None:
                return several
        return CallersFrames(cast("Iterable[NDArray[Any]]", source))
    text = str(source)
    if not text.strip():
        raise SourceError("the name of the source is empty; expected a file, a folder, a camera's number or a URL")
    if "://" in text:
        return Video(text, name_of(text), unreadable=unreadable)
    if is_pipeline(text):
        if has_backend(cv2.CAP_GSTREAMER):
            return Video(text, name_of(text), cv2.CAP_GSTREAMER, unreadable=unreadable)
        # A recording, through GStreamer's own binding: every frame, once.
        once = replace(live or LiveSettings(), keep="every", give_up_seconds=0)
        return open_live([text], once, fault=fault, unreadable=unreadable)
    try:
        return _open_path(text, unreadable)
    except (OSError, ValueError) as error:  # no permission, a name that is too long, a zero byte in it
        reason = error.strerror if isinstance(error, OSError) else None
        raise SourceError(f"cannot read {text}: {reason or error}") from error


def _open_list(
    sources: Sequence[Any],
    unreadable: Callable[[Unreadable], None] | None,
    fault: Callable[[Fault], None] | None,
    live: LiveSettings | None,
) -> FrameSource | None:
    """Several sources as one; None for a list of anything else, such as arrays."""
    if len(sources) == 1 and isinstance(sources[0], str | Path | int):
        return open_source(sources[0], unreadable=unreadable, fault=fault, live=live)
    if all(is_live(item) for item in sources):
        return open_live(sources, live, fault=fault, unreadable=unreadable)
    if not all(isinstance(item, str | Path) for item in sources):
        return None
    try:
        return _open_several(sources, unreadable)
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read the sources: {error}") from error


def is_read_ahead(source: str | Sequence[str]) -> bool:
    """Whether a source is one of many frames that wait until they are read: images, or the file of a video.

    It need not be there; :func:`open_source` says so.

    >>> is_read_ahead("photos"), is_read_ahead(["frame.png", "gone.png"]), is_read_ahead(["0", "rtsp://host/live"])
    (True, True, False)
    """
    if not isinstance(source, str):
        return is_read_ahead(source[0]) if len(source) == 1 else not all(map(is_live, source))
    if is_live(source) or "://" in source or is_pipeline(source):
        return False
    path = Path(source)
    try:
        if path.exists():
            return path.is_dir() or (path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES)
        return any(letter in source for letter in "*?[")
    except (OSError, ValueError):
        return False


def is_dataset_name(text: str) -> bool:
    """Whether ``text`` names a folder, or a file that is neither an image nor a video; ``PATH:SPLIT`` too.

    Where frames are wanted, datasets are one kind of source; everything else is for :func:`open_source`.
    """
    path, folder = Path(text), text.rpartition(":")[0]
    try:
        if path.is_dir():
            return True
        if path.is_file():
            return path.suffix.lower() not in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES) and not _starts_like_an_image(path)
        return folder != "" and Path(folder).exists()
    except (OSError, ValueError):
        return False


def is_there(text: str) -> bool:
    """Whether a dataset or source of that name exists, as far as can be told without opening it."""
    if is_dataset_name(text) or text.isdigit() or "://" in text or is_pipeline(text):
        return True
    try:
        return Path(text).exists() or (any(letter in text for letter in "*?[") and bool(_matching(text)))
    except (OSError, ValueError):
        return False


def _open_several(sources: Sequence[str | Path], unreadable: Callable[[Unreadable], None] | None) -> FrameSource:
    images: list[Path] = []
    for source in sources:
        text, path = str(source), Path(source)
        if text.isdigit() or "://" in text or is_pipeline(text) or path.suffix.lower() in VIDEO_SUFFIXES:
            raise SourceError(
                f"{name_of(text)} is no image; several sources at once can be images, folders of them and "
                "patterns, or cameras and streams"
            )
        if path.is_dir():
            images.extend(_images_in(path))
        elif not path.exists() and any(letter in text for letter in "*?["):
            images.extend(_matching(text))
        else:
            # Also one that is damaged, or not there: the rest goes on without it.
            images.append(path)
    if not images:
        raise SourceError(f"no images in any of the {len(sources)} sources")
    return _Images(images, f"{len(sources)} sources", unreadable)


def _images_in(folder: Path) -> list[Path]:
    return sorted(item for item in folder.iterdir() if item.suffix.lower() in IMAGE_SUFFIXES and _is_image(item))


def _matching(pattern: str) -> list[Path]:
    names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (the pattern may be absolute)
    return [Path(name) for name in names if Path(name).is_file()]


def _open_path(text: str, unreadable: Callable[[Unreadable], None] | None) -> FrameSource:
    path = Path(text)
    if path.is_dir():
        images = _images_in(path)
        if not images:
            raise SourceError(
                f"no images in the folder {path}; expected files like {', '.join(IMAGE_SUFFIXES[:4])}"
            )
        return _Images(images, text, unreadable)
    if not path.exists():
        if any(letter in text for letter in "*?["):
            images = _matching(text)
            if not images:
                raise SourceError(f"no file matches the pattern {text}")
            return _Images(images, text, unreadable)
        raise SourceError(f"no such file or folder: {path}")
    if path.is_fifo() and path.suffix.lower() not in VIDEO_SUFFIXES:
        raise SourceError(f"{text} is a pipe; expected a file, or a pipe named like a video (.ts)")
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return Video(text, text, unreadable=unreadable)
    if path.suffix.lower() in IMAGE_SUFFIXES or _starts_like_an_image(path):
        return _Images([path], text)
    try:
        return Video(text, text, unreadable=unreadable)
    except SourceError:
        raise SourceError(
            f"{text} is neither an image nor a video that can be read here; expected an image "
            f"({', '.join(IMAGE_SUFFIXES)}), a video ({', '.join(VIDEO_SUFFIXES)}), a folder of images, a "
            "pattern, a camera's number or a URL"
        ) from None


def _is_image(path: Path) -> bool:
    """Files, and links to nothing: those are images that cannot be read, which is to be said."""
    return path.is_file() or (path.is_symlink() and not path.exists())


def _starts_like_an_image(path: Path) -> bool:
    if not path.is_file():  # a camera's device is not read for that
        return False
    with path.open("rb") as file:
        start = file.read(12)
    # HEIC and AVIF lie in boxes as videos do; FFmpeg would give one tile of the picture for the whole of it.
    still = start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"mif1", b"avif")
    webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return still or webp or start.startswith((b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\0", b"MM\0*"))


class _Context:
    """Sources are context managers; most have nothing to release."""

    rate: float | None = None

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


class _Images(_Context):
    """``paths``: of the images, in order."""

    waits = True

    def __init__(
        self, paths: list[Path], description: str, unreadable: Callable[[Unreadable], None] | None = None
    ) -> None:
        self.paths = paths
        self._unreadable = unreadable
        self.description = description
        self.count: int | None = len(paths)

    def __iter__(self) -> Iterator[Frame]:
        for item in self.items():
            frame = self.read(item)
            if isinstance(frame, Unreadable):
                self.tell(frame)
            else:
                yield frame

    def items(self) -> Iterator[tuple[int, Path]]:
        return enumerate(self.paths)

    def read(self, item: tuple[int, Path]) -> Frame | Unreadable:
        index, path = item
        try:
            return Frame(read_image(path), str(path), index, source=self.description)
        except SourceError as error:
            return Unreadable(str(path), index, str(error))

    def tell(self, lost: Unreadable) -> None:
        tell(lost, self._unreadable)


class CallersFrames(_Context):
    """The caller's own arrays, passed through untouched."""

    def __init__(self, arrays: Iterable[NDArray[Any]]) -> None:
        self._arrays = arrays
        self.description = "arrays"
        self.count: int | None = len(arrays) if isinstance(arrays, Sized) else None

    def __iter__(self) -> Iterator[Frame]:
        for index, array in enumerate(self._arrays):
            yield (
                array
                if isinstance(array, Frame)
                else Frame(array, f"frame {index}", index, source=self.description)
            )
