"""The operator check: what edgedet exports passes for every TensorRT, and what TensorRT refuses is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.calibration.fp16 import to_half
from edgedet.errors import ArtifactError
from edgedet.export.engines.operator_limits import DATA_DEPENDENT, LIMITS
from edgedet.export.engines.operators import check_operators, require_parsable
from edgedet.export.engines.parser_versions import TENSORRT, TENSORRT_RTX, VERSIONS
from edgedet.export.families.torchvision_architectures import ARCHITECTURES
from edgedet.export.finished_graph import checked
from edgedet.export.options import ExportOptions
from edgedet.export.sources import build_graph
from tests.export.engines.family_graphs import ENGINE, YOLOX, graph, quantised
from tests.export.one_stage import save_one_stage


def require_every_precision(model: onnx.ModelProto) -> None:
    """fp32, fp16 and int8 of one detector pass for 10.3, 10.16 and 11.4."""
    assert set(TENSORRT) == {"10.3", "10.16", "11.4"}
    assert check_operators(model) == []
    assert check_operators(to_half(model).model) == []
    assert check_operators(quantised(model)) == []
    if model.ByteSize() < 20_000_000:
        assert check_operators(quantised(model, every=2)) == []


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
def test_every_architecture_parses_in_every_precision(arch: str) -> None:
    require_every_precision(graph(arch))


@pytest.mark.parametrize(("family", "options"), [("yolo", ENGINE), ("yolox", YOLOX)])
def test_every_one_stage_family_parses_in_every_precision(
    tmp_path: Path, family: Literal["yolo", "yolox"], options: ExportOptions
) -> None:
    save_one_stage(tmp_path / "net.onnx", family)
    built = build_graph(tmp_path / "net.onnx", options, frame_size=(64, 64))
    assert built.card.family == family
    require_every_precision(checked(built.model, nms="runtime"))


@pytest.mark.parametrize("name", ["yolov8n.yaml", "yolo11n.yaml"])
def test_ultralytics_own_graphs_parse_in_every_precision(tmp_path: Path, name: str) -> None:
    os.environ["YOLO_OFFLINE"], os.environ["YOLO_AUTOINSTALL"] = "true", "false"
    ultralytics = pytest.importorskip("ultralytics", reason="needs the package Ultralytics to export with")
    model = ultralytics.YOLO(name)
    model.ckpt_path = model.model.pt_path = str(tmp_path / "net.pt")
    path = Path(model.export(format="onnx", imgsz=96, opset=17, simplify=False, verbose=False))
    require_every_precision(checked(build_graph(path, ENGINE, frame_size=(96, 96)).model, nms="runtime"))


def test_trained_detectors_parse(shared: Path) -> None:
    yolox = replace(YOLOX, classes=tuple(f"class {i}" for i in range(80)))
    for name, options in (
        ("ssdlite320_mobilenet_v3_large_bccd.pt", ENGINE),
        ("fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt", ENGINE),
        ("yolox_nano.onnx", yolox),
    ):
        built = build_graph(shared / "models" / name, options, frame_size=(640, 480))
        require_every_precision(checked(built.model, nms="runtime"))


def model_of(
    nodes: list[onnx.NodeProto],
    *,
    shape: tuple[int | str, ...] = (1, 3, 8, 8),
    kind: int = TensorProto.FLOAT,
    constants: dict[str, np.ndarray] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    body = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_value_info("y", onnx.TypeProto())],
        initializer=[numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)])


def one(op: str, *more: str, outputs: tuple[str, ...] = ("y",), **attributes: Any) -> list[onnx.NodeProto]:
    return [helper.make_node(op, ["x", *more], list(outputs), name="it", **attributes)]


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "more best values than TensorRT sorts": (
        lambda: model_of(
            one("TopK", "k", outputs=("y", "i"), axis=1), shape=(1, 5000), constants={"k": integers(3841)}
        ),
        "K is 3841, TensorRT takes at most 3840",
    ),
    "unsorted TopK": (
        lambda: model_of(
            one("TopK", "k", outputs=("y", "i"), axis=1, sorted=0), shape=(1, 50), constants={"k": integers(5)}
        ),
        "sorted is 0",
    ),
    "data-dependent shapes": (lambda: model_of(one("NonZero")), "depends on the picture"),
    "uint8 arithmetic": (
        lambda: model_of(one("Add", "x"), kind=TensorProto.UINT8),
        "x is uint8, expected float, float16, int32, int64",
    ),
    "uint8 inside": (
        lambda: model_of(
            [
                helper.make_node("Cast", ["x"], ["bytes"], name="to_bytes", to=TensorProto.UINT8),
                helper.make_node("Cast", ["bytes"], ["y"], name="back", to=TensorProto.FLOAT),
            ]
        ),
        "casts to uint8",
    ),
    "uint8 moved before it is cast": (
        lambda: model_of(
            [
                helper.make_node("Transpose", ["x"], ["t"], name="first", perm=[0, 2, 3, 1]),
                helper.make_node("Cast", ["t"], ["y"], name="then", to=TensorProto.FLOAT),
            ],
            kind=TensorProto.UINT8,
        ),
        "x is uint8",
    ),
    "double": (lambda: model_of(one("Relu"), kind=TensorProto.DOUBLE), "x is double"),
    "antialiased resizing": (
        lambda: model_of(
            one("Resize", "", "s", mode="linear", antialias=1),
            constants={"s": np.array([1, 1, 2, 2], np.float32)},
            opset=18,
        ),
        "antialias",
    ),
    "pooled places": (
        lambda: model_of(one("MaxPool", outputs=("y", "where"), kernel_shape=[2, 2])),
        "Indices",
    ),
    "an unknown operator": (lambda: model_of(one("Det"), shape=(3, 3)), "not an operator"),
    "a plugin that is gone": (lambda: model_of(one("EfficientNMS_TRT")), "export with --nms runtime"),
    "a fresh opset": (lambda: model_of(one("Relu"), opset=21), "21, expected 9 to 20"),
    "a dynamic batch": (lambda: model_of(one("Relu"), shape=("n", 3, 8, 8)), "dynamic shape"),
    "asymmetric quantisation": (
        lambda: model_of(
            one("QuantizeLinear", "s", "z"),
            constants={"s": np.array(0.1, np.float32), "z": np.array(128, np.uint8)},
        ),
        "expected int8 0",
    ),
    "a negative scale": (
        lambda: model_of(
            one("QuantizeLinear", "s", "z"),
            constants={"s": np.array(-0.1, np.float32), "z": np.array(0, np.int8)},
        ),
        "above 0",
    ),
    "activations quantised by channel": (
        lambda: model_of(
            one("QuantizeLinear", "s", "z", axis=1),
            constants={"s": np.full(3, 0.1, np.float32), "z": np.zeros(3, np.int8)},
        ),
        "one scale per channel",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str) -> None:
    make, said = REFUSED[case]
    findings = check_operators(make(), ["10.3"])
    assert any(said in str(finding) for finding in findings), [str(finding) for finding in findings]


def test_only_old_parsers_refuse_a_named_scatter_reduction() -> None:
    model = model_of(
        [helper.make_node("ScatterND", ["x", "i", "u"], ["y"], name="it", reduction="none")],
        shape=(9,),
        constants={"i": np.zeros((1, 1), np.int64), "u": np.zeros(1, np.float32)},
        opset=18,
    )
    assert {finding.version for finding in check_operators(model, VERSIONS)} == {"10.3"}


def test_opsets_above_20_are_for_the_newest() -> None:
    refused = {finding.version for finding in check_operators(model_of(one("Relu"), opset=22), VERSIONS)}
    assert refused == set(VERSIONS) - {"11.4", "rtx-1.7"}


def test_only_the_first_node_without_a_fixed_shape_is_named() -> None:
    model = model_of(
        [
            helper.make_node("NonZero", ["x"], ["places"], name="first"),
            helper.make_node("Transpose", ["places"], ["t"], name="second", perm=[1, 0]),
            helper.make_node("Cast", ["t"], ["y"], name="third", to=TensorProto.FLOAT),
        ]
    )
    assert [finding.node for finding in check_operators(model, ["11.4"])] == ["first"]


def test_the_message_names_node_version_and_remedy() -> None:
    with pytest.raises(
        ArtifactError,
        match=r"model\.onnx cannot become a TensorRT engine: NonZero it \(TensorRT 10\.3, 10\.16, 11\.4\): .*TopK",
    ):
        require_parsable(model_of(one("NonZero")), where="model.onnx")


def test_the_message_names_the_library_the_engine_is_for() -> None:
    model = model_of(one("Relu"), kind=TensorProto.INT32)
    require_parsable(model, where="model.onnx")
    with pytest.raises(
        ArtifactError,
        match=r"model\.onnx cannot become a TensorRT-RTX engine: Relu it \(TensorRT-RTX 1\.7\): x is int32; use",
    ):
        require_parsable(model, where="model.onnx", versions=TENSORRT_RTX)
    both = model_of(one("NonZero"))
    with pytest.raises(ArtifactError, match=r"TensorRT or TensorRT-RTX engine: NonZero it \(TensorRT 10\.3, .*RTX"):
        require_parsable(both, where="model.onnx", versions=VERSIONS)


def test_the_page_names_every_operator_with_a_rule() -> None:
    page = (Path(__file__).parents[3] / "docs" / "operators.md").read_text()
    missing = {op for version in VERSIONS.values() for op in version.missing}
    unnamed = {op for op in {*LIMITS, *DATA_DEPENDENT, *missing} if f"`{op}`" not in page}
    assert not unnamed
