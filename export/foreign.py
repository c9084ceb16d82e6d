"""ONNX files that other tools exported: read, brought to our opset, cleaned."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner

from edgedet.artifacts.file_signs import START, what_it_is
from edgedet.artifacts.foreign_cards import is_ultralytics, is_yolov5, require_detection
from edgedet.artifacts.foreign_outputs import Facts, recognise
from edgedet.errors import ArtifactError
from edgedet.onnx_graph.cleaning import simplify
from edgedet.onnx_graph.opset import MAIN, opset_of, to_opset

from .adoption.full_precision import to_full_precision
from .adoption.graph_inputs import fix_inputs
from .adoption.graph_outputs import end_at
from .adoption.nms_inside import InnerNms, cut_nms, nms_nodes
from .adoption.pixels_inside import InnerPixels, take_out_pixels
from .adoption.second_inputs import fold_sizes
from .adoption.weights_beside import LARGEST, require_weights_beside

QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
             "ConvInteger", "MatMulInteger")  # fmt: skip
"""Operators of graphs that somebody quantised already."""
ROI_ALIGN_WITHOUT_KERNEL = 22
OF_THE_PICTURE = ("NonZero", "Loop", "If", "Scan", "Compress", "Unique")
"""Operators whose outputs' sizes depend on what is in the picture."""


@dataclass(frozen=True)
class ForeignGraph:
    """``model`` takes one float32 tensor ``images`` [N, 3, H, W] and gives ``outputs`` (name to static shape).

    ``original`` is the same in its own opset, for comparison. ``nms``: what suppressed inside and was cut out;
    ``pixels``: what it did with its pixels first, taken out of both graphs; ``halves``: how many of its weights
    were float16, and so rounded. ``unit_sizes``: a second input, the picture's size, was folded to 1x1. ``gave``:
    names of the outputs that the file has.
    """

    path: Path
    model: onnx.ModelProto
    batch: int
    height: int
    width: int
    outputs: dict[str, tuple[int, ...]]
    metadata: dict[str, str]
    original: onnx.ModelProto
    nms: InnerNms | None = None
    pixels: InnerPixels | None = None
    halves: int = 0
    unit_sizes: bool = False
    gave: tuple[str, ...] = ()

    @property
    def pixel_settings(self) -> dict[str, Any] | None:
        """``scale``, ``mean`` and ``std`` of an :class:`~edgedet.artifacts.card.InputSpec`, by what the file did
        with its pixels itself; None where it did nothing, so that its family's habits count."""
        return self.pixels.settings() if self.pixels is not None and self.pixels.counted else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was made ours, for the report."""
        folded = "its second input is folded: boxes come as shares of the canvas" if self.unit_sizes else ""
        widened = f"its {self.halves} float16 weights are float32 here" if self.halves else ""
        said = (folded, widened, self.pixels.words() if self.pixels else "", self.nms.words() if self.nms else "")
        return tuple(filter(None, said))


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
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's errors have no common base worth naming
        raise ArtifactError(f"{path} is not an ONNX graph, or is cut short ({_first_line(error)})") from error
    if not model.graph.node or not model.graph.output:
        raise ArtifactError(f"{path} holds no ONNX graph; expected nodes and outputs")
    require_weights_beside(model, path)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # links, rights, ranges: each of another kind
        raise ArtifactError(f"{path}: the weights beside it cannot be read ({_first_line(error)})") from error
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


def open_foreign(
    path: str | Path,
    *,
    imgsz: tuple[int, int] | None = None,
    batch: int = 1,
    family: str | None = None,
    outputs: Sequence[str] = (),
) -> ForeignGraph:
    """Open another tool's detector graph with one image input.

    ``imgsz`` (height, width) and ``batch`` fix dynamic sizes; without ``imgsz``, the size Ultralytics' metadata
    names does. ``family``: what the user says it is; without, known others are named and refused.
    ``outputs``: those, or inner tensors, that its user names; what comes behind them goes first.

    Raises:
        UsageError: ``outputs`` that are not there.
        ArtifactError: not ONNX, several inputs, no image among them, quantised already, an NMS that ours cannot
            replace, sizes that depend on the picture, or operators or an opset that cannot be made ours.
    """
    path = Path(path)
    model = read_graph(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    require_detection(metadata, str(path))
    gave = tuple(value.name for value in model.graph.output)
    if outputs:
        end_at(model, outputs, path)
    elif not is_ultralytics(metadata) and not is_yolov5(metadata) and not family and not nms_nodes(model):
        _refuse_known_others(model, path)
    folded = fold_sizes(model)
    _require_float(model, path)
    halves = to_full_precision(model, path)
    named = literal(metadata.get("imgsz"))
    known = tuple(named) if isinstance(named, list | tuple) and len(named) == 2 else (None, None)
    image = fix_inputs(model, path, imgsz=imgsz, known=known, batch=batch)
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]  # Exporters are known to write wrong ones.
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    try:
        nms = cut_nms(model, path, image=(image.height, image.width))
        pixels = take_out_pixels(simplify(model), image)
        _require_known_operators(model, path)
        original = onnx.ModelProto()
        original.CopyFrom(model)
        model = to_opset(model, path)
    except onnx.shape_inference.InferenceError as error:
        raise ArtifactError(f"{path} holds operators that ONNX does not know ({_first_line(error)})") from error
    static = _static_outputs(model, path)
    _type_outputs(model, original)
    return ForeignGraph(
        path,
        model,
        image.batch,
        image.height,
        image.width,
        static,
        metadata,
        original,
        nms,
        pixels,
        halves,
        folded,
        gave,
    )


def only_output(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Leave ``model`` one output, in place; what only the others needed goes."""
    return keep_outputs(model, [name])


