"""TensorRT and TensorRT-RTX: engines on NVIDIA GPUs, with fixed buffers, a stream of their own, and one CUDA graph
per engine.

The file is checked (hash, versions, compute capability) before the library sees a byte of it. An engine is
executable code: open only what you trust.
"""

from __future__ import annotations

import contextlib
import logging
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.engine_file import EngineFile, library_of, read_engine_header, read_plan
from edgedet.artifacts.engine_library import TENSORRT_RTX
from edgedet.artifacts.engine_match import Host, made_for, require_match
from edgedet.errors import ArtifactError, RuntimeUnavailableError, UsageError
from edgedet.geometry import ResizeGeometry
from edgedet.pictures.frames import is_on_gpu
from edgedet.postprocess import Thresholds

from .base import Array, TensorSpec, require_input
from .cuda.device import Cuda, CudaError
from .cuda.gpu_arrays import GpuArray, take
from .cuda.gpu_frames import GpuFrames, require_fit, require_same
from .cuda.launcher import GpuLauncher
from .cuda.suppression import Suppression, sources
from .tensorrt_library import import_tensorrt, make_runtime
from .tensorrt_log import CapturedLog, errors_of, explain_refusal
from .tensorrt_rtx import KernelCache, diagnosis, kernel_cache_path

DTYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}
"""TensorRT's DataType members, by name since their numbers move, to NumPy's."""

logger = logging.getLogger("edgedet.tensorrt")


def open(
    path: Path,
    *,
    card: ModelCard,
    threads: int | None = None,
    device: str | None = None,
    content: bytes | None = None,
) -> TensorRTRuntime:
    """Open an engine.

    ``threads`` means nothing to a GPU. ``device``: the CUDA device's number, None for the first. ``content``: the
    engine's bytes in place of the file. Then no kernels are kept in the user's cache or taken from it: they are
    code that nobody signed, made of a network that may not lie on a disk.

    Raises:
        ArtifactError: damaged, or not an engine.
        EngineMismatchError: built for another version of its library, another GPU or processor.
        RuntimeUnavailableError: the library or CUDA is missing, or there is no GPU.
        UsageError: a device that is no number.
    """
    if device is not None and not device.isdigit():
        raise UsageError(f"unknown device {device!r} for tensorrt; expected the CUDA device's number, such as 0")
    return TensorRTRuntime(path, card, device=int(device or 0), content=content)


