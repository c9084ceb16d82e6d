"""The CUDA kernels' logic, built for the CPU: NMS identical to the host's, resizing a grey level from OpenCV's."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from edgedet.artifacts.card import InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.nms import nms
from edgedet.postprocess import ULTRALYTICS_CLASS_STEP, Postprocessor, Thresholds
from edgedet.preprocess import Preprocessor
from edgedet.runtimes.cuda.kernels import FrameKernel, NmsKernels
from tests.runtimes.cuda.host_build import HostLauncher, build


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> HostLauncher:
    return build(tmp_path_factory)


def suppress(
    launcher: HostLauncher,
    output: OutputSpec,
    boxes: np.ndarray,
    scores: np.ndarray,
    *,
    classes: int,
    capacity: int = 32768,
    class_step: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Boxes, scores, labels that the kernels keep, and how many candidates there were."""
    boxes, scores = np.ascontiguousarray(boxes, np.float32), np.ascontiguousarray(scores, np.float32)
    columns, rows = scores.shape if output.format == "yolo_xywh" else scores.shape[::-1]
    kernels = NmsKernels(
        launcher, output, classes=classes, rows=rows, columns=columns, capacity=capacity, class_step=class_step
    )
    wanted = output.max_detections
    result = kernels.result(wanted)
    kernels(
        boxes.ctypes.data, scores.ctypes.data, result, launcher.allocate(4 * wanted),
        score=output.score_threshold, iou=output.iou_threshold, wanted=wanted,
    )  # fmt: skip
    candidates, kept = launcher.read(result.counters, np.int32, 2)
    found = launcher.read(result.boxes, np.float32, 4 * wanted).reshape(-1, 4)
    values, labels = (
        launcher.read(result.scores, np.float32, wanted),
        launcher.read(result.labels, np.int32, wanted),
    )
    assert not found[kept:].any() and not values[kept:].any() and not labels[kept:].any()
    return found[:kept], values[:kept], labels[:kept], int(candidates)


def random_boxes(random: np.random.Generator, count: int, *, grid: bool) -> np.ndarray:
    """Overlapping boxes; on a coarse ``grid`` many are equal and IoUs hit the threshold exactly."""
    centres = random.integers(0, 12, (count, 2)) * 8 if grid else random.uniform(0, 300, (count, 2))
    sizes = random.integers(0, 5, (count, 2)) * 8 if grid else random.lognormal(3, 1, (count, 2))
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1).astype(np.float32)
    spoiled = random.random(count) < 0.02
    boxes[spoiled, random.integers(0, 4)] = random.choice([np.nan, np.inf, -np.inf, 1e38])
    return boxes


