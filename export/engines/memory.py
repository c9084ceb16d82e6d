"""How much memory a build will take, said before it begins, and how much it took.

On boards of 4 to 8 GB the CPU and the GPU share the memory, and a build that wants more of it than there is gets
killed without a word. The prediction is a rule of thumb:

- TensorRT itself: what NVIDIA's log says after "Init builder kernel library" (1,459 MiB on a Thor with TensorRT
  10.13, OE4T/meta-tegra issue 2120; 1,444 MiB more on a server with 8.6, NVIDIA/TensorRT issue 3359);
- the weights once as parsed, once in the builder's hands, once in the engine;
- activations: the most that is alive at once when nodes run in their order;
- scratch memory of one kernel: the unrolled input of a 3x3 convolution, at most the workspace.
"""

from __future__ import annotations

import resource
import sys
import threading
from dataclasses import dataclass
from math import prod
from types import TracebackType
from typing import Any

import numpy as np

from edgedet.artifacts import onnx_fields as proto
from edgedet.artifacts.onnx_file import GraphTensor, read_tensor
from edgedet.artifacts.onnx_layers import Node, read_node
from edgedet.artifacts.protobuf import DamagedError, fields, text
from edgedet.errors import ArtifactError
from edgedet.machine.hardware import memory

from ...runtimes.cuda.device import Cuda, CudaError

MIB = 2**20
BUILDER = 1500 * MIB
"""Process, CUDA and TensorRT's kernels, in the machine's memory."""
AHEAD_BUILDER = 200 * MIB
"""Process and TensorRT-RTX, which neither starts CUDA nor tries kernels: 192 MiB for a graph of 16 kB."""
AHEAD_COPIES = 5
"""Times the weights, beyond that: 261 MiB for 9.0 MB of them, 530 MiB for 81.6 MB."""
GPU_CONTEXT = 300 * MIB
"""CUDA's own on a GPU with memory of its own; elsewhere it is part of the above."""
UNROLLED = 9
"""A 3x3 convolution as a matrix product repeats every input nine times."""


@dataclass(frozen=True)
class GraphSize:
    """Bytes. ``activations``: the most alive at once. ``largest``: of one tensor that a convolution reads.

    ``unknown``: tensors whose shape the graph does not tell, which the figures leave out.
    """

    weights: int
    activations: int
    largest: int
    unknown: int


@dataclass(frozen=True)
class Memory:
    """Bytes of the ``machine``'s memory, and of the ``gpu``'s own; None where the two share one."""

    machine: int
    gpu: int | None

    def as_mib(self) -> dict[str, int]:
        """For the model card."""
        values = {"shared": self.machine} if self.gpu is None else {"machine": self.machine, "gpu": self.gpu}
        return {name: round(size / MIB) for name, size in values.items()}

    def __str__(self) -> str:
        gpu = f" and {gib(self.gpu)} of the GPU's" if self.gpu else ""
        return f"{gib(self.machine)} of memory{gpu}"


def gib(size: int) -> str:
    """Bytes for people.

    >>> gib(1_610_612_736)
    '1.5 GiB'
    """
    return f"{size / 2**30:.1f} GiB"


def predict(size: GraphSize, workspace: int, *, shared: bool) -> Memory:
    """What a build will take at its peak. ``workspace``: its limit in bytes; ``shared``: CPU and GPU have one."""
    scratch = min(workspace, UNROLLED * size.largest)
    on_gpu = size.weights + size.activations + scratch
    on_cpu = BUILDER + 2 * size.weights
    return Memory(on_cpu + on_gpu, None) if shared else Memory(on_cpu, GPU_CONTEXT + on_gpu)


def predict_ahead(size: GraphSize) -> Memory:
    """What a build without a GPU will take at its peak."""
    return Memory(AHEAD_BUILDER + AHEAD_COPIES * size.weights, 0)


def shortage(wanted: Memory, free: Memory) -> str:
    """A sentence for who has less than the prediction, with what to do about it; empty where there is enough."""
    short = [
        f"{gib(have)} of {what} are free"
        for what, need, have in (
            ("memory" if wanted.gpu is None else "the machine's memory", wanted.machine, free.machine),
            ("the GPU's memory", wanted.gpu, free.gpu),
        )
        if need is not None and have is not None and need > have
    ]
    if not short:
        return ""
    return (
        f"the build takes about {wanted}, and {' and '.join(short)}: it may be killed. Close other programs (on a "
        "Jetson the desktop too: sudo init 3), add swap, or lower --workspace"
    )