class TensorRTRuntime:
    """One engine with its buffers and its CUDA graph. See :class:`edgedet.runtimes.base.Runtime`.

    ``run`` also takes arrays that are on the GPU already: anything with ``__dlpack__`` or
    ``__cuda_array_interface__`` (PyTorch, CuPy, JAX, PyCUDA, Numba) of the input's shape and dtype.
    """

    device: Literal["gpu"] = "gpu"

    def __init__(self, path: Path, card: ModelCard, *, device: int = 0, content: bytes | None = None) -> None:
        self.card = card
        self._engine: Any = None
        self._context: Any = None
        self._graph: Any = None
        self._stream: int | None = None
        self._staging: dict[str, Array] = {}
        self._addresses: dict[str, int] = {}
        self._device_memory: list[int] = []
        self._runs = 0
        self._suppression: Suppression | None = None
        self._launcher: GpuLauncher | None = None
        self._frames: GpuFrames | None = None
        self._taken: list[GpuArray] = []
        self._kernels: KernelCache | None = None
        file = read_engine_header(path, content)
        library = library_of(file)
        plan = read_plan(file)
        trt = import_tensorrt(library)
        require_match(file, plan, Host(trt.__version__, None, None, platform.machine()))
        self._cuda = _gpu(file, device)
        require_match(file, plan, Host(trt.__version__, self._cuda.compute_capability, self._cuda.name))
        self._log = CapturedLog(trt)
        trt.init_libnvinfer_plugins(self._log.logger, "")
        options = (card.engine or {}).get("options")
        # Such engines bring their own runtime library. The user asked for one when building.
        compatible = isinstance(options, dict) and options.get("version_compatible") is True
        self._runtime = make_runtime(trt, self._log, carries_code=compatible)
        try:
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                why = diagnosis(trt, self._runtime, plan) if library is TENSORRT_RTX else ""
                raise explain_refusal(path, self._log, library, why)
            if library is TENSORRT_RTX and content is None:
                self._kernels = KernelCache(self._engine, kernel_cache_path(trt.__version__, self._cuda, plan))
            del plan
            self.inputs, self.outputs = _tensors(trt, self._engine, path)
            self._engine_outputs = self.outputs
            require_input(path, card.input, self.inputs, remedy="build it again")
            self._allocate()
        except BaseException:
            self.close()
            raise
        way = "mapped memory" if self._cuda.integrated else "pinned memory"
        device_name = f"{self._cuda.name} (compute capability {self._cuda.compute_capability})"
        self.description = f"{library.name} {trt.__version__} {device_name}, {way}"

    def _allocate(self) -> None:
        """Addresses never change again: that is what lets a CUDA graph be replayed."""
        cuda = self._cuda
        self._stream = cuda.stream()
        self._context = (
            self._engine.create_execution_context()
            if self._kernels is None
            else self._kernels.create_context(self._engine)
        )
        if self._context is None:
            raise CudaError(f"TensorRT has no memory for the engine: {errors_of(self._log)}")
        for tensor in (*self.inputs, *self.outputs):
            staging = cuda.pinned(tensor.shape, tensor.dtype)
            self._staging[tensor.name] = staging
            self._place(tensor, cuda.mapped_address(staging) if cuda.integrated else self._device(staging.nbytes))

    def _device(self, size: int) -> int:
        self._device_memory.append(self._cuda.allocate(size))
        return self._device_memory[-1]

    def _place(self, tensor: TensorSpec, address: int) -> None:
        self._addresses[tensor.name] = address
        if not self._context.set_tensor_address(tensor.name, address):
            raise ArtifactError(f"TensorRT refuses a buffer for {tensor.name}: {errors_of(self._log)}")

    def suppress(self, thresholds: Thresholds) -> ModelCard:
        """Finish on the GPU what the engine leaves open: NMS by kernels of ours, in the same CUDA graph.

        Returns the card of what :meth:`run` gives from now on. Where the kernels cannot be compiled or have no
        memory, or the engine does its own NMS, everything stays as it is. Must come before the first run.
        """
        if not sources(self.card, self._engine_outputs) or self._runs:
            return self.card
        assert self._stream is not None
        launcher: GpuLauncher | None = None
        try:
            launcher = GpuLauncher(self._cuda, self._stream)
            launcher.prepare()
            self._suppression = Suppression(self._cuda, launcher, self.card, thresholds, self._engine_outputs)
        except RuntimeUnavailableError as error:
            if launcher is not None:
                self._quietly(launcher.close)
            logger.warning("NMS runs on the CPU: %s", error)
            return self.card
        self._launcher = launcher
        if self._cuda.integrated:
            # Mapped memory is for the host's eyes; what only kernels read belongs to the GPU.
            for tensor in self._engine_outputs:
                self._place(tensor, self._device(self._staging[tensor.name].nbytes))
        self.outputs = self._suppression.outputs
        self.description += ", NMS on the GPU"
        return self._suppression.card

    def run(self, inputs: dict[str, Any]) -> dict[str, Array]:
        """Execute once; see :class:`edgedet.runtimes.base.Runtime`.

        Raises:
            ArtifactError: TensorRT fails while executing.
            CudaError: the GPU does.
            UsageError: an array of another shape or dtype than the input.
        """
        if self._context is None or self._stream is None:
            raise UsageError("this runtime is closed")
        self._cuda.use()
        self._log.begin()
        for tensor in self.inputs:
            # What place_frame has put there needs no feeding.
            if tensor.name in inputs:
                self._feed(tensor, inputs[tensor.name])
        if self._graph is not None:
            self._cuda.launch(self._graph, self._stream)
        else:
            self._execute()
        self._cuda.synchronise(self._stream)
        self._return_taken()
        self._runs += 1
        # TensorRT allocates on the first run, which no graph may record.
        if self._runs == 1:
            if self._kernels is not None:
                self._kernels.save()
            self._capture()
        if self._suppression is None:
            return {tensor.name: self._staging[tensor.name] for tensor in self.outputs}
        if self._suppression.overflowed:
            self._download()
            self._cuda.synchronise(self._stream)
            return self._suppression.on_host(self._staging)
        return self._suppression.results()

    def place_frame(self, frame: Any, slot: int) -> ResizeGeometry:
        """Resize a frame that is on the GPU into the input; see :meth:`GpuFrames.place`. ``run({})`` follows.

        Raises:
            FrameError: not a frame.
            RuntimeUnavailableError: the kernel cannot be compiled here.
        """
        if self._stream is None:
            raise UsageError("this runtime is closed")
        self._cuda.use()
        if self._frames is None:
            self._launcher = self._launcher or GpuLauncher(self._cuda, self._stream)
            self._launcher.prepare()
            self._frames = GpuFrames(
                self._cuda, self._launcher, self.card, self._addresses[self.card.input.name], self._stream
            )
        return self._frames.place(frame, slot)

    def _feed(self, tensor: TensorSpec, value: Any) -> None:
        assert self._stream is not None
        if not is_on_gpu(value):
            value = np.asarray(value)
            # NumPy would repeat one image over the whole batch, without a word.
            require_same("the array", value, tensor)
            np.copyto(self._staging[tensor.name], value, casting="no")
            if not self._cuda.integrated:
                self._cuda.upload(self._addresses[tensor.name], self._staging[tensor.name], self._stream)
            return
        array = take(value, self._cuda, self._stream)
        self._taken.append(array)
        require_fit(array, tensor)
        size = int(np.prod(tensor.shape)) * tensor.dtype.itemsize
        self._cuda.copy(self._addresses[tensor.name], array.address, size, self._stream)

    def _return_taken(self) -> None:
        """Give GPU arrays back to their owners; the stream no longer reads them."""
        while self._taken:
            self._taken.pop().release()
        if self._frames is not None:
            self._frames.release()

    def _execute(self) -> None:
        """Network and downloads, into the stream; nothing is waited for."""
        assert self._stream is not None
        if not self._context.execute_async_v3(self._stream):
            raise ArtifactError(
                f"TensorRT failed while running the engine: {errors_of(self._log) or 'it gives no reason'}"
            )
        if self._suppression is not None:
            self._suppression.enqueue(self._addresses, self._stream)
        elif not self._cuda.integrated:
            self._download()

    def _download(self) -> None:
        assert self._stream is not None
        for tensor in self._engine_outputs:
            self._cuda.download(self._staging[tensor.name], self._addresses[tensor.name], self._stream)

    def _capture(self) -> None:
        """Record :meth:`_execute` as a graph; an engine that cannot be recorded runs without one."""
        assert self._stream is not None
        try:
            self._cuda.begin_capture(self._stream)
            try:
                self._execute()
            finally:
                self._graph = self._cuda.end_capture(self._stream)
            self.description += ", CUDA graph"
        except (ArtifactError, CudaError) as error:
            self._graph = None
            logger.warning("the engine runs without a CUDA graph, a little slower: %s", error)

    def close(self) -> None:
        """Release everything; calling twice is harmless. On a broken device what cannot be released is left."""
        if self._stream is None and self._engine is None:
            return
        stream, graph, addresses, pinned = self._stream, self._graph, self._device_memory, self._staging
        owners = [owner for owner in (self._suppression, self._launcher) if owner is not None]
        self._quietly(self._cuda.use)
        if stream is not None:
            self._quietly(self._cuda.synchronise, stream)
        self._quietly(self._return_taken)
        if graph is not None:
            self._quietly(self._cuda.destroy_graph, graph)
        # Before their memory: the context may still refer to it.
        self._graph = self._context = self._kernels = self._engine = self._runtime = None
        for owner in owners:
            self._quietly(owner.close)
        for address in addresses:
            self._quietly(self._cuda.free, address)
        for staging in pinned.values():
            self._quietly(self._cuda.unpin, staging)
        self._suppression = self._launcher = self._frames = None
        self._staging, self._addresses, self._device_memory = {}, {}, []
        if stream is not None:
            self._quietly(self._cuda.destroy_stream, stream)
            self._stream = None

    @staticmethod
    def _quietly(release: Callable[..., None], *arguments: Any) -> None:
        """An error of the device, or of an array's owner, must not hide the one that led here, nor keep what else
        can be released."""
        with contextlib.suppress(Exception):
            release(*arguments)


def _gpu(engine: EngineFile, device: int) -> Cuda:
    """The GPU an engine runs on.

    Raises:
        RuntimeUnavailableError: there is none that can be used, or no CUDA for Python.
    """
    try:
        return Cuda(device)
    except RuntimeUnavailableError as error:
        raise type(error)(
            f"{engine.path} is an engine for {made_for(engine)}, and no GPU can be used here: {error}; a graph "
            "(.onnx) of the same detector runs without one"
        ) from error


def _tensors(trt: Any, engine: Any, path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        shape = tuple(engine.get_tensor_shape(name))
        kind = engine.get_tensor_dtype(name).name
        if any(size < 0 for size in shape) or kind not in DTYPES:
            raise ArtifactError(
                f"{path}: tensor {name} is {kind} {list(shape)}; expected fixed sizes and one of "
                f"{', '.join(DTYPES)}: build the engine with edgedet export"
            )
        spec = TensorSpec(name, shape, np.dtype(DTYPES[kind]))
        (inputs if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else outputs).append(spec)
    return tuple(inputs), tuple(outputs)
