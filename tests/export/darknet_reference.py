"""Darknet's layers and heads in NumPy, written anew from its description, place by place: slow, and plain.

Reads sections by itself, so that it shares nothing with what it judges.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Section = tuple[str, dict[str, str]]


@dataclass
class Boxes:
    """``boxes`` [A, 4] corners in pixels of the network, ``scores`` [A, C]."""

    boxes: Array
    scores: Array


def sections_of(text: str) -> list[Section]:
    """(kind, options) of a well-formed ``.cfg``."""
    found: list[Section] = []
    for line in (re.sub(r"\s", "", line) for line in text.splitlines()):
        if line.startswith("["):
            found.append((line[1:-1], {}))
        elif "=" in line:
            name, _, value = line.partition("=")
            found[-1][1].setdefault(name, value)
    return found


def write(path: Path, text: str, seed: int = 0, *, version: tuple[int, int, int] = (0, 2, 5)) -> list[list[Array]]:
    """Write random weights for the ``.cfg`` ``text``; returns every layer's arrays in the order of the file."""
    random = np.random.default_rng(seed)
    wide = version[0] * 10 + version[1] >= 2 and max(version) < 1000
    arrays = []
    content = np.array(version, "<i4").tobytes() + (32000).to_bytes(8 if wide else 4, "little")
    for shapes in parameter_shapes(text):
        own = []
        for name, shape in shapes:
            if name == "weights":
                own.append(random.normal(0, 1 / math.sqrt(np.prod(shape[1:])), shape))
            elif name in ("scales", "variance"):
                own.append(random.uniform(0.5, 1.5, shape))
            else:
                own.append(random.normal(0, 0.5, shape))
            own[-1] = own[-1].astype("<f4")
            content += own[-1].tobytes()
        arrays.append([array.astype(np.float64) for array in own])
    path.write_bytes(content)
    return arrays


