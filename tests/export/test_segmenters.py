"""Networks for semantic segmentation, from the file of their weights to maps that are their framework's own."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from edgedet import ClassMap, Segmenter
from edgedet.artifacts.card import ModelCard
from edgedet.cli import main
from edgedet.errors import AssumptionError, CheckpointError, UntrustedCheckpointError, UsageError
from edgedet.export import export_model
from edgedet.export.embedded_card import embed, opened_segmenter
from edgedet.export.finished_graph import checked
from edgedet.export.options import ExportOptions, ExportReport
from edgedet.export.segmentation.architectures import ARCHITECTURES, guess_architecture
from edgedet.export.segmentation.fully_convolutional import bilinear_kernel, start_bilinear
from edgedet.export.segmentation.graph import Preparation, export
from edgedet.export.segmentation.reference import SegmentationReference
from edgedet.export.segmentation.trained import IMAGENET
from edgedet.export.training.settings import TrainingSettings
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.map_parity import compare_maps
from tests.export.segmentation_networks import balanced, segmentation_network

LRASPP = "lraspp_mobilenet_v3_large"
FAMILIES = {LRASPP: 96, "fcn8s_vgg16": 64}
"""Architecture to the shortest side of its canvas."""
SISTERS = {"fcn_resnet50": 64, "fcn16s_vgg16": 64, "fcn32s_vgg16": 64, "fcn_resnet18_transposed": 64}
"""Those of which the graph alone is made: an export proves it on a dozen frames."""
WIDTH = 160
FRAME = golden_frame(2, 240, 320)


def saved(arch: str, path: Path) -> Path:
    torch.save(segmentation_network(arch, width=WIDTH).state_dict(), path)
    return path


@pytest.fixture(scope="module", name="exported")
def _exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ExportReport]:
    folder = tmp_path_factory.mktemp("segmenters")
    made = {}
    for arch, side in FAMILIES.items():
        options = ExportOptions(imgsz=(side, side), frame_size=(320, 240))
        made[arch] = export_model(saved(arch, folder / f"{arch}.pt"), options=options)
    return made


def reference(arch: str, card: ModelCard, side: int) -> SegmentationReference:
    preparation = Preparation(side, *IMAGENET, "RGB", ARCHITECTURES[arch].multiple)
    return SegmentationReference(segmentation_network(arch, width=WIDTH), card, preparation)


@pytest.mark.parametrize("arch", SISTERS)
def test_graphs_of_their_sisters_give_the_frameworks_classes(arch: str) -> None:
    network = segmentation_network(arch, width=WIDTH)
    preparation = Preparation(SISTERS[arch], *IMAGENET, "RGB", ARCHITECTURES[arch].multiple)
    made = export(network, preparation, (320, 240))
    card = ModelCard("fcn", arch, tuple("abcdef"), made.input, made.resize, made.output)
    wanted = SegmentationReference(network, card, preparation)
    with opened_segmenter(embed(checked(made.model, nms="graph"), card)) as segmenter:
        found = segmenter.segment(FRAME)
    assert compare_maps(wanted(FRAME), found).share >= 0.999 and len(found) >= 2
    assert guess_architecture(network.state_dict()) == arch


def segmented(path: Path, frame: np.ndarray = FRAME, **settings: Any) -> ClassMap:
    with Segmenter(path, **settings) as segmenter:
        return segmenter.segment(frame)


@pytest.mark.parametrize("arch", FAMILIES)
def test_classes_are_the_frameworks_own(arch: str, exported: dict[str, ExportReport]) -> None:
    report = exported[arch]
    card = report.card
    assert (card.task, card.architecture, card.family) == ("segmentation", arch, ARCHITECTURES[arch].family)
    assert card.measured["parity"]["equal"] >= 0.999 and card.measured["parity"]["classes"] >= 3
    assert min(card.input.height, card.input.width) == FAMILIES[arch]
    wanted = reference(arch, card, FAMILIES[arch])
    # One that is shaped like the canvas, and one that leaves a border on it.
    for frame in (FRAME, golden_frame(3, 200, 150)):
        found = segmented(report.path, frame)
        assert compare_maps(wanted(frame), found).share >= 0.999 and len(found) >= 2


def test_the_checkpoint_itself_gives_torchvisions_own_answer(exported: dict[str, ExportReport]) -> None:
    """End to end with torchvision's preset, on a frame of the canvas's shape: resized, normalised, stretched."""
    path = exported[LRASPP].path.with_suffix(".pt")
    frame = cv2.resize(FRAME, (693, 520))  # the preset leaves it as it is
    image = torch.from_numpy(np.ascontiguousarray(frame[:, :, ::-1])).permute(2, 0, 1)
    from torchvision.transforms._presets import SemanticSegmentation

    with torch.inference_mode():
        scores = segmentation_network(LRASPP, width=WIDTH)(SemanticSegmentation(resize_size=520)(image)[None])[
            "out"
        ]
    found = segmented(path, frame, runtime="torch")
    assert compare_maps(ClassMap(scores[0].argmax(0).numpy().astype(np.uint8), found.names), found).share > 0.9999


def test_openvino_gives_the_same_classes(exported: dict[str, ExportReport]) -> None:
    pytest.importorskip("openvino", reason="needs openvino")
    for arch in (LRASPP, "fcn8s_vgg16"):
        path = exported[arch].path
        ours, theirs = segmented(path, runtime="onnxruntime:cpu"), segmented(path, runtime="openvino")
        assert compare_maps(ours, theirs).share >= 0.999


def test_what_tensors_leave_open_is_named(exported: dict[str, ExportReport]) -> None:
    """Two networks have the tensors of FCN-8s."""
    assert any("FCN8sAtOnce" in text for text in exported["fcn8s_vgg16"].card.provenance["assumed"])
    assert not any("skips" in text for text in exported[LRASPP].card.provenance["assumed"])


def test_transposed_convolutions_stay_what_they_are(exported: dict[str, ExportReport]) -> None:
    import onnx

    nodes = [node.op_type for node in onnx.load(str(exported["fcn8s_vgg16"].path)).graph.node]
    assert nodes.count("ConvTranspose") == 3 and "Resize" not in nodes


def test_a_bilinear_start_interpolates() -> None:
    layer = start_bilinear(nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1, bias=False))
    image = torch.rand(1, 2, 6, 7)
    expected = nn.functional.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
    with torch.no_grad():
        torch.testing.assert_close(layer(image)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])
    assert bilinear_kernel(3, 4)[0, 1].sum() == 0


def test_the_card_says_what_was_stated_and_what_assumed(tmp_path: Path) -> None:
    path = saved(LRASPP, tmp_path / "m.pt")
    names = ("road", "car", "sky", "tree", "wall")
    settings = TrainingSettings(image_mean=(0.5, 0.5, 0.5), image_std=(0.25, 0.25, 0.25), colour="BGR", min_size=64)
    options = ExportOptions(frame_size=(320, 240), classes=names, detector=settings, strict=True)
    report = export_model(path, options=options)
    assert report.card.names == ("background", *names)
    assert report.card.input.trained_colour == "BGR" and report.card.input.mean == (0.5, 0.5, 0.5)
    assert (report.card.input.height, report.card.input.width) == (64, 85)
    assert report.card.resize.rounding == "divide" and report.card.resize.antialias
    assert "assumed" not in report.card.provenance
    assert any("the first class is the background" in note for note in report.notes)
    with pytest.raises(AssumptionError, match="its classes depend on") as refused:
        export_model(path, options=ExportOptions(strict=True))
    assert "--reference" not in str(refused.value)
    with pytest.raises(CheckpointError, match="6 classes, background included, but 4 names"):
        export_model(path, options=replace(options, classes=names[:4]))
    with pytest.raises(CheckpointError, match="anchor_sizes is no setting of lraspp"):
        export_model(path, options=replace(options, detector=TrainingSettings(anchor_sizes=((1.0,),))))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"conf": 0.5}, "--conf is for detectors"),
        ({"proposals": 9}, "--proposals is for detectors"),
        ({"max_detections": 9}, "--max-detections is for detectors"),
    ],
)
def test_what_only_detectors_have_is_refused(asked: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = saved(LRASPP, tmp_path / "m.pt")
    with pytest.raises(UsageError, match=said):
        export_model(path, options=ExportOptions(**asked))


def test_folders_for_others_and_checks_by_map_are_refused(
    exported: dict[str, ExportReport], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = exported[LRASPP].path
    labels = tmp_path / "labels"
    for command in (
        ["export", str(graph), "--for", "triton", str(tmp_path / "triton")],
        ["export", str(graph), "--for", "deepstream", str(tmp_path / "nvinfer")],
        ["tune", str(graph)],
        *([["export", str(graph.with_suffix(".pt")), "-o", str(tmp_path / "m.ncnn")]] if find_spec("ncnn") else []),
    ):
        assert main(command) == 2
        assert "segmenter" in capsys.readouterr().err
    labels.mkdir()
    cv2.imwrite(str(labels / "a.jpg"), FRAME)
    labels_of = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 320, "height": 240}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0},
        ],
    }
    (labels / "labels.json").write_text(json.dumps(labels_of))
    assert main(["check", str(graph.with_suffix(".pt")), "--eval", str(labels / "labels.json")]) == 2
    assert "holds a segmenter" in capsys.readouterr().err


def test_wrapped_and_whole_networks_are_recognised(tmp_path: Path) -> None:
    from edgedet.export.segmentation.trained import load_segmenter

    model = segmentation_network(LRASPP, width=WIDTH)
    state = model.state_dict()
    for content in (
        {"model": state, "epoch": 3},
        {"state_dict": {f"model.{name}": value for name, value in state.items()}},
        model,
    ):
        torch.save(content, tmp_path / "m.pt")
        found = load_segmenter(tmp_path / "m.pt")
        assert found is not None and found.arch == LRASPP and len(found.names) == 6
    assert guess_architecture({"backbone.body.conv1.weight": torch.zeros(1)}) is None


class Lecture(nn.Module):
    """A network of somebody's own."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        self.score_fr = nn.Conv2d(8, 4, 1)
        self.up = nn.ConvTranspose2d(4, 4, 8, stride=4, padding=2, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.up(self.score_fr(self.down(images)))
        return scores


def test_a_network_of_ones_own_is_exported_as_it_is_where_its_code_is_trusted(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = balanced(Lecture(), width=WIDTH)
    path = tmp_path / "own.pt"
    torch.save(model, path)
    options = ExportOptions(arch="fcn_module", frame_size=(320, 240), imgsz=(96, 96), classes=tuple("abcd"))
    with pytest.raises(UntrustedCheckpointError, match="--trust-checkpoint"):
        export_model(path, options=options)
    report = export_model(path, options=replace(options, trust="code"))
    assert report.card.architecture == "Lecture" and report.card.measured["parity"]["equal"] >= 0.999
    assert report.card.names == tuple("abcd")
    with pytest.raises(CheckpointError, match=r"4 classes, background included, but 6 names"):
        export_model(path, options=replace(options, trust="code", classes=tuple("abcdef")))


def test_half_precision_keeps_the_classes(exported: dict[str, ExportReport], tmp_path: Path) -> None:
    source = exported[LRASPP].path
    report = export_model(source, tmp_path / "half.onnx", ExportOptions(precision="fp16"))
    assert report.card.precision == "fp16" and report.card.task == "segmentation"
    assert compare_maps(segmented(source), segmented(report.path)).share > 0.98
