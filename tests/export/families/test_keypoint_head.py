"""Keypoint R-CNN's graph gives torchvision's boxes and keypoints, and is static where engines need that."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from edgedet import Detector
from edgedet.artifacts.keypoint_skeleton import COCO_PERSON
from edgedet.detections import Detections
from edgedet.export.built_graph import card_of
from edgedet.export.embedded_card import embed, opened
from edgedet.export.families import faster_rcnn
from edgedet.export.families.base import GraphOptions, Pooling
from edgedet.export.finished_graph import checked
from edgedet.pictures.image_file import read_image
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import Tolerance, match_detections
from tests.export.keypoint_networks import LOGITS, keypoint_network
from tests.export.mask_networks import as_image

SMALL = {
    "min_size": 160,
    "max_size": 224,
    "rpn_pre_nms_top_n_test": 60,
    "rpn_post_nms_top_n_test": 40,
    "box_detections_per_img": 12,
}
PHOTOGRAPHS = SMALL | {"min_size": 480, "max_size": 640}
MOBILENET = "keypointrcnn_mobilenet_v3_large_fpn"
ARCHITECTURES = (MOBILENET, "keypointrcnn_resnet50_fpn")
FRAME = golden_frame(4, 240, 320)
NAMES = tuple("abcde")
NEAR = 0.5
"""Pixels of the frame."""
TIE = 0.002 * LOGITS
"""Logits of the reference by which its own highest place may lie above ours: rounding of two networks."""


@cache
def graph(arch: str, nms: Literal["graph", "runtime"] = "graph", pooling: Pooling = "operator") -> Any:
    """A checked graph of a small canvas, and its card."""
    return graph_of(keypoint_network(arch, 6, **SMALL), arch, GraphOptions(nms=nms, pooling=pooling))


def graph_of(model: Any, arch: str, options: GraphOptions, frame_size: tuple[int, int] = (320, 240)) -> Any:
    exported = faster_rcnn.export(model, options, frame_size=frame_size)
    return checked(exported.model, nms=options.nms), card_of(exported, "faster_rcnn", arch, NAMES)


def detect(made: Any, frames: list[np.ndarray]) -> list[Detections]:
    model, card = made
    with opened(embed(model, card)) as detector:
        return [detector.detect(frame) for frame in frames]


@dataclass
class Compared:
    """Keypoints of pairs of detections: how many, those within half a pixel, and ties among the others, where
    torchvision's own heatmap is as high at our place as at its own. ``alone``: detections without a partner."""

    detections: int = 0
    alone: int = 0
    keypoints: int = 0
    near: int = 0
    tied: int = 0

    def __add__(self, other: Compared) -> Compared:
        mine, theirs = astuple(self), astuple(other)
        return Compared(*(one + more for one, more in zip(mine, theirs, strict=True)))


def compare(model: Any, made: Any, frames: list[np.ndarray]) -> Compared:
    """torchvision's keypoints and ours."""
    counts = Compared()
    for frame, ours in zip(frames, detect(made, frames), strict=True):
        heat: list[Any] = []
        rois: list[Any] = []
        hooks = [
            model.roi_heads.keypoint_predictor.register_forward_hook(lambda *call, kept=heat: kept.append(call[2])),
            model.roi_heads.register_forward_hook(lambda *call, kept=rois: kept.append(call[2][0][0]["boxes"])),
        ]
        with torch.no_grad():
            (theirs,) = model([as_image(frame)])
        for hook in hooks:
            hook.remove()
        boxes, scores, labels = (theirs[name].numpy() for name in ("boxes", "scores", "labels"))
        size = (frame.shape[0], frame.shape[1])
        # Which of a frame's detections are the last that it may have is rounding.
        least = max(0.06, float(scores[-1]) + 0.001, float(ours.scores[-1]) + 0.001)
        matched = match_detections(Detections(boxes, scores, labels - 1, NAMES, size), ours, Tolerance(least))
        counts.detections += matched.reference_count
        counts.alone += len(matched.missing) + len(matched.extra)
        assert ours.keypoints is not None
        for reference, candidate in matched.pairs.tolist():
            points, mine = theirs["keypoints"][reference].numpy(), ours.keypoints[candidate]
            off = np.abs(points[:, :2] - mine[:, :2]).max(axis=1)
            counts.keypoints += len(off)
            counts.near += int((off <= NEAR).sum())
            apart = np.flatnonzero(off > NEAR)
            if len(apart):
                box = rois[0][reference]
                places = mine[apart, :2] * (box[2:].numpy() / boxes[reference][2:])
                gap = _below_the_highest(heat[0][reference], box, places, apart)
                counts.tied += int((gap <= TIE).sum())
    return counts


