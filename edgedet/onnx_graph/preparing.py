"""A graph opened for quantisation or fp16: cleaned, its nodes named, its operator set raised."""

from __future__ import annotations

from typing import Literal

import onnx

from edgedet.errors import ArtifactError
from edgedet.onnx_graph.batch_norm_folding import fold_batch_norm
from edgedet.onnx_graph.cleaning import constants_to_initializers, remove_identities, unlist_constants
from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.opset import UnraisableError, opset_of, raise_opset

MIN_OPSET = 13
"""Per-channel QuantizeLinear and DequantizeLinear begin here."""
QDQ_OPSET = 19
"""Quantised graphs are raised to this opset: from here on scales may be float16 too."""


def prepare(model: onnx.ModelProto, *, quantised: Literal["refuse", "allow"] = "refuse") -> Network:
    """Clean a float graph for quantisation; the argument is left untouched.

    Constants leave the list of inputs (opset 11 exporters put them there), ``Constant``, ``Identity`` and
    ``Dropout`` nodes become plain constants and wires, BatchNormalization is folded away, nodes get unique names.
    The operator set is raised to ``QDQ_OPSET`` where the converter manages it and never left below ``MIN_OPSET``.

    Raises:
        ArtifactError: already quantised, or of an operator set that cannot be raised far enough.
    """
    duplicate = onnx.ModelProto()
    duplicate.CopyFrom(model)
    graph = duplicate.graph
    if quantised == "refuse" and any(
        node.op_type in ("QuantizeLinear", "DequantizeLinear", "QLinearConv") for node in graph.node
    ):
        raise ArtifactError(
            "the graph is already quantised; calibration starts from a float graph: export it again"
        )
    unlist_constants(graph)
    _inline(duplicate)
    fold_batch_norm(duplicate)
    _name_nodes(graph)
    version = opset_of(duplicate)
    if version < QDQ_OPSET:
        try:
            duplicate = raise_opset(
                duplicate, [target for target in (QDQ_OPSET, 17, MIN_OPSET) if target > version]
            )
        except UnraisableError as error:
            if version < MIN_OPSET:
                raise ArtifactError(
                    f"the graph uses opset {version}; INT8 needs {MIN_OPSET} or later and raising it failed "
                    f"({error}); export it again with a newer opset"
                ) from error
        _inline(duplicate)
        _name_nodes(duplicate.graph)
    return Network(duplicate)


def _inline(model: onnx.ModelProto) -> None:
    constants_to_initializers(model.graph)
    remove_identities(model)


def _name_nodes(graph: onnx.GraphProto) -> None:
    taken: set[str] = set()
    for node in graph.node:
        name = stem = node.name or f"{node.op_type}_{node.output[0]}"
        count = 1
        while name in taken:
            count += 1
            name = f"{stem}_{count}"
        node.name = name
        taken.add(name)