def measure_graph(graph: bytes) -> GraphSize:
    """Read the sizes of a serialised ONNX file, without the onnx package.

    Raises:
        ArtifactError: no ONNX file.
    """
    try:
        return _measure(graph)
    except DamagedError as error:
        raise ArtifactError(f"the graph is not a complete ONNX file ({error}); copy or export it again") from None


def _measure(graph: bytes) -> GraphSize:
    weights: dict[str, int] = {}
    tensors: dict[str, GraphTensor] = {}
    nodes: list[Node] = []
    for field, value in fields(graph, 0, len(graph)):
        if field != proto.MODEL_GRAPH or isinstance(value, int):
            continue
        for part, place in fields(graph, *value):
            if isinstance(place, int):
                continue
            if part == proto.GRAPH_INITIALIZER:
                weights[_name(graph, *place)] = place[1] - place[0]
            elif part in (proto.GRAPH_INPUT, proto.GRAPH_OUTPUT, proto.GRAPH_VALUE_INFO):
                tensor = read_tensor(graph, *place)
                tensors[tensor.name] = tensor
            elif part == proto.GRAPH_NODE:
                nodes.append(read_node(graph, *place))
    sizes = {name: _bytes(tensor) for name, tensor in tensors.items() if name not in weights}
    made = [name for node in nodes for name in node.outputs if name]
    read_by_convolutions = [node.inputs[0] for node in nodes if node.op.startswith("Conv")]
    return GraphSize(
        weights=sum(weights.values()),
        activations=_peak(nodes, sizes),
        largest=max((sizes.get(name) or 0 for name in read_by_convolutions), default=0),
        unknown=sum(1 for name in made if not sizes.get(name)),
    )


def _peak(nodes: list[Node], sizes: dict[str, int]) -> int:
    """The most bytes alive at once when every node runs in its turn and every tensor dies with its last reader."""
    last = {name: index for index, node in enumerate(nodes) for name in node.inputs}
    alive: dict[str, int] = {}
    most = 0
    for index, node in enumerate(nodes):
        alive |= {name: sizes[name] for name in (*node.inputs, *node.outputs) if sizes.get(name)}
        most = max(most, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last.get(name, len(nodes)) > index}
    return most


def _bytes(tensor: GraphTensor) -> int:
    if tensor.dtype == "unknown" or any(side is None for side in tensor.shape):
        return 0
    return prod(side or 0 for side in tensor.shape) * np.dtype(tensor.dtype).itemsize


def _name(graph: bytes, start: int, end: int) -> str:
    found = [value for field, value in fields(graph, start, end) if field == proto.TENSOR_NAME]
    return text(graph, *found[0]) if found and not isinstance(found[0], int) else ""


def free_memory(cuda: Cuda | None) -> Memory | None:
    """What nobody uses now; None where the system does not tell."""
    _, machine = memory()
    if machine is None:
        return None
    return Memory(machine, cuda.free_memory() if cuda is not None and not cuda.integrated else None)


class MemoryWatch:
    """Looks at the free memory all the time while a build runs, in a thread; a context manager.

    On a GPU with memory of its own: what this process took at most, and by how much the GPU's free memory fell.
    Where CPU and GPU share one: by how much what is free fell, since no process is charged for what the GPU holds.
    """

    def __init__(self, cuda: Cuda | None, *, every: float = 0.1) -> None:
        self._cuda, self._every = cuda, every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="edgedet-memory", daemon=True)
        self._first = self._least = self._sample()

    @property
    def peak(self) -> Memory | None:
        """At most so much was taken; None where the system does not tell."""
        if self._cuda is None or not self._cuda.integrated:
            # Kilobytes on Linux, bytes on macOS.
            unit = 1 if sys.platform == "darwin" else 1024
            taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
            return Memory(taken, self._fallen if self._cuda is not None else 0)
        return None if self._first is None else Memory(self._fallen, None)

    @property
    def _fallen(self) -> int:
        return 0 if self._first is None or self._least is None else self._first - self._least

    def _sample(self) -> int | None:
        if self._cuda is None:
            return None
        try:
            self._cuda.use()
            free: Any = free_memory(self._cuda)
        except CudaError:
            return None
        return None if free is None else free.machine if self._cuda.integrated else free.gpu

    def _look(self) -> None:
        while not self._ended.wait(self._every):
            self._note()

    def _note(self) -> None:
        found = self._sample()
        if found is not None:
            self._least = found if self._least is None else min(self._least, found)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._note()
