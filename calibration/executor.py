"""Running graphs while measuring: sessions, and frames through them on every core."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Literal, TypeVar

import onnx
from onnx import TensorProto, numpy_helper
from threadpoolctl import ThreadpoolController

from edgedet.machine.cores import available_cores
from edgedet.onnx_graph.network import Array
from edgedet.onnx_graph.shape_inference import inferred, without_constants
from edgedet.prefetch import in_order
from edgedet.proof.made_proposals import strewn_inputs

from ..runtimes.heap_trimming import return_free_memory

Item = TypeVar("Item")
Result = TypeVar("Result")

Fusion = Literal["fused", "separate"]
"""``fused``: what ONNX Runtime ships (integer kernels). ``separate``: every Q and DQ is executed where it stands,
which follows TensorRT's arithmetic and does not crawl through x86's slow symmetric kernels."""

LANE_BYTES = 64 * 2**20
"""Bytes of a graph's largest inner tensors together, up to which every core runs a frame of its own."""
ALL_LANES_BYTES = 512 * 2**20
"""The same of all frames that are run at a time, where one takes more than ``LANE_BYTES``."""
NUMPY_TYPES = frozenset([TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.UINT8])
"""Types of constants that can be large."""
FRUGAL_BYTES = 256 * 2**20
"""Bytes of a graph's largest inner tensors together, from which memory is given back before every frame."""
REFERENCED = 2**16
"""Bytes of a constant from which a session reads it where it is, and gets no copy of its own."""
LARGEST_TENSORS = 4
"""So many of them a graph holds at the same time."""
BLOCKED_LAYOUT = "NchwcTransformer"
"""ONNX Runtime's name for laying tensors out in blocks of channels, in which its convolutions are faster."""


def open_session(  # type: ignore[no-untyped-def]
    model: onnx.ModelProto | bytes,
    *,
    fusion: Fusion = "fused",
    threads: int | None = None,
    as_written: bool = False,
    frugal: bool = False,
    blocked: bool = True,
):
    """An ONNX Runtime CPU session of a graph in memory.

    ``as_written``: nodes are run in the order in which they stand, not depth first from the last output.
    ``frugal``: memory is given back as soon as it is free, in place of being kept for the next run.
    ``blocked``: convolutions have tensors, and a copy of their weights, laid out as they like them.
    Weights above protobuf's 2 GB limit are refused by protobuf itself.
    """
    from edgedet.onnxruntime_import import onnxruntime, session_options

    options = session_options(threads or available_cores())
    options.enable_cpu_mem_arena = options.enable_mem_pattern = not frugal
    if as_written:
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    if fusion == "separate":
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    settings = {"providers": ["CPUExecutionProvider"]}
    if not blocked:
        settings["disabled_optimizers"] = [BLOCKED_LAYOUT]
    if isinstance(model, bytes):
        return onnxruntime.InferenceSession(model, options, **settings)
    # Writing the weights of a Faster R-CNN and parsing them again takes as long as all the rest of opening it.
    data, weights = _apart(model)
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(weight) for name, weight in weights.items()}
    options.add_external_initializers(list(values), list(values.values()))
    session = onnxruntime.InferenceSession(data, options, **settings)
    session.weights = weights  # which the session does not keep alive
    return session


def _apart(model: onnx.ModelProto) -> tuple[bytes, dict[str, Array]]:
    """A graph in bytes without its large constants, and those by name."""
    light = without_constants(model)
    light.graph.sparse_initializer.extend(model.graph.sparse_initializer)
    large: dict[str, Array] = {}
    for tensor in model.graph.initializer:
        if tensor.data_type not in NUMPY_TYPES or tensor.ByteSize() < REFERENCED:
            light.graph.initializer.append(tensor)
            continue
        large[tensor.name] = numpy_helper.to_array(tensor)
        stub = light.graph.initializer.add(
            name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, data_location=TensorProto.EXTERNAL
        )
        stub.external_data.add(key="location", value="in memory")
    return light.SerializeToString(), large


