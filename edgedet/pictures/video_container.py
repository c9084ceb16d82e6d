"""What a video file's container says about its length, which OpenCV does not pass on, or only as an estimate."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
# RFC 9559, 5.1.3, and the elements that may stand anywhere: time, blocks, places, sizes, checksums, gaps.
_IN_CLUSTER = frozenset({b"\xe7", b"\xa3", b"\xa0", b"\xab", b"\xa7", b"\xaf", b"\xbf", b"\xec", b"\x58\x54"})
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_UNKNOWN_32 = (0, 0xFFFFFFFF)
_MAX_INDEX = 1 << 26
"""Bytes; the index of a day of video is smaller."""
_EMPTY_EDIT = -1
_MP4_FRAMES = (b"mdat", b"moov", b"moof")
"""The boxes that frames cannot do without."""


@dataclass(frozen=True)
class VideoFile:
    """``kind``: the container, None where unknown. ``cut_off``: the file is shorter than it says itself.

    ``timed``: its frames have times of presentation; the bare streams of encoders have none, and any rate told for
    them is a guess. ``frames``: how many there are to be shown, None where that is an estimate at best. ``turn``:
    degrees clockwise, 0, 90, 180 or 270, by which its pictures are to be turned: phones film as they are held.
    """

    kind: str | None = None
    cut_off: bool = False
    timed: bool = True
    frames: int | None = None
    turn: int = 0


def look_into(path: str | Path) -> VideoFile:
    """Read the headers of a video file. What is not understood is not claimed."""
    try:
        if not Path(path).is_file():
            return VideoFile()
        with Path(path).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            return _by_kind(file, file.read(4096), size)
    except (OSError, ValueError, LookupError, ArithmeticError, struct.error):
        return VideoFile()


def _by_kind(file: BinaryIO, start: bytes, size: int) -> VideoFile:
    if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return _mp4(file, size)
    if start.startswith(_EBML):
        return VideoFile("matroska", cut_off=_is_cut_matroska(start, size))
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        (length,) = struct.unpack_from("<I", start, 4)
        return VideoFile("avi", cut_off=length not in _UNKNOWN_32 and 8 + length > size)
    place = start.find(_ASF_FILE_PROPERTIES)
    if place >= 0:
        (length,) = struct.unpack_from("<Q", start, place + 40)
        return VideoFile("asf", cut_off=length > size)
    if start[:4] == b"GIF8":
        file.seek(max(size - 1, 0))
        return VideoFile("gif", cut_off=file.read(1) not in (b";", b"\0"))
    # JPEG after JPEG; and start codes of a video layer, other than those of a program stream's packs (BA).
    bare = start[:3] == b"\xff\xd8\xff" or (start.lstrip(b"\0")[:1] == b"\x01" and start[:2] == b"\0\0")
    return VideoFile(timed=not bare or start[:4] == b"\0\0\x01\xba")


def _is_cut_matroska(start: bytes, size: int) -> bool:
    """Whether the segment reaches beyond the file's end."""
    place = start.find(_SEGMENT)
    length, begin = _element_size(start, place + len(_SEGMENT))
    return place >= 0 and length is not None and begin + length > size


