"""What the double's calls do: enough of TensorRT to build, open and run an engine on the CPU.

A plan of the double is a header like the real one's (magic tag, version in bytes 24 to 26), a JSON object, and the
ONNX file it was built from, which ONNX Runtime executes on the very addresses the code under test has set. What
TensorRT-RTX does otherwise was seen on its own builder, and is written in its documentation where it takes a GPU.
"""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime

HEADER = 64
NO_CUDA = "API Usage Error (CUDA initialization failure with error: 35 In checkCudaInstallation)"
KINDS = {1: "FLOAT", 10: "HALF", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL"}
NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "UINT8": np.uint8, "INT8": np.int8, "INT32": np.int32,
         "INT64": np.int64, "BOOL": np.bool_}  # fmt: skip


@dataclass
class Machine:
    """What this TensorRT is to do wrong."""

    parse_error: tuple[str, str, str] | None = None
    """Node, operator, description."""
    build_error: str | None = None
    strong_qdq_fails: bool = False
    silently: str | None = None
    """``fp32``: every layer runs in it, whatever was asked; ``nameless``: no layer's type is told."""
    warns: str = ""
    """What the log of a runtime says although all is well."""
    no_cuda: bool = False
    """CUDA does not start: factories log why, and give nothing or a null pointer."""
    step_seconds: float = 0.0
    steps: int = 3
    refuses: str | None = None
    """What the log says when a plan is not opened."""
    invalid: tuple[str, ...] = ()
    """Members of EngineInvalidityDiagnostics that TensorRT-RTX tells of a plan it refuses."""
    kernels: bytes = b""
    """What a runtime cache holds after a run; empty where nothing was compiled."""
    other_driver: bool = False
    """Kept kernels are of another driver."""
    fails_to_run: bool = False
    layer_ms: dict[str, float] = field(default_factory=dict)
    """What the profiler is told; 0.1 for layers that are not named."""
    reports: int = 0
    """Runs of which a profiler was told. The first is slower than the rest."""
    seen_sizes: list[int] = field(default_factory=list)


def make(module: Any, name: str, **facts: Any) -> Any:
    """An object that only TensorRT itself makes."""
    kind = getattr(module, name)
    instance = kind.__new__(kind)
    for key, value in {"_constructed": True, "_module": module, **facts}.items():
        object.__setattr__(instance, key, value)
    if name == "IHostMemory":
        instance[:] = facts["_data"]
    return instance


def log(module: Any, logger: Any, level: str, text: str) -> None:
    logger.log(getattr(module.ILogger, level), text)


def _builder(module: Any, self: Any, logger: Any) -> None:
    if module.machine.no_cuda:
        log(module, logger, "ERROR", f"createInferBuilder: Error Code 6: {NO_CUDA}")
        raise TypeError("pybind11::init(): factory function returned nullptr")
    object.__setattr__(self, "_logger", logger)


def _runtime(module: Any, self: Any, logger: Any) -> None:
    if module.machine.warns:
        log(module, logger, "WARNING", module.machine.warns)
    if module.machine.no_cuda:
        # The real one is a null pointer now, and whatever is done with it ends the process.
        log(module, logger, "ERROR", f"createInferRuntime: Error Code 6: {NO_CUDA}")
    object.__setattr__(self, "_logger", logger)


def _parser(module: Any, self: Any, network: Any, logger: Any) -> None:
    object.__setattr__(self, "_network", network)
    object.__setattr__(self, "_errors", [])


def _create_network(module: Any, self: Any, flags: int = 0) -> Any:
    strong = 1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    known = sum(1 << int(flag) for flag in module.NetworkDefinitionCreationFlag)
    assert flags & ~known == 0, "a flag of another version"
    return make(module, "INetworkDefinition", _strong=bool(flags & strong), _model=None)


def _create_config(module: Any, self: Any) -> Any:
    return make(module, "IBuilderConfig", _flags=set(), _pools={}, _cache=None, _targets={})


def _parse(module: Any, self: Any, model: bytes, path: Any = None) -> bool:
    wrong = module.machine.parse_error
    if wrong is not None:
        self._errors.append(make(module, "ParserError", _facts=wrong))
        return False
    object.__setattr__(self._network, "_model", onnx.load_model_from_string(bytes(model)))
    return True


