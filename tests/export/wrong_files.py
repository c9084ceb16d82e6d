"""Files of every wrong kind, each with the words that an export must complain with."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from edgedet.export.families.architectures import build
from tests.export.one_stage import save_one_stage

SSDLITE = "ssdlite320_mobilenet_v3_large"
Write = Callable[[Path], None]


@dataclass(frozen=True)
class WrongFile:
    """``write`` makes the file; ``options`` go to ``edgedet export``; ``words``: a pattern in the complaint."""

    name: str
    write: Write
    words: str
    options: tuple[str, ...] = ()
    inspected: bool = True
    """Whether ``inspect`` refuses it too: a graph that cannot be exported may still be looked at."""


def of_bytes(content: bytes) -> Write:
    return lambda path: path.write_bytes(content) and None


def of_torch(content: Any, **how: Any) -> Write:
    return lambda path: torch.save(content, path, **how)


FORMATS: dict[str, tuple[bytes, str]] = {
    "jpeg": (b"\xff\xd8\xff\xe0JFIF", "JPEG"),
    "png": (b"\x89PNG\r\n\x1a\n", "PNG"),
    "gif": (b"GIF89a", "GIF"),
    "bmp": (b"BM6\0\0\0", "BMP"),
    "webp": (b"RIFF\x10\0\0\0WEBP", "RIFF"),
    "pdf": (b"%PDF-1.7\n", "PDF"),
    "gzip": (b"\x1f\x8b\x08\0", "gzip"),
    "bzip2": (b"BZh91AY", "bzip2"),
    "xz": (b"\xfd7zXZ\0", "xz"),
    "7z": (b"7z\xbc\xaf\x27\x1c", "7z"),
    "rar": (b"Rar!\x1a\x07", "RAR"),
    "zstd": (b"\x28\xb5\x2f\xfd", "zstd"),
    "tar": (b"a".ljust(257, b"\0") + b"ustar\x0000", "tar"),
    "html": (b"<!DOCTYPE html><html>404 Not Found</html>", "HTML"),
    "indented html": (b"\n\n  <html>Sign in</html>", "HTML"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "json": (b'{"error": "not found"}', "JSON"),
    "keras h5": (b"\x89HDF\r\n\x1a\n\0\0", "HDF5"),
    "tflite": (b"\x1c\0\0\0TFL3\0\0", "TensorFlow Lite"),
    "ncnn": (b"7767517\n75 83\n", "ncnn"),
    "gguf": (b"GGUF\x03\0\0\0", "GGUF"),
    "rknn": (b"RKNN\0\0\0\0", "RKNN"),
    "numpy": (b"\x93NUMPY\x01\0", "NumPy"),
    "sqlite": (b"SQLite format 3\0", "SQLite"),
    "elf": (b"\x7fELF\x02\x01", "Linux program"),
    "exe": (b"MZ\x90\0", "Windows program"),
    "darknet": (b"\0\0\0\0\2\0\0\0\5\0\0\0\0\0\0\0", "Darknet"),
    "zeros": (bytes(4096), "zeros"),
}
"""Other formats by their first bytes."""


def other_formats() -> Iterator[tuple[str, WrongFile]]:
    for kind, (start, words) in FORMATS.items():
        for name in ("model.pt", "model.onnx", "model.bin"):
            yield f"{kind} as {name}", WrongFile(name, of_bytes(start + b"\0" * 100), words)
    for name, words in (
        ("frozen.pb", "TensorFlow graph"),
        ("model.mlmodel", "Core ML"),
        ("model.caffemodel", "Caffe"),
        ("yolo.cfg", "not a text, as a Darknet .cfg is"),
    ):
        yield f"{name} by its name", WrongFile(name, of_bytes(b"\x0a\x11 something \x12\x00" * 9), words)
    yield (
        "engine as .pt",
        WrongFile("model.pt", of_bytes(b"ptrt" + bytes(range(200))), "TensorRT engine", (), False),
    )
    yield "engine", WrongFile("model.engine", of_bytes(b"ptrt" + bytes(range(200))), "engine")
    yield "text as .pt", WrongFile("model.pt", of_bytes(b"hello\n"), "not a checkpoint")
    yield "noise as .pt", WrongFile("model.pt", of_bytes(np.random.default_rng(0).bytes(5000)), "not a checkpoint")
    yield "noise as .onnx", WrongFile("model.onnx", of_bytes(np.random.default_rng(1).bytes(5000)), "ONNX")
    yield "empty .pt", WrongFile("model.pt", of_bytes(b""), "empty")
    yield "empty .onnx", WrongFile("model.onnx", of_bytes(b""), "empty")
    yield "empty .safetensors", WrongFile("model.safetensors", of_bytes(b""), "empty")


def archive(**members: bytes) -> Write:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            for name, content in members.items():
                file.writestr(name.replace("__", "/"), content)

    return write


def bomb(path: Path) -> None:
    """A checkpoint of 100 MB of zeros, packed into 100 kB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", b"\x80\x02}" + b"0" * 100_000_000)


