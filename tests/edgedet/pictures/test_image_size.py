"""Sizes from headers are those of the frames OpenCV decodes."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet.errors import SourceError
from edgedet.pictures.image_file import read_image
from edgedet.pictures.image_size import read_image_size


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff", ".ppm"])
def test_every_format_gives_the_decoded_size(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.zeros((37, 53, 3), np.uint8))
    assert read_image_size(path) == (53, 37, False)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_orientation_is_applied_as_opencv_applies_it(tmp_path: Path, orientation: int, order: str) -> None:
    ok, data = cv2.imencode(".jpg", np.zeros((37, 53, 3), np.uint8))
    assert ok
    mark = b"II*\0" if order == "<" else b"MM\0*"
    tiff = mark + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    path = tmp_path / "a.jpg"
    path.write_bytes(
        data.tobytes()[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data.tobytes()[2:]
    )
    frame = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert frame is not None
    size = read_image_size(path)
    assert size is not None
    assert (size.height, size.width) == frame.shape[:2]
    assert size.turned == (orientation >= 5)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xc0\0", b"no picture at all", b"BM"])
def test_what_is_no_picture_has_no_size(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    assert read_image_size(path) is None


@pytest.mark.parametrize("sides", [(37, 53), (1, 1), (300, 2), (2, 16383)])
@pytest.mark.parametrize("kind", ["lossy", "lossless", "alpha", "exif"])
def test_webp_gives_the_decoded_size(tmp_path: Path, kind: str, sides: tuple[int, int]) -> None:
    pictures = pytest.importorskip("PIL.Image", reason="needs Pillow")
    path = tmp_path / "a.webp"
    picture = pictures.fromarray(np.zeros((*sides, 4 if kind == "alpha" else 3), np.uint8))
    extra = {}
    if kind == "exif":
        extra["exif"] = pictures.Exif()
        extra["exif"][0x0112] = 6
    picture.save(path, lossless=kind == "lossless", **extra)
    frame = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert frame is not None
    assert read_image_size(path) == (frame.shape[1], frame.shape[0], False)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_what_is_cut_off_still_has_a_size(tmp_path: Path, suffix: str) -> None:
    """It is refused where it is decoded, in the words of the decoder, and not left out without a word."""
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert read_image_size(path) == (53, 37, False)


@pytest.mark.parametrize("suffix", [".tiff", ".ppm", ".jp2"])
@pytest.mark.parametrize("share", [0.4, 0.95])
def test_what_has_to_be_decoded_for_its_size_has_none_when_cut_off(
    tmp_path: Path, suffix: str, share: float
) -> None:
    whole = cv2.imencode(suffix, np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8))[1].tobytes()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert read_image_size(path) is None
    with pytest.raises(SourceError, match="cut off"):
        read_image(path)


def test_a_cut_png_that_may_be_turned_has_no_size_and_libpng_no_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures = pytest.importorskip("PIL.Image", reason="needs Pillow")
    exif = pictures.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    # Larger than a chunk of 64 KiB: libpng speaks where the second breaks off.
    noise = np.random.default_rng(0).integers(0, 255, (200, 240, 3), np.uint8)
    pictures.fromarray(noise).save(path, exif=exif)
    assert read_image_size(path) == (200, 240, False)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert read_image_size(path) is None
    assert capfd.readouterr().err == ""


def test_real_photographs(shared: Path) -> None:
    for path in sorted((shared / "data/coco128/val2017").glob("*.jpg"))[:20]:
        frame = cv2.imread(str(path), cv2.IMREAD_COLOR)
        size = read_image_size(path)
        assert frame is not None and size is not None
        assert (size.height, size.width) == frame.shape[:2]
