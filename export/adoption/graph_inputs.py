"""Inputs of foreign graphs: the image among them, its sizes fixed, and inputs that are constants for us."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from edgedet.errors import ArtifactError

IMAGE_TYPES = (TensorProto.FLOAT, TensorProto.UINT8)
NAME = "images"


@dataclass(frozen=True)
class ImageInput:
    """Sizes of a graph's image input, fixed. ``rows_last``: [N, H, W, 3] in place of [N, 3, H, W]. ``of_bytes``: it
    is uint8."""

    batch: int
    height: int
    width: int
    rows_last: bool = False
    of_bytes: bool = False


def fix_inputs(
    model: onnx.ModelProto,
    path: Path,
    *,
    imgsz: tuple[int, int] | None,
    known: tuple[int | None, int | None],
    batch: int,
) -> ImageInput:
    """Leave ``model`` one input, ``images``, of fixed sizes, in place.

    ``known`` (height, width): by metadata. Sizes of outputs that were dynamic are left to inference.

    Raises:
        ArtifactError: no image input, unknown further inputs, or sizes that nothing tells.
    """
    image = _image(model, path)
    tensor = image.type.tensor_type
    sizes = [size.dim_value if size.dim_value > 0 else None for size in tensor.shape.dim]
    rows_last = sizes[3] == 3 and sizes[1] != 3
    order = (0, 3, 1, 2) if rows_last else (0, 1, 2, 3)
    wanted = (batch, 3, *(imgsz or known))
    fixed = [sizes[axis] or default for axis, default in zip(order, wanted, strict=True)]
    if fixed[2] is None or fixed[3] is None:
        raise ArtifactError(
            f"{path}: input {image.name} has dynamic sizes {sizes}; fix them with --imgsz HEIGHTxWIDTH"
        )
    if imgsz is not None and tuple(fixed[2:]) != imgsz:
        raise ArtifactError(
            f"{path} was exported for {fixed[2]}x{fixed[3]}, --imgsz asks for {imgsz[0]}x{imgsz[1]}; the size of a "
            "foreign graph cannot be changed: export it anew from its training framework"
        )
    for axis, value in zip(order, fixed, strict=True):
        tensor.shape.dim[axis].dim_value = int(value or 0)
    number, _, height, width = (int(value or 0) for value in fixed)
    _bind_scales(model, image.name, number, height, width)
    _rename(model, image.name, NAME)
    return ImageInput(number, height, width, rows_last, tensor.elem_type == TensorProto.UINT8)


def _image(model: onnx.ModelProto, path: Path) -> onnx.ValueInfoProto:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    images = [value for value in inputs if value.name not in SCALES]
    names = [value.name for value in inputs]
    if len(images) != 1:
        raise ArtifactError(f"{path} has {len(inputs)} inputs ({', '.join(names)}); expected one image tensor")
    tensor = images[0].type.tensor_type
    sizes = [size.dim_value if size.dim_value > 0 else None for size in tensor.shape.dim]
    if tensor.elem_type in IMAGE_TYPES and len(sizes) == 4 and (sizes[1] in (3, None) or sizes[3] == 3):
        return images[0]
    kinds = {number: name for name, number in TensorProto.DataType.items()}
    kind = kinds.get(tensor.elem_type, f"type {tensor.elem_type}").lower()
    raise ArtifactError(
        f"{path}: input {images[0].name} is {kind} {sizes}, expected float32 [N, 3, H, W] (or float16, uint8, or "
        "[N, H, W, 3]); export it in full precision, edgedet makes fp16 and int8 itself"
    )


SCALES = ("scale_factor", "im_shape")
"""Inputs of PaddleDetection's graphs: by what the picture was resized (y, x), and its size (height, width)."""


def _bind_scales(model: onnx.ModelProto, image: str, batch: int, height: int, width: int) -> None:
    """Boxes are wanted in pixels of the canvas, so that nothing was resized, and the picture is the canvas."""
    values = {"scale_factor": [[1.0, 1.0]] * batch, "im_shape": [[float(height), float(width)]] * batch}
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in list(model.graph.input):
        if value.name in SCALES and value.name != image and value.name not in constants:
            model.graph.initializer.append(
                numpy_helper.from_array(np.array(values[value.name], np.float32), value.name)
            )
            model.graph.input.remove(value)


def _rename(model: onnx.ModelProto, former: str, name: str) -> None:
    if former == name:
        return
    for node in model.graph.node:
        for places in (node.input, node.output):
            for index, tensor in enumerate(places):
                if tensor == name:  # an inner tensor that has our name already
                    places[index] = f"{name}/inner"
                elif tensor == former:
                    places[index] = name
    for value in model.graph.input:
        if value.name == former:
            value.name = name
