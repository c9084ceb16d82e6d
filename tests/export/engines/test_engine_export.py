"""From a graph of ours to an engine file, with nothing but TensorRT: doubles of it and of CUDA on the CPU."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgedet import Detector
from edgedet.artifacts.card import METADATA_KEY, ModelCard, OutputSpec
from edgedet.cli import main
from edgedet.errors import ArtifactError, SelftestError, UsageError
from edgedet.export.engines.engine_export import build_engine_file, is_ready_for_engine
from edgedet.export.options import EngineOptions, ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.opening import read_card
from edgedet.proof.golden import record
from edgedet.runtimes.cuda.device import CudaError
from edgedet.runtimes.tensorrt import TensorRTRuntime
from tests.rectangle_detector import LETTERBOX, NAMES, SCORE, _Graph, frame_with_rectangle
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.installed import install


def save_candidates_graph(path: Path, **provenance: Any) -> ModelCard:
    """The rectangle detector with NMS left to the runtime: one candidate box, a score for each class."""
    from edgedet.artifacts.card import InputSpec

    card = ModelCard(
        family="ssd",
        architecture="rectangle",
        names=NAMES,
        input=InputSpec(64, 64),
        resize=LETTERBOX,
        output=OutputSpec("candidates", score_threshold=0.25, iou_threshold=0.5, max_detections=5),
        provenance={"tools": {"edgedet": "0"}, **provenance},
    )
    graph = _Graph()
    pixels = graph.op("Cast", "images", to=TensorProto.FLOAT)
    box, score, label = graph.rectangle(pixels, 64, 64, bright=100)
    graph.op("Unsqueeze", box, graph.constant([1], np.int64), out="boxes")
    classes = graph.op("OneHot", label, graph.constant([3], np.int64), graph.constant([0, 1]), axis=1)
    weighted = graph.op("Mul", classes, graph.op("Unsqueeze", score, graph.constant([1], np.int64)))
    graph.op("Unsqueeze", weighted, graph.constant([1], np.int64), out="scores")

    def save(value: ModelCard) -> None:
        graph.save(
            path,
            helper.make_tensor_value_info("images", TensorProto.UINT8, [1, 64, 64, 3]),
            [
                helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 1, 4]),
                helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, 3]),
            ],
            {METADATA_KEY: value.to_json()},
        )

    save(card)
    with Detector(path) as detector:
        card = replace(card, golden=record(detector, range(3)))
    save(card)
    return card


def save_yolo(path: Path) -> Path:
    """Another tool's graph: Ultralytics' input, output and metadata on one convolution."""
    generator = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["images", "weight"], ["map"], strides=[8, 8]),
        helper.make_node("Reshape", ["map", "shape"], ["rows"]),
        helper.make_node("Sigmoid", ["rows"], ["shares"]),
        helper.make_node("Mul", ["shares", "sizes"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 7, 64])],
        [
            onnx.numpy_helper.from_array(generator.normal(0, 0.1, (7, 3, 8, 8)).astype(np.float32), "weight"),
            onnx.numpy_helper.from_array(np.array([1, 7, 64]), "shape"),
            onnx.numpy_helper.from_array(np.array([64] * 4 + [1] * 3, np.float32).reshape(1, 7, 1), "sizes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    names = str(dict(enumerate(NAMES)))
    helper.set_model_props(model, {"names": names, "stride": "8", "task": "detect", "imgsz": "[64, 64]"})
    onnx.save(model, str(path))
    return path


@pytest.fixture
def jetson(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """TensorRT 10.3 and one integrated GPU."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return install(monkeypatch, "10.3.0", FakeCuda(integrated=True))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    save_candidates_graph(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_the_command_builds_an_engine_that_detects(
    jetson: Any, graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = tmp_path / "model.trt"
    assert main(["export", str(graph), "-o", str(engine), "--workspace", "99", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert any("golden frame" in note for note in report["notes"])
    facts = read_card(engine).engine or {}
    assert (facts["tensorrt"], facts["compute_capability"], facts["cuda"]) == ("10.3.0", "8.7", "12.6")
    assert facts["options"]["workspace_mib"] == 99 and facts["typing"] == "strong"
    frame = frame_with_rectangle(120, 200, (20, 30, 90, 80), channel=2)
    with Detector(graph) as reference, Detector(engine, selftest=True) as detector:
        np.testing.assert_array_equal(detector.detect(frame).boxes, reference.detect(frame).boxes)
        assert detector.detect(frame).scores.tolist() == [SCORE]
    assert [path.name for path in tmp_path.iterdir() if "trial" in path.name] == []


def test_what_a_finished_graph_assumes_its_engine_does_too(
    jetson: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_candidates_graph(tmp_path / "model.onnx", assumed=["colour: RGB"])
    words = ["export", str(tmp_path / "model.onnx"), "-o", str(tmp_path / "model.trt")]
    assert main([*words, "--strict"]) == 2
    assert "takes nothing for granted; it would be assumed: colour: RGB" in capsys.readouterr().err
    assert not (tmp_path / "model.trt").exists()
    assert main(words) == 0
    assert "assumed, since nothing says: colour: RGB" in capsys.readouterr().out


def by_command(source: Path, output: Path, *words: str) -> None:
    assert main(["export", str(source), "-o", str(output), *words]) == 0


WAYS_TO_A_PLAN = {
    "the command": lambda source, folder: by_command(source, folder / "out.plan"),
    "the command, by option": lambda source, folder: by_command(source, folder / "out.trt", "--container", "plan"),
    "a program": lambda source, folder: export_model(source, folder / "out.plan"),
    "a program, by argument": lambda source, folder: export_model(source, folder / "out.trt", container="plan"),
}


@pytest.mark.parametrize("kind", ["finished graph", "foreign graph"])
@pytest.mark.parametrize("way", WAYS_TO_A_PLAN)
def test_a_plan_is_bare_by_every_way_in(jetson: Any, graph: Path, tmp_path: Path, way: str, kind: str) -> None:
    if kind == "foreign graph":
        graph = save_yolo(tmp_path / "yolo.onnx")
    WAYS_TO_A_PLAN[way](graph, tmp_path)
    plan = next(tmp_path / name for name in ("out.plan", "out.trt") if (tmp_path / name).exists())
    assert plan.read_bytes().startswith(b"ptrt")
    assert read_card(plan).names == NAMES
    assert (read_card(plan).engine or {})["plan_sha256"] == hashlib.sha256(plan.read_bytes()).hexdigest()
    with Detector(plan, selftest=True):
        pass


@pytest.mark.parametrize("kind", ["finished graph", "foreign graph"])
def test_engine_options_reach_the_builder_from_every_source(
    jetson: Any, graph: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "foreign graph":
        graph = save_yolo(tmp_path / "yolo.onnx")
    report = export_model(graph, tmp_path / "out.trt", engine=EngineOptions(workspace_mib=77, optimization_level=1))
    options = (report.card.engine or {})["options"]
    assert (options["workspace_mib"], options["optimization_level"]) == (77, 1)
    assert not (tmp_path / "out.trt").read_bytes().startswith(b"ptrt")
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.trt"]
    assert kind == "finished graph" or report.card.provenance["options"]["nms"] == "runtime"


def test_a_finished_graph_needs_no_exporter(
    jetson: Any, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the device neither PyTorch nor onnx is installed."""
    monkeypatch.setitem(sys.modules, "edgedet.export.finished_graph", None)
    assert export_model(graph, tmp_path / "out.trt").card.engine
    with pytest.raises(ImportError):
        export_model(graph, tmp_path / "out.trt", ExportOptions(precision="fp16"))


def test_a_finished_graph_keeps_its_precision_unless_another_is_asked_for(
    jetson: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = replace(save_candidates_graph(tmp_path / "model.onnx"), precision="fp16")
    model = onnx.load(tmp_path / "model.onnx")
    helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save(model, tmp_path / "model.onnx")
    assert is_ready_for_engine(tmp_path / "model.onnx", ExportOptions().precision)
    asked = ["export", str(tmp_path / "model.onnx"), "-o", str(tmp_path / "out.trt"), "--precision", "fp32"]
    assert main(asked) == 2
    assert "is already fp16" in capsys.readouterr().err


def test_an_engine_that_detects_something_else_is_not_written(jetson: Any, tmp_path: Path) -> None:
    card = save_candidates_graph(tmp_path / "model.onnx")
    golden = {
        **(card.golden or {}),
        "boxes": [[1, 2, 300, 400]],
        "scores": [0.9],
        "labels": [1],
        "truncated": False,
    }
    model = onnx.load(tmp_path / "model.onnx")
    helper.set_model_props(model, {METADATA_KEY: replace(card, golden=golden).to_json()})
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(SelftestError, match="self-test failed"):
        export_model(tmp_path / "model.onnx", tmp_path / "model.trt")
    assert not (tmp_path / "model.trt").exists()


def test_an_engine_that_crashes_the_gpu_is_not_written(
    jetson: Any, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash:
        name = "cudaErrorIllegalAddress"

        def __int__(self) -> int:
            return 700

    run = TensorRTRuntime.run

    def crash(self: TensorRTRuntime, inputs: dict[str, Any]) -> dict[str, Any]:
        monkeypatch.setattr(self._cuda.api, "cudaStreamSynchronize", lambda stream: (Crash(),))
        return run(self, inputs)

    monkeypatch.setattr(TensorRTRuntime, "run", crash)
    with pytest.raises(CudaError, match=r"IllegalAddress \(700\): a kernel crashed"):
        export_model(graph, tmp_path / "model.trt")
    assert not list(tmp_path.glob("*.trt")) and not list(tmp_path.glob(".*trial*"))


def test_a_graph_with_nms_inside_is_sent_back(jetson: Any, graph: Path, tmp_path: Path) -> None:
    from tests.rectangle_detector import save_rectangle_graph

    save_rectangle_graph(tmp_path / "nms.onnx")
    assert not is_ready_for_engine(tmp_path / "nms.onnx", None)
    with pytest.raises(ArtifactError, match="--nms runtime --target tensorrt"):
        nms = tmp_path / "nms.onnx"
        build_engine_file(nms.read_bytes(), read_card(nms), tmp_path / "nms.trt")


def test_a_float_graph_that_is_called_int8_becomes_no_engine(jetson: Any, graph: Path, tmp_path: Path) -> None:
    """As INT8 for a CPU is that gains nothing there."""
    card = replace(read_card(graph), precision="int8")
    with pytest.raises(ArtifactError, match="says INT8, and none of its layers is"):
        build_engine_file(graph, card, tmp_path / "out.trt")
    assert not (tmp_path / "out.trt").exists()


def test_the_nodes_of_a_finished_graph_are_told(jetson: Any, graph: Path, tmp_path: Path) -> None:
    assert export_model(graph, tmp_path / "out.trt").nodes == len(onnx.load(graph).graph.node)


def test_only_finished_graphs_skip_the_exporter(graph: Path, tmp_path: Path) -> None:
    assert is_ready_for_engine(graph, None) and is_ready_for_engine(graph, "fp32")
    assert not is_ready_for_engine(graph, "fp16")
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    assert not is_ready_for_engine(tmp_path / "broken.onnx", None)
    assert not is_ready_for_engine(tmp_path / "model.pt", None)


@pytest.mark.parametrize(
    ("words", "asked", "option"),
    [
        (["--workspace", "64"], {"engine": EngineOptions(workspace_mib=64)}, "--workspace"),
        (["--optimization-level", "3"], {"engine": EngineOptions()}, "--optimization-level"),
        (["--version-compatible"], {"engine": EngineOptions(version_compatible=True)}, "--version-compatible"),
        (["--container", "plan"], {"container": "plan"}, "--container"),
    ],
)
def test_engine_options_are_refused_for_graphs(  # noqa: PLR0917
    graph: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    asked: dict[str, Any],
    option: str,
) -> None:
    assert main(["export", str(graph), "-o", str(tmp_path / "other.onnx"), *words]) == 2
    said = f"{option} is for engines, and other.onnx is a graph: drop it, or use -o OUT.trt"
    assert said in capsys.readouterr().err
    with pytest.raises(UsageError, match=said):
        export_model(graph, tmp_path / "other.onnx", **asked)


def test_building_needs_neither_torch_nor_onnx() -> None:
    """What a device imports to build: a fresh interpreter in which both are missing."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'onnx', 'torchvision', 'onnxruntime'), None));"
        "import edgedet.export.pipeline, edgedet.export.engines.engine_export, edgedet.export.engines.build;"
        "import edgedet.runtimes.tensorrt, edgedet.cli.export"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_a_finished_graph_can_no_longer_change_is_refused(jetson: Any, graph: Path, tmp_path: Path) -> None:
    for options, message in (
        (ExportOptions(conf=0.9, iou=0.2), "--conf, --iou can no longer be changed"),
        (ExportOptions(batch=2), "was exported for batch 1"),
    ):
        with pytest.raises(UsageError, match=message):
            export_model(graph, tmp_path / "model.trt", options)
    assert not (tmp_path / "model.trt").exists()
