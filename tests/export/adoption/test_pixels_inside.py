"""Pre-processing inside a foreign graph goes into its first convolution, and the boxes stay as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet import Detector
from edgedet.export.adoption.pixels_inside import InnerPixels
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from tests.export.adoption.graphs import frame
from tests.export.foreign_heads import SIDE, ULTRALYTICS, Head, save_head
from tests.export.one_stage import save_one_stage


def test_cast_layout_colours_and_arithmetic_are_taken_out(tmp_path: Path) -> None:
    """A file that takes what a camera gives, uint8 [N, H, W, 3] in BGR, is the same detector."""
    plain = save_head(tmp_path / "plain.onnx", Head(), ULTRALYTICS)
    model = onnx.load(str(plain))
    first = next(node for node in model.graph.node if "images" in node.input)
    first.input[list(first.input).index("images")] = "ready"
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("camera", TensorProto.UINT8, ["n", SIDE, SIDE, 3]))
    for position, (kind, inputs, output, settings) in enumerate(
        [
            ("Cast", ["camera"], "float", {"to": 1}),
            ("Gather", ["float", "turned"], "rgb", {"axis": 3}),
            ("Transpose", ["rgb"], "planes", {"perm": [0, 3, 1, 2]}),
            ("Div", ["planes", "whole"], "ready", {}),
        ]
    ):
        model.graph.node.insert(position, helper.make_node(kind, inputs, [output], **settings))
    for name, value in (("turned", np.array([2, 1, 0])), ("whole", np.float32(255))):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.save(model, str(tmp_path / "camera.onnx"))
    options = ExportOptions(conf=0.6)
    expected = export_model(plain, tmp_path / "a.onnx", options)
    report = export_model(tmp_path / "camera.onnx", tmp_path / "b.onnx", options)
    assert report.nodes == expected.nodes
    assert any("colours turned round) went into the first layers" in note for note in report.notes)
    with Detector(expected.path) as theirs, Detector(report.path) as ours:
        wanted, found = theirs.detect(frame()), ours.detect(frame())
    assert len(wanted) > 3
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=1e-3)


def test_mean_and_deviation_by_channel(tmp_path: Path) -> None:
    """(pixel / 255 - mean) / std before a network is what the card says then."""
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    path = save_head(tmp_path / "net.onnx", Head(), ULTRALYTICS)
    model = onnx.load(str(path))
    first = next(node for node in model.graph.node if "images" in node.input)
    first.input[list(first.input).index("images")] = "ready"
    for position, (kind, inputs, output) in enumerate(
        [("Sub", ["images", "mean"], "centred"), ("Div", ["centred", "std"], "ready")]
    ):
        model.graph.node.insert(position, helper.make_node(kind, inputs, [output]))
    for name, value in (("mean", mean), ("std", std)):
        model.graph.initializer.append(numpy_helper.from_array(value.reshape(1, 3, 1, 1), name))
    onnx.save(model, str(path))
    report = export_model(path, tmp_path / "out.onnx", ExportOptions(conf=0.6))
    np.testing.assert_allclose(report.card.input.mean, mean, atol=1e-6)
    np.testing.assert_allclose(report.card.input.std, std, atol=1e-6)
    with Detector(path, conf=0.6) as theirs, Detector(report.path) as ours:
        wanted, found = theirs.detect(frame()), ours.detect(frame())
    assert len(wanted) > 3
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=0.01)


def preceded(path: Path, kinds: list[tuple[str, list[str], dict[str, object]]], **constants: np.ndarray) -> None:
    """Put nodes before the network of a file, each working on the one before."""
    model = onnx.load(str(path))
    readers = [node for node in model.graph.node if "images" in node.input]
    for node in readers:
        node.input[list(node.input).index("images")] = f"before{len(kinds) - 1}"
    tensor = "images"
    for position, (kind, more, settings) in enumerate(kinds):
        node = helper.make_node(kind, [tensor, *more], [f"before{position}"], **settings)
        model.graph.node.insert(position, node)
        tensor = node.output[0]
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.save(model, str(path))


def test_bytes_that_are_only_cast_reach_the_network_as_they_are(tmp_path: Path) -> None:
    """Not divided by 255, as the family's networks have it: this one says by its input what it takes."""
    path = save_head(tmp_path / "net.onnx", Head(), ULTRALYTICS)
    preceded(path, [("Cast", [], {"to": 1})])
    model = onnx.load(str(path))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    onnx.save(model, str(path))
    report = export_model(path, tmp_path / "out.onnx", ExportOptions(conf=0.6))
    assert report.card.input.scale == 1 and set(report.card.input.std) == {1.0}
    assert "it takes pixels of 0 to 255 as they are" in report.notes


