"""CUDA sources to machine code by NVRTC, for the GPU at hand, once: the result is kept in the user's cache."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from edgedet.errors import OutputError, RuntimeUnavailableError
from edgedet.files import atomic_path, user_cache

from .device import INSTALL

FOLDER = Path(__file__).parent
HEADER = "host.h"
INSTALL_NVRTC = (
    "pip install nvidia-cuda-nvrtc-cu12, or nvidia-cuda-nvrtc for CUDA 13 (on JetPack 6: sudo apt install "
    "cuda-nvrtc-12-6, on 7.2: cuda-nvrtc-13-2)"
)
OPTIONS = ("--std=c++17", "--fmad=false")
"""Without fused multiply-adds the kernels give what NumPy gives, bit for bit."""


@cache
def _nvrtc() -> Any:
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise RuntimeUnavailableError(f"the CUDA kernels need NVRTC ({error}): {INSTALL}") from error
    return nvrtc


def compile_kernels(source: str, capability: str) -> bytes:
    """Machine code (cubin) of ``source`` (``nms.cu``, ``resize.cu``) for a compute capability such as ``8.7``.

    Raises:
        RuntimeUnavailableError: NVRTC is missing or too old for this GPU, or refuses the source.
    """
    nvrtc = _nvrtc()
    text, header = ((FOLDER / name).read_bytes() for name in (source, HEADER))
    program = _call("nvrtcCreateProgram", text, source.encode(), 1, [header], [HEADER.encode()])
    try:
        options = [option.encode() for option in (f"--gpu-architecture=sm_{capability.replace('.', '')}", *OPTIONS)]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if int(status) != 0:
            log = bytearray(_call("nvrtcGetProgramLogSize", program))
            nvrtc.nvrtcGetProgramLog(program, log)
            said = " ".join(log.decode(errors="replace").strip("\0 ").split())[:500]
            raise RuntimeUnavailableError(
                f"NVRTC cannot compile {source} for compute capability {capability}: {said or status.name}; update "
                "cuda-bindings and the CUDA toolkit to ones that know this GPU"
            )
        code = bytearray(_call("nvrtcGetCUBINSize", program))
        _call("nvrtcGetCUBIN", program, code)
        return bytes(code)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def cached_kernels(source: str, capability: str) -> bytes:
    """:func:`compile_kernels`, or what an earlier process compiled from the same text with the same NVRTC."""
    version = nvrtc_version()
    digest = hashlib.sha256(b"\0".join((FOLDER / name).read_bytes() for name in (source, HEADER)))
    digest.update(" ".join((version, capability, *OPTIONS)).encode())
    path = user_cache() / f"{Path(source).stem}-{capability}-{digest.hexdigest()[:16]}.cubin"
    try:
        kept = path.read_bytes()
    except OSError:
        kept = b""
    if kept.startswith(b"\x7fELF"):
        return kept
    code = compile_kernels(source, capability)
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(code)
    except OutputError:
        pass  # compiled again next time: a second
    return code


def nvrtc_version() -> str:
    """``major.minor`` of the NVRTC that is here.

    Raises:
        RuntimeUnavailableError: there is none.
    """
    return "{}.{}".format(*_call_all("nvrtcVersion"))


def _call_all(name: str, *arguments: Any) -> tuple[Any, ...]:
    function = getattr(_nvrtc(), name)
    try:
        status, *values = function(*arguments)
    except Exception as error:  # the bindings load the library at the first call, and raise a kind of their own
        raise RuntimeUnavailableError(
            f"the CUDA kernels need NVRTC ({' '.join(str(error).split())[:200]}): {INSTALL_NVRTC}"
        ) from error
    if int(status) != 0:
        raise RuntimeUnavailableError(
            f"{name} failed: {status.name}; reinstall cuda-bindings and nvidia-cuda-nvrtc"
        )
    return tuple(values)


def _call(name: str, *arguments: Any) -> Any:
    values = _call_all(name, *arguments)
    return values[0] if values else None
