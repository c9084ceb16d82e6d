"""From a graph to an engine of TensorRT, on the machine that will run it, or of TensorRT-RTX, on any. Needs the
library and edgedet, nothing else.

Precision is in the graph already (fp16 tensors, Q/DQ pairs), so networks are strongly typed, which works the same
from TensorRT 10.3 to 11.4. Where a 10.x refuses a strongly typed Q/DQ graph (reported for Orin, NVIDIA/TensorRT
issue 4832), the weakly typed way with precision flags is tried, and the card says so.
"""

from __future__ import annotations

import gc
import logging
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from edgedet.artifacts.card import Precision
from edgedet.artifacts.engine_library import TENSORRT, TENSORRT_RTX, EngineLibrary
from edgedet.artifacts.engine_match import Host
from edgedet.artifacts.onnx_layers import parse_layers
from edgedet.artifacts.rtx_targets import CURRENT, target_facts
from edgedet.errors import ExportError, UsageError
from edgedet.files import atomic_path, user_cache
from edgedet.missing_figures import not_measured

from ...runtimes.cuda.device import Cuda
from ...runtimes.heap_trimming import release_unused
from ...runtimes.tensorrt_library import import_tensorrt, library_of_module, make_builder, make_runtime
from ...runtimes.tensorrt_log import CapturedLog, errors_of
from ..options import BUILD_DEFAULTS, Compatibility, EngineOptions, Progress, silent
from .build_watch import make_monitor, run_cancellable
from .inspected_precision import EnginePrecision, read_precision, require_precision
from .layer_times import measure_layers
from .memory import (
    MIB,
    Memory,
    MemoryWatch,
    free_memory,
    measure_graph,
    predict,
    predict_ahead,
    shortage,
)
from .rtx_build import configure

MAX_UNKNOWN = 20
"""Maximum number of tensors of unknown shape (masks and indices, as a rule) for a prediction."""

logger = logging.getLogger("edgedet.build")

REMEDIES: tuple[tuple[str, str], ...] = (
    ("out of memory", "close other programs, lower --workspace, or add swap"),
    ("outofmemory", "give it more --workspace or leave that out, or close other programs"),  # TensorRT-RTX's words
    ("could not find any implementation", "give it more --workspace, or export with another precision"),
    (
        "has no runners",
        "the graph has an operator that only runs elsewhere, such as NonMaxSuppression; export it "
        "again from the checkpoint, or with --nms runtime",
    ),
    ("workspace", "give it more --workspace"),
    ("lugin", "the graph uses a plugin; export it with this edgedet, whose graphs need none"),
)
"""Words in TensorRT's log, in lower case, and the advice for each."""

REMEDY = "update the library, try another --precision or a lower --optimization-level, or run the .onnx file"
"""Advice where no entry of REMEDIES matches the log."""


@dataclass(frozen=True)
class BuiltPlan:
    """``plan``: the serialised engine, in the library's own memory. ``facts``: what the model card says of it.
    ``precision``: None where it could not be opened here.
    """

    plan: memoryview
    facts: dict[str, Any]
    precision: EnginePrecision | None


