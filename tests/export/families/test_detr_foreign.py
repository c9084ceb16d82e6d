"""DETRs' own ONNX files: read by types, shapes and numbers, and giving what their post-processing gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torchvision.transforms.v2 import functional

from edgedet import Detections, Detector
from edgedet.errors import CheckpointError, UsageError
from edgedet.proof.golden_scene import golden_frame
from tests.export.repository_heads import (
    SIDE,
    Queries,
    Ranked,
    poisoned,
    refuse,
    require_same,
    save_built,
    save_repository_head,
)

NAMES = ("cat", "dog", "hen")
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
FRAMES = [golden_frame(seed, *size) for seed, size in ((1, (SIDE, SIDE)), (2, (150, 211)), (3, (70, 60)))]


def picture(frame: np.ndarray, *, antialias: bool, imagenet: bool) -> np.ndarray:
    """RGB planes [1, 3, 96, 96] as torchvision stretches them: bytes with antialiasing, floats without."""
    image = torch.from_numpy(np.ascontiguousarray(frame[:, :, ::-1].transpose(2, 0, 1)))
    image = image if antialias else image.float()
    planes = functional.resize(image, [SIDE, SIDE], antialias=antialias).numpy().astype(np.float32) / 255
    if imagenet:
        planes = (planes - MEAN[:, None, None]) / STD[:, None, None]
    return planes[None]


def ranked(path: Path, frame: np.ndarray, names: tuple[str, ...], *, imagenet: bool = False) -> Detections:
    """What the file itself says of a frame of this size."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    height, width = frame.shape[:2]
    inputs = {
        "images": picture(frame, antialias=True, imagenet=imagenet),
        "orig_target_sizes": np.array([[width, height]], np.int64),
    }
    labels, boxes, scores = (value[0] for value in session.run(None, inputs))
    boxes = boxes.clip(0, [width, height, width, height])
    return Detections(boxes, scores, labels.astype(np.int32), names, (height, width))


