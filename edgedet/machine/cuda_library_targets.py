"""For which GPUs a library holds CUDA kernels, read from the file itself: no CUDA, no GPU, no ``cuobjdump``.

A library made by nvcc keeps its kernels in the ELF section ``.nv_fatbin``: a row of containers, each with a header
(magic number, version, its own length, length of what follows) and entries (kind, version, length of the entry's
header, length of the code, …, compute capability at byte 28), padded to eight bytes. NVIDIA does not document it;
what is read here was checked against the architecture that stands in the code itself, in all 1,542 pieces of
onnxruntime-gpu 1.31.1 for arm64. Whatever looks otherwise is not guessed at.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SECTION = b".nv_fatbin"
CONTAINER = 0xBA55ED50
PTX, CUBIN = 1, 2


@dataclass(frozen=True)
class Kernels:
    """Compute capabilities, times ten: of finished code (``cubins``) and of code the driver compiles (``ptx``)."""

    cubins: frozenset[int]
    ptx: frozenset[int]

    def for_jetson(self, compute_capability: str) -> bool:
        """Whether a Jetson's GPU can run them.

        Finished code runs there only if it was made for just that GPU: what NVIDIA promises for later minor
        versions (8.6 on 8.9) does not hold between other GPUs and Jetsons (CUDA C++ Programming Guide, "Binary
        Compatibility").
        """
        own = int(compute_capability.replace(".", ""))
        return own in self.cubins or any(made_for <= own for made_for in self.ptx)

    def __str__(self) -> str:
        made = [f"{number // 10}.{number % 10}" for number in sorted(self.cubins)]
        return ", ".join(made + [f"{number // 10}.{number % 10} as PTX" for number in sorted(self.ptx)])


def kernels_of(library: Path) -> Kernels | None:
    """The kernels of a shared library, or None where the file is none, holds none or is not understood."""
    try:
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = list(_entries(data))
    except (OSError, ValueError, OverflowError, IndexError, struct.error):  # no file, an empty one, a damaged one
        return None
    if not found or any(kind not in (PTX, CUBIN) for kind, _ in found):
        return None
    return Kernels(
        cubins=frozenset(made_for for kind, made_for in found if kind == CUBIN),
        ptx=frozenset(made_for for kind, made_for in found if kind == PTX),
    )


def _entries(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Kind and compute capability of every piece of code."""
    at, end = _section(data)
    if end > len(data):
        raise ValueError("the section is longer than the file")
    while at + 16 <= end:
        magic, _, header, size = struct.unpack_from("<IHHQ", data, at)
        if magic != CONTAINER:
            if magic:
                raise ValueError("neither a container nor padding")
            at += 8
            continue
        entry, at = at + header, at + header + size
        if header < 16 or at > end:
            raise ValueError("a container is longer than its section")
        while entry < at:
            kind, _, length, code = struct.unpack_from("<HHIQ", data, entry)
            if length < 32:
                raise ValueError("an entry has no room for its compute capability")
            yield kind, struct.unpack_from("<I", data, entry + 28)[0]
            entry += length + code
        if entry != at:
            raise ValueError("an entry is longer than its container")
        at = -(-at // 8) * 8


def _section(data: mmap.mmap) -> tuple[int, int]:
    """Start and end of the section in a 64-bit little-endian ELF file."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit ELF file")
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", data, table + index * size) for index in range(count)]
    strings = headers[names][4]
    for name, _, _, _, offset, length in headers:
        if data[strings + name : strings + name + len(SECTION) + 1] == SECTION + b"\0":
            return offset, offset + length
    raise ValueError("no section of kernels")