def build_plan(
    graph: bytes | Path,
    precision: Precision,
    host: Host,
    options: EngineOptions = BUILD_DEFAULTS,
    *,
    library: EngineLibrary = TENSORRT,
    cuda: Cuda | None = None,
    unopened: str = "",
    progress: Progress = silent,
) -> BuiltPlan:
    """Build an engine and read back what it became.

    ``graph``: an ONNX file, serialised or by its path (which leaves its memory to the builder), static, of
    ``precision``. ``host``: this machine, for the card. ``cuda``: its
    GPU, on which layers are timed and memory is watched; None leaves both out. ``unopened``: why the engine cannot
    be opened here (TensorRT-RTX builds for other GPUs too); empty where it can. What the build will take is said
    before it begins, to the logger ``edgedet.build``, as a warning where there is less.

    Raises:
        ExportError: the parser or the builder fails, or the engine runs in another precision than its graph.
        UsageError: options this TensorRT does not have.
        RuntimeUnavailableError: the library is not installed.
        KeyboardInterrupt: cancelled.
    """
    free = free_memory(cuda)
    # Kernels of TensorRT-RTX are chosen on the GPU that runs them: there is no memory here to go by.
    unlimited = library is TENSORRT_RTX and options.workspace_mib is None
    workspace = None if unlimited else workspace_bytes(options, free)
    predicted = _predict(content_of(graph), library, workspace, free, shared=cuda is not None and cuda.integrated)
    trt = import_tensorrt(library)
    log = CapturedLog(trt)
    trt.init_libnvinfer_plugins(log.logger, "")
    ways = _ways(trt, precision, options)
    failures = []
    release_unused()
    with MemoryWatch(cuda) as watch:
        for way in ways:
            try:
                plan, work = _build(
                    trt, log, graph, precision=precision, host=host, options=options, workspace=workspace, way=way,
                    progress=progress,
                )  # fmt: skip
                break
            except ExportError as error:
                # Its frames hold the failed builder and network; small boards have no room for two.
                failures.append(error.with_traceback(None))
                gc.collect()
        else:
            raise failures[0]
    found, said = None, not_measured(unopened)
    if not unopened:
        engine = open_plan(trt, log, plan, options)
        found, said = _look_inside(trt, log, engine, cuda, progress)
        require_precision(found, precision, parse_layers(content_of(graph)).precisions)
        if not found.decisive:
            logger.warning(
                "%s %s does not tell what its layers run in: %s is not proved",
                library.title,
                trt.__version__,
                precision,
            )
    peak = watch.peak
    facts: dict[str, Any] = {
        "library": library.name,
        library.version_key: trt.__version__,
        **_made_for(library, options, host),
        "architecture": host.architecture or platform.machine(),
        "typing": way,
        "options": {name: value for name, value in asdict(options).items() if name != "timing_cache"},
        "inspector": said,
        "build": work,
        "memory": {
            "predicted_mib": predicted.as_mib(),
            "peak_mib": None if peak is None else peak.as_mib(),
            "workspace_mib": None if workspace is None else workspace // MIB,
        },
    }
    if failures:
        facts["strongly_typed_failure"] = str(failures[0])[:500]
    return BuiltPlan(plan, facts, found)


def content_of(graph: bytes | Path) -> bytes:
    """The serialised graph."""
    return graph.read_bytes() if isinstance(graph, Path) else graph


def _made_for(library: EngineLibrary, options: EngineOptions, host: Host) -> dict[str, Any]:
    """The GPUs, for the card."""
    if library is not TENSORRT_RTX:
        return {"compute_capability": host.compute_capability, "device": host.device}
    if options.compute_capabilities == (CURRENT,):
        return {"compute_capabilities": [host.compute_capability], "portable": False}
    return target_facts(options.compute_capabilities)


