"""Mask R-CNN's graph gives torchvision's boxes and masks, and is static where engines need that."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
import torch

from edgedet.detections import Detections
from edgedet.export.built_graph import card_of
from edgedet.export.embedded_card import embed, opened
from edgedet.export.families import faster_rcnn
from edgedet.export.families.base import GraphOptions, Pooling
from edgedet.export.finished_graph import checked
from edgedet.masks.base import Masks
from edgedet.masks.box_masks import _stretched
from edgedet.pictures.image_file import read_image
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import Tolerance, match_detections
from tests.export.mask_networks import as_image, mask_network

NAMES = tuple("abcde")
SMALL = {
    "min_size": 160,
    "max_size": 224,
    "rpn_pre_nms_top_n_test": 60,
    "rpn_post_nms_top_n_test": 40,
    "box_detections_per_img": 12,
}
PHOTOGRAPHS = SMALL | {"min_size": 480, "max_size": 640}
"""As large as the frames: a smaller canvas magnifies rounding on the way back, and corners become whole pixels."""
MOBILENET = "maskrcnn_mobilenet_v3_large_fpn"
ARCHITECTURES = (MOBILENET, "maskrcnn_resnet50_fpn")
FRAME = golden_frame(4, 240, 320)


@cache
def graph(arch: str, nms: Literal["graph", "runtime"] = "graph", pooling: Pooling = "operator") -> Any:
    """A checked graph of a small canvas, and its card."""
    return graph_of(mask_network(arch, 6, **SMALL), arch, GraphOptions(nms=nms, pooling=pooling))


def graph_of(model: Any, arch: str, options: GraphOptions) -> Any:
    exported = faster_rcnn.export(model, options, frame_size=(320, 240))
    return checked(exported.model, nms=options.nms), card_of(exported, "faster_rcnn", arch, NAMES)


def detect(made: Any, frames: list[np.ndarray]) -> list[Detections]:
    model, card = made
    with opened(embed(model, card)) as detector:
        return [detector.detect(frame) for frame in frames]


def torchvisions(model: Any, frame: np.ndarray) -> tuple[Detections, np.ndarray]:
    """torchvision's detections, and its masks pasted by itself, bool [N, H, W]."""
    with torch.no_grad():
        (found,) = model([as_image(frame).to(next(model.parameters()).dtype)])
    boxes, scores, labels = (found[name].numpy() for name in ("boxes", "scores", "labels"))
    detections = Detections(boxes, scores, labels - 1, NAMES, (frame.shape[0], frame.shape[1]))
    return detections, (found["masks"][:, 0] > 0.5).numpy()


def overlaps(model: Any, made: Any, frames: list[np.ndarray]) -> tuple[list[float], int, int]:
    """Mask IoU of every pair of detections, how many torchvision has, and how many have no partner.

    torchvision cuts corners to whole pixels, so that a thousandth of a pixel between two resizings can move a whole
    mask by one. Such pairs are left out, and counted among those without a partner.
    """
    ious: list[float] = []
    count = alone = 0
    for frame, ours in zip(frames, detect(made, frames), strict=True):
        theirs, pasted = torchvisions(model, frame)
        matched = match_detections(theirs, ours, Tolerance(min_score=0.06))
        count, alone = count + matched.reference_count, alone + len(matched.missing) + len(matched.extra)
        assert ours.masks is not None
        for reference, candidate in matched.pairs:
            if _stretched(theirs.boxes[reference], 28) != _stretched(ours.boxes[candidate], 28):
                alone += 1
                continue
            mine = ours.masks.full(int(candidate))
            union = (mine | pasted[reference]).sum()
            ious.append(float((mine & pasted[reference]).sum() / union) if union else 1.0)
    return ious, count, alone


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_masks_are_torchvisions(arch: str) -> None:
    ious, count, alone = overlaps(mask_network(arch, 6, **SMALL), graph(arch), [FRAME, golden_frame(7, 240, 320)])
    assert count >= 15 and alone <= 0.1 * count
    assert np.mean(np.array(ious) >= 0.99) >= 0.995, sorted(ious)[:5]


