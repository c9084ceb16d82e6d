"""ONNX files that other tools exported: read, brought to our opset, cleaned."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edgedet.errors import ArtifactError
from edgedet.export.graph import IR_VERSION, OPSET
from edgedet.export.simplify import simplify
from edgedet.file_signs import START, what_it_is

LARGEST = 2**31 - 1
"""Bytes: what protocol buffers can be."""


@dataclass(frozen=True)
class ForeignGraph:
    """``model`` takes one float32 image tensor [N, 3, H, W] and gives ``outputs`` (name to static shape)."""

    path: Path
    model: onnx.ModelProto
    batch: int
    height: int
    width: int
    outputs: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def read_graph(path: str | Path) -> onnx.ModelProto:
    """Read an ONNX file whole.

    Raises:
        ArtifactError: missing, empty, damaged or not ONNX.
    """
    path = Path(path)
    if not path.exists():
        raise ArtifactError(f"no such file: {path}")
    if path.is_dir():
        raise ArtifactError(f"{path} is a folder; expected an .onnx file")
    size = path.stat().st_size
    if size == 0:
        raise ArtifactError(f"{path} is empty; expected an ONNX graph")
    with path.open("rb") as file:
        what = what_it_is(file.read(START))
    if what is not None:
        raise ArtifactError(f"{path} is {what}, not an ONNX graph; expected an .onnx file")
    if size > LARGEST:
        raise ArtifactError(
            f"{path} has {size} bytes, and an ONNX file has {LARGEST} at most; it is damaged, or something else"
        )
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's errors have no common base worth naming
        raise ArtifactError(f"{path} is not an ONNX graph, or is cut short ({_first_line(error)})") from error
    if not model.graph.node or not model.graph.output:
        raise ArtifactError(f"{path} holds no ONNX graph; expected nodes and outputs")
    _check_constants(model, path)
    return model


def _check_constants(model: onnx.ModelProto, path: Path) -> None:
    for tensor in model.graph.initializer:
        try:
            onnx.numpy_helper.to_array(tensor)
        except Exception as error:  # ValueError, KeyError or TypeError, by what is wrong with it
            raise ArtifactError(
                f"{path} is damaged: its constant {tensor.name!r} has not the numbers that its shape "
                f"{list(tensor.dims)} and type {tensor.data_type} need ({_first_line(error)}); copy or export it "
                "again"
            ) from error


def open_foreign(path: str | Path, *, imgsz: tuple[int, int] | None = None) -> ForeignGraph:
    """Open another tool's detector graph with one image input.

    ``imgsz`` (height, width) fixes dynamic sizes.

    Raises:
        ArtifactError: not ONNX, several inputs, not a float32 NCHW image, or an opset that cannot be converted.
    """
    path = Path(path)
    model = read_graph(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs)
        raise ArtifactError(f"{path} has {len(inputs)} inputs ({names}); expected one image tensor")
    (image,) = inputs
    tensor = image.type.tensor_type
    sizes = [size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim]
    if tensor.elem_type != onnx.TensorProto.FLOAT or len(sizes) != 4 or sizes[1] != 3:
        known = {number: name for name, number in onnx.TensorProto.DataType.items()}
        kind = known.get(tensor.elem_type, f"type {tensor.elem_type}").lower()
        raise ArtifactError(
            f"{path}: input {image.name} is {kind} {sizes}, expected float32 [N, 3, H, W]; export it in full "
            "precision, edgedet makes fp16 and int8 itself"
        )
    wanted = (1, 3, *(imgsz or (None, None)))
    fixed = [size or default for size, default in zip(sizes, wanted, strict=True)]
    if fixed[2] is None or fixed[3] is None:
        raise ArtifactError(
            f"{path}: input {image.name} has dynamic sizes {sizes}; fix them with --imgsz HEIGHTxWIDTH"
        )
    if imgsz is not None and tuple(fixed[2:]) != imgsz:
        raise ArtifactError(
            f"{path} was exported for {fixed[2]}x{fixed[3]}, --imgsz asks for {imgsz[0]}x{imgsz[1]}; the size of a "
            "foreign graph cannot be changed: export it anew from its training framework"
        )
    for size, value in zip(tensor.shape.dim, fixed, strict=True):
        size.dim_value = value
    image.name, original = "images", image.name
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == original:
                node.input[index] = "images"
    model = _to_opset(model, path)
    try:
        model = simplify(model)
    except onnx.shape_inference.InferenceError as error:
        raise ArtifactError(f"{path} holds operators that ONNX does not know ({_first_line(error)})") from error
    outputs = _output_shapes(model, path)
    batch, _, height, width = fixed
    return ForeignGraph(path, model, batch, height, width, outputs, metadata)


def literal(text: str | None) -> Any:
    """A Python literal as Ultralytics writes its metadata, or None where it is none."""
    try:
        return ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _to_opset(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if version != OPSET:
        del model.graph.value_info[:]  # of the old opset; and exporters are known to write wrong ones
        try:
            model = onnx.version_converter.convert_version(model, OPSET)
        except Exception as error:  # the converter raises bare RuntimeErrors and its own ConvertError
            raise ArtifactError(
                f"{path} uses opset {version}, which cannot be converted to {OPSET} ({_first_line(error)}); "
                f"export it again with opset {OPSET}"
            ) from error
    model.ir_version = IR_VERSION
    return model


def _output_shapes(model: onnx.ModelProto, path: Path) -> dict[str, tuple[int, ...]]:
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:
        raise ArtifactError(
            f"{path}: the shapes of the graph contradict each other ({_first_line(error)})"
        ) from error
    shapes = {}
    for value in inferred.graph.output:
        sizes = value.type.tensor_type.shape.dim
        if not all(size.HasField("dim_value") for size in sizes):
            raise ArtifactError(f"{path}: output {value.name} has no static shape; export it with fixed sizes")
        shapes[value.name] = tuple(size.dim_value for size in sizes)
    return shapes


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__
