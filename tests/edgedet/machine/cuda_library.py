"""A shared library as nvcc makes them, with kernels that are nothing but their headers."""

from __future__ import annotations

import struct
from pathlib import Path

NAMES = b"\0.shstrtab\0.nv_fatbin\0"


def container(*entries: tuple[int, int]) -> bytes:
    """A container of entries: kind and compute capability times ten. 64-byte headers, 24 bytes of code."""
    code = b"".join(
        struct.pack("<HHIQ", kind, 257, 64, 24) + bytes(12) + struct.pack("<I", made_for) + bytes(32) + b"k" * 24
        for kind, made_for in entries
    )
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(code)) + code


def library(path: Path, kernels: bytes) -> Path:
    """A 64-bit ELF file with the section of kernels; its table of sections comes last, as the linker lays it."""
    start = 64
    strings = start + len(kernels)
    table = strings + len(NAMES)
    sections = [
        (0, 0, 0, 0, 0, 0),
        (NAMES.index(b".shstrtab"), 3, 0, 0, strings, len(NAMES)),
        (NAMES.index(b".nv_fatbin"), 1, 2, start, start, len(kernels)),
    ]
    header = struct.pack(
        "<6s10xHHIQQQIHHHHHH", b"\x7fELF\x02\x01", 3, 183, 1, 0, 0, table, 0, 64, 56, 0, 64, len(sections), 1
    )
    rows = b"".join(struct.pack("<IIQQQQIIQQ", *section, 0, 0, 8, 0) for section in sections)
    path.write_bytes(header + kernels + NAMES + rows)
    return path
