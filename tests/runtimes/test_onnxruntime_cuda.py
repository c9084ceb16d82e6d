"""ONNX Runtime's CUDA provider on boards it has no kernels for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest

from edgedet.errors import RuntimeUnavailableError
from edgedet.installed_packages import describe_environment
from edgedet.machine.cuda_library_targets import CUBIN
from edgedet.machine.jetpack import recognise
from edgedet.runtimes import onnxruntime_cuda
from edgedet.runtimes.onnxruntime import open as open_graph
from tests.edgedet.machine.cuda_library import container, library
from tests.edgedet.machine.jetson_files import AGX_ORIN, RELEASES, THOR, write
from tests.rectangle_detector import save_rectangle_graph

ARM_WHEEL = ((CUBIN, 89), (CUBIN, 90), (CUBIN, 120), (CUBIN, 121))
"""What PyPI's onnxruntime-gpu 1.29 to 1.31 holds for arm64 (findings/onnxruntime-gpu-arm64-kernels.sh)."""

BOARDS = {"Orin": (AGX_ORIN, "36.4.3", 87), "Thor": (THOR, "39.2.1", 110)}


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """ONNX Runtime says it has CUDA; the providers that sessions were made with."""
    asked: list[list[str]] = []
    original = onnxruntime.InferenceSession

    def session(path: str, options: Any, providers: list[str], **other: Any) -> Any:
        asked.append(providers)
        return original(path, options, providers=["CPUExecutionProvider"], **other)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    return asked


def on(board: str, kernels: tuple[tuple[int, int], ...], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is a Jetson, its ONNX Runtime has these kernels."""
    compatible, l4t, _ = BOARDS[board]
    write(root, release=RELEASES[l4t], compatible=compatible)
    (root / "capi").mkdir()
    library(root / "capi" / onnxruntime_cuda.LIBRARY, container(*kernels))
    monkeypatch.setattr(onnxruntime_cuda, "recognise", lambda: recognise(root))
    installed = SimpleNamespace(__version__="1.31.1", __file__=str(root / "__init__.py"))
    monkeypatch.setattr(onnxruntime_cuda, "onnxruntime", installed)


@pytest.mark.parametrize("board", BOARDS)
def test_the_wheel_for_servers_is_refused_in_one_sentence(
    board: str, providers: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(board, ARM_WHEEL, tmp_path, monkeypatch)
    card = save_rectangle_graph(tmp_path / "a.onnx")
    with pytest.raises(RuntimeUnavailableError) as caught:
        open_graph(tmp_path / "a.onnx", card=card, device="cuda")
    said = str(caught.value)
    assert "onnxruntime 1.31.1" in said and board in said
    assert "only for 8.9, 9.0, 12.0, 12.1" in said
    assert "edgedet export MODEL.onnx -o MODEL.trt" in said and "\n" not in said and ". " not in said
    assert not providers, "no session was made"


def test_where_no_device_is_named_the_cpu_runs_it(
    providers: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on("Orin", ARM_WHEEL, tmp_path, monkeypatch)
    card = save_rectangle_graph(tmp_path / "a.onnx")
    assert open_graph(tmp_path / "a.onnx", card=card).device == "cpu"
    assert providers == [["CPUExecutionProvider"]]


@pytest.mark.parametrize("board", BOARDS)
def test_a_provider_built_for_the_board_is_used(
    board: str, providers: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(board, (*ARM_WHEEL, (CUBIN, BOARDS[board][2])), tmp_path, monkeypatch)
    card = save_rectangle_graph(tmp_path / "a.onnx")
    open_graph(tmp_path / "a.onnx", card=card)
    assert providers == [["CUDAExecutionProvider", "CPUExecutionProvider"]]


def test_nothing_is_claimed_of_a_provider_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on("Orin", ARM_WHEEL, tmp_path, monkeypatch)
    assert onnxruntime_cuda.misfit()
    (tmp_path / "capi" / onnxruntime_cuda.LIBRARY).write_bytes(b"\x7fELF")
    assert onnxruntime_cuda.misfit() == ""
    (tmp_path / "capi" / onnxruntime_cuda.LIBRARY).unlink()
    assert onnxruntime_cuda.misfit() == ""


def test_nor_on_other_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on("Orin", ARM_WHEEL, tmp_path, monkeypatch)
    monkeypatch.setattr(onnxruntime_cuda, "recognise", lambda: None)
    assert onnxruntime_cuda.misfit() == ""


@pytest.mark.usefixtures("providers")
def test_doctor_does_not_list_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on("Orin", ARM_WHEEL, tmp_path, monkeypatch)
    runtime = next(found for found in describe_environment().runtimes if found.name == "onnxruntime")
    assert runtime.usable and runtime.providers == ("CPU",) and "no kernels for this Jetson" in runtime.reason
    monkeypatch.setattr(onnxruntime_cuda, "recognise", lambda: None)
    runtime = next(found for found in describe_environment().runtimes if found.name == "onnxruntime")
    assert runtime.providers == ("CUDA", "CPU") and not runtime.reason


@pytest.mark.parametrize(
    ("jetson", "architecture", "words", "never"),
    [
        (True, "aarch64", "PyPI has none with kernels for a Jetson; build an engine on the board", "pip install"),
        (False, "aarch64", "pip install onnxruntime-gpu if this GPU is one of them", "Jetson"),
        (False, "x86_64", "pip install 'edgedet[gpu]'", "Jetson"),
    ],
)
def test_whoever_asks_for_cuda_is_told_what_helps_on_this_machine(  # noqa: PLR0917
    jetson: bool,
    architecture: str,
    words: str,
    never: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = recognise(write(tmp_path, release=RELEASES["36.4.3"]))
    monkeypatch.setattr(onnxruntime_cuda, "recognise", lambda: board if jetson else None)
    monkeypatch.setattr("platform.machine", lambda: architecture)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    card = save_rectangle_graph(tmp_path / "a.onnx")
    with pytest.raises(RuntimeUnavailableError, match="has no CUDA provider") as caught:
        open_graph(tmp_path / "a.onnx", card=card, device="cuda")
    assert words in str(caught.value) and never not in str(caught.value)
