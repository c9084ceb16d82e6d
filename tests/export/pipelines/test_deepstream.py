"""DeepStream's folder: its settings are the card's, and its parser gives Detector's boxes from its own graph."""

from __future__ import annotations

import configparser
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from edgedet import Detector
from edgedet.artifacts.card import KeypointSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.artifacts.keypoint_skeleton import Skeleton
from edgedet.cli import main
from edgedet.errors import ArtifactError, EdgedetError, UsageError
from edgedet.export.embedded_card import embed
from edgedet.export.options import ExportOptions
from edgedet.export.pipelines.deepstream import config_text
from edgedet.export.pipelines.export import export_pipeline
from edgedet.opening import read_card
from edgedet.preprocess import Preprocessor
from edgedet.proof.golden_scene import golden_frame
from tests.export.engines.test_engine_export import save_candidates_graph
from tests.export.one_stage import save_one_stage
from tests.export.pipelines.parser_runner import Objects, build_parser, run_parser
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.installed import install


def settings_of(text: str) -> dict[str, str]:
    """Both groups of a key file; a key given twice is an error."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.read_string(text)
    assert parser.sections() == ["property", "class-attrs-all"]
    return {**parser["property"], **parser["class-attrs-all"]}


@pytest.fixture(scope="module")
def yolo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder made of Ultralytics' own export, for frames of 128 x 72."""
    folder = tmp_path_factory.mktemp("yolo")
    save_one_stage(folder / "net.onnx", "yolo")
    options = ExportOptions(conf=0.05, iou=0.99, max_detections=40, frame_size=(128, 72))
    return export_pipeline(folder / "net.onnx", "deepstream", folder / "nvinfer", options).path