def keep_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Leave ``model`` the outputs ``names``, in this order, in place; what only the others needed goes."""
    values = {value.name: value.SerializeToString() for value in model.graph.output}
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto.FromString(values[name]) for name in names)
    return simplify(model)


def _refuse_known_others(model: onnx.ModelProto, path: Path) -> None:
    """Name what edgedet exports otherwise, or not at all, before its parts are found fault with."""
    constants = {tensor.name for tensor in model.graph.initializer}
    outputs, inputs = (
        {value.name: [size.dim_value or None for size in value.type.tensor_type.shape.dim] for value in values}
        for values in (model.graph.output, [value for value in model.graph.input if value.name not in constants])
    )
    found = recognise(Facts(outputs, inputs))
    if found is None or (found.families and not found.nms_inside):
        return
    if found.nms_inside:
        raise ArtifactError(
            f"{path} gives what detectors with NMS inside give, but holds no NMS that edgedet knows; {found.advice}"
        )
    opset = opset_of(model)
    roi = opset >= ROI_ALIGN_WITHOUT_KERNEL and any(node.op_type == "RoiAlign" for node in model.graph.node)
    more = f" (its RoiAlign is of opset {opset}, which ONNX Runtime has no CPU kernel for either)" if roi else ""
    raise ArtifactError(f"{path} does not say what its outputs mean; {found.hint(path)}{more}")


def _require_known_operators(model: onnx.ModelProto, path: Path) -> None:
    """Name the node whose operator is none of ONNX's, with what is left of the graph."""
    for node in model.graph.node:
        if node.domain not in MAIN:
            raise ArtifactError(
                f"{path}: its node {node.name or node.output[0]} is {node.domain}::{node.op_type}, which is no "
                "operator of ONNX and which edgedet cannot write otherwise; export it again without "
                "(plugins of TensorRT, operators fused by a runtime's optimiser)"
            )
    used = [entry for entry in model.opset_import if entry.domain in MAIN]
    del model.opset_import[:]
    model.opset_import.extend(used)


def _require_float(model: onnx.ModelProto, path: Path) -> None:
    """Refuse what somebody quantised already: there is no way back, and none forward."""
    quantised = [node.op_type for node in model.graph.node if node.op_type in QUANTISED]
    if quantised:
        raise ArtifactError(
            f"{path} is quantised already ({len(quantised)} nodes such as {quantised[0]}); start from the float "
            "file or the checkpoint, edgedet makes int8 itself (--int8 --calib DATASET)"
        )


def literal(text: str | None) -> Any:
    """A Python literal as Ultralytics writes its metadata, or None where it is none."""
    try:
        return ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _static_outputs(model: onnx.ModelProto, path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the outputs, after making sure that every tensor in the graph has one."""
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    varying = {node.op_type: node.name for node in model.graph.node if node.op_type in OF_THE_PICTURE}
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


def _type_outputs(*models: onnx.ModelProto) -> None:
    """Say the types of outputs that were inner tensors, in place: ONNX Runtime runs nothing without."""
    for model in models:
        untyped = [value for value in model.graph.output if not value.type.tensor_type.elem_type]
        if not untyped:
            continue
        found = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.output}
        for value in untyped:
            value.type.tensor_type.elem_type = found[value.name].type.tensor_type.elem_type


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__