def queried(path: Path, frame: np.ndarray, columns: dict[int, int], names: tuple[str, ...]) -> Detections:
    """RF-DETR's PostProcess in NumPy; ``columns``: labels of those that are classes."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    height, width = frame.shape[:2]
    (shares,), (logits,) = session.run(None, {"input": picture(frame, antialias=False, imagenet=True)})
    scores = 1 / (1 + np.exp(-logits[:, list(columns)]))
    order = np.argsort(-scores, axis=None)[: len(shares)]
    query, column = np.unravel_index(order, scores.shape)
    centre, half = shares[query, :2], shares[query, 2:] / 2
    boxes = np.concatenate([centre - half, centre + half], 1) * np.array([width, height] * 2, np.float32)
    labels = np.array(list(columns.values()), np.int32)[column]
    boxes = boxes.clip(0, [width, height, width, height])
    return Detections(boxes, scores.reshape(-1)[order], labels, names, (height, width))


def test_a_ranked_file_gives_its_own_boxes_on_frames_of_any_shape(tmp_path: Path) -> None:
    source = save_repository_head(tmp_path / "net.onnx", Ranked())
    path, card = save_built(source, classes=NAMES, conf=0.3)
    assert (card.family, card.provenance["nms"], card.output.max_detections) == ("detr", "none", 40)
    assert (card.resize.rule, card.resize.antialias, card.input.mean) == ("stretch", True, (0, 0, 0))
    assert [text.split(":")[0] for text in card.provenance["assumed"]] == ["pixels", "resizing"]
    with Detector(path) as detector:
        for frame in FRAMES:
            require_same(ranked(source, frame, NAMES), detector.detect(frame))


def test_what_cuts_pictures_into_patches_is_normalised_as_deimv2(tmp_path: Path) -> None:
    source = save_repository_head(tmp_path / "net.onnx", Ranked(patches=True))
    path, card = save_built(source, classes=NAMES, conf=0.3)
    assert "ImageNet's" in card.provenance["assumed"][0]
    with Detector(path) as detector:
        require_same(ranked(source, FRAMES[1], NAMES, imagenet=True), detector.detect(FRAMES[1]))


def test_one_class(tmp_path: Path) -> None:
    source = save_repository_head(tmp_path / "net.onnx", Ranked(1, most=60))
    path, card = save_built(source, conf=0.3)
    assert card.names == ("class_0",)
    with Detector(path) as detector:
        require_same(ranked(source, FRAMES[0], ("class_0",)), detector.detect(FRAMES[0]))


def test_without_names_types_tell_a_ranked_file_once_its_family_is_said(tmp_path: Path) -> None:
    source = save_repository_head(tmp_path / "net.onnx", Ranked(), ("a", "b", "c"))
    model = onnx.load(str(source))
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = {"images": "x", "orig_target_sizes": "y"}.get(name, name)
    model.graph.input[0].name, model.graph.input[1].name = "x", "y"
    onnx.save(model, str(tmp_path / "bare.onnx"))
    path, _ = save_built(tmp_path / "bare.onnx", family="rtdetr", classes=NAMES, conf=0.3)
    with Detector(path) as detector:
        require_same(ranked(source, FRAMES[1], NAMES), detector.detect(FRAMES[1]))


def test_names_that_numbers_contradict_are_refused(tmp_path: Path) -> None:
    source = save_repository_head(tmp_path / "net.onnx", Ranked(), ("scores", "boxes", "labels"))
    refuse(source, "output 'labels' holds scores; the names of its outputs are mixed up")


def test_a_ranked_file_that_cannot_be_read_so_is_refused(tmp_path: Path) -> None:
    source = save_repository_head(tmp_path / "net.onnx", Ranked())
    refuse(source, "has 3 classes, but 2 names were given", CheckpointError, classes=("a", "b"))
    refuse(source, "works without NMS, --iou 0.5", UsageError, iou=0.5)
    refuse(source, "--max-detections is 41, but the network has 40", UsageError, max_detections=41)
    refuse(poisoned(source), "values that are not finite")
    refuse(
        save_repository_head(tmp_path / "sized.onnx", Ranked(sized=False)),
        "for a picture of size 1x1: it does not multiply",
    )
    refuse(save_repository_head(tmp_path / "other.onnx", Queries()), "not those of RT-DETR", family="rtdetr")


@pytest.mark.parametrize(
    ("columns", "names", "labels"),
    [
        (3, NAMES, {0: 0, 1: 1, 2: 2}),
        (4, (*NAMES, "background"), {0: 0, 1: 1, 2: 2}),
        (4, ("background", *NAMES), {1: 0, 2: 1, 3: 2}),
        (1, ("cat",), {0: 0}),
    ],
)
def test_rfdetrs_columns_are_classes_but_for_the_background(
    tmp_path: Path, columns: int, names: tuple[str, ...], labels: dict[int, int]
) -> None:
    """Of four columns, boxes and logits have the same shape."""
    source = save_repository_head(tmp_path / "net.onnx", Queries(columns))
    path, card = save_built(source, classes=names, conf=0.3)
    wanted = tuple(name for name in names if name != "background")
    assert card.names == wanted and card.provenance["nms"] == "none"
    assert (card.input.dtype, card.resize.antialias) == ("float32", False)
    with Detector(path) as detector:
        for frame in FRAMES[1:]:
            require_same(queried(source, frame, labels, wanted), detector.detect(frame))


def test_ninety_one_columns_are_cocos_ids(tmp_path: Path) -> None:
    source = save_repository_head(tmp_path / "net.onnx", Queries(91))
    path, card = save_built(source, conf=0.3)
    names = card.names
    assert (len(names), names[0], names[11], names[79]) == (80, "person", "stop sign", "toothbrush")
    unused = {0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    ids = [index for index in range(91) if index not in unused]
    with Detector(path) as detector:
        expected = queried(source, FRAMES[1], {column: label for label, column in enumerate(ids)}, names)
        require_same(expected, detector.detect(FRAMES[1]))


def test_a_background_that_nothing_places_is_asked_for(tmp_path: Path) -> None:
    source = save_repository_head(tmp_path / "net.onnx", Queries(4))
    refuse(
        source,
        "4 columns of scores for 3 names, .* --classes cat,dog,...,background or --classes background,cat,dog,...",
        UsageError,
        classes=NAMES,
    )
    refuse(source, "4 columns of scores, but 2 names", CheckpointError, classes=NAMES[:2])


def test_queries_without_names_are_refused_with_the_readings_that_fit(tmp_path: Path) -> None:
    source = save_repository_head(tmp_path / "net.onnx", Queries(5), ("a", "b"))
    refuse(source, "--family rfdetr .*--family rtmdet .*--family mmdet", UsageError)
    for family in ("rtmdet", "mmdet"):
        refuse(source, "net.onnx gives|net.onnx: outputs", family=family)
    _, card = save_built(source, family="rfdetr")
    assert card.names == tuple(f"class_{index}" for index in range(5))


def test_mixed_up_names_of_queries_are_refused(tmp_path: Path) -> None:
    source = save_repository_head(tmp_path / "net.onnx", Queries(4), ("labels", "dets"))
    refuse(source, "'labels' holds boxes and 'dets' logits; the names of its outputs are mixed up")
    refuse(poisoned(save_repository_head(tmp_path / "nan.onnx", Queries())), "values that are not finite")
