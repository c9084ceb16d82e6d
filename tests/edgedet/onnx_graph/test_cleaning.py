"""Simplifying changes nothing that can be computed."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.onnx_graph.cleaning import simplify


def model(
    nodes: list[onnx.NodeProto], *, constants: dict[str, np.ndarray], listed: bool = False
) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])]
    if listed:
        inputs += [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in constants.items()
        ]
    graph = helper.make_graph(
        nodes,
        "g",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(graph: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": np.arange(6, dtype=np.float32).reshape(2, 3)})[0])


def test_shapes_identities_and_constants_are_folded() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["columns"]),
        helper.make_node("Cast", ["columns"], ["columns_float"], to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2))),
        helper.make_node("Mul", ["columns_float", "two"], ["six"]),
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Mul", ["same", "six"], ["product"]),
        helper.make_node("Identity", ["product"], ["y"]),
        helper.make_node("Relu", ["x"], ["unused"]),
    ]
    before = model(nodes, constants={"one": np.array(1), "never": np.zeros(5, np.float32)})
    expected = run(before)
    after = simplify(before)
    assert [node.op_type for node in after.graph.node] == ["Mul"]
    assert len(after.graph.initializer) == 1
    np.testing.assert_array_equal(run(after), expected)


def test_constants_cease_to_be_inputs_and_are_shared() -> None:
    nodes = [helper.make_node("Add", ["x", "a"], ["t"]), helper.make_node("Add", ["t", "b"], ["y"])]
    before = model(nodes, constants={"a": np.ones(3, np.float32), "b": np.ones(3, np.float32)}, listed=True)
    expected = run(before)
    after = simplify(before)
    assert [value.name for value in after.graph.input] == ["x"]
    assert len(after.graph.initializer) == 1
    np.testing.assert_array_equal(run(after), expected)


def test_an_output_that_is_an_input_keeps_its_name() -> None:
    after = simplify(model([helper.make_node("Identity", ["x"], ["y"])], constants={}))
    assert [value.name for value in after.graph.output] == ["y"]
    np.testing.assert_array_equal(run(after), np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    ("settings", "constants", "goes"),
    [
        ({}, {"sizes": np.array([1, 1, 2, 3])}, True),
        ({}, {"scales": np.ones(4, np.float32)}, True),
        ({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, {"sizes": [1, 1, 2, 3]}, True),
        ({}, {"sizes": np.array([1, 1, 4, 3])}, False),
        ({}, {"scales": np.array([1, 1, 1, 1.3], np.float32)}, False),
        (
            {"coordinate_transformation_mode": "tf_crop_and_resize"},
            {"roi": np.array([0, 0, 0, 0, 1, 1, 0.5, 0.5], np.float32), "sizes": np.array([1, 1, 2, 3])},
            False,
        ),
    ],
)
def test_resizing_to_the_same_size_goes(
    settings: dict[str, str], constants: dict[str, np.ndarray], goes: bool
) -> None:
    constants = {name: np.asarray(value) for name, value in constants.items()}
    inputs = ["map", *(name if name in constants else "" for name in ("roi", "scales", "sizes"))]
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["map"]),
        helper.make_node("Resize", inputs, ["resized"], **settings),
        helper.make_node("Relu", ["resized"], ["y"]),
    ]
    before = model(nodes, constants=constants | {"shape": np.array([1, 1, 2, 3])})
    expected = run(before)
    after = simplify(before)
    assert ("Resize" not in [node.op_type for node in after.graph.node]) == goes
    np.testing.assert_array_equal(run(after), expected)


def test_a_size_that_is_computed_stays_whatever_the_empty_scales_say() -> None:
    """Opsets 11 and 12 want an empty tensor where nothing is meant."""
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["map"]),
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["five"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["five", "one"], ["width"]),
        helper.make_node("Concat", ["rest", "width"], ["sizes"], axis=0),
        helper.make_node("Resize", ["map", "nothing", "nothing", "sizes"], ["y"]),
    ]
    constants = {
        "shape": np.array([1, 1, 2, 3]),
        "one": np.array([1]),
        "rest": np.array([1, 1, 2]),
        "nothing": np.zeros(0, np.float32),
    }
    before = model(nodes, constants=constants)
    expected = run(before)
    assert expected.shape == (1, 1, 2, 5)
    np.testing.assert_array_equal(run(simplify(before)), expected)


def computed_halves(source: str, number: int) -> list[onnx.NodeProto]:
    """``source`` [., 2n] cut in two as PyTorch's chunk is exported, the sum of both as ``half<number>``."""
    name = f"{number}"
    return [
        helper.make_node("Shape", [source], [f"shape{name}"]),
        helper.make_node("Gather", [f"shape{name}", "one"], [f"size{name}"]),
        helper.make_node("Div", [f"size{name}", "two"], [f"middle{name}"]),
        helper.make_node("Slice", [source, "zero", f"middle{name}", "one"], [f"first{name}"]),
        helper.make_node("Slice", [source, f"middle{name}", f"size{name}", "one"], [f"second{name}"]),
        helper.make_node("Add", [f"first{name}", f"second{name}"], [f"half{name}"]),
        helper.make_node("Concat", [f"half{name}", f"first{name}"], [f"joined{name}"], axis=1),
    ]