def is_broken_matroska(path: str | Path) -> bool:
    """Whether something that is no element stands between those of a Matroska or WebM file: what follows is lost.

    Reads two small pieces of the file a frame, so it is worth asking only where frames are missing.
    """
    with Path(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        position = 0
        while position < size:
            file.seek(position)
            head = file.read(12)
            width = 9 - head[0].bit_length()
            known = _IN_CLUSTER if width < 4 else None  # all others above them have identifiers of four bytes
            if width > 4 or (known is not None and head[:width] not in known):
                return True
            length, begin = _element_size(head, width)
            # The two that hold the rest are walked through from inside, with or without a known size.
            opened = head[:width] in (_SEGMENT, _CLUSTER)
            if length is None and not opened:
                return True
            position += begin + (0 if opened or length is None else length)
    return False


def _element_size(data: bytes, place: int) -> tuple[int | None, int]:
    """Size of an element's contents, None where it is left open, and where they begin (RFC 8794, 4)."""
    first = data[place]
    width = 9 - first.bit_length()
    length = int.from_bytes(data[place : place + width], "big") & ((1 << 7 * width) - 1)
    return (None if length == (1 << 7 * width) - 1 else length), place + width


def _mp4(file: BinaryIO, size: int) -> VideoFile:
    cut_off, frames, fragmented, turn = False, None, False, 0
    for kind, begin, end in _boxes(file, 0, size):
        cut_off |= end > size and kind in _MP4_FRAMES
        fragmented |= kind == b"moof"
        if kind == b"moov" and end <= size and end - begin < _MAX_INDEX:
            file.seek(begin)
            moov = file.read(end - begin)
            turn, frames = _turn(moov), _frames_shown(moov)
            file.seek(end)
    return VideoFile("mp4", cut_off=cut_off, frames=None if fragmented else frames, turn=turn)


def _boxes(file: BinaryIO, position: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the contents of the boxes of a file (ISO/IEC 14496-12, 4.2)."""
    while position + 8 <= size:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        begin = position + 8
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
            begin += 8
        end = size if length == 0 else position + length
        if end < begin:
            return
        yield kind, begin, end
        position = end


def _inside(data: bytes, *path: bytes) -> Iterator[bytes]:
    """The contents of the boxes at ``path`` in the contents of a box."""
    position = 0
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if length < 8:
            return
        if kind == path[0]:
            content = data[position + 8 : position + length]
            if len(path) == 1:
                yield content
            else:
                yield from _inside(content, *path[1:])
        position += length


def _frames_shown(moov: bytes) -> int | None:
    """Samples of the only video track, where no edit leaves some of them out; else None."""
    videos = _videos(moov)
    if len(videos) != 1 or any(_inside(moov, b"mvex")):
        return None
    (track,) = videos
    table = (b"mdia", b"minf", b"stbl")
    (count,) = struct.unpack_from(">I", _first(track, *table, b"stsz"), 8)
    (movie_scale,) = _times(_first(moov, b"mvhd"))[:1]
    scale, duration = _times(_first(track, b"mdia", b"mdhd"))
    edits = list(_edits(track))
    if not edits or not count:
        return int(count)
    shifts = next(_inside(track, *table, b"ctts"), b"")
    (shift,) = struct.unpack_from(">i", shifts, 12) if shifts else (0,)
    shown = [(length, begin) for length, begin in edits if begin != _EMPTY_EDIT]
    if len(shown) != 1 or shown[0][1] > max(shift, 0):
        return None
    missing = duration / scale - shown[0][0] / movie_scale
    return int(count) if missing < duration / scale / count else None


def _videos(moov: bytes) -> list[bytes]:
    """The contents of the tracks with pictures."""
    return [track for track in _inside(moov, b"trak") if _first(track, b"mdia", b"hdlr")[8:12] == b"vide"]


def _turn(moov: bytes) -> int:
    """Degrees by which the first video track's matrix turns its pictures clockwise (ISO/IEC 14496-12, 8.3.2)."""
    videos = _videos(moov)
    if not videos:
        return 0
    header = _first(videos[0], b"tkhd")
    a, b, _, c, d = struct.unpack_from(">5i", header, 52 if header[0] == 1 else 40)
    one = 1 << 16
    return {(0, one, -one, 0): 90, (-one, 0, 0, -one): 180, (0, -one, one, 0): 270}.get((a, b, c, d), 0)


def _first(data: bytes, *path: bytes) -> bytes:
    content = next(_inside(data, *path), None)
    if content is None:
        raise LookupError(path)
    return content


def _times(header: bytes) -> tuple[int, int]:
    """Units per second and duration in them, of a movie's or track's header."""
    return struct.unpack_from(">IQ", header, 20) if header[0] == 1 else struct.unpack_from(">II", header, 12)


def _edits(track: bytes) -> Iterator[tuple[int, int]]:
    """Duration (in the movie's units) and begin (in the track's) of every edit."""
    for content in _inside(track, b"edts", b"elst"):
        (count,) = struct.unpack_from(">I", content, 4)
        form, step = (">Qq", 20) if content[0] == 1 else (">Ii", 12)
        for index in range(count):
            length, begin = struct.unpack_from(form, content, 8 + step * index)
            yield length, begin
