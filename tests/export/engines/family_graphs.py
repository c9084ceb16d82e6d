"""Graphs that engines are built from: every architecture with random weights, in fp32, fp16 and int8."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import onnx
import torch
from torch import nn

from edgedet.calibration import tensorrt_rules
from edgedet.calibration.decoder_boundary import feature_layers
from edgedet.calibration.fitting import Fit, FittedLayer
from edgedet.calibration.fp16 import to_half
from edgedet.calibration.qdq import Writer
from edgedet.calibration.quantisation_grid import Grid, weight_scales
from edgedet.calibration.tensorrt import TensorRT
from edgedet.export.built_graph import graph_options
from edgedet.export.families import trained_family
from edgedet.export.families.skip_init import Unfilled
from edgedet.export.families.torchvision_architectures import ARCHITECTURES, build
from edgedet.export.finished_graph import checked
from edgedet.export.options import ExportOptions
from edgedet.onnx_graph.preparing import prepare
from tests.export.narrow import narrow
from tests.export.test_families import BEYOND_BOXES, SMALL
from tests.export.thin import thin

ENGINE = ExportOptions(nms="runtime", target="tensorrt")
YOLOX = ExportOptions(nms="runtime", target="tensorrt", family="yolox", classes=("a", "b", "c"))


def graph(
    arch: str, *, pooling: Literal["operator", "products"] = "operator", outside_proposals: int | None = None
) -> onnx.ModelProto:
    """The graph an engine of ``arch`` is built from, with random weights, thin, and with a narrow box head."""
    torch.manual_seed(0)
    with Unfilled():
        model = narrow(thin(build(arch, 4, **(SMALL | BEYOND_BOXES)[arch]).eval()))
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            layer.reset_parameters()
    options = replace(graph_options(ENGINE), pooling=pooling, outside_proposals=outside_proposals)
    exported = trained_family(ARCHITECTURES[arch].family).export(model, options, (320, 240))
    return checked(exported.model, nms="runtime")


def quantised(model: onnx.ModelProto, *, every: int = 1) -> onnx.ModelProto:
    """``model`` in TensorRT's INT8 dialect, fp16 where it is not int8, with made-up ranges: where pairs are placed
    does not depend on their scales, and finding these takes minutes. ``every``: the guard may give layers back.
    """
    network = prepare(model)
    dialect = TensorRT()
    units, _ = dialect.units(network, feature_layers(network))
    units = units[::every]
    fit = Fit({name: Grid("s8", 0.05) for name in dialect.tensors(network, units)}, {}, {}, {})
    for layer in (layer for unit in units for layer in unit.layers):
        weight = network.constant(layer.weight)
        scales = weight_scales(weight, layer.channel_axis)
        integers = np.clip(weight * 100, -127, 127).astype(np.int8)
        fit.layers[layer.name] = FittedLayer(integers, scales, np.zeros(len(scales), np.float32), 0.0, "nearest")
    placed = dialect.place(network, fit, units, Writer(network.copy())).model
    tensorrt_rules.check(placed)
    assert sum(node.op_type == "QuantizeLinear" for node in placed.graph.node) > len(units) // 3
    return to_half(placed).model
