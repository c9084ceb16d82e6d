"""The TensorRT libraries: importing one, and making the two objects everything else comes from.

Where CUDA does not start, as with a TensorRT built for a newer CUDA than the driver knows, the real bindings give a
``Runtime`` around a null pointer, which ends the process whatever is done with it, and a ``TypeError`` in place of
a ``Builder``; the reason is in the log alone. Both become errors here. TensorRT-RTX makes both without CUDA.
"""

from __future__ import annotations

import ctypes
import re
from typing import Any

from edgedet.artifacts.engine_library import LIBRARIES, TENSORRT, TENSORRT_RTX, EngineLibrary
from edgedet.errors import RuntimeUnavailableError

from .tensorrt_log import CapturedLog, errors_of

NO_CUDA = re.compile(r"CUDA initialization failure|createInfer(Runtime|Builder): Error Code")
"""Log lines that mean that CUDA failed to initialise when a Builder or Runtime could not be created."""

ADVICE = {
    TENSORRT.name: (
        "on a Jetson: apt install python3-libnvinfer, and make the virtual environment with "
        "--system-site-packages; on a PC: pip install tensorrt-cu13 (drivers before 580: tensorrt-cu12)",
        "as a rule it was built for a newer CUDA than the driver: update the driver, or install the TensorRT for "
        "its CUDA (tensorrt-cu12 for drivers before 580)",
    ),
    TENSORRT_RTX.name: (
        TENSORRT_RTX.install,
        "update the driver (TensorRT-RTX 1.7 for CUDA 13 needs 580 or later)",
    ),
}
"""What to do where a library cannot be imported, and where it cannot use the GPU."""


def import_tensorrt(library: EngineLibrary = TENSORRT) -> Any:
    """The library's module: ``tensorrt``, or what TensorRT-RTX has in its place.

    Raises:
        RuntimeUnavailableError: not installed, or its libraries do not load.
    """
    try:
        if library is TENSORRT_RTX:
            import tensorrt_rtx_libs  # noqa: F401, I001 (loads what the bindings are linked with)
            import tensorrt_rtx_bindings as trt
        else:
            import tensorrt as trt
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"{library.title} cannot be imported ({error}); {ADVICE[library.name][0]}; see edgedet doctor"
        ) from error
    return trt


def library_of_module(trt: Any) -> EngineLibrary:
    """The library that :func:`import_tensorrt` gave."""
    return next(library for library in LIBRARIES if library.module == trt.__name__)


def make_runtime(trt: Any, log: CapturedLog, *, carries_code: bool = False) -> Any:
    """A ``trt.Runtime``. ``carries_code``: it may open version-compatible engines, which bring code of their own.

    Raises:
        RuntimeUnavailableError: TensorRT cannot use the GPU.
    """
    log.begin()
    try:
        runtime = trt.Runtime(log.logger)
    except TypeError as error:
        raise _unusable(trt, log) from error
    if NO_CUDA.search(errors_of(log)):
        # Freeing it ends the process as well, at the interpreter's exit too: one reference more than there is.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(runtime))
        raise _unusable(trt, log)
    if carries_code:
        runtime.engine_host_code_allowed = True
    return runtime


def make_builder(trt: Any, log: CapturedLog) -> Any:
    """A ``trt.Builder``.

    Raises:
        RuntimeUnavailableError: TensorRT cannot use the GPU.
    """
    log.begin()
    try:
        return trt.Builder(log.logger)
    except TypeError as error:
        raise _unusable(trt, log) from error


def _unusable(trt: Any, log: CapturedLog) -> RuntimeUnavailableError:
    why = errors_of(log) or "it does not say why"
    library = library_of_module(trt)
    advice = ADVICE[library.name][1]
    return RuntimeUnavailableError(
        f"{library.title} {trt.__version__} cannot use the GPU: {why}; {advice}; see edgedet doctor"
    )
