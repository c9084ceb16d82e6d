"""Weights beside a graph: named, kept in their folder, and taken inside without a change of any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.artifacts.external_data import INSIDE, external_files, require_inside, with_data_inside
from edgedet.artifacts.protobuf import DamagedError, record
from edgedet.selftest import SELFTEST_GRAPH


def nested(path: Path) -> onnx.ModelProto:
    """A model with tensors outside in every place that may hold some; returned with all of them inside."""
    arrays = iter(np.arange(12.0, dtype=np.float32).reshape(3, 4) + 100 * number for number in range(20))

    def tensor(name: str) -> TensorProto:
        return numpy_helper.from_array(next(arrays), name)

    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value=tensor("deep"))],
        "inner",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 4])],
        initializer=[tensor("inner weight")],
    )
    nodes = [
        helper.make_node("Constant", [], ["a"], value=tensor("constant")),
        helper.make_node("If", ["condition"], ["b"], then_branch=inner, else_branch=inner),
    ]
    graph = helper.make_graph(
        nodes,
        "outer",
        [helper.make_tensor_value_info("condition", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [3, 4])],
        initializer=[tensor("first"), tensor("second")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    whole = onnx.ModelProto.FromString(model.SerializeToString())
    onnx.save(
        model,
        str(path),
        save_as_external_data=True,
        all_tensors_to_one_file=False,
        size_threshold=0,
        convert_attribute=True,
    )
    return whole


def test_every_tensor_outside_is_found_and_comes_inside(tmp_path: Path) -> None:
    whole = nested(tmp_path / "model.onnx")
    content = (tmp_path / "model.onnx").read_bytes()
    names = external_files(content)
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir() if path.name != "model.onnx")
    assert len(names) >= 4
    joined = with_data_inside(content, {name: (tmp_path / name).read_bytes() for name in names})
    assert external_files(joined) == ()
    assert tensors(onnx.load_model_from_string(joined)) == tensors(whole)


def tensors(model: onnx.ModelProto) -> list[tuple[str, bytes]]:
    found = []

    def of_graph(graph: onnx.GraphProto) -> None:
        found.extend((each.name, numpy_helper.to_array(each).tobytes()) for each in graph.initializer)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    found.append((attribute.t.name, numpy_helper.to_array(attribute.t).tobytes()))
                if attribute.HasField("g"):
                    of_graph(attribute.g)

    of_graph(model.graph)
    return found


def test_the_fields_that_are_walked_are_those_of_onnx() -> None:
    """Every field of the format that may hold a tensor, and no other."""
    kinds = ["Model", "Graph", "Node", "Attribute", "Tensor", "SparseTensor", "Function", "TrainingInfo"]
    messages = {f"onnx.{kind}Proto": number for number, kind in enumerate(kinds)}
    for number, kind in enumerate(kinds):
        if kind == "Tensor":
            continue
        descriptor = getattr(onnx, f"{kind}Proto").DESCRIPTOR
        expected = {
            field.number: messages[field.message_type.full_name]
            for field in descriptor.fields
            if field.message_type is not None and field.message_type.full_name in messages
        }
        assert INSIDE[number] == expected, kind


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../weights.bin", "a/../../b", "a\\b", "C:weights", "a\0b", ".."]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="no place in the file's own folder"):
        require_inside(name)
    nested(tmp_path / "model.onnx")
    model = onnx.load(str(tmp_path / "model.onnx"), load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = name
    with pytest.raises(DamagedError, match="no place in the file's own folder"):
        external_files(model.SerializeToString())


def test_a_graph_that_is_all_inside_names_nothing() -> None:
    assert external_files(SELFTEST_GRAPH.read_bytes()) == ()


@pytest.mark.parametrize(
    ("offset", "length"), [("0", "49"), ("40", "48"), ("-1", "8"), ("1e3", "1"), ("9" * 40, "1")]
)
def test_a_place_outside_the_file_is_refused(offset: str, length: str, tmp_path: Path) -> None:
    nested(tmp_path / "model.onnx")
    model = onnx.load(str(tmp_path / "model.onnx"), load_external_data=False)
    first = model.graph.initializer[0]
    name = next(entry.value for entry in first.external_data if entry.key == "location")
    del first.external_data[:]
    for key, value in (("location", name), ("offset", offset), ("length", length)):
        first.external_data.add(key=key, value=value)
    content = model.SerializeToString()
    files = {each: (tmp_path / each).read_bytes() for each in external_files(content)}
    with pytest.raises(DamagedError):
        with_data_inside(content, files)


def test_graphs_inside_graphs_without_end_are_damage() -> None:
    graph = record(10, b"location")  # its doc string
    for _ in range(1000):
        graph = record(1, record(5, record(6, graph)))
    with pytest.raises(DamagedError, match="graphs inside graphs"):
        external_files(record(7, graph))
    with pytest.raises(DamagedError, match="graphs inside graphs"):
        with_data_inside(record(7, graph), {})
