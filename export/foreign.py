"""ONNX files that other tools exported: read, brought to our opset, cleaned."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edgedet.artifacts.file_signs import START, what_it_is
from edgedet.artifacts.foreign_cards import is_ultralytics, is_yolov5, require_detection
from edgedet.artifacts.foreign_outputs import recognise
from edgedet.errors import ArtifactError
from edgedet.onnx_graph.cleaning import simplify
from edgedet.onnx_graph.opset import opset_of, to_opset

QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
             "ConvInteger", "MatMulInteger")  # fmt: skip
"""Operators of graphs that somebody quantised already."""
ROI_ALIGN_WITHOUT_KERNEL = 22
OF_THE_PICTURE = ("NonMaxSuppression", "NonZero", "Loop", "If", "Scan", "Compress", "Unique")
"""Operators whose outputs' sizes depend on what is in the picture."""

LARGEST = 2**31 - 1
"""Bytes: what protocol buffers can be."""


@dataclass(frozen=True)
class ForeignGraph:
    """``model`` takes one float32 tensor ``images`` [N, 3, H, W] and gives ``outputs`` (name to static shape).

    ``original`` is the same as it was read, in its own opset, for comparison.
    """

    path: Path
    model: onnx.ModelProto
    batch: int
    height: int
    width: int
    outputs: dict[str, tuple[int, ...]]
    metadata: dict[str, str]
    original: onnx.ModelProto


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


def open_foreign(path: str | Path, *, imgsz: tuple[int, int] | None = None, batch: int = 1) -> ForeignGraph:
    """Open another tool's detector graph with one image input.

    ``imgsz`` (height, width) and ``batch`` fix dynamic sizes; without ``imgsz``, the size Ultralytics' metadata
    names does.

    Raises:
        ArtifactError: not ONNX, several inputs, not a float32 NCHW image, quantised or in half precision already,
            sizes that depend on the picture, or an opset that cannot be converted.
    """
    path = Path(path)
    model = read_graph(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    require_detection(metadata, str(path))
    if not is_ultralytics(metadata) and not is_yolov5(metadata):
        _refuse_known_others(model, path)
    image = _image(model, path)
    _require_float(model, path)
    tensor = image.type.tensor_type
    sizes = [size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim]
    named = literal(metadata.get("imgsz"))
    known = tuple(named) if isinstance(named, list | tuple) and len(named) == 2 else (None, None)
    fixed = [size or default for size, default in zip(sizes, (batch, 3, *(imgsz or known)), strict=True)]
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
    image.name, former = "images", image.name
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == former:
                node.input[index] = "images"
    original = onnx.ModelProto()
    original.CopyFrom(model)
    try:
        model = to_opset(model, path)
    except onnx.shape_inference.InferenceError as error:
        raise ArtifactError(f"{path} holds operators that ONNX does not know ({_first_line(error)})") from error
    outputs = _static_outputs(model, path, metadata)
    _, _, height, width = fixed
    return ForeignGraph(path, model, fixed[0], height, width, outputs, metadata, original)


def only_output(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Leave ``model`` one output, in place; what only the others needed goes."""
    (kept,) = [value for value in model.graph.output if value.name == name]
    kept = onnx.ValueInfoProto.FromString(kept.SerializeToString())
    del model.graph.output[:]
    model.graph.output.append(kept)
    return simplify(model)


def _refuse_known_others(model: onnx.ModelProto, path: Path) -> None:
    """Name what edgedet exports otherwise, or not at all, before its parts are found fault with."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in constants]
    shapes = {
        value.name: [size.dim_value or None for size in value.type.tensor_type.shape.dim]
        for value in model.graph.output
    }
    found = recognise(shapes, inputs)
    if found is None or found.families:
        return
    opset = opset_of(model)
    roi = opset >= ROI_ALIGN_WITHOUT_KERNEL and any(node.op_type == "RoiAlign" for node in model.graph.node)
    more = f" (its RoiAlign is of opset {opset}, which ONNX Runtime has no CPU kernel for either)" if roi else ""
    raise ArtifactError(f"{path} does not say what its outputs mean; {found.hint(path)}{more}")


def _image(model: onnx.ModelProto, path: Path) -> onnx.ValueInfoProto:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    names = [value.name for value in inputs]
    if len(inputs) != 1:
        raise ArtifactError(f"{path} has {len(inputs)} inputs ({', '.join(names)}); expected one image tensor")
    tensor = inputs[0].type.tensor_type
    sizes = [size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim]
    if tensor.elem_type == onnx.TensorProto.FLOAT and len(sizes) == 4 and sizes[1] in (3, None):
        return inputs[0]
    known = {number: name for name, number in onnx.TensorProto.DataType.items()}
    kind = known.get(tensor.elem_type, f"type {tensor.elem_type}").lower()
    halved = tensor.elem_type == onnx.TensorProto.FLOAT16
    raise ArtifactError(
        f"{path}: input {names[0]} is {kind} {sizes}, expected float32 [N, 3, H, W]; "
        + (
            "export it again without half=True, edgedet makes fp16 itself (--fp16)"
            if halved
            else "export it in full precision, edgedet makes fp16 and int8 itself"
        )
    )


def _require_float(model: onnx.ModelProto, path: Path) -> None:
    """Refuse what somebody else took precision from: there is no way back, and none forward."""
    quantised = [node.op_type for node in model.graph.node if node.op_type in QUANTISED]
    if quantised:
        raise ArtifactError(
            f"{path} is quantised already ({len(quantised)} nodes such as {quantised[0]}); start from the float "
            "file or the checkpoint, edgedet makes int8 itself (--int8 --calib DATASET)"
        )
    halves = sum(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)
    if halves:
        raise ArtifactError(
            f"{path} is in half precision already ({halves} float16 weights); export it again without half=True "
            "(quantize=16), edgedet makes fp16 itself (--fp16)"
        )


def literal(text: str | None) -> Any:
    """A Python literal as Ultralytics writes its metadata, or None where it is none."""
    try:
        return ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _static_outputs(model: onnx.ModelProto, path: Path, metadata: dict[str, str]) -> dict[str, tuple[int, ...]]:
    """Shapes of the outputs, after making sure that every tensor in the graph has one."""
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    varying = {node.op_type: node.name for node in model.graph.node if node.op_type in OF_THE_PICTURE}
    if "NonMaxSuppression" in varying:
        runs = "edgedet detect runs it as it is; to export it, " if is_ultralytics(metadata) else ""
        raise ArtifactError(
            f"{path} holds its own NMS, which leaves no threshold to set and no engine to build; {runs}export it "
            "from its training framework again without NMS (Ultralytics: without nms=True)"
        )
    for kind, name in varying.items():
        raise ArtifactError(
            f"{path}: the sizes in the graph depend on the picture ({kind} {name}); export it again as a fixed "
            "graph: without NMS, branches and loops (torch.jit.trace rather than script), with dynamic=False"
        )
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:
        raise ArtifactError(
            f"{path}: the shapes of the graph contradict each other ({_first_line(error)})"
        ) from error
    shapes = {}
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        sizes = value.type.tensor_type.shape.dim
        if value.type.HasField("tensor_type") and all(size.HasField("dim_value") for size in sizes):
            shapes[value.name] = tuple(size.dim_value for size in sizes)
    for node in model.graph.node:
        for name in node.output:
            if name and name not in shapes:
                raise ArtifactError(
                    f"{path}: {node.op_type} {node.name} has no static shape even for a fixed input, so "
                    "nothing can be planned for it; export it again with fixed sizes (dynamic=False)"
                )
    return {value.name: shapes[value.name] for value in model.graph.output}


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__
