"""ONNX Runtime: graphs on the CPU, and on NVIDIA GPUs where its CUDA provider is installed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgedet.artifacts.card import ModelCard
from edgedet.errors import ArtifactError, RuntimeUnavailableError, UsageError
from edgedet.onnxruntime_import import onnxruntime, session_options

from .base import Array, TensorSpec, require_input, require_outputs, threads_in_words
from .heap_trimming import return_free_memory

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


def open(
    path: Path,
    *,
    card: ModelCard,
    threads: int | None = None,
    device: str | None = None,
    content: bytes | None = None,
    lanes: int = 1,
) -> OnnxRuntime:
    """Open a graph.

    ``threads``: of the CPU provider, None for one per physical core. ``device``: ``cpu``, ``cuda``, or None for
    CUDA where it works and the CPU otherwise: a CUDA provider without kernels for the board counts as none.
    ``content``: the graph's bytes in place of the file, with all its weights inside: what lies in other files ONNX
    Runtime would look for in the current folder.
    ``lanes``: runs at the same time; of more than one, each takes one thread, the one it is called from.

    Raises:
        ArtifactError: ONNX Runtime cannot load the graph.
        RuntimeUnavailableError: CUDA was asked for and does not work, or has no kernels for this board.
        UsageError: a device it does not know.
    """
    if device not in (None, "cpu", "cuda"):
        raise UsageError(f"unknown device {device!r} for onnxruntime; expected cpu or cuda")
    return OnnxRuntime(
        path, card, threads=threads if lanes == 1 else 1, device=device, content=content, lanes=lanes
    )


class OnnxRuntime:
    """One session with its output buffers bound once. See :class:`edgedet.runtimes.base.Runtime`."""

    def __init__(
        self,
        path: Path,
        card: ModelCard,
        *,
        threads: int | None,
        device: str | None,
        content: bytes | None = None,
        lanes: int = 1,
    ) -> None:
        self.card = card
        options = session_options(threads)
        options.inter_op_num_threads = 1
        # Planned memory takes 10 MB more than the arena alone for a small detector, and is no faster.
        options.enable_mem_pattern = False
        available = onnxruntime.get_available_providers()
        has_cuda = "CUDAExecutionProvider" in available
        misfit = ""
        if device == "cuda" or (has_cuda and device is None):
            from . import onnxruntime_cuda  # 20 ms, which whoever uses the CPU need not wait for

            if not has_cuda:
                raise RuntimeUnavailableError(onnxruntime_cuda.missing())
            misfit = onnxruntime_cuda.misfit()
            if misfit and device == "cuda":
                raise RuntimeUnavailableError(f"{misfit}; {onnxruntime_cuda.INSTEAD}")
        providers = ["CPUExecutionProvider"]
        if device != "cpu" and has_cuda and not misfit:
            providers.insert(0, "CUDAExecutionProvider")
        graph = str(path) if content is None else content
        try:
            self._session = _session(graph, options, providers, retry=device is None)
        except Exception as error:  # the bindings raise a dozen kinds, some of them plain RuntimeError
            reason = " ".join(str(error).split())
            raise ArtifactError(f"ONNX Runtime cannot load {path}: {reason[:300]}") from error
        if content is not None:
            # Its Python part keeps them for as long as the session lives, for a call that is not used here.
            self._session._model_bytes = None
        return_free_memory()
        used = self._session.get_providers()[0]
        if device == "cuda" and used != "CUDAExecutionProvider":
            raise RuntimeUnavailableError(
                "ONNX Runtime's CUDA provider is installed but does not start; its CUDA and cuDNN versions must "
                "match the machine's (see edgedet doctor)"
            )
        self.inputs = tuple(_spec(tensor) for tensor in self._session.get_inputs())
        self.outputs = tuple(_spec(tensor) for tensor in self._session.get_outputs())
        require_input(path, card.input, self.inputs, remedy="export it again")
        self.device: Literal["cpu", "gpu"] = "cpu" if used == "CPUExecutionProvider" else "gpu"
        self.description = f"onnxruntime {onnxruntime.__version__} {used}, {threads_in_words(threads, lanes)}"
        require_outputs(path, self.outputs)
        self._names = [tensor.name for tensor in self.outputs]
        self._bind()

    def _bind(self) -> None:
        """Buffers for the outputs."""
        self._binding = self._session.io_binding()
        self._buffers: dict[str, Array] = {}
        for tensor in self.outputs:
            if all(size > 0 for size in tensor.shape):
                buffer = np.zeros(tensor.shape, tensor.dtype)
                self._buffers[tensor.name] = buffer
                self._binding.bind_output(tensor.name, "cpu", 0, tensor.dtype, tensor.shape, buffer.ctypes.data)
            else:
                self._binding.bind_output(tensor.name, "cpu")

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Execute once; see :class:`edgedet.runtimes.base.Runtime`.

        Raises:
            ArtifactError: ONNX Runtime fails while executing.
        """
        for name, value in inputs.items():
            self._binding.bind_input(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ArtifactError(f"ONNX Runtime failed while running the graph: {reason[:300]}") from error
        if len(self._buffers) == len(self._names):
            return self._buffers
        return dict(zip(self._names, self._binding.copy_outputs_to_cpu(), strict=True))

    def another_lane(self) -> OnnxRuntime:
        """See :class:`edgedet.runtimes.base.RunsInLanes`; a session may be run by several threads."""
        other = copy.copy(self)
        other._bind()
        return other

    def close(self) -> None:
        """Release the session; calling twice is harmless."""
        self._binding = self._session = None


def _session(graph: str | bytes, options: Any, providers: list[str], *, retry: bool) -> Any:
    """A session; where CUDA fails and ``retry``, one on the CPU. The bindings' own second try prints what failed to
    standard output, among the results."""
    try:
        return onnxruntime.InferenceSession(graph, options, providers=providers, enable_fallback=0)
    except Exception:
        if not retry or len(providers) == 1:
            raise
    return onnxruntime.InferenceSession(graph, options, providers=providers[-1:], enable_fallback=0)


def _spec(tensor: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else -1 for size in tensor.shape)
    return TensorSpec(tensor.name, shape, np.dtype(DTYPES.get(tensor.type, np.void)))