def _look_inside(
    trt: Any, log: CapturedLog, engine: Any, cuda: Cuda | None, progress: Progress
) -> tuple[EnginePrecision, dict[str, Any]]:
    """What a fresh engine's layers run in; the same and how long they take, for the card."""
    inspector = engine.create_engine_inspector()
    found = read_precision(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    if cuda is not None:
        progress("timing every layer", 0, 0)
    times = measure_layers(trt, log, engine, cuda)
    return found, found.as_dict() | {"time": times.by_precision(found)}


def _predict(
    graph: bytes, library: EngineLibrary, workspace: int | None, free: Memory | None, *, shared: bool
) -> Memory:
    """What the build will take, told before it takes it."""
    size = measure_graph(graph)
    ahead = library is TENSORRT_RTX
    predicted = predict_ahead(size) if ahead else predict(size, workspace or 0, shared=shared)
    short = "" if free is None else shortage(predicted, free)
    if short:
        logger.warning("%s", short)
    else:
        least = " at least" if size.unknown > MAX_UNKNOWN else ""
        have = "" if free is None else f"; free: {free}"
        logger.info("the build takes%s about %s%s", least, predicted, have)
    return predicted


def open_plan(trt: Any, log: CapturedLog, plan: memoryview, options: EngineOptions) -> Any:
    """The engine of a fresh plan, built with ``options``.

    Raises:
        ExportError: the library cannot open what it has just built.
    """
    runtime = make_runtime(trt, log, carries_code=options.version_compatible)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise ExportError(
            f"{library_of_module(trt).title} cannot open the engine it has just built: {errors_of(log)}"
        )
    return engine


def _ways(trt: Any, precision: Precision, options: EngineOptions) -> tuple[Literal["strong", "weak"], ...]:
    """Kinds of typing to try. Weak typing ended with TensorRT 10, and only Q/DQ graphs have a use for it."""
    weak = hasattr(trt.BuilderFlag, "INT8")
    if options.typing == "weak":
        if not weak:
            raise UsageError(f"TensorRT {trt.__version__} knows strong typing only; leave out weak typing")
        return ("weak",)
    if options.typing == "strong" or precision != "int8" or not weak:
        return ("strong",)
    return ("strong", "weak")


def _build(
    trt: Any,
    log: CapturedLog,
    graph: bytes | Path,
    *,
    precision: Precision,
    host: Host,
    options: EngineOptions,
    workspace: int | None,
    way: Literal["strong", "weak"],
    progress: Progress,
) -> tuple[memoryview, dict[str, Any]]:
    """The plan, and what the card says of the work: seconds in parser and builder, layers of the parsed network."""
    started = time.monotonic()
    library = library_of_module(trt)
    builder = make_builder(trt, log)
    flag = trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    # The flag's number differs between TensorRT 10 and 11; in 11 every network is strongly typed.
    network = builder.create_network(1 << int(flag) if way == "strong" else 0)
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse(content_of(graph)):
        raise ExportError(
            f"{library.title} {trt.__version__} cannot parse the graph: {_parser_errors(parser)}; export it again "
            f"with --target {library.name}, which names what is not supported"
        )
    config = builder.create_builder_config()
    if workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    config.builder_optimization_level = options.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        # RoiAlign is a plugin of TensorRT's own, which such an engine must bring along.
        libraries = parser.get_used_vc_plugin_libraries()
        if libraries:
            config.plugins_to_serialize = libraries
    _set_compatibility(trt, config, options.hardware_compatibility)
    if way == "weak":
        for name in ("INT8", "FP16") if precision == "int8" else ("FP16",) if precision == "fp16" else ():
            config.set_flag(getattr(trt.BuilderFlag, name))
    cache, cache_path = None, options.timing_cache or default_timing_cache(trt.__version__, host)
    if library is TENSORRT_RTX:
        configure(trt, config, options)
    else:
        cache = _load_timing_cache(config, cache_path)
    monitor = make_monitor(trt, progress)
    config.progress_monitor = monitor

    def build() -> Any:
        log.begin()  # in the thread that is told why it fails
        return builder.build_serialized_network(network, config)

    memory = run_cancellable(build, monitor.cancelled)
    if memory is None:
        raise ExportError(_build_failure(trt, log))
    work = {"seconds": round(time.monotonic() - started, 2), "network_layers": network.num_layers}
    _save_timing_cache(cache, cache_path)
    return memoryview(memory), work


def _set_compatibility(trt: Any, config: Any, wanted: Compatibility) -> None:
    if wanted == "none":
        return
    level = getattr(trt.HardwareCompatibilityLevel, wanted.upper(), None)
    if level is None:
        raise UsageError(
            f"TensorRT {trt.__version__} has no hardware compatibility {wanted} (10.9 brought it); use ampere_plus"
        )
    config.hardware_compatibility_level = level


def workspace_bytes(options: EngineOptions, free: Memory | None) -> int:
    """Scratch memory for one layer: as told, or a quarter of what is ``free``, 64 MiB to 4 GiB.

    On boards of 4 to 8 GB CPU and GPU share the memory, and a builder that may take all of it is killed.
    """
    if options.workspace_mib is not None:
        return options.workspace_mib * MIB
    if free is None:
        return 1024 * MIB
    return min(max((free.machine if free.gpu is None else free.gpu) // 4, 64 * MIB), 4096 * MIB)


def default_timing_cache(version: str, host: Host) -> Path:
    """File of measured kernels, which hold for one TensorRT version and one kind of GPU."""
    device = "".join(letter if letter.isalnum() else "-" for letter in host.device or "gpu")
    return user_cache() / f"timing-{version}-{device}-{host.compute_capability}.cache"


def _load_timing_cache(config: Any, path: Path) -> Any:
    """A cache that another version or GPU wrote, or that is damaged, is replaced by an empty one."""
    try:
        kept = path.read_bytes()
    except OSError:
        kept = b""
    cache = config.create_timing_cache(kept)
    if kept and (cache is None or not config.set_timing_cache(cache, False)):
        cache = config.create_timing_cache(b"")
        kept = b""
    if cache is not None and not kept:
        config.set_timing_cache(cache, False)
    return cache


def _save_timing_cache(cache: Any, path: Path) -> None:
    from edgedet.errors import OutputError

    if cache is None:
        return
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(bytes(cache.serialize()))
    except OutputError:
        pass  # a cache that cannot be kept costs time at the next build, and nothing else


def _parser_errors(parser: Any) -> str:
    said = []
    for index in range(min(parser.num_errors, 3)):
        error = parser.get_error(index)
        name, operator = error.node_name(), error.node_operator()
        said.append(f"{operator} {name}: {error.desc()}" if operator else str(error.desc()))
    return " | ".join(" ".join(text.split()) for text in said) or "it gives no reason"


def _build_failure(trt: Any, log: CapturedLog) -> str:
    text = errors_of(log) or "it gives no reason"
    small = text.lower()
    remedy = next((todo for word, todo in REMEDIES if word in small), REMEDY)
    return f"{library_of_module(trt).title} {trt.__version__} could not build the engine: {text}; {remedy}"
