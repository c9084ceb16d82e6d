"""What our code asks of TensorRT exists in 10.3, 10.16, 11.4 and RTX; the check that says so notices when not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.tensorrt_api.conformance import ROOT, RTX_ALONE, complaints, our_functions, sources, versions_of
from tests.tensorrt_api.double import RTX_VERSIONS, VERSIONS, make_tensorrt, surface
from tests.tensorrt_api.make_surface import installed, member


def test_every_module_is_read_and_those_that_touch_tensorrt_are_understood() -> None:
    assert {"tensorrt.py", "tensorrt_log.py", "watch.py", "detector.py"} <= {path.name for path in sources()}
    assert {"import_tensorrt": "trt", "make_builder": "Builder", "open_plan": "ICudaEngine"}.items() <= (
        our_functions().items()
    )


def test_scripts_leave_tensorrt_to_the_modules() -> None:
    """They are not read: there, networks are PyTorch's."""
    for path in [*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]:
        assert not re.search(r"^\s*(import|from) tensorrt\b|\btrt\.", path.read_text("utf-8"), re.M)


@pytest.mark.parametrize("path", sources(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_our_code_stays_inside_every_versions_surface(path: Path) -> None:
    assert complaints(path.read_text("utf-8"), versions_of(path)) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("config.set_flag(trt.BuilderFlag.FP16)", "trt.BuilderFlag.FP16 is not in TensorRT 11.4"),
        ("network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))", "11.4"),
        ("config.int8_calibrator = None", "config.int8_calibrator is not in TensorRT 11.4"),
        ("size = engine.device_memory_size", "engine.device_memory_size is not in TensorRT 11.4"),
        ("self._engine.device_memory_size", "engine.device_memory_size is not in TensorRT 11.4"),
        ("trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY", "is not in TensorRT 10.3.0"),
        (
            "builder.build_engine(network, config)",
            "builder.build_engine is not in TensorRT 10.3.0, 10.16.1.11, 11.4",
        ),
        ("context.execute_async_v2([])", "context.execute_async_v2 is not in"),
        ("config.set_timing_cache(cache, ignore=True)", "no argument ignore"),
        ("parser.parse(graph, None, 1)", "takes 2 arguments"),
        ("getattr(trt.BuilderFlag, 'FP17', None)", "no TensorRT has trt.BuilderFlag.FP17"),
        ("getattr(trt.BuilderFlag, 'FP16')", "needs a default"),
    ],
)
def test_what_some_version_lacks_is_noticed(line: str, said: str) -> None:
    assert any(said in complaint for complaint in complaints(line)), complaints(line)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cfg.int8_calibrator = None", "is not in every TensorRT, and what has it here is not known"),
        ("def f(cfg: Any) -> None:\n    setattr(cfg, 'int8_calibrator', None)", "what has it is not known"),
        ("def f(config: Any) -> None:\n    config.int8_calibrator = None", "is not in TensorRT 11.4"),
        ("cfg = builder.create_builder_config()\ncfg.bogus = 1", "cfg.bogus is not in TensorRT 10.3.0"),
        ("error = parser.get_error(0)\nerror.no_such()", "error.no_such is not in TensorRT 10.3.0"),
        ("[one.no_such for one in (error := parser.get_error(0),)]\nerror.bogus", "error.bogus is not in"),
        ("builder.create_builder_config().int8_calibrator", "int8_calibrator is not in TensorRT 11.4"),
        ("make_builder(trt, log).create_builder_config().bogus", "bogus is not in TensorRT 10.3.0"),
        ("import tensorrt as nv\nnv.Builder(log).bogus", "bogus is not in TensorRT 10.3.0"),
        ("from tensorrt import BuilderFlag\nBuilderFlag.FP16", "BuilderFlag.FP16 is not in TensorRT 11.4"),
        ("memory = builder.build_serialized_network(network, config)\nmemory.nope", "memory.nope is not in"),
        ("self.made = self._runtime.deserialize_cuda_engine(b'')\nself.made.nope", "self.made.nope is not in"),
        ("tensor = network.get_input(0)\ntensor.dynamic_range = (0, 1)", "dynamic_range is not in TensorRT 11"),
        ("for layer in network:\n    layer.precision = 1", "ILayer is not recorded; add it to"),
        ("profile = builder.create_optimization_profile()\nprofile.bogus()", "IOptimizationProfile is not"),
        ("getattr(config, 'int8_calibrator')", "getattr of config.int8_calibrator needs a default"),
        ("getattr(config, 'int9_calibrator', None)", "no TensorRT has config.int9_calibrator"),
        ("setattr(config, 'int8_calibrator', None)", "config.int8_calibrator is not in TensorRT 11.4"),
        ("trt.BuilderFlag['FP16']", "enums of TensorRT take no [...]"),
        ("config['FP16']", "__getitem__ is not in TensorRT"),
        ("form = engine.get_tensor_format('x')", "nobody recorded what this"),
        ("level = engine.hardware_compatibility_level", "level: nobody recorded what this gives"),
        ("engine.hardware_compatibility_level.name", "nobody recorded what this is an attribute of"),
    ],
)  # fmt: skip
def test_what_a_call_gives_is_followed(text: str, said: str) -> None:
    assert any(said in complaint for complaint in complaints(text)), complaints(text)


