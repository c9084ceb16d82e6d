"""Triton's model repository: ``MODEL/config.pbtxt``, ``MODEL/1/model.onnx`` or ``model.plan``, labels, a client."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgedet import __version__
from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.onnx_file import GraphTensor
from edgedet.errors import UsageError
from edgedet.postprocess import COEFFICIENTS, KEYPOINTS, MASKS, PROTOTYPES

from .templates import filled

TYPES = {
    "uint8": "TYPE_UINT8",
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
}
"""Element types of tensors to Triton's ``DataType``."""

CARD_PARAMETER = "edgedet"
"""Parameter of the configuration that holds the model card."""

Output = tuple[str, str, tuple[int, ...] | None]
"""Name, element type, and shape with the batch; None leaves it to Triton, which asks the engine."""

ENGINE_OUTPUTS = {"boxes": "float32", "scores": "float32", "labels": "int32", "count": "int32"}


def model_name(source: Path) -> str:
    """What the model is called on the server: the source's name, in letters that every file system takes.

    >>> model_name(Path("runs/best v2.pt")), model_name(Path("...pt"))
    ('best_v2', 'model')
    """
    name = source.resolve().name if source.is_dir() else source.stem
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).strip(".") or "model"


def graph_outputs(tensors: Sequence[GraphTensor]) -> list[Output]:
    """Outputs of a graph, whose shapes are known."""
    return [(tensor.name, tensor.dtype, tuple(int(size or 0) for size in tensor.shape)) for tensor in tensors]


def engine_outputs(card: ModelCard) -> list[Output]:
    """Outputs of an engine, of whose shapes its card says nothing.

    Raises:
        UsageError: it has outputs of whose types the card says nothing either.
    """
    output = card.output
    if output.data:
        raise UsageError(
            f"the engine has further outputs ({', '.join(output.data)}), of whose types its card says nothing; "
            "give the graph or the checkpoint it was made from"
        )
    types = {"boxes": "float32", "scores": "float32"}
    if output.format != "candidates":
        types = ENGINE_OUTPUTS
    masks = {"in_boxes": (MASKS,), "prototypes": (COEFFICIENTS, PROTOTYPES)}.get(output.masks or "", ())
    further = (*masks, *((KEYPOINTS,) if output.keypoints else ()))
    return [(name, kind, None) for name, kind in (types | dict.fromkeys(further, "float32")).items()]


def write_repository(
    folder: Path,
    name: str,
    content: bytes,
    card: ModelCard,
    outputs: Sequence[Output],
    *,
    source: str,
    engine: bool,
) -> None:
    """Fill ``folder`` with the repository.

    Args:
        folder: an empty folder.
        name: of the model, see :func:`model_name`.
        content: a serialised graph, or a bare plan where ``engine`` says so.
        card: its model card.
        outputs: its outputs.
        source: name of the file it was made from, for people.
        engine: whether ``content`` is a plan.

    Raises:
        UsageError: a class name that is no line.
    """
    for each in card.names:
        if not each.strip() or set(each) & set("\n\r"):
            raise UsageError(f"the class name {each!r} is no line of labels.txt; name it otherwise (--classes)")
    file = "model.plan" if engine else "model.onnx"
    place = folder / name / "1"
    place.mkdir(parents=True)
    (place / file).write_bytes(content)
    (folder / name / "config.pbtxt").write_text(config_text(name, card, outputs, engine=engine), "ascii")
    (folder / name / "labels.txt").write_text("".join(f"{each}\n" for each in card.names), "utf-8")
    (folder / "client.py").write_text(filled("triton_client.py.in", model=name), "utf-8")
    (folder / "README.md").write_text(_readme(name, card, outputs, source=source, engine=engine), "utf-8")


def config_text(name: str, card: ModelCard, outputs: Sequence[Output], *, engine: bool) -> str:
    """``config.pbtxt``: the text form of Triton's ``inference.ModelConfig``, ASCII.

    A fixed batch goes with ``max_batch_size: 0`` and whole shapes: anything else promises Triton that the first
    dimension is free, which its backends check and refuse.
    """
    tensors = "".join(_tensor("output", *output) for output in outputs)
    facts = replace(card, measured={}, golden=None, engine=None)
    return (
        f"name: {json.dumps(name)}\n"
        f"backend: {json.dumps('tensorrt' if engine else 'onnxruntime')}\n"
        f"default_model_filename: {json.dumps('model.plan' if engine else 'model.onnx')}\n"
        "max_batch_size: 0\n"
        f"{_tensor('input', card.input.name, card.input.dtype, _input_shape(card))}"
        f"{tensors}"
        f"instance_group [ {{ count: 1 kind: {_kind(card, engine=engine)} }} ]\n"
        "version_policy { latest { num_versions: 1 } }\n"
        "parameters {\n"
        f'  key: "{CARD_PARAMETER}"\n'
        # The card's JSON is ASCII; as a JSON string again it is a string of the text form, too.
        f"  value {{ string_value: {json.dumps(facts.to_json())} }}\n"
        "}\n"
    )


def _tensor(kind: str, name: str, dtype: str, shape: tuple[int, ...] | None) -> str:
    dims = "" if shape is None else f" dims: [ {', '.join(map(str, shape))} ]"
    return f"{kind} [ {{ name: {json.dumps(name)} data_type: {TYPES[dtype]}{dims} }} ]\n"


