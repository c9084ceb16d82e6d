"""Running engines, against doubles of TensorRT and CUDA that execute the graph on the CPU and forgive nothing."""

from __future__ import annotations

import gc
import platform
import sys
import threading
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgedet import Detector
from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.engine_file import write_engine
from edgedet.errors import ArtifactError, EngineMismatchError, RuntimeUnavailableError, UsageError
from edgedet.runtimes import tensorrt as runtime_module
from edgedet.runtimes.cuda.device import Cuda
from edgedet.runtimes.tensorrt_log import CapturedLog, errors_of
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph
from tests.runtimes.threads import in_threads
from tests.tensorrt_api.behaviour import Machine, make_plan
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.double import VERSIONS
from tests.tensorrt_api.installed import install

FRAME = frame_with_rectangle(120, 200, (20, 30, 90, 80), channel=2)


class _Sticky:
    """What every call answers after a kernel has crashed."""

    name = "cudaErrorIllegalAddress"

    def __int__(self) -> int:
        return 700


class Bench:
    """A machine with TensorRT and a GPU, and an engine built there."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, version: str, cuda: FakeCuda, machine: Machine
    ) -> None:
        self.cuda = cuda
        self.trt = install(monkeypatch, version, cuda, machine)
        self.graph = folder / "model.onnx"
        self.engine = folder / "model.trt"
        card = save_rectangle_graph(self.graph)
        self.card: ModelCard = replace(
            card,
            engine={"tensorrt": version, "compute_capability": "8.7", "architecture": platform.machine()},
        )
        self.plan = make_plan(self.trt, onnx.load(self.graph))
        self.write()

    def write(self, **facts: Any) -> None:
        write_engine(self.engine, replace(self.card, engine={**(self.card.engine or {}), **facts}), self.plan)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def make(version: str = "10.3.0", cuda: FakeCuda | None = None, machine: Machine | None = None) -> Bench:
        return Bench(monkeypatch, tmp_path, version, cuda or FakeCuda(), machine or Machine())

    return make


@pytest.mark.parametrize("integrated", [False, True], ids=["discrete", "jetson"])
@pytest.mark.parametrize("version", VERSIONS)
def test_an_engine_finds_what_its_graph_finds(bench: Any, version: str, integrated: bool) -> None:
    made = bench(version, FakeCuda(integrated=integrated))
    with Detector(made.graph) as reference, Detector(made.engine) as detector:
        for offset in range(4):
            frame = np.roll(FRAME, 9 * offset, axis=1)
            expected, found = reference.detect(frame), detector.detect(frame)
            assert len(found) == 1
            np.testing.assert_array_equal(found.boxes, expected.boxes)
            np.testing.assert_array_equal(found.scores, expected.scores)
            np.testing.assert_array_equal(found.labels, expected.labels)
        assert "CUDA graph" in detector.description and version in detector.description
    # The first run is plain and is followed by the capture; every later one replays it.
    assert made.cuda.launches == 3
    assert made.cuda.held == 0


def test_the_first_run_comes_before_the_capture_and_off_the_default_stream(bench: Any) -> None:
    made = bench()
    with Detector(made.engine) as detector:
        detector.detect(FRAME)
        detector.detect(FRAME)
    executed = [call for name, call in made.trt.calls if name == "IExecutionContext.execute_async_v3"]
    assert len(executed) == 2, "once plain, once while recording"
    assert all(call["stream_handle"] not in (0, 1, 2) for call in executed)
    addresses = [call["name"] for name, call in made.trt.calls if name == "IExecutionContext.set_tensor_address"]
    assert len(addresses) == len(set(addresses)), "addresses must not change under a recorded graph"


def test_an_engine_that_cannot_be_recorded_still_runs(bench: Any) -> None:
    made = bench()
    made.cuda.refuse_capture = True
    with Detector(made.engine) as detector:
        assert [len(detector.detect(FRAME)) for _ in range(3)] == [1, 1, 1]
        assert "CUDA graph" not in detector.description
    assert made.cuda.held == 0


def test_arrays_on_the_gpu_are_taken_without_the_host(bench: Any) -> None:
    made = bench()
    runtime = runtime_module.open(made.engine, card=made.card)
    cuda = Cuda()
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    pixels[0, 10:30, 20:50, 1] = 250
    address = cuda.allocate(pixels.nbytes)
    cuda.upload(address, pixels, stream := cuda.stream())
    on_gpu = types.SimpleNamespace(
        __cuda_array_interface__={"shape": pixels.shape, "typestr": "|u1", "data": (address, True), "version": 3,
                                  "stream": stream}
    )  # fmt: skip
    for _ in range(3):
        found = runtime.run({"images": on_gpu})
        np.testing.assert_array_equal(found["boxes"][0, 0], [20, 10, 50, 30])
    runtime.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": (1, 32, 64, 3)}, r"uint8 \[1, 32, 64, 3\], images takes uint8 \[1, 64, 64, 3\]"),
        ({"typestr": "<f4"}, "float32"),
        ({"strides": (12288, 192, 3, 2)}, "contiguous"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(bench: Any, change: dict[str, Any], said: str) -> None:
    made = bench()
    runtime = runtime_module.open(made.engine, card=made.card)
    address = Cuda().allocate(49152)
    facts = {"shape": (1, 64, 64, 3), "typestr": "|u1", "data": (address, True), "version": 3} | change
    with pytest.raises(UsageError, match=said):
        runtime.run({"images": types.SimpleNamespace(__cuda_array_interface__=facts)})
    runtime.close()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (
            np.zeros((1, 64, 64, 1), np.uint8),
            r"the array is uint8 \[1, 64, 64, 1\], images takes uint8 \[1, 64, 64, 3\]",
        ),
        (np.zeros((64, 64, 3), np.uint8), r"uint8 \[64, 64, 3\]"),
        (np.zeros((1, 64, 64, 3), np.float32), r"the array is float32 .* takes uint8"),
    ],
    ids=["one channel", "no batch", "floats"],
)
def test_arrays_on_the_host_that_do_not_fit_are_refused(bench: Any, array: np.ndarray, said: str) -> None:
    made = bench()
    runtime = runtime_module.open(made.engine, card=made.card)
    with pytest.raises(UsageError, match=said):
        runtime.run({"images": array})
    runtime.close()


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"tensorrt": "10.16.1"}, r"built by TensorRT 10\.16\.1, this machine has TensorRT 10\.3\.0"),
        ({"compute_capability": "9.0", "device": "H100"}, r"9\.0 \(H100\), this machine has 8\.7 \(Double\)"),
        ({"architecture": "riscv64"}, "built on riscv64"),
    ],
)
def test_a_foreign_machines_engine_is_refused_before_tensorrt_sees_it(
    bench: Any, facts: dict[str, str], said: str
) -> None:
    made = bench()
    made.write(**facts)
    with pytest.raises(EngineMismatchError, match=said):
        Detector(made.engine)
    assert made.trt.machine.seen_sizes == []
    assert made.cuda.held == 0


def test_a_damaged_engine_is_refused_before_tensorrt_sees_it(bench: Any) -> None:
    made = bench()
    data = bytearray(made.engine.read_bytes())
    data[-5] ^= 1
    made.engine.write_bytes(data)
    with pytest.raises(ArtifactError, match="sha256"):
        Detector(made.engine)
    assert made.trt.machine.seen_sizes == []


@pytest.mark.parametrize(
    ("log", "kind", "said"),
    [
        ("expecting library version 10.3.0.26 got 10.4.0.1, please rebuild", EngineMismatchError, r"10\.4\.0\.1"),
        ("incompatible device, expecting compute 8.6 got compute 7.5", EngineMismatchError, r"7\.5.*8\.6"),
        ("Current Version: 239, Serialized Engine Version: 238", EngineMismatchError, "another TensorRT"),
        ("Assertion magicTagRead == kMAGIC_TAG failed", ArtifactError, "no TensorRT plan"),
        ("something new", ArtifactError, "something new"),
    ],
)
def test_tensorrts_own_refusal_is_explained(bench: Any, log: str, kind: type[Exception], said: str) -> None:
    made = bench(machine=Machine(refuses=log))
    with pytest.raises(kind, match=said):
        Detector(made.engine)
    assert made.cuda.held == 0


def test_a_card_that_does_not_fit_its_engine_is_refused(bench: Any) -> None:
    made = bench()
    made.card = replace(made.card, input=replace(made.card.input, height=32))
    made.write()
    with pytest.raises(
        ArtifactError, match=r"takes images uint8 \[1, 64, 64, 3\], its card says .*\[1, 32, 64, 3\]"
    ):
        Detector(made.engine)
    assert made.cuda.held == 0


def test_a_run_that_fails_says_so(bench: Any) -> None:
    made = bench(machine=Machine(fails_to_run=True))
    with Detector(made.engine) as detector, pytest.raises(ArtifactError, match="failed while running"):
        detector.detect(FRAME)


def test_several_detectors_share_a_gpu(bench: Any) -> None:
    made = bench()
    with Detector(made.engine) as first, Detector(made.engine) as second:
        mirrored = np.ascontiguousarray(FRAME[:, ::-1])
        for _ in range(2):
            one, other = first.detect(FRAME), second.detect(mirrored)
            np.testing.assert_allclose(one.boxes[:, 0], 200 - other.boxes[:, 2], atol=4)
    assert made.cuda.held == 0


def test_code_inside_an_engine_runs_only_where_its_card_says_so(bench: Any) -> None:
    made = bench()
    Detector(made.engine).close()
    assert not any(name == "Runtime.engine_host_code_allowed" for name, _ in made.trt.calls)
    made.write(options={"version_compatible": True})
    Detector(made.engine).close()
    assert ("Runtime.engine_host_code_allowed", {"value": True}) in made.trt.calls


def test_a_version_compatible_engine_opens_by_what_its_card_says(bench: Any) -> None:
    made = bench()
    made.plan = make_plan(made.trt, onnx.load(made.graph), flags={"VERSION_COMPATIBLE"})
    made.write(options={"version_compatible": True})
    with Detector(made.engine) as detector:
        assert len(detector.detect(FRAME)) == 1
    made.write(options={"version_compatible": False})
    with pytest.raises(ArtifactError, match="getEngineHostCodeAllowed"):
        Detector(made.engine)
    assert made.cuda.held == 0


def test_a_tensorrt_newer_than_the_driver_is_named(bench: Any) -> None:
    made = bench(machine=Machine(no_cuda=True))
    freed: list[int] = []
    made.trt.Runtime.__del__ = lambda self: freed.append(id(self))
    with pytest.raises(RuntimeUnavailableError, match=r"cannot use the GPU: createInferRuntime.*update the driver"):
        Detector(made.engine)
    assert made.trt.machine.seen_sizes == [], "a null pointer must not be touched"
    made.trt.calls.clear()
    gc.collect()
    assert not freed, "nor freed"


def test_a_warning_of_another_librarys_logger_is_no_failure(bench: Any) -> None:
    made = bench(
        machine=Machine(warns="The logger passed into createInferRuntime differs from one already provided")
    )
    with Detector(made.engine) as detector:
        assert len(detector.detect(FRAME)) == 1


def test_logs_made_by_many_threads_at_once_all_listen(bench: Any) -> None:
    made = bench()
    kept: list[CapturedLog] = []

    def make_many() -> None:
        kept.extend(CapturedLog(made.trt) for _ in range(200))

    in_threads([make_many] * 4)
    assert {id(reference()) for reference in kept[0].logger.listeners} >= {id(log) for log in kept}


def test_a_thread_that_ended_hears_nothing_of_the_one_with_its_number(bench: Any) -> None:
    made = bench()
    logs: list[CapturedLog] = []
    for _ in range(20):  # the numbers of threads are given out again at once
        worker = threading.Thread(target=lambda: logs.append(CapturedLog(made.trt)))
        worker.start()
        worker.join()
    mine = CapturedLog(made.trt)

    def work() -> None:
        mine.begin()
        mine.logger.log(made.trt.ILogger.ERROR, "mine")

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert errors_of(mine) == "mine" and not any(map(errors_of, logs))


def test_one_logger_serves_every_detector_and_each_reads_its_own(bench: Any) -> None:
    made = bench()
    with Detector(made.engine) as first, Detector(made.engine) as second:
        first.detect(FRAME), second.detect(FRAME)
    loggers = {id(call["logger"]) for name, call in made.trt.calls if name == "Runtime"}
    assert len(loggers) == 1
    one, other = CapturedLog(made.trt), CapturedLog(made.trt)
    assert one.logger is other.logger and id(one.logger) in loggers

    def say(text: str, begins: CapturedLog | None = None) -> None:
        if begins is not None:
            begins.begin()
        other.logger.log(made.trt.ILogger.ERROR, text)

    def in_a_thread(*arguments: Any) -> None:
        worker = threading.Thread(target=say, args=arguments)
        worker.start()
        worker.join()

    say("while both listen")
    other.begin()
    in_a_thread("his own", one)
    assert (errors_of(one), errors_of(other)) == ("his own", "")
    one.thread = -1
    in_a_thread("nobody's")
    assert errors_of(other) == "nobody's" and "nobody's" in errors_of(one)


def test_logs_nobody_keeps_are_forgotten(bench: Any) -> None:
    made = bench()
    kept = CapturedLog(made.trt)
    for _ in range(5):
        CapturedLog(made.trt)
    gc.collect()
    CapturedLog(made.trt)
    assert len(kept.logger.listeners) == 2


def test_closing_on_a_broken_device_hides_nothing(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bench()
    detector = Detector(made.engine)
    for name in ("cudaFree", "cudaFreeHost", "cudaStreamDestroy", "cudaSetDevice"):
        monkeypatch.setattr(made.cuda.module, name, lambda *arguments: (_Sticky(),))
    detector.close()
    detector.close()


def test_no_gpu_and_no_bindings_are_told_apart(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bench(cuda=FakeCuda(devices=0))
    with pytest.raises(RuntimeUnavailableError, match="device 0 does not exist; this machine has 0"):
        Detector(made.engine)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(RuntimeUnavailableError, match="edgedet\\[tensorrt\\]"):
        Detector(made.engine)
    with pytest.raises(UsageError, match="CUDA device's number"):
        Detector(made.engine, runtime="tensorrt:gpu")


def test_what_we_call_exists_in_the_real_bindings() -> None:
    real = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    for name, value in vars(FakeCuda().module).items():
        assert hasattr(real, name), name
        for member in getattr(value, "__members__", ()):
            assert hasattr(getattr(real, name), member), f"{name}.{member}"