@pytest.mark.parametrize(
    "text",
    [
        "parser = argparse.ArgumentParser()\nparser.add_argument('x')",
        "def f(network: torch.nn.Module) -> None:\n    network.eval()",
        "class A:\n    def f(self) -> None:\n        self._engine = Engine()\n        self._engine.go()",
        "level = getattr(trt.HardwareCompatibilityLevel, 'SAME_COMPUTE_CAPABILITY', None)\nlevel.name",
        "if hasattr(trt.BuilderFlag, 'INT8'):\n    config.set_flag(getattr(trt.BuilderFlag, name))",
        "shape = tuple(engine.get_tensor_shape(name))\nsize = engine.get_tensor_shape(name)[0].bit_length()",
        "kind = engine.get_tensor_dtype(name).name.lower()",
        "engine = None\nengine = runtime.deserialize_cuda_engine(b'')\nengine.num_io_tensors",
    ],
)
def test_what_is_right_or_nobody_elses_business_is_left_alone(text: str) -> None:
    assert complaints(text) == []


def test_removing_a_guard_from_the_builder_is_noticed() -> None:
    source = (ROOT / "export" / "engines" / "build.py").read_text("utf-8")
    guarded = "getattr(trt.HardwareCompatibilityLevel, wanted.upper(), None)"
    assert guarded in source
    assert complaints(source.replace(guarded, "trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY"))
    flags = "getattr(trt.BuilderFlag, name)"
    assert flags in source
    assert complaints(source.replace(flags, "trt.BuilderFlag.INT8"))


def test_what_rtx_alone_has_stays_in_its_own_modules() -> None:
    slip = "config.num_compute_capabilities = 1"
    assert any("is not in TensorRT 10.3.0" in said for said in complaints(slip))
    assert complaints(slip, RTX_VERSIONS) == []
    assert complaints("config.num_compute_capabilites = 1", RTX_VERSIONS)
    assert complaints("cache = config.create_runtime_cache()\ncache.save()", RTX_VERSIONS)
    assert {str(path.relative_to(ROOT)) for path in sources()} >= set(RTX_ALONE)


def test_the_recorded_surface_of_rtx_is_that_of_the_installed_library() -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs TensorRT-RTX: pip install 'edgedet[tensorrt-rtx]'")
    ((version, classes),) = installed().items()
    if version not in RTX_VERSIONS:
        pytest.skip(f"{version} is installed, {', '.join(RTX_VERSIONS)} is recorded")
    for name, members in classes.items():
        read = {key: member(key, text) for key, text in members.items()} if isinstance(members, dict) else None
        assert surface(version)[name] == (read if read is not None else member(name, members))


def test_enum_numbers_are_nowhere_written_down() -> None:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            if not isinstance(called, ast.Attribute) or called.attr not in ("create_network", "set_flag"):
                continue
            shifts = [part for part in ast.walk(node) if isinstance(part, ast.BinOp)]
            assert not any(isinstance(shift.right, ast.Constant) for shift in shifts), f"{path}: flags move"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_double_refuses_what_the_real_one_would(version: str) -> None:
    trt = make_tensorrt(version)
    if version.startswith("11"):
        with pytest.raises(AttributeError):
            _ = trt.BuilderFlag.FP16
        with pytest.raises(AttributeError):
            _ = trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH
    with pytest.raises(TypeError):
        trt.Builder()
    with pytest.raises(TypeError, match="incompatible"):
        trt.Builder("a logger")
    with pytest.raises(TypeError):
        trt.IBuilderConfig()

    class Forgetful(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match="__init__"):
        trt.Builder(Forgetful())

    class Careful(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

    builder = trt.Builder(Careful())
    config = builder.create_builder_config()
    with pytest.raises(AttributeError):
        config.max_workspace_size = 1
    with pytest.raises(TypeError):
        config.set_flag(3)
    with pytest.raises(TypeError):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1.5)
    with pytest.raises(AttributeError):
        builder.build_cuda_engine(None)


def test_the_surface_knows_the_differences_the_versions_are_known_for() -> None:
    old, middle, new = (surface(version) for version in VERSIONS)
    assert "INT8" in old["BuilderFlag"] and "INT8" in middle["BuilderFlag"] and "INT8" not in new["BuilderFlag"]
    assert "SAME_COMPUTE_CAPABILITY" not in old["HardwareCompatibilityLevel"]
    assert all("STRONGLY_TYPED" in known["NetworkDefinitionCreationFlag"] for known in (old, middle, new))
