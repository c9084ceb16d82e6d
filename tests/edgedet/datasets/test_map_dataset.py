"""Labels of every pixel: VOC's, folders', by palette and as grey values."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet.datasets.map_dataset import is_map_dataset, read_map_dataset
from edgedet.datasets.map_labels import read_label_map
from edgedet.errors import DatasetError

LABELS = np.array([[0, 1, 2], [255, 2, 0]], np.uint8)
PALETTE = np.arange(768, dtype=np.uint32).reshape(256, 3).astype(np.uint8)[::-1].copy()


def png(labels: np.ndarray, *, depth: int, palette: np.ndarray | None = None) -> bytes:
    """One number a pixel, of ``depth`` bits."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = labels.shape
    bits = np.unpackbits(labels[..., None], axis=-1)[..., 8 - depth :].reshape(height, -1)
    rows = b"".join(b"\x00" + np.packbits(row).tobytes() for row in bits)
    header = struct.pack(">IIBBBBB", width, height, depth, 0 if palette is None else 3, 0, 0, 0)
    colours = [] if palette is None else [(b"PLTE", palette.tobytes())]
    parts = [(b"IHDR", header), *colours, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def palette_png(labels: np.ndarray, palette: np.ndarray = PALETTE) -> bytes:
    """As Pillow writes VOC's: one byte a pixel, colours beside."""
    return png(labels, depth=8, palette=palette)


def distinct() -> np.ndarray:
    """A palette with a colour for each number."""
    return np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 7)], axis=1).astype(np.uint8)


def test_numbers_behind_a_palette_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(palette_png(LABELS, distinct()))
    np.testing.assert_array_equal(read_label_map(path), LABELS)


def test_grey_values_are_numbers(tmp_path: Path) -> None:
    for labels in (LABELS, LABELS.astype(np.uint16) * 200):
        cv2.imwrite(str(tmp_path / "a.png"), labels)
        np.testing.assert_array_equal(read_label_map(tmp_path / "a.png"), labels)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_values_of_few_bits_are_numbers(tmp_path: Path, depth: int) -> None:
    labels = np.arange(30, dtype=np.uint8).reshape(3, 10) % 2**depth
    (tmp_path / "a.png").write_bytes(png(labels, depth=depth))
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png"), labels)
    (tmp_path / "b.png").write_bytes(png(labels, depth=depth, palette=distinct()[: 2**depth]))
    np.testing.assert_array_equal(read_label_map(tmp_path / "b.png"), labels)


def test_what_is_no_map_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    black = distinct()
    black[2] = black[1]
    path.write_bytes(palette_png(LABELS, black))
    with pytest.raises(DatasetError, match="one colour stands for the class numbers 1, 2"):
        read_label_map(path)
    cv2.imwrite(str(path), np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(DatasetError, match="picture of colours"):
        read_label_map(path)
    path.write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="are no PNG"):
        read_label_map(path)
    whole = palette_png(np.zeros((40, 40), np.uint8), distinct())
    path.write_bytes(whole[: -len(whole) // 50])
    with pytest.raises(DatasetError, match="damaged or cut off"):
        read_label_map(path)
    with pytest.raises(DatasetError, match="cannot read the labels"):
        read_label_map(tmp_path / "gone.png")


def pictures(folder: Path, names: str, suffix: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        cv2.imwrite(str(folder / f"{name}{suffix}"), np.zeros((2, 3, 3), np.uint8))


def maps(folder: Path, names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        cv2.imwrite(str(folder / f"{name}.png"), LABELS)


def test_voc_has_splits_and_names(tmp_path: Path) -> None:
    pictures(tmp_path / "JPEGImages", "abcd", ".jpg")
    maps(tmp_path / "SegmentationClass", "abc")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("b\nc\nd\n")
    (lists / "train.txt").write_text("a\n")
    usual = read_map_dataset(str(tmp_path))
    assert [record.picture.name for record in usual.records] == ["b.jpg", "c.jpg"]
    assert usual.names[0] == "background" and len(usual.names) == 21
    assert usual.notes == ("1 left out, without a picture or labels: d",)
    assert len(read_map_dataset(f"{tmp_path}:train")) == 1 and is_map_dataset(f"{tmp_path}:train")
    with pytest.raises(DatasetError, match=r"no split 'test' in .*; it has train, val"):
        read_map_dataset(f"{tmp_path}:test")


def test_folders_side_by_side_and_pngs_beside(tmp_path: Path) -> None:
    pictures(tmp_path / "two" / "images" / "val", "ab", ".png")
    maps(tmp_path / "two" / "masks" / "val", "ab")
    (tmp_path / "two" / "classes.txt").write_text("sky\nroad\n\n")
    found = read_map_dataset(f"{tmp_path / 'two'}:val")
    assert found.names == ("sky", "road") and len(found) == 2
    assert found.records[0].picture != found.records[0].labels
    pictures(tmp_path / "one", "ab", ".jpg")
    maps(tmp_path / "one", "b")
    assert [record.labels.name for record in read_map_dataset(str(tmp_path / "one")).records] == ["b.png"]


def test_what_holds_no_labels_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "plain", "ab", ".jpg")
    assert not is_map_dataset(str(tmp_path / "plain"))
    with pytest.raises(DatasetError, match="holds no labels of pixels"):
        read_map_dataset(str(tmp_path / "plain"))
    with pytest.raises(DatasetError, match="no such folder"):
        read_map_dataset(str(tmp_path / "gone"))
    pictures(tmp_path / "apart" / "images", "a", ".jpg")
    maps(tmp_path / "apart" / "labels", "b")
    with pytest.raises(DatasetError, match=r"no picture in .* has labels"):
        read_map_dataset(str(tmp_path / "apart"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\n\nb\n", r"classes.txt:2 is empty"),
        (b"a\nb\na\n", "holds a name twice"),
        (b"\xff\xfea\x00", "is not UTF-8 text"),
        (b"", "is empty"),
    ],
)
def test_names_that_would_give_pixels_to_another_class_are_refused(
    tmp_path: Path, content: bytes, words: str
) -> None:
    folder = labelled_folder(tmp_path)
    (folder / "classes.txt").write_bytes(content)
    with pytest.raises(DatasetError, match=words):
        read_map_dataset(str(folder))


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    folder = labelled_folder(tmp_path)
    (folder / "classes.txt").write_text("background\nroad\n\n", encoding="utf-8-sig")
    assert read_map_dataset(str(folder)).names == ("background", "road")


def labelled_folder(folder: Path) -> Path:
    for name in ("images", "labels"):
        (folder / name).mkdir()
        cv2.imwrite(str(folder / name / "a.png"), LABELS)
    return folder