def _has_pairs(model: Any) -> bool:
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def _build(module: Any, self: Any, network: Any, config: Any) -> Any:
    machine = module.machine
    model = network._model
    monitor = getattr(config, "progress_monitor", None)
    if monitor is not None:
        monitor.phase_start("Building Engine", None, machine.steps)
        for step in range(machine.steps):
            time.sleep(machine.step_seconds)
            if monitor.step_complete("Building Engine", step) is False:
                log(module, self._logger, "ERROR", "Build cancelled by the progress monitor")
                return None
        monitor.phase_finish("Building Engine")
    if machine.strong_qdq_fails and network._strong and _has_pairs(model):
        log(module, self._logger, "ERROR", "Could not infer output types for operation: dequantize")
        return None
    if machine.build_error is not None:
        log(module, self._logger, "ERROR", machine.build_error)
        return None
    flags = {flag.name for flag in config._flags}
    if len(config._targets) != getattr(config, "num_compute_capabilities", 0):
        log(module, self._logger, "ERROR", "Unexpected exception bad optional access")
        return None
    return make(module, "IHostMemory", _data=make_plan(module, model, network._strong, flags))


def make_plan(module: Any, model: Any, strong: bool = True, flags: Any = ()) -> bytes:
    """A plan of the double."""
    pictures = {value.name for value in model.graph.input}
    layers = []
    for node in model.graph.node:
        if node.op_type in ("Constant", "QuantizeLinear", "DequantizeLinear"):
            continue
        kind = _layer_precision(model, node, strong, flags) if module.machine.silently != "fp32" else "Float"
        layers.append(
            {"Name": node.name, "LayerType": LAYER_TYPES.get(node.op_type, "ElementWise"),
             "Inputs": [_described(module, name, "UInt8" if name in pictures else kind) for name in node.input[:1]],
             "Outputs": [_described(module, node.output[0], kind)]}
        )  # fmt: skip
    layers.append({"Name": "Reformatting CopyNode", "LayerType": "Reformat", "Inputs": [], "Outputs": []})
    facts = json.dumps({"Layers": layers, "I/O Tensors" if _is_newest(module) else "Bindings": []}).encode()
    version = [int(part) for part in module.__version__.split(".")[:3]]
    lean = "VERSION_COMPATIBLE" in flags
    tag = b"vtrt" if is_rtx(module) else b"ptrt"
    header = tag + bytes(19) + bytes([lean]) + bytes(version) + len(facts).to_bytes(4, "little")
    return header.ljust(HEADER, b"\0") + facts + bytes(model.SerializeToString())


LAYER_TYPES = {"Conv": "CaskConvolution", "Cast": "Cast"}


def _is_newest(module: Any) -> bool:
    return bool(module.__version__.startswith("11"))


def is_rtx(module: Any) -> bool:
    """Whether this is TensorRT-RTX."""
    return bool(module.__name__ == "tensorrt_rtx_bindings")


def _described(module: Any, name: str, kind: str) -> dict[str, Any]:
    """A tensor as the inspector writes it."""
    tensor: dict[str, Any] = {"Name": name, "Dimensions": []}
    if module.machine.silently == "nameless":
        return tensor
    if _is_newest(module):
        return tensor | {"Format": "Row major linear", "Datatype": kind}
    return tensor | {"Format/Datatype": f"Row major linear {kind} format"}


def _layer_precision(model: Any, node: Any, strong: bool, flags: Any) -> str:
    produced = {name: other for other in model.graph.node for name in other.output}
    if node.input and node.input[0] in produced and produced[node.input[0]].op_type == "DequantizeLinear":
        return "Int8"
    halves = {tensor.name for tensor in model.graph.initializer if tensor.data_type == 10}
    if halves & set(node.input) or (not strong and "FP16" in flags):
        return "Half"
    return "Float"


