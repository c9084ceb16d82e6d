"""The detector as users meet it, on a graph whose answer is known to the pixel."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet import Detections, Detector
from edgedet.artifacts.card import METADATA_KEY, ResizeRule
from edgedet.errors import ArtifactError, FrameError, SelftestError, UsageError
from edgedet.proof.golden import record
from tests.rectangle_detector import (
    LETTERBOX,
    SCORE,
    frame_with_rectangle,
    save_foreign_graph,
    save_rectangle_graph,
)

BLACK = (0.0, 0.0, 0.0)
RULES = {
    "letterbox": LETTERBOX,
    "top_left": ResizeRule("letterbox", pad=BLACK),
    "stretch": ResizeRule("stretch"),
    "shortest_side": ResizeRule("shortest_side", pad=BLACK, min_size=64, max_size=64),
}


@pytest.fixture(scope="module")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("rectangle")
    opened = {}
    for name, rule in RULES.items():
        for dtype in ("uint8", "float32"):
            path = folder / f"{name}_{dtype}.onnx"
            save_rectangle_graph(path, dtype=dtype, resize=rule)  # type: ignore[arg-type]
            opened[name, dtype] = Detector(path, threads=1)
    save_foreign_graph(folder / "foreign.onnx")
    opened["foreign", "float32"] = Detector(folder / "foreign.onnx", threads=1)
    return opened


@pytest.fixture
def detector(tmp_path: Path) -> Any:
    save_rectangle_graph(tmp_path / "rectangle.onnx")
    with Detector(tmp_path / "rectangle.onnx", threads=1) as opened:
        yield opened


def check(found: Detections, box: tuple[int, int, int, int], frame: Any, *, channel: int) -> None:
    height, width = frame.shape[:2]
    assert found.frame_size == (height, width)
    assert found.labels.tolist() == [channel]
    assert found.scores.tolist() == [SCORE]
    # In frame pixels: one canvas pixel, since bright pixels bleed no further when resized, and another where
    # the content's size is rounded down but boxes are divided by the scale that was asked for, as YOLOX does.
    slack = 2.01 * max(height, width) / 64 + 1
    assert np.abs(found.boxes[0] - box).max() <= slack, (found.boxes[0], box)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([*((name, dtype) for name in RULES for dtype in ("uint8", "float32")), ("foreign", "float32")]),
    st.integers(20, 400),
    st.integers(20, 400),
    st.integers(0, 2),
    st.data(),
)
def test_the_box_comes_back_where_the_rectangle_is(  # noqa: PLR0917
    detectors: Any, which: tuple[str, str], height: int, width: int, channel: int, data: Any
) -> None:
    # At least four canvas pixels wide, or bilinear sampling may step over it.
    least = max(height, width) // 16 + 2
    if min(height, width) <= least:
        return
    x = data.draw(st.integers(0, width - least))
    y = data.draw(st.integers(0, height - least))
    box = (x, y, data.draw(st.integers(x + least, width)), data.draw(st.integers(y + least, height)))
    frame = frame_with_rectangle(height, width, box, channel=channel)
    check(detectors[which].detect(frame), box, frame, channel=channel)


class TestFrames:
    box = (40, 20, 120, 90)
    frame = frame_with_rectangle(100, 160, box, channel=0)

    def test_colour_frames_of_every_layout(self, detector: Detector) -> None:
        with_alpha = np.dstack([self.frame, np.full((100, 160), 255, np.uint8)])
        wider = np.zeros((100, 300, 3), np.uint8)
        wider[:, 70:230] = self.frame
        for frame in (
            self.frame,
            with_alpha,
            np.asfortranarray(self.frame),
            wider[:, 70:230],
            self.frame.astype("f"),
        ):
            check(detector.detect(frame), self.box, frame, channel=0)

    def test_flipped_views(self, detector: Detector) -> None:
        check(detector.detect(self.frame[:, ::-1]), (40, 20, 120, 90), self.frame, channel=0)
        check(detector.detect(self.frame[:, :, ::-1]), self.box, self.frame, channel=2)

    def test_grey_frames(self, detector: Detector) -> None:
        grey = self.frame[:, :, 0]
        assert len(detector.detect(grey)) == len(detector.detect(grey[:, :, None])) == 1

    def test_portrait(self, detector: Detector) -> None:
        frame = frame_with_rectangle(160, 100, (20, 40, 90, 120), channel=1)
        check(detector.detect(frame), (20, 40, 90, 120), frame, channel=1)

    def test_one_pixel(self, detector: Detector) -> None:
        found = detector.detect(np.full((1, 1, 3), 255, np.uint8))
        assert found.boxes.tolist() == [[0, 0, 1, 1]]
        assert len(detector.detect(np.zeros((1, 1, 3), np.uint8))) == 0

    def test_48_megapixels(self, detector: Detector) -> None:
        frame = frame_with_rectangle(6000, 8000, (1000, 2000, 5000, 4000), channel=2)
        check(detector.detect(frame), (1000, 2000, 5000, 4000), frame, channel=2)

    def test_nothing_to_find_is_an_empty_result(self, detector: Detector) -> None:
        found = detector.detect(np.zeros((50, 70, 3), np.uint8))
        assert len(found) == 0 and found.frame_size == (50, 70)

    def test_what_is_no_frame_is_refused_and_the_next_one_works(self, detector: Detector) -> None:
        with pytest.raises(FrameError, match=r"cv2.imread gives None"):
            detector.detect(cv2.imread("/nonexistent.jpg"))  # type: ignore[arg-type]
        check(detector.detect(self.frame), self.box, self.frame, channel=0)

    def test_the_frame_is_left_alone(self, detector: Detector) -> None:
        frame = self.frame.copy()
        frame.flags.writeable = False
        detector.detect(frame)
        np.testing.assert_array_equal(frame, self.frame)


def test_results_do_not_change_with_the_next_frame(detector: Detector) -> None:
    first = detector.detect(TestFrames.frame)
    before = first.boxes.copy()
    detector.detect(frame_with_rectangle(100, 160, (0, 0, 30, 30)))
    np.testing.assert_array_equal(first.boxes, before)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_batch_of_any_length_equals_one_by_one(tmp_path: Path, batch: int) -> None:
    save_rectangle_graph(tmp_path / "batched.onnx", batch=batch)
    frames = [
        frame_with_rectangle(60 + 20 * index, 100, (10 * index, 10, 10 * index + 30, 40), channel=index % 3)
        for index in range(5)
    ]
    with Detector(tmp_path / "batched.onnx", threads=1) as detector:
        together = detector.detect_batch(frames)
        assert detector.detect_batch([]) == []
        assert detector.last_timing.total == 0
        for frame, found in zip(frames, together, strict=True):
            alone = detector.detect(frame)
            np.testing.assert_array_equal(found.boxes, alone.boxes)
            np.testing.assert_array_equal(found.labels, alone.labels)
            assert found.frame_size == frame.shape[:2]


def test_a_stream_gives_frames_with_what_is_in_them(detector: Detector, tmp_path: Path) -> None:
    for index in range(2):
        frame = frame_with_rectangle(64, 64, (10, 10, 40, 40), channel=index)
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame)
    found = [(Path(frame.name).name, detections.labels.tolist()) for frame, detections in detector.stream(tmp_path)]
    assert found == [("0.png", [0]), ("1.png", [1])]
    assert [len(detections) for _, detections in detector.stream([TestFrames.frame] * 3)] == [1, 1, 1]


def test_thresholds_of_the_artifact_can_be_raised(tmp_path: Path) -> None:
    save_rectangle_graph(tmp_path / "a.onnx", conf=0.5)
    with Detector(tmp_path / "a.onnx", conf=0.9) as detector:
        assert len(detector.detect(TestFrames.frame)) == 0
    with pytest.raises(UsageError, match=r"conf 0.3 is below 0.5"):
        Detector(tmp_path / "a.onnx", conf=0.3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"conf": "a"}, "conf is 'a', expected a number from 0 to 1"),
        ({"conf": True}, "conf is True, expected a number"),
        ({"conf": float("nan")}, "conf is nan, expected a number"),
        ({"conf": np.zeros(2)}, "conf is array"),
        ({"iou": [0.5]}, r"iou is \[0.5\], expected a number from 0 to 1"),
        ({"max_detections": -1}, "max_detections is -1, expected 1 or more"),
        ({"max_detections": 1.0}, "max_detections is 1.0, expected .* whole number"),
        ({"max_detections": "5"}, "max_detections is '5', expected .* whole number"),
        ({"threads": "4"}, "threads is '4', expected .* whole number"),
        ({"runtime": None}, "runtime is None, expected auto, onnxruntime"),
        ({"path": None}, "the artifact is None, expected the path of a file"),
        ({"path": b"a.onnx"}, "the artifact is b'a.onnx', expected the path"),
    ],
)
def test_settings_of_a_wrong_kind_are_refused_in_words(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    save_rectangle_graph(tmp_path / "a.onnx")
    with pytest.raises(UsageError, match=words):
        Detector(**({"path": tmp_path / "a.onnx"} | options))


def test_numpys_numbers_are_numbers(tmp_path: Path) -> None:
    save_rectangle_graph(tmp_path / "a.onnx")
    with Detector(tmp_path / "a.onnx", conf=np.float32(0.5), max_detections=np.int64(1), threads=1) as detector:
        assert [type(value) for value in vars(detector.thresholds).values()] == [float, float, int]


def test_a_name_no_file_can_have_is_an_artifact_error() -> None:
    with pytest.raises(ArtifactError, match="cannot read"):
        Detector("a\0b.onnx")


def test_several_threads_may_share_a_detector(detector: Detector) -> None:
    boxes = [(4 * index, 10, 4 * index + 40, 60) for index in range(16)]
    wrong: list[Any] = []

    def work(box: tuple[int, int, int, int]) -> None:
        frame = frame_with_rectangle(64, 128, box)
        for _ in range(20):
            found = detector.detect(frame)
            if np.abs(found.boxes[0] - box).max() > 4:
                wrong.append((box, found.boxes))

    threads = [threading.Thread(target=work, args=(box,)) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_closed_detector_says_so(tmp_path: Path) -> None:
    save_rectangle_graph(tmp_path / "a.onnx")
    with Detector(tmp_path / "a.onnx") as detector:
        detector.warmup()
        assert detector.last_timing.run > 0
    detector.close()
    with pytest.raises(UsageError, match="is closed; open it again"):
        detector.detect(TestFrames.frame)


def test_the_golden_input_is_replayed_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    card = save_rectangle_graph(path)
    with pytest.raises(ArtifactError, match="no golden input"):
        Detector(path, selftest=True)
    with Detector(path) as detector:
        golden = record(detector, seeds=range(2))
    # Its one detection is the last to be kept, which proves nothing unless the card says that none was dropped.
    assert golden["truncated"]
    golden["truncated"] = False
    for score, passes in ((golden["scores"], True), ([0.1] * len(golden["scores"]), False)):
        model = onnx.load(str(path))
        changed = replace(card, golden=golden | {"scores": score})
        onnx.helper.set_model_props(model, {METADATA_KEY: changed.to_json()})
        onnx.save(model, str(path))
        if passes:
            Detector(path, selftest=True).close()
        else:
            with pytest.raises(SelftestError):
                Detector(path, selftest=True)


def test_it_says_what_it_is(detector: Detector) -> None:
    assert "rectangle.onnx: rectangle 64x64 fp32, onnxruntime" in repr(detector)
    assert detector.names == ("blue", "green", "red")


def test_yolox_finds_what_is_in_real_photographs(shared: Path, tmp_path: Path) -> None:
    """A foreign network needs its card once; then it detects."""
    from edgedet.export.options import ExportOptions
    from edgedet.export.pipeline import export_model

    export_model(
        shared / "models/yolox_nano.onnx", tmp_path / "yolox.onnx", ExportOptions(family="yolox", conf=0.4)
    )
    with Detector(tmp_path / "yolox.onnx") as detector:
        found = [len(detections) for _, detections in detector.stream(sorted_images(shared)[:5])]
    assert sum(found) >= 5


def sorted_images(shared: Path) -> list[Any]:
    return [cv2.imread(str(path)) for path in sorted((shared / "data/coco128/val2017").glob("*.jpg"))[:5]]