class GraphRunner:
    """A graph as a function of its input, which may be called from ``lanes`` threads at a time.

    Two frames side by side on one core each take little more than half the time of one frame after the other on
    two cores. Graphs whose tensors are large get fewer lanes of several cores each, so that memory stays bounded.
    ``opening``: seconds that it took to make it. ``frugal``: whether it gives memory back. ``as_written``: as
    :func:`open_session` has it, for graphs whose tensors are looked at one by one. The largest of them would be
    copied from block layout and back for every look: that takes as long as convolutions gain by it, and twice the
    memory.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        *,
        fusion: Fusion = "fused",
        threads: int | None = None,
        as_written: bool = False,
    ) -> None:
        begun = time.monotonic()
        cores: int = threads or available_cores()
        needed = _bytes_at_once(model)
        self.lanes: int = _lanes(needed, cores)
        self.frugal = needed >= FRUGAL_BYTES
        self._session = open_session(
            model,
            fusion=fusion,
            threads=cores // self.lanes,
            as_written=as_written,
            frugal=self.frugal,
            blocked=not (as_written and self.frugal),
        )
        inputs = {value.name: tuple(value.shape) for value in self._session.get_inputs()}
        self._input = next(iter(inputs))
        # Frames come alone; proposals from outside are strewn ones here.
        self._made = strewn_inputs(inputs)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.opening = time.monotonic() - begun

    def __call__(self, tensor: Array) -> dict[str, Array]:
        """Outputs by name."""
        return self.with_inputs({self._input: tensor})

    def with_inputs(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, of a graph with several inputs."""
        if self.frugal:
            # What the last frame, or opening the graph, has freed lies in pieces that the next one does not fit in.
            return_free_memory()
        return dict(zip(self._outputs, self._session.run(self._outputs, self._made | dict(inputs)), strict=True))


def in_lanes(run: Callable[[Item], Result], items: Iterable[Item], lanes: int | None = None) -> Iterator[Result]:
    """``run`` of every item, in order; several at a time where the function says that it can.

    Args:
        run: a :class:`GraphRunner`, or any function.
        items: taken one by one as they are needed; with several lanes, by whichever is free.
        lanes: how many at a time; None asks ``run.lanes``, and takes one where it has none.
    """
    at_once: int = lanes if lanes is not None else getattr(run, "lanes", 1)
    if at_once == 1:
        yield from map(run, items)
        return
    with closing(in_order(items, [run] * at_once)) as results:
        yield from results


Runs = Callable[[onnx.ModelProto, Iterable[Mapping[str, Array]], int | None], Iterator[dict[str, Array]]]
"""(graph, inputs of frame after frame, threads) to the outputs of every frame, in order. Each node is run where it
stands (:data:`Fusion` ``separate``), in the order in which it is written."""


def run_here(
    model: onnx.ModelProto, inputs: Iterable[Mapping[str, Array]], threads: int | None
) -> Iterator[dict[str, Array]]:
    """On this machine, on every core."""
    runner = GraphRunner(model, fusion="separate", threads=threads, as_written=True)
    del model  # whose weights the session has
    yield from in_lanes(runner.with_inputs, inputs, runner.lanes)
    if runner.frugal:
        del runner
        return_free_memory()


_RUNS: ContextVar[Runs] = ContextVar("runs", default=run_here)


@contextmanager
def frames_run_by(runs: Runs) -> Iterator[None]:
    """While this is open, calibration frames are run by ``runs`` wherever a pass over all of them is made."""
    before = _RUNS.set(runs)
    try:
        yield
    finally:
        _RUNS.reset(before)


def run_frames(
    model: onnx.ModelProto, inputs: Iterable[Mapping[str, Array]], threads: int | None
) -> Iterator[dict[str, Array]]:
    """Outputs of every frame, in order, by whoever runs frames (:func:`frames_run_by`)."""
    return _RUNS.get()(model, inputs, threads)


def one_blas_thread() -> AbstractContextManager[object]:
    """While this is open, numpy's matrix products and factorisations take one thread each.

    Layers are fitted side by side instead. OpenBLAS's own threads wait for each other at every step of a
    factorisation, which on a machine that has other work takes hundreds of times as long.
    """
    limits: AbstractContextManager[object] = _thread_pools().limit(limits=1, user_api="blas")
    return limits


@cache
def _thread_pools() -> ThreadpoolController:
    """Looked for once: that takes as long as fitting a small layer, and numpy's is there from the start."""
    return ThreadpoolController()


def lanes_of(model: onnx.ModelProto, cores: int) -> int:
    """How many frames are run at a time, each on its share of the cores."""
    return _lanes(_bytes_at_once(model), cores)


def _lanes(needed: int, cores: int) -> int:
    return cores if needed <= LANE_BYTES else max(min(cores, ALL_LANES_BYTES // needed), 1)


def _bytes_at_once(model: onnx.ModelProto) -> int:
    """Bytes of the largest inner tensors of a graph with static shapes: an estimate of what a run holds."""
    graph = inferred(model)
    made = {name for node in graph.node for name in node.output}
    sizes = [
        4 * math.prod(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.output)
        if value.name in made
    ]
    return sum(sorted(sizes)[-LARGEST_TENSORS:])
