"""YOLOX's checkpoints without their package: the tree is told by names and shapes, and nothing is left over."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgedet import Detector
from edgedet.errors import CheckpointError
from edgedet.export.families.yolox_network import _Focus, _Tensors, tensors_of, to_foreign
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.proof.golden_scene import golden_frame

WIDTH, CLASSES = 4, 3


class Checkpoint:
    """Tensors as YOLOX names them, of a network 1/16 as wide as YOLOX-L, one bottleneck a stage."""

    def __init__(self, *, depthwise: bool = False) -> None:
        torch.manual_seed(0)
        self.tensors: dict[str, torch.Tensor] = {}
        self.depthwise = depthwise
        dark = "backbone.backbone"
        self.unit(f"{dark}.stem.conv", 12, WIDTH, 3)
        for index, name in enumerate(("dark2", "dark3", "dark4", "dark5")):
            wide = WIDTH * 2 ** (index + 1)
            self.layer(f"{dark}.{name}.0", wide // 2, wide)
            if name == "dark5":
                self.unit(f"{dark}.dark5.1.conv1", wide, wide // 2, 1)
                self.unit(f"{dark}.dark5.1.conv2", wide * 2, wide, 1)
            self.csp(f"{dark}.{name}.{2 if name == 'dark5' else 1}", wide, wide)
        low, middle, high = WIDTH * 4, WIDTH * 8, WIDTH * 16
        self.unit("backbone.lateral_conv0", high, middle, 1)
        self.csp("backbone.C3_p4", middle * 2, middle)
        self.unit("backbone.reduce_conv1", middle, low, 1)
        self.csp("backbone.C3_p3", low * 2, low)
        self.layer("backbone.bu_conv2", low, low)
        self.csp("backbone.C3_n3", low * 2, middle)
        self.layer("backbone.bu_conv1", middle, middle)
        self.csp("backbone.C3_n4", middle * 2, high)
        for level, wide in enumerate((low, middle, high)):
            self.unit(f"head.stems.{level}", wide, low, 1)
            for part in ("cls_convs", "reg_convs"):
                for index in (0, 1):
                    self.layer(f"head.{part}.{level}.{index}", low, low)
            for part, out in (("cls_preds", CLASSES), ("reg_preds", 4), ("obj_preds", 1)):
                self.tensors[f"head.{part}.{level}.weight"] = torch.randn(out, low, 1, 1)
                self.tensors[f"head.{part}.{level}.bias"] = torch.randn(out)

    def unit(self, prefix: str, inputs: int, out: int, side: int) -> None:
        self.tensors[f"{prefix}.conv.weight"] = torch.randn(out, inputs, side, side) / (inputs * side**2) ** 0.5
        for name, value in (("weight", 1.0), ("bias", 0.1), ("running_mean", 0.0), ("running_var", 1.0)):
            self.tensors[f"{prefix}.bn.{name}"] = torch.full((out,), value)
        self.tensors[f"{prefix}.bn.num_batches_tracked"] = torch.tensor(7)

    def layer(self, prefix: str, inputs: int, out: int) -> None:
        if not self.depthwise:
            self.unit(prefix, inputs, out, 3)
            return
        self.unit(f"{prefix}.dconv", 1, inputs, 3)
        self.unit(f"{prefix}.pconv", inputs, out, 1)

    def csp(self, prefix: str, inputs: int, out: int) -> None:
        half = out // 2
        self.unit(f"{prefix}.conv1", inputs, half, 1)
        self.unit(f"{prefix}.conv2", inputs, half, 1)
        self.unit(f"{prefix}.m.0.conv1", half, half, 1)
        self.layer(f"{prefix}.m.0.conv2", half, half)
        self.unit(f"{prefix}.conv3", half * 2, out, 1)


@pytest.mark.parametrize("depthwise", [False, True])
def test_a_checkpoint_as_training_saves_it(tmp_path: Path, depthwise: bool) -> None:
    path = tmp_path / "best_ckpt.pth"
    torch.save({"model": Checkpoint(depthwise=depthwise).tensors, "start_epoch": 300, "best_ap": 0.3}, path)
    report = export_model(path, tmp_path / "out.onnx", ExportOptions(imgsz=(96, 64)))
    assert (report.card.family, len(report.card.names)) == ("yolox", CLASSES)
    assert (report.card.input.height, report.card.input.width, report.card.output.label_mode) == (96, 64, "all")
    said = " ".join(report.notes)
    assert "activation: SiLU" in said and "input size" not in said


def test_a_box_under_its_best_class_as_yolox_itself_has_it(tmp_path: Path) -> None:
    torch.save({"model": Checkpoint().tensors}, tmp_path / "best_ckpt.pth")
    found = {}
    for mode in ("all", "best"):
        options = ExportOptions(imgsz=(64, 64), label_mode=mode, conf=0.001, iou=1.0, max_detections=2000)  # type: ignore[arg-type]
        report = export_model(tmp_path / "best_ckpt.pth", tmp_path / f"{mode}.onnx", options)
        assert report.card.output.label_mode == mode
        with Detector(report.path) as detector:
            found[mode] = detector.detect(golden_frame(1, 64, 64))
    places = {mode: [tuple(box) for box in each.boxes.round(2).tolist()] for mode, each in found.items()}
    assert len(set(places["best"])) == len(places["best"]) == len(set(places["all"])) < len(places["all"])


def test_what_tensors_do_not_fit_is_named() -> None:
    tensors = Checkpoint().tensors
    name = "backbone.C3_p3.conv3.conv.weight"
    for changed, message in (
        ({key: value for key, value in tensors.items() if key != name}, f"has no tensor {name}"),
        (tensors | {"head.masks.0.weight": torch.zeros(1)}, "1 tensors that YOLOX has not, such as head.masks"),
        (tensors | {name: torch.zeros(8, 99, 1, 1)}, "do not fit each other"),
    ):
        with pytest.raises(CheckpointError, match=message):
            to_foreign(changed, Path("x.pth"), imgsz=(64, 64), batch=1)
    with pytest.raises(CheckpointError, match="multiples of 32, not 100x64"):
        to_foreign(tensors, Path("x.pth"), imgsz=(100, 64), batch=1)


def test_the_usual_size_is_assumed_and_said() -> None:
    foreign, assumed = to_foreign(Checkpoint().tensors, Path("x.pth"), imgsz=None, batch=1)
    assert (foreign.height, foreign.width) == (416, 416)
    assert [item.what for item in assumed] == ["activation", "input size"]


def test_other_checkpoints_are_none_of_yolox() -> None:
    assert tensors_of({"model": {"a": torch.zeros(1)}}) is None
    assert tensors_of([1, 2]) is None
    wrapped = {f"module.{name}": value for name, value in Checkpoint().tensors.items()}
    assert tensors_of({"model": wrapped}) is not None
    darknet = {"backbone.backbone.stem.0.conv.weight": torch.zeros(1), "head.cls_preds.0.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="backbone Darknet53"):
        to_foreign(darknet, Path("x.pth"), imgsz=None, batch=1)


def test_space_to_depth_takes_columns_first() -> None:
    """Top left, bottom left, top right, bottom right of every square of two by two."""
    checkpoint = Checkpoint()
    focus = _Focus(_Tensors(checkpoint.tensors, Path("x")), "backbone.backbone.stem")
    image = torch.arange(16.0).reshape(1, 1, 4, 4).repeat(1, 3, 1, 1)
    seen = []
    focus.conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    focus(image)
    assert seen[0][0, ::3, 0, 0].tolist() == [0, 4, 1, 5]
