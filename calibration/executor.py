"""Running graphs while measuring: sessions, taps on inner tensors, and frames streamed through them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
import onnx
from onnx import helper

from edgedet.machine.hardware import available_cores
from edgedet.onnx_graph.network import Array, Network

Fusion = Literal["fused", "separate"]
"""``fused``: what ONNX Runtime ships (integer kernels). ``separate``: every Q and DQ is executed where it stands,
which follows TensorRT's arithmetic and does not crawl through x86's slow symmetric kernels."""

TAP_BYTES = 256 * 2**20
"""Most bytes of inner tensors held per run; more taps than that are read in several passes."""


def open_session(model: onnx.ModelProto | bytes, *, fusion: Fusion = "fused", threads: int | None = None):  # type: ignore[no-untyped-def]
    """An ONNX Runtime CPU session of a graph in memory.

    Weights above protobuf's 2 GB limit are refused by protobuf itself.
    """
    from edgedet.onnx_runtime import onnxruntime, session_options

    options = session_options(threads or available_cores())
    if fusion == "separate":
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def tapped(network: Network, tensors: Iterable[str]) -> onnx.ModelProto:
    """A copy of the graph that also outputs ``tensors`` (graph inputs and constants are skipped)."""
    types = network.element_types()
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    present = {output.name for output in model.graph.output}
    for name in dict.fromkeys(tensors):
        if name not in present and name in network.producer:
            kind = types.get(name, onnx.TensorProto.FLOAT)
            model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return model


def stream(
    network: Network,
    frames: Iterable[Array],
    tensors: Sequence[str],
    *,
    fusion: Fusion = "separate",
    threads: int | None = None,
) -> Iterator[dict[str, Array]]:
    """Run ``frames`` one by one and yield ``tensors`` of each, by name.

    A frame is one prepared input of the graph. Graph inputs may be among ``tensors``.
    """
    session = open_session(tapped(network, tensors), fusion=fusion, threads=threads)
    name = session.get_inputs()[0].name
    wanted = [tensor for tensor in dict.fromkeys(tensors) if tensor != name]
    for frame in frames:
        values = dict(zip(wanted, session.run(wanted, {name: frame}) if wanted else [], strict=True))
        if name in tensors:
            values[name] = frame
        yield values


def in_chunks(network: Network, tensors: Sequence[str]) -> Iterator[list[str]]:
    """Split ``tensors`` so that one run never holds more than ``TAP_BYTES`` of them."""
    shapes = network.shapes()
    chunk: list[str] = []
    held = 0
    for name in tensors:
        size = 4 * int(np.prod([max(side, 1) for side in shapes.get(name, ())], dtype=np.int64))
        if chunk and held + size > TAP_BYTES:
            yield chunk
            chunk, held = [], 0
        chunk.append(name)
        held += size
    if chunk:
        yield chunk