@pytest.mark.parametrize("chunks", [1, 3, 8])
def test_any_number_of_computed_chunks_is_folded(chunks: int) -> None:
    """Every one's shape is known only when the one before is a constant."""
    constants = {"zero": np.array([0]), "one": np.array([1]), "two": np.array([2])}
    nodes, source = [helper.make_node("Concat", ["x", "x"], ["start"], axis=1)], "start"
    for number in range(chunks):
        nodes += computed_halves(source, number)
        source = f"joined{number}"
    before = model([*nodes, helper.make_node("Relu", [source], ["y"])], constants=constants)
    expected = run(before)
    after = simplify(before)
    assert not {"Shape", "Gather", "Div"} & {node.op_type for node in after.graph.node}
    np.testing.assert_array_equal(run(after), expected)


def test_padding_that_is_computed_is_folded() -> None:
    """As YOLOv3-tiny has it: zeros filled in, turned around and cast, all of constants."""
    nodes = [
        helper.make_node("ConstantOfShape", ["two"], ["zeros"], value=numpy_helper.from_array(np.array([0]))),
        helper.make_node("Concat", ["given", "zeros"], ["flat"], axis=0),
        helper.make_node("Reshape", ["flat", "pairs"], ["rows"]),
        helper.make_node("Slice", ["rows", "last", "first", "axis", "last"], ["turned"]),
        helper.make_node("Transpose", ["turned"], ["columns"], perm=[1, 0]),
        helper.make_node("Reshape", ["columns", "last"], ["pads"]),
        helper.make_node("Pad", ["x", "pads"], ["padded"]),
        helper.make_node("Relu", ["padded"], ["y"]),
    ]
    constants = {
        "two": np.array([2]), "given": np.array([0, 1]), "pairs": np.array([-1, 2]), "last": np.array([-1]),
        "first": np.array([-(2**63) + 1]), "axis": np.array([0]),
    }  # fmt: skip
    before = model(nodes, constants=constants)
    expected = run(before)
    after = simplify(before)
    assert [node.op_type for node in after.graph.node] == ["Pad", "Relu"]
    np.testing.assert_array_equal(run(after), expected)


def test_nodes_in_any_order_are_sorted() -> None:
    """ONNX Runtime takes them so, and its own converter to float16 writes them so."""
    nodes = [
        helper.make_node("Relu", ["doubled"], ["y"]),
        helper.make_node("Add", ["same", "same"], ["doubled"]),
        helper.make_node("Identity", ["x"], ["same"]),
    ]
    after = simplify(model(nodes, constants={}))
    assert [node.op_type for node in after.graph.node] == ["Add", "Relu"]
    np.testing.assert_array_equal(run(after), 2 * np.arange(6).reshape(2, 3))


def test_what_only_a_branch_reads_is_kept() -> None:
    branch = helper.make_graph(
        [helper.make_node("Add", ["doubled", "one"], ["inside"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inside", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Add", ["x", "x"], ["doubled"]),
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["any"], to=TensorProto.BOOL),
        helper.make_node("If", ["any"], ["y"], then_branch=branch, else_branch=branch),
    ]
    after = simplify(model(nodes, constants={"one": np.float32(1)}))
    np.testing.assert_array_equal(run(after), 2 * np.arange(6).reshape(2, 3) + 1)