def _input_shape(card: ModelCard) -> tuple[int, ...]:
    spec = card.input
    if spec.layout == "NCHW":
        return (spec.batch, 3, spec.height, spec.width)
    return (spec.batch, spec.height, spec.width, 3)


def _kind(card: ModelCard, *, engine: bool) -> str:
    """Engines need a GPU; INT8 in the CPU's dialect is slower than fp32 on one."""
    if engine:
        return "KIND_GPU"
    options = card.provenance.get("options")
    target = options.get("target", "cpu") if isinstance(options, dict) else "cpu"
    return "KIND_CPU" if card.precision == "int8" and target == "cpu" else "KIND_AUTO"


def _readme(name: str, card: ModelCard, outputs: Sequence[Output], *, source: str, engine: bool) -> str:
    spec = card.input
    facts = card.engine or {}
    built = f"TensorRT {facts.get('tensorrt', 'of an unknown version')}"
    what = f"the engine, for {built} and a GPU of compute capability {facts.get('compute_capability', 'unknown')}"
    notes = ""
    if engine:
        notes = (
            f"\nTriton's own must be {built}: its release notes say which it has, and another refuses the plan.\n"
        )
        if any(shape is None for *_, shape in outputs):
            notes += (
                "The sizes of the outputs are not in `config.pbtxt`: Triton asks the engine for them, unless it is "
                "started with\n`--disable-auto-complete-config`.\n"
            )
    return filled(
        "triton.md",
        model=name,
        version=__version__,
        source=source,
        batch=str(spec.batch),
        file="model.plan" if engine else "model.onnx",
        what=what if engine else f"the graph, {card.precision}, for Triton's ONNX Runtime",
        notes=notes,
        input_name=spec.name,
        input_type=spec.dtype,
        input_shape=str(list(_input_shape(card))),
        input_words=_input_words(card),
        resize_words=_resize_words(card),
        output_words=_output_words(card, outputs),
    )


def _input_words(card: ModelCard) -> str:
    spec = card.input
    pixels = "pixels from 0 to 255" + ("" if spec.dtype == "uint8" else ", not rounded after resizing")
    if spec.normalise == "host":
        pixels = f"(pixel * {spec.scale:g} - {list(spec.mean)}) / {list(spec.std)}, in {spec.trained_colour}"
    return f"{pixels}, colours in the order {spec.colour}"


def _resize_words(card: ModelCard) -> str:
    resize = card.resize
    how = "averaging all pixels (antialias)" if resize.antialias else "bilinear, the four nearest pixels mixed"
    how += ", the corners of both aligned (align_corners)" if resize.coordinates == "align_corners" else ""
    colour = ", ".join(f"{value:g}" for value in resize.pad)
    size = f"{card.input.width}x{card.input.height}"
    if resize.rule == "stretch":
        return f"stretched to {size}; {how}"
    if resize.rule == "shortest_side":
        return (
            f"shortest side to {resize.min_size}, longest at most {resize.max_size}, at the top left of {size}, "
            f"the rest filled with ({colour}) in B, G, R; {how}"
        )
    place = "in the middle" if resize.place == "center" else "at the top left"
    larger = "" if resize.enlarge else ", never enlarged"
    return (
        f"proportions kept{larger}, sides rounded by `{resize.rounding}`, {place} of {size}, the rest filled with "
        f"({colour}) in B, G, R; {how}"
    )


def _output_words(card: ModelCard, outputs: Sequence[Output]) -> str:
    output = card.output
    shapes = ", ".join(f"`{name}`" + (f" {list(shape)}" if shape else "") for name, _, shape in outputs)
    boxes = "boxes are x1, y1, x2, y2 in pixels of the network's input"
    if output.format not in ("detections", "candidates"):
        return f"{shapes}: the format `{output.format}` of that page"
    if output.format == "detections":
        found = "the first `count` rows are detections, best first"
        return f"{shapes}: {boxes}; {found}, with scores above {output.score_threshold:g}{_further_words(card)}"
    return (
        f"{shapes}: {boxes}, not yet suppressed: scores above {output.score_threshold:g}, then NMS at IoU "
        f"{output.iou_threshold:g} within each class, at most {output.max_detections}. The card says the rest "
        f"(`label_mode`, `box_layout`, `candidates_per_class`){_further_words(card)}"
    )


def _further_words(card: ModelCard) -> str:
    output = card.output
    words = ""
    if output.masks == "in_boxes":
        words += (
            f". `{MASKS}` has of each row the probability of every cell of its box to be the object's; stretched "
            "over the box, a pixel is the object's above 0.5"
        )
    elif output.masks == "prototypes":
        words += (
            f". A row of `{COEFFICIENTS}` times `{PROTOTYPES}`, summed and stretched over the network's input, is "
            "above 0 within the box where the object is"
        )
    if output.keypoints is not None:
        form = (
            "heatmaps, whose highest places are the keypoints"
            if output.keypoints.form == "heatmaps"
            else "x and y in pixels of the network's input, and a score"
        )
        names = ", ".join(output.keypoints.skeleton.names)
        words += f". `{KEYPOINTS}` has of each row, for {names}: {form}"
    return words
