"""Every kernel compiles for the GPUs we name, with NVRTC alone; and what was compiled once is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.errors import RuntimeUnavailableError
from edgedet.runtimes.cuda import compiler
from edgedet.runtimes.cuda.kernels import KERNELS
from edgedet.runtimes.cuda.launcher import SOURCES

BOARDS = {"Orin": "8.7", "Hopper": "9.0", "Thor": "11.0", "Ada": "8.9"}


@pytest.fixture(autouse=True)
def nvrtc() -> None:
    bindings = pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")
    try:
        bindings.nvrtcVersion()
    except Exception as error:
        pytest.skip(f"NVRTC's library cannot be loaded: {error}")


@pytest.mark.parametrize("source", sorted(set(SOURCES.values())))
@pytest.mark.parametrize("board", BOARDS)
def test_kernels_compile(board: str, source: str) -> None:
    try:
        code = compiler.compile_kernels(source, BOARDS[board])
    except RuntimeUnavailableError as error:
        if "invalid value for --gpu-architecture" in str(error):
            pytest.skip(f"this NVRTC does not know {board}: {error}")
        raise
    assert code.startswith(b"\x7fELF")
    for name in KERNELS:
        if SOURCES[name] == source:
            assert f".text.{name}".encode() in code, f"{name} has no C name the driver could find"


def test_no_multiply_add_is_fused() -> None:
    """NumPy has none, and one rounding less decides ties otherwise."""
    assert "--fmad=false" in compiler.OPTIONS


def test_compiled_code_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = compiler.cached_kernels("resize.cu", "8.7")
    monkeypatch.setattr(compiler, "compile_kernels", lambda *arguments: pytest.fail("compiled again"))
    assert compiler.cached_kernels("resize.cu", "8.7") == first
    (kept,) = (tmp_path / "edgedet").iterdir()
    kept.write_bytes(b"broken")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiler.cached_kernels("resize.cu", "8.7") == first


def test_a_mistake_is_quoted_with_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrong.cu").write_text('#include "host.h"\nKERNEL void f() { undeclared = 1; }\n')
    (tmp_path / "host.h").write_text((compiler.FOLDER / "host.h").read_text())
    monkeypatch.setattr(compiler, "FOLDER", tmp_path)
    with pytest.raises(RuntimeUnavailableError, match=r"wrong\.cu for compute capability 8\.7: .*undeclared"):
        compiler.compile_kernels("wrong.cu", "8.7")
