"""From a detector to a file for ncnn: the graph's own boxes, or no file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgedet import Detector
from edgedet.artifacts.ncnn_file import read_ncnn, write_ncnn
from edgedet.cli import main
from edgedet.errors import ArtifactError, ExportError, OutputError, RuntimeUnavailableError, UsageError
from edgedet.export.embedded_card import embed
from edgedet.export.finished_graph import FinishedGraph, checked, finish_graph
from edgedet.export.ncnn import file
from edgedet.export.ncnn.graph import Written
from edgedet.export.options import EngineOptions, ExportOptions, silent
from edgedet.export.pipeline import export_model
from edgedet.export.sources import build_graph
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import match_detections
from tests.colour_detector import save_colour_file
from tests.export.one_stage import save_one_stage

pytest.importorskip("ncnn", reason="needs ncnn (pip install ncnn)")

NAMES = ("blue", "green", "red")
FRAMES = [golden_frame(seed) for seed in (1, 4, 8)]


@pytest.fixture(scope="module", name="source")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "yolo.onnx"
    save_one_stage(path, "yolo")
    return path


@pytest.fixture(scope="module", name="graph")
def _graph(source: Path) -> Path:
    """With NMS inside."""
    return export_model(source, source.with_name("graph.onnx")).path


@pytest.fixture(scope="module", name="finished")
def _finished(source: Path) -> FinishedGraph:
    options = ExportOptions(nms="runtime", target="ncnn")
    return finish_graph(source, source.with_name("made.ncnn"), options, progress=silent)


def built(finished: FinishedGraph, output: Path) -> Path:
    model = onnx.ModelProto()
    model.CopyFrom(finished.model)
    return file.build_ncnn_file(model, finished.card, output, FRAMES).path


def shrink_weights(path: Path) -> None:
    """Random ones make boxes as large as the universe."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(0.5), tensor.name))
    onnx.save(model, path)


def same_detections(first: Path, second: Path) -> int:
    """How many there are; all of them alike."""
    count = 0
    with Detector(first) as one, Detector(second) as other:
        for frame in FRAMES:
            found = match_detections(one.detect(frame), other.detect(frame))
            assert not len(found.missing) and not len(found.extra)
            count += found.reference_count
    return count


def test_it_gives_the_boxes_of_the_graph_with_nms_inside(
    graph: Path, finished: FinishedGraph, tmp_path: Path
) -> None:
    artifact = built(finished, tmp_path / "a.ncnn")
    assert list(tmp_path.iterdir()) == [artifact]
    assert same_detections(graph, artifact) > 3
    with Detector(artifact) as found, Detector(graph) as expected:
        assert found.thresholds == expected.thresholds and found.names == expected.names
        assert found.card.provenance["source_sha256"] == expected.card.provenance["source_sha256"]
        assert found.card.output.format == "candidates" and found.card.precision == "fp32"
        measured = found.card.measured["ncnn"]
        assert measured["frames"] == 3 and measured["other_boxes"] == 0
        assert measured["worst_iou"] > 0.999 and measured["worst_score_difference"] < 1e-4


