"""Detectors saved whole and read without their code: what is theirs is taken over, or refused by name."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator

from edgedet.errors import CheckpointError, UntrustedCheckpointError
from edgedet.export.checkpoints.trained import load_trained
from edgedet.export.families import faster_rcnn
from edgedet.export.families.base import GraphOptions
from edgedet.export.families.torchvision_architectures import build
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.export.training.settings import TrainingSettings
from tests.export.checkpoints.telling_detectors import RCNN, SSDLITE, equal, found, telling, usual

Plant = Callable[[Any], object]


@functools.cache
def detector(arch: str) -> Any:
    return telling(arch).eval()


def saved(arch: str, plant: Plant, folder: Path) -> tuple[Any, Path]:
    model = copy.deepcopy(detector(arch))
    plant(model)
    torch.save(model, folder / "m.pt")
    return model, folder / "m.pt"


def put(where: str, **values: Any) -> Plant:
    """Attributes of a part, box coders among the parts."""

    def plant(model: Any) -> None:
        part = functools.reduce(getattr, where.split("."), model) if where else model
        for name, value in values.items():
            setattr(part, name, value)

    return plant


def one_norm(model: Any) -> None:
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    norms[3].eps = norms[7].eps = 0.3


TAKEN_OVER = [
    (SSDLITE, put("", nms_thresh=0.05)),
    (SSDLITE, put("", score_thresh=0.9)),
    (SSDLITE, put("", detections_per_img=3)),
    (SSDLITE, put("", topk_candidates=2)),
    (SSDLITE, put("box_coder", bbox_xform_clip=0.01)),
    (SSDLITE, one_norm),
    (RCNN, put("roi_heads", nms_thresh=0.1, detections_per_img=7)),
    (RCNN, put("roi_heads", score_thresh=0.6)),
    (RCNN, put("rpn", nms_thresh=0.2)),
    (RCNN, put("rpn", score_thresh=0.545)),
    (RCNN, put("rpn", _pre_nms_top_n={"training": 2000, "testing": 5})),
    (RCNN, put("rpn", _post_nms_top_n={"training": 2000, "testing": 4})),
    (RCNN, put("rpn", min_size=60.0)),
    (RCNN, put("transform", size_divisible=128)),
    (RCNN, put("rpn.box_coder", bbox_xform_clip=0.01)),
    (RCNN, put("roi_heads.box_coder", bbox_xform_clip=0.01)),
]


@pytest.mark.parametrize(("arch", "plant"), TAKEN_OVER)
def test_what_chooses_among_boxes_is_taken_over(arch: str, plant: Plant, tmp_path: Path) -> None:
    model, path = saved(arch, plant, tmp_path)
    truth = found(model)
    assert not equal(usual(arch), truth), "the plant must matter"
    assert equal(found(load_trained(path, arch=arch).module), truth)


def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
    return None


def first(model: Any, kind: type[nn.Module]) -> Any:
    return next(part for part in model.backbone.modules() if isinstance(part, kind))


def other_activation(model: Any) -> None:
    for part in list(model.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, nn.Hardswish):
                setattr(part, name, nn.SiLU())


def dilated(model: Any) -> None:
    layer = next(part for part in model.modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (5, 5))
    layer.dilation, layer.padding = (2, 2), (4, 4)


def own_anchors(model: Any) -> None:
    model.rpn.anchor_generator.cell_anchors = [each * 2 for each in model.rpn.anchor_generator.cell_anchors]


def stale_pooling(model: Any) -> None:
    found(model)
    model.roi_heads.box_roi_pool.canonical_scale = 112


REFUSED: list[tuple[str, Plant, str]] = [
    (SSDLITE, other_activation, r"backbone\.features\.\S+ is torch.*SiLU in it, where .* has torch.*Hardswish"),
    (SSDLITE, dilated, r"backbone\.features\.\S+\.padding is \(4, 4\) in it, .* has \(2, 2\)"),
    (SSDLITE, lambda model: setattr(first(model, nn.Conv2d), "stride", (1, 1)), r"stride is \(1, 1\) in it"),
    (
        SSDLITE,
        lambda model: setattr(first(model, nn.Conv2d), "padding_mode", "reflect"),
        "padding_mode is 'reflect'",
    ),
    (SSDLITE, lambda model: first(model, nn.Hardswish).register_forward_hook(hook), "with a hook"),
    (SSDLITE, lambda model: setattr(first(model, nn.Hardswish), "forward", hook), "with a forward of its own"),
    (SSDLITE, lambda model: model.backbone.add_module("last", nn.ReLU()), r"backbone\.last is torch.*ReLU in it"),
    (
        SSDLITE,
        put("anchor_generator", scales=[0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9]),
        "_wh_pairs is other anchors than",
    ),
    (SSDLITE, put("", nms_thresh=1.5), "nms_thresh is 1.5, which cannot be meant"),
    (SSDLITE, put("transform", size_divisible=32, fixed_size=(300, 300)), "fixed_size .* and size_divisible 32"),
    (RCNN, put("transform", fixed_size=(320, 320)), r"transform\.fixed_size is \(320, 320\) in it, .* has None"),
    (RCNN, put("backbone.fpn", extra_blocks=nn.Identity()), r"backbone\.fpn\.extra_blocks is .*Identity"),
    (RCNN, put("roi_heads.box_roi_pool", output_size=(7, 5)), r"output_size is \(7, 5\) in it"),
    (RCNN, own_anchors, "cell_anchors is other anchors than its sizes give"),
    (RCNN, stale_pooling, r"map_levels\.s0 is 224 \(canonical_scale was changed later\)"),
    (RCNN, lambda model: model.backbone.body.pop("1"), r"backbone\.body\.1\.block\S+ is missing"),
]


@pytest.mark.parametrize(("arch", "plant", "words"), REFUSED)
def test_arithmetic_that_is_not_rebuilt_is_refused_by_name(
    arch: str, plant: Plant, words: str, tmp_path: Path
) -> None:
    _, path = saved(arch, plant, tmp_path)
    with pytest.raises(CheckpointError, match=words) as refused:
        load_trained(path, arch=arch)
    if isinstance(refused.value, UntrustedCheckpointError):
        assert "--trust-checkpoint" in str(refused.value)


class Own(FasterRCNN):
    """Somebody's own forward, for all that is known."""


