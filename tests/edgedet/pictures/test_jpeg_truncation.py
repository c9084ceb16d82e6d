"""A JPEG is whole where its data cover the picture, whatever stands behind them."""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgedet.errors import SourceError
from edgedet.pictures.image_file import decode_image

Picture = NDArray[np.uint8]
END = b"\xff\xd9"
EXIF_THUMBNAIL = b"\xff\xe1\0\x40Exif\0\0" + b"\xff\xd8 a picture of its own \xff\xd9".ljust(0x40 - 8, b" ")


def scene(height: int = 117, width: int = 150) -> Picture:
    """Colours without a plain corner; sides that are no multiples of 8."""
    rng = np.random.default_rng(4)
    small = rng.integers(0, 256, (12, 15, 3), np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def encoded(*options: int, picture: Picture | None = None) -> bytes:
    return bytes(cv2.imencode(".jpg", scene() if picture is None else picture, options)[1].tobytes())


def by_pillow(**options: object) -> bytes:
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    content = io.BytesIO()
    picture = image.fromarray(scene()[:, :, ::-1].copy())
    picture.convert(str(options.pop("mode", "RGB"))).save(content, "JPEG", **options)
    return content.getvalue()


def with_thumbnail() -> bytes:
    content = encoded()
    return content[:2] + EXIF_THUMBNAIL + content[2:]


KINDS: dict[str, Callable[[], bytes]] = {
    "4:2:0": lambda: encoded(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
    "4:4:4": lambda: encoded(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    "4:2:2": lambda: encoded(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
    "grey": lambda: encoded(picture=scene()[:, :, 0]),
    "optimised": lambda: encoded(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    "progressive": lambda: encoded(cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": lambda: encoded(cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
    "progressive restarts": lambda: encoded(cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 5),
    "four inks": lambda: by_pillow(mode="CMYK"),
    "a thumbnail": with_thumbnail,
    "one block": lambda: encoded(picture=scene(7, 5)),
    "blank": lambda: encoded(cv2.IMWRITE_JPEG_OPTIMIZE, 1, picture=np.full((640, 480, 3), 255, np.uint8)),
    "grey as nothing": lambda: encoded(cv2.IMWRITE_JPEG_OPTIMIZE, 1, picture=np.full((640, 480, 3), 128, np.uint8)),
}


def clip(length: int = 80_000, seed: int = 0) -> bytes:
    """What a motion photo has behind its picture."""
    return b"\0\0\0\x18ftypmp42" + np.random.default_rng(seed).integers(0, 256, length, np.uint8).tobytes()


BEHIND: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda whole: whole,
    "no end mark": lambda whole: whole[: -len(END)],
    "half an end mark": lambda whole: whole[:-1],
    "a clip": lambda whole: whole + clip(),
    "a clip with an end mark": lambda whole: whole + clip() + END,
    "a clip, no end mark": lambda whole: whole[: -len(END)] + clip(),
    "another picture": lambda whole: whole + encoded(picture=scene(40, 30)),
    "half another picture": lambda whole: whole + encoded(picture=scene(40, 30))[:300],
    "padding": lambda whole: whole + bytes(5000),
    "fill bytes": lambda whole: whole[: -len(END)] + b"\xff" * 9 + END,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behind", BEHIND)
def test_a_whole_picture_is_read_whatever_stands_behind_it(kind: str, behind: str) -> None:
    whole = KINDS[kind]()
    expected = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decode_image(BEHIND[behind](whole), "x.jpg"), expected)


def test_padding_may_stand_where_the_end_mark_is_lost() -> None:
    whole = encoded()
    expected = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decode_image(whole[:-2] + bytes(5000), "x.jpg"), expected)


CUTS: dict[str, Callable[[bytes, bytes], bytes]] = {
    "cut": lambda part, _: part,
    "cut, and an end mark": lambda part, _: part + END,
    "cut, and a clip": lambda part, _: part + clip(),
    "cut, a clip, an end mark": lambda part, _: part + clip(seed=1) + END,
    "never written to the end": lambda part, whole: part + bytes(len(whole) - len(part)),
}
SENTENCE = r"^the image x\.jpg is cut off \(part of the picture is missing\); copy it again$"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("one block", "blank", "grey as nothing")])
@pytest.mark.parametrize("how", CUTS)
def test_a_picture_of_which_a_part_is_missing_is_refused(kind: str, how: str) -> None:
    whole = KINDS[kind]()
    data = whole.rfind(b"\xff\xda", 0, len(whole) // 2) if "progressive" in kind else whole.rfind(b"\xff\xda")
    # In the last scan of a progressive picture only its finest bits are left to be missed.
    last = 0.5 if "progressive" in kind and how != "cut" else 0.9
    places = [data + 40, *np.linspace(data + 60, data + (len(whole) - data) * last, 9).astype(int)]
    for place in places:
        with pytest.raises(SourceError, match=SENTENCE):
            decode_image(CUTS[how](whole[:place], whole), "x.jpg")


@pytest.mark.parametrize("kind", ["4:4:4", "grey", "progressive", "restarts"])
def test_so_is_one_that_ends_anywhere_before_its_data_do(kind: str) -> None:
    whole = KINDS[kind]()
    for place in range(2, len(whole) - 12, 61):
        with pytest.raises(SourceError, match=SENTENCE):
            decode_image(whole[:place], "x.jpg")


def test_a_clip_is_no_data_of_a_small_picture() -> None:
    """Up to the first marker that chance makes, some hundred bytes of it would fill the rest of the picture."""
    whole = encoded(picture=scene(48, 64)[:, :, 0])
    for left_out in (60, 120, 200):
        with pytest.raises(SourceError, match=SENTENCE):
            decode_image(whole[:-left_out] + clip(seed=left_out), "x.jpg")


def test_a_lost_restart_interval_is_missed() -> None:
    """A packet less: the decoder goes on behind it, with a grey stripe in the picture."""
    whole = encoded(cv2.IMWRITE_JPEG_RST_INTERVAL, 3)
    second, fourth = whole.index(b"\xff\xd1"), whole.index(b"\xff\xd3")
    assert second < fourth
    with pytest.raises(SourceError, match=SENTENCE):
        decode_image(whole[:second] + whole[fourth:], "x.jpg")


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_turned_picture_hides_its_missing_part_in_no_corner(turn: int) -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([turn]) + b"\0\0\0\0\0\0"
    whole = encoded()
    turned = whole[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + whole[2:]
    assert decode_image(turned, "x.jpg").shape[:2] == ((117, 150) if turn < 5 else (150, 117))
    with pytest.raises(SourceError, match=SENTENCE):
        decode_image(turned[: len(turned) * 2 // 3] + END, "x.jpg")


@pytest.mark.parametrize(
    "content", [b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0 half a picture", b"\xff\xd8" * 40]
)
def test_no_more_than_a_beginning_is_cut_off(content: bytes) -> None:
    with pytest.raises(SourceError, match=SENTENCE):
        decode_image(content, "x.jpg")