def parameter_shapes(text: str) -> list[list[tuple[str, tuple[int, ...]]]]:
    """What each layer has in the weights."""
    net, *layers = sections_of(text)
    image = np.zeros((3, int(net[1]["height"]), int(net[1]["width"])))
    outputs: list[Array] = []
    found = []
    for kind, options in layers:
        source = outputs[-1] if outputs else image
        shapes: list[tuple[str, tuple[int, ...]]] = []
        normalised = ["scales", "mean", "variance"] if options.get("batch_normalize") == "1" else []
        if kind == "convolutional":
            filters, size = int(options["filters"]), int(options["size"])
            shapes = [(name, (filters,)) for name in ("biases", *normalised)]
            shapes.append(("weights", (filters, len(source) // int(options.get("groups", 1)), size, size)))
        elif kind == "connected":
            outputs_count = int(options["output"])
            shapes = [("biases", (outputs_count,)), ("weights", (outputs_count, source.size))]
            shapes += [(name, (outputs_count,)) for name in normalised]
        elif kind == "local":
            filters, size, side = int(options["filters"]), int(options["size"]), source.shape[1]
            side = (side - (1 if options.get("pad") == "1" else size)) // int(options.get("stride", 1)) + 1
            shapes = [("biases", (filters, side, side)), ("weights", (side * side, filters, len(source) * size**2))]
        found.append(shapes)
        zeros = [np.ones(shape) for _, shape in shapes]
        outputs.append(layer((kind, options), source, outputs, zeros, 1e-6))
    return found


def run(text: str, arrays: Sequence[list[Array]], image: Array, *, alexeyab: bool = False) -> Boxes:
    """What the heads give for an RGB ``image`` [3, H, W] from 0 to 1."""
    _, *layers = sections_of(text)
    outputs: list[Array] = []
    boxes, scores = [], []
    for index, (kind, options) in enumerate(layers):
        source = outputs[-1] if outputs else image
        outputs.append(layer((kind, options), source, outputs, arrays[index], None if alexeyab else 1e-6))
        if kind in ("yolo", "region", "detection"):
            found = head(kind, options, outputs[-1], (image.shape[1], image.shape[2]))
            boxes.append(found.boxes)
            scores.append(found.scores)
    return Boxes(np.concatenate(boxes), np.concatenate(scores))


def layer(
    section: Section, source: Array, outputs: Sequence[Array], arrays: list[Array], epsilon: float | None
) -> Array:
    """The output [C, H, W] of the layer after ``outputs``.

    ``epsilon``: beside the deviation; None for 1e-5 beside the variance.
    """
    (kind, options), index = section, len(outputs)

    def number(name: str, default: int) -> int:
        return int(options.get(name, default))

    def listed(name: str) -> list[Array]:
        numbers = [int(part) for part in options[name].split(",")]
        return [outputs[part if part >= 0 else index + part] for part in numbers]

    if kind == "convolutional":
        size, padding = number("size", 1), number("size", 1) // 2 if options.get("pad") == "1" else 0
        rows = convolve(source, arrays[-1], number("stride", 1), padding, number("groups", 1))
        return activate(normalise(rows, arrays[:-1], epsilon), options.get("activation", "logistic"))
    if kind == "connected":
        rows = (arrays[1] @ source.reshape(-1)).reshape(-1, 1, 1)
        return activate(normalise(rows, [arrays[0], *arrays[2:]], epsilon), options.get("activation", "logistic"))
    if kind == "local":
        size, padding = number("size", 1), number("pad", 0)
        return activate(unshared(source, arrays, size, number("stride", 1), padding), options["activation"])
    if kind == "maxpool":
        stride = number("stride", 1)
        return max_pool(source, number("size", stride), stride, number("padding", number("size", stride) - 1))
    if kind == "avgpool":
        return source.mean((1, 2), keepdims=True)
    if kind == "upsample":
        return source.repeat(number("stride", 2), 1).repeat(number("stride", 2), 2) * float(options.get("scale", 1))
    if kind == "route":
        groups, group = number("groups", 1), number("group_id", 0)
        parts = [np.split(part, groups)[group] for part in listed("layers")]
        return np.concatenate(parts)
    if kind == "shortcut":
        result = source.copy()
        for other in listed("from"):
            count = min(len(result), len(other))
            result[:count] += other[:count]
        return activate(result, options.get("activation", "linear"))
    if kind in ("scale_channels", "sam"):
        return activate(listed("from")[0] * source, options.get("activation", "linear"))
    if kind == "reorg":
        return reorg(source, number("stride", 1))
    if kind == "reorg3d":
        return space_to_depth(source, number("stride", 1))
    if kind == "crop":
        return crop(source, number("crop_height", 1), number("crop_width", 1), options.get("noadjust") == "1")
    if kind == "activation":
        return activate(source, options["activation"])
    assert kind in ("dropout", "yolo", "region", "detection"), kind
    return source


def convolve(source: Array, weights: Array, stride: int, padding: int, groups: int) -> Array:
    """Multiply and add at every place."""
    size, own = weights.shape[2], weights.shape[0] // groups
    padded = np.pad(source, ((0, 0), (padding, padding), (padding, padding)))
    rows, columns = ((side - size) // stride + 1 for side in padded.shape[1:])
    result = np.zeros((len(weights), rows, columns))
    for group in range(groups):
        part = np.split(padded, groups)[group]
        for row in range(rows):
            for column in range(columns):
                window = part[:, row * stride : row * stride + size, column * stride : column * stride + size]
                kernels = weights[group * own : (group + 1) * own]
                result[group * own : (group + 1) * own, row, column] = (kernels * window).sum((1, 2, 3))
    return result


def unshared(source: Array, arrays: list[Array], size: int, stride: int, padding: int) -> Array:
    """As :func:`convolve`, with the kernels of each place."""
    biases, weights = arrays
    padded = np.pad(source, ((0, 0), (padding, padding), (padding, padding)))
    result = biases.copy()
    for row in range(result.shape[1]):
        for column in range(result.shape[2]):
            window = padded[:, row * stride : row * stride + size, column * stride : column * stride + size]
            result[:, row, column] += weights[row * result.shape[2] + column] @ window.reshape(-1)
    return result


def normalise(rows: Array, arrays: list[Array], epsilon: float | None) -> Array:
    """Batch normalisation where there are four arrays, then biases."""
    biases, *rest = (array.reshape(-1, 1, 1) for array in arrays)
    if rest:
        scales, mean, variance = rest
        deviation = np.sqrt(variance + 1e-5) if epsilon is None else np.sqrt(variance) + epsilon
        rows = (rows - mean) / deviation * scales
    return rows + biases


def max_pool(source: Array, size: int, stride: int, padding: int) -> Array:
    """Windows begin half the padding, rounded down, before the picture, and see of it what there is."""
    rows, columns = ((side + padding - size) // stride + 1 for side in source.shape[1:])
    result = np.zeros((len(source), rows, columns))
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride - padding // 2, column * stride - padding // 2
            window = source[:, max(top, 0) : top + size, max(left, 0) : left + size]
            result[:, row, column] = window.max((1, 2))
    return result


def reorg(source: Array, stride: int) -> Array:
    """Darknet's own order, number by number as its loops have it."""
    channels, rows, columns = source.shape
    few = channels // stride**2
    given, result = source.reshape(-1), np.zeros(source.size)
    for channel in range(channels):
        for row in range(rows):
            for column in range(columns):
                across = column * stride + channel // few % stride
                down = row * stride + channel // few // stride
                place = across + columns * stride * (down + rows * stride * (channel % few))
                result[column + columns * (row + rows * channel)] = given[place]
    return result.reshape(channels * stride**2, rows // stride, columns // stride)


def space_to_depth(source: Array, stride: int) -> Array:
    """The pixels of every square one after the other, each with all channels."""
    return np.concatenate(
        [source[:, row::stride, column::stride] for row in range(stride) for column in range(stride)]
    )


def crop(source: Array, height: int, width: int, plain: bool) -> Array:
    """The middle, from -1 to 1."""
    top, left = (source.shape[1] - height) // 2, (source.shape[2] - width) // 2
    middle = source[:, top : top + height, left : left + width]
    return middle if plain else middle * 2 - 1


def activate(x: Array, name: str) -> Array:
    """Formulas of ``activations.h``."""
    exponential = np.exp(np.minimum(x, 50))
    formulas = {
        "linear": lambda: x,
        "leaky": lambda: np.where(x > 0, x, 0.1 * x),
        "relu": lambda: x * (x > 0),
        "relu6": lambda: np.minimum(np.maximum(x, 0), 6),
        "logistic": lambda: 1 / (1 + np.exp(-x)),
        "loggy": lambda: 2 / (1 + np.exp(-x)) - 1,
        "elu": lambda: (x >= 0) * x + (x < 0) * (exponential - 1),
        "selu": lambda: (x >= 0) * 1.0507 * x + (x < 0) * 1.0507 * 1.6732 * (exponential - 1),
        "relie": lambda: np.where(x > 0, x, 0.01 * x),
        "ramp": lambda: x * (x > 0) + 0.1 * x,
        "tanh": lambda: np.tanh(x),
        "hardtan": lambda: np.clip(x, -1, 1),
        "lhtan": lambda: np.where(x < 0, 0.001 * x, np.where(x > 1, 0.001 * (x - 1) + 1, x)),
        "plse": lambda: np.where(x < -4, 0.01 * (x + 4), np.where(x > 4, 0.01 * (x - 4) + 1, 0.125 * x + 0.5)),
        "mish": lambda: x * np.tanh(np.log1p(exponential)),
        "swish": lambda: x / (1 + np.exp(-x)),
    }
    return formulas[name]()


def head(kind: str, options: dict[str, str], numbers: Array, size: tuple[int, int]) -> Boxes:
    """Boxes and scores, anchor by anchor and then cell by cell; of v1 cell by cell."""
    if kind == "detection":
        return _cells(options, numbers.reshape(-1), size)
    classes = int(options["classes"])
    anchors = np.array([float(part) for part in options["anchors"].split(",")]).reshape(-1, 2)
    rows, columns = numbers.shape[1:]
    stride = np.array([size[1] / columns, size[0] / rows])
    mask = range(len(anchors))
    if kind == "yolo":
        mask = [int(part) for part in options["mask"].split(",")] if "mask" in options else mask
        stretch, squared = float(options.get("scale_x_y", 1)), options.get("new_coords") == "1"
    boxes, scores = [], []
    for place, anchor in enumerate(mask):
        own = numbers[place * (5 + classes) : (place + 1) * (5 + classes)]
        for row in range(rows):
            for column in range(columns):
                x = own[:, row, column]
                sides = np.exp(x[2:4]) * anchors[anchor]
                if kind == "region":
                    sides = sides * stride
                    at, sure = activate(x[:2], "logistic"), activate(x[4:5], "logistic")
                    likely = np.exp(x[5:]) / np.exp(x[5:]).sum()
                    likely = likely if options.get("softmax") == "1" else activate(x[5:], "logistic")
                elif squared:
                    at, sure, likely = x[:2], x[4:5], x[5:]
                    sides = x[2:4] ** 2 * 4 * anchors[anchor]
                else:
                    at, sure, likely = (activate(part, "logistic") for part in (x[:2], x[4:5], x[5:]))
                if kind == "yolo":
                    at = at * stretch - 0.5 * (stretch - 1)
                centre = (at + np.array([column, row])) * stride
                boxes.append([*(centre - sides / 2), *(centre + sides / 2)])
                scores.append(sure * likely)
    return Boxes(np.array(boxes), np.array(scores))


def _cells(options: dict[str, str], numbers: Array, size: tuple[int, int]) -> Boxes:
    classes, count, side = (int(options[name]) for name in ("classes", "num", "side"))
    canvas = np.array([size[1], size[0]])
    boxes, scores = [], []
    for cell in range(side * side):
        likely = numbers[cell * classes : (cell + 1) * classes]
        if options.get("softmax") == "1":
            likely = np.exp(likely) / np.exp(likely).sum()
        for box in range(count):
            index = cell * count + box
            sure = numbers[side * side * classes + index]
            x = numbers[side * side * (classes + count) + index * 4 :][:4]
            centre = (x[:2] + np.array([cell % side, cell // side])) / side * canvas
            sides = (x[2:] ** 2 if options.get("sqrt") == "1" else x[2:]) * canvas
            boxes.append([*(centre - sides / 2), *(centre + sides / 2)])
            scores.append(np.clip(likely * sure, 0, 1))
    return Boxes(np.array(boxes), np.array(scores))
