"""FP16 made in the graph: a mixed-precision ONNX file that says of every node in which type it runs.

TensorRT 11 has no precision flags, so precision is a property of the graph. What stays in fp32: graph inputs
and outputs; everything that turns predictions into boxes (coordinates above 1024 have a resolution of one pixel
in fp16), reference points and sampling points of attention among it; nodes whose values came near fp16's limit on
calibration frames; operators that sum or exponentiate without bound.

A Softmax of attention is bounded (the largest is taken away first) and belongs in one kernel with the products
around it, so it is half like them; one of scores or of a box edge's bins is decoding. LayerNormalization is half
where it computes mean and variance in fp32, as ONNX's ``stash_type`` 1 asks and TensorRT does of its own accord
(https://github.com/pytorch/TensorRT/pull/3272 quotes the manual). A norm that is spelled out in single operators
stays in fp32 from the square to the quotient: in fp16 squares overflow from 256, and an epsilon of 1e-6 is 17 of
its smallest steps; that is what cost RF-DETR its accuracy (https://github.com/roboflow/rf-detr/issues/176).
GridSample stays in fp32 with its points: nothing says whether TensorRT takes features and points of two types.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedet.onnx_graph.network import WEIGHTED, Array, Network, attributes
from edgedet.onnx_graph.preparing import prepare
from edgedet.onnx_graph.rewriting import insert

from .attention import attention, normalisations
from .decoder_boundary import decoding
from .interval_arithmetic import magnitudes
from .observe import Progress, observe, silent
from .watched_magnitudes import Magnitudes

LARGEST = 65504.0 / 4
"""Observed magnitude above which a tensor is not trusted to fp16: unseen frames may be four times stronger."""
SMALLEST_SCALE = 2.0**-18
"""Below this fp16 (steps of 2^-24) changes a quantisation scale by more than INT8's own rounding does."""

HALF_OPERATORS = frozenset(
    [
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Elu",
        "Clip",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Mish",
        "Gelu",
        "Erf",
        "Min",
        "Max",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Concat",
        "Split",
        "Slice",
        "Reshape",
        "Transpose",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Expand",
        "Tile",
        "Pad",
        "Resize",
        "DepthToSpace",
        "SpaceToDepth",
        "Identity",
        "BatchNormalization",
        "QuantizeLinear",
        "DequantizeLinear",
        "LayerNormalization",
        "Gather",
        "GatherElements",
    ]
)
CORE_OPERATORS = ("Softmax", "ReduceSum")
"""Those that are half in attention alone, where what they exponentiate and sum is bounded."""
UNSEEN = "no calibration images, so which values are too large for fp16 was not looked at"

SPELLED_NORM = "part of a norm in single operators, whose squares and epsilon need fp32"
STASHED_HALF = "its mean and variance would be computed in fp16 (stash_type)"

FLOAT_INPUTS: dict[str, tuple[int, ...]] = {"Resize": (1, 2)}
"""Inputs that the operator wants in fp32 whatever its data's type."""


@dataclass(frozen=True)
class HalfGraph:
    """A mixed-precision graph and what was found of it.

    Attributes:
        model: the graph; its inputs and outputs have the types they had.
        report: JSON-ready, what the model card says about it: ``nodes_fp16``, ``nodes_fp32`` and ``casts`` are
            numbers of nodes, ``decoding_fp32`` of those in fp32 that turn predictions into boxes; ``kept_fp32``
            says why every other node is in fp32 that could not be trusted to fp16, by its name; ``frames`` is the
            number of frames looked at; ``absent`` says why it is not known which values fp16 cannot hold, where
            that is so.

    >>> half = to_half(onnx.load("tiny.onnx"))
    >>> half.report["nodes_fp16"], half.report["kept_fp32"]
    (15, {})
    >>> half.report["absent"]
    {'kept_fp32': 'no calibration images, so which values are too large for fp16 was not looked at'}
    """

    model: onnx.ModelProto
    report: dict[str, Any]


