"""ONNX files of every wrong kind: graphs that cannot be, files cut short, metadata and options beside them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.export.one_stage import save_one_stage
from tests.export.wrong_file import SSDLITE, Write, WrongFile, of_bytes


def graph(nodes: list[onnx.NodeProto], shape: Any, out: Any, **more: Any) -> onnx.ModelProto:
    """A graph from ``images`` to ``output0``."""
    element = more.pop("element", TensorProto.FLOAT)
    inputs = [helper.make_tensor_value_info("images", element, shape), *more.pop("inputs", [])]
    outputs = [helper.make_tensor_value_info("output0", TensorProto.FLOAT, out)]
    made = helper.make_graph(nodes, "g", inputs, outputs, more.pop("constants", []))
    return helper.make_model(
        made, opset_imports=[helper.make_opsetid("", more.pop("opset", 17))], ir_version=more.pop("ir", 8)
    )


def changed_graph(change: Callable[[onnx.ModelProto], None], family: str = "yolo") -> Write:
    def write(path: Path) -> None:
        save_one_stage(path, family)  # type: ignore[arg-type]
        model = onnx.load(str(path))
        change(model)
        path.write_bytes(model.SerializeToString())

    return write


def metadata(**values: str | None) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        kept = {entry.key: entry.value for entry in model.metadata_props} | values
        del model.metadata_props[:]
        helper.set_model_props(model, {key: value for key, value in kept.items() if value is not None})

    return change


def external(location: str, **more: str) -> Callable[[onnx.ModelProto], None]:
    """The largest constant is said to lie in another file."""

    def change(model: onnx.ModelProto) -> None:
        tensor = max(model.graph.initializer, key=lambda each: len(each.raw_data))
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **more}.items():
            tensor.external_data.add(key=key, value=value)

    return change


def nested(depth: int) -> onnx.ModelProto:
    """If in If in If ..."""
    inner = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["o"])], "b", [], [helper.make_tensor_value_info("o", 1, None)]
    )
    for _ in range(depth):
        node = helper.make_node("If", ["yes"], ["o"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([node], "b", [], [helper.make_tensor_value_info("o", 1, None)])
    return graph(list(inner.node), [1, 3, 64, 64], [1, 7, 84])


def tower(depth: int) -> bytes:
    """Messages in messages, as lengths alone: what a parser that recurses dies of."""
    content = b""
    for _ in range(depth):
        # GraphProto.node (1) { attribute (5) { g (6) { ... } } }
        for key in (b"\x32", b"\x2a", b"\x0a"):
            length, number = b"", len(content)
            while number > 127:
                length += bytes([number & 127 | 128])
                number >>= 7
            content = key + length + bytes([number]) + content
    size, number = b"", len(content)
    while number > 127:
        size += bytes([number & 127 | 128])
        number >>= 7
    return b"\x08\x08\x3a" + size + bytes([number]) + content


def graphs() -> Iterator[tuple[str, WrongFile]]:
    relu = [helper.make_node("Relu", ["images"], ["output0"])]
    weights = numpy_helper.from_array(np.zeros((8, 3, 1, 1), np.float32), "w")
    conv = [helper.make_node("Conv", ["images", "w"], ["output0"])]
    huge = onnx.TensorProto(name="w", data_type=1, dims=[1 << 40, 3, 1, 1], raw_data=b"1234")
    negative = onnx.TensorProto(name="w", data_type=1, dims=[-1, 3, 1, 1], raw_data=b"1234")
    unknown = onnx.TensorProto(name="w", data_type=99, dims=[8, 3, 1, 1], raw_data=b"1234")
    image, out = [1, 3, 64, 64], [1, 3, 64, 64]
    loop = [helper.make_node("Relu", ["a"], ["output0"]), helper.make_node("Relu", ["output0"], ["a"])]
    custom = [helper.make_node("Magic", ["images"], ["output0"], domain="com.example")]
    other_input = helper.make_tensor_value_info("size", 1, [1, 2])
    for kind, model, words in (
        ("no family", graph(relu, image, out), "--outputs"),
        ("future opset", graph(relu, image, out, opset=999), "opset|ONNX"),
        ("opset 0", graph(relu, image, out, opset=0), "opset|ONNX"),
        ("future IR", graph(relu, image, out, ir=9999), ""),
        ("two inputs", graph(relu, image, out, inputs=[other_input]), "2 inputs"),
        ("half input", graph(relu, image, out, element=TensorProto.FLOAT16), "no known family|outputs"),
        ("text input", graph(relu, image, out, element=TensorProto.STRING), "string"),
        ("input of no type", graph(relu, image, out, element=0), "undefined|expected float32"),
        ("input of an unknown type", graph(relu, image, out, element=99), "type 99"),
        ("flat input", graph(relu, [1, 12288], out), "expected float32"),
        ("five axes", graph(relu, [1, 1, 3, 64, 64], out), "expected float32"),
        ("grey input", graph(relu, [1, 1, 64, 64], out), "expected float32"),
        ("open input", graph(relu, ["n", 3, "h", "w"], out), "dynamic|imgsz"),
        ("empty input", graph(relu, [1, 3, 0, 64], out), ""),
        ("negative input", graph(relu, [1, 3, -5, 64], out), ""),
        ("input of a petabyte", graph(relu, [1, 3, 1 << 24, 1 << 24], out), ""),
        ("a missing constant", graph(conv, image, out), ""),
        ("a constant of a petabyte", graph(conv, image, out, constants=[huge]), "damaged: its constant 'w'"),
        ("a constant of negative size", graph(conv, image, out, constants=[negative]), "damaged: its constant 'w'"),
        ("a constant of no type", graph(conv, image, out, constants=[unknown]), "damaged: its constant 'w'"),
        ("another channel count", graph(conv, [1, 3, 64, 64], [1, 9, 1, 1], constants=[weights]), ""),
        ("a circle", graph(loop, image, out), ""),
        ("an unknown domain", graph(custom, image, out), "com.example"),
        ("an unknown operator", graph([helper.make_node("Magic", ["images"], ["output0"])], image, out), ""),
        ("an output from nowhere", graph([helper.make_node("Relu", ["images"], ["x"])], image, out), ""),
        ("no nodes", graph([], image, out), "no ONNX graph"),
        ("If in If", nested(8), ""),
    ):
        for family in ("yolo", "yolox", None):
            if family is not None and kind in ("no family",):
                continue
            given = () if family is None else ("--family", family)
            yield (
                f"graph with {kind}{' as ' + family if family else ''}",
                WrongFile("model.onnx", of_bytes(model.SerializeToString()), words, given, inspected=False),
            )
    yield "tower", WrongFile("model.onnx", of_bytes(tower(2000)), "")
    yield "length bomb", WrongFile("model.onnx", of_bytes(b"\x08\x08\x3a\xff\xff\xff\xff\x07" + bytes(50)), "ONNX")
    yield "no graph", WrongFile("model.onnx", of_bytes(b"\x08\x08\x12\x01a"), "ONNX")
    yield "varint without end", WrongFile("model.onnx", of_bytes(b"\x08" + b"\xff" * 40), "ONNX")


def yolo_files() -> Iterator[tuple[str, WrongFile]]:
    with tempfile.TemporaryDirectory() as folder:
        changed_graph(lambda _: None)(Path(folder) / "seed.onnx")
        whole = (Path(folder) / "seed.onnx").read_bytes()
    for part in (0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        content = whole[: int(len(whole) * part)]
        yield f"graph cut at {part}", WrongFile("model.onnx", of_bytes(content), "ONNX")
    for task in ("pose", "segment", "classify", "obb", "world", ""):
        yield f"task {task!r}", WrongFile("model.onnx", changed_graph(metadata(task=task)), "", inspected=False)
    for key, value in (
        ("names", "['a', 'b']"),
        ("names", "{0: 'a', 1: 'b', 2: 'c', 3: 'd'}"),
        ("names", "{" * 500),
        ("names", "__import__('os').system('touch code_ran')"),
        ("names", "9" * 5000),
    ):
        yield (
            f"metadata {key}={value[:20]}",
            WrongFile("model.onnx", changed_graph(metadata(**{key: value})), "", inspected=False),
        )
    for words, *given in (
        ("names", "--classes", "a,b"),
        ("", "--family", "yolox"),
        ("--arch is for", "--arch", SSDLITE),
        ("--proposals is for", "--proposals", "5"),
        ("batch", "--batch", "4"),
        ("--imgsz", "--imgsz", "320x320"),
    ):
        yield (
            f"graph, options {' '.join(given)}",
            WrongFile("model.onnx", changed_graph(lambda _: None), words, tuple(given), inspected=False),
        )
    yield (
        "YOLOX as YOLO",
        WrongFile("model.onnx", changed_graph(lambda _: None, "yolox"), "", ("--family", "yolo"), inspected=False),
    )
    for location in ("weights.bin", "../secret.bin", "/etc/passwd", "sub/../../secret.bin", "", "."):
        yield (
            f"constants in {location or 'nothing'}",
            WrongFile("model.onnx", changed_graph(external(location)), "", inspected=False),
        )
    yield (
        "constants far behind",
        WrongFile(
            "model.onnx",
            changed_graph(external("model.onnx", offset=str(1 << 60), length="64")),
            "",
            inspected=False,
        ),
    )
