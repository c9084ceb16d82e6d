"""Random Darknet weights that give detections: written as the program writes them, heads scaled on photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgedet.export.darknet.cfg import read_cfg
from edgedet.export.darknet.cfg_layers import Reader
from edgedet.export.darknet.fork import find_fork
from edgedet.export.darknet.layer_records import HEADS, Detection, Layer, Region, Shortcut, Yolo
from edgedet.export.darknet.onnx_nodes import NetworkWriter, begins_with_convolution
from edgedet.export.darknet.weights import Arrays
from edgedet.onnx_graph.builder import GraphBuilder

Numbers = NDArray[np.float64]
SCORES = 150
"""Most that reach 0.05 in a picture, for each head."""


def read_layers(cfg: Path) -> list[Layer]:
    """The layers of a ``.cfg`` at its own size."""
    network, sections = read_cfg(cfg)
    reader = Reader((3, network.integer("height"), network.integer("width")))
    for section in sections:
        reader.read(section)
    return reader.layers


def random_arrays(layers: Sequence[Layer], seed: int) -> list[Arrays]:
    """Numbers that keep the size of activations, deep networks too."""
    random = np.random.default_rng(seed)
    # What is added to something else is small, or sums double with every block.
    added = {
        layer.section.index - 1 for layer in layers if isinstance(layer.kind, Shortcut) and layer.section.index > 0
    }
    found = []
    for layer in layers:
        arrays: Arrays = {}
        for name, shape in layer.parameters:
            if name == "weights":
                spread = np.sqrt(2 / np.prod(shape[1:] if len(shape) != 3 else shape[2:]))
                values = random.standard_normal(shape, np.float32) * np.float32(spread)
            elif name == "scales":
                values = random.uniform(0.8, 1.2, shape) * (0.3 if layer.section.index in added else 1.0)
            elif name == "variance":
                values = random.uniform(0.5, 1.5, shape)
            else:
                values = random.normal(0, 0.1, shape)
            arrays[name] = np.asarray(values, np.float32)
        found.append(arrays)
    return found


def write_weights(path: Path, layers: Sequence[Layer], arrays: Sequence[Arrays]) -> None:
    """A file of version 0.2, whose count of pictures has 64 bits."""
    with path.open("wb") as file:
        file.write(np.array([0, 2, 5], "<i4").tobytes() + np.array([64000], "<u8").tobytes())
        for layer, found in zip(layers, arrays, strict=True):
            for name, _ in layer.parameters:
                file.write(found[name].astype("<f4").tobytes())


def scale_heads(cfg: Path, layers: Sequence[Layer], arrays: list[Arrays], canvases: Sequence[Numbers]) -> None:
    """Change the layers in front of heads so that boxes and scores spread, in place.

    ``canvases``: float32 BGR pictures [H, W, 3] of the network's size.
    """
    outputs = _head_inputs(cfg, layers, arrays, canvases)
    random = np.random.default_rng(0)
    for head, values in outputs.items():
        layer, source = layers[head], layers[layers[head].reads[0]]
        found = arrays[source.section.index]
        kind = layer.kind
        if isinstance(kind, Detection):
            _scale_cells(kind, found, values, random)
            continue
        assert isinstance(kind, Yolo | Region)
        mean, deviation = values.mean((0, 2, 3)), values.std((0, 2, 3)) + 1e-9
        anchors = len(kind.anchors)
        spread = np.tile(np.r_[1.0, 1.0, 0.4, 0.4, 2.0, np.full(kind.classes, 2.0)], anchors)
        factor = spread / deviation
        standard = (values - mean[:, None, None]) * factor[:, None, None]
        low = _low_enough(standard.reshape(len(values), anchors, 5 + kind.classes, -1), isinstance(kind, Region))
        centre = np.tile(np.r_[np.zeros(4), np.full(1 + kind.classes, low)], anchors)
        found["weights"] = (found["weights"] * factor[:, None, None, None]).astype(np.float32)
        found["biases"] = ((found["biases"] - mean) * factor + centre).astype(np.float32)


def _low_enough(values: Numbers, softmax: bool) -> float:
    """What to add to objectness and classes, so that some scores reach 0.05.

    ``values``: [pictures, B, 5 + C, cells].
    """
    low = 0.0
    for low in np.arange(0, -12, -0.5):
        sure = 1 / (1 + np.exp(-values[:, :, 4:5] - low))
        likely = np.exp(values[:, :, 5:])
        likely = likely / likely.sum(2, keepdims=True) if softmax else 1 / (1 + np.exp(-low) / likely)
        if (sure * likely > 0.05).sum() / len(values) <= SCORES:
            break
    return float(low)


def _scale_cells(kind: Detection, found: Arrays, values: Numbers, random: np.random.Generator) -> None:
    cells, boxes = kind.side**2, kind.side**2 * kind.boxes
    flat = values.reshape(len(values), -1)
    factor = 0.1 / (flat.std(0) + 1e-9)
    centre = np.r_[
        random.uniform(0, 0.9, cells * kind.classes),
        random.uniform(0, 0.9, boxes),
        (random.uniform(0, 1, (boxes, 4)) * [1, 1, 0.6, 0.6] + [0, 0, 0.2, 0.2]).ravel(),
    ]
    found["weights"] = (found["weights"] * factor[:, None]).astype(np.float32)
    found["biases"] = ((found["biases"] - flat.mean(0)) * factor + centre).astype(np.float32)


def _head_inputs(
    cfg: Path, layers: Sequence[Layer], arrays: Sequence[Arrays], canvases: Sequence[Numbers]
) -> dict[int, Numbers]:
    """What each head reads, [pictures, C, H, W], by the head's number, before any activation."""
    network, sections = read_cfg(cfg)
    graph = GraphBuilder("heads")
    height, width = canvases[0].shape[:2]
    image = graph.input("images", "float32", (1, 3, height, width))
    direct = begins_with_convolution(layers)
    writer = NetworkWriter(graph, image, batch=1, fork=find_fork(network, sections, None), direct=direct)
    heads = []
    before = {layer.reads[0] for layer in layers if isinstance(layer.kind, HEADS)}
    for layer, found in zip(layers, arrays, strict=True):
        plain = layer
        if layer.section.index in before:
            kind: Any = layer.kind
            plain = replace(layer, kind=replace(kind, activation="linear"))
        tensor = writer.add(plain, found)
        if isinstance(layer.kind, HEADS):
            heads.append(layer.section.index)
            graph.output(tensor, f"head{layer.section.index}", "float32", (1, *layer.takes[0]))
    session = onnxruntime.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])
    runs = [session.run(None, {"images": canvas.transpose(2, 0, 1)[None]}) for canvas in canvases]
    return {head: np.concatenate([run[at] for run in runs]).astype(np.float64) for at, head in enumerate(heads)}
