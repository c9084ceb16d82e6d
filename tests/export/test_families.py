"""Every architecture's graph gives what torchvision's own inference gives, and keeps the contract."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from edgedet.detections import Detections
from edgedet.export.families import faster_rcnn, ssd
from edgedet.export.families.base import Exported, GraphOptions
from edgedet.export.families.torchvision_architectures import ARCHITECTURES, build
from edgedet.export.finished_graph import checked
from edgedet.geometry import plan_resize
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import Tolerance, match_detections
from tests.export.narrow import narrow
from tests.export.thin import thin

CLASSES = 6
SMALL: dict[str, dict[str, Any]] = {
    "ssdlite320_mobilenet_v3_large": {},
    "ssd300_vgg16": {},
    "fasterrcnn_mobilenet_v3_large_320_fpn": {"min_size": 160, "max_size": 320},
    "fasterrcnn_mobilenet_v3_large_fpn": {"min_size": 160, "max_size": 320, "rpn_pre_nms_top_n_test": 200},
    "fasterrcnn_resnet50_fpn": {
        "min_size": 160,
        "max_size": 320,
        "rpn_pre_nms_top_n_test": 200,
        "rpn_post_nms_top_n_test": 100,
    },
    "fasterrcnn_vgg16": {
        "min_size": 160,
        "max_size": 320,
        "rpn_pre_nms_top_n_test": 200,
        "rpn_post_nms_top_n_test": 60,
    },
    "fasterrcnn_resnet50_c4": {
        "min_size": 160,
        "max_size": 320,
        "rpn_pre_nms_top_n_test": 200,
        "rpn_post_nms_top_n_test": 40,
    },
    **{
        arch: {
            "min_size": 160,
            "max_size": 320,
            "rpn_pre_nms_top_n_test": 200,
            "rpn_post_nms_top_n_test": 40,
        }
        for arch in (
            "fasterrcnn_mobilenet_v2_features",
            "fasterrcnn_vgg16_features",
            "fasterrcnn_vgg16_features_conv5",
        )
    },
}
BEYOND_BOXES = {
    arch: {"min_size": 160, "max_size": 320, "rpn_pre_nms_top_n_test": 60, "rpn_post_nms_top_n_test": 40}
    for arch in (
        "keypointrcnn_mobilenet_v3_large_fpn",
        "keypointrcnn_resnet50_fpn",
        "maskrcnn_mobilenet_v3_large_fpn",
        "maskrcnn_resnet50_fpn",
    )
}
"""With their masks and keypoints they are compared in families/test_mask_head.py and test_keypoint_head.py."""
FRAME = golden_frame(4, 240, 320)


@cache
def detector(arch: str, **overrides: Any) -> Any:
    """Untrained, but with scores that differ enough for an order to exist."""
    torch.manual_seed(7)
    model: Any = narrow(thin(build(arch, CLASSES, **(SMALL[arch] | overrides)).eval()))
    layers = (
        [model.roi_heads.box_predictor.cls_score, model.rpn.head.cls_logits]
        if hasattr(model, "rpn")
        else [module for module in model.head.classification_head.modules() if isinstance(module, torch.nn.Conv2d)]
    )
    hooks = [layer.register_forward_pre_hook(spread) for layer in layers]
    norms = [module for module in model.backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.train().momentum = 1.0
    with torch.no_grad():
        model([as_image(FRAME), as_image(golden_frame(5, 240, 320))])
    model.eval()
    for hook in hooks:
        hook.remove()
    return model


def spread(layer: Any, inputs: tuple[torch.Tensor, ...]) -> None:
    """Weights under which logits have a standard deviation of about 2, whatever the untrained features are."""
    (features,) = inputs
    fan_in = layer.weight[0].numel()
    generator = torch.Generator().manual_seed(fan_in)
    rms = float(features.square().mean().sqrt())
    layer.weight.data.normal_(0, 2 / (fan_in**0.5 * max(rms, 1e-6)), generator=generator)


def export(model: Any, options: GraphOptions, frame: np.ndarray = FRAME) -> Exported:
    """By family, on a canvas shaped like the frame."""
    if hasattr(model, "rpn"):
        return faster_rcnn.export(model, options, frame_size=(frame.shape[1], frame.shape[0]))
    return ssd.export(model, options)


def as_image(frame: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frame[:, :, ::-1])).permute(2, 0, 1).float() / 255


def torchvision_detections(model: Any, frame: np.ndarray, dtype: torch.dtype = torch.float32) -> Detections:
    with torch.no_grad():
        found = model([as_image(frame).to(dtype)])[0]
    return Detections(
        found["boxes"].float().numpy(),
        found["scores"].float().numpy(),
        found["labels"].numpy().astype(np.int32) - 1,
        names=tuple(f"class_{index}" for index in range(CLASSES - 1)),
        frame_size=frame.shape[:2],
    )


def graph_outputs(exported: Exported, frames: list[np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(exported.model.SerializeToString(), providers=["CPUExecutionProvider"])
    spec = exported.input
    images = []
    for frame in frames:
        plan = plan_resize(exported.resize, *frame.shape[:2], spec.height, spec.width)
        assert (plan.height, plan.width) == (spec.height, spec.width)
        images.append(cv2.resize(frame.astype(np.float32), (spec.width, spec.height)))
    outputs: list[np.ndarray] = session.run(None, {"images": np.stack(images)})
    return outputs


def graph_detections(exported: Exported, frames: list[np.ndarray]) -> list[Detections]:
    boxes, scores, labels, count = graph_outputs(exported, frames)
    results = []
    for row, frame in enumerate(frames):
        plan = plan_resize(exported.resize, *frame.shape[:2], exported.input.height, exported.input.width)
        found = int(count[row])
        assert not boxes[row, found:].any() and not scores[row, found:].any() and not labels[row, found:].any()
        assert (np.diff(scores[row, :found]) <= 0).all()
        results.append(
            Detections(
                plan.to_frame(boxes[row, :found]),
                scores[row, :found],
                labels[row, :found],
                names=tuple(f"class_{index}" for index in range(CLASSES - 1)),
                frame_size=frame.shape[:2],
            )
        )
    return results


def assert_same(model: Any, frame: np.ndarray, candidate: Detections) -> None:
    """What torchvision finds, in float32 or in float64.

    Untrained scores lie so close together that the noise of float32 decides some of NMS: for one proposal of 40,
    torchvision's own two precisions differ by four detections. Trained detectors are held to 99.5 %.
    """
    disagreements = []
    for reference in (
        torchvision_detections(model, frame),
        torchvision_detections(deepcopy(model).double(), frame, torch.float64),
    ):
        report = match_detections(reference, candidate, Tolerance(min_score=0.0))
        assert report.reference_count > 20, "the untrained detector finds too little to compare"
        disagreements.append(max(len(report.missing), len(report.extra)) / report.reference_count)
    assert min(disagreements) <= 0.05


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES.keys() - BEYOND_BOXES))
def test_graph_gives_torchvisions_detections(arch: str) -> None:
    model = detector(arch)
    exported = export(model, GraphOptions())
    checked(exported.model, nms="graph")
    (found,) = graph_detections(exported, [FRAME])
    assert_same(model, FRAME, found)


@pytest.mark.parametrize("batch", [1, 2])
def test_only_classes_that_can_pass_the_threshold_are_decoded(batch: int) -> None:
    model = deepcopy(detector("fasterrcnn_mobilenet_v3_large_320_fpn"))
    model.roi_heads.score_thresh = 0.35
    exported = export(model, GraphOptions(batch=batch))
    checked(exported.model, nms="graph")
    decoded = next(node for node in exported.model.graph.node if node.name == "scores/likely")
    kept = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in exported.model.graph.initializer}
    assert kept[decoded.input[1]].tolist() == [2]
    frames = [FRAME, golden_frame(5, 240, 320)][:batch]
    for frame, found in zip(frames, graph_detections(exported, frames), strict=True):
        reference = torchvision_detections(model, frame)
        assert len(set(reference.labels.tolist())) > 1, "one class would not tell them apart"
        assert_same(model, frame, found)


@pytest.mark.parametrize("batch", [1, 2])
def test_pooling_by_products_gives_the_same_detections(batch: int) -> None:
    model = detector("fasterrcnn_mobilenet_v3_large_320_fpn")
    exported = export(model, GraphOptions(batch=batch, pooling="products"))
    checked(exported.model, nms="graph")
    assert "RoiAlign" not in {node.op_type for node in exported.model.graph.node}
    frames = [FRAME, golden_frame(5, 240, 320)][:batch]
    for frame, found in zip(frames, graph_detections(exported, frames), strict=True):
        assert_same(model, frame, found)


@pytest.mark.parametrize("arch", ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_batch_serves_every_image_as_if_alone(arch: str) -> None:
    model = detector(arch)
    frames = [FRAME, golden_frame(5, 240, 320), golden_frame(6, 240, 320)]
    exported = export(model, GraphOptions(batch=3))
    checked(exported.model, nms="graph")
    for frame, found in zip(frames, graph_detections(exported, frames), strict=True):
        assert_same(model, frame, found)


@pytest.mark.parametrize(
    ("arch", "limit"), [("ssdlite320_mobilenet_v3_large", 450), ("fasterrcnn_mobilenet_v3_large_320_fpn", 700)]
)
def test_graph_is_small(arch: str, limit: int) -> None:
    exported = export(detector(arch), GraphOptions())
    assert len(checked(exported.model, nms="graph").graph.node) < limit


@pytest.mark.parametrize("arch", ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_runtime_nms_leaves_the_candidates(arch: str) -> None:
    exported = export(detector(arch), GraphOptions(nms="runtime"))
    model = checked(exported.model, nms="runtime")
    assert exported.output.format == "candidates"
    assert not any(node.op_type == "NonMaxSuppression" for node in model.graph.node)
    boxes, scores = graph_outputs(exported, [FRAME])
    assert boxes.shape[:2] == scores.shape[:2] and boxes.shape[2] == 4
    per_class = exported.output.box_layout == "per_class"
    assert scores.shape[2] == (1 if per_class else CLASSES - 1)
    assert 0 < scores.max() <= 1 and (boxes[..., 2:] >= boxes[..., :2]).all()


def test_options_reach_the_graph() -> None:
    model = detector("ssdlite320_mobilenet_v3_large")
    everything = graph_detections(export(model, GraphOptions(conf=0.0, max_detections=300)), [FRAME])[0]
    threshold = float(np.median(everything.scores))
    few = graph_detections(export(model, GraphOptions(conf=threshold, max_detections=300)), [FRAME])[0]
    assert 0 < len(few) < len(everything) and (few.scores > threshold).all()
    assert len(graph_detections(export(model, GraphOptions(max_detections=7)), [FRAME])[0]) == 7
    strict = graph_detections(export(model, GraphOptions(iou=0.0, max_detections=300)), [FRAME])[0]
    assert len(strict) < len(everything)


def test_proposals_bound_the_boxes_of_a_faster_rcnn() -> None:
    exported = export(
        detector("fasterrcnn_mobilenet_v3_large_320_fpn", rpn_post_nms_top_n_test=4), GraphOptions(nms="runtime")
    )
    boxes, _ = graph_outputs(exported, [FRAME])
    assert boxes.shape[1] == 4 * (CLASSES - 1)


def test_normalisation_is_per_channel_and_in_the_trained_order() -> None:
    model = deepcopy(detector("ssdlite320_mobilenet_v3_large"))
    model.transform.image_mean = [0.1, 0.5, 0.9]
    model.transform.image_std = [0.2, 0.4, 0.8]
    assert_same(model, FRAME, graph_detections(export(model, GraphOptions()), [FRAME])[0])


def test_graphs_pass_the_checker_with_all_shapes_known() -> None:
    model = checked(export(detector("ssdlite320_mobilenet_v3_large"), GraphOptions()).model, nms="graph")
    onnx.checker.check_model(model, full_check=True)
    known = {value.name for value in model.graph.value_info} | {value.name for value in model.graph.output}
    assert {name for node in model.graph.node for name in node.output} <= known
