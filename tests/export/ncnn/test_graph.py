"""Graphs as ncnn's layers: every operator gives what ONNX Runtime gives, and what ncnn lacks is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgedet.artifacts.card import InputSpec
from edgedet.artifacts.ncnn_file import layer_kinds, write_ncnn
from edgedet.errors import ExportError
from edgedet.export.ncnn.graph import OPERATORS, Written, write_graph
from edgedet.opening import open_artifact
from tests.colour_detector import card
from tests.export.ncnn.cases import CASES, HEIGHT, REFUSED, WIDTH, Graph, conv

PLANES = InputSpec(HEIGHT, WIDTH, dtype="float32", layout="NCHW")


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (1, 3, HEIGHT, WIDTH)).astype(np.float32)


def onnx_runtime(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    from edgedet.onnxruntime_import import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["boxes"], {"images": images})[0])


def on_ncnn(path: Path, written: Written, spec: InputSpec, images: np.ndarray) -> np.ndarray:
    facts = {"outputs": {name: list(size) for name, size in written.outputs.items()}}
    write_ncnn(path, replace(card(), input=spec), facts, param=written.param, weights=written.weights)
    _, runtime = open_artifact(path, threads=1)
    found = runtime.run({"images": images})["boxes"].copy()
    runtime.close()
    return found


@pytest.mark.parametrize("name", CASES)
def test_an_operator_gives_what_onnx_runtime_gives(name: str, tmp_path: Path) -> None:
    pytest.importorskip("ncnn", reason="needs ncnn (pip install ncnn)")
    graph = Graph()
    model = graph.model(CASES[name](graph))
    expected = onnx_runtime(model, picture())
    found = on_ncnn(tmp_path / "a.ncnn", write_graph(model, PLANES), PLANES, picture())
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_every_operator_has_a_case() -> None:
    done = set()
    for case in CASES.values():
        graph = Graph()
        case(graph)
        done |= {node.op_type for node in graph.nodes}
    # Written in place of groups of others; and one that training alone has.
    assert set(OPERATORS) - done == {"Swish", "Mish", "Identity", "Dropout"}


@pytest.mark.parametrize("name", REFUSED)
def test_what_ncnn_does_not_have_is_refused(name: str) -> None:
    make, message = REFUSED[name]
    graph = Graph()
    model = graph.model(make(graph))
    with pytest.raises(ExportError, match=f"{message}.*(export an .onnx file, for ONNX Runtime or OpenVINO|$)"):
        write_graph(model, PLANES)


@pytest.mark.parametrize("others", [{"scores": "Neg", "again": "Identity"}, {"again": "Identity"}])
def test_an_output_that_others_are_made_of_is_there_in_any_order(others: dict[str, str], tmp_path: Path) -> None:
    """ncnn lets go of a blob once a layer has read it."""
    pytest.importorskip("ncnn", reason="needs ncnn (pip install ncnn)")
    graph = Graph()
    made = conv(graph, "images", (4, 3, 3, 3))
    model = graph.model(made)
    for name, kind in others.items():
        model.graph.node.append(onnx.helper.make_node(kind, [made], [name], name))
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    expected = onnx_runtime(model, picture())
    written = write_graph(model, PLANES)
    for order in (["boxes", *others], [*list(others)[::-1], "boxes"]):
        facts = {"outputs": {name: list(written.outputs[name]) for name in order}}
        path = tmp_path / "a.ncnn"
        write_ncnn(path, replace(card(), input=PLANES), facts, param=written.param, weights=written.weights)
        _, runtime = open_artifact(path, threads=1)
        found = runtime.run({"images": picture()})
        np.testing.assert_allclose(found["boxes"], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(found["again"], found["boxes"])
        if "scores" in others:
            np.testing.assert_array_equal(found["scores"], -found["boxes"])
        runtime.close()


def test_groups_become_one_layer() -> None:
    def kinds(name: str) -> set[str]:
        graph = Graph()
        return set(layer_kinds(write_graph(graph.model(CASES[name](graph)), PLANES).param)) - {"Input", "Split"}

    assert kinds("fused hard swish") == {"Convolution"}
    assert kinds("swish") == {"Swish"} and kinds("mish") == {"Mish"}
    assert kinds("focus") == {"Reorg", "Convolution"}
    assert kinds("squeeze and excite") == {
        "Convolution", "Pooling", "InnerProduct", "HardSigmoid", "Reshape", "BinaryOp",
    }  # fmt: skip
    assert kinds("transposes that undo each other") == {"Noop"}
    assert kinds("not fused where both are read") == {"Convolution", "ReLU", "Concat"}


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_pixels_side_by_side_become_planes_without_a_layer(dtype: str, tmp_path: Path) -> None:
    """The runtime hands over planes; the graph's own transposition has nothing left to do."""
    pytest.importorskip("ncnn", reason="needs ncnn (pip install ncnn)")
    graph = Graph()
    floats = graph.op("Cast", "images", to=onnx.TensorProto.FLOAT) if dtype == "uint8" else "images"
    model = graph.model(conv(graph, graph.op("Transpose", floats, perm=[0, 3, 1, 2]), (4, 3, 3, 3)))
    kind = onnx.TensorProto.UINT8 if dtype == "uint8" else onnx.TensorProto.FLOAT
    del model.graph.value_info[:]
    model.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("images", kind, [1, HEIGHT, WIDTH, 3]))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    images = np.random.default_rng(0).integers(0, 255, (1, HEIGHT, WIDTH, 3)).astype(dtype)
    spec = replace(PLANES, layout="NHWC", dtype=dtype)  # type: ignore[arg-type]
    written = write_graph(model, spec)
    assert layer_kinds(written.param) == {"Input": 1, "Convolution": 1}
    found = on_ncnn(tmp_path / "a.ncnn", written, spec, images)
    np.testing.assert_allclose(found, onnx_runtime(model, images), rtol=1e-5, atol=1e-3)