def test_nms_is_the_hosts_on_a_thousand_random_cases(launcher: HostLauncher) -> None:
    random = np.random.default_rng(0)
    total = 0
    for case in range(1000):
        largest = 25_000 if case in (400, 800) else 6000 if case % 200 == 100 else 250
        count = (
            int(random.integers(largest * 9 // 10, largest + 1)) if largest > 250 else int(random.integers(0, 250))
        )
        classes = int(random.integers(1, 92))
        boxes = random_boxes(random, count, grid=case % 2 == 0)
        # A few values only, so that many scores tie.
        scores = random.integers(1, 12 if case % 3 else 10**6, count).astype(np.float32)
        scores /= np.float32(scores.max(initial=1))
        if count:
            scores[random.random(count) < 0.02] = random.choice([np.nan, np.inf, 0.0])
        labels = random.integers(0, classes, count)
        iou = float(random.choice([0.0, 0.3, 0.5, 0.7, 1.0]))
        wanted = int(random.choice([1, 10, 100, 300]))
        matrix = np.zeros((count, classes), np.float32)
        matrix[np.arange(count), labels] = scores
        output = OutputSpec("candidates", score_threshold=0.0, iou_threshold=iou, max_detections=wanted)
        positive = scores > 0
        keep = np.flatnonzero(positive)[
            nms(boxes[positive], scores[positive], labels[positive], iou_threshold=iou, max_detections=wanted)
        ]
        if count:
            found, values, names, candidates = suppress(launcher, output, boxes, matrix, classes=classes)
            assert candidates == np.count_nonzero(positive)
            np.testing.assert_array_equal(found, boxes[keep], err_msg=f"case {case}")
            np.testing.assert_array_equal(values, scores[keep])
            np.testing.assert_array_equal(names, labels[keep])
        total += len(keep)
    assert total > 10_000


@pytest.mark.parametrize("layout", ["shared", "per_class"])
@pytest.mark.parametrize("mode", ["all", "best"])
def test_every_rule_of_the_card_is_kept(
    launcher: HostLauncher, mode: Literal["all", "best"], layout: Literal["shared", "per_class"]
) -> None:
    random = np.random.default_rng(1)
    for case in range(60):
        classes, rows = int(random.integers(1, 9)), int(random.integers(1, 300))
        rows = rows * classes if layout == "per_class" else rows
        columns = 1 if layout == "per_class" else classes
        output = OutputSpec(
            "candidates",
            score_threshold=float(random.choice([0.0, 0.25, 0.5])),
            iou_threshold=0.5,
            max_detections=int(random.choice([5, 100])),
            candidates_per_class=[None, 7, 40][case % 3],
            label_mode=mode,
            box_layout=layout,
            min_box_side=float(random.choice([0.0, 6.0])),
        )
        boxes = random_boxes(random, rows, grid=case % 2 == 0)
        scores = (random.integers(0, 9, (rows, columns)) / 8).astype(np.float32)
        scores[random.random(scores.shape) < 0.01] = np.nan
        card = ModelCard(
            family="ssd",
            architecture="",
            names=tuple(map(str, range(classes))),
            input=InputSpec(64, 64),
            resize=ResizeRule("stretch"),
            output=output,
        )
        thresholds = Thresholds(output.score_threshold, output.iou_threshold, output.max_detections)
        expected = Postprocessor(card, thresholds, ("boxes", "scores")).decode([boxes, scores])
        found, values, labels, _ = suppress(launcher, output, boxes, scores, classes=classes)
        np.testing.assert_array_equal(found, expected.boxes)
        np.testing.assert_array_equal(values, expected.scores)
        np.testing.assert_array_equal(labels, expected.labels)


def yolo(output: OutputSpec, classes: int) -> ModelCard:
    """The card of a detector whose family moves the boxes of its classes apart."""
    return ModelCard(
        family="yolo",
        architecture="",
        names=tuple(map(str, range(classes))),
        input=InputSpec(640, 640),
        resize=ResizeRule("letterbox"),
        output=output,
    )


@pytest.mark.parametrize("form", ["yolo_xywh", "candidates"])
def test_ultralytics_rule_is_kept_to_its_rounding(
    launcher: HostLauncher, form: Literal["yolo_xywh", "candidates"]
) -> None:
    """Their raw output [4 + C, A], and our own graphs of their detectors; NaN, ties and every limit of the card."""
    random = np.random.default_rng(4)
    kept = without_moving = 0
    for case in range(150):
        classes, rows = [1, 5, 80][case % 3], int(random.integers(1, 700))
        output = OutputSpec(
            form,
            score_threshold=float(random.choice([0.0, 0.25, 0.5])),
            iou_threshold=float(random.choice([0.45, 0.5, 0.7])),
            max_detections=int(random.choice([5, 300])),
            candidates_per_class=[None, None, 40][case % 3],
            label_mode="best",
            min_box_side=float(random.choice([0.0, 6.0])),
        )
        # Shapes from a coarse grid at odd places: IoUs lie on the threshold, and rounding decides.
        centres = random.integers(0, 40, (2, rows)) * 4 + random.choice([0.0, 1 / 3, 0.37])
        sizes = random.integers(0, 6, (2, rows)) * 8
        scores = random.integers(0, 9, (classes, rows)) / 8
        scores[random.random(scores.shape) < 0.01] = random.choice([np.nan, np.inf])
        raw = np.concatenate([centres, sizes, scores]).astype(np.float32)
        raw[random.integers(0, 4), random.random(rows) < 0.02] = random.choice([np.nan, np.inf, 1e38])
        halves = raw[2:4] / 2
        decoded = np.concatenate([raw[:2] - halves, raw[:2] + halves]).T
        thresholds = Thresholds(output.score_threshold, output.iou_threshold, output.max_detections)
        host = Postprocessor(yolo(output, classes), thresholds, ("boxes", "scores"))
        values = [raw] if form == "yolo_xywh" else [decoded, raw[4:].T]
        with np.errstate(invalid="ignore"):
            expected = host.decode(values)
        parts = (raw[:4], raw[4:]) if form == "yolo_xywh" else (decoded, raw[4:].T)
        step = float(ULTRALYTICS_CLASS_STEP)
        found, best, labels, _ = suppress(launcher, output, *parts, classes=classes, class_step=step)
        np.testing.assert_array_equal(found, expected.boxes, err_msg=f"case {case}")
        np.testing.assert_array_equal(best, expected.scores)
        np.testing.assert_array_equal(labels, expected.labels)
        kept += len(found)
        together, *_ = suppress(launcher, output, *parts, classes=classes)
        without_moving += not np.array_equal(together, found)
    assert kept > 3000
    assert without_moving, "the cases tell nothing of the classes' distance"


def test_more_candidates_than_fit_are_told(launcher: HostLauncher) -> None:
    output = OutputSpec("candidates", score_threshold=0.1, iou_threshold=0.5, max_detections=10)
    boxes = np.tile(np.float32([0, 0, 10, 10]), (100, 1))
    *_, candidates = suppress(launcher, output, boxes, np.full((100, 1), 0.5), classes=1, capacity=64)
    assert candidates == 100


FOREIGN = {"dtype": "float32", "layout": "NCHW", "colour": "RGB", "normalise": "host", "scale": 1 / 255}
NORMALISED = FOREIGN | {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
FRAMES = (
    (1080, 1920), (33, 47), (1, 1), (1, 500), (700, 3), (640, 640), (320, 320), (1280, 1280), (479, 641),
    (2160, 3840),
)  # fmt: skip


@pytest.mark.parametrize(
    "spec",
    [{}, {"dtype": "float32"}, FOREIGN, NORMALISED, {"colour": "RGB"}],
    ids=["u8", "f32", "yolo", "norm", "rgb"],
)
@pytest.mark.parametrize(
    "resize",
    [ResizeRule("letterbox", place="center", rounding="round"), ResizeRule("stretch")],
    ids=["letterbox", "stretch"],
)
def test_frames_are_resized_as_opencv_does(
    launcher: HostLauncher, spec: dict[str, Any], resize: ResizeRule
) -> None:
    random = np.random.default_rng(2)
    size = InputSpec(320, 416, **spec)
    unit = size.scale / min(size.std) if size.normalise == "host" else 1.0
    reference = Preprocessor(size, resize)
    kernel = FrameKernel(launcher, size, resize)
    wrong = total = 0
    for height, width in FRAMES:
        frame = random.integers(0, 256, (height, width, 3), np.uint8)
        geometry = reference.prepare(frame)
        expected = reference.tensor[0]
        target = np.full_like(expected, 77)
        kernel(frame.ctypes.data, width * 3, geometry, target.ctypes.data)
        difference = np.abs(target.astype(np.float64) - expected)
        wrong += int(np.count_nonzero(difference > 1.001 * unit))
        total += difference.size
        border = np.ones(expected.shape, np.bool_)
        rows = slice(geometry.top, geometry.top + geometry.height)
        columns = slice(geometry.left, geometry.left + geometry.width)
        border[(slice(None), rows, columns) if size.layout == "NCHW" else (rows, columns)] = False
        np.testing.assert_array_equal(target[border], expected[border])
    assert wrong <= total * 0.001


def test_frames_whose_rows_have_gaps(launcher: HostLauncher) -> None:
    """Video memory pads its rows."""
    wide = np.random.default_rng(3).integers(0, 256, (90, 200, 3), np.uint8)
    frame = wide[:, :123]
    size, resize = InputSpec(64, 64), ResizeRule("letterbox")
    reference = Preprocessor(size, resize)
    geometry = reference.prepare(np.ascontiguousarray(frame))
    target = np.zeros((64, 64, 3), np.uint8)
    FrameKernel(launcher, size, resize)(wide.ctypes.data, wide.strides[0], geometry, target.ctypes.data)
    assert np.abs(target.astype(int) - reference.tensor[0]).max() <= 1
