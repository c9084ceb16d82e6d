"""ONNX files walked without the onnx package: what is wrong with one is said alike by everything that reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedet.artifacts import onnx_fields
from edgedet.artifacts.onnx_file import read_onnx
from edgedet.artifacts.onnx_layers import read_layers
from edgedet.errors import ArtifactError
from edgedet.selftest import SELFTEST_GRAPH

READERS: list[Callable[[str | Path], Any]] = [read_onnx, read_layers]
WHOLE = SELFTEST_GRAPH.read_bytes()


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"x\.onnx is empty; copy or export it again$"),
        (
            WHOLE[: len(WHOLE) // 2],
            r"x\.onnx is not a complete ONNX file \(a field of .*\); copy or export it again$",
        ),
        (
            b"\0" * 64,
            r"x\.onnx is not a complete ONNX file \(byte 1 starts no field .*\); copy or export it again$",
        ),
    ],
    ids=["empty", "cut off", "zeros"],
)
def test_damaged_files_are_told_alike(
    tmp_path: Path, read: Callable[[str | Path], Any], content: bytes, words: str
) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=words):
        read(path)


@pytest.mark.parametrize("read", READERS)
def test_what_cannot_be_opened_is_told_alike(tmp_path: Path, read: Callable[[str | Path], Any]) -> None:
    with pytest.raises(ArtifactError, match=r"cannot read .*none\.onnx: No such file or directory"):
        read(tmp_path / "none.onnx")
    with pytest.raises(ArtifactError, match=r"cannot read .*: Is a directory"):
        read(tmp_path)


def test_field_numbers_are_those_of_the_onnx_package() -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    shape = onnx.TensorShapeProto
    expected = {
        "MODEL": (
            onnx.ModelProto,
            {"PRODUCER": "producer_name", "OPSET": "opset_import", "METADATA": "metadata_props"},
        ),
        "METADATA": (onnx.StringStringEntryProto, {}),
        "OPSET": (onnx.OperatorSetIdProto, {}),
        "GRAPH": (onnx.GraphProto, {}),
        "NODE": (onnx.NodeProto, {}),
        "TENSOR": (onnx.TensorProto, {}),
        "VALUE": (onnx.ValueInfoProto, {}),
        "TYPE": (onnx.TypeProto, {"TENSOR": "tensor_type"}),
        "TENSOR_TYPE": (onnx.TypeProto.Tensor, {"ELEMENT": "elem_type"}),
        "SHAPE": (shape, {"DIMENSION": "dim"}),
        "DIMENSION": (shape.Dimension, {"VALUE": "dim_value"}),
    }
    named = {name: value for name, value in vars(onnx_fields).items() if name.isupper() and isinstance(value, int)}
    assert named
    for name, number in named.items():
        # TENSOR_TYPE_SHAPE is a field of TENSOR_TYPE, TENSOR_DATA_TYPE one of TENSOR.
        message = max((prefix for prefix in expected if name.startswith(f"{prefix}_")), key=len)
        kind, spelt = expected[message]
        field = name.removeprefix(f"{message}_")
        descriptor = kind.DESCRIPTOR.fields_by_name[spelt.get(field, field.lower())]
        assert descriptor.number == number, name
    for number, dtype in onnx_fields.ELEMENT_TYPES.items():
        assert onnx.helper.tensor_dtype_to_np_dtype(number) == dtype
