"""The launcher itself, on a double of the CUDA driver; and the CUDA names our sources use, in the real bindings."""

from __future__ import annotations

import ast
import ctypes
import importlib
import inspect
import re
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgedet.artifacts.card import InputSpec, OutputSpec, ResizeRule
from edgedet.errors import FrameError, RuntimeUnavailableError
from edgedet.geometry import plan_resize
from edgedet.runtimes.cuda import launcher as launcher_module
from edgedet.runtimes.cuda.device import Cuda, CudaError
from edgedet.runtimes.cuda.gpu_arrays import take
from edgedet.runtimes.cuda.kernels import CHUNK, KERNELS, Channels, FrameKernel, NmsKernels, Placement
from edgedet.runtimes.cuda.launcher import SOURCES, GpuLauncher
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.driver_double import FakeDriver, PointerAttribute, Result, cubin, parameters
from tests.tensorrt_api.installed import install

ROOT = Path(__file__).parents[3]
ROOMS = ("edgedet", "export", "runtimes", "calibration", "benchmarks")
MODULES = {"cuda": "runtime", "cu": "driver", "nvrtc": "nvrtc"}
NAME = re.compile(r"(cuda|cu|nvrtc)[A-Z]\w+")


class Bench:
    """A launcher on a stream of the doubles. ``launched``: name, grid, threads, plain values."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cuda = FakeCuda()
        self.launched: list[tuple[str, tuple[int, int], int, list[Any]]] = []
        self.driver = FakeDriver(self.cuda, self._run)
        install(monkeypatch, "10.3.0", self.cuda, driver=self.driver)
        monkeypatch.setattr(launcher_module, "cached_kernels", cubin)
        self.device = Cuda()
        self.stream = self.device.stream()
        self.launcher = GpuLauncher(self.device, self.stream)

    def _run(self, name: str, grid: tuple[int, int], threads: int, arguments: Sequence[Any]) -> None:
        self.launched.append((name, grid, threads, [plain(value) for value in arguments]))


def plain(value: Any) -> Any:
    """What a ctypes value holds, comparable."""
    return bytes(value) if isinstance(value, ctypes.Structure) else (type(value), value.value)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def arguments_for(name: str, address: int) -> list[Any]:
    """Something of the right type for every parameter, no two numbers alike."""
    values: list[Any] = []
    for index, kind in enumerate(parameters(SOURCES[name])[name], 1):
        if kind is Channels:
            values.append(Channels((ctypes.c_float * 3)(0.5, 1.5, 2.5)))
        elif kind is Placement:
            values.append(Placement(index, 20, 30, 40))
        else:
            values.append(kind(address if kind is ctypes.c_void_p else index))
    return values


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_gets_what_it_was_launched_with(bench: Bench, name: str) -> None:
    bench.launcher.prepare()
    arguments = arguments_for(name, bench.launcher.allocate(64))
    bench.launcher.launch(name, (3, 2), 64, arguments)
    expected = [plain(value) for value in arguments]
    for value in arguments:
        ctypes.memset(ctypes.addressof(value), 0xFF, ctypes.sizeof(value))  # the caller's memory is used again
    assert bench.launched == [], "nothing is waited for"
    bench.device.synchronise(bench.stream)
    assert bench.launched == [(name, (3, 2), 64, expected)]


class Recorder:
    """A launcher that looks at arguments only."""

    def __init__(self) -> None:
        self.kinds: dict[str, tuple[type, ...]] = {}

    def launch(self, name: str, grid: tuple[int, int], threads: int, arguments: Sequence[Any]) -> None:
        self.kinds[name] = tuple(type(value) for value in arguments)

    def allocate(self, size: int) -> int:
        return 4096

    def clear(self, address: int, size: int) -> None:
        pass


def test_every_kernel_is_launched_with_what_its_source_declares() -> None:
    """The driver is told addresses only: it cannot see how many there are, nor of what."""
    recorder = Recorder()
    for form in ("candidates", "yolo_xywh"):
        output = OutputSpec(form, 0.1, 0.5, 10, label_mode="best")  # type: ignore[arg-type]
        kernels = NmsKernels(recorder, output, classes=2, rows=2 * CHUNK, columns=2)
        kernels(4096, 4096, kernels.result(10), 4096, score=0.1, iou=0.5, wanted=10)
    rule = ResizeRule("stretch")
    FrameKernel(recorder, InputSpec(64, 64), rule)(4096, 192, plan_resize(rule, 48, 64, 64, 64), 4096)
    assert recorder.kinds == {name: parameters(SOURCES[name])[name] for name in KERNELS}


def test_every_kernel_is_loaded_once_and_released(bench: Bench) -> None:
    bench.launcher.prepare()
    bench.launcher.prepare()
    assert bench.driver.held == len(set(SOURCES.values()))
    bench.launcher.allocate(8)
    bench.launcher.close()
    bench.launcher.close()
    assert bench.driver.held == 0
    bench.device.destroy_stream(bench.stream)
    assert bench.cuda.held == 0


def test_memory_is_cleared_in_order(bench: Bench) -> None:
    bench.launcher.prepare()
    address = bench.launcher.allocate(8)
    seen = (ctypes.c_uint8 * 8).from_address(address)
    seen[:] = range(1, 9)
    bench.launcher.clear(address + 2, 4)
    assert list(seen) == [1, 2, 3, 4, 5, 6, 7, 8]
    bench.device.synchronise(bench.stream)
    assert list(seen) == [1, 2, 0, 0, 0, 0, 7, 8]
    with pytest.raises(CudaError, match=r"cuMemsetD8Async failed: CUDA_ERROR_INVALID_VALUE \(1\)"):
        bench.launcher.clear(address + 2, 7)


@pytest.mark.parametrize("name", ["cuInit", "cuModuleLoadData", "cuModuleGetFunction"])
def test_what_fails_while_loading_is_named(bench: Bench, name: str) -> None:
    bench.driver.fails[name] = Result.CUDA_ERROR_NOT_FOUND
    with pytest.raises(CudaError, match=rf"CUDA {name} failed: CUDA_ERROR_NOT_FOUND \(500\); see edgedet doctor"):
        bench.launcher.prepare()


@pytest.mark.parametrize("name", ["cuLaunchKernel", "cuMemsetD8Async", "cuModuleUnload"])
def test_what_fails_later_is_named(bench: Bench, name: str) -> None:
    bench.launcher.prepare()
    address = bench.launcher.allocate(64)
    bench.driver.fails[name] = Result.CUDA_ERROR_INVALID_HANDLE
    arguments = arguments_for("keep_best", address)
    use: dict[str, Callable[[], None]] = {
        "cuLaunchKernel": lambda: bench.launcher.launch("keep_best", (1, 1), 64, arguments),
        "cuMemsetD8Async": lambda: bench.launcher.clear(address, 64),
        "cuModuleUnload": bench.launcher.close,
    }
    with pytest.raises(CudaError, match=rf"CUDA {name} failed: CUDA_ERROR_INVALID_HANDLE \(400\)"):
        use[name]()


def test_code_that_is_none_is_refused_by_the_driver(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher_module, "cached_kernels", lambda source, capability: b"not machine code")
    with pytest.raises(CudaError, match="cuModuleLoadData failed: CUDA_ERROR_INVALID_IMAGE"):
        bench.launcher.prepare()


def test_a_driver_that_is_not_there_is_told_before_anything_is_compiled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(flags: int) -> None:
        raise RuntimeError('"cuda" is an NVIDIA driver library')

    monkeypatch.setattr(bench.driver.module, "cuInit", missing)
    monkeypatch.setattr(launcher_module, "cached_kernels", lambda *arguments: pytest.fail("compiled"))
    with pytest.raises(RuntimeUnavailableError, match=r"cuInit cannot be called .*NVIDIA driver library"):
        bench.launcher.prepare()


def test_another_thread_says_first_which_device_it_works_on(bench: Bench) -> None:
    bench.launcher.prepare()
    address = bench.launcher.allocate(8)
    said: list[str] = []

    def work() -> None:
        try:
            bench.launcher.clear(address, 8)
        except CudaError as error:
            said.append(str(error))
        bench.device.use()
        bench.launcher.clear(address, 8)

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert len(said) == 1 and "CUDA_ERROR_INVALID_CONTEXT" in said[0]


def test_arrays_of_another_context_are_refused(bench: Bench) -> None:
    """PyCUDA makes one of its own unless told otherwise, and our kernels cannot read its memory."""
    address = bench.device.allocate(48)
    array = types.SimpleNamespace(
        __cuda_array_interface__={"shape": (4, 4, 3), "typestr": "|u1", "data": (address, True), "version": 3}
    )
    bench.launcher.prepare()
    assert take(array, bench.device, bench.stream).address == address
    bench.driver.contexts[address] = 0
    assert take(array, bench.device, bench.stream).address == address, "of a pool"
    bench.driver.contexts[address] = 0x999
    with pytest.raises(FrameError, match=r"another CUDA context .*import pycuda\.autoprimaryctx"):
        take(array, bench.device, bench.stream)
    bench.driver.fails["cuPointerGetAttribute"] = Result.CUDA_ERROR_INVALID_VALUE
    assert take(array, bench.device, bench.stream).address == address, "where the driver does not tell"


BAD: list[tuple[str, tuple[Any, ...]]] = [
    ("cuInit", ()),
    ("cuInit", ("0",)),
    ("cuModuleLoadData", ("code",)),
    ("cuModuleLoadData", (b"code", 1)),
    ("cuModuleGetFunction", (1, "keep_best")),
    ("cuModuleGetFunction", (1,)),
    ("cuModuleUnload", ("module",)),
    ("cuMemsetD8Async", (1, 0, 5)),
    ("cuMemsetD8Async", (1, 0, -5, 7)),
    ("cuMemsetD8Async", (1, 0, 5, "stream")),
    ("cuPointerGetAttribute", (1,)),
    ("cuLaunchKernel", (1, 1, 1, 1, 1, 1, 1, 0, 5, 0)),
    ("cuLaunchKernel", (1, 1, 1, 1, 1, 1, 1, 0, "stream", 0, 0)),
    ("cuLaunchKernel", ("f", 1, 1, 1, 1, 1, 1, 0, 5, 0, 0)),
    ("cuLaunchKernel", (1, -1, 1, 1, 1, 1, 1, 0, 5, 0, 0)),
]


@pytest.mark.parametrize(("name", "arguments"), BAD)
def test_the_double_refuses_what_the_real_driver_refuses(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, OverflowError)) as mine:
        getattr(FakeDriver(FakeCuda(), lambda *arguments: None).module, name)(*arguments)
    real = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    with pytest.raises((TypeError, OverflowError)) as theirs:
        getattr(real, name)(*arguments)
    assert mine.type is theirs.type


def test_the_double_is_called_like_the_real_driver() -> None:
    real = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    double = FakeDriver(FakeCuda(), lambda *arguments: None)
    calls = [name for name in vars(double.module) if name.startswith("cu")]
    assert len(calls) == 8
    for name in calls:
        declared = inspect.signature(getattr(real, name)).parameters
        assert list(inspect.signature(getattr(double, name)).parameters) == list(declared), name
    for member in PointerAttribute:
        assert int(getattr(real.CUpointer_attribute, member.name)) == member.value
    for status in Result:
        assert int(getattr(real.CUresult, status.name)) == int(status)


def used_names() -> Iterator[tuple[str, int | None, str]]:
    """Every CUDA name in our sources, the number of arguments where it is called with a fixed one, and where."""
    for path in sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name, count = "", None
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                name = node.value
            elif isinstance(node, ast.Attribute):
                name = node.attr
            elif isinstance(node, ast.Call) and not any(isinstance(value, ast.Starred) for value in node.args):
                by_name = [value.value if isinstance(value, ast.Constant) else "" for value in node.args]
                named = [index for index, value in enumerate(by_name) if NAME.fullmatch(str(value))]
                if isinstance(node.func, ast.Attribute) and NAME.fullmatch(node.func.attr):
                    name, count = node.func.attr, len(node.args)
                elif named:
                    name, count = str(by_name[named[0]]), len(node.args) - named[0] - 1
            if NAME.fullmatch(name):
                yield name, count, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_the_names_of_three_libraries_are_found() -> None:
    used = {name for name, count, _ in used_names() if count is not None}
    assert {"cudaMalloc", "cuMemsetD8Async", "nvrtcCreateProgram", "nvrtcCompileProgram"} <= used
    assert {"cuLaunchKernel", "cudaMemcpyDefault"} <= {name for name, _, _ in used_names()}


def test_what_our_sources_name_exists_in_the_real_bindings() -> None:
    pytest.importorskip("cuda.bindings", reason="cuda-bindings is not installed")
    modules = {prefix: importlib.import_module(f"cuda.bindings.{name}") for prefix, name in MODULES.items()}
    used = list(used_names())
    enums = [getattr(modules["cuda"], name, None) for name, _, _ in used if name.startswith("cuda")]
    members = {member for value in enums for member in getattr(value, "__members__", ())}
    for name, count, where in used:
        found = NAME.fullmatch(name)
        assert found is not None
        real = getattr(modules[found[1]], name, None)
        assert real is not None or name in members, f"{where}: no {name} in cuda.bindings"
        if count is not None:
            assert len(inspect.signature(real).parameters) == count, f"{where}: {name} with {count} arguments"