def test_a_class_of_its_own_is_not_taken_for_torchvisions(tmp_path: Path) -> None:
    _, path = saved(RCNN, lambda model: setattr(model, "__class__", Own), tmp_path)
    with pytest.raises(UntrustedCheckpointError, match=r"the detector is \S+\.Own in it"):
        load_trained(path, arch=RCNN)


def test_what_changes_nothing_is_not_asked_about(tmp_path: Path) -> None:
    def harmless(model: Any) -> None:
        model.train()
        first(model, nn.Hardswish).inplace = False
        first(model, nn.BatchNorm2d).momentum = 0.5
        model.anchor_generator.note = "of run 12"
        model.neg_to_pos_ratio = 7
        model.transform.min_size, model.transform.max_size = (1, 2), 3  # fixed_size decides

    model, path = saved(SSDLITE, harmless, tmp_path)
    assert equal(found(load_trained(path).module), found(model.eval()))


def test_batch_norms_that_training_replaced_are_alike(tmp_path: Path) -> None:
    model = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(detector(SSDLITE)))
    torch.save(model, tmp_path / "m.pt")
    assert equal(found(load_trained(tmp_path / "m.pt").module), usual(SSDLITE))


def test_settings_that_are_given_come_before_the_files(tmp_path: Path) -> None:
    sizes = ((24, 48, 96, 192, 384),) * 3
    _, path = saved(RCNN, own_anchors, tmp_path)
    given = TrainingSettings(anchor_sizes=sizes, anchor_ratios=((0.5, 1.0, 2.0),) * 3)
    trained = load_trained(path, arch=RCNN, given=given)
    truth = copy.deepcopy(detector(RCNN))
    truth.rpn.anchor_generator = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 3)
    assert equal(found(trained.module), found(truth))
    said = "the module in the checkpoint says otherwise, and was overruled: anchor_sizes"
    assert said in trained.notes


