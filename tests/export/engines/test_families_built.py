"""What edgedet exports for engines, given to NVIDIA's own parser and builder: rules and library take it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import onnx
import pytest

from edgedet.calibration.fp16 import to_half
from edgedet.export.engines.operators import check_operators
from edgedet.export.engines.parser_versions import TENSORRT_RTX
from edgedet.export.finished_graph import checked
from edgedet.export.options import ExportOptions
from edgedet.export.sources import build_graph
from tests.export.engines.family_graphs import ENGINE, YOLOX, graph, quantised
from tests.export.engines.real_builder import RealBuilder, real_builder
from tests.export.one_stage import save_one_stage


@pytest.fixture(scope="module", name="library")
def _library() -> RealBuilder:
    return real_builder()


def precisions(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.ModelProto]]:
    """One detector in each precision, by name."""
    yield "fp32", model
    yield "fp16", to_half(model).model
    yield "int8", quantised(model)


def require_built(library: RealBuilder, model: onnx.ModelProto) -> None:
    """The rules pass ``model`` in every precision, and so does the library."""
    for precision, made in precisions(model):
        assert check_operators(made, TENSORRT_RTX) == [], precision
        verdict = library.judge(made)
        assert verdict.built, (precision, verdict)


@pytest.mark.parametrize(
    "arch", ["ssdlite320_mobilenet_v3_large", "ssd300_vgg16", "fasterrcnn_mobilenet_v3_large_320_fpn"]
)
def test_torchvisions_detectors_are_built(library: RealBuilder, arch: str) -> None:
    require_built(library, graph(arch, pooling="products"))


def test_a_second_stage_that_takes_proposals_from_outside_is_built(library: RealBuilder) -> None:
    model = graph("fasterrcnn_mobilenet_v3_large_320_fpn", pooling="products", outside_proposals=20)
    assert [value.name for value in model.graph.input] == ["images", "proposals", "proposal_count"]
    require_built(library, model)


def test_pooling_by_the_operator_is_refused_by_both(library: RealBuilder) -> None:
    """What --target tensorrt leaves to TensorRT's plugin, which needs a GPU to be parsed."""
    model = graph("fasterrcnn_mobilenet_v3_large_320_fpn")
    for made in (model, to_half(model).model):
        assert {finding.operator for finding in check_operators(made, TENSORRT_RTX)} == {"RoiAlign"}
        assert check_operators(made) == []
        assert library.judge(made).stage == "parser"


@pytest.mark.parametrize(("family", "options"), [("yolo", ENGINE), ("yolox", YOLOX)])
def test_one_stage_detectors_are_built(
    library: RealBuilder, tmp_path: Path, family: Literal["yolo", "yolox"], options: ExportOptions
) -> None:
    save_one_stage(tmp_path / "net.onnx", family)
    built = build_graph(tmp_path / "net.onnx", options, frame_size=(64, 64))
    require_built(library, checked(built.model, nms="runtime"))


@pytest.mark.parametrize("kind", ["rt_detr", "d_fine", "rf_detr"])
def test_transformer_detectors_are_built(library: RealBuilder, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("transformers", minversion="5")
    from tests.export.hugging_face_models import image_size, save

    side = image_size(kind)
    built = build_graph(save(kind, tmp_path), ENGINE, frame_size=(side, side))
    model = checked(built.model, nms="runtime")
    assert any(node.op_type == "GridSample" for node in model.graph.node)
    assert check_operators(model) == [], "TensorRT's own parsers take GridSample since 8.5"
    require_built(library, model)


def test_trained_detectors_are_built(library: RealBuilder, shared: Path) -> None:
    yolox = replace(YOLOX, classes=tuple(f"class {i}" for i in range(80)))
    for name, options in (
        ("ssdlite320_mobilenet_v3_large_bccd.pt", ENGINE),
        # The canvas, and so the map that proposals are pooled from, is what --target cpu has.
        ("fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt", replace(ENGINE, target="cpu")),
        ("yolox_nano.onnx", yolox),
    ):
        built = build_graph(shared / "models" / name, options, frame_size=(640, 480))
        require_built(library, checked(built.model, nms="runtime"))
