"""Graphs through OpenVINO: ONNX's rules where its own decide other boxes, no bfloat16, nothing told to anybody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet import Detector
from edgedet.artifacts.card import ModelCard
from edgedet.errors import ArtifactError, UsageError
from edgedet.opening import open_artifact
from edgedet.proof.parity import match_detections
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

openvino = pytest.importorskip("openvino", reason="needs OpenVINO (pip install openvino)")

RECTANGLE = (10, 20, 30, 50)


def opened(path: Path, **settings: Any) -> Any:
    return open_artifact(path, runtime="openvino", **settings)[1]


def test_it_gives_what_onnx_runtime_gives(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    save_rectangle_graph(path)
    image = frame_with_rectangle(64, 64, RECTANGLE)[None]
    _, plain = open_artifact(path, runtime="onnxruntime")
    runtime = opened(path, threads=1)
    expected, outputs = plain.run({"images": image}), runtime.run({"images": image})
    assert runtime.device == "cpu" and runtime.description.endswith("CPU, 1 threads")
    assert runtime.inputs == plain.inputs and runtime.outputs == plain.outputs
    for spec in plain.outputs:
        np.testing.assert_array_equal(outputs[spec.name], expected[spec.name])
        assert outputs[spec.name].dtype == spec.dtype
    assert runtime.run({"images": np.zeros_like(image)})["count"].tolist() == [0]
    runtime.close()
    runtime.close()


def test_a_detector_takes_it_by_name_and_never_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    save_rectangle_graph(path)
    with Detector(path) as usual, Detector(path, runtime="openvino") as asked:
        assert usual.description.startswith("onnxruntime")
        assert asked.description.startswith("openvino 20")
        found = asked.detect(frame_with_rectangle(64, 64, RECTANGLE))
        np.testing.assert_allclose(found.boxes, [RECTANGLE], atol=1)


def test_what_it_cannot_be_used_for_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    save_rectangle_graph(path)
    with pytest.raises(UsageError, match=r"unknown device 'gpu' for openvino; expected cpu"):
        Detector(path, runtime="openvino:gpu")
    model = onnx.load(path)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match=r"OpenVINO cannot load .*: FrontEnd API failed"):
        Detector(path, runtime="openvino")


def graph_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, tuple[int, ...]]],
    constants: dict[str, np.ndarray],
) -> bytes:
    body = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def answers(content: bytes, *inputs: np.ndarray, follow: bool = True) -> list[np.ndarray]:
    from edgedet.runtimes.openvino import follow_onnx

    model = openvino.Core().read_model(content)
    if follow:
        follow_onnx(model)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(list(inputs))
    return [found[port] for port in compiled.outputs]


@pytest.mark.parametrize("levels", [1, 2, 10, 100_000])
@pytest.mark.parametrize(
    ("shape", "best", "axis"),
    [
        ((1, 80), 1, 1),
        ((1, 80), 3, 1),
        ((1, 3234), 400, 1),
        ((3, 900), 900, 1),
        ((2, 70_000), 300, -1),
        ((2, 400, 3), 100, 1),
        ((1, 5000), 4, 1),
        ((1, 283_920), 300, 1),
    ],
)
def test_of_equal_scores_the_first_wins(shape: tuple[int, ...], best: int, axis: int, levels: int) -> None:
    """Else classes of one score are named by chance: INT8 scores have few values."""
    node = helper.make_node("TopK", ["scores", "k"], ["values", "places"], axis=axis)
    found = tuple(best if place == axis % len(shape) else size for place, size in enumerate(shape))
    content = graph_of(
        [node],
        {"scores": shape},
        {"values": (TensorProto.FLOAT, found), "places": (TensorProto.INT64, found)},
        {"k": np.array([best], np.int64)},
    )
    scores = np.random.default_rng(0).integers(0, levels, shape).astype(np.float32) / 10 - 0.4
    first = np.take(np.argsort(-scores, axis=axis, kind="stable"), np.arange(best), axis=axis)
    values, places = answers(content, scores)
    np.testing.assert_array_equal(places, first)
    np.testing.assert_array_equal(values, np.take_along_axis(scores, first, axis=axis))


def test_rows_too_long_for_keys_have_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgedet.runtimes.openvino_topk.KEYS", 3234 * 400)
    monkeypatch.setattr("edgedet.runtimes.openvino_topk._ordered", lambda *_, **__: pytest.fail("keys overflow"))
    test_of_equal_scores_the_first_wins((1, 3234), 400, 1, 10)


def test_openvino_itself_takes_equal_scores_at_will() -> None:
    """Where this fails it has been mended, and so can be what follows ONNX's rule here."""
    node = helper.make_node("TopK", ["scores", "k"], ["values", "places"], axis=1)
    outputs = {"values": (TensorProto.FLOAT, (1, 400)), "places": (TensorProto.INT64, (1, 400))}
    content = graph_of([node], {"scores": (1, 3234)}, outputs, {"k": np.array([400], np.int64)})
    scores = np.random.default_rng(0).integers(0, 10, (1, 3234)).astype(np.float32)
    first = np.argsort(-scores[0], kind="stable")[:400]
    assert (answers(content, scores, follow=False)[1][0] != first).any()


