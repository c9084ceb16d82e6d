"""The highest place of heatmaps is where torchvision finds it, for boxes of every size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet import Detector
from edgedet.artifacts.card import KeypointSpec, ModelCard
from edgedet.artifacts.keypoint_skeleton import COCO_PERSON, Skeleton
from edgedet.errors import ArtifactError
from edgedet.outputs.keypoint_heatmaps import find_keypoints
from tests.keypoint_detector import CORNERS, save_keypoint_graph, set_card
from tests.rectangle_detector import frame_with_rectangle

SIZES = [(0.2, 3), (1, 200), (56, 28), (20, 20), (28, 56.01), (300.4, 410.7), (55.999, 113), (640, 7.5)]


def heatmaps(kind: str, count: int) -> np.ndarray:
    noise = np.random.default_rng(5).normal(size=(count, 3, 28, 28)).astype(np.float32) * 3
    if kind == "noise":
        return noise
    if kind == "hills":
        return np.stack([[cv2.GaussianBlur(each, (0, 0), 2) * 5 for each in one] for one in noise])
    # The highest places in corners and along edges, where cells are repeated.
    edges = np.zeros_like(noise)
    edges[:, 0, 0, 0] = edges[:, 1, -1, 7] = edges[:, 2, 9, -1] = 4
    return edges + noise * np.float32(0.01)


@pytest.mark.parametrize("kind", ["noise", "hills", "edges"])
def test_keypoints_are_torchvisions(kind: str) -> None:
    torch = pytest.importorskip("torch")
    roi_heads = pytest.importorskip("torchvision.models.detection.roi_heads")
    low = np.random.default_rng(1).uniform(-5, 90, (len(SIZES), 2))
    boxes = np.concatenate([low, low + np.array(SIZES)], axis=1).astype(np.float32)
    logits = heatmaps(kind, len(boxes))
    # As torchvision's KeypointRCNNPredictor does it.
    doubled = torch.nn.functional.interpolate(
        torch.from_numpy(logits), scale_factor=2.0, mode="bilinear", recompute_scale_factor=False
    )
    places, scores = roi_heads.heatmaps_to_keypoints(doubled, torch.from_numpy(boxes))
    found = find_keypoints(logits, boxes)
    np.testing.assert_allclose(found[..., :2], places[..., :2].numpy(), atol=1e-4)
    np.testing.assert_allclose(found[..., 2], scores.numpy(), atol=1e-4)


def test_of_equal_places_the_first_is_taken_and_of_none_nothing() -> None:
    flat = find_keypoints(np.zeros((1, 2, 4, 4), np.float32), np.array([[8, 16, 16, 32]], np.float32))
    np.testing.assert_array_equal(flat, [[[8.5, 16.5, 0]] * 2])
    assert find_keypoints(np.zeros((0, 2, 4, 4), np.float32), np.zeros((0, 4), np.float32)).shape == (0, 2, 3)


def save_heatmap_graph(path: Path, logits: np.ndarray) -> ModelCard:
    """The rectangle's detector with heatmaps [J, h, w] that are always the same, over whatever box it finds."""

    card = save_keypoint_graph(path)
    names = tuple(f"point {number}" for number in range(len(logits)))
    spec = KeypointSpec("heatmaps", Skeleton(names, visible=0.0))
    card = replace(card, output=replace(card.output, keypoints=spec))
    model = onnx.load(str(path))
    del model.graph.node[-4:], model.graph.output[-1:]
    model.graph.initializer.append(numpy_helper.from_array(logits[None, None], "logits"))
    model.graph.node.append(helper.make_node("Identity", ["logits"], ["keypoints"]))
    shape = [1, 1, *logits.shape]
    model.graph.output.append(helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, shape))
    set_card(model, card)
    onnx.save(model, str(path))
    return card


def test_a_graphs_heatmaps_become_points_of_the_frame(tmp_path: Path) -> None:
    logits = np.zeros((2, 7, 7), np.float32)
    logits[0, 3, 3] = logits[1, 0, 6] = 5
    save_heatmap_graph(tmp_path / "heat.onnx", logits)
    box = (60, 40, 180, 160)
    with Detector(tmp_path / "heat.onnx") as detector:
        found = detector.detect(frame_with_rectangle(200, 300, box))
    assert found.keypoints is not None and found.skeleton is not None and found.skeleton.names[1] == "point 1"
    pixel = 300 / 64
    np.testing.assert_allclose(found.keypoints[0, 0, :2], [120, 100], atol=2 * pixel)
    np.testing.assert_allclose(found.keypoints[0, 1, :2], [180, 40], atol=3 * pixel)
    assert 3 < found.keypoints[0, 0, 2] < 5.5


def test_heatmaps_that_cannot_be_are_refused(tmp_path: Path) -> None:
    frame = frame_with_rectangle(64, 64, (10, 10, 40, 40))
    logits = np.zeros((2, 7, 7), np.float32)
    logits[0, 2, 2] = np.inf
    card = save_heatmap_graph(tmp_path / "heat.onnx", logits)
    with Detector(tmp_path / "heat.onnx") as detector, pytest.raises(ArtifactError, match="NaN or infinity"):
        detector.detect(frame)
    for spec, said in (
        (KeypointSpec("heatmaps", COCO_PERSON), r"heatmaps \[1, 2, 7, 7\], the card names 17"),
        (KeypointSpec("points", CORNERS), r"keypoints \[1, 2, 7, 7\], the card names 2"),
    ):
        model = onnx.load(str(tmp_path / "heat.onnx"))
        set_card(model, replace(card, output=replace(card.output, keypoints=spec)))
        onnx.save(model, str(tmp_path / "other.onnx"))
        with Detector(tmp_path / "other.onnx") as detector, pytest.raises(ArtifactError, match=said):
            detector.detect(frame)
    with pytest.raises(ArtifactError, match="heatmaps of the format detections only"):
        ModelCard.from_json(card.to_json().replace('"format": "detections"', '"format": "candidates"'))