def test_the_report_says_which_thresholds_are_the_files(tmp_path: Path) -> None:
    def plant(model: Any) -> None:
        model.nms_thresh, model.score_thresh, model.detections_per_img = 0.1, 0.05, 5

    _, path = saved(SSDLITE, plant, tmp_path)
    for trust in ("weights", "code"):
        options = ExportOptions(trust=trust, iou=0.6)  # type: ignore[arg-type]
        report = export_model(path, tmp_path / "out.onnx", options)
        output = report.card.output
        assert (output.score_threshold, output.iou_threshold, output.max_detections) == (0.05, 0.6, 5)
        (said,) = (note for note in report.notes if note.startswith("thresholds and counts as the file has them"))
        assert said.endswith(": score_thresh 0.05, detections_per_img 5, topk_candidates 300")
        assert report.card.measured["parity"]["found"] > 0.9


def test_an_ssds_graph_decodes_as_its_module_does(tmp_path: Path) -> None:
    """Each side has a weight of its own, and boxes grow no more than the coder lets them."""
    _, path = saved(SSDLITE, put("box_coder", bbox_xform_clip=0.05, weights=(10.0, 5.0, 4.0, 2.0)), tmp_path)
    agreement = export_model(path, tmp_path / "out.onnx").card.measured["parity"]
    assert agreement["detections"] > 20
    assert min(agreement["found"], agreement["confirmed"]) > 0.97


def test_a_faster_rcnns_graph_pads_and_clamps_as_its_module_does(tmp_path: Path) -> None:
    def plant(model: Any) -> None:
        model.transform.size_divisible = 128
        model.rpn.box_coder.bbox_xform_clip, model.roi_heads.box_coder.bbox_xform_clip = 0.25, 0.75

    model, _ = saved(RCNN, plant, tmp_path)
    model.rpn._post_nms_top_n["testing"] = 10
    graph = faster_rcnn.export(model, GraphOptions(), frame_size=(300, 200)).model.graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    nodes = {node.name: node for node in graph.node}
    clamps = [constants[nodes[name].input[1]] for name in ("rpn/decode/clamp", "decode/clamp")]
    assert clamps == [0.25, 0.75]
    assert constants[nodes["input/pad"].input[1]].tolist() == [0, 0, 0, 0, 0, 0, 384 - 320, 512 - 480]


@pytest.mark.parametrize(
    ("arch", "plant", "words"),
    [
        (RCNN, put("transform", fixed_size=(320, 320)), "stretches every picture to"),
        (SSDLITE, lambda model: model.transform.register_forward_hook(hook), "GeneralizedRCNNTransform has a hook"),
        (SSDLITE, put("anchor_generator", forward=hook), "DefaultBoxGenerator has a forward of its own"),
    ],
)
def test_what_no_graph_does_is_refused_with_the_code_too(
    arch: str, plant: Plant, words: str, tmp_path: Path
) -> None:
    _, path = saved(arch, plant, tmp_path)
    with pytest.raises(CheckpointError, match=words):
        load_trained(path, trust="code")


def test_every_architecture_is_like_itself(tmp_path: Path) -> None:
    for arch in ("fasterrcnn_mobilenet_v2_features", "fasterrcnn_resnet50_c4", "ssd300_vgg16"):
        torch.save(build(arch, 3).eval(), tmp_path / "m.pt")
        load_trained(tmp_path / "m.pt", arch=arch)
