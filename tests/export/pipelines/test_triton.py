"""Triton's repository: its configuration by tritonclient's own schema, and its client against a server."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from edgedet import Detector
from edgedet.artifacts.card import InputSpec, KeypointSpec, ModelCard
from edgedet.artifacts.engine_file import write_engine
from edgedet.artifacts.keypoint_skeleton import Skeleton
from edgedet.cli import main
from edgedet.errors import ArtifactError, UsageError
from edgedet.export.options import ExportOptions
from edgedet.export.pipelines.export import export_pipeline
from edgedet.export.pipelines.triton import config_text, engine_outputs, model_name, write_repository
from edgedet.opening import read_card
from edgedet.postprocess import Postprocessor, settle_thresholds
from tests.colour_segmenter import card as segmenter_card
from tests.keypoint_detector import save_keypoint_graph
from tests.masked_detector import save_masked_graph
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

PLAN = b"ptrt" + bytes(124)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    save_rectangle_graph(tmp_path / "finder v1.onnx")
    return tmp_path / "finder v1.onnx"


def triton_server() -> ModuleType:
    """The module beside this one. Imported after what it needs, or a later test would get half of it."""
    pytest.importorskip("tritonclient.grpc", reason="needs tritonclient[grpc], of edgedet[dev]")
    return import_module("tests.export.pipelines.triton_server")


def config_of(repository: Path, name: str = "finder_v1") -> Any:
    server = triton_server()
    return server.read_config(repository / name / "config.pbtxt")


def test_the_repository_has_the_parts_that_triton_wants(graph: Path, tmp_path: Path) -> None:
    report = export_pipeline(graph, "triton", tmp_path / "repository")
    assert sorted(
        path.relative_to(report.path).as_posix() for path in report.path.rglob("*") if path.is_file()
    ) == [
        "README.md",
        "client.py",
        "edgedet.json",
        "finder_v1/1/model.onnx",
        "finder_v1/config.pbtxt",
        "finder_v1/labels.txt",
    ]
    assert (report.path / "finder_v1/1/model.onnx").read_bytes() == graph.read_bytes()
    assert (report.path / "finder_v1/labels.txt").read_text() == "blue\ngreen\nred\n"
    assert report.bytes > graph.stat().st_size and report.nodes > 5
    readme = (report.path / "README.md").read_text()
    assert "$" not in readme.replace("$PWD", "") and "uint8 [1, 64, 64, 3]" in readme


def test_the_configuration_keeps_tritons_own_schema_and_the_graphs_shapes(graph: Path, tmp_path: Path) -> None:
    export_pipeline(graph, "triton", tmp_path / "repository")
    config = config_of(tmp_path / "repository")
    model = onnx.load(graph)
    assert (config.name, config.backend, config.max_batch_size) == ("finder_v1", "onnxruntime", 0)
    assert config.default_model_filename == "model.onnx" and config.version_policy.latest.num_versions == 1
    assert [group.kind for group in config.instance_group] == [0]  # automatic
    described = {
        each.name: (each.data_type, list(each.dims), each.label_filename if each in config.output else "")
        for each in [*config.input, *config.output]
    }
    kinds = {onnx.TensorProto.UINT8: 2, onnx.TensorProto.FLOAT: 11, onnx.TensorProto.INT32: 8}
    assert described == {
        value.name: (
            kinds[value.type.tensor_type.elem_type],
            [size.dim_value for size in value.type.tensor_type.shape.dim],
            "",
        )
        for value in [*model.graph.input, *model.graph.output]
    }


def test_the_card_travels_in_the_configuration(graph: Path, tmp_path: Path) -> None:
    model = onnx.load(graph)
    card = replace(
        read_card(graph), names=('a "quoted" \\ name', "größe\t", "数"), golden={"seed": 1}, measured={"a": 1}
    )
    onnx.helper.set_model_props(model, {"edgedet": card.to_json()})
    onnx.save(model, graph)
    export_pipeline(graph, "triton", tmp_path / "repository")
    text = config_of(tmp_path / "repository").parameters["edgedet"].string_value
    assert ModelCard.from_json(text) == replace(card, golden=None, measured={}, engine=None)


def test_int8_for_cpus_stays_on_the_cpu(graph: Path) -> None:
    card = replace(read_card(graph), precision="int8")
    assert "KIND_CPU" in config_text("m", card, [], engine=False)
    tensorrt = replace(card, provenance={"options": {"target": "tensorrt"}})
    assert "KIND_AUTO" in config_text("m", tensorrt, [], engine=False)
    assert "KIND_GPU" in config_text("m", tensorrt, [], engine=True)


def client_rows(server: Any, repository: Path, picture: Path) -> list[Any]:
    """What the repository's client prints of a picture, asking ``server``."""
    with server.serving(repository) as url:
        command = [sys.executable, str(repository / "client.py"), str(picture), "--url", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_client_finds_what_detector_finds(tmp_path: Path, dtype: Any, batch: int) -> None:
    server = triton_server()
    save_rectangle_graph(tmp_path / "finder.onnx", dtype=dtype, batch=batch, height=96, width=64)
    repository = export_pipeline(tmp_path / "finder.onnx", "triton", tmp_path / "repository").path
    frame = frame_with_rectangle(120, 200, (20, 30, 90, 80), channel=2)
    cv2.imwrite(str(tmp_path / "frame.png"), frame)
    printed = client_rows(server, repository, tmp_path / "frame.png")
    (row,) = printed
    with Detector(tmp_path / "finder.onnx") as detector:
        (expected,) = detector.detect(frame)
    np.testing.assert_allclose(row["box"], expected.box, atol=0.01)
    assert (row["label"], row["name"], row["score"]) == (expected.label, "red", 0.875)


@pytest.mark.parametrize("what", ["masks", "keypoints"])
def test_the_client_prints_masks_and_keypoints_as_detector_gives_them(tmp_path: Path, what: str) -> None:
    server = triton_server()
    {"masks": save_masked_graph, "keypoints": save_keypoint_graph}[what](tmp_path / "finder.onnx")
    repository = export_pipeline(tmp_path / "finder.onnx", "triton", tmp_path / "repository").path
    assert f"`{what}`" in (repository / "README.md").read_text()
    frame = frame_with_rectangle(120, 200, (20, 30, 90, 80), channel=2)
    cv2.imwrite(str(tmp_path / "frame.png"), frame)
    printed = client_rows(server, repository, tmp_path / "frame.png")
    with Detector(tmp_path / "finder.onnx") as detector:
        expected = detector.detect(frame).to_dict()["detections"]
    assert printed == expected
    assert {"masks": "segmentation"}.get(what, what) in expected[0]


def save_engine(graph: Path, path: Path, *, container: Any) -> Path:
    facts = {"tensorrt": "10.14.1", "compute_capability": "8.9"}
    write_engine(path, replace(read_card(graph), engine=facts), PLAN, container=container)
    return path


@pytest.mark.parametrize("container", ["file", "plan"])
def test_a_finished_engine_goes_in_as_a_bare_plan(graph: Path, tmp_path: Path, container: Any) -> None:
    source = save_engine(graph, tmp_path / "finder.trt", container=container)
    report = export_pipeline(source, "triton", tmp_path / "repository")
    assert (report.path / "finder/1/model.plan").read_bytes() == PLAN
    config = config_of(report.path, "finder")
    assert (config.backend, config.default_model_filename) == ("tensorrt", "model.plan")
    assert [list(each.dims) for each in config.input] == [[1, 64, 64, 3]]
    # Triton's TensorRT backend fills in what is left out; the card does not know it.
    assert [(each.name, list(each.dims)) for each in config.output] == [
        ("boxes", []), ("scores", []), ("labels", []), ("count", []),
    ]  # fmt: skip
    assert "TensorRT 10.14.1" in (report.path / "README.md").read_text()


def test_an_engines_masks_and_keypoints_are_among_its_outputs(graph: Path, tmp_path: Path) -> None:
    output = read_card(graph).output
    spec = KeypointSpec("points", Skeleton(("tip",), ()))
    for changed, further in (
        (replace(output, masks="in_boxes"), ["masks"]),
        (replace(output, masks="prototypes"), ["coefficients", "prototypes"]),
        (replace(output, keypoints=spec), ["keypoints"]),
    ):
        outputs = engine_outputs(replace(read_card(graph), output=changed))
        assert [name for name, *_ in outputs] == ["boxes", "scores", "labels", "count", *further]
        # What the client of the folder asks for is what it can read.
        card = replace(read_card(graph), output=changed)
        Postprocessor(card, settle_thresholds(card), tuple(name for name, *_ in outputs))
    unsaid = replace(read_card(graph), output=replace(output, data=("angle",)))
    with pytest.raises(UsageError, match=r"further outputs \(angle\), of whose types its card says nothing"):
        engine_outputs(unsaid)


def test_an_engine_of_a_segmenter_is_refused_as_one(graph: Path, tmp_path: Path) -> None:
    facts = {"tensorrt": "10.14.1", "compute_capability": "8.9"}
    write_engine(tmp_path / "s.trt", replace(segmenter_card(), engine=facts), PLAN, container="file")
    with pytest.raises(UsageError, match="holds a segmenter"):
        export_pipeline(tmp_path / "s.trt", "triton", tmp_path / "repository")


def test_an_engine_of_another_library_is_refused(graph: Path, tmp_path: Path) -> None:
    """Triton would be told that a TensorRT-RTX engine is one of TensorRT's."""
    facts = {"library": "tensorrt-rtx", "tensorrt_rtx": "1.7.1"}
    source = tmp_path / "finder.rtx"
    write_engine(source, replace(read_card(graph), engine=facts), b"vtrt" + bytes(124))
    with pytest.raises(ArtifactError, match="is an engine for TensorRT-RTX, and Triton's backend"):
        export_pipeline(source, "triton", tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


def test_a_damaged_engine_is_refused(graph: Path, tmp_path: Path) -> None:
    source = save_engine(graph, tmp_path / "finder.trt", container="file")
    source.write_bytes(source.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match="damaged"):
        export_pipeline(source, "triton", tmp_path / "repository")
    (tmp_path / "empty.plan").touch()
    with pytest.raises(ArtifactError, match="empty"):
        export_pipeline(tmp_path / "empty.plan", "triton", tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


def test_an_engine_takes_no_options(graph: Path, tmp_path: Path) -> None:
    source = save_engine(graph, tmp_path / "finder.trt", container="file")
    with pytest.raises(UsageError, match="is an engine, which goes into the repository as it is"):
        export_pipeline(source, "triton", tmp_path / "repository", ExportOptions(conf=0.5))


def test_names_of_models() -> None:
    assert model_name(Path("weights/äöü.pt")) == "___"
    assert model_name(Path("yolo11n.onnx")) == "yolo11n"


def test_the_command_says_what_it_wrote(
    graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(graph), "--for", "triton", "out", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["path"] == "out" and report["card"]["architecture"] == "rectangle"
    assert main(["export", str(graph), "--for", "kserve", "out"]) == 2
    assert "--for is 'kserve', expected deepstream or triton" in capsys.readouterr().err
    assert main(["export", str(graph), "--for", "triton", "other", "-o", "a.onnx"]) == 2
    assert "--for writes the folder other, not a file: drop -o" in capsys.readouterr().err
    assert main(["export", str(graph), "--for", "triton", "other", "--container", "file"]) == 2
    assert "no pipeline reads" in capsys.readouterr().err
    assert main(["export", str(graph), "--for", "triton", "other", "--workspace", "64"]) == 2
    assert "--workspace is for engines" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_sizes_of_planes(graph: Path) -> None:
    card = replace(read_card(graph), input=InputSpec(32, 64, dtype="float32", layout="NCHW"))
    assert "dims: [ 1, 3, 32, 64 ]" in config_text("m", card, [], engine=False)


@pytest.mark.parametrize("name", ["two\nlines", "", " "])
def test_a_class_name_that_would_shift_the_others_is_refused(graph: Path, tmp_path: Path, name: str) -> None:
    card = replace(read_card(graph), names=(name, *read_card(graph).names[1:]))
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match=r"is no line of labels\.txt; name it otherwise"):
        write_repository(tmp_path / "out", "finder", b"", card, [], source="finder.onnx", engine=False)