def suppression(threshold: float) -> bytes:
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou"], ["kept"])
    limits = {"most": np.array([10], np.int64), "iou": np.array([threshold], np.float32)}
    shapes = {"boxes": (1, 3, 4), "scores": (1, 1, 3)}
    content = graph_of([node], shapes, {"kept": (TensorProto.INT64, (3, 3))}, limits)
    model = onnx.load_from_string(content)
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "n"
    serialised: bytes = model.SerializeToString()
    return serialised


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [(0.5, [0, 1, 2]), (0.49, [0, 2]), (0.51, [0, 1, 2]), (0.0, [0, 2]), (1.0, [0, 1, 2])],
)
def test_an_iou_equal_to_the_threshold_is_kept(threshold: float, kept: list[int]) -> None:
    """Two boxes of IoU 0.5, and one far away from both, which a threshold of 0 must not take for a neighbour."""
    boxes = np.array([[[0, 0, 2, 2], [0, 0, 1, 2], [8, 8, 9, 9]]], np.float32)
    scores = np.array([[[0.9, 0.8, 0.7]]], np.float32)
    (found,) = answers(suppression(threshold), boxes, scores)
    assert sorted(int(row[2]) for row in found if row[0] >= 0) == kept


def test_nothing_is_computed_in_bfloat16(tmp_path: Path) -> None:
    """OpenVINO does wherever the CPU can, whatever the card says."""
    path = tmp_path / "a.onnx"
    save_rectangle_graph(path)
    code = (
        "import openvino\n"
        "compiled = []\n"
        "plain = openvino.Core.compile_model\n"
        "openvino.Core.compile_model = lambda *words: compiled.append(plain(*words)) or compiled[-1]\n"
        "from edgedet import Detector\n"
        f"Detector({str(path)!r}, runtime='openvino')\n"
        "print(compiled[0].get_property('INFERENCE_PRECISION_HINT').to_string())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() in {"f32", "float32"}, done.stderr


def test_its_telemetry_is_not_loaded_and_a_program_that_loaded_it_keeps_it() -> None:
    code = (
        "import sys\n"
        "{first}from edgedet.runtimes.openvino_library import openvino\n"
        "print('openvino_telemetry' in sys.modules, openvino.__name__)\n"
    )
    for first, loaded in (("", "False"), ("import openvino_telemetry;", "True")):
        words = [sys.executable, "-c", code.format(first=first)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == f"{loaded} openvino", done.stderr


def test_trained_detectors_find_what_they_find_on_onnx_runtime(shared: Path, tmp_path: Path) -> None:
    from edgedet.export import ExportOptions, export_model
    from edgedet.pictures.image_file import read_image

    pictures = sorted((shared / "data" / "bccd" / "JPEGImages").glob("*.jpg"))[:4]
    path = tmp_path / "a.onnx"
    checkpoint = shared / "models" / "ssdlite320_mobilenet_v3_large_bccd.pt"
    export_model(checkpoint, path, ExportOptions(frame_size=(640, 480)))
    with Detector(path) as plain, Detector(path, runtime="openvino") as other:
        for picture in pictures:
            frame = read_image(picture)
            report = match_detections(plain.detect(frame), other.detect(frame))
            assert not len(report.missing) and not len(report.extra) and report.reference_count


def test_the_card_and_the_runtime_are_held_together(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    card: ModelCard = save_rectangle_graph(path)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 32
    del model.graph.value_info[:]
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match=r"takes images uint8 \[1, 32|OpenVINO cannot load"):
        Detector(path, runtime="openvino")
    assert card.input.height == 64


@pytest.mark.parametrize(("lanes", "threads"), [(1, 1), (2, None)])
def test_no_thread_is_tied_to_a_core(lanes: int, threads: int | None, tmp_path: Path) -> None:
    """Two detectors of one thread each would share the first one."""
    save_rectangle_graph(tmp_path / "a.onnx")
    with Detector(tmp_path / "a.onnx", runtime="openvino", threads=threads, lanes=lanes) as detector:
        compiled = detector.lanes[0].runtime._compiled  # type: ignore[attr-defined]
        assert compiled.get_property("ENABLE_CPU_PINNING") is False
        assert compiled.get_property("NUM_STREAMS") == lanes