def test_masks_have_shapes() -> None:
    """So that agreement says something: neither empty nor full, with edges where the object's are."""
    (found,) = detect(graph(MOBILENET), [FRAME])
    assert found.masks is not None
    filled = (found.masks.bitmaps > 0.5).mean(axis=(1, 2))
    assert np.mean((filled > 0.05) & (filled < 0.95)) > 0.7
    edges = np.abs(np.diff(found.masks.bitmaps > 0.5, axis=2)).mean()
    assert edges < 0.25, "not noise from cell to cell"


def test_photographs_of_coco(shared: Path) -> None:
    paths = sorted((shared / "data" / "coco128").rglob("*.jpg"))
    frames = [frame for path in paths[:60] if (frame := read_image(path)).shape[:2] == (480, 640)][:12]
    assert len(frames) == 12
    model = mask_network(MOBILENET, 6, full=True, spread=0.5, examples=tuple(paths[:8]), **PHOTOGRAPHS)
    ious, count, alone = overlaps(model, graph_of(model, MOBILENET, GraphOptions(pooling="products")), frames)
    assert count >= 100 and alone <= 0.01 * count
    assert np.mean(np.array(ious) >= 0.99) >= 0.995, sorted(ious)[:5]
    assert min(ious) >= 0.95


@pytest.mark.parametrize("pooling", ["operator", "plain", "products"])
def test_an_engines_graph_gives_the_same_without_the_operator(pooling: Pooling) -> None:
    """What is left to the runtime elsewhere is done in matrix steps, since masks are of the final detections."""
    made = graph(MOBILENET, "runtime", pooling)
    model, card = made
    operators = {node.op_type for node in model.graph.node}
    assert "NonMaxSuppression" not in operators
    assert ("RoiAlign" in operators) == (pooling == "operator")
    assert card.output.format == "detections" and card.provenance["nms"] == "steps"
    for ours, usual in zip(detect(made, [FRAME]), detect(graph(MOBILENET), [FRAME]), strict=True):
        np.testing.assert_array_equal(ours.labels, usual.labels)
        np.testing.assert_allclose(ours.boxes, usual.boxes, atol=1e-2)
        assert ours.masks is not None and usual.masks is not None
        np.testing.assert_allclose(ours.masks.bitmaps, usual.masks.bitmaps, atol=1e-3)


def test_only_the_last_layer_of_the_detected_class_is_computed() -> None:
    model, _ = graph(MOBILENET)
    model = onnx.shape_inference.infer_shapes(model)
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in model.graph.value_info
    }
    assert shapes["masks/logits"] == [12, 4, 1, 14 * 14]
    assert not [shape for shape in shapes.values() if shape[1:] in ([6, 28, 28], [5, 28, 28], [4, 5, 14 * 14])]


def test_rows_past_the_last_are_zero_and_all_follow_the_threshold() -> None:
    model, card = graph(MOBILENET)
    with opened(embed(model, card)) as detector:
        found = detector.detect(FRAME)
        (between,) = (float(found.scores[4:6].mean()),)
        path = detector.path.read_bytes()
    from edgedet import Detector

    with Detector(path, conf=between) as above:
        fewer = above.detect(FRAME)
        assert isinstance(fewer.masks, Masks) and len(fewer) == len(fewer.masks) == 5
        assert found.masks is not None
        np.testing.assert_array_equal(fewer.masks.bitmaps, found.masks.bitmaps[:5])
        outputs = above._runtime.run({"images": np.full((1, *_size(card), 3), 90, card.input.dtype)})
        count = int(outputs["count"][0])
        assert outputs["masks"].shape == (1, 12, 28, 28) and not outputs["masks"][0, count:].any()


def _size(card: Any) -> tuple[int, int]:
    return card.input.height, card.input.width