def twice(path: Path) -> None:
    torch.save({"a": torch.zeros(9)}, path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(f"{path.stem}/data/0", b"other")


def overlong(path: Path) -> None:
    """A size in the directory that the file has no room for."""
    torch.save({"a": torch.zeros(9)}, path)
    content = path.read_bytes()
    place = content.rindex(b"PK\x01\x02")
    path.write_bytes(content[: place + 20] + struct.pack("<II", 1 << 30, 1 << 30) + content[place + 28 :])


def sparse_file(start: bytes, size: int) -> Write:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.write(start)
            file.truncate(size)

    return write


def archives() -> Iterator[tuple[str, WrongFile]]:
    for kind, write, words in (
        ("office", archive(**{"[Content_Types].xml": b"x", "word__document.xml": b"x"}), "Office"),
        ("torchserve", archive(**{"MAR-INF__MANIFEST.json": b"{}"}), "TorchServe"),
        ("keras", archive(**{"config.json": b"{}", "model.weights.h5": b"x"}), "Keras"),
        ("npz", archive(**{"arr_0.npy": b"x"}), "NumPy"),
        ("torch.export", archive(**{"m__archive_format": b"pt2"}), r"torch\.export"),
        ("zipped checkpoint", archive(**{"model.pt": b"x"}), "unpack it"),
        ("zipped graph", archive(**{"model.onnx": b"x"}), "unpack it"),
        ("pictures", archive(**{"a.jpg": b"x", "b.jpg": b"x"}), r"a ZIP archive of a\.jpg"),
        ("nothing", archive(), "a ZIP archive of nothing"),
        (
            "torchscript",
            archive(**{"m__data.pkl": b"\x80\x02}.", "m__constants.pkl": b"\x80\x02)."}),
            "TorchScript",
        ),
        ("a broken pickle", archive(**{"m__data.pkl": b"\x80\x02(((", "m__version": b"3"}), "not a checkpoint"),
        ("a bomb", bomb, "claims to hold 100"),
        ("a record twice", twice, "claims to hold .* twice"),
        ("an overlong record", overlong, "claims to hold"),
        ("the end missing", of_bytes(b"PK\x03\x04" + bytes(300)), "cut short"),
        ("a huge file", sparse_file(b"PK\x03\x04", 1 << 33), "cut short"),
    ):
        yield f"archive: {kind}", WrongFile("model.pt", write, words)
    yield "huge zeros", WrongFile("model.pt", sparse_file(b"", 1 << 36), "zeros")
    yield "huge pickle", WrongFile("model.pt", sparse_file(b"\x80\x02", 1 << 33), "not a checkpoint")
    yield (
        "huge safetensors",
        WrongFile(
            "model.safetensors",
            sparse_file(struct.pack("<Q", 1 << 32) + b"{", 1 << 34),
            "safetensors file that cannot",
        ),
    )
    yield "huge ONNX", WrongFile("model.onnx", sparse_file(b"\x08\x08\x3a", 1 << 33), "ONNX")


def small() -> dict[str, torch.Tensor]:
    """A little of an SSDLite: enough to be cut."""
    return {"backbone.a.weight": torch.arange(500.0), "head.b.weight": torch.arange(500.0)}


def cut_checkpoints() -> Iterator[tuple[str, WrongFile]]:
    written: dict[str, bytes] = {}
    for name, how in (("zip", {}), ("legacy", {"_use_new_zipfile_serialization": False})):
        buffer = io.BytesIO()
        torch.save({"state_dict": small(), "code": torch.nn.Identity()}, buffer, **how)  # type: ignore[arg-type]
        written[name] = buffer.getvalue()
    for name, whole in written.items():
        for part in (0.003, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.999):
            content = whole[: max(3, int(len(whole) * part))]
            yield f"{name} cut at {part}", WrongFile("model.pt", of_bytes(content), "not a checkpoint")
    from safetensors.torch import save

    whole = save(small())
    for part in (0.005, 0.05, 0.5, 0.99):
        content = whole[: int(len(whole) * part)]
        yield f"safetensors cut at {part}", WrongFile("model.safetensors", of_bytes(content), "safetensors file")
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    yield (
        "safetensors of a terabyte",
        WrongFile(
            "model.safetensors", of_bytes(struct.pack("<Q", len(header)) + header), "safetensors file that cannot"
        ),
    )
    nested = b'{"a":' * 20_000
    yield (
        "safetensors of deep JSON",
        WrongFile(
            "model.safetensors", of_bytes(struct.pack("<Q", len(nested)) + nested), "safetensors file that cannot"
        ),
    )


def named_tensors(*names: str) -> Write:
    return of_torch({"model": {name: torch.ones(2, 2) for name in names}})


class Identity:
    """An object of a class that is not PyTorch's."""


def contents(state: dict[str, torch.Tensor]) -> Iterator[tuple[str, WrongFile]]:
    first = next(iter(state))
    described = {"arch": SSDLITE, "num_classes": 4, "classes": ["a", "b", "c"], "state_dict": state}
    changed = lambda value: {**state, first: value}  # noqa: E731
    optimiser = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    plain = pickle.dumps
    without_head = {name: value for name, value in state.items() if "classification_head" not in name}
    for kind, content, words in (
        ("nothing", {}, "no tensors"),
        ("an epoch", {"epoch": 3}, "no tensors"),
        ("a list", [1, 2], "holds a list"),
        ("a number", 3, "holds a int"),
        ("a text", "weights", "holds a str"),
        ("None", None, "holds a NoneType"),
        ("a tensor", torch.ones(3), "holds a Tensor"),
        ("an optimiser", optimiser, "optimiser"),
        ("an optimiser in a dict", {"optimizer": optimiser, "epoch": 1}, "optimiser"),
        ("an object", {"model": Identity()}, "carries code"),
        ("an unknown architecture", described | {"arch": "retina"}, "unknown architecture"),
        ("an architecture that is a number", {"arch": 5, "state_dict": {"x": torch.ones(2)}}, "no detector"),
        ("seven classes", described | {"num_classes": 7}, "num_classes is 7"),
        ("text classes", described | {"num_classes": "4"}, "num_classes is '4'"),
        ("deep classes", described | {"num_classes": [[[[[[[[]]]]]]]]}, "num_classes is "),
        ("two names", described | {"classes": ["a", "b"]}, "2 names"),
        ("a name", described | {"classes": "abc"}, "its classes are a str"),
        ("numbers as names", described | {"classes": [1, 2, 3]}, "its classes are a list"),
        ("another architecture", described | {"arch": "ssd300_vgg16"}, "not those of ssd300_vgg16"),
        ("NaN", changed(state[first] * float("nan")), "holds NaN"),
        ("infinity", changed(state[first] + float("inf")), "holds NaN or infinite"),
        ("too large for float32", changed(state[first].double() + 1e300), "holds NaN or infinite"),
        ("int8", changed(state[first].to(torch.int8)), "of int8"),
        ("complex", changed(state[first].to(torch.complex64)), "of complex64"),
        ("sparse", changed(state[first].to_sparse()), "sparse"),
        ("meta", changed(state[first].to("meta")), "meta"),
        ("expanded", changed(torch.zeros(1).expand(10**10)), "expanded"),
        ("another shape", changed(torch.zeros(1, 2)), "does not fit"),
        ("a tensor less", {k: v for k, v in state.items() if k != first}, "is missing"),
        ("a tensor more", {**state, "backbone.more": torch.ones(2)}, "is not part of"),
        ("no head", without_head, "fit several or none"),
        ("two detectors", {"a": state, "b": {k: torch.ones(1) for k in state}}, "several detectors"),
    ):
        yield f"holds {kind}", WrongFile("model.pt", of_torch(content), words)
    yield "plain pickle", WrongFile("model.pt", of_bytes(plain({"x": 1})), "Python pickle")
    yield (
        "detectron2",
        WrongFile("model.pkl", of_bytes(plain({"model": {"a": np.ones(2)}, "__author__": "x"})), "Detectron2"),
    )
    yield "caffe2", WrongFile("model.pkl", of_bytes(plain({"blobs": {"a": np.ones(2)}})), "Caffe2")
    yield "paddle", WrongFile("model.pdparams", of_bytes(plain({"a": np.ones(2)})), "PaddlePaddle")
    yield (
        "shards",
        WrongFile("model.safetensors.index.json", of_bytes(b'{"weight_map": {}}'), "spread over", (), False),
    )
    for names, words in (
        (("backbone.backbone.stem.weight", "head.cls_preds.0.weight"), "YOLOX"),
        (("model.0.conv.weight", "model.24.m.0.weight"), "YOLO model"),
        (("backbone.layer1.0.conv1.weight", "bbox_head.fcos_cls.weight"), "MMDetection"),
        (("backbone.bottom_up.stem.conv1.weight", "roi_heads.x.weight"), "Detectron2"),
        (("transformer.encoder.layers.0.a", "class_embed.weight"), "DETR"),
        (("layer1.0.conv1.weight", "fc.weight"), "classifier"),
        (("features.0.weight", "classifier.6.weight"), "classifier"),
        (("backbone.conv1.weight", "classifier.4.weight"), "segmentation"),
        (("unet.down.0.weight",), "no detector"),
    ):
        yield f"tensors of {names[0]}", WrongFile("model.pt", named_tensors(*names), words)


def options(state: dict[str, torch.Tensor]) -> Iterator[tuple[str, WrongFile]]:
    good = of_torch({"arch": SSDLITE, "num_classes": 4, "state_dict": state})
    for words, *given in (
        ("2 names", "--classes", "a,b"),
        ("5 names", "--classes", "a,b,c,d,e"),
        ("not those of ssd300_vgg16", "--arch", "ssd300_vgg16"),
        ("not those of fasterrcnn", "--arch", "fasterrcnn_resnet50_fpn"),
        ("unknown architecture", "--arch", "yolov8n"),
        ("--family yolo is for", "--family", "yolo"),
        ("--family yolox is for", "--family", "yolox"),
        ("--proposals is for", "--proposals", "10"),
        ("expected 32 or more", "--imgsz", "8x8"),
        ("nowhere", "--int8", "--calib", "nowhere"),
    ):
        yield f"options {' '.join(given)}", WrongFile("model.pt", good, words, tuple(given), inspected=False)


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


def every_wrong_file() -> dict[str, WrongFile]:
    """All of them, by what they are."""
    state = dict(build(SSDLITE, 4).state_dict())
    return {
        **dict(other_formats()),
        **dict(archives()),
        **dict(cut_checkpoints()),
        **dict(contents(state)),
        **dict(options(state)),
        **dict(graphs()),
        **dict(yolo_files()),
    }
