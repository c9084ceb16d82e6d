"""ncnn's two files from a list of layers: the text that names them, and the bytes of their weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Setting = int | float | tuple[int, ...] | tuple[float, ...]

MAGIC = 7767517
"""First line of every ``.param``."""
FLOAT32 = b"\0\0\0\0"
"""Tag in front of weights of a convolution or product that are float32."""
ARRAY = -23300
"""The key of a list is this less its number."""
LARGEST = float(np.finfo(np.float32).max)
"""Number written in place of infinity, which the text cannot say."""


@dataclass
class Layer:
    """One line of the ``.param``, and what belongs to it in the ``.bin``.

    Attributes:
        kind: ncnn's name of the layer.
        name: its own.
        inputs: blobs it reads.
        outputs: blobs it makes.
        settings: by ncnn's number of each; floats where ncnn reads floats, and integers else.
        tagged: the weights that ncnn reads with a tag in front, which says their type; None where it has none.
        plain: those without, one after another.
    """

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    settings: dict[int, Setting] = field(default_factory=dict)
    tagged: Array | None = None
    plain: tuple[Array, ...] = ()


def written(layers: Sequence[Layer]) -> tuple[str, bytes]:
    """The ``.param`` and the ``.bin``.

    A blob that several layers read is divided among them, as ncnn wants it: one reader each.
    """
    every = _divided(layers)
    blobs = sum(len(layer.outputs) for layer in every)
    lines = [str(MAGIC), f"{len(every)} {blobs}"]
    content = bytearray()
    for layer in every:
        counts = f"{len(layer.inputs)} {len(layer.outputs)}"
        settings = (_setting(key, value) for key, value in sorted(layer.settings.items()))
        lines.append(" ".join([layer.kind, layer.name, counts, *layer.inputs, *layer.outputs, *settings]))
        if layer.tagged is not None:
            content += FLOAT32 + _bytes(layer.tagged)
        for weights in layer.plain:
            content += _bytes(weights)
    return "\n".join(lines) + "\n", bytes(content)


def _bytes(weights: Array) -> bytes:
    return np.ascontiguousarray(weights, "<f4").tobytes()


def _divided(layers: Sequence[Layer]) -> list[Layer]:
    readers = Counter(name for layer in layers for name in layer.inputs)
    taken: Counter[str] = Counter()

    def own(name: str) -> str:
        if readers[name] < 2:
            return name
        taken[name] += 1
        return f"{name}_{taken[name]}"

    found = []
    for layer in layers:
        found.append(
            Layer(
                layer.kind,
                layer.name,
                [own(name) for name in layer.inputs],
                layer.outputs,
                layer.settings,
                layer.tagged,
                layer.plain,
            )
        )
        for name in layer.outputs:
            if readers[name] > 1:
                shares = [f"{name}_{index + 1}" for index in range(readers[name])]
                found.append(Layer("Split", f"split_{name}", [name], shares))
    return found


def _setting(key: int, value: Setting) -> str:
    if isinstance(value, tuple):
        return f"{ARRAY - key}={','.join([str(len(value)), *map(_number, value)])}"
    return f"{key}={_number(value)}"


def _number(value: float) -> str:
    """As ncnn reads numbers: at most 15 characters, and a float by its point.

    Nine digits give the same float32 back.

    >>> _number(-1 / 81000), _number(3), _number(float("inf"))
    ('-1.23456794e-05', '3', '3.40282347e+38')
    """
    if isinstance(value, float | np.floating):
        return f"{np.clip(np.float32(value), -LARGEST, LARGEST):.8e}"
    return str(int(value))
