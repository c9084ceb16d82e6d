"""What a file is by its name, and by its first bytes where it is given in place of a model."""

from __future__ import annotations

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2")
"""Suffixes of pictures that OpenCV decodes, in small letters, the commonest first."""

SIGNS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"BM", "a BMP image"),
    (0, b"RIFF", "a RIFF file (WebP, AVI or WAV)"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x1f\x8b", "a gzip archive; unpack it first"),
    (0, b"BZh", "a bzip2 archive; unpack it first"),
    (0, b"\xfd7zXZ", "an xz archive; unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (0, b"Rar!", "a RAR archive; unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"),
    (257, b"ustar", "a tar archive; unpack it first"),
    (0, b"<", "an HTML or XML text (a download that gave a web page?)"),
    (0, b"version https://git-lfs", "a Git LFS pointer; run git lfs pull"),
    (0, b"{", "a JSON text"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras, TensorFlow or MATLAB)"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (0, b"7767517", "the layers of an ncnn model"),
    (0, b"GGUF", "a GGUF model"),
    (0, b"RKNN", "a Rockchip RKNN model"),
    (0, b"ptrt", "a TensorRT engine"),
    (0, b"ftrt", "a TensorRT engine"),
    (0, b"vtrt", "a TensorRT-RTX engine"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"SQLite format 3", "an SQLite database"),
    (0, b"\x7fELF", "a Linux program or library"),
    (0, b"MZ", "a Windows program or library"),
    # major, minor, revision of the trainer, as 32-bit numbers: 0.1 and 0.2 are all there ever were.
    (0, b"\0\0\0\0\1\0\0\0", "a Darknet .weights file; export its .cfg, which reads them"),
    (0, b"\0\0\0\0\2\0\0\0", "a Darknet .weights file; export its .cfg, which reads them"),
)
"""Signs of file formats: (offset, bytes, name)."""

SUFFIXES: dict[str, str] = {
    ".h5": "a Keras (HDF5) model",
    ".hdf5": "a Keras (HDF5) model",
    ".keras": "a Keras model",
    ".pb": "a TensorFlow graph",
    ".tflite": "a TensorFlow Lite model",
    ".weights": "a Darknet .weights file; export its .cfg, which reads them",
    ".mlmodel": "a Core ML model",
    ".caffemodel": "a Caffe model",
    ".param": "the layers of an ncnn model",
    ".pdparams": "PaddlePaddle weights",
    ".pdmodel": "a PaddlePaddle model",
    ".rknn": "a Rockchip RKNN model",
    ".hef": "a Hailo model",
    ".xml": "an XML text (an OpenVINO model?)",
    ".yaml": "a YAML text",
    ".yml": "a YAML text",
}
"""Suffixes of formats without a sign at their beginning."""

START = 512
"""Number of bytes that :func:`what_it_is` reads."""


def what_it_is(start: bytes) -> str | None:
    """What a file that begins with ``start`` is, in words; None for models, checkpoints and the unknown.

    >>> what_it_is(b"\\x89PNG\\r\\n")
    'a PNG image'
    """
    for where, sign, what in SIGNS:
        if start[where:].startswith(sign):
            return what
    if start.lstrip()[:1] == b"<":
        return "an HTML or XML text (a download that gave a web page?)"
    if len(start) >= 64 and not start.strip(b"\0"):
        return "a file of zeros (a download or copy that never finished?)"
    return None


def is_safetensors(start: bytes, size: int) -> bool:
    """Whether a file of ``size`` bytes begins as safetensors do: the length of a JSON header, and its brace."""
    length = int.from_bytes(start[:8], "little")
    return start[8:9] == b"{" and 2 <= length <= size - 8
