"""Running engines of TensorRT-RTX: the same module as TensorRT's, and kernels that are kept between runs."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgedet import Detector
from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.engine_file import write_engine
from edgedet.artifacts.rtx_targets import target_facts
from edgedet.errors import ArtifactError, EngineMismatchError, RuntimeUnavailableError
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph
from tests.tensorrt_api.behaviour import Machine, make_plan
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.double import RTX_VERSIONS, make_tensorrt
from tests.tensorrt_api.installed import install

FRAME = frame_with_rectangle(120, 200, (20, 30, 90, 80), channel=2)
VERSION = RTX_VERSIONS[0]
NUMBER = VERSION.removeprefix("rtx-")
KERNELS = b"kernels compiled on this GPU"


class Bench:
    """A machine with TensorRT-RTX and a GPU, and a portable engine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, cuda: FakeCuda, machine: Machine) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        self.folder, self.cuda, self.machine = folder, cuda, machine
        self.trt = install(monkeypatch, VERSION, cuda, machine)
        self.graph, self.engine = folder / "model.onnx", folder / "model.rtx"
        facts = {"library": "tensorrt-rtx", "tensorrt_rtx": NUMBER, "architecture": platform.machine()}
        self.card: ModelCard = replace(save_rectangle_graph(self.graph), engine=facts | target_facts(None))
        self.plan = make_plan(self.trt, onnx.load(self.graph))
        self.write()

    def write(self, **facts: Any) -> None:
        write_engine(self.engine, replace(self.card, engine={**(self.card.engine or {}), **facts}), self.plan)

    def detect(self) -> Any:
        with Detector(self.engine) as detector:
            return detector.detect(FRAME)

    @property
    def kept(self) -> list[Path]:
        """Kept kernels."""
        return sorted(self.folder.glob("cache/edgedet/rtx-*/*.kernels"))

    def given(self) -> list[bytes]:
        """What the library was given of kept kernels, since the last question."""
        blobs = [call["blob"] for name, call in self.trt.calls if name == "IRuntimeCache.deserialize"]
        self.trt.calls.clear()
        return blobs


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def make(cuda: FakeCuda | None = None, machine: Machine | None = None) -> Bench:
        return Bench(monkeypatch, tmp_path, cuda or FakeCuda((8, 9)), machine or Machine(kernels=KERNELS))

    return make


def test_an_engine_finds_what_its_graph_finds(bench: Any) -> None:
    made = bench()
    with Detector(made.graph) as reference, Detector(made.engine) as detector:
        for offset in range(3):
            frame = np.roll(FRAME, 9 * offset, axis=1)
            np.testing.assert_array_equal(detector.detect(frame).boxes, reference.detect(frame).boxes)
        assert detector.description.startswith(f"tensorrt-rtx {NUMBER} Double")
        assert "CUDA graph" in detector.description
    assert made.cuda.held == 0


def test_kernels_are_kept_and_given_back(bench: Any) -> None:
    made = bench()
    made.detect()
    assert made.given() == [] and len(made.kept) == 1
    made.detect()
    assert made.given() == [KERNELS]
    assert [path.name for path in made.kept[0].parent.iterdir()] == [made.kept[0].name], "nothing half-written"


def test_kernels_are_kept_for_each_gpu_version_driver_and_engine(bench: Any) -> None:
    made = bench()
    made.detect()
    (first,) = made.kept
    for part in ("Double", "8-9" if "8-9" in first.parent.name else "8.9", NUMBER, "cuda12.6"):
        assert part in first.parent.name
    bench(FakeCuda((12, 0))).detect()
    assert len({path.parent for path in made.kept}) == 2
    other = bench()
    model = onnx.load(other.graph)
    model.doc_string = "another engine"
    other.plan = make_plan(other.trt, model)
    other.write()
    other.detect()
    assert len([path for path in other.kept if path.parent == first.parent]) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_damaged_kernels_never_reach_the_library_and_are_replaced(bench: Any, damage: str) -> None:
    made = bench()
    made.detect()
    whole = made.kept[0].read_bytes()
    damaged = {
        "cut": whole[:-3],
        "flipped": whole[:-1] + bytes([whole[-1] ^ 1]),
        "empty": b"",
        "foreign": b"something else altogether, longer than a digest",
    }
    made.kept[0].write_bytes(damaged[damage])
    made.given()
    assert len(made.detect()) == 1
    assert made.given() == []
    assert made.kept[0].read_bytes() == whole


