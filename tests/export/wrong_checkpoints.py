"""Checkpoints of every wrong kind: archives, files cut short, contents that are no detector, options with them."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from tests.export.wrong_file import SSDLITE, Write, WrongFile, of_bytes, of_torch


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
