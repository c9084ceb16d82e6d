"""One decoder for every command: what it gives, and what it refuses."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgedet.errors import FrameError, SourceError
from edgedet.pictures.frames import as_bgr
from edgedet.pictures.image_file import decode_image, read_image

RAMP = np.linspace(0, 65535, 48 * 64).reshape(48, 64).astype(np.uint16)
COLOUR = np.dstack([RAMP, RAMP[::-1], RAMP[:, ::-1]])


def encoded(suffix: str, picture: NDArray[np.generic]) -> bytes:
    return bytes(cv2.imencode(suffix, picture)[1].tobytes())


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".tiff", ".ppm", ".jp2"])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.95])
def test_what_is_cut_off_is_refused_in_one_sentence(suffix: str, share: float) -> None:
    picture = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    whole = encoded(suffix, picture)
    decode_image(whole, "x")
    with pytest.raises(
        SourceError, match=r"^the image x is cut off \(part of the picture is missing\); copy it again$"
    ):
        decode_image(whole[: int(len(whole) * share)], "x")


def test_a_cut_png_is_refused_without_a_word_of_libpng(capfd: pytest.CaptureFixture[str]) -> None:
    # Libpng speaks where the second chunk of pixels breaks off; the first has 8 KiB.
    whole = encoded(".png", np.random.default_rng(1).integers(0, 255, (64, 80, 3), np.uint8))
    with pytest.raises(SourceError, match="cut off"):
        decode_image(whole[: len(whole) * 2 // 3], "x")
    assert capfd.readouterr().err == ""


def test_a_png_with_a_damaged_middle_is_refused() -> None:
    whole = bytearray(encoded(".png", np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)))
    whole[len(whole) // 2] ^= 0x55
    with pytest.raises(SourceError, match="cannot decode the image x; it is damaged"):
        decode_image(bytes(whole), "x")


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
@pytest.mark.parametrize("picture", [RAMP, COLOUR], ids=["grey", "colour"])
def test_16_bits_that_are_used_are_read_as_training_saw_them(
    suffix: str, picture: NDArray[np.uint16], tmp_path: Path
) -> None:
    path = tmp_path / f"x{suffix if picture.ndim == 2 or suffix != '.pgm' else '.ppm'}"
    path.write_bytes(encoded(path.suffix, picture))
    expected = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert expected.max() == 255
    assert np.array_equal(read_image(path), expected)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (RAMP >> 4, r"values from 0 to 4095 in 16 bits.*\(frame >> 4\)\.astype\(np\.uint8\)"),
        (RAMP >> 6, r"values from 0 to 1023 in 16 bits.*\(frame >> 2\)\.astype\(np\.uint8\)"),
        (RAMP >> 2, r"values from 0 to 16383 in 16 bits.*\(frame >> 6\)\.astype\(np\.uint8\)"),
        (RAMP >> 8, r"values from 0 to 255 in 16 bits.*frame\.astype\(np\.uint8\)"),
        (29000 + (RAMP >> 5), r"values from 29000 to 31047 .*\(\(frame - 29000\) \* \(255 / 2047\)\)"),
        (COLOUR >> 4, r"values from 0 to 4095 in 16 bits"),
    ],
    ids=["12 bits", "10 bits", "14 bits", "8 bits", "hundredths of a kelvin", "colour"],
)
def test_16_bits_of_which_few_are_used_are_refused_and_never_nearly_black(
    suffix: str, picture: NDArray[np.uint16], words: str
) -> None:
    with pytest.raises(SourceError, match=words):
        decode_image(encoded(suffix, picture.astype(np.uint16)), "x")
    # Arrays say the same.
    with pytest.raises(FrameError, match=words.rsplit(".*", maxsplit=1)[-1] if "frame" in words else "frame >> 4"):
        as_bgr(picture.astype(np.uint16))


@pytest.mark.parametrize("value", [0, 40_000])
def test_a_plain_picture_of_16_bits_is_read(value: int) -> None:
    image = decode_image(encoded(".png", np.full((9, 9), value, np.uint16)), "x")
    assert (image == value >> 8).all()


@pytest.mark.parametrize(
    "picture",
    [
        np.dstack([RAMP / 257.0] * 3).astype(np.float32),
        (RAMP >> 1).astype(np.int16),
        (RAMP >> 9).astype(np.int8),
    ],
    ids=["float32", "int16", "int8"],
)
def test_other_types_are_refused(picture: NDArray[np.generic]) -> None:
    with pytest.raises(SourceError, match=f"holds {picture.dtype} values; expected 8 or 16 bits"):
        decode_image(encoded(".tiff", picture), "x")


@pytest.mark.parametrize("largest", [15, 100, 1023, 4095])
@pytest.mark.parametrize("kind", ["P5", "P6"])
def test_netpbm_is_scaled_by_the_largest_value_it_names(kind: str, largest: int) -> None:
    values = np.linspace(0, largest, 48 * 64).round().astype(np.uint8 if largest < 256 else ">u2")
    raster = values if kind == "P5" else np.repeat(values, 3)
    content = f"{kind}\n# a remark\n64 48\n{largest}\n".encode() + raster.tobytes()
    image = decode_image(content, "x")
    expected = (values.astype(np.float32) * 255 / largest).round().reshape(48, 64)
    assert np.abs(image[:, :, 0].astype(int) - expected).max() <= 1
    assert (image.min(), image.max()) == (0, 255)
    with pytest.raises(SourceError, match="cut off"):
        decode_image(content[:-9], "x")


def png(bits: int, colour: int, rows: bytes, *, width: int, height: int, palette: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    extra = chunk(b"PLTE", palette) if palette else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_of_grey_fill_the_range(bits: int) -> None:
    image = decode_image(png(bits, 0, b"\0\x0f\xf0", width=16 // bits, height=1), "x")
    assert (image.min(), image.max()) == (0, 255)


def test_palettes_become_colours() -> None:
    image = decode_image(
        png(8, 3, b"\0\0\1\2", width=3, height=1, palette=bytes([255, 0, 0, 0, 255, 0, 0, 0, 255])), "x"
    )
    assert image.tolist() == [[[0, 0, 255], [0, 255, 0], [255, 0, 0]]]


def test_alpha_is_dropped_as_with_arrays() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (8, 9, 4), np.uint8)
    assert np.array_equal(decode_image(encoded(".png", picture), "x"), as_bgr(picture))


@pytest.mark.parametrize(
    ("mode", "suffix"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("1", "TIFF"), ("P", "BMP"), ("LA", "PNG")]
)
def test_other_kinds_look_as_in_a_viewer(mode: str, suffix: str) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    small = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    smooth = cv2.resize(small, (64, 48), interpolation=cv2.INTER_CUBIC)
    content = io.BytesIO()
    image.fromarray(smooth).convert(mode).save(content, suffix)
    shown = np.asarray(image.open(content).convert("RGB"))[:, :, ::-1].astype(int)
    assert np.abs(decode_image(content.getvalue(), "x").astype(int) - shown).max() <= 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    with pytest.raises(SourceError, match=r"x\.jpg is a pipe; expected a file"):
        read_image(tmp_path / "x.jpg")


def test_a_folder_named_like_an_image_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").mkdir()
    with pytest.raises(SourceError, match=r"cannot read the image .*x\.jpg: Is a directory"):
        read_image(tmp_path / "x.jpg")


def test_nothing_else_decodes_pictures() -> None:
    """Two decoders disagree about damaged files: one command refuses what another judges half grey."""
    root = Path(__file__).resolve().parents[3]
    found = subprocess.run(
        [
            "git",
            "grep",
            "-lE",
            # Not in examples, whose lines begin with dots or arrows: users decode as they like.
            r"^ *([^ .>].*)?cv2\.(imread|imdecode)\(",
            "--",
            *(["edgedet", "export", "calibration", "runtimes", "benchmarks", "examples"]),
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode > 1:
        pytest.skip("needs git and a checkout")
    assert set(found.stdout.split()) <= {
        "edgedet/pictures/image_file.py",
        # Numbers, not colours.
        "edgedet/datasets/map_labels.py",
        # Its own pictures, read as a serial loop would.
        "benchmarks/live.py",
        # What a camera's JPEG does to a drawn picture, in memory.
        "examples/scenes/scene.py",
    }