def test_kernels_of_another_driver_are_replaced(bench: Any) -> None:
    made = bench()
    made.detect()
    made.kept[0].write_bytes(b"")
    made.detect()
    made.machine.other_driver, made.machine.kernels = True, b"kernels of the new driver"
    made.detect()
    assert made.kept[0].read_bytes().endswith(b"kernels of the new driver")


def test_kernels_that_cannot_be_kept_are_no_failure(bench: Any) -> None:
    made = bench()
    (made.folder / "cache").write_text("a file where the folder should be")
    assert len(made.detect()) == 1


@pytest.mark.parametrize(
    ("cuda", "facts", "said"),
    [
        (FakeCuda((8, 7), integrated=True), {}, r"12\.1 \(DGX Spark\) and later, this machine has 8\.7 \(Double\)"),
        (FakeCuda((9, 0)), {}, r"and later, this machine has 9\.0 \(Double\)"),
        (FakeCuda((8, 9)), target_facts(("sm120",)), r"12\.0 \(RTX 50 series\), this machine has 8\.9 \(Double\)"),
        (
            FakeCuda((8, 9)),
            {"tensorrt_rtx": "1.6.1.120"},
            rf"1\.6\.1\.120, .* has TensorRT-RTX {NUMBER}",
        ),
    ],
    ids=["Orin", "H100", "another target", "another version"],
)
def test_a_foreign_engine_is_refused_before_the_library_sees_it(
    bench: Any, cuda: FakeCuda, facts: dict[str, Any], said: str
) -> None:
    made = bench(cuda)
    made.write(**facts)
    with pytest.raises(EngineMismatchError, match=said):
        Detector(made.engine)
    assert made.machine.seen_sizes == [] and made.cuda.held == 0


def test_without_a_gpu_the_sentence_names_both_sides(bench: Any) -> None:
    made = bench(FakeCuda(devices=0))
    said = r"model\.rtx is an engine for TensorRT-RTX on GPUs of .*RTX 30.*, and no GPU can be used here: .*has 0"
    with pytest.raises(RuntimeUnavailableError, match=said):
        Detector(made.engine)


@pytest.mark.parametrize(
    ("invalid", "kind", "said"),
    [
        (("VERSION_MISMATCH",), EngineMismatchError, "built by another TensorRT-RTX version; build it again"),
        (("UNSUPPORTED_CC",), EngineMismatchError, "built for another GPU"),
        (
            ("OLD_CUDA_DRIVER",),
            EngineMismatchError,
            "newer CUDA than this machine's driver takes; update",
        ),
        (("MALFORMED_ENGINE",), ArtifactError, "holds no TensorRT-RTX plan"),
        ((), ArtifactError, "TensorRT-RTX cannot open .*: something new"),
    ],
)
def test_the_librarys_own_refusal_is_explained(
    bench: Any, invalid: tuple[str, ...], kind: type[Exception], said: str
) -> None:
    made = bench(machine=Machine(refuses="something new", invalid=invalid))
    with pytest.raises(kind, match=said):
        Detector(made.engine)
    assert made.cuda.held == 0


def test_the_double_refuses_targets_as_the_real_builder_does() -> None:
    trt = make_tensorrt(VERSION)

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

    config = trt.Builder(Log()).create_builder_config()
    config.num_compute_capabilities = 2
    assert not config.set_compute_capability(trt.ComputeCapability.NONE, 0)
    assert not config.set_compute_capability(trt.ComputeCapability.CURRENT, 0)
    assert config.set_compute_capability(trt.ComputeCapability.SM86, 0)