def to_half(
    model: onnx.ModelProto,
    frames: Iterable[Array] | None = None,
    *,
    magnitudes: Magnitudes | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> HalfGraph:
    """Convert a float graph, or a quantised one's float remainder, to fp16.

    Args:
        model: the graph; it is not changed.
        frames: prepared inputs, each of the graph's input shape and dtype, as :class:`CalibrationFrames` gives
            them; gone through more than once. None lets constants and kinds of operators alone decide.
        magnitudes: how large tensors of this very graph have become elsewhere, believed where that were as many
            frames: these need not be run then.
        threads: of a run; None takes every core.
        progress: called with (what, done, of).

    Returns:
        The graph in fp16 where that is safe, and what stays in fp32. Its inputs and outputs keep their types.

    Raises:
        ArtifactError: the graph's operator set cannot be raised to one that has fp16 everywhere.

    >>> from edgedet import Detector
    >>> from edgedet.calibration import CalibrationFrames, pictures_of
    >>> frames = CalibrationFrames(pictures_of("photos/*.png"), Detector("tiny.onnx").card)
    >>> half = to_half(onnx.load("tiny.onnx"), frames)
    >>> half.report["frames"], half.report["casts"], half.report["absent"]
    (12, 2, {})
    """
    network = prepare(model, quantised="allow")
    types = network.element_types()
    able = _able(network)
    box = decoding(network)
    reasons = _norms(network) | _unfit(network, types, able)
    count = 0
    if frames is not None:
        frames = frames if isinstance(frames, list | tuple) or hasattr(frames, "__len__") else list(frames)
        count = len(frames)  # type: ignore[arg-type]
        asked = able - box - set(reasons)
        known = Magnitudes(count, {}) if magnitudes is None or magnitudes.frames < count else magnitudes
        overflowing, looked = _overflowing(network, frames, types, asked, known, threads=threads, progress=progress)
        reasons |= overflowing
        count = count if looked else known.frames
    reasons = _whole_layers(network, reasons)
    half = [
        node.name
        for node in network.graph.node
        if node.name in able
        and node.name not in box
        and node.name not in reasons
        and any(types.get(name) == TensorProto.FLOAT for name in (*node.input, *node.output))
    ]
    casts = _convert(network, set(half), types)
    onnx.checker.check_model(network.model)
    # The shapes stay in the graph: on the board they tell how much memory a build takes.
    result = onnx.shape_inference.infer_shapes(network.model, check_type=True, strict_mode=True, data_prop=True)
    named = {name: reason for name, reason in reasons.items() if name not in box}
    return HalfGraph(
        result,
        {
            "nodes_fp16": len(half),
            "nodes_fp32": sum(1 for node in network.graph.node if node.op_type != "Cast") - len(half),
            "decoding_fp32": len(box),
            "kept_fp32": named,
            "casts": casts,
            "frames": count,
            "absent": {} if count else {"kept_fp32": UNSEEN},
        },
    )


def _able(network: Network) -> frozenset[str]:
    """Names of the nodes that may be half, by their operator and by what they are part of."""
    cores = attention(network)
    return frozenset(
        node.name
        for node in network.graph.node
        if node.op_type in HALF_OPERATORS
        or (node.op_type in CORE_OPERATORS and node.name in cores)
        # A mask; among pooled features of several levels, which are fp32, one is chosen before the cast.
        or (node.op_type == "Where" and any(name in network.constants for name in node.input[1:]))
    )


def _norms(network: Network) -> dict[str, str]:
    """Norms that would compute their mean and variance in fp16."""
    reasons = {}
    for name in normalisations(network):
        node = network.nodes[name]
        if node.op_type != "LayerNormalization":
            reasons[name] = SPELLED_NORM
        elif attributes(node).get("stash_type", TensorProto.FLOAT) != TensorProto.FLOAT:
            reasons[name] = STASHED_HALF
    return reasons


def _unfit(network: Network, types: dict[str, int], able: frozenset[str]) -> dict[str, str]:
    """Nodes whose constants do not survive fp16."""
    reasons = {}
    for node in network.graph.node:
        if node.name not in able:
            continue
        for index, name in enumerate(node.input):
            if types.get(name) != TensorProto.FLOAT or name not in network.constants:
                continue
            if index in FLOAT_INPUTS.get(node.op_type, ()):
                continue
            value = np.abs(network.constant(name))
            scale = node.op_type in ("QuantizeLinear", "DequantizeLinear")
            limit = 65504.0 if node.op_type == "Clip" else LARGEST
            if value.size and value.max() > limit:
                reasons[node.name] = f"a constant reaches {value.max():.3g}, too large for fp16"
            elif scale and value.size and value.min() < SMALLEST_SCALE:
                reasons[node.name] = f"a quantisation scale of {value.min():.3g} loses digits in fp16"
    return reasons


def _whole_layers(network: Network, reasons: dict[str, str]) -> dict[str, str]:
    """A layer and the pairs around its inputs share one type: a Cast between them would keep them from fusing."""
    found = dict(reasons)
    before = -1
    while before != len(found):
        before = len(found)
        for node in network.graph.node:
            if node.op_type not in WEIGHTED:
                continue
            group = [node.name]
            for name in node.input:
                restored = network.producer.get(name)
                if restored is not None and restored.op_type == "DequantizeLinear":
                    group.append(restored.name)
                    quantised = network.producer.get(restored.input[0])
                    group += [quantised.name] if quantised is not None else []
            reason = next((found[name] for name in group if name in found), None)
            if reason is not None and len(group) > 1:
                found |= {name: reason for name in group if name not in found}
    return found


def bounds_of(network: Network, frames: Iterable[Array]) -> dict[str, float]:
    """What no tensor exceeds on such frames, as arithmetic has it: an INT8 graph's pairs bound most of them."""
    pixels = {network.inputs[0]: max((float(np.abs(frame).max(initial=0)) for frame in frames), default=0.0)}
    return magnitudes(network, pixels)


def unproven(
    network: Network, types: Mapping[str, int], nodes: Collection[str], bounds: Mapping[str, float]
) -> list[str]:
    """Float tensors around the nodes so called that arithmetic alone does not keep small enough for fp16.

    What it does need not be looked at.
    """
    made = {name for node in network.graph.node for name in node.output if types.get(name) == TensorProto.FLOAT}
    return list(
        dict.fromkeys(
            name
            for node in network.graph.node
            if node.name in nodes
            for name in (*node.input, *node.output)
            if name in made and not bounds[name] <= LARGEST
        )
    )


def _overflowing(
    network: Network,
    frames: Iterable[Array],
    types: dict[str, int],
    asked: Collection[str],
    known: Magnitudes,
    *,
    threads: int | None,
    progress: Progress,
) -> tuple[dict[str, str], bool]:
    """Nodes among those called ``asked`` that fp16 might not hold, with the reason; whether frames were run."""
    reached = dict(known.largest)
    covered = all(name in known.bounds for name in network.producer)
    tensors = unproven(network, types, asked, known.bounds if covered else bounds_of(network, frames))
    unmet = [name for name in tensors if name not in reached]
    if unmet:
        seen = observe(network, frames, unmet, histograms=False, threads=threads, progress=progress)
        reached |= {name: one.magnitude for name, one in seen.items()}
    reasons = {}
    for node in network.graph.node:
        if node.name not in asked:
            continue
        largest = max((reached[name] for name in (*node.input, *node.output) if name in tensors), default=0.0)
        if not largest <= LARGEST:
            reasons[node.name] = f"values reached {largest:.3g} on the calibration frames, too near fp16's 65504"
    return reasons, bool(unmet)


def _convert(network: Network, half: set[str], types: dict[str, int]) -> int:
    """Rewire the graph in place; returns the number of Casts added."""
    graph = network.graph
    fp16_tensors: set[str] = set()
    renamed: dict[str, str] = {}
    for node in graph.node:
        if node.name not in half:
            continue
        for index, name in enumerate(node.output):
            if types.get(name) == TensorProto.FLOAT:
                inner = f"{name}_fp16"
                renamed[name] = inner
                node.output[index] = inner
                fp16_tensors.add(inner)
    new_nodes: list[onnx.NodeProto] = []
    casted: dict[tuple[str, int], str] = {}

    def cast(source: str, kind: int, result: str) -> str:
        if (source, kind) not in casted:
            new_nodes.append(helper.make_node("Cast", [source], [result], f"{result}/cast", to=kind))
            casted[(source, kind)] = result
        return casted[(source, kind)]

    for node in graph.node:
        wants_half = node.name in half
        for index, name in enumerate(node.input):
            if types.get(name) != TensorProto.FLOAT:
                continue
            keeps_float = not wants_half or index in FLOAT_INPUTS.get(node.op_type, ())
            if name in network.constants:
                if not keeps_float:
                    node.input[index] = _half_constant(network, name)
            elif keeps_float and name in renamed:
                # The cast gets the tensor's own name, so graph outputs keep theirs.
                node.input[index] = cast(renamed[name], TensorProto.FLOAT, name)
            elif not keeps_float:
                node.input[index] = (
                    renamed[name] if name in renamed else cast(name, TensorProto.FLOAT16, f"{name}_fp16")
                )
    for output in graph.output:
        if output.name in renamed:
            cast(renamed[output.name], TensorProto.FLOAT, output.name)
    insert(network, new_nodes)
    return len(new_nodes)


def _half_constant(network: Network, name: str) -> str:
    converted = f"{name}_fp16"
    if converted not in network.constants:
        value = network.constant(name)
        network.graph.initializer.append(
            numpy_helper.from_array(np.clip(value, -65504, 65504).astype(np.float16), converted)
        )
        network.constants[converted] = network.graph.initializer[-1]
    return converted