def test_from_the_command_line(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copied = tmp_path / "net.onnx"
    copied.write_bytes(source.read_bytes())
    assert main(["export", str(copied), "--target", "ncnn", "--batch", "2", "--conf", "0.3"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"wrote {tmp_path / 'net.ncnn'}" in said and "layers, NMS in the runtime, scores from 0.3" in said
    assert "gives the graph's candidates on 3 frames (IoU at least" in said
    assert "a batch of 2 takes as long as 2 frames" in said and "golden frame" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.ncnn", "net.onnx"]
    with Detector(tmp_path / "net.ncnn", selftest=True) as detector:
        assert detector.card.input.batch == 2 and detector.thresholds.score == 0.3
        alone = [detector.detect(frame) for frame in FRAMES]
        for one, other in zip(alone, detector.detect_batch(FRAMES), strict=True):
            np.testing.assert_array_equal(one.boxes, other.boxes)
    assert main(["inspect", str(tmp_path / "net.ncnn"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "ncnn" and told["layers"]["Convolution"] > 10
    assert told["card"]["provenance"]["options"]["target"] == "ncnn"


def test_space_to_depth_and_graphs_made_before(tmp_path: Path) -> None:
    """Of a graph made for CPUs, too, whose first convolution reads rows of pixels, and the picture in place of four
    slices, which ncnn has a layer for."""
    save_one_stage(tmp_path / "net.onnx", "yolox")
    shrink_weights(tmp_path / "net.onnx")
    options = ExportOptions(family="yolox", classes=NAMES, conf=0.2, nms="runtime")
    made = export_model(tmp_path / "net.onnx", tmp_path / "graph.onnx", options).path
    again = export_model(made, tmp_path / "again.ncnn").path
    assert same_detections(made, again) > 3
    direct = export_model(tmp_path / "net.onnx", tmp_path / "direct.ncnn", options).path
    assert "Reorg" in read_ncnn(direct).param
    assert same_detections(made, direct) > 3


def refused(source: Path, output: Path, message: str, kind: type[Exception], **options: Any) -> None:
    engine = options.pop("engine", None)
    with pytest.raises(kind, match=message):
        export_model(source, output, ExportOptions(**options), engine=engine)
    assert not output.exists()


def test_what_cannot_be_is_refused_before_anything_is_done(
    source: Path, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.ncnn"
    for precision in ("int8", "fp16"):
        message = rf"files are fp32: drop --{precision}, or write a graph \(a.onnx\)"
        refused(source, out, message, UsageError, precision=precision)
    engine = EngineOptions(workspace_mib=64)
    refused(source, out, "options of engines have no meaning for a.ncnn", UsageError, engine=engine)
    refused(source, tmp_path / "a.onnx", "--target ncnn writes .ncnn files", UsageError, target="ncnn")
    refused(source, tmp_path / "a.param", "or .ncnn for ncnn", OutputError)
    save_colour_file(tmp_path / "made.ncnn")
    refused(tmp_path / "made.ncnn", out, "is for ncnn, which is the end of the line", ArtifactError)
    assert main(["export", str(source), "-o", str(out), "--target", "tensorrt"]) == 2
    refused(graph, out, "has its NMS in the graph, and for ncnn it has to be outside", UsageError)
    monkeypatch.setattr("edgedet.export.request_checks.find_spec", lambda name: None)
    refused(source, out, r"needs the package 'ncnn', .*pip install 'edgedet\[ncnn\]'", RuntimeUnavailableError)


def test_a_network_that_chooses_for_itself_is_refused(tmp_path: Path) -> None:
    from tests.export.repository_heads import Ranked, save_repository_head

    source = save_repository_head(tmp_path / "net.onnx", Ranked())
    message = r"chooses its boxes inside the network \(TopK\), .*export an .onnx file, for ONNX Runtime or OpenVINO"
    refused(source, tmp_path / "a.ncnn", message, ExportError, classes=NAMES, conf=0.3)


@pytest.mark.parametrize("spoilt", ["param", "weights"])
def test_layers_that_give_other_numbers_are_not_kept(
    spoilt: str, finished: FinishedGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = file.write_graph

    def other(*words: Any) -> Written:
        made = plain(*words)
        # A kernel turned round, and a sigmoid that is none.
        weights = made.weights[:4] + made.weights[4:400][::-1] + made.weights[400:]
        param = made.param.replace("Sigmoid ", "HardSigmoid ")
        return Written(
            param if spoilt == "param" else made.param,
            weights if spoilt == "weights" else made.weights,
            made.outputs,
            made.layers,
        )

    monkeypatch.setattr(file, "write_graph", other)
    with pytest.raises(ExportError, match=r"does not give the graph's numbers.*a.ncnn is not written"):
        built(finished, tmp_path / "a.ncnn")
    assert list(tmp_path.iterdir()) == []


def test_what_counts_as_the_same() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, np.inf, 1e30], [3, 3, 3, 3]], np.float32)
    np.testing.assert_array_equal(file._ious(boxes, boxes), [1, 1, 1])
    moved = boxes + np.array([[1, 0, 0, 0]] * 3, np.float32)
    np.testing.assert_allclose(file._ious(boxes, moved), [0.9, 0, 0])
    values = np.array([np.nan, np.inf, 1, 2])
    np.testing.assert_array_equal(
        file._differences(values, np.array([np.nan, np.inf, np.nan, 2.5])), [0, 0, np.inf, 0.5]
    )
    same = {"frames": 1, "worst_score_difference": 0.0, "worst_iou": 1.0, "other_boxes": 0}
    file.require_equal(same, Path("a.ncnn"))
    for fault in (
        {"worst_score_difference": 0.0011},
        {"worst_score_difference": np.inf},
        {"other_boxes": 1},
        {"worst_data_difference": 0.01},
    ):
        with pytest.raises(ExportError):
            file.require_equal(same | fault, Path("a.ncnn"))


def test_trained_detectors_find_what_they_find_on_onnx_runtime(shared: Path, tmp_path: Path) -> None:
    from edgedet.pictures.image_file import read_image

    pictures = sorted((shared / "data" / "bccd" / "JPEGImages").glob("*.jpg"))[:4]
    options = ExportOptions(nms="runtime", target="ncnn")
    checkpoint = shared / "models" / "ssdlite320_mobilenet_v3_large_bccd.pt"
    trained = build_graph(checkpoint, options, frame_size=(640, 480))
    model = checked(trained.model, nms="runtime")
    onnx.save(embed(model, trained.card), tmp_path / "a.onnx")
    written = file.write_graph(model, trained.card.input)
    facts = {"outputs": {name: list(size) for name, size in written.outputs.items()}}
    write_ncnn(tmp_path / "a.ncnn", trained.card, facts, param=written.param, weights=written.weights)
    with Detector(tmp_path / "a.onnx") as plain, Detector(tmp_path / "a.ncnn") as other:
        for picture in pictures:
            frame = read_image(picture)
            found = match_detections(plain.detect(frame), other.detect(frame))
            assert found.reference_count > 5 and not len(found.missing) and not len(found.extra)