def test_colours_turned_round_alone_leave_the_arithmetic_to_the_family(tmp_path: Path) -> None:
    path = save_head(tmp_path / "net.onnx", Head(), ULTRALYTICS)
    plain = export_model(path, tmp_path / "a.onnx", ExportOptions(conf=0.6))
    preceded(path, [("Gather", ["turned"], {"axis": 1})], turned=np.array([2, 1, 0]))
    report = export_model(path, tmp_path / "b.onnx", ExportOptions(conf=0.6))
    assert report.card.input == plain.card.input
    with Detector(plain.path) as theirs, Detector(report.path) as ours:
        np.testing.assert_allclose(ours.detect(frame()).boxes, theirs.detect(frame()).boxes, atol=1e-3)


def test_yolox_takes_what_its_file_does_with_pixels(tmp_path: Path) -> None:
    """Files of before 0.1.1 normalise; whoever put that inside gets it in the first layer."""
    path = save_one_stage(tmp_path / "net.onnx", "yolox") or tmp_path / "net.onnx"
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    options = ExportOptions(family="yolox", classes=("a", "b", "c"))
    plain = export_model(path, tmp_path / "a.onnx", options)
    assert (plain.card.input.scale, set(plain.card.input.mean)) == (1.0, {0.0})
    preceded(
        path,
        [("Div", ["whole"], {}), ("Sub", ["mean"], {}), ("Div", ["std"], {})],
        whole=np.float32(255),
        mean=mean.reshape(1, 3, 1, 1),
        std=std.reshape(1, 3, 1, 1),
    )
    card = export_model(path, tmp_path / "b.onnx", options).card
    np.testing.assert_allclose(card.input.mean, mean, atol=1e-6)
    np.testing.assert_allclose(card.input.std, std, atol=1e-6)
    assert card.input.trained_colour == "BGR"


@pytest.mark.parametrize("factor", [1 / 255, 1 / 57.0, 1.0])
def test_factors_tell_bytes_from_shares(factor: float) -> None:
    pixels = InnerPixels((factor,) * 3, (0.0,) * 3)
    assert pixels.of_bytes == (factor < 0.1)
    said = pixels.settings()
    image = np.full((1, 3, 2, 2), 100, np.float32)
    by_card = (image * said["scale"] - said["mean"][0]) / said["std"][0]
    np.testing.assert_allclose(pixels.applied(image), by_card, rtol=1e-5)


def test_a_mean_of_bytes_shows_what_the_file_took_though_it_divides_by_nothing() -> None:
    """Caffe's networks take pixels of 0 to 255 less their mean."""
    caffe = InnerPixels(factor=(1.0, 1.0, 1.0), shift=(-104.0, -117.0, -123.0))
    pixels = np.full((1, 3, 1, 1), 204.0, np.float32)
    np.testing.assert_allclose(caffe.applied(pixels).ravel(), [100, 87, 81])
    said = caffe.settings()
    ours = (pixels.ravel() * said["scale"] - said["mean"]) / said["std"]
    np.testing.assert_allclose(ours, [100, 87, 81], rtol=1e-5)