def as_nvinfer(card: ModelCard, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 [1, 3, H, W] as nvinfer makes it: bytes resized, black around them, colours in planes."""
    rule = "stretch" if card.resize.rule == "stretch" else "letterbox"
    spec = replace(card.input, layout="NHWC", dtype="uint8", normalise="graph", colour="BGR")
    host = Preprocessor(spec, ResizeRule(rule, pad=(0.0, 0.0, 0.0), place=card.resize.place))
    host.prepare(frame)
    pixels = host.tensor if card.input.colour == "BGR" else host.tensor[..., ::-1]
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)


Parse = Callable[..., Objects | str]
"""Of outputs of a graph, what a parser makes: :func:`run_parser` of a driver and a library."""


def parsed(parse: Parse, folder: Path, card: ModelCard, tensor: NDArray[np.float32], work: Path) -> Objects:
    """What nvinfer would get: from the folder's graph, by the folder's parser."""
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(float)", list(tensor.shape[1:]))
    tensor = np.concatenate([tensor] * (given.shape[0] // len(tensor)))
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, {"images": tensor}), strict=True))
    found = parse(card, outputs, work)
    assert isinstance(found, Objects), found
    return found


def to_frame(found: Objects, card: ModelCard, width: int, height: int) -> NDArray[np.float64]:
    """x1, y1, x2, y2 in frame pixels, as ``attach_metadata_detector`` of gstnvinfer takes objects back."""
    scale = min(card.input.width / width, card.input.height / height)
    content = int(width * scale), int(height * scale)
    centred = card.resize.place == "center"
    left, top = ((card.input.width - content[0]) // 2, (card.input.height - content[1]) // 2) if centred else (0, 0)
    start = (found.boxes[:, :2] - [left, top]) / [content[0] / width, content[1] / height]
    return np.concatenate([start, start + found.boxes[:, 2:] / [content[0] / width, content[1] / height]], axis=1)


def require_the_boxes_of_detector(folder: Path, width: int, height: int, work: Path, driver: Path) -> int:
    """Compare what nvinfer would attach with what Detector finds, and return how many boxes were compared."""
    card = read_card(folder / "model.onnx")
    # nvinfer pads with black: so does this Detector, or the difference of the borders would be all there is.
    black = replace(card, resize=replace(card.resize, pad=(0.0, 0.0, 0.0)))
    onnx.save(embed(onnx.load(folder / "model.onnx"), black), work / "black.onnx")
    parse, compared = partial(run_parser, driver, build_parser(folder)), 0
    for seed in range(3):
        frame = golden_frame(seed, height, width)
        found = parsed(parse, folder, card, as_nvinfer(card, frame), work)
        with Detector(work / "black.onnx", runtime="onnxruntime:cpu") as detector:
            expected = detector.detect(frame)
        assert found.labels.tolist() == expected.labels.tolist()
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
        np.testing.assert_allclose(to_frame(found, card, width, height), expected.boxes, atol=1e-3)
        compared += len(expected)
    return compared


def test_the_folder_gives_the_boxes_of_detector(yolo: Path, tmp_path: Path, driver: Path) -> None:
    assert require_the_boxes_of_detector(yolo, 128, 72, tmp_path, driver) > 5


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("place", ["top_left", "center"])
def test_boxes_that_reach_into_the_border(
    tiny: ModuleType, tmp_path: Path, driver: Path, place: Any, batch: int
) -> None:
    """The frame's size is known, so the parser cuts them off where Detector does."""
    card = replace(
        tiny.card(batch=batch), resize=ResizeRule("letterbox", place=place), provenance={"tools": {"edgedet": "0"}}
    )
    model = tiny.tiny_detector()
    _give_batch(model, batch)
    onnx.save(embed(model, card), tmp_path / "tiny.onnx")
    options = ExportOptions(frame_size=(96, 48))
    folder = export_pipeline(tmp_path / "tiny.onnx", "deepstream", tmp_path / "nvinfer", options).path
    assert require_the_boxes_of_detector(folder, 96, 48, tmp_path, driver) > 60


def _give_batch(model: onnx.ModelProto, batch: int) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    for constant in model.graph.initializer:
        if constant.name == "row_shape":
            constant.CopyFrom(onnx.numpy_helper.from_array(np.array([batch, 256, 6], np.int64), "row_shape"))


def test_its_graph_detects_what_the_source_detects(tmp_path: Path) -> None:
    save_candidates_graph(tmp_path / "model.onnx")
    folder = export_pipeline(tmp_path / "model.onnx", "deepstream", tmp_path / "nvinfer").path
    card = read_card(folder / "model.onnx")
    assert (card.input.layout, card.input.dtype) == ("NCHW", "float32")
    for seed in range(3):
        frame = golden_frame(seed, 120, 200)
        with Detector(tmp_path / "model.onnx") as first, Detector(folder / "model.onnx", selftest=True) as second:
            np.testing.assert_array_equal(second.detect(frame).boxes, first.detect(frame).boxes)


def test_the_settings_are_the_cards(yolo: Path) -> None:
    card = read_card(yolo / "model.onnx")
    assert card.resize.place == "center"
    assert settings_of((yolo / "config_infer_primary.txt").read_text()) == {
        "gpu-id": "0",
        "gie-unique-id": "1",
        "process-mode": "1",
        "network-type": "0",
        "onnx-file": "model.onnx",
        "model-engine-file": "model.onnx_b1_gpu0_fp32.engine",
        "batch-size": "1",
        "network-mode": "0",
        "strongly-typed": "1",
        "infer-dims": f"3;{card.input.height};{card.input.width}",
        "network-input-order": "0",
        "model-color-format": "1",
        "net-scale-factor": "1.0",
        "maintain-aspect-ratio": "1",
        "symmetric-padding": "1",
        "scaling-filter": "1",
        "num-detected-classes": "3",
        "labelfile-path": "labels.txt",
        "custom-lib-path": "libedgedet_parser.so",
        "parse-bbox-func-name": "NvDsInferParseCustomEdgedet",
        "cluster-mode": "4",
        "crop-objects-to-roi-boundary": "1",
        "interval": "0",
        "pre-cluster-threshold": "0.05",
        "topk": "40",
    }
    assert 'extern "C" bool NvDsInferParseCustomEdgedet' in (yolo / "edgedet_parser.cpp").read_text()
    assert len((yolo / "labels.txt").read_text().splitlines()) == 3


def test_settings_of_other_cards(tiny: ModuleType) -> None:
    card = tiny.card()
    stretched = settings_of(config_text(card, engine=False))
    assert (stretched["maintain-aspect-ratio"], stretched["symmetric-padding"]) == ("0", "0")
    corner = replace(card, resize=ResizeRule("letterbox"), input=replace(card.input, colour="RGB", batch=4))
    at_corner = settings_of(config_text(corner, engine=True))
    assert (at_corner["maintain-aspect-ratio"], at_corner["symmetric-padding"]) == ("1", "0")
    assert (at_corner["model-color-format"], at_corner["batch-size"]) == ("0", "4")
    assert at_corner["model-engine-file"] == "model.plan"


def test_the_page_says_what_differs_and_which_tensorrt(yolo: Path) -> None:
    page = (yolo / "README.md").read_text()
    assert "DeepStream 9.0 comes with **TensorRT 10.14.1**" in page
    assert "| 128x72 | " in page and "nvstreammux must give frames of 128x72" in page
    assert "detections of the golden frame" in page or "not compared" in page
    assert "the border is black" in page and "width=128 height=72" in page


def test_the_report_says_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_one_stage(tmp_path / "net.onnx", "yolox")
    command = ["export", str(tmp_path / "net.onnx"), "--family", "yolox", "--classes", "a,b,c"]
    assert main([*command, "--for", "deepstream", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "nvinfer: the border is black; training's was (114, 114, 114) in B, G, R" in said
    assert "nvinfer's preprocessing: " in said
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx", "out"] or not list(tmp_path.glob(".*"))


def save_chosen(path: Path) -> None:
    """A detector without NMS, its choice in the graph."""
    from tests.rectangle_detector import save_rectangle_graph

    card = save_rectangle_graph(path, resize=ResizeRule("stretch"))
    model = onnx.load(path)
    onnx.save(embed(model, replace(card, family="detr", provenance={"nms": "none", "tools": {}})), path)


def test_a_detector_without_nms(tmp_path: Path, driver: Path) -> None:
    save_chosen(tmp_path / "model.onnx")
    folder = export_pipeline(tmp_path / "model.onnx", "deepstream", tmp_path / "nvinfer").path
    card = read_card(folder / "model.onnx")
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[10:30, 20:50, 1] = 250
    frame[10:30, 20:50, ::2] = 180
    parse = partial(run_parser, driver, build_parser(folder))
    found = parsed(parse, folder, card, as_nvinfer(card, frame), tmp_path)
    with Detector(tmp_path / "model.onnx") as detector:
        (expected,) = detector.detect(frame)
    np.testing.assert_allclose(found.boxes[0], [20, 10, 30, 20], atol=1e-4)
    np.testing.assert_allclose(to_frame(found, card, 64, 64)[0], expected.box, atol=1e-4)
    assert (found.labels.tolist(), found.scores.tolist()) == ([expected.label], [expected.score])


TIP = KeypointSpec("points", Skeleton(("tip",), ()))
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a class that shifts the others": ({"names": ("a", "", "c")}, "class name '' cannot stand in labels.txt"),
    "a class that is cut": ({"names": ("a", "b;b", "c")}, "'b;b' cannot stand"),
    "frames as they are": ({"resize": ResizeRule("none")}, "takes frames as they are"),
    "another tool's outputs": (
        {"output": OutputSpec("yolo_xywh", 0.3, 0.5, 10)}, "knows candidates and detections, not yolo_xywh",
    ),
    "masks": (
        {"output": OutputSpec("candidates", 0.3, 0.5, 10, masks="prototypes")}, "masks would be computed and lost",
    ),
    "keypoints": (
        {"output": OutputSpec("candidates", 0.3, 0.5, 10, keypoints=TIP)},
        "keypoints would be computed and lost",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_nvinfer_cannot_do_is_refused(tmp_path: Path, what: str) -> None:
    changed, message = REFUSED[what]
    card = save_candidates_graph(tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    onnx.save(embed(model, replace(card, **changed)), tmp_path / "model.onnx")
    with pytest.raises(UsageError, match=message):
        export_pipeline(tmp_path / "model.onnx", "deepstream", tmp_path / "nvinfer")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx"]


def test_graphs_with_nms_inside_and_engines_are_refused(tmp_path: Path) -> None:
    from tests.rectangle_detector import save_rectangle_graph

    save_rectangle_graph(tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="NMS in the graph"):
        export_pipeline(tmp_path / "model.onnx", "deepstream", tmp_path / "nvinfer")
    (tmp_path / "model.plan").write_bytes(b"ptrt" + bytes(100))
    with pytest.raises(ArtifactError, match="is an engine, which is the end of the line"):
        export_pipeline(tmp_path / "model.plan", "deepstream", tmp_path / "nvinfer")
    with pytest.raises(EdgedetError, match="no such file"):
        export_pipeline(tmp_path / "gone.pt", "deepstream", tmp_path / "nvinfer")
    assert not (tmp_path / "nvinfer").exists() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("pipeline", ["deepstream", "triton"])
def test_an_engine_is_built_for_the_folder_and_proved(
    pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    install(monkeypatch, "10.3.0", FakeCuda(integrated=True))
    save_candidates_graph(tmp_path / "model.onnx")
    out = tmp_path / "out"
    command = ["export", str(tmp_path / "model.onnx"), "--for", pipeline, str(out), "--container", "plan", "--json"]
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert any("golden frame" in note for note in report["notes"])
    plan = out / ("model.plan" if pipeline == "deepstream" else "model/1/model.plan")
    assert plan.read_bytes().startswith((b"ptrt", b"ftrt"))
    assert report["card"]["engine"]["tensorrt"] == "10.3.0"
    if pipeline == "deepstream":
        assert "model-engine-file=model.plan" in (out / "config_infer_primary.txt").read_text()
        assert read_card(plan).input.layout == "NCHW"
        assert "TensorRT 10.3.0" in (out / "README.md").read_text()
    else:
        config = (out / "model" / "config.pbtxt").read_text()
        assert 'backend: "tensorrt"' in config and "dims: [ 1, 1, 4 ]" in config and "KIND_GPU" in config


def test_the_real_parser_and_builder_of_nvidia_take_its_graph(yolo: Path) -> None:
    """TensorRT-RTX, whose builder needs no GPU: strongly typed, as the settings ask nvinfer for it."""
    trt = pytest.importorskip("tensorrt_rtx_bindings", reason="needs tensorrt-rtx-cu13-bindings and -libs")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse((yolo / "model.onnx").read_bytes()), parser.get_error(0)
    given = network.get_input(0)
    assert (given.name, given.dtype, given.shape[1]) == ("images", trt.DataType.FLOAT, 3)
    assert builder.build_serialized_network(network, builder.create_builder_config()) is not None


def test_what_a_finished_graph_can_no_longer_change_is_refused(tmp_path: Path) -> None:
    save_candidates_graph(tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="--conf can no longer be changed"):
        export_pipeline(tmp_path / "model.onnx", "deepstream", tmp_path / "out", ExportOptions(conf=0.9))
    assert not (tmp_path / "out").exists()