def _deserialize(module: Any, self: Any, plan: bytes) -> Any:
    if module.machine.no_cuda:
        raise SystemError("Segmentation fault")
    module.machine.seen_sizes.append(len(plan))
    plan = bytes(plan)
    version = bytes(int(part) for part in module.__version__.split(".")[:3])
    reason = module.machine.refuses
    if reason is None and plan[:4] != (b"vtrt" if is_rtx(module) else b"ptrt"):
        reason = "Error Code 1: Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed.)"
    if reason is None and plan[24:27] != version:
        reason = "Version tag does not match. Note: Current Version: 239, Serialized Engine Version: 238"
    if reason is None and plan[23] and not getattr(self, "engine_host_code_allowed", False):
        reason = "Cannot deserialize engine with lean runtime since IRuntime::getEngineHostCodeAllowed() is false."
    if reason is not None:
        log(module, self._logger, "ERROR", reason)
        return None
    size = int.from_bytes(plan[27:31], "little")
    model = onnx.load_model_from_string(plan[HEADER + size :])
    tensors = [(value, True) for value in model.graph.input] + [(value, False) for value in model.graph.output]
    return make(module, "ICudaEngine", _tensors=tensors, _facts=plan[HEADER : HEADER + size], _model=model)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim)


def _tensor(self: Any, name: str) -> Any:
    return next(value for value, _ in self._tensors if value.name == name)


def _mode(module: Any, self: Any, name: str) -> Any:
    given = next(is_input for value, is_input in self._tensors if value.name == name)
    return module.TensorIOMode.INPUT if given else module.TensorIOMode.OUTPUT


def _context(module: Any, self: Any, *arguments: Any) -> Any:
    config = arguments[0] if arguments else None
    if config is not None:
        assert is_rtx(module) and isinstance(config, module.IRuntimeConfig)
        # Compiling what is there already takes no time, and leaves nothing new.
        config._cache._data = config._cache._data or module.machine.kernels
    session = onnxruntime.InferenceSession(self._model.SerializeToString(), providers=["CPUExecutionProvider"])
    return make(module, "IExecutionContext", _engine=self, _addresses={}, _session=session)


def _set_address(module: Any, self: Any, name: str, memory: int) -> bool:
    self._addresses[name] = memory
    return True


def _execute(module: Any, self: Any, stream_handle: int) -> bool:
    if module.machine.fails_to_run:
        return False
    missing = {value.name for value, _ in self._engine._tensors} - set(self._addresses)
    assert not missing, f"no address for {missing}"

    def work() -> None:
        inputs = {v.name: _view(self, v) for v, given in self._engine._tensors if given}
        outputs = [value for value, given in self._engine._tensors if not given]
        for value, result in zip(outputs, self._session.run([v.name for v in outputs], inputs), strict=True):
            _view(self, value)[...] = result

    module.machine.enqueue(stream_handle, work) if hasattr(module.machine, "enqueue") else work()
    profiler = getattr(self, "profiler", None)
    if profiler is not None:
        assert isinstance(profiler, module.IProfiler) and profiler._constructed
        # Attached, the call waits for the end (enqueue_emits_profile).
        module.machine.synchronise(stream_handle)
        module.machine.reports += 1
        slower = 40.0 if module.machine.reports == 1 else 1.0
        for layer in json.loads(self._engine._facts)["Layers"]:
            milliseconds = module.machine.layer_ms.get(layer["Name"], 0.1) * slower
            profiler.report_layer_time(layer_name=layer["Name"], ms=milliseconds)
    return True


def _view(self: Any, value: Any) -> Any:
    """The memory at a tensor's address, as an array."""
    shape, kind = _shape(value), np.dtype(NUMPY[KINDS[value.type.tensor_type.elem_type]])
    size = int(np.prod(shape)) * kind.itemsize
    raw = (ctypes.c_uint8 * size).from_address(self._addresses[value.name])
    return np.frombuffer(raw, np.uint8).view(kind).reshape(shape)


def _set_cache(module: Any, self: Any, cache: Any, ignore_mismatch: bool) -> bool:
    if cache._data not in (b"", b"measured kernels"):
        return False
    object.__setattr__(self, "_cache", cache)
    return True


def _set_target(module: Any, self: Any, compute_capability: Any, index: int) -> bool:
    """``CURRENT`` asks the driver, which is there: the double is a machine with a GPU."""
    alone = compute_capability is not module.ComputeCapability.CURRENT or self.num_compute_capabilities == 1
    if compute_capability is module.ComputeCapability.NONE or not alone:
        return False
    assert 0 <= index < self.num_compute_capabilities
    self._targets[index] = compute_capability
    return True


def _deserialize_kernels(module: Any, self: Any, blob: bytes) -> bool:
    if module.machine.other_driver or not bytes(blob).startswith(b"kernels"):
        return False
    object.__setattr__(self, "_data", bytes(blob))
    return True


