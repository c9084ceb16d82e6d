"""A wheel and a source archive written so that the same content is the same bytes.

setuptools keeps what the machine happened to have: times and modes of files, the user's name, the order of a
folder. Here every entry has one time, one of two modes, no owner, and a fixed place; the content is left as it is.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import time
import zipfile
from pathlib import Path

# The zip format has no time before it.
EARLIEST = 315_532_800
FILE, PROGRAM = 0o644, 0o755


def rewrite_wheel(source: Path, target: Path, *, epoch: int, smallest: bool) -> None:
    """Write the wheel ``source`` again as ``target``.

    ``epoch``: the time of every entry, in seconds since 1970. ``smallest``: compressed by zopfli, which takes half
    a minute and gives some 2 % less; both are plain deflate, which every installer reads.
    """
    stamp = time.gmtime(max(epoch, EARLIEST))[:6]
    with zipfile.ZipFile(source) as read, zipfile.ZipFile(target, "w") as written:
        # As setuptools has them, sorted with the wheel's own metadata last; installers find it there quickest.
        for entry in read.infolist():
            if entry.is_dir():
                continue
            fresh = zipfile.ZipInfo(entry.filename, stamp)
            fresh.create_system = 3
            fresh.external_attr = (0o100000 | FILE) << 16
            _write(written, fresh, read.read(entry), smallest=smallest)


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, content: bytes, *, smallest: bool) -> None:
    """One entry. zipfile compresses by zlib alone, so what zopfli gives is handed to it in zlib's place."""
    entry.compress_type = zipfile.ZIP_DEFLATED
    if not smallest:
        archive.writestr(entry, content, compresslevel=9)
        return
    with archive.open(entry, "w") as file:
        file._compressor = _Zopfli()  # type: ignore[attr-defined]
        file.write(content)


class _Zopfli:
    """What ``zipfile`` asks of a compressor, all at once at the end."""

    def __init__(self) -> None:
        self._content = b""

    def compress(self, content: bytes) -> bytes:
        self._content += content
        return b""

    def flush(self) -> bytes:
        from zopfli.zlib import compress

        # Without zlib's two bytes in front and its checksum behind: a zip has one of its own.
        return bytes(compress(self._content, numiterations=5)[2:-4])


def rewrite_sdist(source: Path, target: Path, *, epoch: int) -> None:
    """Write the source archive (.tar.gz) ``source`` again as ``target``; ``epoch``: the time of every entry."""
    packed = io.BytesIO()
    with tarfile.open(source) as read, tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as written:
        for entry in sorted(read.getmembers(), key=lambda entry: entry.name):
            if not entry.isfile():
                continue
            fresh = tarfile.TarInfo(entry.name)
            fresh.size, fresh.mtime = entry.size, epoch
            fresh.mode = PROGRAM if entry.mode & 0o100 else FILE
            written.addfile(fresh, read.extractfile(entry))
    with target.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as zipped:
        zipped.write(packed.getvalue())
