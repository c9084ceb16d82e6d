"""ncnn: its own layers and weights, on CPUs, in the precision of the card and in no other.

By itself ncnn stores and computes in 16 bits wherever the CPU can. Two things that its Python package does are kept
away from here: ``Mat`` does not keep alive the array it is made of, and weights in memory are read past their end
where the layers ask for more.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.ncnn_file import layer_kinds, read_ncnn
from edgedet.errors import ArtifactError, UsageError

from .base import Array, TensorSpec, input_shape
from .heap_trimming import return_free_memory
from .ncnn_library import ncnn

COLOURS = 3
OFF = (
    "use_fp16_packed",
    "use_fp16_storage",
    "use_fp16_arithmetic",
    "use_bf16_packed",
    "use_bf16_storage",
    "use_int8_packed",
    "use_int8_storage",
    "use_int8_arithmetic",
    "use_int8_inference",
    "use_vulkan_compute",
)
"""Options that change what is computed, or where."""


def open(
    path: Path,
    *,
    card: ModelCard,
    threads: int | None = None,
    device: str | None = None,
    content: bytes | None = None,
) -> Ncnn:
    """Open a file for ncnn.

    ``threads``: CPU threads, None for ncnn's own choice. ``device``: ``cpu`` or None. ``content``: its bytes in
    place of the file.

    Raises:
        ArtifactError: a damaged file, or layers that this ncnn does not have.
        UsageError: a device it is not used on.
    """
    if device not in (None, "cpu"):
        raise UsageError(f"unknown device {device!r} for ncnn; expected cpu")
    return Ncnn(path, card, threads=threads, content=content)


class Ncnn:
    """A network and the memory of its input. See :class:`edgedet.runtimes.base.Runtime`.

    ncnn runs one image at a time: the images of a batch follow each other.
    """

    def __init__(self, path: Path, card: ModelCard, *, threads: int | None, content: bytes | None = None) -> None:
        self.card = card
        self.device: Literal["cpu", "gpu"] = "cpu"
        if card.precision != "fp32":
            raise ArtifactError(f"the card of {path} says {card.precision}, expected fp32; export it again")
        self._net: Any = ncnn.Net()
        settings = self._net.opt
        for name in OFF:
            if hasattr(settings, name):  # older ones have fewer
                setattr(settings, name, False)
        if threads is not None:
            settings.num_threads = threads
        sizes = _load(self._net, path, content)
        taken = list(self._net.input_names())
        if taken != [card.input.name]:
            raise ArtifactError(
                f"the layers in {path} take {', '.join(taken)}, its card says {card.input.name}; export it again"
            )
        return_free_memory()
        spec, batch = card.input, card.input.batch
        self.inputs = (TensorSpec(spec.name, input_shape(spec), np.dtype(spec.dtype)),)
        self.outputs = tuple(TensorSpec(name, (batch, *size), np.dtype(np.float32)) for name, size in sizes.items())
        self._buffers: dict[str, Array] = {
            output.name: np.zeros(output.shape, output.dtype) for output in self.outputs
        }
        self._planes = ncnn.Mat(spec.width, spec.height, COLOURS)
        self._rows = [np.asarray(self._planes.channel(index)) for index in range(COLOURS)]
        count = "default" if threads is None else threads
        self.description = f"ncnn {ncnn.__version__} CPU, {count} threads"

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Execute once; see :class:`edgedet.runtimes.base.Runtime`.

        Raises:
            ArtifactError: ncnn fails while executing, or gives other outputs than the file says.
        """
        (images,) = inputs.values()
        for slot, image in enumerate(images):
            network = self._net.create_extractor()
            network.input(self.card.input.name, self._as_planes(image))
            for name, buffer in self._buffers.items():
                code, found = network.extract(name)
                values = np.asarray(found) if not code else None
                if values is None or values.shape != buffer.shape[1:]:
                    what = f"ends with {code}" if values is None else f"gives {name} {list(values.shape)}"
                    raise ArtifactError(
                        f"ncnn {what} while running the network, expected {name} {list(buffer.shape[1:])}; export "
                        "it again with the ncnn that runs it"
                    )
                buffer[slot] = values
        return self._buffers

    def close(self) -> None:
        """Release the network; calling twice is harmless."""
        self._buffers = {}
        self._rows = []
        self._planes = self._net = None

    def _as_planes(self, image: Array) -> Any:
        """An image [H, W, 3] or [3, H, W] as the float32 planes that the network takes."""
        if self.card.input.layout == "NCHW":
            for row, plane in zip(self._rows, image, strict=True):
                np.copyto(row, plane)
        elif image.dtype == np.float32:
            cv2.split(image, self._rows)
        else:
            # Three colours in whatever order, each to a plane of its own.
            return ncnn.Mat.from_pixels(image, ncnn.Mat.PixelType.PIXEL_BGR, image.shape[1], image.shape[0])
        return self._planes


class _Weights(ncnn.DataReader):
    """Bytes that ncnn reads from, and not beyond their end as its own reader of memory does."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._content = content
        self.place = 0

    def read(self, buffer: Any, size: int) -> int:
        """Copy the next ``size`` bytes to where ``buffer`` points, or as many as there are."""
        part = self._content[self.place : self.place + size]
        ctypes.memmove(_pointer(buffer, None), part, len(part))
        self.place += len(part)
        return len(part)


_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def _load(net: Any, path: Path, held: bytes | None) -> dict[str, tuple[int, ...]]:
    """Read layers and weights into ``net``; returns the sizes of the outputs.

    Raises:
        ArtifactError: a damaged file, layers that this ncnn does not have, or more or fewer weights than they take.
    """
    content = read_ncnn(path, held)
    wanting = [kind for kind in layer_kinds(content.param) if ncnn.layer_to_index(kind) < 0]
    if wanting:
        raise ArtifactError(
            f"ncnn {ncnn.__version__} has no layers {', '.join(wanting)}, which {path} needs; update ncnn (pip "
            "install -U ncnn), or export it again"
        )
    if net.load_param_mem(content.param) != 0:
        raise ArtifactError(f"ncnn cannot read the layers in {path}; copy or export it again")
    reader = _Weights(content.weights)
    if net.load_model(reader) != 0 or reader.place != len(content.weights):
        raise ArtifactError(
            f"the layers in {path} take other weights than the {len(content.weights)} bytes it holds; copy or "
            "export it again"
        )
    return content.outputs
