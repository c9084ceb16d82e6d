"""Telling what a file is, and saying so when it is nothing we can run."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from edgedet.artifacts.card import METADATA_KEY
from edgedet.artifacts.onnx_file import read_onnx
from edgedet.errors import ArtifactError, CheckpointError, RuntimeUnavailableError, UsageError
from edgedet.opening import artifact_kind, open_artifact, read_card
from tests.rectangle_detector import save_foreign_graph, save_rectangle_graph, ultralytics_metadata


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    save_rectangle_graph(tmp_path / "rectangle.onnx")
    return tmp_path / "rectangle.onnx"


def test_the_card_comes_back_as_it_was_written(tmp_path: Path) -> None:
    card = save_rectangle_graph(tmp_path / "a.onnx", batch=2)
    assert read_card(tmp_path / "a.onnx") == card


def test_reading_a_card_loads_neither_onnx_nor_a_runtime(graph: Path) -> None:
    code = (
        "import sys; from edgedet.opening import read_card; read_card(sys.argv[1]);"
        "print(*(name for name in ('torch', 'onnx', 'onnxruntime', 'cv2') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(graph)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_detector_of_boxes_alone_loads_nothing_of_other_outputs(graph: Path) -> None:
    code = (
        "import sys, numpy; from edgedet import Detector;"
        "Detector(sys.argv[1], threads=1).detect(numpy.zeros((48, 64, 3), numpy.uint8));"
        "print(*(name for name in ('masks', 'canvas_masks', 'run_lengths', 'heatmaps', 'outside_proposals',"
        "'class_map', 'segmenter') if 'edgedet.' + name in sys.modules))"
    )
    quiet = os.environ | {"EDGEDET_SPINNING": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(graph)], capture_output=True, text=True, check=True, env=quiet
    )
    assert done.stdout.split() == []


def test_inputs_and_outputs_are_read_as_onnx_reads_them(graph: Path, shared: Path) -> None:
    for path in (graph, shared / "models/yolox_nano.onnx"):
        model = onnx.load(str(path))
        constants = {tensor.name for tensor in model.graph.initializer}
        wanted = [value.name for value in model.graph.input if value.name not in constants]
        found = read_onnx(path)
        assert [tensor.name for tensor in found.inputs] == wanted
        for tensor, value in zip(found.outputs, model.graph.output, strict=True):
            sizes = tuple(size.dim_value or None for size in value.type.tensor_type.shape.dim)
            assert (tensor.name, tensor.shape) == (value.name, sizes)
        assert found.metadata == {entry.key: entry.value for entry in model.metadata_props}


def test_initialisers_that_old_files_list_as_inputs_are_none(graph: Path) -> None:
    model = onnx.load(str(graph))
    for tensor in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    onnx.save(model, str(graph))
    assert [tensor.name for tensor in read_onnx(graph).inputs] == ["images"]


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_graph_is_told_from_a_whole_one(graph: Path, kept: float) -> None:
    content = graph.read_bytes()
    graph.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ArtifactError, match=r"rectangle.onnx is not a complete ONNX file|carries no model card"):
        read_card(graph)


def test_every_truncation_of_a_graph_is_an_error_of_ours(graph: Path) -> None:
    content = graph.read_bytes()
    for size in range(1, len(content), 7):
        graph.write_bytes(content[:size])
        with pytest.raises(ArtifactError):
            read_card(graph)


def picture(suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, np.zeros((9, 9, 3), np.uint8))[1].tobytes())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.onnx", b"", "is empty"),
        ("m.onnx", picture(".jpg"), "is a JPEG image, not a model"),
        ("m.onnx", picture(".png"), "is a PNG image"),
        ("m.onnx", b"<!DOCTYPE html><html>", "HTML or XML"),
        ("m.onnx", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("m.onnx", b"complete nonsense, not protobuf", "not a complete ONNX file"),
        ("m.onnx", bytes(range(200)), "not a complete ONNX file"),
        ("m.trt", b"nothing like an engine", "not a TensorRT engine"),
        ("m.plan", b"ftrt" + bytes(60), r"bare TensorRT plan .* m.json is not beside it"),
        ("m.engine", (50_000).to_bytes(4, "little") + b'{"family": ', "breaks off inside its header"),
        ("m.engine", (12).to_bytes(4, "little") + b'{"family": ?' + bytes(9), "not JSON"),
        ("m.engine", (8).to_bytes(4, "little") + b'{"a": 1}' + bytes(9), "no model card"),
    ],
)
def test_what_is_no_artifact_is_named_for_what_it_is(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=message) as caught:
        open_artifact(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        open_artifact(tmp_path / "none.onnx")
    with pytest.raises(ArtifactError, match="is a folder"):
        open_artifact(tmp_path)


def test_a_graph_without_card_says_how_to_get_one(graph: Path) -> None:
    model = onnx.load(str(graph))
    del model.metadata_props[:]
    onnx.save(model, str(graph))
    with pytest.raises(ArtifactError, match="edgedet's own that has lost its card: export the checkpoint again"):
        read_card(graph)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            {"output": [1, 84, 8]},
            r"export it once: edgedet export \S* --family yolox --classes \S* .*--family yolov5",
        ),
        ({"output": [1, 252, 8]}, r"YOLOv5's or YOLOv7's .* export it once: edgedet export \S* --family yolov5 "),
        ({"output0": [1, 7, 84]}, r"an Ultralytics detector .* export it once: edgedet export \S* --family yolo "),
        ({"output0": [1, 300, 6]}, r"needs no NMS .* export it once: edgedet export \S* --family yolo "),
        ({"dets": [1, 300, 4], "labels": [1, 300, 91]}, "RF-DETR .* --family rfdetr "),
        ({"logits": [1, 300, 80], "pred_boxes": [1, 300, 4]}, "a DETR "),
        ({"boxes": [9, 4], "labels": [9], "scores": [9]}, "torchvision's own export .* the checkpoint"),
        (
            {"num_dets": [1, 1], "det_boxes": [1, 100, 4]},
            r"its NMS inside .*, which edgedet export takes over; .*: edgedet export \S* --family yolo ",
        ),
        ({"a": [1, 3, 8, 8, 8], "b": [1, 3, 4, 4, 8]}, "raw maps of a YOLO head"),
        ({"output": [9, 7]}, r"its NMS inside, which edgedet export takes over; .* --family yolov7 "),
        ({"embedding": [1, 128]}, r"outputs embedding \[1, 128\] are of no kind edgedet knows"),
    ],
)
def test_a_bare_graph_is_called_what_it_looks_like(
    tmp_path: Path, outputs: dict[str, list[int]], message: str
) -> None:
    """And what is advised is something that exists for such a file."""
    image = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 64, 64])
    values = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in outputs.items()]
    nodes = [onnx.helper.make_node("Identity", ["images"], [name]) for name in outputs]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [image], values)), tmp_path / "bare.onnx")
    with pytest.raises(ArtifactError, match=message):
        read_card(tmp_path / "bare.onnx")


def test_a_damaged_card_is_told_from_a_missing_one(graph: Path) -> None:
    model = onnx.load(str(graph))
    onnx.helper.set_model_props(model, {METADATA_KEY: '{"version": 1, "family": "ssd"}'})
    onnx.save(model, str(graph))
    with pytest.raises(ArtifactError, match=r"model card: card.architecture is missing"):
        read_card(graph)


class TestEngines:
    def engine(self, path: Path, header: dict[str, Any]) -> Path:
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(4, "little") + text + b"ftrt" + bytes(100))
        return path

    def test_the_card_is_read_from_the_container(self, tmp_path: Path) -> None:
        card = replace(save_rectangle_graph(tmp_path / "a.onnx"), engine={"tensorrt": "10.3.0"})
        path = self.engine(tmp_path / "a.trt", json.loads(card.to_json()))
        assert artifact_kind(path) == "engine"
        assert read_card(path) == card

    def test_the_card_of_a_bare_plan_lies_beside_it(self, tmp_path: Path) -> None:
        card = save_rectangle_graph(tmp_path / "a.onnx")
        (tmp_path / "a.plan").write_bytes(b"ftrt" + bytes(100))
        (tmp_path / "a.json").write_text(card.to_json())
        assert read_card(tmp_path / "a.plan") == card

    def test_ultralytics_engines_are_read(self, tmp_path: Path) -> None:
        header = {
            "task": "detect",
            "stride": 32,
            "imgsz": [64, 96],
            "names": {"0": "cup", "1": "phone"},
            "batch": 1,
        }
        card = read_card(self.engine(tmp_path / "yolo.engine", header))
        assert card.names == ("cup", "phone") and (card.input.height, card.input.width) == (64, 96)

    @pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed here")
    def test_without_tensorrt_the_package_to_install_is_named(self, tmp_path: Path) -> None:
        card = save_rectangle_graph(tmp_path / "a.onnx")
        path = self.engine(tmp_path / "a.trt", json.loads(card.to_json()))
        with pytest.raises(RuntimeUnavailableError, match=r"needs the package 'tensorrt'.*JetPack.*pip install"):
            open_artifact(path)


class TestUltralytics:
    def test_the_metadata_becomes_a_card(self, tmp_path: Path) -> None:
        save_foreign_graph(tmp_path / "y.onnx")
        card = read_card(tmp_path / "y.onnx")
        assert (card.family, card.architecture, card.names) == ("yolo", "YOLO11n model", ("blue", "green", "red"))
        assert (card.input.layout, card.input.colour, card.input.normalise) == ("NCHW", "RGB", "host")
        assert (card.resize.rule, card.resize.place, card.resize.pad[0]) == ("letterbox", "center", 114)
        assert (card.output.format, card.output.score_threshold, card.output.iou_threshold) == (
            "yolo_xywh",
            0.25,
            0.7,
        )
        assert card.output.max_detections == 300 and card.output.label_mode == "best"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"task": "obb"}, "model for 'obb'; edgedet runs models for detect, segment, pose"),
            ({"task": "segment"}, "as it was exported; edgedet runs the graph that it makes of it: edgedet export"),
            ({"names": "{0: __import__('os').getcwd()}"}, "expected a Python literal"),
            ({"names": "{1: 'a', 2: 'b'}"}, "expected {0: 'name'"),
            ({"imgsz": "[64]"}, r"expected \[height, width\]"),
            ({"imgsz": "(" * 500}, "expected a Python literal"),
        ],
    )
    def test_metadata_that_cannot_be_used_is_quoted(
        self, tmp_path: Path, change: dict[str, str], message: str
    ) -> None:
        save_foreign_graph(tmp_path / "y.onnx", ultralytics_metadata(**change))
        with pytest.raises(ArtifactError, match=message):
            read_card(tmp_path / "y.onnx")

    def test_heads_with_nms_inside_are_recognised_by_their_output(self) -> None:
        from edgedet.artifacts.foreign_cards import ultralytics_card

        metadata = ultralytics_metadata(args="{'nms': True, 'conf': 0.4}")
        card = ultralytics_card(metadata, where="y.onnx", output_shape=(1, 300, 6))
        assert card.output.format == "yolo_end2end"
        assert card.provenance["nms"] == "graph" and card.output.score_threshold == 0.4
        free = ultralytics_card(ultralytics_metadata(end2end="True"), where="y.onnx", output_shape=(1, 300, 6))
        assert free.output.format == "yolo_end2end" and free.provenance["nms"] == "none"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "tflite"}, "unknown runtime 'tflite'; expected auto"),
        ({"runtime": "tensorrt"}, "tensorrt cannot run .* which is a graph; edgedet export"),
        ({"runtime": "torch"}, "torch cannot run"),
        ({"runtime": "onnxruntime:npu"}, "unknown device 'npu'"),
        ({"threads": 0}, "threads is 0, expected 1 or more"),
    ],
)
def test_runtimes_that_do_not_fit_are_refused(graph: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_artifact(graph, **options)


def test_a_checkpoint_that_carries_code_is_not_run(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    marker = tmp_path / "it_ran"

    class Harmful:
        def __reduce__(self) -> Any:
            return Path.touch, (marker,)

    (tmp_path / "bad.pt").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(CheckpointError):
        open_artifact(tmp_path / "bad.pt")
    assert not marker.exists()
