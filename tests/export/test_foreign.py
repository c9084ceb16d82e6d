"""Files that other tools wrote, opened for export: what cannot be exported says why, and what to do instead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet import Detector
from edgedet.errors import ArtifactError, EdgedetError, UsageError
from edgedet.export.foreign import open_foreign
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from tests.export.foreign_heads import SIDE, ULTRALYTICS, Head, save_head


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return save_head(tmp_path / "net.onnx", Head(), ULTRALYTICS)


def refuse(source: Path, message: str, kind: type[EdgedetError] = ArtifactError, **options: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        export_model(source, source.with_name("out.onnx"), ExportOptions(**options))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value) and "report this" not in str(caught.value)
    assert not source.with_name("out.onnx").exists()


def rewritten(source: Path, *nodes: onnx.NodeProto, **constants: np.ndarray) -> Path:
    """What the network gives becomes ``raw``; ``nodes`` make ``output0`` of it."""
    model = onnx.load(str(source))
    model.graph.node[-1].output[0] = "raw"
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, str(source))
    return source


def test_quantised_files_are_called_so(source: Path) -> None:
    scale, zero = np.array(0.1, np.float32), np.array(0, np.int8)
    rewritten(
        source,
        helper.make_node("QuantizeLinear", ["raw", "scale", "zero"], ["steps"]),
        helper.make_node("DequantizeLinear", ["steps", "scale", "zero"], ["output0"]),
        scale=scale,
        zero=zero,
    )
    refuse(source, "is quantised already .2 nodes such as QuantizeLinear.; start from the float file")


def test_nms_whose_boxes_come_from_several_places_is_called_so(source: Path) -> None:
    """Ours takes its place where one tensor holds all that it is given."""
    rewritten(
        source,
        helper.make_node("Split", ["raw", "parts"], ["columns", "scores"], axis=1),
        helper.make_node("Transpose", ["columns"], ["boxes"], perm=[0, 2, 1]),
        helper.make_node("ReduceMax", ["images"], ["brightest"], keepdims=0),
        helper.make_node("Mul", ["boxes", "brightest"], ["scaled"]),
        helper.make_node("ReduceMax", ["scores"], ["best"], axes=[1], keepdims=1),
        helper.make_node("NonMaxSuppression", ["scaled", "best", "most", "iou", "conf"], ["chosen"]),
        helper.make_node("Cast", ["chosen"], ["output0"], to=1),
        parts=np.array([4, 3]),
        most=np.array([100]),
        iou=np.array([0.5], np.float32),
        conf=np.array([0.5], np.float32),
    )
    refuse(source, "NonMaxSuppression takes boxes that no single tensor holds before .* without nms=True")


def test_sizes_that_depend_on_the_picture_are_named(source: Path) -> None:
    rewritten(source, helper.make_node("NonZero", ["raw"], ["found"], "which"),
              helper.make_node("Cast", ["found"], ["output0"], to=1))  # fmt: skip
    refuse(source, r"depend on the picture \(NonZero which\); export it again as a fixed graph")


def test_shapes_nothing_can_tell_are_named(source: Path) -> None:
    rewritten(
        source,
        helper.make_node("ReduceMax", ["raw"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["count"], to=TensorProto.INT64),
        helper.make_node("Range", ["none", "count", "one"], ["numbers"], "counting"),
        helper.make_node("Cast", ["numbers"], ["output0"], to=1),
        none=np.array(0),
        one=np.array(1),
    )
    refuse(source, "Range counting has no static shape even for a fixed input")


@pytest.mark.parametrize("metadata", [True, False])
def test_dynamic_sizes_are_fixed_by_metadata_or_by_the_user(source: Path, tmp_path: Path, metadata: bool) -> None:
    model = onnx.load(str(source))
    for index, name in ((0, "batch"), (2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[index].dim_param = name
    if not metadata:
        del model.metadata_props[:]
        helper.set_model_props(model, {key: ULTRALYTICS[key] for key in ("stride", "names")})
    onnx.save(model, str(source))
    if not metadata:
        refuse(source, "has dynamic sizes .* fix them with --imgsz HEIGHTxWIDTH")
    sizes = None if metadata else (SIDE, SIDE)
    report = export_model(source, tmp_path / "out.onnx", ExportOptions(imgsz=sizes))
    assert (report.card.input.height, report.card.input.width, report.card.input.batch) == (SIDE, SIDE, 1)


@pytest.mark.parametrize("name", ["sizes", "orig_target_sizes"])
def test_further_inputs_are_named(tmp_path: Path, name: str) -> None:
    """Which RT-DETR and its kin have beside other outputs only."""
    source = save_head(tmp_path / "net.onnx", Head())
    model = onnx.load(str(source))
    model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, [1, 2]))
    onnx.save(model, str(source))
    refuse(source, rf"has 2 inputs \(images, {name}\); expected one image")


def test_torchvisions_own_export_is_sent_back_to_its_checkpoint(tmp_path: Path) -> None:
    """Whose RoiAlign of opset 22 does not even run."""
    outputs = [
        helper.make_tensor_value_info(name, kind, ["n", *rest])
        for name, kind, rest in (("boxes", 1, [4]), ("labels", 7, []), ("scores", 1, []))
    ]
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [3, 64, 64])
    nodes = [
        helper.make_node("RoiAlign", ["features", "rois", "batch"], ["boxes"]),
        helper.make_node("Identity", ["batch"], ["labels"]),
        helper.make_node("Identity", ["rois"], ["scores"]),
    ]
    graph = helper.make_graph(nodes, "two-stage", [image], outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)]), tmp_path / "net.onnx")
    refuse(tmp_path / "net.onnx", "torchvision's own export .* the checkpoint .* RoiAlign is of opset 22")


def test_a_bare_file_is_told_what_it_looks_like(tmp_path: Path) -> None:
    source = save_head(tmp_path / "net.onnx", Head(order="rows", objectness=True, per_place=3))
    refuse(source, "YOLOv5's or YOLOv7's .* edgedet export .* --family yolov5 ", UsageError)
    refuse(source, "are not YOLOX's", family="yolox")


def test_metadata_of_one_family_and_options_of_another(source: Path) -> None:
    refuse(source, "--family says yolox; leave --family out", UsageError, family="yolox")


def test_a_conversion_that_changes_the_numbers_is_noticed(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgedet.export import foreign

    real = foreign.to_opset

    def wrong(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
        made = real(model, path)
        for tensor in made.graph.initializer:
            if len(tensor.dims) == 4:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1.1, tensor.name))
        return made

    monkeypatch.setattr(foreign, "to_opset", wrong)
    refuse(source, "its output output0 is not what the file gives")


def test_a_network_that_begins_otherwise_than_by_a_convolution(source: Path, tmp_path: Path) -> None:
    """Colour order and scale are nodes of their own there."""
    model = onnx.load(str(source))
    first = next(node for node in model.graph.node if "images" in node.input)
    model.graph.node.insert(0, helper.make_node("Clip", ["images", "low"], ["clipped"]))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.2), "low"))
    first.input[list(first.input).index("images")] = "clipped"
    onnx.save(model, str(source))
    report = export_model(source, tmp_path / "out.onnx", ExportOptions(conf=0.6))
    frame = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    with Detector(source, conf=0.6) as theirs, Detector(report.path) as ours:
        expected, found = theirs.detect(frame), ours.detect(frame)
    assert len(expected) > 3
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.01)
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_outputs_beside_the_boxes_go(tmp_path: Path, source: Path) -> None:
    """Older YOLOv5 files give their raw maps as well."""
    model = onnx.load(str(source))
    model.graph.output.append(helper.make_empty_tensor_value_info(model.graph.node[-2].output[0]))
    onnx.save(onnx.shape_inference.infer_shapes(model), str(source))
    assert len(open_foreign(source).outputs) == 2
    assert len(export_model(source, tmp_path / "out.onnx").card.names) == 3
