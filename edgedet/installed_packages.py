"""What is installed here: packages and their versions, runtimes that really start, and what is missing."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from edgedet.artifacts.engine_library import LIBRARIES, TENSORRT, TENSORRT_RTX, EngineLibrary
from edgedet.artifacts.rtx_targets import GPUS, is_supported
from edgedet.errors import EdgedetError
from edgedet.runtimes import RUNTIMES, RuntimeInfo

SYSTEM_PACKAGES = Path("/usr/lib/python3/dist-packages")
"""JetPack's folders of Python packages (TensorRT among them); virtual environments do not look there."""


@dataclass(frozen=True)
class Package:
    """A Python package edgedet uses. ``distributions``: the names under which it can be installed."""

    module: str
    distributions: tuple[str, ...]
    needed_for: str
    install: str
    required: bool = False


PACKAGES = (
    Package("numpy", ("numpy",), "everything", "pip install numpy", required=True),
    Package(
        "cv2",
        ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
        "reading and resizing frames",
        "pip install opencv-python-headless",
        required=True,
    ),
    Package(
        "onnxruntime",
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
        "running graphs (.onnx)",
        "pip install onnxruntime",
        required=True,
    ),
    Package("openvino", ("openvino",), "running graphs (.onnx), often faster", "pip install 'edgedet[openvino]'"),
    Package("ncnn", ("ncnn",), "writing and running files for ncnn (.ncnn)", "pip install 'edgedet[ncnn]'"),
    Package("torch", ("torch",), "export of checkpoints", "pip install 'edgedet[export]'"),
    Package("torchvision", ("torchvision",), "export of checkpoints", "pip install 'edgedet[export]'"),
    Package("onnx", ("onnx",), "export, INT8 and FP16", "pip install 'edgedet[export]'"),
    Package("ultralytics", ("ultralytics",), "export of Ultralytics .pt files", "pip install ultralytics"),
    Package("pycocotools", ("pycocotools",), "COCO accuracy", "pip install 'edgedet[report]'"),
    Package(
        "tensorrt",
        ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
        "building and running engines (.trt, .engine)",
        "pip install tensorrt-cu13, or tensorrt-cu12 for drivers before 580 (on a Jetson: sudo apt install "
        "python3-libnvinfer)",
    ),
    Package(
        TENSORRT_RTX.module,
        ("tensorrt-rtx-cu13-bindings",),
        "building engines (.rtx) with a GPU or without, and running them on RTX GPUs",
        TENSORRT_RTX.install,
    ),
    Package(
        "cuda.bindings",
        ("cuda-bindings", "cuda-python"),
        "running engines (.trt, .engine, .rtx)",
        "pip install 'edgedet[tensorrt]'",
    ),
)


@dataclass(frozen=True)
class Installed:
    """How a package was found. ``distributions`` maps the installed names to versions; more than one is trouble.

    ``state``: ``ok``, ``missing``, or ``broken`` (installed, but importing it failed: see ``reason``).
    """

    package: Package
    state: Literal["ok", "missing", "broken"]
    distributions: dict[str, str]
    reason: str = ""

    @property
    def version(self) -> str | None:
        """The version, where the package says one."""
        return next(iter(self.distributions.values()), None)


@dataclass(frozen=True)
class Runtime:
    """A runtime for artifacts. ``providers``: what it can run on here, best first; ``reason``: why it cannot."""

    name: str
    usable: bool
    providers: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Environment:
    """Everything :func:`describe_environment` found."""

    python: str
    executable: str
    virtual_environment: bool
    packages: tuple[Installed, ...]
    runtimes: tuple[Runtime, ...]
    advice: tuple[str, ...]
    cuda: dict[str, str] = field(default_factory=dict)
    """Versions: ``cuda``: the CUDA runtime's; ``driver``: the newest CUDA that the driver supports; ``nvrtc``. An
    empty string where it is not installed; no entries at all without ``cuda.bindings``."""

    @property
    def can_detect(self) -> bool:
        """Whether the device path has all it needs."""
        return all(found.state == "ok" for found in self.packages if found.package.required)


def describe_environment() -> Environment:
    """Look at the Python environment. Imports what is light; torch is only looked up, since it takes seconds."""
    packages = tuple(look_up(package) for package in PACKAGES)
    by_module = {found.package.module: found for found in packages}
    probes: dict[str, Callable[[], Runtime]] = {
        "onnxruntime": lambda: _onnxruntime(by_module["onnxruntime"]),
        **{
            library.name: partial(_engines, library, by_module[library.module], by_module["cuda.bindings"])
            for library in LIBRARIES
        },
    }
    runtimes = tuple(probes.get(info.name, partial(_looked_up, info, by_module))() for info in RUNTIMES)
    cuda = _cuda_versions(by_module["cuda.bindings"])
    return Environment(
        python=platform.python_version(),
        executable=sys.executable,
        virtual_environment=sys.prefix != sys.base_prefix,
        packages=packages,
        runtimes=runtimes,
        advice=(
            *_advice(packages),
            *_cuda_advice(cuda, [by_module[library.module] for library in LIBRARIES]),
        ),
        cuda=cuda,
    )


IMPORTED_BY = {"onnxruntime": "edgedet.onnxruntime_import"}
"""Packages that report to their makers unless they are imported with care, and the modules that do so."""


