"""Files of every wrong kind, each with the words that an export must complain with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgedet.export.families.torchvision_architectures import build
from tests.export.wrong_checkpoints import archives, contents, cut_checkpoints, options
from tests.export.wrong_file import SSDLITE, WrongFile, of_bytes
from tests.export.wrong_graphs import graphs, yolo_files

FORMATS: dict[str, tuple[bytes, str]] = {
    "jpeg": (b"\xff\xd8\xff\xe0JFIF", "JPEG"),
    "png": (b"\x89PNG\r\n\x1a\n", "PNG"),
    "gif": (b"GIF89a", "GIF"),
    "bmp": (b"BM6\0\0\0", "BMP"),
    "webp": (b"RIFF\x10\0\0\0WEBP", "RIFF"),
    "pdf": (b"%PDF-1.7\n", "PDF"),
    "gzip": (b"\x1f\x8b\x08\0", "gzip"),
    "bzip2": (b"BZh91AY", "bzip2"),
    "xz": (b"\xfd7zXZ\0", "xz"),
    "7z": (b"7z\xbc\xaf\x27\x1c", "7z"),
    "rar": (b"Rar!\x1a\x07", "RAR"),
    "zstd": (b"\x28\xb5\x2f\xfd", "zstd"),
    "tar": (b"a".ljust(257, b"\0") + b"ustar\x0000", "tar"),
    "html": (b"<!DOCTYPE html><html>404 Not Found</html>", "HTML"),
    "indented html": (b"\n\n  <html>Sign in</html>", "HTML"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "json": (b'{"error": "not found"}', "JSON"),
    "keras h5": (b"\x89HDF\r\n\x1a\n\0\0", "HDF5"),
    "tflite": (b"\x1c\0\0\0TFL3\0\0", "TensorFlow Lite"),
    "ncnn": (b"7767517\n75 83\n", "ncnn"),
    "gguf": (b"GGUF\x03\0\0\0", "GGUF"),
    "rknn": (b"RKNN\0\0\0\0", "RKNN"),
    "numpy": (b"\x93NUMPY\x01\0", "NumPy"),
    "sqlite": (b"SQLite format 3\0", "SQLite"),
    "elf": (b"\x7fELF\x02\x01", "Linux program"),
    "exe": (b"MZ\x90\0", "Windows program"),
    "darknet": (b"\0\0\0\0\2\0\0\0\5\0\0\0\0\0\0\0", "Darknet"),
    "zeros": (bytes(4096), "zeros"),
}
"""Other formats by their first bytes."""


def other_formats() -> Iterator[tuple[str, WrongFile]]:
    for kind, (start, words) in FORMATS.items():
        for name in ("model.pt", "model.onnx", "model.bin"):
            yield f"{kind} as {name}", WrongFile(name, of_bytes(start + b"\0" * 100), words)
    for name, words in (
        ("frozen.pb", "TensorFlow graph"),
        ("model.mlmodel", "Core ML"),
        ("model.caffemodel", "Caffe"),
        ("yolo.cfg", "not a text, as a Darknet .cfg is"),
    ):
        yield f"{name} by its name", WrongFile(name, of_bytes(b"\x0a\x11 something \x12\x00" * 9), words)
    yield (
        "engine as .pt",
        WrongFile("model.pt", of_bytes(b"ptrt" + bytes(range(200))), "TensorRT engine", (), False),
    )
    yield "engine", WrongFile("model.engine", of_bytes(b"ptrt" + bytes(range(200))), "engine")
    yield "text as .pt", WrongFile("model.pt", of_bytes(b"hello\n"), "not a checkpoint")
    yield "noise as .pt", WrongFile("model.pt", of_bytes(np.random.default_rng(0).bytes(5000)), "not a checkpoint")
    yield "noise as .onnx", WrongFile("model.onnx", of_bytes(np.random.default_rng(1).bytes(5000)), "ONNX")
    yield "empty .pt", WrongFile("model.pt", of_bytes(b""), "empty")
    yield "empty .onnx", WrongFile("model.onnx", of_bytes(b""), "empty")
    yield "empty .safetensors", WrongFile("model.safetensors", of_bytes(b""), "empty")


def every_wrong_file() -> dict[str, WrongFile]:
    """All of them, by what they are."""
    state = dict(build(SSDLITE, 4).state_dict())
    return {
        **dict(other_formats()),
        **dict(archives()),
        **dict(cut_checkpoints()),
        **dict(contents(state)),
        **dict(options(state)),
        **dict(graphs()),
        **dict(yolo_files()),
    }
