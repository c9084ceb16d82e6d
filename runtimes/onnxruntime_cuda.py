"""ONNX Runtime's CUDA provider: whether it can run on this machine, and what to say where it cannot."""

from __future__ import annotations

import platform
from pathlib import Path

from edgedet.machine.cuda_library_targets import kernels_of
from edgedet.machine.jetpack import recognise
from edgedet.onnxruntime_import import onnxruntime

LIBRARY = "libonnxruntime_providers_cuda.so"
INSTEAD = "build an engine on the board (edgedet export MODEL.onnx -o MODEL.trt), or leave out the device"


def misfit() -> str:
    """Why the provider that is installed cannot run on this board; empty where it can, or where nobody can tell.

    ONNX Runtime lists PyPI's CUDA provider on a Jetson as on any machine, and fails at the first layer: its kernels
    are for servers. One that was built for the board passes.
    """
    board = recognise()
    if board is None or board.chip is None:
        return ""
    kernels = kernels_of(Path(onnxruntime.__file__).parent / "capi" / LIBRARY)
    if kernels is None or kernels.for_jetson(board.chip.compute_capability):
        return ""
    return (
        f"the CUDA provider of onnxruntime {onnxruntime.__version__} has no kernels for this Jetson "
        f"({board.chip.name}, compute capability {board.chip.compute_capability}), only for {kernels}"
    )


def missing() -> str:
    """What to say to whoever asks for CUDA where no provider is installed."""
    without = f"onnxruntime {onnxruntime.__version__} has no CUDA provider"
    if recognise() is not None:
        return f"{without}, and PyPI has none with kernels for a Jetson; {INSTEAD}"
    if platform.machine() == "aarch64":
        return (
            f"{without}; PyPI's onnxruntime-gpu for arm64 has kernels for compute capability 8.9, 9.0, 12.0 and "
            "12.1 alone, so 'edgedet[gpu]' leaves it out: pip install onnxruntime-gpu if this GPU is one of them, "
            "or leave out the device"
        )
    return f"{without}; pip install 'edgedet[gpu]', or leave out the device"