def look_up(package: Package) -> Installed:
    """Find a package, and import it where edgedet cannot do without it."""
    distributions = {}
    for name in package.distributions:
        with contextlib.suppress(metadata.PackageNotFoundError):
            distributions[name] = metadata.version(name)
    try:
        present = find_spec(package.module) is not None
    except (ImportError, ValueError):
        present = False
    if not present:
        return Installed(package, "missing", {}, "not installed")
    if package.required or package.module == TENSORRT.module:
        try:
            with quiet_stderr():
                import_module(IMPORTED_BY.get(package.module, package.module))
        except Exception as error:  # a missing shared library, a NumPy of another ABI, a half-removed wheel
            return Installed(package, "broken", distributions, f"{type(error).__name__}: {error}")
        module = sys.modules[package.module]
        if not distributions and hasattr(module, "__version__"):
            distributions = {package.distributions[0]: str(module.__version__)}
    return Installed(package, "ok", distributions)


def _looked_up(info: RuntimeInfo, known: Mapping[str, Installed]) -> Runtime:
    found = known.get(info.needs) or look_up(Package(info.needs, (info.needs,), info.name, info.install))
    return _plain(info.name, found)


def _plain(name: str, found: Installed) -> Runtime:
    return Runtime(name, found.state == "ok", reason=_reason(found))


def _reason(found: Installed) -> str:
    if found.state == "ok":
        return ""
    return f"{found.package.module} is not installed" if found.state == "missing" else found.reason


def _onnxruntime(found: Installed) -> Runtime:
    if found.state != "ok":
        return _plain("onnxruntime", found)
    from edgedet.onnxruntime_import import onnxruntime
    from edgedet.runtimes import onnxruntime_cuda

    # Listed does not mean working: the CUDA provider of a GPU build is listed on machines without a GPU too.
    names = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    misfit = onnxruntime_cuda.misfit() if "CUDA" in names else ""
    left_out = ("Azure", "CUDA") if misfit else ("Azure",)  # a web service
    return Runtime("onnxruntime", True, tuple(name for name in names if name not in left_out), misfit)


def _engines(library: EngineLibrary, bindings: Installed, cuda: Installed) -> Runtime:
    """Whether engines of ``library`` can be run. Those of TensorRT-RTX can be built wherever it is installed."""
    reasons = [reason for reason in (_reason(bindings), _reason(cuda)) if reason]
    if not reasons and not _gpu_is_visible():
        reasons = ["no NVIDIA GPU is visible on this machine"]
    if not reasons:
        reasons = _does_not_start(library)
    if reasons and library is TENSORRT_RTX and bindings.state == "ok":
        reasons.append(f"engines ({library.suffixes[0]}) can be built here")
    return Runtime(library.name, not reasons, reason="; ".join(reasons))


def _cuda_versions(bindings: Installed) -> dict[str, str]:
    if bindings.state != "ok":
        return {}
    from cuda.bindings import runtime

    from edgedet.runtimes.cuda.compiler import nvrtc_version
    from edgedet.runtimes.cuda.device import versions

    found = {"cuda": "", "driver": "", "nvrtc": ""}
    with contextlib.suppress(EdgedetError):
        found |= versions(runtime)
    with contextlib.suppress(EdgedetError):
        found["nvrtc"] = nvrtc_version()
    return found


def _cuda_advice(cuda: dict[str, str], libraries: list[Installed]) -> Iterator[str]:
    from edgedet.runtimes.cuda.compiler import INSTALL_NVRTC

    # Where there is no driver either, nothing runs on a GPU, and engines are only built.
    if cuda and not cuda["nvrtc"] and cuda["driver"] and any(found.state == "ok" for found in libraries):
        yield (
            "NVRTC is missing: engines' NMS runs on the CPU, and frames that are on the GPU are not taken; "
            f"{INSTALL_NVRTC}"
        )


def _gpu_is_visible() -> bool:
    return any(Path("/dev").glob("nvidia*")) or Path("/dev/nvhost-gpu").exists()


def _does_not_start(library: EngineLibrary) -> list[str]:
    """Why not; empty where it does. A TensorRT of a newer CUDA than the driver's shows only when it is started."""
    from edgedet.runtimes.cuda.device import Cuda
    from edgedet.runtimes.tensorrt_library import import_tensorrt, make_runtime
    from edgedet.runtimes.tensorrt_log import CapturedLog

    try:
        with quiet_stderr():
            cuda = Cuda()
            trt = import_tensorrt(library)
            make_runtime(trt, CapturedLog(trt))
    except EdgedetError as error:
        return [" ".join(str(error).split())]
    except Exception as error:  # whatever else the bindings raise: doctor is there to say it
        return [f"{type(error).__name__}: {' '.join(str(error).split())}"]
    if library is TENSORRT_RTX and not is_supported(cuda.compute_capability):
        return [
            f"{library.title} is for {', '.join(GPUS.values())}, and this machine has {cuda.name} of compute "
            f"capability {cuda.compute_capability}"
        ]
    return []


def _advice(packages: tuple[Installed, ...]) -> Iterator[str]:
    """What to do about what was found, most urgent first."""
    for found in packages:
        name = found.package.module
        if found.state == "broken" and "libGL" in found.reason:
            yield f"{name} needs a desktop's libraries: pip uninstall opencv-python; {found.package.install}"
        elif found.state == "broken":
            yield f"{name} is installed but does not import; reinstall it: {found.package.install}"
        elif found.state == "missing" and found.package.required:
            yield f"{name} is missing and edgedet cannot run without it: {found.package.install}"
        if len(found.distributions) > 1 and name in ("cv2", "onnxruntime"):
            names = " and ".join(found.distributions)
            yield f"{names} are installed together and overwrite each other's files; keep one"
        if found.state == "missing" and name == "tensorrt" and (SYSTEM_PACKAGES / "tensorrt").is_dir():
            yield (
                f"the system has TensorRT in {SYSTEM_PACKAGES}, but this virtual environment cannot see it; "
                "make it anew with: python3 -m venv --system-site-packages"
            )


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Silence what native libraries write to file descriptor 2 while they load."""
    try:
        saved = os.dup(2)
    except OSError:  # closed by whoever started us
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
