"""Graphs in half precision are float32 again; what half precision lost is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet import Detector
from edgedet.errors import ArtifactError
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from tests.export.adoption.graphs import frame
from tests.export.foreign_heads import ULTRALYTICS, Head, save_head


def halved(path: Path, *, outside: bool) -> Path:
    """Weights in float16: cast back before they are used, or with the whole graph, input and output in it."""
    model = onnx.load(str(path))
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor).astype(np.float16)
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values, name if outside else f"{name}/half"))
        if not outside:
            casts.append(helper.make_node("Cast", [f"{name}/half"], [name], to=TensorProto.FLOAT))
    for node in model.graph.node:
        for attribute in node.attribute:
            if outside and attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float16)))
            if outside and node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    for position, node in enumerate(casts):
        model.graph.node.insert(position, node)
    if outside:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    del model.graph.value_info[:]
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("outside", [False, True])
def test_half_precision_becomes_full(tmp_path: Path, outside: bool) -> None:
    source = save_head(tmp_path / "net.onnx", Head(), ULTRALYTICS)
    expected = export_model(source, tmp_path / "full.onnx", ExportOptions(conf=0.6))
    report = export_model(halved(source, outside=outside), tmp_path / "half.onnx", ExportOptions(conf=0.6))
    assert report.card.precision == "fp32"
    assert any("float16 weights are float32 here" in note for note in report.notes)
    assert report.nodes == expected.nodes
    with Detector(expected.path) as full, Detector(report.path) as half:
        wanted, found = full.detect(frame()), half.detect(frame())
    assert len(wanted) > 3
    np.testing.assert_allclose(found.scores[:3], wanted.scores[:3], atol=5e-3)


def test_weights_that_did_not_fit_are_refused(tmp_path: Path) -> None:
    source = save_head(tmp_path / "net.onnx", Head(), ULTRALYTICS)
    model = onnx.load(str(source))
    weight = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    values = numpy_helper.to_array(weight).copy()
    values.flat[:2] = 1e6
    with np.errstate(over="ignore"):
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), weight.name))
    onnx.save(model, str(source))
    with pytest.raises(ArtifactError, match=r"2 of the \d+ numbers of stem.weight did not fit into it"):
        export_model(source, tmp_path / "out.onnx")
