"""What nvinfer does to a frame, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

from edgedet.artifacts.card import InputSpec, ModelCard, ResizeRule
from edgedet.errors import UsageError
from edgedet.export.pipelines.nvinfer_frames import (
    Difference,
    differences,
    measured_difference,
    nvinfer_geometry,
    nvinfer_rule,
    placing_lines,
)
from edgedet.export.pipelines.nvinfer_input import with_planar_input

PIXELS = InputSpec(416, 416)


def card_of(tiny: ModuleType, resize: ResizeRule, spec: InputSpec = PIXELS) -> ModelCard:
    card: ModelCard = replace(tiny.card(), resize=resize, input=spec)
    return card


def written_down(width: int, height: int, canvas: tuple[int, int], *, centred: bool) -> tuple[float, ...]:
    """The arithmetic of ``get_converted_buffer`` in DeepStream's gstnvinfer.cpp, which cuts off, in its order."""
    down, across = canvas[1] * height / width, canvas[0] * width / height
    placed = (canvas[1], int(down)) if down <= canvas[0] else (int(across), canvas[0])
    left, top = ((canvas[1] - placed[0]) // 2, (canvas[0] - placed[1]) // 2) if centred else (0, 0)
    return (*placed, left, top, placed[0] / width, placed[1] / height)


@pytest.mark.parametrize("place", ["top_left", "center"])
def test_frames_lie_where_nvinfer_puts_them(tiny: ModuleType, place: Any) -> None:
    for canvas in ((416, 416), (320, 568), (640, 480)):
        card = card_of(tiny, ResizeRule("letterbox", place=place), InputSpec(*canvas))
        for width, height in ((1920, 1080), (1280, 720), (640, 480), (1080, 1920), (2592, 1944), (322, 1000)):
            at = nvinfer_geometry(nvinfer_rule(card), width, height, card)
            found = (at.width, at.height, at.left, at.top, at.scale_x, at.scale_y)
            expected = written_down(width, height, canvas, centred=place == "center")
            # 416 * 1000 / 322 and 1000 * (416 / 322) may fall on either side of a whole number.
            assert np.abs(np.array(found[:4]) - expected[:4]).max() <= 1
            assert found[:4] == expected[:4] or (width, height) == (322, 1000)


def test_nothing_is_said_of_what_is_the_same(tiny: ModuleType) -> None:
    assert differences(card_of(tiny, ResizeRule("stretch"))) == []
    black = ResizeRule("letterbox", pad=(0.0, 0.0, 0.0))
    assert differences(card_of(tiny, black)) == []


SAID: dict[str, tuple[ResizeRule, InputSpec, str]] = {
    "unrounded pixels": (ResizeRule("stretch"), InputSpec(320, 320, dtype="float32"), "rounded to whole grey"),
    "another border": (ResizeRule("letterbox"), PIXELS, "border is black; training's was (114, 114, 114)"),
    "antialiasing": (ResizeRule("stretch", antialias=True), PIXELS, "four nearest pixels"),
    "rounded sides": (ResizeRule("letterbox", rounding="round"), InputSpec(320, 568), "differ by up to 1 pixels"),
    "one scale for both axes": (
        ResizeRule("letterbox", pad=(0.0, 0.0, 0.0)), InputSpec(320, 568), "moves them by up to 1.7 frame pixels",
    ),
    "small frames": (ResizeRule("letterbox", enlarge=False), PIXELS, "smaller than 416x416 are enlarged"),
    "the shortest side": (
        ResizeRule("shortest_side", min_size=320, max_size=640), InputSpec(320, 320), "black",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SAID)
def test_what_differs_is_said(tiny: ModuleType, what: str) -> None:
    resize, spec, expected = SAID[what]
    assert any(expected in said for said in differences(card_of(tiny, resize, spec))), differences(
        card_of(tiny, resize, spec)
    )


def test_the_frame_that_comes_decides(tiny: ModuleType) -> None:
    card = card_of(tiny, ResizeRule("letterbox"), InputSpec(360, 640))
    assert differences(card, (1920, 1080)) == []
    assert len(differences(card, (640, 480))) == 1
    assert placing_lines(card, (640, 480)) == ["| 640x480 | 480x360 at (0, 0) | 480x360 at (0, 0) |"]


def test_frames_that_fill_the_canvas_are_stretched(tiny: ModuleType) -> None:
    """Faster R-CNN's canvas for 1280x720: keeping proportions, nvinfer would leave its last line black."""
    resize = ResizeRule("shortest_side", min_size=320, max_size=640, pad=(103.53, 116.28, 123.675))
    card = card_of(tiny, resize, InputSpec(320, 568))
    assert nvinfer_rule(card).rule == "letterbox" and nvinfer_rule(card, (640, 480)).rule == "letterbox"
    assert nvinfer_rule(card, (1280, 720)).rule == "stretch"
    assert differences(card, (1280, 720)) == []
    assert any("differ by up to 1 pixels (1920x1080)" in said for said in differences(card))


def test_networks_that_resize_by_themselves_are_refused(tiny: ModuleType) -> None:
    with pytest.raises(UsageError, match="takes frames as they are"):
        nvinfer_rule(card_of(tiny, ResizeRule("none")))


@pytest.fixture
def blobs(tiny: ModuleType) -> tuple[onnx.ModelProto, ModelCard]:
    """The tiny detector with planes for input: random weights, but boxes everywhere."""
    model = tiny.tiny_detector()
    card = replace(tiny.card(), resize=ResizeRule("letterbox"))
    return model, with_planar_input(model, card)


def test_the_difference_is_measured_on_a_golden_frame(blobs: tuple[onnx.ModelProto, ModelCard]) -> None:
    model, card = blobs
    before = model.SerializeToString()
    black = replace(card, resize=replace(card.resize, pad=(0.0, 0.0, 0.0)))
    same = measured_difference(model, black)
    assert same.expected == same.found > 5
    assert (same.height, same.width, same.extra, same.worst_corner, same.worst_score) == (480, 640, 0, 0.0, 0.0)
    other = measured_difference(model, card)
    assert other.worst_score is not None and (other.found < other.expected or other.worst_score > 0)
    assert f"{other.found} of {other.expected} detections of the golden frame (640x480)" in str(other)
    assert measured_difference(model, card, (320, 320)).worst_corner == 0.0  # no border
    assert model.SerializeToString() == before


def test_nothing_found_is_no_agreement(blobs: tuple[onnx.ModelProto, ModelCard]) -> None:
    model, card = blobs
    strict = replace(card, output=replace(card.output, score_threshold=1.0))
    assert str(measured_difference(model, strict)) == (
        "not compared: nothing is found in the golden frame (640x480)"
    )


def test_sentences_of_differences() -> None:
    assert str(Difference(480, 640, 3, 2, 1, 0.0125, 1.25)) == (
        "2 of 3 detections of the golden frame (640x480), and 1 more; scores differ by up to 0.013, corners by up "
        "to 1.2 pixels"
    )
    assert str(Difference(480, 640, 1, 0, 0, None, None)) == "0 of 1 detections of the golden frame (640x480)"
