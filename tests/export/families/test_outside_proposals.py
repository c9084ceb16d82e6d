"""Without its RPN a Faster R-CNN gives what torchvision's second stage makes of the same proposals."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from torchvision.models.detection.transform import resize_boxes
from torchvision.ops import clip_boxes_to_image

from edgedet.export.families import faster_rcnn
from edgedet.export.families.base import GraphOptions, Pooling
from edgedet.export.families.faster_rcnn import feature_levels
from edgedet.export.families.torchvision_architectures import ARCHITECTURES
from edgedet.export.finished_graph import checked
from edgedet.proof.made_proposals import strewn_proposals
from tests.export.test_families import CLASSES, FRAME, SMALL, as_image, detector

PLACES = 12
TWO_STAGES = sorted(arch for arch in SMALL if ARCHITECTURES[arch].family == "faster_rcnn")


def second_stage(model: Any, frame: np.ndarray, proposals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [P * C, 4] on torchvision's canvas and scores [P * C] of every proposal and class, before NMS."""
    heads = model.roi_heads
    with torch.no_grad():
        images, _ = model.transform([as_image(frame)])
        features = feature_levels(model.backbone, images.tensors)
        size = images.image_sizes[0]
        resized = resize_boxes(torch.from_numpy(proposals), list(frame.shape[:2]), list(size))
        pooled = heads.box_roi_pool(features, [resized], images.image_sizes)
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
        boxes = clip_boxes_to_image(heads.box_coder.decode(deltas, [resized]), size)
        scores = torch.softmax(logits, -1)
    return boxes[:, 1:].reshape(-1, 4).numpy(), scores[:, 1:].reshape(-1).numpy()


def run(model: Any, options: GraphOptions, proposals: list[np.ndarray]) -> list[np.ndarray]:
    """Outputs of the graph of ``model`` for :data:`FRAME` and the proposals [N, 4] of each place of the batch."""
    exported = faster_rcnn.export(model, options, frame_size=(FRAME.shape[1], FRAME.shape[0]))
    graph = checked(exported.model, nms=options.nms)
    assert not [node.name for node in graph.graph.node if "rpn" in node.name]
    spec = exported.input
    assert spec.proposals == PLACES
    image = cv2.resize(FRAME.astype(np.float32), (spec.width, spec.height))
    scale = np.array([spec.width / FRAME.shape[1], spec.height / FRAME.shape[0]] * 2, np.float32)
    boxes = np.zeros((len(proposals), PLACES, 4), np.float32)
    for row, given in zip(boxes, proposals, strict=True):
        row[: len(given)] = given * scale
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs: list[np.ndarray] = session.run(
        None,
        {
            "images": np.stack([image] * len(proposals)),
            "proposals": boxes,
            "proposal_count": np.array([len(given) for given in proposals], np.int32),
        },
    )
    return outputs


@pytest.mark.parametrize("arch", TWO_STAGES)
def test_every_proposal_gives_what_torchvision_makes_of_it(arch: str) -> None:
    model = detector(arch)
    proposals = strewn_proposals(*FRAME.shape[:2], PLACES - 3)
    boxes, scores = run(model, GraphOptions(nms="runtime", outside_proposals=PLACES), [proposals])
    expected_boxes, expected_scores = second_stage(model, FRAME, proposals)
    known = len(expected_scores)
    assert known == len(proposals) * (CLASSES - 1) and expected_scores.std() > 0.01
    # Parity's usual limit: untrained features carry the rounding of another resize this far (MobileNetV2: 5e-4).
    np.testing.assert_allclose(scores[0, :known, 0], expected_scores, atol=1e-3)
    np.testing.assert_allclose(boxes[0, :known], expected_boxes, atol=0.3)
    assert not scores[0, known:].any(), "places without a proposal find nothing"
    assert np.isfinite(boxes).all()


@pytest.mark.parametrize("pooling", ["products", "plain"])
def test_pooling_in_other_ways_gives_the_same(pooling: Pooling) -> None:
    model = detector("fasterrcnn_mobilenet_v3_large_320_fpn")
    proposals = strewn_proposals(*FRAME.shape[:2], PLACES)
    usual, other = (
        run(model, GraphOptions(nms="runtime", outside_proposals=PLACES, pooling=way), [proposals])
        for way in ("operator", pooling)
    )
    np.testing.assert_allclose(other[1], usual[1], atol=1e-4)
    np.testing.assert_allclose(other[0], usual[0], atol=0.02)


def test_each_place_of_a_batch_has_its_own_proposals() -> None:
    model = detector("fasterrcnn_mobilenet_v3_large_320_fpn")
    proposals = strewn_proposals(*FRAME.shape[:2], PLACES)
    options = GraphOptions(batch=2, outside_proposals=PLACES)
    boxes, scores, _, count = run(model, options, [proposals[:4], proposals[4:]])
    assert count[0] and count[1] and not np.array_equal(boxes[0], boxes[1])
    for place, given in enumerate((proposals[:4], proposals[4:])):
        alone = run(model, GraphOptions(outside_proposals=PLACES), [given])
        found = int(alone[3][0])
        assert count[place] == found
        np.testing.assert_allclose(scores[place, :found], alone[1][0, :found], atol=1e-5)
        np.testing.assert_allclose(boxes[place, :found], alone[0][0, :found], atol=1e-2)


def test_the_network_is_smaller_by_its_rpn() -> None:
    model = detector("fasterrcnn_mobilenet_v3_large_320_fpn")
    size = (FRAME.shape[1], FRAME.shape[0])
    whole = faster_rcnn.export(model, GraphOptions(nms="runtime"), frame_size=size).model
    second = faster_rcnn.export(model, GraphOptions(nms="runtime", outside_proposals=PLACES), frame_size=size).model
    assert len(second.graph.node) < len(whole.graph.node) - 100
    rpn = sum(parameter.numel() for parameter in model.rpn.parameters())
    assert second.ByteSize() < whole.ByteSize() - 4 * rpn * 0.9