def _set_kernels(module: Any, self: Any, cache: Any = None) -> bool:
    object.__setattr__(self, "_cache", cache)
    return True


def _validity(module: Any, self: Any, buffer: bytes) -> tuple[Any, int]:
    assert len(buffer) == HEADER, "the header alone is asked for"
    told = [getattr(module.EngineInvalidityDiagnostics, name) for name in module.machine.invalid]
    return module.EngineValidity.INVALID, sum(int(reason) for reason in told)


FUNCTIONS: dict[str, Callable[..., Any]] = {"init_libnvinfer_plugins": lambda module, logger, namespace: True}
CONSTRUCTORS: dict[str, Callable[..., Any]] = {
    "Builder": _builder,
    "OnnxParser": _parser,
    "Runtime": _runtime,
}
PROPERTIES: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("OnnxParser", "num_errors"): lambda self: len(self._errors),
    ("ICudaEngine", "num_io_tensors"): lambda self: len(self._tensors),
    ("INetworkDefinition", "num_layers"): lambda self: len(self._model.graph.node) if self._model else 0,
    ("ICudaEngine", "num_layers"): lambda self: len(self._model.graph.node),
    ("IHostMemory", "nbytes"): lambda self: len(self._data),
    ("Runtime", "engine_header_size"): lambda self: HEADER,
}
METHODS: dict[tuple[str, str], Callable[..., Any]] = {
    ("Builder", "create_network"): _create_network,
    ("Builder", "create_builder_config"): _create_config,
    ("Builder", "build_serialized_network"): _build,
    ("OnnxParser", "parse"): _parse,
    ("OnnxParser", "get_error"): lambda module, self, index: self._errors[index],
    ("OnnxParser", "get_used_vc_plugin_libraries"): lambda module, self: [
        "libnvinfer_vc_plugin.so" for node in self._network._model.graph.node if node.op_type == "RoiAlign"
    ][:1],
    ("ParserError", "node_name"): lambda module, self: self._facts[0],
    ("ParserError", "node_operator"): lambda module, self: self._facts[1],
    ("ParserError", "desc"): lambda module, self: self._facts[2],
    ("IBuilderConfig", "set_flag"): lambda module, self, flag: self._flags.add(flag),
    ("IBuilderConfig", "set_memory_pool_limit"): lambda module, self, pool, size: None,
    ("IBuilderConfig", "create_timing_cache"): lambda module, self, data: make(
        module, "ITimingCache", _data=bytes(data)
    ),
    ("IBuilderConfig", "set_timing_cache"): _set_cache,
    ("ITimingCache", "serialize"): lambda module, self: make(module, "IHostMemory", _data=b"measured kernels"),
    ("Runtime", "deserialize_cuda_engine"): _deserialize,
    ("ICudaEngine", "create_engine_inspector"): lambda module, self: make(
        module, "EngineInspector", _facts=self._facts
    ),
    ("EngineInspector", "get_engine_information"): lambda module, self, format: self._facts.decode(),
    ("ICudaEngine", "get_tensor_name"): lambda module, self, index: self._tensors[index][0].name,
    ("ICudaEngine", "get_tensor_mode"): _mode,
    ("ICudaEngine", "get_tensor_shape"): lambda module, self, name: _shape(_tensor(self, name)),
    ("ICudaEngine", "get_tensor_dtype"): lambda module, self, name: getattr(
        module.DataType, KINDS[_tensor(self, name).type.tensor_type.elem_type]
    ),
    ("ICudaEngine", "create_execution_context"): _context,
    ("ICudaEngine", "create_runtime_config"): lambda module, self: make(module, "IRuntimeConfig", _cache=None),
    ("IRuntimeConfig", "create_runtime_cache"): lambda module, self: make(module, "IRuntimeCache", _data=b""),
    ("IRuntimeConfig", "set_runtime_cache"): _set_kernels,
    ("IRuntimeCache", "deserialize"): _deserialize_kernels,
    ("IRuntimeCache", "serialize"): lambda module, self: make(module, "IHostMemory", _data=self._data),
    ("IBuilderConfig", "set_compute_capability"): _set_target,
    ("Runtime", "get_engine_validity"): _validity,
    ("IExecutionContext", "set_tensor_address"): _set_address,
    ("IExecutionContext", "execute_async_v3"): _execute,
    ("IExecutionContext", "infer_shapes"): lambda module, self: [],
}  # fmt: skip