def _below_the_highest(maps: torch.Tensor, box: torch.Tensor, places: np.ndarray, of: np.ndarray) -> np.ndarray:
    """How much lower torchvision's enlarged heatmaps ``of`` a box are at ``places`` than at their highest."""
    sides = (box[2:] - box[:2]).clamp(min=1)
    width, height = (int(side) for side in sides.ceil())
    large = torch.nn.functional.interpolate(maps[of][:, None], size=(height, width), mode="bicubic")[:, 0].numpy()
    inside = (places - box[:2].numpy()) / sides.numpy() * (width, height)
    x, y = np.clip(np.floor(inside), 0, (width - 1, height - 1)).astype(int).T
    gap: np.ndarray = large.max(axis=(1, 2)) - large[np.arange(len(of)), y, x]
    return gap


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_keypoints_are_torchvisions(arch: str) -> None:
    frames = [FRAME, golden_frame(7, 240, 320)]
    found = compare(keypoint_network(arch, 6, **SMALL), graph(arch), frames)
    assert found.detections >= 15 and found.alone <= 0.1 * found.detections
    assert found.near + found.tied == found.keypoints and found.tied <= 0.02 * found.keypoints, found


def test_photographs_of_coco(shared: Path) -> None:
    paths = sorted((shared / "data" / "coco128").rglob("*.jpg"))
    frames = [frame for path in paths[:45] if (frame := read_image(path)).shape[:2] == (480, 640)][:8]
    assert len(frames) == 8
    model = keypoint_network(MOBILENET, 6, full=True, spread=0.5, examples=tuple(paths[:8]), **PHOTOGRAPHS)
    found = compare(model, graph_of(model, MOBILENET, GraphOptions(pooling="products")), frames)
    assert found.detections >= 60 and found.alone == 0, found
    assert found.near >= 0.995 * found.keypoints, found
    assert found.near + found.tied == found.keypoints, found


def test_keypoints_have_places_of_their_own() -> None:
    """So that agreement says something: they are inside their boxes, apart, and not all in a corner."""
    (found,) = detect(graph(MOBILENET), [FRAME])
    assert found.keypoints is not None and found.skeleton is not None
    assert found.skeleton.names == COCO_PERSON.names and found.skeleton.links == COCO_PERSON.links
    low, high = found.boxes[:, None, :2], found.boxes[:, None, 2:]
    inside = (found.keypoints[..., :2] - low) / (high - low)
    assert inside.min() >= -0.05 and inside.max() <= 1.05
    assert (inside.std(axis=1) > 0.1).all(), "17 places, not one"
    assert np.mean((inside > 0.1) & (inside < 0.9)) > 0.4


def test_an_engines_graph_gives_the_same_without_the_operator() -> None:
    made = graph(MOBILENET, "runtime", "plain")
    model, card = made
    operators = {node.op_type for node in model.graph.node}
    assert not {"NonMaxSuppression", "RoiAlign"} & operators
    assert card.output.format == "detections" and card.provenance["nms"] == "steps"
    for ours, usual in zip(detect(made, [FRAME]), detect(graph(MOBILENET), [FRAME]), strict=True):
        np.testing.assert_allclose(ours.boxes, usual.boxes, atol=1e-2)
        assert ours.keypoints is not None and usual.keypoints is not None
        np.testing.assert_allclose(ours.keypoints[..., 2], usual.keypoints[..., 2], atol=TIE)
        assert np.mean(np.abs(ours.keypoints - usual.keypoints)[..., :2] <= NEAR) > 0.98


def test_openvino_gives_the_same(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from edgedet.export.embedded_card import graph_bytes

    path = tmp_path / "pose.onnx"
    path.write_bytes(graph_bytes(embed(*graph(MOBILENET))))
    with Detector(path, runtime="openvino") as detector:
        ours = detector.detect(FRAME)
    (usual,) = detect(graph(MOBILENET), [FRAME])
    assert ours.keypoints is not None and usual.keypoints is not None and len(ours) == len(usual)
    np.testing.assert_allclose(ours.boxes, usual.boxes, atol=0.05)
    assert np.mean(np.abs(ours.keypoints - usual.keypoints)[..., :2] <= NEAR) > 0.98


def test_rows_past_the_last_are_zero_and_all_follow_the_threshold() -> None:
    model, card = graph(MOBILENET)
    with opened(embed(model, card)) as detector:
        found = detector.detect(FRAME)
        between = float(found.scores[4:6].mean())
        content = detector.path.read_bytes()
    with Detector(content, conf=between) as above:
        fewer = above.detect(FRAME)
        assert fewer.keypoints is not None and found.keypoints is not None and len(fewer) == 5
        np.testing.assert_array_equal(fewer.keypoints, found.keypoints[:5])
        size = (card.input.height, card.input.width)
        outputs = above._runtime.run({"images": np.full((1, *size, 3), 90, card.input.dtype)})
        count = int(outputs["count"][0])
        assert outputs["keypoints"].shape == (1, 12, 17, 28, 28) and not outputs["keypoints"][0, count:].any()
